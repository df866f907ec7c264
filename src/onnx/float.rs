//! One of the two networks of a trained model as an ordinary float graph, which other programs train and run.

use super::names::Names;
use super::write::{Attribute, Message, Numbers, model as file, node, tensor, value};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::foreign::WeightPrecision;
use crate::graph::{Model, Shape};
use crate::op::Pair;

/// The bytes of an ONNX model: pixels (batch, channels, height, width) of 0 to 1 in, logits (batch, classes) out. What is done
/// to pixels first is part of the graph. Of an auto-encoder it is the decoder, from latents (batch, numbers) to the numbers
/// (batch, channels, height, width) from which its likelihood makes pixels.
///
/// # Errors
/// [`CheckpointError::NotFinite`], or that of a model that does not fit together.
pub fn write(
    checkpoint: &Checkpoint,
    network: WeightPrecision,
) -> Result<Vec<u8>, CheckpointError> {
    let whole = checkpoint.header.model()?;
    let tensors = crate::foreign::tensors(checkpoint, network)?;
    let (model, first) = match (whole.decoder(), whole.graph.latent()) {
        (Some(decoder), Some(at)) => (decoder, at + 1),
        _ => (whole.clone(), 0),
    };
    let mut writer = FloatWriter {
        tensors: Vec::new(),
        nodes: Vec::new(),
        names: Vec::new(),
        taken: Names::new(&[INPUT, LATENT, OUTPUT]),
    };
    let input = writer.input(&model, first > 0);
    let shapes = model.shapes();
    for (number, node) in model.graph.nodes.iter().enumerate() {
        let inputs: Vec<String> = node
            .inputs
            .iter()
            .map(|value| writer.names[*value].clone())
            .collect();
        let read: Vec<Shape> = node.inputs.iter().map(|value| shapes[*value]).collect();
        let of_node = |(name, ..): &&Learned| {
            name.rsplit_once('.')
                .is_some_and(|(path, _)| path == node.name)
        };
        let output = node.op.operation().onnx(
            &mut writer,
            &FloatNode {
                name: &node.name,
                inputs: inputs.iter().map(String::as_str).collect(),
                read: &read,
                gives: shapes[number + 1],
                learned: tensors.iter().filter(of_node).collect(),
            },
        );
        writer.names.push(output);
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

/// A tensor of PyTorch's layout: `NODE.weight`, `bias`, `running_mean` or `running_var`, its shape and its numbers.
pub type Learned = (String, Vec<usize>, Vec<f32>);

/// A node of the graph that is written.
pub struct FloatNode<'a> {
    /// What it is called, and what its output is called if nothing else has that name.
    pub name: &'a str,
    /// The names of what it reads.
    pub inputs: Vec<&'a str>,
    /// The shapes of what it reads, of one image.
    pub read: &'a [Shape],
    /// The shape of what it gives, of one image.
    pub gives: Shape,
    /// What it learned.
    pub learned: Vec<&'a Learned>,
}

/// A float graph that is being written. Every value in it is (batch, channels, rows, columns).
pub struct FloatWriter {
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

impl Attribute {
    /// Several sizes.
    pub fn sizes(name: &'static str, values: &[usize]) -> Self {
        Self::Ints(name, values.iter().map(|v| *v as i64).collect())
    }

    /// The same zeros before and behind rows and columns.
    pub fn pads(Pair([rows, columns]): Pair) -> Self {
        Self::sizes("pads", &[rows, columns, rows, columns])
    }
}

impl FloatWriter {
    /// Appends a tensor of floats.
    pub fn floats(&mut self, name: &str, dimensions: &[usize], values: &[f32]) -> String {
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

    /// Appends constants that are read by no other node, and names them.
    pub fn constant(&mut self, dimensions: &[usize], values: &[f32]) -> String {
        let name = self.fresh("constant");
        self.floats(&name, dimensions, values)
    }

    /// Appends whole numbers that are read by no other node, and names them.
    pub fn sizes(&mut self, values: &[i64]) -> String {
        let name = self.fresh("sizes");
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensors
            .push(tensor(&name, Numbers::Long, &[values.len()], &data));
        name
    }

    /// Appends an operator, and names its output: as wanted, if nothing has that name.
    pub fn node(
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

    /// Appends what a node learned, as PyTorch has it.
    pub fn learned(&mut self, node: &FloatNode<'_>) {
        for (name, shape, values) in &node.learned {
            self.floats(name, shape, values);
        }
    }

    /// Appends a node that gives the numbers that it reads, in another shape or in the same.
    pub fn view(&mut self, node: &FloatNode<'_>) -> String {
        match node.read[0].sides() == node.gives.sides() {
            true => self.node("Identity", &node.inputs, node.name, &[]),
            false => self.reordered(node.name, node.inputs[0], node.gives),
        }
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
}
