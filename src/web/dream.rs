//! An auto-encoder that draws: samples, and a plane of its latent space.

use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::{Engine, failed, json, named};
use crate::checkpoint;
use crate::data::{Dataset, Images};
use crate::generate::{Generator, Which, draw_latents};
use crate::gpu::Gpu;
use crate::inspect::inspect;
use crate::model::Parameters;

/// Images that are decoded at a time.
const BATCH: usize = 16;

/// What the page shows of an auto-encoder.
#[derive(Serialize)]
struct Description<'m> {
    model: &'m str,
    /// Images it learned from.
    images: usize,
    latent: usize,
    /// Bits of each layer's weights.
    bits: Vec<u32>,
    /// Bytes of all weights as floats, and as codes of that many bits.
    float_bytes: usize,
    bytes: usize,
}

/// Draws with both networks of one auto-encoder of 28 x 28 grey pixels.
#[wasm_bindgen]
pub struct Dreamer {
    gpu: &'static Gpu,
    digits: &'static Dataset,
    generator: Generator<'static>,
    description: String,
    /// For HP and LP: latents of the plane's corners, top left, top right, bottom left, bottom right.
    corners: [Vec<Vec<f32>>; 2],
}

#[wasm_bindgen]
impl Dreamer {
    /// Compiles a trained auto-encoder from its file's bytes; `name` is the file's, for messages.
    ///
    /// # Errors
    /// When it is no auto-encoder of 28 x 28 grey pixels, or the device fails.
    #[wasm_bindgen(constructor)]
    pub fn new(engine: &Engine, name: &str, file: &[u8]) -> Result<Dreamer, js_sys::Error> {
        let bad = |e: &dyn std::fmt::Display| named("GtcError", &e.to_string());
        let found = checkpoint::decode(name, file).map_err(|e| bad(&e))?;
        let model = found.header.model().map_err(|e| bad(&e))?;
        let size = engine.digits.test.size();
        model.check_input(size).map_err(|e| bad(&e))?;
        let parameters = Parameters::new(&model);
        let layers = inspect(&parameters, &found.snapshot.weights);
        let weights = layers.iter().map(|layer| layer.weights);
        let bits = layers.iter().map(|l| l.weights * l.bits as usize);
        let description = json(&Description {
            model: &model.name,
            images: found.header.images,
            latent: model.latent().unwrap_or_default(),
            bits: layers.iter().map(|layer| layer.bits).collect(),
            float_bytes: 4 * weights.sum::<usize>(),
            bytes: bits.sum::<usize>().div_ceil(8),
        })?;
        let generator = Generator::new(engine.gpu, model, BATCH)
            .map_err(|e| failed(engine.gpu, e))?
            .ok_or_else(|| bad(&format!("{name}: a classifier, which draws nothing")))?;
        generator.set_weights(&found.snapshot.weights);
        Ok(Dreamer {
            gpu: engine.gpu,
            digits: engine.digits,
            generator,
            description,
            corners: Default::default(),
        })
    }

    /// The model in figures, as JSON.
    pub fn describe(&self) -> String {
        self.description.clone()
    }

    /// `count` images of HP, then what LP makes of the same noise: bytes, 28 x 28 an image.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn samples(&self, seed: u32, count: usize) -> Result<Vec<u8>, js_sys::Error> {
        let latents = draw_latents(u64::from(seed), count, self.generator.latent());
        self.decode([&latents, &latents]).await
    }

    /// Spreads the plane between four held-out digits: top left, top right, bottom left, bottom
    /// right.
    ///
    /// # Errors
    /// When the device fails, or there are not four digits of these numbers.
    pub async fn between(&mut self, numbers: &[u32]) -> Result<(), js_sys::Error> {
        let test = &self.digits.test;
        if numbers.len() != 4 || numbers.iter().any(|n| *n as usize >= test.count()) {
            return Err(named("GtcError", "the plane needs four held-out digits"));
        }
        let mut ends = Images {
            height: test.height,
            width: test.width,
            channels: test.channels,
            ..Images::default()
        };
        for n in numbers {
            ends.pixels.extend(test.image(*n as usize));
            ends.labels.push(0);
        }
        for which in Which::BOTH {
            let means = self.generator.encode(which, &ends).await;
            self.corners[which as usize] = means.map_err(|e| failed(self.gpu, e))?;
        }
        Ok(())
    }

    /// The plane's images at places (x, y), both from 0 to 1 and one after the other: HP's, then
    /// LP's, as [`Dreamer::samples`] gives them.
    ///
    /// # Errors
    /// When the device fails, or the plane has no corners yet.
    pub async fn walk(&self, places: &[f32]) -> Result<Vec<u8>, js_sys::Error> {
        if self.corners[0].is_empty() {
            return Err(named("GtcError", "the plane has no corners yet"));
        }
        let latents = self.corners.each_ref().map(|corners| {
            let places = places.chunks_exact(2);
            let places = places.map(|place| mixed(corners, place[0], place[1]));
            places.collect::<Vec<_>>()
        });
        self.decode([&latents[0], &latents[1]]).await
    }

    async fn decode(&self, latents: [&[Vec<f32>]; 2]) -> Result<Vec<u8>, js_sys::Error> {
        let mut pixels = Vec::new();
        for which in Which::BOTH {
            let decoded = self.generator.decode(which, latents[which as usize]).await;
            pixels.extend_from_slice(&decoded.map_err(|e| failed(self.gpu, e))?.pixels);
        }
        Ok(pixels)
    }
}

/// Between four corners: linear along each side, and as far from zero as the corners are, because a
/// mean of latents lies nearer to zero than any sample of the prior.
fn mixed(corners: &[Vec<f32>], x: f32, y: f32) -> Vec<f32> {
    let shares = [(1.0 - x) * (1.0 - y), x * (1.0 - y), (1.0 - x) * y, x * y];
    let mix = |i: usize| corners.iter().zip(shares).map(|(c, s)| s * c[i]).sum();
    let place: Vec<f32> = (0..corners[0].len()).map(mix).collect();
    let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    let wanted: f32 = corners.iter().zip(shares).map(|(c, s)| s * norm(c)).sum();
    let scale = wanted / norm(&place).max(1e-3);
    place.iter().map(|v| scale * v).collect()
}
