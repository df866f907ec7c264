//! A float network from ONNX as a graph of this program.
//!
//! Nodes are walked from the outputs back and then in order. What is known without an image is computed at once
//! ([`constant`]); everything else is a [`Flow`]: a value of the graph under construction, with the order in which ONNX sees
//! its axes, and a factor and an offset for each channel that are still to be applied. Layouts, constants and the factors of
//! average pools (which are powers of two here) so become part of the weights next to them.

mod constant;
mod file;
mod flow;
mod folding;
mod operators;
mod products;
mod shapes;
#[cfg(test)]
mod tests;
mod windows;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use constant::{BATCH, Constant};
use file::{check_file, in_order, ports};
use flow::{Axis, Flow};

use super::names::Names;
use super::read::{File, Node, Port, Setting, Side, is_default};
use super::{OnnxError, shown};
use crate::foreign::{ForeignModel, Pixels};
use crate::graph::{Graph, INPUT, MOST_NODES, Model, Node as GraphNode, Scaling, Shape, Value};
use crate::model::{LayerValues, Parameters};
use crate::op::Op;
use crate::quantiser::{INTERCEPT, Quantiser, SLOPE};
use crate::tensor::pad4;

/// Layers without a single batch normalisation from which a network probably had some.
const MANY_LAYERS: usize = 6;
/// Numbers in everything that is computed without an image: what a few weights stored in another order take.
const MOST_COMPUTED: usize = 1 << 27;
/// The call that keeps batch normalisations.
const KEEP_NORMS: &str =
    "torch.onnx.export(net.eval(), (x,), 'net.onnx', dynamo=False, do_constant_folding=False)";

/// Brings the bytes of the file beside a model that its tensors name.
pub type Outside<'o> = dyn FnMut(&str) -> Result<Rc<Vec<u8>>, String> + 'o;

/// Reads a classifier. `name` is what the model is called, and `outside` brings files that hold its weights.
///
/// # Errors
/// [`OnnxError`], naming the node and what to do.
pub fn import(
    name: &str,
    data: &[u8],
    outside: &mut Outside<'_>,
) -> Result<ForeignModel, OnnxError> {
    let file = File::read(data)?;
    check_file(&file)?;
    let (input, output) = ports(&file)?;
    let nodes = in_order(&file, &output.name)?;
    let mut importer = Importer::new(&file);
    importer.load_constants(&nodes, outside)?;
    importer.place_input(input)?;
    for node in nodes {
        importer.node(node)?;
    }
    importer.finish(name, &output.name)
}

fn refused(reason: impl Into<String>) -> OnnxError {
    OnnxError::Refused(reason.into())
}

/// What a person finds a node by.
fn title(node: &Node<'_>) -> String {
    match (node.name.is_empty(), node.outputs.first()) {
        (true, Some(output)) => output.clone(),
        _ => node.name.clone(),
    }
}

/// What a tensor's name stands for.
#[derive(Clone, Debug)]
enum Known {
    Constant(Rc<Constant>),
    Flow(Flow),
}

/// What a layer has learned, in this program's order.
#[derive(Clone, Debug, Default)]
struct Layer {
    /// (outputs, kernel rows, kernel columns, inputs of one output)
    weights: Vec<f32>,
    /// (outputs), or empty.
    bias: Vec<f32>,
}

/// What a normalisation has learned.
#[derive(Clone, Debug)]
struct NormValues {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
}

struct Importer<'f, 'd> {
    file: &'f File<'d>,
    opset: i64,
    known: HashMap<String, Known>,
    /// How many nodes read each tensor.
    uses: HashMap<&'f str, usize>,
    /// The number of images that the network was exported with, if it was fixed.
    batch: Option<i64>,
    nodes: Vec<GraphNode>,
    /// Their names.
    names: Names,
    /// Numbers that were computed without an image.
    computed: usize,
    /// The shape of every value of the graph so far.
    shapes: Vec<Shape>,
    /// Whether several nodes of the file read a value, for every value.
    shared: Vec<bool>,
    layers: BTreeMap<usize, Layer>,
    norms: BTreeMap<usize, NormValues>,
    scaling: Scaling,
    pixels: Pixels,
    /// What an operation without weights is called: in files of this program as there, else by what it does.
    usual_name: String,
    notes: Vec<String>,
}

/// Why a node is not taken: a sentence with what to do.
type Misfit = String;

impl<'f, 'd> Importer<'f, 'd> {
    fn new(file: &'f File<'d>) -> Self {
        let mut uses: HashMap<&str, usize> = HashMap::new();
        let read = file.nodes.iter().flat_map(|node| &node.inputs);
        for name in read.chain(file.outputs.iter().map(|port| &port.name)) {
            *uses.entry(name).or_default() += 1;
        }
        Self {
            file,
            opset: file.opset.unwrap_or_default(),
            known: HashMap::new(),
            uses,
            batch: None,
            nodes: Vec::new(),
            names: Names::new(&["input"]),
            computed: 0,
            shapes: Vec::new(),
            shared: Vec::new(),
            layers: BTreeMap::new(),
            norms: BTreeMap::new(),
            scaling: Scaling::NONE,
            pixels: Pixels::Floats,
            usual_name: String::new(),
            notes: Vec::new(),
        }
    }

    /// Reads the stored tensors that some node needs.
    fn load_constants(
        &mut self,
        nodes: &[&Node<'_>],
        outside: &mut Outside<'_>,
    ) -> Result<(), OnnxError> {
        let needed: HashSet<&str> = nodes
            .iter()
            .flat_map(|node| node.inputs.iter().map(String::as_str))
            .collect();
        for tensor in &self.file.tensors {
            if !needed.contains(tensor.name.as_str()) {
                continue;
            }
            let constant = load(tensor, outside)?;
            self.known
                .insert(tensor.name.clone(), Known::Constant(Rc::new(constant)));
        }
        for node in nodes.iter().filter(|node| node.kind == "Constant") {
            if let (Some((_, Setting::Tensor(tensor))), Some(output)) =
                (node.settings.first(), node.outputs.first())
                && tensor.external.is_some()
            {
                let constant = load(tensor, outside)?;
                self.known
                    .insert(output.clone(), Known::Constant(Rc::new(constant)));
            }
        }
        Ok(())
    }

    /// What the input of the file is: an image of a known size.
    fn place_input(&mut self, port: &Port) -> Result<(), OnnxError> {
        let name = shown(&port.name);
        let Some(sides) = &port.shape else {
            return Err(refused(format!("input '{name}' has no shape")));
        };
        let mut fixed = Vec::new();
        for (place, side) in sides.iter().enumerate() {
            match side {
                Side::Known(side) if place == 0 => self.batch = Some(*side),
                Side::Free(_) if place == 0 => (),
                Side::Known(side @ 1..=0x4000_0000) => fixed.push(*side as usize),
                Side::Known(side) => {
                    return Err(refused(format!("input '{name}' has a side of {side}")));
                }
                Side::Free(word) => {
                    let word = if word.is_empty() { "?" } else { word };
                    return Err(refused(format!(
                        "side {} of input '{name}' is free ({}): only the number of images may be. Export it with images \
                         of the size it will see",
                        place + 1,
                        shown(word)
                    )));
                }
            }
        }
        use Axis::{Batch, Channel, Column, Row};
        let few = |channels: usize| channels <= 4;
        let (image, axes) = match fixed[..] {
            // Channels last, where only that makes them few and the network turns them.
            [height, width, channels]
                if few(channels) && !few(height) && self.turns_channels(&port.name) =>
            {
                ([height, width, channels], vec![Batch, Row, Column, Channel])
            }
            [channels, height, width] => {
                ([height, width, channels], vec![Batch, Channel, Row, Column])
            }
            [height, width] => ([height, width, 1], vec![Batch, Row, Column]),
            [numbers] => {
                let side = |pixels: usize| {
                    let side = pixels.isqrt();
                    (side * side == pixels).then_some(side)
                };
                let image = match (side(numbers), numbers.is_multiple_of(3)) {
                    (Some(side), _) => Some([side, side, 1]),
                    (None, true) => side(numbers / 3).map(|side| [side, side, 3]),
                    _ => None,
                };
                let Some(image) = image else {
                    return Err(refused(format!(
                        "input '{name}' is a row of {numbers} numbers, which is no square image of one or three channels"
                    )));
                };
                self.notes.push(format!(
                    "its input of {numbers} numbers is read as images of {} x {} pixels with {} channel(s)",
                    image[0], image[1], image[2]
                ));
                (image, vec![Batch, Channel, Row, Column])
            }
            _ => {
                return Err(refused(format!(
                    "input '{name}' has {} sides: images have four (number, channels, rows, columns)",
                    sides.len()
                )));
            }
        };
        match port.kind {
            1 | 10 | 11 | 16 => (),
            // Bytes, which the network brings to its range itself.
            2 => {
                if let Some(scaling) = Scaling::to_range(0.0, 255.0) {
                    self.scaling = scaling;
                }
                self.pixels = Pixels::Bytes;
            }
            kind => {
                return Err(refused(format!(
                    "input '{name}' has numbers of type {kind}; images are floats or bytes"
                )));
            }
        }
        let shape = Shape::image(image).checked();
        self.shapes
            .push(shape.map_err(|reason| refused(format!("input '{name}': {reason}")))?);
        self.shared.push(self.is_shared(&port.name));
        let mut flow = Flow::new(INPUT, axes);
        if fixed.len() == 1 {
            flow = flow.flattened(&self.shapes[INPUT]);
        }
        self.known.insert(port.name.clone(), Known::Flow(flow));
        Ok(())
    }

    /// Whether the first thing that is done to an input, calculations with constants apart, brings its channels from the
    /// end to the front.
    fn turns_channels(&self, input: &str) -> bool {
        let mut same = vec![input];
        for node in &self.file.nodes {
            if !node.inputs.iter().any(|name| same.contains(&name.as_str())) {
                continue;
            }
            let order = operators::setting(node, "perm");
            match node.kind.as_str() {
                "Transpose" => {
                    return matches!(order, Some(Setting::Ints(p)) if p[..] == [0, 3, 1, 2]);
                }
                "Identity" | "Cast" | "Add" | "Sub" | "Mul" | "Div" => {
                    same.extend(node.outputs.iter().map(String::as_str));
                }
                _ => return false,
            }
        }
        false
    }

    fn is_shared(&self, name: &str) -> bool {
        self.uses.get(name).is_some_and(|uses| *uses > 1)
    }

    /// Translates a node.
    fn node(&mut self, node: &'f Node<'d>) -> Result<(), OnnxError> {
        let wrong = |reason: String| OnnxError::Node {
            node: shown(&title(node)),
            operator: shown(&node.kind),
            reason,
        };
        if !is_default(&node.domain) {
            return Err(wrong(format!(
                "an operator of the domain '{}'. Only those of ONNX itself are read",
                shown(&node.domain)
            )));
        }
        let mut inputs = Vec::new();
        for name in &node.inputs {
            inputs.push(match (name.is_empty(), self.known.get(name)) {
                (true, _) => None,
                (false, Some(known)) => Some(known.clone()),
                (false, None) => {
                    return Err(wrong(format!(
                        "it reads '{}', which nothing gives",
                        shown(name)
                    )));
                }
            });
        }
        let Some(output) = node.outputs.first() else {
            return Err(wrong("it gives nothing".to_owned()));
        };
        if node.kind == "Constant" && self.known.contains_key(output) {
            // Its numbers lie in another file and were read with those of all stored tensors.
            return Ok(());
        }
        if self.file.producer == "gtc" {
            self.usual_name.clone_from(&node.name);
        }
        // Of further outputs, such as the places of a max pool, none is read.
        let result = self.translate(node, &inputs).map_err(&wrong)?;
        if let Known::Constant(constant) = &result {
            self.computed += constant.len();
            if self.computed > MOST_COMPUTED {
                return Err(wrong(format!(
                    "with it more than {MOST_COMPUTED} numbers are computed without an image"
                )));
            }
        }
        if let Known::Flow(flow) = &result
            && self.is_shared(output)
        {
            self.shared[flow.at] = true;
        }
        self.known.insert(output.clone(), result);
        Ok(())
    }

    /// Appends an operation.
    fn emit(&mut self, name: &str, op: impl Into<Op>, inputs: &[Value]) -> Result<Value, Misfit> {
        let op = op.into();
        let usual = std::mem::take(&mut self.usual_name);
        let name = if name.is_empty() { &usual } else { name };
        let read: Vec<Shape> = inputs.iter().map(|value| self.shapes[*value]).collect();
        if self.nodes.len() == MOST_NODES {
            return Err(format!("networks here have at most {MOST_NODES} nodes"));
        }
        let operation = op.operation();
        operation.check_arity(read.len())?;
        let shape = operation.shape(&read)?.checked()?;
        let name = self.fresh_name(name, &op);
        self.nodes.push(GraphNode {
            name,
            op,
            inputs: inputs.to_vec(),
        });
        self.shapes.push(shape);
        self.shared.push(false);
        Ok(self.nodes.len())
    }

    /// A name as graphs have them, which no node has yet.
    fn fresh_name(&mut self, wanted: &str, op: &Op) -> String {
        /// Characters of a name, with room for a number behind it.
        const LONGEST: usize = 56;
        let good = |c: char| {
            if c.is_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        };
        let tidy: String = wanted.chars().take(LONGEST).map(good).collect();
        let tidy = tidy.trim_matches('_');
        if tidy.is_empty() {
            return self.names.numbered(&op.to_table().0.replace('-', "_"));
        }
        match self.names.take(tidy) {
            true => tidy.to_owned(),
            false => self.names.numbered(tidy),
        }
    }

    /// The model, with what it has learned.
    fn finish(mut self, name: &str, output: &str) -> Result<ForeignModel, OnnxError> {
        let flow = match self.known.get(output) {
            Some(Known::Flow(flow)) => flow.clone(),
            _ => {
                return Err(refused(format!(
                    "its output '{}' does not depend on an image",
                    shown(output)
                )));
            }
        };
        if let Some(end) = &flow.end {
            self.notes.push(format!(
                "{end} at the end is left away: outputs here are logits, from which probabilities are computed"
            ));
        }
        let flow = self
            .settled(&Flow { end: None, ..flow }, "the output")
            .map_err(refused)?;
        if flow.pads != [0; 4] {
            return Err(refused(
                "its output is what a Pad gives: networks here give one number for each class",
            ));
        }
        let shape = self.shapes[flow.at];
        if shape.pixels() != 1 && !flow.is_flat() {
            return Err(refused(format!(
                "its output is {shape} for an image: networks here give one number for each class"
            )));
        }
        if !flow.is_in_order(&shape) {
            return Err(refused(
                "its output is a flattened image, in another order than here: end with a dense layer or a pool",
            ));
        }
        if flow.at != self.nodes.len() {
            return Err(refused("its output is no node's own"));
        }
        let has_norms = !self.norms.is_empty();
        if !has_norms && self.layers.len() >= MANY_LAYERS {
            self.notes.push(format!(
                "{} layers and no batch normalisation: if the network has some, the export folded them into the weights, and \
                 powers of two fit those less well. Keep them with {KEEP_NORMS}",
                self.layers.len()
            ));
        }
        let model = Model {
            name: model_name(name),
            summary: "imported from ONNX".to_owned(),
            input: self.shapes[INPUT].sides(),
            scaling: self.scaling,
            classes: shape.len(),
            likelihood: None,
            quantiser: Quantiser::Gtc,
            graph: Graph { nodes: self.nodes },
        };
        model.check().map_err(|error| refused(error.to_string()))?;
        let parameters = Parameters::new(&model);
        let mut weights = vec![0.0; pad4(parameters.layout.len())];
        let mut running = parameters.initial_running();
        for layer in &parameters.layers {
            let own = self.layers.remove(&layer.node).unwrap_or_default();
            check_finite(&layer.name, &[&own.weights, &own.bias])?;
            let values = LayerValues {
                weights: own.weights,
                bias: own.bias,
                quantiser: vec![INTERCEPT, SLOPE],
            };
            layer.place(&mut weights, &values);
        }
        for norm in &parameters.norms {
            let Some(own) = self.norms.remove(&norm.node) else {
                continue;
            };
            check_finite(
                &norm.name,
                &[&own.gamma, &own.beta, &own.mean, &own.variance],
            )?;
            norm.place(&mut weights, &own.gamma, &own.beta);
            norm.place_running(&mut running, &[own.mean, own.variance].concat());
        }
        Ok(ForeignModel {
            model,
            weights,
            running,
            pixels: self.pixels,
            notes: self.notes,
        })
    }
}

fn check_finite(name: &str, values: &[&[f32]]) -> Result<(), OnnxError> {
    match values.iter().copied().flatten().find(|v| !v.is_finite()) {
        None => Ok(()),
        Some(value) => Err(refused(format!(
            "layer '{name}' holds {value}, which no network can use: its training diverged, or its numbers pass what f32 holds"
        ))),
    }
}

/// The name of a file as that of a model.
fn model_name(file: &str) -> String {
    let good = |c: char| {
        if c.is_alphanumeric() || "-._".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = file.chars().take(64).map(good).collect();
    if name.is_empty() {
        "imported".to_owned()
    } else {
        name
    }
}

/// The numbers of a stored tensor.
fn load(
    tensor: &super::read::Tensor<'_>,
    outside: &mut Outside<'_>,
) -> Result<Constant, OnnxError> {
    let name = shown(&tensor.name);
    let shape = tensor
        .shape
        .iter()
        .map(|side| usize::try_from(*side))
        .collect::<Result<Vec<usize>, _>>()
        .map_err(|_| OnnxError::Damaged(format!("tensor '{name}' has a negative side")))?;
    let Some(place) = &tensor.external else {
        let numbers = tensor.numbers(None)?;
        return Ok(Constant { shape, numbers });
    };
    let file = shown(&place.location);
    let wrong = |reason: String| {
        refused(format!(
            "tensor '{name}' lies in the file '{file}' beside the model: {reason}"
        ))
    };
    let parts: Vec<&str> = place.location.split(['/', '\\']).collect();
    let inside = !place.location.is_empty()
        && !parts[0].is_empty()
        && !parts[0].contains(':')
        && !parts.contains(&"..")
        && !place.location.contains('\0');
    if !inside {
        return Err(wrong(
            "only files in the folder of the model are read".to_owned(),
        ));
    }
    let bytes = outside(&place.location).map_err(wrong)?;
    let range = || {
        let start = usize::try_from(place.offset).ok()?;
        let end = match place.length {
            Some(length) => start.checked_add(usize::try_from(length).ok()?)?,
            None => bytes.len(),
        };
        bytes.get(start..end)
    };
    let range = range().ok_or_else(|| {
        wrong(format!(
            "it has {} bytes, and the tensor reaches beyond them. The copy may be cut short",
            bytes.len()
        ))
    })?;
    Ok(Constant {
        shape,
        numbers: tensor.numbers(Some(range))?,
    })
}

/// The sides of a flow as ONNX sees them; [`BATCH`] stands for the number of images.
fn sides_of(flow: &Flow, shape: &Shape) -> Vec<i64> {
    match &flow.order {
        Some(order) => vec![BATCH, order.len() as i64],
        None => flow
            .axes
            .iter()
            .map(|axis| match axis {
                Axis::Batch => BATCH,
                other => other.side(shape) as i64,
            })
            .collect(),
    }
}
