//! A packed model that reads drawings, with shifts and additions alone.

use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::{Engine, failed, json, lost, named};
use crate::infer::{InferError, Inference, best, probabilities};
use crate::op::Arithmetic;
use crate::pack::{Operations, PackedModel, decode, unpacked};
use crate::picture::digit_from_ink;

/// What the page shows of a packed model.
#[derive(Serialize)]
struct Description<'m> {
    data: &'m str,
    classes: &'m [String],
    bytes: usize,
    float_bytes: usize,
    operations: Operations,
    layers: Vec<LayerDescription<'m>>,
}

#[derive(Serialize)]
struct LayerDescription<'m> {
    name: &'m str,
    /// (outputs, kernel height, kernel width, inputs)
    shape: [usize; 4],
    bits: u32,
    levels: Vec<f64>,
    /// Of the first layer alone: every weight's value, in the order of the shape.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    weights: Vec<f64>,
}

/// What a model makes of one image.
#[derive(Serialize)]
struct Reading {
    best: usize,
    logits: Vec<i32>,
    probabilities: Vec<f64>,
    milliseconds: f64,
    /// What is unusual about the image, so that the answer is doubtful; nothing if nothing is.
    unlike: Option<&'static str>,
}

/// Reads one image at a time.
#[wasm_bindgen]
pub struct Reader {
    inference: Inference<'static>,
    bytes: usize,
}

#[wasm_bindgen]
impl Reader {
    /// Compiles a packed model from its file's bytes; `name` is the file's, for messages.
    ///
    /// # Errors
    /// When it is no packed model of 28 x 28 grey pixels, or the device fails.
    #[wasm_bindgen(constructor)]
    pub fn new(engine: &Engine, name: &str, file: &[u8]) -> Result<Reader, js_sys::Error> {
        let model = decode(name, file).map_err(|e| named("GtcError", &e.to_string()))?;
        if model.model.latent().is_some() {
            let message = format!("{name}: a decoder, which draws pictures and reads none");
            return Err(named("GtcError", &message));
        }
        let fits = model.model.check_input([28, 28, 1]);
        fits.map_err(|e| named("GtcError", &e.to_string()))?;
        let inference = Inference::small(engine.gpu, model, 1, Some(Arithmetic::Shift));
        Ok(Reader {
            inference: inference.map_err(|error| match error {
                InferError::Gpu(error) => failed(engine.gpu, error),
                error => named("GtcError", &error.to_string()),
            })?,
            bytes: file.len(),
        })
    }

    fn model(&self) -> &PackedModel {
        self.inference.model()
    }

    /// Sizes, levels, operations and the first layer's filters.
    ///
    /// # Errors
    /// None.
    pub fn describe(&self) -> Result<String, js_sys::Error> {
        let model = self.model();
        let layers = model.layers.iter().enumerate().map(|(number, layer)| {
            let unit = f64::from(layer.exponent_min).exp2();
            let whole = match number {
                0 => unpacked(&layer.codes, layer.bits, layer.zero),
                _ => Vec::new(),
            };
            LayerDescription {
                name: &layer.name,
                shape: layer.shape,
                bits: layer.bits,
                levels: layer.levels(),
                weights: whole.iter().map(|w| *w as f64 * unit).collect(),
            }
        });
        json(&Description {
            data: &model.data,
            classes: &model.classes,
            bytes: self.bytes,
            float_bytes: model.float_bytes(),
            operations: model.operations(),
            layers: layers.collect(),
        })
    }

    /// Reads 28 x 28 bytes.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn read(&mut self, image: &[u8]) -> Result<String, js_sys::Error> {
        if image.len() != 28 * 28 {
            let message = format!("{} bytes are no image of 28 x 28", image.len());
            return Err(named("GtcError", &message));
        }
        let started = super::milliseconds();
        let input = self.model().image_input(image);
        self.inference.upload([input].into_iter());
        self.inference.run();
        let logits = self.inference.logits(1).await;
        let mut logits = logits.map_err(lost)?;
        let logits = logits.pop().unwrap_or_default();
        json(&Reading {
            best: best(&logits),
            probabilities: probabilities(&logits, self.model().logit_scale()),
            milliseconds: super::milliseconds() - started,
            unlike: self.model().seen.and_then(|seen| seen.unlike(image)),
            logits,
        })
    }
}

/// Makes 28 x 28 bytes like MNIST's of a drawing with so many columns, 255 for full ink. A drawing of that size
/// stays as it is.
///
/// # Errors
/// When the drawing is no whole number of rows.
#[wasm_bindgen]
pub fn centred(ink: &[u8], width: usize) -> Result<Vec<u8>, js_sys::Error> {
    if width == 0 || !ink.len().is_multiple_of(width) {
        let message = format!("{} pixels are no rows of {width}", ink.len());
        return Err(named("GtcError", &message));
    }
    Ok(digit_from_ink(ink, width))
}
