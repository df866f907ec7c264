//! Float models from elsewhere and for elsewhere: safetensors files with PyTorch's names and layouts.
//!
//! | tensor | shape | meaning |
//! |---|---|---|
//! | `LAYER.weight` | convolution (outputs, inputs of one output, height, width); dense (outputs, inputs), the inputs of an image flattened channel by channel | weights |
//! | `LAYER.bias` | (outputs) | may be missing: zeros |
//! | `NORM.weight`, `NORM.bias` | (channels) | γ and β of a batch normalisation |
//! | `NORM.running_mean`, `NORM.running_var` | (channels) | its running statistics |
//!
//! `LAYER` is the name of a layer of the model, `NORM` that of a normalisation, or `LAYER.norm` for the one right behind a
//! layer. Where names are others, such as `features.0`, layers and normalisations are matched by shape, in the natural order
//! of their names. A prefix that all names share, such as `module.`, is taken off. Every tensor of a file is used, is known
//! to carry nothing (`num_batches_tracked`), or is an error. Numbers are f16, bf16, f32 or f64. Images go in as numbers from
//! 0 to 1, scaled by the model's [`Scaling`](crate::model::Scaling).

mod encode;
mod other;
mod tensors;

pub(crate) use encode::tensors;
pub use encode::{WeightPrecision, encode};
pub use other::other_format;
pub use tensors::Tensors;

use crate::checkpoint::CheckpointError;
use crate::graph::DataFacts;
use crate::model::{LayerParameters, LayerValues, Model, NAMES, NormParameters, Parameters};
use crate::quantiser::{INTERCEPT, SLOPE};
use crate::tensor::pad4;
use tensors::{Array, Module};

/// A float model.
#[derive(Clone, Debug)]
pub struct ForeignModel {
    /// Which of the models its tensors are.
    pub model: Model,
    /// The arena of weights.
    pub weights: Vec<f32>,
    /// The arena of running statistics.
    pub running: Vec<f32>,
    /// What the file says of its pixels.
    pub pixels: Pixels,
    /// What a person should know of how it was read.
    pub notes: Vec<String>,
}

/// What a file says of the numbers that a network gets as pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// Nothing: it holds tensors alone, and the model's scaling is that of its description.
    Nothing,
    /// It takes floats of a range that it does not name. What its first operations do to them is the model's scaling.
    Floats,
    /// It takes bytes, 0 to 255. What its first operations do to them is part of the model's scaling.
    Bytes,
}

/// Reads the model whose tensors these are: `wanted`, or that of this crate's classifiers which fits.
///
/// # Errors
/// [`CheckpointError::NotFinite`], or [`CheckpointError::Foreign`] with what is wrong with the model that comes nearest.
pub fn decode(
    mut tensors: Tensors,
    wanted: Option<&Model>,
) -> Result<ForeignModel, CheckpointError> {
    let mut notes = Vec::new();
    if let Some(prefix) = tensors.take_prefix()? {
        notes.push(format!("'{prefix}' was taken off the names of all tensors"));
    }
    let candidates = match wanted {
        Some(model) => vec![model.clone()],
        None => own_classifiers(&tensors)?,
    };
    let mut nearest: Option<(usize, CheckpointError)> = None;
    for model in candidates {
        let by_name = Matching::by_name(&tensors, &model);
        let by_order = || Matching::by_order(&tensors, &model);
        let found = match by_name {
            Ok(matching) => Ok(matching),
            // What is wrong with the names says more, unless none of them is known.
            Err((0, _)) => by_order(),
            Err(error) => by_order().map_err(|_| error),
        };
        match found.and_then(|matching| matching.read(&tensors)) {
            Ok(mut found) => {
                found.notes.splice(0..0, notes);
                return Ok(found);
            }
            Err((_, error @ CheckpointError::NotFinite { .. })) => return Err(error),
            Err((fitting, error)) => {
                if nearest.as_ref().is_none_or(|(most, _)| fitting > *most) {
                    nearest = Some((fitting, error));
                }
            }
        }
    }
    Err(nearest.map_or_else(
        || tensors.foreign("no model is known".to_owned()),
        |(_, error)| error,
    ))
}

/// The classifiers of this crate, with as many classes as the last dense layer in the file has outputs.
fn own_classifiers(tensors: &Tensors) -> Result<Vec<Model>, CheckpointError> {
    let classes = tensors
        .modules()
        .iter()
        .rev()
        .find(|module| module.weight.len() == 2)
        .map_or(10, |module| module.weight[0]);
    let mut models = Vec::new();
    for name in NAMES {
        let usual = Model::by_name(name)?;
        if usual.likelihood.is_some() {
            continue;
        }
        let facts = DataFacts {
            size: usual.input,
            classes,
        };
        // A file's numbers may be no number of classes at all: then the usual one is compared.
        models.push(Model::for_data(name, &facts).unwrap_or(usual));
    }
    Ok(models)
}

/// How many layers fitted before something did not, and what.
type Misfit = (usize, CheckpointError);

/// Which module of a file each layer and each normalisation of a model is.
struct Matching<'m> {
    model: &'m Model,
    parameters: Parameters,
    /// The path of each layer's module.
    layers: Vec<String>,
    /// The path of each normalisation's module.
    norms: Vec<String>,
    notes: Vec<String>,
}

impl<'m> Matching<'m> {
    fn new(model: &'m Model) -> Self {
        Self {
            parameters: Parameters::new(model),
            model,
            layers: Vec::new(),
            norms: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The layer right before a normalisation.
    fn layer_before(&self, norm: &NormParameters) -> Option<&LayerParameters> {
        let mut layers = self.parameters.layers.iter();
        layers.find(|layer| layer.is_normalised() && layer.node + 1 == norm.node)
    }

    /// Every module has the name of what it is.
    fn by_name(tensors: &Tensors, model: &'m Model) -> Result<Self, Misfit> {
        let mut matching = Self::new(model);
        let weights = |layer: &LayerParameters| tensors.get(&format!("{}.weight", layer.name));
        let fits = |layer: &&LayerParameters| {
            weights(layer).is_some_and(|found| weight_shapes(layer).contains(&found.shape))
        };
        let fitting = matching.parameters.layers.iter().filter(fits).count();
        for layer in &matching.parameters.layers {
            if weights(layer).is_none() {
                let reason = format!("tensor '{}.weight' is missing", layer.name);
                return Err((fitting, as_a(model, tensors, reason)));
            }
            matching.layers.push(layer.name.clone());
        }
        let mut norms = Vec::new();
        for norm in &matching.parameters.norms {
            let behind = matching.layer_before(norm);
            let nested = behind.map(|layer| format!("{}.norm", layer.name));
            let here = |path: &&String| tensors.get(&format!("{path}.weight")).is_some();
            let paths = [Some(norm.name.clone()), nested];
            let Some(path) = paths.iter().flatten().find(here) else {
                let name = paths.iter().flatten().next_back().unwrap_or(&norm.name);
                let reason = format!("tensor '{name}.weight' is missing");
                let fitting = fitting + norms.len();
                return Err((fitting, as_a(model, tensors, reason)));
            };
            norms.push(path.clone());
        }
        matching.norms = norms;
        Ok(matching)
    }

    /// Modules of any names, matched by shape in the natural order of their names: convolutions first, then dense layers.
    fn by_order(tensors: &Tensors, model: &'m Model) -> Result<Self, Misfit> {
        let mut matching = Self::new(model);
        let modules = tensors.modules();
        let (norms, layers): (Vec<&Module>, Vec<&Module>) =
            modules.iter().partition(|module| module.weight.len() == 1);
        let wrong = |fitting: usize, reason: String| Err((fitting, as_a(model, tensors, reason)));
        let wanted = &matching.parameters.layers;
        for (number, (layer, module)) in wanted.iter().zip(&layers).enumerate() {
            let shapes = weight_shapes(layer);
            if !shapes.contains(&module.weight) {
                return wrong(
                    number,
                    format!(
                        "tensor '{}.weight' is {:?}, and layer '{}' in its place has {}",
                        module.path,
                        module.weight,
                        layer.name,
                        either(&shapes)
                    ),
                );
            }
        }
        if wanted.len() != layers.len() {
            let reason = format!(
                "the file has {} convolutions and dense layers, the model {}",
                layers.len(),
                wanted.len()
            );
            return wrong(wanted.len().min(layers.len()), reason);
        }
        let wanted = &matching.parameters.norms;
        for (norm, module) in wanted.iter().zip(&norms) {
            if module.weight != [norm.channels] {
                let reason = format!(
                    "tensor '{}.weight' is {:?}, and normalisation '{}' in its place has {} channels",
                    module.path, module.weight, norm.name, norm.channels
                );
                return wrong(layers.len(), reason);
            }
        }
        if wanted.len() != norms.len() {
            let reason = format!(
                "the file has {} batch normalisations, the model {}",
                norms.len(),
                wanted.len()
            );
            return wrong(layers.len(), reason);
        }
        let paths = |modules: &[&Module]| modules.iter().map(|m| m.path.clone()).collect();
        (matching.layers, matching.norms) = (paths(&layers), paths(&norms));
        let pairs = matching.layers.iter().zip(&matching.parameters.layers);
        let pairs: Vec<String> = pairs
            .map(|(path, layer)| format!("{path} = {}", layer.name))
            .collect();
        let pairs = pairs.join(", ");
        let note = format!("layers were matched by shape and order: {pairs}");
        matching.notes.push(note);
        Ok(matching)
    }

    /// The numbers, if all fit and none is left over.
    fn read(self, tensors: &Tensors) -> Result<ForeignModel, Misfit> {
        let fitting = self.layers.len();
        self.numbers(tensors).map_err(|error| (fitting, error))
    }

    fn numbers(self, tensors: &Tensors) -> Result<ForeignModel, CheckpointError> {
        let parameters = &self.parameters;
        let mut reader = Reader {
            tensors,
            model: self.model,
            used: Vec::new(),
        };
        let mut weights = vec![0.0; pad4(parameters.layout.len())];
        let mut running = parameters.initial_running();
        let mut biases = Vec::new();
        for (layer, path) in parameters.layers.iter().zip(&self.layers) {
            biases.push(reader.layer(layer, path, &mut weights)?);
        }
        for (norm, path) in parameters.norms.iter().zip(&self.norms) {
            // A bias before a normalisation only moves the mean.
            let before = parameters
                .layers
                .iter()
                .position(|layer| layer.is_normalised() && layer.node + 1 == norm.node)
                .filter(|at| !parameters.layers[*at].has_bias());
            let moved = before.map_or(&[][..], |at| &biases[at]);
            reader.norm((norm, path), moved, (&mut weights, &mut running))?;
        }
        for (at, layer) in parameters.layers.iter().enumerate() {
            let taken = layer.has_bias() || layer.is_normalised();
            if !taken && biases[at].iter().any(|bias| *bias != 0.0) {
                let reason = format!(
                    "tensor '{}.bias' has no place: layer '{}' of the model has no bias",
                    self.layers[at], layer.name
                );
                return Err(as_a(self.model, tensors, reason));
            }
        }
        let left = tensors.unused(&reader.used);
        if !left.is_empty() {
            let shown: Vec<String> = left.iter().take(4).map(|n| format!("'{n}'")).collect();
            let more = match left.len() {
                0..=4 => String::new(),
                many => format!(" and {} more", many - 4),
            };
            let reason = format!(
                "tensors without a use: {}{more}. Without them it would be another network. Describe the \
                 network that it is in a file (`gtc models show {}` prints one to start from) and name that \
                 with --model FILE.toml",
                shown.join(", "),
                self.model.name
            );
            return Err(as_a(self.model, tensors, reason));
        }
        Ok(ForeignModel {
            model: self.model.clone(),
            weights,
            running,
            pixels: Pixels::Nothing,
            notes: self.notes,
        })
    }
}

/// The shapes that the weights of a layer may have in PyTorch.
fn weight_shapes(layer: &LayerParameters) -> [Vec<usize>; 2] {
    let [outputs, height, width, inputs] = layer.shape;
    [
        vec![outputs, inputs, height, width],
        vec![outputs, inputs * height * width],
    ]
}

fn either(shapes: &[Vec<usize>]) -> String {
    let shapes: Vec<String> = shapes.iter().map(|shape| format!("{shape:?}")).collect();
    shapes.join(" or ")
}

fn as_a(model: &Model, tensors: &Tensors, reason: String) -> CheckpointError {
    tensors.foreign(format!("as a {} in PyTorch's layout: {reason}", model.name))
}

/// Takes numbers out of a file and remembers which.
struct Reader<'r> {
    tensors: &'r Tensors,
    model: &'r Model,
    used: Vec<String>,
}

impl Reader<'_> {
    fn array(&mut self, name: String, shapes: &[Vec<usize>]) -> Result<Array, CheckpointError> {
        let wrong = |reason: String| as_a(self.model, self.tensors, reason);
        let Some(array) = self.tensors.get(&name) else {
            return Err(wrong(format!("tensor '{name}' is missing")));
        };
        if !shapes.contains(&array.shape) {
            let wanted = either(shapes);
            let reason = format!("tensor '{name}' is {:?}, not {wanted}", array.shape);
            return Err(wrong(reason));
        }
        let array = array.clone();
        self.tensors.check_finite(&name, &array.values)?;
        self.used.push(name);
        Ok(array)
    }

    /// Places a layer's weights, and returns its bias.
    fn layer(
        &mut self,
        layer: &LayerParameters,
        path: &str,
        arena: &mut [f32],
    ) -> Result<Vec<f32>, CheckpointError> {
        let [outputs, height, width, inputs] = layer.shape;
        let theirs = self.array(format!("{path}.weight"), &weight_shapes(layer))?;
        let mut ours = vec![0.0; theirs.values.len()];
        for (i, weight) in theirs.values.iter().enumerate() {
            let (pixel, rest) = (i % (height * width), i / (height * width));
            let (input, output) = (rest % inputs, rest / inputs);
            ours[(output * height * width + pixel) * inputs + input] = *weight;
        }
        let name = format!("{path}.bias");
        let bias = match self.tensors.get(&name) {
            Some(_) => self.array(name, &[vec![outputs]])?.values,
            None => vec![0.0; outputs],
        };
        let values = LayerValues {
            weights: ours,
            bias,
            quantiser: vec![INTERCEPT, SLOPE],
        };
        layer.place(arena, &values);
        Ok(values.bias)
    }

    /// Places a normalisation. `moved`: what a bias before it, which the model does not have, adds to what it reads.
    fn norm(
        &mut self,
        (norm, path): (&NormParameters, &str),
        moved: &[f32],
        (arena, running): (&mut [f32], &mut [f32]),
    ) -> Result<(), CheckpointError> {
        let shape = [vec![norm.channels]];
        let mut part = |what: &str| {
            let array = self.array(format!("{path}.{what}"), &shape);
            array.map(|array| array.values)
        };
        let (gamma, beta) = (part("weight")?, part("bias")?);
        let (mut statistics, variance) = (part("running_mean")?, part("running_var")?);
        if let Some(at) = variance.iter().position(|v| *v < 0.0) {
            let reason = format!(
                "tensor '{path}.running_var' holds {} at {at}, and no variance is negative",
                variance[at]
            );
            return Err(as_a(self.model, self.tensors, reason));
        }
        statistics
            .iter_mut()
            .zip(moved)
            .for_each(|(mean, bias)| *mean -= bias);
        statistics.extend(variance);
        norm.place_running(running, &statistics);
        norm.place(arena, &gamma, &beta);
        Ok(())
    }
}
