//! Models as text: TOML for people, the same as JSON in files.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::build::automatic_name;
use super::{Graph, INPUT, Model, ModelError, Node, Scaling, Value};
use crate::loss::Likelihood;
use crate::op::Op;
use crate::quantiser::Quantiser;
use crate::suggest::did_you_mean;

/// Bytes of a description, at most.
pub const MOST_TEXT: usize = 1 << 20;
/// Nodes of a description, at most.
pub(crate) const MOST_NODES: usize = 4096;
/// The word that stands for what a data set says.
const DATA: &str = "data";

/// What a model takes from its data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataFacts {
    /// (height, width, channels) of an image.
    pub size: [usize; 3],
    /// Number of classes.
    pub classes: usize,
}

/// The settings of one node: `name`, `op`, `inputs` and those of the operation.
pub type NodeText = toml::Table;

/// The size of images in a description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "input must be [height, width, channels] or \"data\""
)]
pub enum Sizes {
    /// (height, width, channels)
    Known([usize; 3]),
    /// The word `data`: as the images of the data set.
    Word(String),
}

/// What is done to pixels, in a description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "scaling must be \"none\", \"cifar10\" or { mean = [..], deviation = [..] } with three numbers each"
)]
pub enum ScalingText {
    /// `none` or `cifar10`.
    Word(String),
    /// Numbers for each channel.
    Numbers(Scaling),
}

impl Default for ScalingText {
    fn default() -> Self {
        Self::Word("none".to_owned())
    }
}

/// A model as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// What the command line calls the model.
    pub name: String,
    /// What it is for, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// The size of images.
    pub input: Sizes,
    /// What is done to pixels first.
    #[serde(default)]
    pub scaling: ScalingText,
    /// Of an auto-encoder: how its outputs become pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likelihood: Option<Likelihood>,
    /// How the low-precision network reads weights; unless it says so, by GTC.
    #[serde(default, skip_serializing_if = "Quantiser::is_gtc")]
    pub quantiser: Quantiser,
    /// The operations. Each reads the one before, unless `inputs` says otherwise.
    pub nodes: Vec<NodeText>,
}

/// A node whose inputs are names.
struct Named {
    name: String,
    op: Op,
    inputs: Vec<String>,
}

impl Description {
    /// Reads a description from TOML.
    ///
    /// # Errors
    /// [`ModelError::Description`], naming the place.
    pub fn from_toml(text: &str) -> Result<Self, ModelError> {
        if text.len() > MOST_TEXT {
            return Err(ModelError::description(format!(
                "a description of {} bytes: at most {MOST_TEXT} are read",
                text.len()
            )));
        }
        let description: Result<Self, toml::de::Error> = toml::from_str(text);
        description.map_err(|error| ModelError::description(explain(text, &error)))
    }

    /// The description of a model.
    pub fn of(model: &Model) -> Self {
        let named = |scaling: Scaling| match scaling {
            Scaling::NONE => ScalingText::Word("none".to_owned()),
            Scaling::CIFAR10 => ScalingText::Word("cifar10".to_owned()),
            other => ScalingText::Numbers(other),
        };
        Self {
            name: model.name.clone(),
            summary: model.summary.clone(),
            input: Sizes::Known(model.input),
            scaling: named(model.scaling),
            likelihood: model.likelihood,
            quantiser: model.quantiser,
            nodes: node_texts(&model.graph),
        }
    }

    /// Whether it takes sizes or classes from a data set.
    pub fn needs_data(&self) -> bool {
        let from_data =
            |node: &NodeText| node.get("outputs").and_then(toml::Value::as_str) == Some(DATA);
        matches!(self.input, Sizes::Word(_)) || self.nodes.iter().any(from_data)
    }

    /// The size of images, if it is not that of a data set.
    pub fn known_input(&self) -> Option<[usize; 3]> {
        match self.input {
            Sizes::Known(sizes) => Some(sizes),
            Sizes::Word(_) => None,
        }
    }

    /// The model, checked; `facts` are what the word `data` stands for.
    ///
    /// # Errors
    /// [`ModelError`], naming the node or what is missing.
    pub fn model(&self, facts: Option<&DataFacts>) -> Result<Model, ModelError> {
        let missing = || {
            ModelError::description(format!(
                "model '{}' takes its sizes from a data set: give one with --data",
                self.name
            ))
        };
        let input = match &self.input {
            Sizes::Known(sizes) => *sizes,
            Sizes::Word(word) if word == DATA => facts.ok_or_else(missing)?.size,
            Sizes::Word(word) => {
                return Err(ModelError::description(format!(
                    "input = \"{word}\": it must be [height, width, channels] or \"data\""
                )));
            }
        };
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            if node.get("outputs").and_then(toml::Value::as_str) == Some(DATA) {
                let classes = facts.ok_or_else(missing)?.classes as i64;
                node.insert("outputs".to_owned(), classes.into());
            }
        }
        let graph = in_order(read_nodes(&nodes)?)?;
        let shapes = graph.shapes(super::Shape::image(input))?;
        let classes = match (self.likelihood, facts) {
            (Some(_), facts) => facts.map_or(10, |facts| facts.classes),
            (None, _) => shapes.last().map_or(0, super::Shape::len),
        };
        let model = Model {
            name: self.name.clone(),
            summary: self.summary.clone(),
            input,
            scaling: self.scaling()?,
            classes,
            likelihood: self.likelihood,
            quantiser: self.quantiser,
            graph,
        };
        model.check()?;
        Ok(model)
    }

    fn scaling(&self) -> Result<Scaling, ModelError> {
        let word = match &self.scaling {
            ScalingText::Numbers(scaling) => return Ok(*scaling),
            ScalingText::Word(word) => word.as_str(),
        };
        match word {
            "none" => Ok(Scaling::NONE),
            "cifar10" => Ok(Scaling::CIFAR10),
            other => Err(ModelError::description(format!(
                "unknown scaling '{other}'{}: \"none\", \"cifar10\" or {{ mean = [..], deviation = [..] }}",
                did_you_mean(other, ["none", "cifar10"])
            ))),
        }
    }

    /// The text, one line for each node.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let quoted = |text: &str| toml::Value::from(text).to_string();
        // Writing to a String never fails.
        let _ = writeln!(text, "name = {}", quoted(&self.name));
        if !self.summary.is_empty() {
            let _ = writeln!(text, "summary = {}", quoted(&self.summary));
        }
        let input = match &self.input {
            Sizes::Known([height, width, channels]) => format!("[{height}, {width}, {channels}]"),
            Sizes::Word(word) => quoted(word),
        };
        let _ = writeln!(
            text,
            "input = {input}  # height, width, channels; or \"data\""
        );
        let scaling = match &self.scaling {
            ScalingText::Word(word) => quoted(word),
            ScalingText::Numbers(scaling) => {
                let numbers = |v: [f32; 3]| format!("[{:?}, {:?}, {:?}]", v[0], v[1], v[2]);
                let Scaling { mean, deviation } = *scaling;
                format!(
                    "{{ mean = {}, deviation = {} }}",
                    numbers(mean),
                    numbers(deviation)
                )
            }
        };
        let _ = writeln!(text, "scaling = {scaling}");
        if let Some(likelihood) = self.likelihood {
            let word = toml::Value::try_from(likelihood).map(|word| word.to_string());
            let _ = writeln!(text, "likelihood = {}", word.unwrap_or_default());
        }
        if !self.quantiser.is_gtc() {
            let _ = writeln!(text, "quantiser = \"{}\"", self.quantiser);
        }
        text.push_str("nodes = [\n");
        for node in &self.nodes {
            let first = ["name", "op", "inputs"]
                .into_iter()
                .filter_map(|key| node.get_key_value(key));
            let rest = node
                .iter()
                .filter(|(key, _)| !["name", "op", "inputs"].contains(&key.as_str()));
            let settings: Vec<String> = first
                .chain(rest)
                .map(|(key, value)| format!("{key} = {value}"))
                .collect();
            let _ = writeln!(text, "  {{ {} }},", settings.join(", "));
        }
        text.push_str("]\n");
        text
    }
}

/// The place and the words of a TOML error.
fn explain(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    match error.span() {
        Some(span) => {
            let line = 1 + text[..span.start.min(text.len())].matches('\n').count();
            format!("line {line}: {message}")
        }
        None => message,
    }
}

/// The nodes of a graph as text; names and inputs that are as by default are left out.
fn node_texts(graph: &Graph) -> Vec<NodeText> {
    let named = |value: Value| match value {
        INPUT => "input".to_owned(),
        _ => graph.nodes[value - 1].name.clone(),
    };
    let mentioned: Vec<Value> = graph
        .nodes
        .iter()
        .enumerate()
        .filter(|(number, node)| node.inputs != [*number])
        .flat_map(|(_, node)| node.inputs.clone())
        .collect();
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let mut texts = Vec::new();
    for (number, node) in graph.nodes.iter().enumerate() {
        let (word, settings) = node.op.to_table();
        let mut text = NodeText::new();
        let count = counts.entry(word.clone()).or_default();
        let automatic = node.name == automatic_name(&word, *count + 1);
        if automatic && !mentioned.contains(&(number + 1)) {
            *count += 1;
        } else {
            text.insert("name".to_owned(), node.name.clone().into());
        }
        text.insert("op".to_owned(), word.into());
        if node.inputs != [number] {
            let names: Vec<toml::Value> = node
                .inputs
                .iter()
                .map(|value| named(*value).into())
                .collect();
            text.insert("inputs".to_owned(), names.into());
        }
        text.extend(settings);
        texts.push(text);
    }
    texts
}

fn read_nodes(texts: &[NodeText]) -> Result<Vec<Named>, ModelError> {
    if texts.len() > MOST_NODES {
        return Err(ModelError::description(format!(
            "{} nodes: at most {MOST_NODES} are read",
            texts.len()
        )));
    }
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let mut nodes: Vec<Named> = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let mut settings = text.clone();
        let place = match text.get("name").and_then(toml::Value::as_str) {
            Some(name) => format!("node '{name}'"),
            None => format!("node {}", number + 1),
        };
        let wrong = |reason: String| ModelError::description(format!("{place}: {reason}"));
        let word = match settings.remove("op") {
            Some(toml::Value::String(word)) => word,
            Some(_) => return Err(wrong("op must be a word in quotes".to_owned())),
            None => {
                return Err(wrong(
                    "it does not say what it does: op = \"conv\", for example".to_owned(),
                ));
            }
        };
        let name = match settings.remove("name") {
            Some(toml::Value::String(name)) => name,
            Some(_) => return Err(wrong("name must be a word in quotes".to_owned())),
            None => {
                let count = counts.entry(word.clone()).or_default();
                *count += 1;
                automatic_name(&word, *count)
            }
        };
        let before = nodes.last().map_or("input", |node| node.name.as_str());
        let inputs = match settings.remove("inputs") {
            None => vec![before.to_owned()],
            Some(value) => input_names(&value).ok_or_else(|| {
                wrong(
                    "inputs must be a name in quotes, or a list of names: [\"a\", \"b\"]"
                        .to_owned(),
                )
            })?,
        };
        let op = Op::from_table(&word, settings).map_err(wrong)?;
        nodes.push(Named { name, op, inputs });
    }
    Ok(nodes)
}

fn input_names(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(name) => Some(vec![name.clone()]),
        toml::Value::Array(names) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}

/// The nodes in an order in which each comes after what it reads; in the order of the text, where that is one.
fn in_order(nodes: Vec<Named>) -> Result<Graph, ModelError> {
    let mut numbers = std::collections::BTreeMap::<&str, usize>::new();
    for (number, node) in nodes.iter().enumerate() {
        if node.name == "input" || numbers.insert(&node.name, number).is_some() {
            return Err(ModelError::description(format!(
                "two nodes are named '{}': every name stands once, and 'input' is the image",
                node.name
            )));
        }
    }
    let mut reads = Vec::new();
    for node in &nodes {
        let of_name = |name: &String| match name.as_str() {
            "input" => Ok(None),
            name => numbers.get(name).copied().map(Some).ok_or_else(|| {
                ModelError::description(format!(
                    "node '{}' reads '{name}', and no node has that name{}",
                    node.name,
                    did_you_mean(name, numbers.keys().copied())
                ))
            }),
        };
        let read: Result<Vec<Option<usize>>, ModelError> =
            node.inputs.iter().map(of_name).collect();
        reads.push(read?);
    }
    // The value that each node gives, once it has been placed.
    let mut values: Vec<Option<Value>> = vec![None; nodes.len()];
    let mut order: Vec<usize> = Vec::new();
    while order.len() < nodes.len() {
        let ready = |number: &usize| {
            let known = |read: &Option<usize>| read.is_none_or(|number| values[number].is_some());
            values[*number].is_none() && reads[*number].iter().all(known)
        };
        let Some(next) = (0..nodes.len()).find(ready) else {
            let stuck: Vec<&str> = (0..nodes.len())
                .filter(|number| values[*number].is_none())
                .map(|number| nodes[number].name.as_str())
                .take(8)
                .collect();
            return Err(ModelError::description(format!(
                "the graph has a cycle: these nodes wait for each other: {}",
                stuck.join(", ")
            )));
        };
        order.push(next);
        values[next] = Some(order.len());
    }
    let mut named: Vec<Option<Named>> = nodes.into_iter().map(Some).collect();
    let mut graph = Graph::default();
    for number in order {
        let value_of =
            |read: &Option<usize>| read.map_or(INPUT, |number| values[number].unwrap_or(INPUT));
        let inputs = reads[number].iter().map(value_of).collect();
        if let Some(node) = named[number].take() {
            graph.nodes.push(Node {
                name: node.name,
                op: node.op,
                inputs,
            });
        }
    }
    Ok(graph)
}
