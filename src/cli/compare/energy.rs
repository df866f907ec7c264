//! The energy of an image on the accelerator of `gtc simulate`, for networks that need not be packed.

use super::contenders::Contender;
use crate::cli::CliError;
use crate::costs::LayerCosts;
use crate::export::Program;
use crate::graph::Model;
use crate::pack::{Activations, blank};
use crate::quantiser::Quantiser;
use crate::simulate::{Accelerator, Format, Node, Workload, cost};

/// What the energies are of.
pub(super) const ACCELERATOR: &str = "16 lanes, up to 1 MiB each for weights and activations, 8-bit activations, 45 nm: the model of `gtc simulate`";
/// Bits of a factor behind a sum.
const FACTOR_BITS: u32 = 8;

/// µJ of an image. Weights that are ± one size, zero or powers of two are costed as the packed network's; others as linear
/// integers of their bits; those in float as floats of 32 bits. Each factor behind a sum is a multiplication of the sum by 8
/// bits.
pub(super) fn energy(
    model: &Model,
    contender: &Contender,
    layers: &[LayerCosts],
) -> Result<f64, CliError> {
    let (packed, _) = blank(model, Activations::Eight);
    let network = packed.network();
    let program = Program::new(&packed, &network)?;
    let mut workload = Workload::new(&program);
    for work in &mut workload.works {
        let costs = layers.iter().find(|layer| layer.name == work.name);
        if let (Some(product), Some(costs)) = (&mut work.product, costs)
            && costs.quantised
        {
            product.bits = costs.code_bits as u32;
            product.span = costs.span;
        }
    }
    let format = match contender {
        Contender::Float => Format::Float32,
        Contender::Method(Quantiser::Lsq(bits) | Quantiser::Apot(bits)) => Format::Linear(*bits),
        _ => Format::Packed,
    };
    let (on, node) = (Accelerator::default(), Node::by_name("45nm")?);
    let [quantised, float] =
        [format, Format::Float32].map(|format| cost(&workload, format, &on, &node, None));
    let mut picojoules = 0.0;
    let costed = quantised.layers.iter().zip(&float.layers);
    // By the name of the work: that of its cost names a pool as well.
    for ((own, float), work) in costed.zip(&workload.works) {
        let costs = layers.iter().find(|layer| layer.name == work.name);
        let in_float = costs.is_some_and(|costs| !costs.quantised);
        picojoules += if in_float { float } else { own }.energy.total();
        let factors = costs.map_or(0, |costs| costs.scale_multiplications);
        picojoules += factors as f64 * node.multiply_int(own.accumulator_bits, FACTOR_BITS);
    }
    Ok(picojoules / 1e6)
}
