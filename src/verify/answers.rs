//! Known answers, which programs for other machines carry along to test themselves.

use crate::data::{DataError, embedded_digits};
use crate::pack::PackedModel;
use crate::reference;
use crate::rng::Philox;

/// An input and the output it must give.
#[derive(Clone, Debug)]
pub struct KnownAnswer {
    /// Bytes of an image, or the whole numbers of a latent.
    pub input: Vec<i32>,
    /// As [`reference::infer`] gives it.
    pub logits: Vec<i32>,
}

/// Inputs and the outputs that they must have: digits for a network that reads such images, else noise.
///
/// # Errors
/// [`DataError`] should the embedded digits be damaged.
pub fn known_answers(model: &PackedModel, count: usize) -> Result<Vec<KnownAnswer>, DataError> {
    let network = model.network();
    let numbers: usize = network.input.iter().product();
    let digits = embedded_digits()?.test;
    let mut rng = Philox::new(1, 0);
    let vector = |number: usize| {
        if model.table.is_empty() {
            let latent: Vec<f32> = (0..numbers).map(|_| rng.normal() as f32).collect();
            let input = model.latent_input(&latent);
            let logits = reference::infer(model, &input);
            return KnownAnswer { input, logits };
        }
        let image: Vec<u8> = match network.input == [28, 28, 1] {
            true => digits.image(number % digits.count()).to_vec(),
            false => (0..numbers).map(|_| rng.below(256) as u8).collect(),
        };
        KnownAnswer {
            input: image.iter().map(|byte| i32::from(*byte)).collect(),
            logits: reference::infer(model, &model.image_input(&image)),
        }
    };
    Ok((0..count).map(vector).collect())
}

/// Every value of a packed network for one input, as [`reference::values`] gives them: what a model of hardware counts zeros
/// in.
pub fn known_values(model: &PackedModel, input: &[i32]) -> Vec<Vec<i64>> {
    reference::values(model, input)
}
