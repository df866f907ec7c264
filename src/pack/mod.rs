//! A trained model made into integers: which code every weight has, and what is added and shifted
//! (`docs/FORMAT.md`). Decided once, here, in f64; every device computes the same from it.

mod codes;
mod decode;
mod error;
mod file;
mod size;
mod steps;

pub use codes::unpacked;
pub use decode::decode;
pub use error::PackError;
#[cfg(not(target_arch = "wasm32"))]
pub use file::load;
pub use file::{PACKED_VERSION, encode, is_packed};
pub use size::PackedSize;
#[cfg(feature = "cli")]
pub(crate) use size::blank;

use crate::data::Seen;
use crate::evaluate::Calibration;
use crate::graph::{INPUT, Model};
use crate::levels::{rounded_factor, sign_and_index_bits};
use crate::model::{LayerParameters, Parameters};
use crate::op::NORM_EPSILON;
use crate::op::Packing;
use steps::Steps;
pub(crate) use steps::{BoundStep, bind};

/// One zero in so many weights is rare: where zeros alone would take another bit a weight, they
/// become the smallest level.
const RARE_ZEROS: usize = 1000;

/// Whole numbers that activations may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// -127 to 127
    Eight,
    /// -32,767 to 32,767
    Sixteen,
}

impl Activations {
    /// 8 or 16.
    pub fn bits(self) -> u32 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }

    /// From 8 or 16.
    pub fn from_bits(bits: u32) -> Option<Self> {
        [Self::Eight, Self::Sixteen]
            .into_iter()
            .find(|a| a.bits() == bits)
    }

    /// The largest.
    pub fn most(self) -> i64 {
        (1 << (self.bits() - 1)) - 1
    }
}

/// A convolution or dense layer of a packed model. With x in units of 2^`input_scale`:
///
/// ```text
/// sum[o] = Σ w[o, i] x[i]                    w = ±2^k or 0, in units of 2^exponent_min
/// y[o]   = limits(rounded(((sum[o] << up) + bias[o]) >> down))     shift = down or -up
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedLayer {
    /// Its name.
    pub name: String,
    /// (outputs, kernel height, kernel width, inputs that one output reads)
    pub shape: [usize; 4],
    /// Bits of a code: 1 for ±1, else a sign and an index.
    pub bits: u32,
    /// Whether index 0 stands for zero.
    pub zero: bool,
    /// The smallest exponent of its weights.
    pub exponent_min: i32,
    /// A code a weight, in the order of the shape.
    pub codes: Vec<u8>,
    /// Of every output.
    pub bias: Vec<i32>,
    /// Of every output: places to the right, or, negative, to the left.
    pub shift: Vec<i32>,
    /// log2 of the unit of its inputs.
    pub input_scale: i32,
    /// log2 of the unit of its outputs.
    pub output_scale: i32,
    /// Whether its outputs are the logits, which are not limited.
    pub last: bool,
}

impl PackedLayer {
    /// Largest possible size of any sum of one output, and of what follows from it, for inputs up
    /// to `most`: (sum, everything).
    pub fn bounds(&self, most: i64) -> (i64, i128) {
        let weights = unpacked(&self.codes, self.bits, self.zero);
        let row = weights.len() / self.shape[0].max(1);
        let mut bounds = (0, 0);
        for (o, row) in weights.chunks(row.max(1)).enumerate() {
            let sum = most.saturating_mul(row.iter().map(|w| w.abs()).sum());
            let (bias, shift) = (i128::from(self.bias[o]), i128::from(self.shift[o]));
            let half = (1i128 << shift.max(0)) >> 1;
            let all = (i128::from(sum) << (-shift).max(0)) + bias.abs() + half;
            bounds = (bounds.0.max(sum), bounds.1.max(all));
        }
        bounds
    }

    /// The largest exponent in use, counted from the smallest.
    pub fn span(&self) -> u32 {
        let weights = unpacked(&self.codes, self.bits, self.zero);
        weights
            .iter()
            .map(|w| w.abs())
            .max()
            .unwrap_or(1)
            .max(1)
            .ilog2()
    }

    /// The values of its weights, ascending.
    pub fn levels(&self) -> Vec<f64> {
        let mut whole = unpacked(&self.codes, self.bits, self.zero);
        whole.sort_unstable();
        whole.dedup();
        let unit = f64::from(self.exponent_min).exp2();
        whole.iter().map(|w| *w as f64 * unit).collect()
    }

    /// Weights that are zero.
    pub fn zeros(&self) -> usize {
        let weights = unpacked(&self.codes, self.bits, self.zero);
        weights.iter().filter(|w| **w == 0).count()
    }
}

/// A model that runs on integers: a classifier, or the decoder of an auto-encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedModel {
    /// The model it was made from, an auto-encoder with its encoder.
    pub model: Model,
    /// Name of the data set it learned from.
    pub data: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// What its training images look like on the whole, if that is known.
    pub seen: Option<Seen>,
    /// How large activations may be.
    pub activations: Activations,
    /// What a byte of an image becomes: (channels, 256). Empty for a decoder, which reads latents.
    pub table: Vec<i16>,
    /// Convolutions, dense layers, and batch normalisations that follow neither, in the order of the graph; of an
    /// auto-encoder those after its latent.
    pub layers: Vec<PackedLayer>,
    /// log2 of the unit of every value of [`PackedModel::network`].
    pub units: Vec<i32>,
}

impl PackedModel {
    /// The largest activation.
    pub fn most(&self) -> i64 {
        self.activations.most()
    }

    /// What runs, as a model: a classifier whole, of an auto-encoder the decoder.
    pub fn network(&self) -> Model {
        let decoder = self.model.decoder();
        decoder.unwrap_or_else(|| self.model.clone())
    }

    /// log2 of the unit of what goes in.
    pub fn input_scale(&self) -> i32 {
        self.units[INPUT]
    }

    /// An image, bytes (height, width, channels), as the first layer of a classifier reads it.
    ///
    /// # Panics
    /// Of a decoder, which reads none: see [`PackedModel::latent_input`].
    pub fn image_input(&self, image: &[u8]) -> Vec<i32> {
        let channels = self.model.input[2];
        let bytes = image.iter().enumerate();
        bytes
            .map(|(i, byte)| self.table[256 * (i % channels) + usize::from(*byte)].into())
            .collect()
    }

    /// A latent as the first layer of a decoder reads it, in units of 2^[`PackedModel::input_scale`]:
    /// what lies outside the range of activations becomes its end.
    pub fn latent_input(&self, latent: &[f32]) -> Vec<i32> {
        let (scale, most) = (self.input_scale(), self.most());
        let whole = |v: &f32| whole(f64::from(*v), scale, most) as i32;
        latent.iter().map(whole).collect()
    }

    /// log2 of the unit of the logits.
    pub fn logit_scale(&self) -> i32 {
        self.units.last().copied().unwrap_or(0)
    }

    /// Bytes of its weights and biases as floats.
    pub fn float_bytes(&self) -> usize {
        let numbers = self.layers.iter().map(|l| l.codes.len() + l.bias.len());
        4 * numbers.sum::<usize>()
    }

    /// Shifts and additions that one image takes, as the shift kernel does them.
    pub fn operations(&self) -> Operations {
        let network = self.network();
        let mut sum = Operations::default();
        for step in bind(self, &network, 1) {
            let operations = step.integers.operations();
            sum.additions += operations.additions;
            sum.shifts += operations.shifts;
            sum.multiplications += operations.multiplications;
        }
        sum
    }

    /// Checks that no sum can leave 32 bits.
    ///
    /// # Errors
    /// [`PackError::Overflow`], naming the layer.
    pub(crate) fn check_sums(&self) -> Result<(), PackError> {
        let network = self.network();
        for step in bind(self, &network, 1) {
            if step.integers.bound(self.most()) <= i128::from(i32::MAX) {
                continue;
            }
            let node = step.step.node.name.clone();
            return Err(match step.layer.map(|layer| &self.layers[layer]) {
                Some(layer) => PackError::Overflow {
                    layer: node,
                    exponents: layer.exponent_min..=layer.exponent_min + layer.span() as i32,
                    activations: self.activations.bits(),
                },
                None => PackError::UnitsApart { node },
            });
        }
        Ok(())
    }
}

/// What one image takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Operations {
    /// Additions of 32-bit integers.
    pub additions: u64,
    /// Shifts of 32-bit integers.
    pub shifts: u64,
    /// Always 0; reports show it.
    pub multiplications: u64,
}

/// The unit 2^scale in which whole numbers up to `most` describe the values best: the one with the
/// smallest squared error, among the smallest that reaches every value and three finer ones.
pub fn choose_scale(values: &[f32], most: i64) -> i32 {
    let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return 0;
    }
    let coarsest = (f64::from(largest) / most as f64).log2().ceil() as i32;
    let error = |scale: &i32| -> f64 {
        let unit = f64::from(*scale).exp2();
        let most = most as f64;
        values
            .iter()
            .map(|v| {
                let v = f64::from(*v);
                (v - (v / unit).round().clamp(-most, most) * unit).powi(2)
            })
            .sum()
    };
    (coarsest - 3..=coarsest)
        .min_by(|a, b| error(a).total_cmp(&error(b)))
        .unwrap_or(coarsest)
}

/// What a trained model says of itself, as far as it matters here.
pub struct Trained<'a> {
    /// The model.
    pub model: &'a Model,
    /// Name of the data set it learned from.
    pub data: &'a str,
    /// Names of the classes.
    pub classes: &'a [String],
    /// What its training images look like on the whole, if that is known.
    pub seen: Option<Seen>,
    /// The arena of weights.
    pub weights: &'a [f32],
    /// The arena of running statistics of LP.
    pub running: &'a [f32],
    /// Whether LP's normalisations multiply by factors as they are: such a model cannot be packed.
    pub exact_norm: bool,
}

/// Packs a trained model: a classifier, or the decoder of an auto-encoder.
///
/// # Errors
/// [`PackError::ExactNorm`], and naming the layer [`PackError::Float`], or [`PackError::Overflow`] and
/// [`PackError::UnitsApart`] when a sum could leave 32 bits.
pub fn pack(
    trained: &Trained<'_>,
    activations: Activations,
    calibration: &Calibration,
) -> Result<PackedModel, PackError> {
    let parameters = Parameters::new(trained.model);
    let quantiser = trained.model.quantiser;
    if quantiser.method().is_some_and(|method| !method.is_shift()) {
        return Err(PackError::Multiplies { quantiser });
    }
    if trained.exact_norm && !parameters.norms.is_empty() {
        return Err(PackError::ExactNorm);
    }
    let decoder = trained.model.decoder();
    let network = decoder.as_ref().unwrap_or(trained.model);
    // Nodes before those of the decoder.
    let before = trained.model.graph.nodes.len() - network.graph.nodes.len();
    let most = activations.most();
    let steps = Steps::of(network);
    let mut units = vec![0; steps.places.len()];
    units[INPUT] = choose_scale(&calibration.values[INPUT], most);
    let mut layers = Vec::new();
    for step in &steps.steps {
        let input = units[step.inputs[0]];
        let measured = || choose_scale(&calibration.values[step.output], most);
        units[step.output] = match step.node.op.operation().packing() {
            Packing::SameUnit | Packing::Limits { .. } | Packing::View => input,
            Packing::Boundary => {
                return Err(PackError::NoIntegers {
                    node: step.node.name.clone(),
                    word: step.node.op.operation().word(),
                });
            }
            Packing::OwnUnit => measured(),
            Packing::Layer => {
                let output = (!steps.gives_sums(step)).then(measured);
                let layer = Source::new(
                    &parameters,
                    before + step.number,
                    step.norm.map(|norm| before + norm),
                );
                let packed =
                    pack_layer(trained, &parameters, &layer, (input, output), activations)?;
                let unit = packed.output_scale;
                layers.push(packed);
                unit
            }
        };
    }
    for (value, place) in steps.places.iter().enumerate() {
        units[value] = units[*place];
    }
    fill_fused(&mut units, &steps);
    let packed = PackedModel {
        model: trained.model.clone(),
        data: trained.data.to_owned(),
        classes: trained.classes.to_vec(),
        seen: trained.seen,
        activations,
        table: match decoder {
            Some(_) => Vec::new(),
            None => input_table(trained.model, units[INPUT], most),
        },
        layers,
        units,
    };
    packed.check_sums()?;
    Ok(packed)
}

/// Gives values that nobody stores, because they are fused away, the unit of the step that fuses them.
fn fill_fused(units: &mut [i32], steps: &Steps<'_>) {
    for step in &steps.steps {
        let fused = [Some(step.number), step.norm];
        for number in fused.into_iter().flatten() {
            units[number + 1] = units[step.output];
        }
    }
}

/// Where the numbers of a packed layer come from.
struct Source<'a> {
    name: &'a str,
    /// (outputs, kernel height, kernel width, inputs that one output reads)
    shape: [usize; 4],
    layer: Option<&'a LayerParameters>,
    norm: Option<&'a crate::model::NormParameters>,
}

impl<'a> Source<'a> {
    /// The weights of a node and the normalisation behind it, or a normalisation alone.
    fn new(parameters: &'a Parameters, node: usize, norm: Option<usize>) -> Self {
        let layer = parameters.layer_of(node);
        let norm = norm.map_or_else(|| parameters.norm_of(node), |norm| parameters.norm_of(norm));
        let name = layer.map(|layer| layer.name.as_str());
        let channels = norm.map_or(0, |norm| norm.channels);
        Self {
            name: name
                .or(norm.map(|norm| norm.name.as_str()))
                .unwrap_or_default(),
            shape: layer.map_or([channels, 1, 1, 1], |layer| layer.shape),
            layer,
            norm,
        }
    }

    /// The sign of every quantised weight, and its exponent unless it is zero; of a normalisation alone, ones.
    fn weights(
        &self,
        parameters: &Parameters,
        arena: &[f32],
    ) -> Result<Vec<(bool, Option<i32>)>, PackError> {
        let Some(layer) = self.layer else {
            return Ok(vec![(false, Some(0)); self.shape[0]]);
        };
        if !layer.is_quantised() {
            return Err(PackError::Float {
                layer: layer.name.clone(),
            });
        }
        // Of a weight that becomes zero the sign still counts: few of them become the smallest level after all.
        let weights = layer.weight_values(arena);
        let values = parameters.quantised_values(layer, arena);
        let exponent = |value: f64| (value != 0.0).then(|| value.abs().log2().round() as i32);
        let signed = weights.iter().zip(values);
        Ok(signed.map(|(w, q)| (*w < 0.0, exponent(q))).collect())
    }

    /// The factor ±2^k of every output and what is added before it: y = factor (sum + offset).
    fn factors(&self, trained: &Trained<'_>) -> Vec<(f64, f64)> {
        let outputs = self.shape[0];
        let bias = self
            .layer
            .map(|layer| layer.bias_values(trained.weights))
            .unwrap_or_default();
        let bias = |o: usize| bias.get(o).copied().map_or(0.0, f64::from);
        let Some(norm) = self.norm else {
            return (0..outputs).map(|o| (1.0, bias(o))).collect();
        };
        let [gamma, beta] = norm.values(trained.weights);
        let running = norm.running_values(trained.running);
        let factor = |o: usize| {
            let deviation = (f64::from(running[outputs + o]) + NORM_EPSILON).sqrt();
            let factor = rounded_factor(f64::from(gamma[o]) / deviation);
            let offset = f64::from(beta[o]) / factor - f64::from(running[o]) + bias(o);
            match factor == 0.0 {
                true => (0.0, f64::from(beta[o])),
                false => (factor, offset),
            }
        };
        (0..outputs).map(factor).collect()
    }
}

/// The nearest whole number of units 2^scale, halves away from zero, up to `most`.
fn whole(value: f64, scale: i32, most: i64) -> i64 {
    let whole = (value / f64::from(scale).exp2()).round();
    whole.clamp(-(most as f64), most as f64) as i64
}

/// Bytes as the first layer takes them, in units of 2^scale.
fn input_table(model: &Model, scale: i32, most: i64) -> Vec<i16> {
    let channels = model.input[2];
    let bytes: Vec<u8> = (0..=255).collect();
    let mut table = Vec::new();
    for c in 0..channels {
        for byte in &bytes {
            let image = vec![*byte; channels];
            let value = f64::from(model.scaling.apply(&image, channels)[c]);
            table.push(whole(value, scale, most) as i16);
        }
    }
    table
}

fn pack_layer(
    trained: &Trained<'_>,
    parameters: &Parameters,
    source: &Source<'_>,
    (input_scale, output_scale): (i32, Option<i32>),
    activations: Activations,
) -> Result<PackedLayer, PackError> {
    let weights = source.weights(parameters, trained.weights)?;
    let factors = source.factors(trained);
    let fan_in: usize = source.shape[1..].iter().product();
    // The sign of every weight, with its output's, and its exponent: `None` of a weight of zero.
    let weights: Vec<(bool, Option<i32>)> = weights
        .iter()
        .enumerate()
        .map(|(i, (negative, exponent))| {
            let factor = factors[i / fan_in].0;
            let negative = *negative != (factor < 0.0);
            (negative, exponent.filter(|_| factor != 0.0))
        })
        .collect();
    let exponents = || weights.iter().filter_map(|(_, e)| *e);
    let exponent_min = exponents().min().unwrap_or(0);
    let range = exponents().max().unwrap_or(0) - exponent_min + 1;
    let code_bits = |zero: bool| sign_and_index_bits(range as u32 + u32::from(zero));
    let zeros = weights.iter().filter(|(_, e)| e.is_none()).count();
    let rare = zeros * RARE_ZEROS <= weights.len() && factors.iter().all(|f| f.0 != 0.0);
    let zero = zeros > 0 && !(rare && code_bits(false) < code_bits(true));
    let overflow = |activations| PackError::Overflow {
        layer: source.name.to_owned(),
        exponents: exponent_min..=exponent_min + range - 1,
        activations,
    };
    if range + i32::from(zero) > 32 {
        return Err(overflow(activations.bits()));
    }
    // A sign, and an index for every exponent and for zero.
    let bits = code_bits(zero);
    let code = |(negative, exponent): &(bool, Option<i32>)| match exponent {
        None if zero => 0,
        e => {
            let index = (e.unwrap_or(exponent_min) - exponent_min) as u32 + u32::from(zero);
            ((u32::from(*negative) << (bits - 1)) | index) as u8
        }
    };
    let sum_scale = input_scale + exponent_min;
    let (mut bias, mut shift) = (Vec::new(), Vec::new());
    for (factor, offset) in &factors {
        // Without a factor the output is the offset, in its own unit.
        let places = match (output_scale, *factor == 0.0) {
            (None, _) | (_, true) => 0,
            (Some(output), false) => output - sum_scale - factor.abs().log2() as i32,
        };
        let unit = match (output_scale, *factor == 0.0) {
            (Some(output), true) => output,
            _ => sum_scale - (-places).max(0),
        };
        let sign = if *factor < 0.0 { -1.0 } else { 1.0 };
        let whole = (sign * offset / f64::from(unit).exp2()).round();
        if whole.abs() >= f64::from(i32::MAX) {
            return Err(PackError::Offset {
                layer: source.name.to_owned(),
                offset: *offset,
            });
        }
        if !(-31..=31).contains(&places) {
            return Err(overflow(activations.bits()));
        }
        bias.push(whole as i32);
        shift.push(places);
    }
    Ok(PackedLayer {
        name: source.name.to_owned(),
        shape: source.shape,
        bits,
        zero,
        exponent_min,
        codes: weights.iter().map(code).collect(),
        bias,
        shift,
        input_scale,
        output_scale: output_scale.unwrap_or(sum_scale),
        last: output_scale.is_none(),
    })
}
