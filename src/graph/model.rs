//! A graph with what surrounds it.

use super::{Description, Graph, INPUT, ModelError, Scaling, Shape, zoo};
use crate::data::Dataset;
use crate::loss::Likelihood;
use crate::model::Parameters;
use crate::quantiser::Quantiser;

/// Characters of a name, at most.
const MOST_NAME: usize = 64;
/// Weights of a model, at most: kernels count groups of four in floats, which are exact up to 2^24.
const MOST_WEIGHTS: usize = 1 << 26;

/// A network with the images it takes: a classifier, from an image to one number a class, or a variational
/// auto-encoder, from an image to one like it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What the command line calls it.
    pub name: String,
    /// What it is for, in a few words.
    pub summary: String,
    /// (height, width, channels) of an image.
    pub input: [usize; 3],
    /// What is done to pixels first.
    pub scaling: Scaling,
    /// Outputs of a classifier; of an auto-encoder the classes of its images, which it does not use.
    pub classes: usize,
    /// Of an auto-encoder: how its outputs become pixels.
    pub likelihood: Option<Likelihood>,
    /// How the low-precision network reads weights.
    pub quantiser: Quantiser,
    /// From an image to the output.
    pub graph: Graph,
}

impl Model {
    /// A model of the zoo for the images it was made for.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], with the nearest name.
    pub fn by_name(name: &str) -> Result<Self, ModelError> {
        zoo::by_name(name, None)
    }

    /// A model of the zoo for images of another size or other classes.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], with the nearest name, or [`ModelError::Misfit`] if images are too small.
    pub fn for_data(name: &str, facts: &super::DataFacts) -> Result<Self, ModelError> {
        zoo::by_name(name, Some(facts))
    }

    /// The shape of an image.
    pub fn input_shape(&self) -> Shape {
        Shape::image(self.input)
    }

    /// The shapes of all values for one image. The model has been checked, so its nodes fit.
    pub(crate) fn shapes(&self) -> Vec<Shape> {
        let shapes = self.graph.shapes(self.input_shape());
        shapes.expect("models are checked when they are made")
    }

    /// The shape of the output for one image.
    pub fn output_shape(&self) -> Shape {
        self.shapes().pop().unwrap_or(self.input_shape())
    }

    /// Numbers of a latent; none of a classifier.
    pub fn latent(&self) -> Option<usize> {
        let at = self.graph.latent()?;
        self.graph.nodes[at].op.operation().latent()
    }

    /// The part of an auto-encoder after its latent as a model of its own, which takes latents
    /// (1, 1, numbers); `None` for a classifier.
    pub fn decoder(&self) -> Option<Self> {
        let at = self.graph.latent()?;
        let mut nodes = self.graph.nodes[at + 1..].to_vec();
        for value in nodes.iter_mut().flat_map(|node| &mut node.inputs) {
            // The latent's output becomes the input; a checked graph reads nothing before it.
            *value = value.saturating_sub(at + 1);
        }
        Some(Self {
            input: [1, 1, self.latent()?],
            graph: Graph { nodes },
            ..self.clone()
        })
    }

    /// The same auto-encoder with latents of `latent` numbers and another likelihood; a classifier stays as it
    /// is.
    pub fn with_latent(mut self, latent: usize, likelihood: Likelihood) -> Self {
        use crate::op::{Latent, Op};
        let Some(at) = self.graph.latent() else {
            return self;
        };
        self.likelihood = Some(likelihood);
        self.graph.nodes[at].op = Op::Latent(Latent { size: latent });
        let before = self.graph.nodes[at].inputs[0];
        if before != INPUT
            && let Op::Dense(dense) = &mut self.graph.nodes[before - 1].op
        {
            dense.outputs = 2 * latent;
        }
        self
    }

    /// The same with another way to quantise weights.
    #[must_use]
    pub fn with_quantiser(self, quantiser: Quantiser) -> Self {
        Self { quantiser, ..self }
    }

    /// The same with the first and the last layer with weights in float.
    #[must_use]
    pub fn with_float_ends(mut self) -> Self {
        let weighs = |node: &super::Node| node.op.operation().weights(Shape::row(1)).is_some();
        let nodes = &mut self.graph.nodes;
        let ends = [
            nodes.iter().position(weighs),
            nodes.iter().rposition(weighs),
        ];
        for at in ends.into_iter().flatten() {
            if let Some(in_float) = nodes[at].op.operation().in_float() {
                nodes[at].op = in_float;
            }
        }
        self
    }

    /// The same classifier for other classes, if a single layer makes its outputs.
    pub fn with_classes(mut self, classes: usize) -> Option<Self> {
        let mut value = self.graph.output();
        while value != INPUT {
            let node = &mut self.graph.nodes[value - 1];
            let operation = node.op.operation();
            if let Some(changed) = operation.with_outputs(classes) {
                node.op = changed;
                self.classes = classes;
                return self.check().is_ok().then_some(self);
            }
            match (operation.weights(Shape::row(1)), &node.inputs[..]) {
                (None, [before]) => value = *before,
                _ => return None,
            }
        }
        None
    }

    /// Multiply-adds of one image.
    pub fn multiply_adds(&self) -> u64 {
        let shapes = self.shapes();
        let each = self.graph.nodes.iter().enumerate().map(|(number, node)| {
            let inputs: Vec<Shape> = node.inputs.iter().map(|value| shapes[*value]).collect();
            node.op
                .operation()
                .multiply_adds(&inputs, shapes[number + 1])
        });
        each.sum()
    }

    /// Checks that everything fits together: what every way of making a model ends in.
    ///
    /// # Errors
    /// [`ModelError`], naming the node or what is missing.
    pub fn check(&self) -> Result<(), ModelError> {
        let nodes = &self.graph.nodes;
        check_name("the model", &self.name)?;
        if nodes.is_empty() {
            return Err(ModelError::description(
                "the graph has no nodes, so it has no output",
            ));
        }
        if !self.scaling.is_usable() {
            return Err(ModelError::description(
                "scaling: means must be numbers, and deviations numbers above 0",
            ));
        }
        for (number, node) in nodes.iter().enumerate() {
            check_name("a node", &node.name)?;
            if node.name == "input" || nodes[..number].iter().any(|other| other.name == node.name) {
                return Err(ModelError::description(format!(
                    "two nodes are named '{}': every name stands once, and 'input' is the image",
                    node.name
                )));
            }
            if let Some(value) = node.inputs.iter().find(|value| **value > number) {
                return Err(ModelError::description(format!(
                    "node '{}' reads value {value}, which does not come before it",
                    node.name
                )));
            }
        }
        let shapes = self.graph.shapes(self.input_shape())?;
        self.check_readers()?;
        self.check_weights(&shapes)?;
        self.check_output(shapes[shapes.len() - 1])
    }

    fn check_readers(&self) -> Result<(), ModelError> {
        let readers = self.graph.readers();
        let last = self.graph.output();
        let unread = (1..last).find(|value| readers[*value].is_empty());
        match unread {
            None => Ok(()),
            Some(value) => Err(ModelError::description(format!(
                "nobody reads what node '{}' gives, and it is not the last node, which gives the output",
                self.graph.nodes[value - 1].name
            ))),
        }
    }

    fn check_weights(&self, shapes: &[Shape]) -> Result<(), ModelError> {
        let mut all = 0usize;
        for node in &self.graph.nodes {
            let input = node
                .inputs
                .first()
                .map_or(shapes[INPUT], |value| shapes[*value]);
            let weights = node.op.operation().weights(input);
            let numbers = weights.map_or(Some(0), |weights| {
                let mut sides = weights.shape.iter();
                sides.try_fold(1usize, |product, side| product.checked_mul(*side))
            });
            let sum = numbers.and_then(|numbers| all.checked_add(numbers));
            all = sum
                .filter(|sum| *sum <= MOST_WEIGHTS)
                .ok_or_else(|| ModelError::Misfit {
                    node: node.name.clone(),
                    op: node.op.operation().word(),
                    reason: format!("with it the model has more than {MOST_WEIGHTS} weights"),
                })?;
        }
        let stored = Parameters::new(self).layout.len();
        match all {
            _ if stored > MOST_WEIGHTS => Err(ModelError::description(format!(
                "with its padding it stores {stored} numbers, and {MOST_WEIGHTS} are the most"
            ))),
            0 => Err(ModelError::description(
                "no node has weights, so there is nothing to learn: add a conv or a dense node",
            )),
            _ => Ok(()),
        }
    }

    fn check_output(&self, output: Shape) -> Result<(), ModelError> {
        let latents = self
            .graph
            .nodes
            .iter()
            .filter(|node| node.op.operation().latent().is_some());
        match (latents.count(), self.likelihood) {
            (0, None) if output.pixels() == 1 && output.channels == self.classes => Ok(()),
            (0, None) => Err(ModelError::description(format!(
                "the last node gives {output} numbers, and a classifier gives one for each class: end with a dense \
                 node, or with a global-average-pool"
            ))),
            (0, Some(_)) => Err(ModelError::description(
                "likelihood is for auto-encoders, and this graph has no latent node",
            )),
            (1, Some(_)) => self.check_auto_encoder(output),
            (1, None) => Err(ModelError::description(
                "an auto-encoder says how its outputs become pixels: likelihood = \"bernoulli\" or \"gaussian\"",
            )),
            _ => Err(ModelError::description(
                "an auto-encoder has one latent node, not several",
            )),
        }
    }

    fn check_auto_encoder(&self, output: Shape) -> Result<(), ModelError> {
        let at = self.graph.latent().unwrap_or_default();
        let behind = &self.graph.nodes[at + 1..];
        if behind.is_empty() {
            return Err(ModelError::description(
                "nothing follows the latent: the decoder is missing",
            ));
        }
        if let Some(node) = behind
            .iter()
            .find(|node| node.inputs.iter().any(|value| *value <= at))
        {
            return Err(ModelError::description(format!(
                "node '{}' of the decoder reads what lies before the latent, so it could not draw from the latent \
                 alone",
                node.name
            )));
        }
        let image = self.input_shape();
        let alike =
            output.sides() == image.sides() || output.pixels() == 1 && output.len() == image.len();
        match alike {
            true => Ok(()),
            false => Err(ModelError::description(format!(
                "the decoder gives {output}, and images are {image}"
            ))),
        }
    }

    /// Checks that images of this size can go in.
    ///
    /// # Errors
    /// [`ModelError::WrongInput`] with both sizes.
    pub fn check_input(&self, size: [usize; 3]) -> Result<(), ModelError> {
        let text = |[height, width, channels]: [usize; 3]| {
            format!("{height}x{width} pixels with {channels} channel(s)")
        };
        if size == self.input {
            return Ok(());
        }
        Err(ModelError::WrongInput {
            model: self.name.clone(),
            wanted: text(self.input),
            found: text(size),
        })
    }

    /// Checks that a data set fits: sizes, classes and every label.
    ///
    /// # Errors
    /// [`ModelError::WrongInput`], [`ModelError::WrongClasses`] or [`ModelError::WrongLabel`].
    pub fn check_data(&self, data: &Dataset) -> Result<(), ModelError> {
        if data.classes.len() != self.classes {
            return Err(ModelError::WrongClasses {
                model: self.name.clone(),
                outputs: self.classes,
                classes: data.classes.len(),
            });
        }
        self.check_images(&data.train)?;
        self.check_images(&data.test)
    }

    /// Checks that images and their labels fit.
    ///
    /// # Errors
    /// [`ModelError::WrongInput`] or [`ModelError::WrongLabel`].
    pub fn check_images(&self, images: &crate::data::Images) -> Result<(), ModelError> {
        self.check_input(images.size())?;
        let classes = self.classes;
        let labels = images
            .labels
            .iter()
            .map(|label| usize::from(*label))
            .enumerate();
        match labels.into_iter().find(|(_, label)| *label >= classes) {
            None => Ok(()),
            Some((image, label)) => Err(ModelError::WrongLabel {
                image,
                label,
                classes,
            }),
        }
    }

    /// The model as a text that [`Description`] reads back.
    pub fn to_toml(&self) -> String {
        Description::of(self).to_toml()
    }
}

fn check_name(what: &str, name: &str) -> Result<(), ModelError> {
    let good = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let fits = !name.is_empty() && name.chars().count() <= MOST_NAME;
    let dotted = |c: char| good(c) || what == "the model" && c == '.';
    match fits && name.chars().all(dotted) {
        true => Ok(()),
        false => Err(ModelError::description(format!(
            "{what} is named '{}': names have 1 to {MOST_NAME} letters, digits, '_' and '-'{}",
            name.chars().take(MOST_NAME).collect::<String>(),
            if what == "the model" {
                ", a model's also dots"
            } else {
                ""
            }
        ))),
    }
}
