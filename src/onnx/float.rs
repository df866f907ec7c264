//! One of the two networks of a trained model as an ordinary float graph, which other programs train and run.

use super::names::Names;
use super::write::{Attribute, Message, Numbers, model as file, node, tensor, value};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::foreign::Network;
use crate::graph::{Model, Shape};
use crate::model::Parameters;
use crate::op::average_pool::operation::factor;
use crate::op::{ActivationKind, NORM_EPSILON, Op, Pair, WindowShape};

/// The bytes of an ONNX model: pixels (batch, channels, height, width) of 0 to 1 in, logits (batch, classes) out. What is done
/// to pixels first is part of the graph. Of an auto-encoder it is the decoder, from latents (batch, numbers) to the numbers
/// (batch, channels, height, width) from which its likelihood makes pixels.
///
/// # Errors
/// [`CheckpointError::NotFinite`], or that of a model that does not fit together.
pub fn write(checkpoint: &Checkpoint, network: Network) -> Result<Vec<u8>, CheckpointError> {
    let whole = checkpoint.header.model()?;
    let tensors = crate::foreign::tensors(checkpoint, network)?;
    let (model, first) = match (whole.decoder(), whole.graph.latent()) {
        (Some(decoder), Some(at)) => (decoder, at + 1),
        _ => (whole.clone(), 0),
    };
    let mut writer = Writer {
        tensors: Vec::new(),
        nodes: Vec::new(),
        names: Vec::new(),
        taken: Names::new(&[INPUT, LATENT, OUTPUT]),
    };
    let input = writer.input(&model, first > 0);
    let parameters = Parameters::new(&whole);
    let shapes = model.shapes();
    for (number, node) in model.graph.nodes.iter().enumerate() {
        let x: Vec<String> = node
            .inputs
            .iter()
            .map(|value| writer.names[*value].clone())
            .collect();
        let read: Vec<Shape> = node.inputs.iter().map(|value| shapes[*value]).collect();
        let learned: Vec<&(String, Vec<usize>, Vec<f32>)> = tensors
            .iter()
            .filter(|(name, ..)| {
                name.rsplit_once('.')
                    .is_some_and(|(path, _)| path == node.name)
            })
            .collect();
        let weighted = parameters.layer_of(first + number).is_some();
        for (name, shape, values) in learned {
            let shape = match (weighted, &node.op) {
                // A dense layer over an image is a matrix over the flattened image.
                (true, Op::Dense(dense)) if name.ends_with(".weight") => {
                    vec![dense.outputs, values.len() / dense.outputs]
                }
                _ => shape.clone(),
            };
            writer.floats(name, &shape, values);
        }
        let y = writer.operation(node, &x, &read, shapes[number + 1]);
        writer.names.push(y);
    }
    let output = writer.output(&model, first > 0);
    let header = &checkpoint.header;
    let classes = serde_json::to_string(&header.classes).unwrap_or_default();
    let facts = [("data", header.data.clone()), ("classes", classes)];
    Ok(file(
        &model.name,
        [&writer.nodes, &writer.tensors],
        [&input, &output],
        &facts,
    ))
}

struct Writer {
    tensors: Vec<Message>,
    nodes: Vec<Message>,
    /// Of values, by number.
    names: Vec<String>,
    /// Names of values in the file.
    taken: Names,
}

/// The images that the file reads.
const INPUT: &str = "image";
/// The latents that the file of a decoder reads.
const LATENT: &str = "latent";
/// What the file gives.
const OUTPUT: &str = "logits";

fn ints(name: &'static str, values: &[usize]) -> Attribute {
    Attribute::Ints(name, values.iter().map(|v| *v as i64).collect())
}

/// The same zeros before and behind.
fn pads(Pair([rows, columns]): Pair) -> Attribute {
    ints("pads", &[rows, columns, rows, columns])
}

impl Writer {
    fn floats(&mut self, name: &str, dimensions: &[usize], values: &[f32]) -> String {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensors
            .push(tensor(name, Numbers::Float, dimensions, &data));
        name.to_owned()
    }

    /// A name that no other value has: a layer may be called like the input, or like what is computed beside another layer.
    fn fresh(&mut self, wanted: &str) -> String {
        match self.taken.take(wanted) {
            true => wanted.to_owned(),
            false => self.taken.numbered(wanted),
        }
    }

    fn constant(&mut self, dimensions: &[usize], values: &[f32]) -> String {
        let name = self.fresh("constant");
        self.floats(&name, dimensions, values)
    }

    fn sizes(&mut self, values: &[i64]) -> String {
        let name = self.fresh("sizes");
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensors
            .push(tensor(&name, Numbers::Long, &[values.len()], &data));
        name
    }

    fn node(
        &mut self,
        kind: &str,
        inputs: &[&str],
        output: &str,
        settings: &[Attribute],
    ) -> String {
        let output = self.fresh(output);
        self.nodes.push(node(kind, inputs, &output, settings));
        output
    }

    /// The last node.
    fn end(&mut self, kind: &str, input: &str, settings: &[Attribute]) {
        self.nodes.push(node(kind, &[input], OUTPUT, settings));
    }

    fn input(&mut self, model: &Model, latent: bool) -> Message {
        let [height, width, channels] = model.input;
        if latent {
            let shape = self.sizes(&[0, channels as i64, 1, 1]);
            let first = self.node("Reshape", &[LATENT, &shape], "latent_image", &[]);
            self.names.push(first);
            return value(LATENT, Numbers::Float, &[channels]);
        }
        let scaling = &model.scaling;
        let by_channel = |of: &[f32; 3]| -> Vec<f32> {
            (0..channels).map(|channel| of[channel.min(2)]).collect()
        };
        let mut x = INPUT.to_owned();
        if scaling.mean != [0.0; 3] {
            let mean = self.constant(&[1, channels, 1, 1], &by_channel(&scaling.mean));
            x = self.node("Sub", &[&x, &mean], "image_centred", &[]);
        }
        if scaling.deviation != [1.0; 3] {
            let deviation = self.constant(&[1, channels, 1, 1], &by_channel(&scaling.deviation));
            x = self.node("Div", &[&x, &deviation], "image_scaled", &[]);
        }
        self.names.push(x);
        value(INPUT, Numbers::Float, &[channels, height, width])
    }

    fn output(&mut self, model: &Model, latent: bool) -> Message {
        let last = self.names[model.graph.output()].clone();
        let shape = model.output_shape();
        if !latent {
            let settings = [Attribute::Int("axis", 1)];
            self.end("Flatten", &last, &settings);
            return value(OUTPUT, Numbers::Float, &[shape.len()]);
        }
        let [height, width, channels] = shape.sides();
        self.end("Identity", &last, &[]);
        value(OUTPUT, Numbers::Float, &[channels, height, width])
    }

    /// Numbers (batch, channels, rows, columns) as another shape reads them: this program counts rows, columns, channels.
    fn reordered(&mut self, name: &str, x: &str, to: Shape) -> String {
        let order = |values: &[i64]| [Attribute::Ints("perm", values.to_vec())];
        let last = self.node(
            "Transpose",
            &[x],
            &format!("{name}_last"),
            &order(&[0, 2, 3, 1]),
        );
        let [height, width, channels] = to.sides().map(|side| side as i64);
        let sides = self.sizes(&[0, height, width, channels]);
        let shaped = self.node("Reshape", &[&last, &sides], &format!("{name}_shaped"), &[]);
        self.node("Transpose", &[&shaped], name, &order(&[0, 3, 1, 2]))
    }

    /// Appends what a node does, and names what it gives: always (batch, channels, rows, columns).
    fn operation(
        &mut self,
        node: &crate::graph::Node,
        x: &[String],
        read: &[Shape],
        gives: Shape,
    ) -> String {
        let name = &node.name[..];
        let inputs: Vec<&str> = x.iter().map(String::as_str).collect();
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        match &node.op {
            Op::Conv(conv) => {
                let mut all = vec![inputs[0], &weight];
                if conv.bias {
                    all.push(&bias);
                }
                let settings = [
                    ints("kernel_shape", &conv.kernel.0),
                    ints("strides", &[conv.stride; 2]),
                    pads(conv.padding),
                    Attribute::Int("group", conv.groups as i64),
                ];
                self.node("Conv", &all, name, &settings)
            }
            Op::Dense(dense) => {
                let settings = [Attribute::Int("axis", 1)];
                // In the order in which PyTorch's layout has the weights: channels, rows, columns.
                let row = self.node("Flatten", &inputs, &format!("{name}_row"), &settings);
                let mut all = vec![&row[..], &weight];
                if dense.bias {
                    all.push(&bias);
                }
                let settings = [Attribute::Int("transB", 1)];
                let y = self.node("Gemm", &all, &format!("{name}_outputs"), &settings);
                let sides = self.sizes(&[0, dense.outputs as i64, 1, 1]);
                self.node("Reshape", &[&y, &sides], name, &[])
            }
            Op::Norm(_) => {
                let parts = ["weight", "bias", "running_mean", "running_var"];
                let parts = parts.map(|part| format!("{name}.{part}"));
                let all: Vec<&str> = inputs
                    .iter()
                    .copied()
                    .chain(parts.iter().map(String::as_str))
                    .collect();
                let settings = [Attribute::Float("epsilon", NORM_EPSILON as f32)];
                self.node("BatchNormalization", &all, name, &settings)
            }
            Op::Activation(function) => match function.kind {
                ActivationKind::Relu => self.node("Relu", &inputs, name, &[]),
                ActivationKind::Relu6 => {
                    let (low, high) = (self.constant(&[], &[0.0]), self.constant(&[], &[6.0]));
                    self.node("Clip", &[inputs[0], &low, &high], name, &[])
                }
                ActivationKind::LeakyRelu => {
                    let places = function.leak().unwrap_or_default() as i32;
                    let settings = [Attribute::Float("alpha", (-places as f32).exp2())];
                    self.node("LeakyRelu", &inputs, name, &settings)
                }
            },
            Op::MaxPool(pool) => {
                let settings = [
                    ints("kernel_shape", &pool.size.0),
                    ints("strides", &pool.stride.unwrap_or(pool.size).0),
                    pads(pool.padding),
                ];
                self.node("MaxPool", &inputs, name, &settings)
            }
            Op::AveragePool(pool) => {
                let settings = [
                    ints("kernel_shape", &pool.size.0),
                    ints("strides", &pool.stride.unwrap_or(pool.size).0),
                    pads(pool.padding),
                    Attribute::Int("count_include_pad", 1),
                ];
                let window = pool.size.0;
                self.average(name, ("AveragePool", &settings), inputs[0], window)
            }
            Op::GlobalAveragePool(_) => {
                let window = [read[0].height, read[0].width];
                self.average(name, ("GlobalAveragePool", &[]), inputs[0], window)
            }
            Op::Add(_) => match inputs.len() {
                1 => self.node("Identity", &inputs, name, &[]),
                2 => self.node("Add", &inputs, name, &[]),
                _ => self.node("Sum", &inputs, name, &[]),
            },
            Op::Concat(_) => self.node("Concat", &inputs, name, &[Attribute::Int("axis", 1)]),
            Op::Upsample(upsample) => {
                let size = upsample.size as f32;
                let scales = self.constant(&[4], &[1.0, 1.0, size, size]);
                let settings = [
                    Attribute::Word("mode", "nearest"),
                    Attribute::Word("coordinate_transformation_mode", "asymmetric"),
                    Attribute::Word("nearest_mode", "floor"),
                ];
                self.node("Resize", &[inputs[0], "", &scales], name, &settings)
            }
            Op::Dropout(dropout) => {
                let ratio = self.constant(&[], &[dropout.probability as f32]);
                self.node("Dropout", &[inputs[0], &ratio], name, &[])
            }
            // Views, and what a decoder begins behind.
            Op::Flatten(_) | Op::Reshape(_) | Op::Latent(_) => {
                match read[0].sides() == gives.sides() {
                    true => self.node("Identity", &inputs, name, &[]),
                    false => self.reordered(name, inputs[0], gives),
                }
            }
        }
    }

    /// A mean, times what is missing to the power of two that sums are multiplied by here.
    fn average(
        &mut self,
        name: &str,
        (kind, settings): (&str, &[Attribute]),
        x: &str,
        window: [usize; 2],
    ) -> String {
        let numbers = window[0] * window[1];
        let geometry = WindowShape {
            batch: 1,
            input: window,
            channels: 1,
            window,
            stride: window,
            padding: [0; 2],
        };
        let more = numbers as f64 * f64::from(factor(&geometry));
        if more == 1.0 {
            return self.node(kind, &[x], name, settings);
        }
        let mean = self.node(kind, &[x], name, settings);
        let more = self.constant(&[], &[more as f32]);
        self.node("Mul", &[&mean, &more], &format!("{name}_scaled"), &[])
    }
}
