//! What the layers of a model pay for their bits.

use super::{Optimiser, StraightThrough, TrainError, TrainOptions};
use crate::graph::Model;
use crate::model::{BitBudget, Parameters, Prices, SlopesPay};
use crate::pack::PackedSize;

/// The targets and the budget of a model's layers, by their names.
///
/// # Errors
/// [`TrainError::BadOption`] for layers that the model does not have, a size that no file of it can have, and for quantisers
/// whose layers do not choose their bits.
pub(super) fn prices(model: &Model, options: &TrainOptions) -> Result<Prices, TrainError> {
    let parameters = Parameters::new(model);
    let quantiser = model.quantiser;
    let priced = if options.target_size > 0 {
        Some(("target-size", options.target_size.to_string()))
    } else {
        let layers = options.layer_bits.keys();
        layers.last().map(|layer| ("target-bits", layer.clone()))
    };
    if let (Some((option, value)), false) = (priced, quantiser.is_gtc()) {
        let remedy =
            format!("layers choose their bits with --quantiser gtc alone, not {quantiser}");
        return Err(TrainError::BadOption {
            option,
            value,
            remedy,
        });
    }
    let names: Vec<&str> = parameters
        .quantised()
        .map(|layer| layer.name.as_str())
        .collect();
    let layer_bits = options.bits_of_layers(&names);
    for (name, bits) in &layer_bits {
        if !names.contains(&name.as_str()) {
            return Err(TrainError::BadOption {
                option: "target-bits",
                value: format!("{name}={bits}"),
                remedy: format!(
                    "quantised layers of {} are {}, or first and last",
                    model.name,
                    names.join(", ")
                ),
            });
        }
    }
    let budget = match options.target_size {
        0 => None,
        target => {
            let size = PackedSize::of(model)?;
            let least = size.bytes(names.iter().map(|_| 1));
            let target = target as usize;
            if least > target {
                return Err(TrainError::BadOption {
                    option: "target-size",
                    value: format!("{target}"),
                    remedy: format!(
                        "with one bit for every weight the packed file of {} has {least} bytes",
                        model.name
                    ),
                });
            }
            Some(BitBudget {
                bits: 8.0 * (target - size.rest) as f32,
                weights: size.weights,
            })
        }
    };
    Ok(Prices {
        slopes_pay: match (options.straight_through, options.optimiser) {
            (StraightThrough::Identity, _) => SlopesPay::All,
            (_, Optimiser::Muon) => SlopesPay::Matrices,
            _ => SlopesPay::None,
        },
        bits: layer_bits,
        budget,
    })
}
