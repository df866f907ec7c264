//! A file as a whole: whether it can be read, what goes in and out, and in which order its nodes are taken.

use std::collections::HashMap;

use super::{refused, title};
use crate::onnx::read::{File, Node, Port};
use crate::onnx::{OnnxError, shown};

/// Versions of the default operator set that are read.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=26;
/// Nodes, at most.
const MOST_NODES: usize = 20_000;
/// What is wrong with a file before anything is computed.
pub(super) fn check_file(file: &File<'_>) -> Result<(), OnnxError> {
    let Some(opset) = file.opset else {
        return Err(OnnxError::Damaged(
            "it does not say which operators it uses, so it is cut short or no model".to_owned(),
        ));
    };
    if !OPSETS.contains(&opset) {
        let (first, last) = (OPSETS.start(), OPSETS.end());
        return Err(refused(format!(
            "operator set {opset}: {first} to {last} are read. Export it again with opset_version=20, or convert it with \
             onnx.version_converter.convert_version(model, 20)"
        )));
    }
    if file.sparse {
        return Err(refused(
            "it has tensors in a sparse form. Store all weights in full",
        ));
    }
    if file.nodes.len() > MOST_NODES {
        return Err(refused(format!(
            "{} nodes: at most {MOST_NODES} are read",
            file.nodes.len()
        )));
    }
    Ok(())
}

/// The one input that is no stored tensor, and the one output.
pub(super) fn ports<'f>(file: &'f File<'_>) -> Result<(&'f Port, &'f Port), OnnxError> {
    let stored: Vec<&str> = file.tensors.iter().map(|t| t.name.as_str()).collect();
    let fed: Vec<&Port> = file
        .inputs
        .iter()
        .filter(|port| !stored.contains(&port.name.as_str()))
        .collect();
    let names = |ports: &[&Port]| {
        let names: Vec<String> = ports.iter().map(|port| shown(&port.name)).collect();
        names.join(", ")
    };
    let outputs: Vec<&Port> = file.outputs.iter().collect();
    match (&fed[..], &outputs[..]) {
        ([input], [output]) => Ok((input, output)),
        ([_], []) => Err(refused("it has no output")),
        ([_], several) => Err(refused(format!(
            "{} outputs ({}): a classifier has one. Export the part of the network that gives the classes",
            several.len(),
            names(several)
        ))),
        (several, _) => Err(refused(format!(
            "{} inputs ({}): networks here read one image",
            several.len(),
            names(several)
        ))),
    }
}

/// The nodes that an output needs, each behind what it reads.
pub(super) fn in_order<'f, 'd>(
    file: &'f File<'d>,
    output: &str,
) -> Result<Vec<&'f Node<'d>>, OnnxError> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (number, node) in file.nodes.iter().enumerate() {
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            if makers.insert(name, number).is_some() {
                return Err(refused(format!("'{}' is given by two nodes", shown(name))));
            }
        }
    }
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; file.nodes.len()];
    let mut order = Vec::new();
    // Nodes with the number of the input that is looked at next.
    let mut stack: Vec<(usize, usize)> = makers.get(output).map(|n| (*n, 0)).into_iter().collect();
    while let Some((number, next)) = stack.pop() {
        let node = &file.nodes[number];
        states[number] = State::Open;
        let Some(name) = node.inputs.get(next) else {
            states[number] = State::Done;
            order.push(node);
            continue;
        };
        stack.push((number, next + 1));
        if let Some(maker) = makers.get(name.as_str()) {
            match states[*maker] {
                State::Done => (),
                State::New => stack.push((*maker, 0)),
                State::Open => {
                    return Err(refused(format!(
                        "the graph has a cycle through node '{}'",
                        shown(&title(node))
                    )));
                }
            }
        }
    }
    Ok(order)
}
