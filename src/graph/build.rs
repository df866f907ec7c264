//! Models in Rust.

use super::{Graph, INPUT, Model, ModelError, Node, Scaling, Shape, Value};
use crate::loss::Likelihood;
use crate::op::Op;
use crate::quantiser::Quantiser;

/// Collects the nodes of a model; [`Builder::build`] checks them.
///
/// ```
/// use gtc::graph::Builder;
/// use gtc::op::{Activation, Add, Conv, Dense, GlobalAveragePool, Norm};
///
/// # fn main() -> Result<(), gtc::graph::ModelError> {
/// let mut net = Builder::new("mine", [32, 32, 3]);
/// let stem = net.then("stem", Conv::new(16, 3).padding(1));
/// net.then("conv", Conv::new(16, 3).padding(1).without_bias());
/// let branch = net.then("norm", Norm {});
/// net.join("sum", Add {}, &[stem, branch]);
/// net.then("", Activation::RELU);
/// net.then("", GlobalAveragePool {});
/// net.then("classes", Dense::new(10));
/// let model = net.build()?;
/// assert_eq!(model.classes, 10);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    name: String,
    summary: String,
    input: [usize; 3],
    scaling: Scaling,
    likelihood: Option<Likelihood>,
    nodes: Vec<Node>,
    last: Value,
}

impl Builder {
    /// A model without nodes for images of (height, width, channels).
    pub fn new(name: impl Into<String>, input: [usize; 3]) -> Self {
        Self {
            name: name.into(),
            summary: String::new(),
            input,
            scaling: Scaling::NONE,
            likelihood: None,
            nodes: Vec::new(),
            last: INPUT,
        }
    }

    /// Says what the model is for.
    #[must_use]
    pub fn summary(mut self, summary: &str) -> Self {
        summary.clone_into(&mut self.summary);
        self
    }

    /// Says what is done to pixels first.
    #[must_use]
    pub fn scaling(mut self, scaling: Scaling) -> Self {
        self.scaling = scaling;
        self
    }

    /// Makes the model an auto-encoder, which has a latent node.
    #[must_use]
    pub fn likelihood(mut self, likelihood: Likelihood) -> Self {
        self.likelihood = Some(likelihood);
        self
    }

    /// Appends an operation that reads the value before it, and returns the value that it gives. An empty name is
    /// replaced by the operation and a number.
    pub fn then(&mut self, name: impl Into<String>, op: impl Into<Op>) -> Value {
        let last = self.last;
        self.join(name, op, &[last])
    }

    /// Appends an operation that reads these values, and returns the value that it gives.
    pub fn join(&mut self, name: impl Into<String>, op: impl Into<Op>, inputs: &[Value]) -> Value {
        let (name, op) = (name.into(), op.into());
        let name = match name.is_empty() {
            true => {
                let word = op.to_table().0;
                let same = |node: &&Node| node.op.to_table().0 == word;
                automatic_name(&word, 1 + self.nodes.iter().filter(same).count())
            }
            false => name,
        };
        self.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
        });
        self.last = self.nodes.len();
        self.last
    }

    /// The value that the next [`Builder::then`] reads.
    pub fn last(&self) -> Value {
        self.last
    }

    /// Lets the next [`Builder::then`] read this value.
    pub fn go_to(&mut self, value: Value) {
        self.last = value;
    }

    /// The model, checked.
    ///
    /// # Errors
    /// [`ModelError`], naming the node or what is missing.
    pub fn build(self) -> Result<Model, ModelError> {
        let graph = Graph { nodes: self.nodes };
        let classes = match self.likelihood {
            Some(_) => 10,
            None => {
                let shapes = match graph
                    .nodes
                    .iter()
                    .enumerate()
                    .all(|(i, n)| n.inputs.iter().all(|v| *v <= i))
                {
                    true => graph.shapes(Shape::image(self.input))?,
                    false => Vec::new(),
                };
                shapes.last().map_or(0, Shape::len)
            }
        };
        let model = Model {
            name: self.name,
            summary: self.summary,
            input: self.input,
            scaling: self.scaling,
            classes,
            likelihood: self.likelihood,
            quantiser: Quantiser::Gtc,
            graph,
        };
        model.check()?;
        Ok(model)
    }
}

/// The name of the node number `count` among those of one operation that have no name of their own. The
/// underscore keeps the first `relu6` apart from the 61st `relu`.
pub(super) fn automatic_name(word: &str, count: usize) -> String {
    format!("{}_{count}", word.replace('-', "_"))
}
