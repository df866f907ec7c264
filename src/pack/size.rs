//! How large a packed file will be, before anything was learned.

use super::steps::Steps;
use super::{Activations, PackError, PackedLayer, PackedModel, Source, encode};
use crate::graph::Model;
use crate::model::Parameters;
use crate::op::Packing;

/// Room for the name of a class whose name is not known here.
const CLASS_NAME: &str = "twelve bytes";

/// What a packed file holds: codes of layers that learn how many bits they need, and everything else.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedSize {
    /// Bytes of all but the codes of [`PackedSize::weights`].
    pub rest: usize,
    /// Weights of each layer that is quantised, in the order of [`Parameters::quantised`]; none of a layer that the file
    /// leaves out.
    pub weights: Vec<usize>,
}

impl PackedSize {
    /// Works it out from a file of the same shape in which every code takes one bit. Names of classes, and the digits of
    /// units, make it wrong by some bytes.
    ///
    /// # Errors
    /// [`PackError::Foreign`] should the container refuse.
    pub fn of(model: &Model) -> Result<Self, PackError> {
        let (packed, learned) = blank(model, Activations::Sixteen);
        let of_codes: usize = learned.iter().map(|(_, count)| bytes(*count, 1)).sum();
        let parameters = Parameters::new(model);
        let weights = parameters.quantised().map(|layer| {
            let known = learned.iter().find(|(node, _)| *node == layer.node);
            known.map_or(0, |(_, count)| *count)
        });
        Ok(Self {
            rest: encode(&packed)?.len() - of_codes,
            weights: weights.collect(),
        })
    }

    /// Bytes of the file if layers have so many bits.
    pub fn bytes(&self, bits: impl IntoIterator<Item = u32>) -> usize {
        let codes = self.weights.iter().zip(bits);
        self.rest
            + codes
                .map(|(count, bits)| bytes(*count, bits))
                .sum::<usize>()
    }
}

/// A packed model of which nothing was learned: every code has one bit and is zero. Beside it the nodes whose layers learn how
/// many bits they need, with how many weights they have.
pub(crate) fn blank(model: &Model, activations: Activations) -> (PackedModel, Vec<(usize, usize)>) {
    let decoder = model.decoder();
    let network = decoder.as_ref().unwrap_or(model);
    let before = model.graph.nodes.len() - network.graph.nodes.len();
    let parameters = Parameters::new(model);
    let steps = Steps::of(network);
    let mut layers = Vec::new();
    let mut learned = Vec::new();
    for step in &steps.steps {
        if step.node.op.operation().packing() != Packing::Layer {
            continue;
        }
        let node = before + step.number;
        let source = Source::new(&parameters, node, step.norm.map(|norm| before + norm));
        let outputs = source.shape[0];
        let count: usize = source.shape.iter().product();
        if source.layer.is_some_and(|layer| layer.is_quantised()) {
            learned.push((node, count));
        }
        layers.push(PackedLayer {
            name: source.name.to_owned(),
            shape: source.shape,
            bits: 1,
            zero: false,
            exponent_min: -10,
            codes: vec![0; count],
            bias: vec![0; outputs],
            shift: vec![0; outputs],
            input_scale: -10,
            output_scale: -10,
            last: false,
        });
    }
    let packed = PackedModel {
        model: model.clone(),
        data: CLASS_NAME.to_owned(),
        classes: vec![CLASS_NAME.to_owned(); model.classes],
        seen: None,
        activations,
        table: match decoder {
            Some(_) => Vec::new(),
            None => vec![0; 256 * model.input[2]],
        },
        layers,
        units: vec![-10; steps.places.len()],
    };
    (packed, learned)
}

/// Bytes of so many codes, which are stored in words of four.
fn bytes(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(32) * 4
}
