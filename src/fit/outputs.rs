//! Levels for a network layer by layer, so that what each layer computes from some images changes least.

use super::levels::Fit;
use super::rounding::{Inputs, Levels};
use crate::data::Images;
use crate::evaluate::{Evaluator, Tracer};
use crate::gpu::{Gpu, GpuError};
use crate::graph::{INPUT, Model, Node, Shape, Value};
use crate::model::{LayerParameters, LayerValues};
use crate::rng::Philox;
use crate::tensor::pad4;
use crate::train::Snapshot;

/// Images that rows of inputs are taken from, or more where these have too few.
const IMAGES: usize = 1000;
/// Rows of inputs, at most.
const ROWS: usize = 8192;
/// Rows for each input that are enough. A dense layer has one row an image, and with fewer rows than inputs, weights make up for
/// errors in ways that only these images bear out.
const ROWS_AN_INPUT: usize = 8;
/// Numbers of all values of a batch, at most: they are kept until they are read.
const NUMBERS: usize = 1 << 26;
/// Images of a batch, at most.
const BATCH: usize = 100;

/// Gives every quantised layer levels, in place, each of its own of `bits`: weights stay where they are, as far as their level allows it.
/// LP's running statistics follow its new weights. `tick` is called with the part that is done, 0 to 1.
///
/// # Errors
/// [`GpuError`] when memory is refused or the device fails meanwhile.
pub async fn fit_outputs(
    gpu: &Gpu,
    model: &Model,
    snapshot: &mut Snapshot,
    round_norm: bool,
    (images, bits): (&Images, &[u32]),
    mut tick: impl FnMut(f64),
) -> Result<Vec<Fit>, GpuError> {
    let shapes = model.shapes();
    let numbers: usize = shapes
        .iter()
        .map(|shape| shape.pixels() * pad4(shape.channels))
        .sum();
    let batch = (NUMBERS / numbers.max(1))
        .clamp(1, BATCH)
        .min(images.count().max(1));
    let mut fitter = Fitter {
        evaluator: Evaluator::new(gpu, model.clone(), batch, round_norm)?,
        tracers: Vec::new(),
        shapes,
        places: model.graph.places(),
        images,
        batch,
        batches: batches_at_least(batch, images.count()),
        trained: snapshot.weights.clone(),
        running: [snapshot.running[0].clone(), snapshot.running[0].clone()],
        weights: snapshot.weights.clone(),
    };
    for network in 0..2 {
        fitter.tracers.push(fitter.evaluator.tracer(network)?);
    }
    let mut fits = Vec::new();
    let nodes = &model.graph.nodes;
    for (number, node) in nodes.iter().enumerate() {
        tick(number as f64 / nodes.len() as f64);
        let parameters = fitter.evaluator.parameters();
        if let Some(layer) = parameters.layer_of(number).cloned() {
            if layer.is_quantised() {
                let bits = bits[fits.len()];
                fits.push(fitter.layer(node, &layer, bits).await?);
            }
        } else if parameters.norm_of(number).is_some() {
            fitter.statistics(number, node.inputs[0]).await?;
        }
    }
    snapshot.weights = fitter.weights;
    snapshot.running[1] = fitter.running[1].clone();
    Ok(fits)
}

/// Batches of `batch` images that hold [`IMAGES`], or the `images` that there are.
fn batches_at_least(batch: usize, images: usize) -> usize {
    (IMAGES / batch).clamp(1, images.div_ceil(batch))
}

/// Batches that rows of a layer with so many inputs are taken from, of which an image gives `windows`.
fn batches_for(inputs: usize, windows: usize, batch: usize, images: usize) -> usize {
    let enough = ROWS.min(ROWS_AN_INPUT * inputs);
    let batches = enough.div_ceil(windows * batch);
    batches
        .max(batches_at_least(batch, images))
        .min(images.div_ceil(batch))
}

struct Fitter<'g, 'i> {
    evaluator: Evaluator<'g>,
    /// One that runs HP, and one that runs LP.
    tracers: Vec<Tracer>,
    /// The shape of every value.
    shapes: Vec<Shape>,
    /// The value that holds the numbers of every value: of a view that of what it reads.
    places: Vec<Value>,
    images: &'i Images,
    /// Images of a batch, and batches of [`IMAGES`].
    batch: usize,
    batches: usize,
    /// Weights as trained, which HP runs with.
    trained: Vec<f32>,
    /// Weights with levels as far as layers are done, which LP runs with.
    weights: Vec<f32>,
    running: [Vec<f32>; 2],
}

impl Fitter<'_, '_> {
    /// A value of network `network` for batch number `number`.
    async fn value(
        &mut self,
        network: usize,
        value: Value,
        number: usize,
    ) -> Result<Vec<f32>, GpuError> {
        self.evaluator
            .set_weights([&self.trained, &self.weights][network]);
        self.evaluator.set_running(&self.running);
        let tracer = &self.tracers[network];
        self.evaluator
            .trace(tracer, self.places[value], (self.images, number))
            .await
    }

    /// Rows of what a layer's outputs are computed from, by groups of channels: of HP, then of LP.
    async fn rows(
        &mut self,
        value: Value,
        patches: &Patches,
    ) -> Result<[Vec<Vec<f32>>; 2], GpuError> {
        let windows = patches.windows().iter().product();
        let batches = batches_for(patches.inputs(), windows, self.batch, self.images.count());
        let each = (ROWS / batches).max(1);
        let mut rows = [
            vec![Vec::new(); patches.groups],
            vec![Vec::new(); patches.groups],
        ];
        for number in 0..batches {
            for (network, rows) in rows.iter_mut().enumerate() {
                let x = self.value(network, value, number).await?;
                // The same places of the same images in both networks.
                let rng = Philox::new(number as u64, 7);
                patches.sample(&x, each, rng, rows);
            }
        }
        Ok(rows)
    }

    async fn layer(
        &mut self,
        node: &Node,
        layer: &LayerParameters,
        bits: u32,
    ) -> Result<Fit, GpuError> {
        let input = node.inputs[0];
        let patches = Patches::of(
            node,
            self.shapes[self.places[input]],
            layer,
            self.places[input] == INPUT,
        );
        let rows = self.rows(input, &patches).await?;
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
        let trained = wide(layer.weight_values(&self.trained));
        let mut bias = wide(layer.bias_values(&self.trained));
        let fan_in = layer.fan_in();
        let group = trained.len() / patches.groups;
        let absorbs = layer.has_bias() || layer.is_normalised();
        // What varies counts, where a bias or a normalisation makes up for means.
        let means = |rows: &[f32]| -> Vec<f64> {
            let count = (rows.len() / fan_in) as f64;
            let mut means = vec![0.0; fan_in];
            for row in rows.chunks(fan_in) {
                means
                    .iter_mut()
                    .zip(row)
                    .for_each(|(mean, x)| *mean += f64::from(*x) / count);
            }
            means
        };
        let centred = |rows: &[f32], means: &[f64]| -> Vec<f32> {
            let each = rows.iter().enumerate();
            each.map(|(i, x)| (f64::from(*x) - means[i % fan_in]) as f32)
                .collect()
        };
        let mut found = Vec::new();
        let mut adapted = trained.clone();
        let mut centres = Vec::new();
        for (number, weights) in adapted.chunks_mut(group).enumerate() {
            let [then, now] = [&rows[0][number], &rows[1][number]];
            let middle = [means(then), means(now)];
            let count = now.len() / fan_in;
            let inputs = match absorbs {
                true => Inputs::new(count, &centred(now, &middle[1]), &centred(then, &middle[0])),
                false => Inputs::new(count, now, then),
            };
            if let Some(inputs) = &inputs {
                weights.copy_from_slice(&inputs.adapted(weights));
            }
            found.push(inputs);
            centres.push(middle);
        }
        let levels = Levels::nearest_to(&adapted, bits);
        let mut rounded = Vec::new();
        for (weights, inputs) in adapted.chunks(group).zip(&found) {
            rounded.extend(match inputs {
                Some(inputs) => inputs.rounded(weights, &levels),
                None => weights.iter().map(|w| levels.nearest(*w)).collect(),
            });
        }
        for (output, bias) in bias.iter_mut().enumerate() {
            let [then, now] = &centres[output * fan_in / group];
            let at = output * fan_in..(output + 1) * fan_in;
            let mean = |w: &[f64], x: &[f64]| -> f64 { w.iter().zip(x).map(|(w, x)| w * x).sum() };
            *bias += mean(&trained[at.clone()], then) - mean(&rounded[at], now);
        }
        let stored: Vec<f32> = rounded
            .iter()
            .zip(&trained)
            .map(|(level, w)| levels.within(*level, *w) as f32)
            .collect();
        let [intercept, slope] = levels.quantiser();
        let narrow = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
        let values = LayerValues {
            weights: stored,
            bias: narrow(&bias),
            quantiser: vec![intercept, slope],
        };
        layer.place(&mut self.weights, &values);
        let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
        let off = squares(&mut rounded.iter().zip(&trained).map(|(q, w)| q - w));
        Ok(Fit {
            intercept,
            slope,
            smallest: levels.zero.then_some(levels.low),
            error: off / squares(&mut trained.iter().copied()).max(f64::MIN_POSITIVE),
        })
    }

    /// Lets the running statistics of LP be those of its inputs.
    async fn statistics(&mut self, number: usize, input: Value) -> Result<(), GpuError> {
        let shape = self.shapes[self.places[input]];
        let (channels, stored) = (shape.channels, pad4(shape.channels));
        let (mut sums, mut squares, mut count) = (vec![0.0; channels], vec![0.0; channels], 0.0);
        let mut first: Option<Vec<f64>> = None;
        for batch in 0..self.batches {
            let x = self.value(1, input, batch).await?;
            // Around the first pixel, so that no difference of large numbers is taken.
            let origin =
                first.get_or_insert_with(|| x[..channels].iter().map(|v| f64::from(*v)).collect());
            for pixel in x.chunks_exact(stored) {
                for channel in 0..channels {
                    let off = f64::from(pixel[channel]) - origin[channel];
                    sums[channel] += off;
                    squares[channel] += off * off;
                }
                count += 1.0;
            }
        }
        let origin = first.unwrap_or_default();
        let mut statistics: Vec<f32> = Vec::new();
        statistics.extend((0..channels).map(|c| (origin[c] + sums[c] / count) as f32));
        statistics.extend((0..channels).map(|c| {
            let mean = sums[c] / count;
            (squares[c] / count - mean * mean).max(0.0) as f32
        }));
        if let Some(norm) = self.evaluator.parameters().norm_of(number) {
            norm.place_running(&mut self.running[1], &statistics);
        }
        Ok(())
    }
}

/// The windows that a layer's outputs are sums over.
struct Patches {
    /// Rows and columns of the input.
    input: [usize; 2],
    /// Channels of the input, and as they are stored.
    channels: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    padding: [usize; 2],
    groups: usize,
}

impl Patches {
    fn of(node: &Node, input: Shape, layer: &LayerParameters, images: bool) -> Self {
        let [_, rows, columns, _] = layer.shape;
        let stored = if images {
            input.channels
        } else {
            pad4(input.channels)
        };
        let weights = node.op.operation().weights(input);
        let (stride, padding, groups) = weights.map_or((1, [0; 2], 1), |weights| {
            (weights.stride, weights.padding, weights.groups)
        });
        Self {
            input: [input.height, input.width],
            channels: [input.channels, stored],
            kernel: [rows, columns],
            stride,
            padding,
            groups,
        }
    }

    /// Numbers that an output is computed from.
    fn inputs(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.channels[0] / self.groups
    }

    /// Windows of an image along rows and along columns.
    fn windows(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            (self.input[axis] + 2 * self.padding[axis] - self.kernel[axis]) / self.stride + 1
        })
    }

    /// Adds up to `count` windows of some images to the rows of every group, (rows, columns, channels of a group) each.
    fn sample(&self, x: &[f32], count: usize, mut rng: Philox, rows: &mut [Vec<f32>]) {
        let [height, width] = self.input;
        let [channels, stored] = self.channels;
        let image = height * width * stored;
        let windows = self.windows();
        let all = x.len() / image * windows[0] * windows[1];
        let own = channels / self.groups;
        for number in 0..count.min(all) {
            let window = match count < all {
                true => (rng.uniform() * all as f64) as usize % all,
                false => number,
            };
            let (picture, place) = (
                window / (windows[0] * windows[1]),
                window % (windows[0] * windows[1]),
            );
            let corner = [place / windows[1], place % windows[1]].map(|at| at * self.stride);
            for (group, rows) in rows.iter_mut().enumerate() {
                for row in 0..self.kernel[0] {
                    for column in 0..self.kernel[1] {
                        let at = [corner[0] + row, corner[1] + column];
                        let inside = at[0] >= self.padding[0]
                            && at[1] >= self.padding[1]
                            && at[0] - self.padding[0] < height
                            && at[1] - self.padding[1] < width;
                        if !inside {
                            rows.extend(std::iter::repeat_n(0.0, own));
                            continue;
                        }
                        let pixel = (at[0] - self.padding[0]) * width + at[1] - self.padding[1];
                        let first = picture * image + pixel * stored + group * own;
                        rows.extend(&x[first..first + own]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::ConvShape;
    use crate::reference::conv_forward;

    #[test]
    fn there_are_more_rows_than_inputs_where_images_allow_it() {
        // A dense layer has one row an image: eight for each input, and 8,192 at most.
        assert_eq!(batches_for(512, 1, 100, 60_000), 41);
        assert_eq!(batches_for(1536, 1, 100, 60_000), 82);
        // All images, if they are fewer.
        assert_eq!(batches_for(1536, 1, 100, 5000), 50);
        assert_eq!(batches_for(1536, 1, 100, 250), 3);
        // A convolution has many an image, and 1,000 images are enough; so are they for a dense layer with few inputs.
        assert_eq!(batches_for(576, 32 * 32, 100, 60_000), 10);
        assert_eq!(batches_for(84, 1, 100, 60_000), 10);
        // One image at a time, where activations are large.
        assert_eq!(batches_for(4096, 1, 1, 60_000), 8192);
    }

    #[test]
    fn rows_are_the_windows_of_a_convolution() {
        let shape = ConvShape {
            batch: 2,
            input_height: 5,
            input_width: 6,
            input_channels: 4,
            output_channels: 4,
            kernel_height: 3,
            kernel_width: 2,
            stride: 2,
            padding: [1, 1],
        };
        let mut patches = Patches {
            input: [5, 6],
            channels: [4, 4],
            kernel: [3, 2],
            stride: 2,
            padding: [1, 1],
            groups: 1,
        };
        let mut rng = Philox::new(3, 0);
        let mut numbers = |count: usize| {
            (0..count)
                .map(|_| rng.normal() as f32)
                .collect::<Vec<f32>>()
        };
        let (x, w) = (numbers(2 * 5 * 6 * 4), numbers(4 * 3 * 2 * 4));
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let wanted = conv_forward(&shape, &wide(&x), &wide(&w), &[0.0; 4], false);
        let mut rows = vec![Vec::new()];
        patches.sample(&x, usize::MAX, Philox::new(0, 0), &mut rows);
        let taps = 3 * 2 * 4;
        assert_eq!(rows[0].len() / taps, wanted.len() / 4);
        for (row, wanted) in rows[0].chunks(taps).zip(wanted.chunks(4)) {
            for (w, wanted) in w.chunks(taps).zip(wanted) {
                let sum: f64 = row
                    .iter()
                    .zip(w)
                    .map(|(x, w)| f64::from(*x) * f64::from(*w))
                    .sum();
                assert!((sum - wanted).abs() < 1e-6, "{sum} {wanted}");
            }
        }
        // Of a group its own channels, in the same order.
        patches.groups = 2;
        let mut groups = vec![Vec::new(); 2];
        patches.sample(&x, usize::MAX, Philox::new(0, 0), &mut groups);
        let pixels = rows[0].chunks(4);
        for (pixel, (first, second)) in pixels.zip(groups[0].chunks(2).zip(groups[1].chunks(2))) {
            assert_eq!([first, second].concat(), pixel);
        }
    }
}
