//! Float models from elsewhere: safetensors files with PyTorch's names and layouts.
//!
//! | tensor | shape | meaning |
//! |---|---|---|
//! | `LAYER.weight` | convolution (outputs, inputs, height, width); dense (outputs, inputs), the inputs of an image flattened channel by channel | weights |
//! | `LAYER.bias` | (outputs) | may be missing: zeros |
//! | `LAYER.norm.weight`, `LAYER.norm.bias` | (outputs) | γ and β of a batch normalisation |
//! | `LAYER.norm.running_mean`, `LAYER.norm.running_var` | (outputs) | its running statistics |
//!
//! `LAYER` is one of the layers of one of this crate's models. Numbers are float32. Images go in as
//! numbers from 0 to 1, scaled by the model's [`Scaling`](crate::model::Scaling).

use safetensors::tensor::{Dtype, SafeTensors};

use crate::checkpoint::CheckpointError;
use crate::model::{LayerParameters, LayerValues, Model, NAMES, NormParameters, Parameters};
use crate::quantiser::{INTERCEPT, SLOPE};
use crate::tensor::pad4;

/// A float model.
#[derive(Clone, Debug)]
pub struct ForeignModel {
    /// Which of the models its tensors are.
    pub model: Model,
    /// The arena of weights.
    pub weights: Vec<f32>,
    /// The arena of running statistics.
    pub running: Vec<f32>,
}

/// Reads the model whose tensors a file holds; `file` is its name for messages.
///
/// # Errors
/// [`CheckpointError::Damaged`], [`CheckpointError::NotFinite`], or [`CheckpointError::Foreign`] with
/// what is missing of the model that comes nearest.
pub fn decode(file: &str, data: &[u8]) -> Result<ForeignModel, CheckpointError> {
    let tensors = SafeTensors::deserialize(data).map_err(|e| CheckpointError::Damaged {
        file: file.to_owned(),
        reason: e.to_string(),
    })?;
    let mut nearest: Option<(usize, CheckpointError)> = None;
    for name in NAMES {
        let model = Model::by_name(name)?;
        if model.likelihood.is_some() {
            continue; // classifiers only
        }
        match read(file, &tensors, model) {
            Ok(found) => return Ok(found),
            Err((_, error @ CheckpointError::NotFinite { .. })) => return Err(error),
            Err((layers, error)) => {
                if nearest.as_ref().is_none_or(|(most, _)| layers > *most) {
                    nearest = Some((layers, error));
                }
            }
        }
    }
    Err(nearest.map_or_else(
        || CheckpointError::Foreign {
            file: file.to_owned(),
            reason: "no model is known".to_owned(),
        },
        |(_, error)| error,
    ))
}

/// The file as a given model, or how many layers were read before what was wrong.
fn read(
    file: &str,
    tensors: &SafeTensors<'_>,
    model: Model,
) -> Result<ForeignModel, (usize, CheckpointError)> {
    let parameters = Parameters::new(&model);
    let mut weights = vec![0.0; pad4(parameters.layout.len())];
    let mut running = parameters.initial_running();
    for (number, layer) in parameters.layers.iter().enumerate() {
        // The normalisation right behind the layer.
        let norm = match layer.is_normalised() {
            true => parameters
                .norms
                .iter()
                .find(|norm| norm.node == layer.node + 1),
            false => None,
        };
        let arenas = (&mut weights[..], &mut running[..]);
        read_layer(file, tensors, &model, (layer, norm), arenas)
            .map_err(|error| (number, error))?;
    }
    Ok(ForeignModel {
        model,
        weights,
        running,
    })
}

fn read_layer(
    file: &str,
    tensors: &SafeTensors<'_>,
    model: &Model,
    (layer, norm): (&LayerParameters, Option<&NormParameters>),
    (arena, running): (&mut [f32], &mut [f32]),
) -> Result<(), CheckpointError> {
    let values = |name: &str, shapes: &[&[usize]]| numbers(file, tensors, model, name, shapes);
    let [outputs, height, width, inputs] = layer.shape;
    let name = |part: &str| format!("{}.{part}", layer.name);
    let shapes: [&[usize]; 2] = [
        &[outputs, inputs, height, width],
        &[outputs, inputs * height * width],
    ];
    let theirs = values(&name("weight"), &shapes)?;
    let mut ours = vec![0.0; theirs.len()];
    for (i, weight) in theirs.iter().enumerate() {
        let (pixel, rest) = (i % (height * width), i / (height * width));
        let (input, output) = (rest % inputs, rest / inputs);
        ours[(output * height * width + pixel) * inputs + input] = *weight;
    }
    let one: [&[usize]; 1] = [&[outputs]];
    let bias = match tensors.tensor(&name("bias")) {
        Ok(_) => values(&name("bias"), &one)?,
        Err(_) => vec![0.0; outputs],
    };
    if let Some(norm) = norm {
        let gamma = values(&name("norm.weight"), &one)?;
        let mut statistics = values(&name("norm.running_mean"), &one)?;
        if !layer.has_bias() {
            // A bias before a normalisation only moves the mean.
            statistics.iter_mut().zip(&bias).for_each(|(m, b)| *m -= b);
        }
        statistics.extend(values(&name("norm.running_var"), &one)?);
        norm.place_running(running, &statistics);
        norm.place(arena, &gamma, &values(&name("norm.bias"), &one)?);
    }
    layer.place(
        arena,
        &LayerValues {
            weights: &ours,
            bias: if layer.has_bias() { &bias } else { &[] },
            quantiser: &[INTERCEPT, SLOPE],
        },
    );
    Ok(())
}

fn numbers(
    file: &str,
    tensors: &SafeTensors<'_>,
    model: &Model,
    name: &str,
    shapes: &[&[usize]],
) -> Result<Vec<f32>, CheckpointError> {
    let foreign = |reason: String| CheckpointError::Foreign {
        file: file.to_owned(),
        reason: format!("as a {} in PyTorch's layout: {reason}", model.name),
    };
    let view = tensors
        .tensor(name)
        .map_err(|_| foreign(format!("tensor '{name}' is missing")))?;
    if view.dtype() != Dtype::F32 {
        let reason = format!("tensor '{name}' is {:?}; save it as float32", view.dtype());
        return Err(foreign(reason));
    }
    if !shapes.contains(&view.shape()) {
        let wanted: Vec<String> = shapes.iter().map(|s| format!("{s:?}")).collect();
        let reason = format!(
            "tensor '{name}' is {:?}, not {}",
            view.shape(),
            wanted.join(" or ")
        );
        return Err(foreign(reason));
    }
    let words = view.data().chunks_exact(4);
    let values: Vec<f32> = words
        .map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]]))
        .collect();
    crate::checkpoint::check_finite(file, name, &values)?;
    Ok(values)
}
