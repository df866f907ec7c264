//! Files that are no networks of this program, and what is said of them.

use std::rc::Rc;

use super::import;
use crate::foreign::ForeignModel;
use crate::onnx::OnnxError;
use crate::onnx::write::{Attribute, Message, Numbers, node, tensor, value};

/// What a file is made of.
struct Parts {
    opset: Message,
    nodes: Vec<Message>,
    tensors: Vec<Message>,
    inputs: Vec<Message>,
    outputs: Vec<Message>,
}

fn floats(name: &str, shape: &[usize], number: f32) -> Message {
    let count: usize = shape.iter().product();
    let data: Vec<u8> = (0..count).flat_map(|_| number.to_le_bytes()).collect();
    tensor(name, Numbers::Float, shape, &data)
}

fn set(domain: &str, version: i64) -> Message {
    Message::default().text(1, domain).int(2, version)
}

/// A convolution, a ReLU and a dense layer.
fn parts() -> Parts {
    Parts {
        opset: set("", 17),
        nodes: vec![
            node("Conv", &["x", "conv.weight"], "a", &[]),
            node("Relu", &["a"], "b", &[]),
            node("Flatten", &["b"], "c", &[]),
            node(
                "Gemm",
                &["c", "fc.weight"],
                "y",
                &[Attribute::Int("transB", 1)],
            ),
        ],
        tensors: vec![
            floats("conv.weight", &[2, 1, 3, 3], 0.5),
            floats("fc.weight", &[3, 8], 0.25),
        ],
        inputs: vec![value("x", Numbers::Float, &[1, 4, 4])],
        outputs: vec![value("y", Numbers::Float, &[3])],
    }
}

impl Parts {
    fn bytes(&self) -> Vec<u8> {
        let mut graph = Message::default();
        for node in &self.nodes {
            graph = graph.message(1, node);
        }
        for tensor in &self.tensors {
            graph = graph.message(5, tensor);
        }
        for input in &self.inputs {
            graph = graph.message(11, input);
        }
        for output in &self.outputs {
            graph = graph.message(12, output);
        }
        let file = Message::default().int(1, 8).text(2, "a test");
        file.message(7, &graph).message(8, &self.opset).into_bytes()
    }

    /// The same with another node in place of one.
    fn with(mut self, at: usize, node: Message) -> Self {
        self.nodes[at] = node;
        self
    }
}

fn read(data: &[u8]) -> Result<ForeignModel, OnnxError> {
    import("net", data, &mut |name| match name {
        "short.data" => Ok(Rc::new(vec![0; 10])),
        _ => Err("there is no such file".to_owned()),
    })
}

fn refuse(data: &[u8], words: &[&str]) {
    let said = match read(data) {
        Err(error) => error.to_string(),
        Ok(found) => panic!("taken, and {words:?} expected: {}", found.model.to_toml()),
    };
    for word in words {
        assert!(said.contains(word), "'{word}' is not in: {said}");
    }
    assert!(said.len() < 600, "{} bytes", said.len());
}

#[test]
fn a_small_network_is_read() {
    let found = read(&parts().bytes()).unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<&str> = found
        .model
        .graph
        .nodes
        .iter()
        .map(|n| n.name.as_str())
        .collect();
    assert_eq!(names, ["conv", "relu_1", "fc"]);
    assert_eq!((found.model.input, found.model.classes), ([4, 4, 1], 3));
}

#[test]
fn what_is_no_model_is_refused() {
    refuse(b"not a model at all", &["not a whole ONNX model"]);
    refuse(&[], &["not a whole ONNX model"]);
    refuse(&Message::default().int(1, 8).into_bytes(), &["no graph"]);
    // Another protocol buffer.
    refuse(
        &set("something", 3).into_bytes(),
        &["not a whole ONNX model"],
    );
    let mut empty = parts();
    empty.outputs.clear();
    refuse(&empty.bytes(), &["no output"]);
    let mut two = parts();
    two.inputs.push(value("z", Numbers::Float, &[1, 4, 4]));
    refuse(&two.bytes(), &["2 inputs", "x, z"]);
    let mut two = parts();
    two.outputs.push(value("b", Numbers::Float, &[2, 2, 2]));
    refuse(&two.bytes(), &["2 outputs", "y, b"]);
}

#[test]
fn unknown_operators_are_refused_by_name() {
    for (version, word) in [(3, "operator set 3"), (99, "operator set 99")] {
        let other = Parts {
            opset: set("", version),
            ..parts()
        };
        refuse(&other.bytes(), &[word, "opset_version"]);
    }
    let other = Parts {
        opset: set("com.example", 1),
        ..parts()
    };
    refuse(&other.bytes(), &["which operators"]);
    let foreign = node("Relu", &["a"], "b", &[]).text(7, "com.example");
    refuse(
        &parts().with(1, foreign).bytes(),
        &["'b' (Relu)", "com.example"],
    );
    for (kind, word) in [
        ("Sigmoid", "ReLU6"),
        ("ConvTranspose", "Upsample"),
        ("LSTM", "convolutions"),
        ("QuantizeLinear", "quantised already"),
        ("Einsum", "not read"),
    ] {
        let other = node(kind, &["a"], "b", &[]);
        refuse(&parts().with(1, other).bytes(), &["'b'", kind, word]);
    }
    let gate = node("Mul", &["a", "a"], "b", &[]);
    refuse(&parts().with(1, gate).bytes(), &["'b' (Mul)", "gate"]);
    let inside = node("Softmax", &["a"], "b", &[]);
    refuse(
        &parts().with(1, inside).bytes(),
        &["'c' (Flatten)", "Softmax"],
    );
}

#[test]
fn settings_that_are_not_here_are_refused_by_name() {
    let conv = |settings: &[Attribute]| node("Conv", &["x", "conv.weight"], "a", settings);
    let ints = |name, values: &[i64]| Attribute::Ints(name, values.to_vec());
    for (other, words) in [
        (
            conv(&[ints("dilations", &[2, 2])]),
            ["dilations [2, 2]", "gaps"],
        ),
        (
            conv(&[ints("strides", &[1, 2])]),
            ["strides [1, 2]", "the same"],
        ),
        (conv(&[ints("pads", &[1, 1])]), ["pads [1, 1]", "four"]),
        (conv(&[ints("strides", &[0, 0])]), ["stride", "0"]),
        (
            conv(&[Attribute::Int("group", 2)]),
            ["2 groups", "1 channels"],
        ),
        (
            conv(&[Attribute::Int("group", 0)]),
            ["0 groups", "1 channels"],
        ),
        (
            conv(&[ints("strides", &[i64::MAX, 1])]),
            ["strides", "9223"],
        ),
        (
            conv(&[ints("pads", &[0, 0, 16_000, 16_000])]),
            ["with its pads", "too large"],
        ),
    ] {
        refuse(
            &parts().with(0, other).bytes(),
            &[&["'a' (Conv)"][..], &words].concat(),
        );
    }
    for (other, words) in [
        (node("LeakyRelu", &["a"], "b", &[]), ["0.01", "0.0078125"]),
        (
            node("Clip", &["a", "low", "high"], "b", &[]),
            ["limits 0 and 1", "ReLU6"],
        ),
        (
            node(
                "MaxPool",
                &["a"],
                "b",
                &[ints("kernel_shape", &[2, 2]), ints("pads", &[0, 0, 1, 1])],
            ),
            ["pads [0, 0, 1, 1]", "opposite"],
        ),
        (
            node(
                "MaxPool",
                &["a"],
                "b",
                &[
                    ints("kernel_shape", &[1, 1]),
                    ints("strides", &[2, 2]),
                    Attribute::Int("ceil_mode", 1),
                ],
            ),
            ["ceil_mode", "False"],
        ),
        (
            node(
                "AveragePool",
                &["a"],
                "b",
                &[ints("kernel_shape", &[2, 2]), ints("pads", &[1, 1, 1, 1])],
            ),
            ["padding", "count_include_pad"],
        ),
        (
            node("Transpose", &["a"], "b", &[ints("perm", &[0, 1])]),
            ["perm", "4 axes"],
        ),
        (
            node("Flatten", &["a"], "b", &[Attribute::Int("axis", 2)]),
            ["axis 2", "1"],
        ),
        (
            node("LeakyRelu", &["a"], "b", &[Attribute::Float("alpha", -0.5)]),
            ["-0.5", "power of two"],
        ),
        (
            node(
                "LeakyRelu",
                &["a"],
                "b",
                &[Attribute::Float("alpha", f32::NAN)],
            ),
            ["NaN", "power of two"],
        ),
        (
            node("Transpose", &["a"], "b", &[ints("perm", &[1, 0, 2, 3])]),
            ["images change places", "numbers"],
        ),
        (node("Unsqueeze", &["low"], "b", &[]), ["axes", "missing"]),
        (node("Concat", &[""], "b", &[]), ["joins", "nothing"]),
        (
            node("ReduceMean", &["a"], "b", &[ints("axes", &[])]),
            ["all axes", "images"],
        ),
    ] {
        let mut changed = parts().with(1, other);
        changed.tensors.push(floats("low", &[], 0.0));
        changed.tensors.push(floats("high", &[], 1.0));
        refuse(&changed.bytes(), &[&["'b'"][..], &words].concat());
    }
}

/// What does nothing in ONNX does nothing here.
#[test]
fn nodes_that_change_nothing_are_left_out() {
    let plain = read(&parts().bytes()).unwrap().model.graph.nodes.len();
    let noop = Attribute::Int("noop_with_empty_axes", 1);
    for (node, fewer) in [
        (node("Sum", &["a"], "b", &[]), 1),
        (node("ReduceMean", &["a"], "b", &[noop]), 1),
        (
            node("LeakyRelu", &["a"], "b", &[Attribute::Float("alpha", 0.0)]),
            0,
        ),
    ] {
        let found = read(&parts().with(1, node).bytes()).unwrap();
        assert_eq!(found.model.graph.nodes.len(), plain - fewer);
    }
}

/// A few bytes may ask for any number of numbers.
#[test]
fn constants_that_grow_without_end_are_refused() {
    let mut doubled = parts();
    doubled
        .tensors
        .push(tensor("c0", Numbers::Long, &[1], &1i64.to_le_bytes()));
    for i in 0..40 {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        doubled
            .nodes
            .insert(i, node("Concat", &[&from, &from], &to, &[]));
    }
    doubled
        .nodes
        .insert(40, node("Reshape", &["x", "c40"], "z", &[]));
    doubled.nodes[41] = node("Conv", &["z", "conv.weight"], "a", &[]);
    refuse(&doubled.bytes(), &["(Concat)", "too large"]);
}

/// Names are found at once, however many nodes have none, and a network that is too long is refused before its end.
#[test]
fn long_chains_are_read_or_refused() {
    let chain = |length: usize| {
        let mut long = parts();
        long.nodes[1] = node("Relu", &["a"], "r0", &[]);
        for i in 0..length {
            let (from, to) = (format!("r{i}"), format!("r{}", i + 1));
            long.nodes.insert(2 + i, node("Relu", &[&from], &to, &[]));
        }
        long.nodes[2 + length] = node("Flatten", &[&format!("r{length}")], "c", &[]);
        long.bytes()
    };
    assert!(read(&chain(1000)).is_ok());
    refuse(&chain(8000), &["at most 4096 nodes"]);
}

#[test]
fn a_pad_at_the_end_and_pools_of_other_axes_are_refused() {
    let ints = |name, values: &[i64]| Attribute::Ints(name, values.to_vec());
    let mut padded = parts();
    padded
        .nodes
        .push(node("GlobalAveragePool", &["b"], "p", &[]));
    padded.nodes.push(node(
        "Pad",
        &["p"],
        "y2",
        &[ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1])],
    ));
    padded.outputs = vec![value("y2", Numbers::Float, &[2, 3, 3])];
    refuse(&padded.bytes(), &["its output", "Pad"]);
    let mut turned = parts();
    turned.nodes[1] = node("Transpose", &["a"], "t", &[ints("perm", &[0, 2, 3, 1])]);
    turned
        .nodes
        .insert(2, node("GlobalAveragePool", &["t"], "b", &[]));
    refuse(&turned.bytes(), &["GlobalAveragePool", "images (number"]);
}

#[test]
fn networks_that_train_are_refused() {
    let settings = [Attribute::Int("training_mode", 1)];
    let names = ["a", "g", "g", "g", "g"];
    let norm = node("BatchNormalization", &names, "b", &settings);
    let mut training = parts().with(1, norm);
    training.tensors.push(floats("g", &[2], 1.0));
    refuse(
        &training.bytes(),
        &["'b' (BatchNormalization)", "net.eval()"],
    );
}

#[test]
fn shapes_that_are_free_or_absurd_are_refused() {
    let free = |sides: &[Message]| {
        let mut shape = Message::default();
        for side in sides {
            shape = shape.message(1, side);
        }
        let kind = Message::default().int(1, 1).message(2, &shape);
        let kind = Message::default().message(1, &kind);
        Message::default().text(1, "x").message(2, &kind)
    };
    let known = |side: i64| Message::default().int(1, side);
    let named = |name: &str| Message::default().text(2, name);
    let with = |sides: &[Message]| Parts {
        inputs: vec![free(sides)],
        ..parts()
    };
    refuse(
        &with(&[named("batch"), known(1), named("height"), known(4)]).bytes(),
        &["side 3", "height", "images of the size"],
    );
    refuse(
        &with(&[known(1), known(1), known(0), known(4)]).bytes(),
        &["side of 0"],
    );
    refuse(
        &with(&[known(1), known(1), known(-4), known(4)]).bytes(),
        &["side of -4"],
    );
    refuse(
        &with(&[known(1), known(1), known(1 << 40), known(4)]).bytes(),
        &["side of"],
    );
    refuse(
        &with(&[known(1), known(1), known(1 << 20), known(1 << 20)]).bytes(),
        &["'x'"],
    );
    refuse(&with(&[known(1)]).bytes(), &["has 1 sides"]);
    let none = Message::default().text(1, "x");
    let bare = Parts {
        inputs: vec![none],
        ..parts()
    };
    refuse(&bare.bytes(), &["'x' has no shape"]);
}

#[test]
fn weights_that_are_none_are_refused() {
    let with = |weights: Message| {
        let mut changed = parts();
        changed.tensors[0] = weights;
        changed.bytes()
    };
    refuse(
        &with(floats("conv.weight", &[2, 1, 3, 3], f32::NAN)),
        &["'conv'", "NaN"],
    );
    refuse(
        &with(floats("conv.weight", &[2, 1, 3, 3], f32::INFINITY)),
        &["'conv'", "inf"],
    );
    refuse(
        &with(floats("conv.weight", &[0, 1, 3, 3], 0.5)),
        &["'a' (Conv)", "[0, 1, 3, 3]"],
    );
    refuse(
        &with(floats("conv.weight", &[2, 1, 9], 0.5)),
        &["'a' (Conv)", "[2, 1, 9]", "4 axes"],
    );
    refuse(
        &with(floats("conv.weight", &[2, 5, 3, 3], 0.5)),
        &["'a' (Conv)", "5 channels"],
    );
    // A shape that its bytes do not fill, and one that overflows.
    refuse(
        &with(tensor(
            "conv.weight",
            Numbers::Float,
            &[2, 1, 3, 3],
            &[0; 12],
        )),
        &["'conv.weight'", "3 numbers"],
    );
    let huge = [1 << 31, 1 << 31, 4, 4];
    refuse(
        &with(tensor("conv.weight", Numbers::Float, &huge, &[0; 12])),
        &["'conv.weight'", "shape"],
    );
    refuse(
        &with(floats("another", &[2, 1, 3, 3], 0.5)),
        &["'a' (Conv)", "'conv.weight'", "nothing gives"],
    );
    let text = Message::default()
        .int(1, 1)
        .int(2, 8)
        .text(8, "conv.weight");
    refuse(&with(text), &["'conv.weight'", "type 8"]);
}

#[test]
fn weights_outside_the_file_lie_beside_it() {
    let with = |location: &str| {
        let pair = |key: &str, value: &str| Message::default().text(1, key).text(2, value);
        let mut outside = Message::default();
        for side in [2, 1, 3, 3] {
            outside = outside.int(1, side);
        }
        let outside = outside
            .int(2, 1)
            .text(8, "conv.weight")
            .message(13, &pair("location", location))
            .int(14, 1);
        let mut changed = parts();
        changed.tensors[0] = outside;
        changed.bytes()
    };
    refuse(
        &with("missing.data"),
        &["'conv.weight'", "'missing.data'", "no such file"],
    );
    refuse(&with("short.data"), &["'conv.weight'"]);
    for path in [
        "../up.data",
        "a/../../up.data",
        "/etc/passwd",
        "C:\\x.data",
        "a\\..\\..\\x",
        "",
        "..",
        "x\0y",
    ] {
        refuse(&with(path), &["folder of the model"]);
    }
}

#[test]
fn graphs_without_an_order_are_refused() {
    let turned = parts().with(0, node("Conv", &["b", "conv.weight"], "a", &[]));
    refuse(&turned.bytes(), &["cycle"]);
    let twice = parts().with(1, node("Relu", &["a"], "a", &[]));
    refuse(&twice.bytes(), &["'a'", "two nodes"]);
    let mut constant = parts();
    constant.outputs = vec![value("fc.weight", Numbers::Float, &[3])];
    refuse(&constant.bytes(), &["does not depend on an image"]);
}

#[test]
fn long_names_are_shortened() {
    let long = "n".repeat(1 << 20);
    let sigmoid = node("Sigmoid", &["a"], "b", &[]).text(3, &long);
    refuse(&parts().with(1, sigmoid).bytes(), &["nnn...", "Sigmoid"]);
    // As the name of a layer it is cut.
    let mut named = parts().with(0, node("Conv", &["x", &format!("{long}.weight")], "a", &[]));
    named.tensors[0] = floats(&format!("{long}.weight"), &[2, 1, 3, 3], 0.5);
    let found = read(&named.bytes()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(found.model.graph.nodes[0].name, "n".repeat(56));
}

#[test]
fn whatever_a_damaged_file_says_no_panic_follows() {
    let whole = parts().bytes();
    for at in 0..whole.len() {
        for mask in [1, 0x10, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= mask;
            let _ = read(&damaged);
        }
        let _ = read(&whole[..at]);
    }
}
