//! A packed network in ONNX: bytes in, 32-bit logits out, the same integers as everywhere.
//!
//! Runtimes do not agree on quantised operators, and have few of 32-bit integers. But f32 holds every whole number
//! below 2^24, and a power of two scales it without error. So a layer is
//!
//! ```text
//! Conv (w 2^-shift, (bias + half) 2^-shift)  ->  Floor  ->  Clip
//! ```
//!
//! in f32, which rounds nowhere as long as its largest sum is below 2^24 in units of the smallest weight. Sums beyond
//! that (activations of 16 bits) are made of two convolutions, over the high and the low bytes, joined as 32-bit integers.

use std::fmt::Write as _;

use super::write::{Attribute, Message, Numbers, model as file, node, tensor, value};
use crate::export::{ExportError, Program, Read, Step};
use crate::graph::{INPUT, Shape};
use crate::op::integers::Form;
use crate::op::{ConvShape, WindowShape};
use crate::pack::{PackedLayer, unpacked};

/// f32 holds every whole number up to here.
const EXACT: i128 = 1 << 24;

struct Writer<'a> {
    program: &'a Program<'a>,
    nodes: Vec<Message>,
    tensors: Vec<Message>,
    /// Names of values, by number.
    names: Vec<(usize, String)>,
    fresh: usize,
}

/// Writes a packed network as an ONNX model.
///
/// # Errors
/// [`ExportError::Layer`] for a layer whose sums neither way holds.
pub fn write(program: &Program<'_>) -> Result<Vec<u8>, ExportError> {
    let mut writer = Writer {
        program,
        nodes: Vec::new(),
        tensors: Vec::new(),
        names: Vec::new(),
        fresh: 0,
    };
    let input = writer.input();
    for step in &program.steps {
        let y = writer.step(step)?;
        writer.names.push((step.gives, y));
    }
    let output = writer.output();
    let model = program.model;
    let mut facts = vec![
        ("logit_scale", model.logit_scale().to_string()),
        ("data", model.data.clone()),
        (
            "classes",
            serde_json::to_string(&model.classes).unwrap_or_default(),
        ),
    ];
    if model.table.is_empty() {
        facts.push(("input_scale", model.input_scale().to_string()));
    }
    Ok(file(
        &model.model.name,
        [&writer.nodes, &writer.tensors],
        [&input, &output],
        &facts,
    ))
}

fn power(exponent: i32) -> f32 {
    f64::from(exponent).exp2() as f32
}

/// What is added before the places of a right shift are cut off, so that halves are rounded up, times 2^-shift.
fn half(shift: i32) -> f32 {
    if shift > 0 { 0.5 } else { 0.0 }
}

fn ints(name: &'static str, values: &[usize]) -> Attribute {
    Attribute::Ints(name, values.iter().map(|v| *v as i64).collect())
}

/// Zeros around an image, as ONNX has them: rows and columns before, then after.
fn pads([rows, columns]: [usize; 2]) -> Attribute {
    ints("pads", &[rows, columns, rows, columns])
}

impl<'a> Writer<'a> {
    fn name(&mut self, word: &str) -> String {
        self.fresh += 1;
        let mut name = word.to_owned();
        let _ = write!(name, "_{}", self.fresh);
        name
    }

    fn node(&mut self, kind: &str, inputs: &[&str], attributes: &[Attribute]) -> String {
        let name = self.name(&kind.to_lowercase());
        self.nodes.push(node(kind, inputs, &name, attributes));
        name
    }

    fn tensor(&mut self, kind: Numbers, dimensions: &[usize], data: &[u8]) -> String {
        let name = self.name("constant");
        self.tensors.push(tensor(&name, kind, dimensions, data));
        name
    }

    fn floats(&mut self, dimensions: &[usize], values: &[f32]) -> String {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(Numbers::Float, dimensions, &data)
    }

    fn whole(&mut self, dimensions: &[usize], values: &[i32]) -> String {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(Numbers::Int, dimensions, &data)
    }

    fn sizes(&mut self, values: &[i64]) -> String {
        let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(Numbers::Long, &[values.len()], &data)
    }

    fn cast(&mut self, x: &str, to: Numbers) -> String {
        self.node("Cast", &[x], &[Attribute::Int("to", to as i64)])
    }

    /// x times a power of two.
    fn scaled(&mut self, x: &str, exponent: i32) -> String {
        if exponent == 0 {
            return x.to_owned();
        }
        let factor = self.floats(&[], &[power(exponent)]);
        self.node("Mul", &[x, &factor], &[])
    }

    /// What goes in, and what the first step reads.
    fn input(&mut self) -> Message {
        let [height, width, channels] = self.program.input.sides();
        let table = &self.program.model.table;
        let (message, first) = if table.is_empty() {
            let numbers = [height * width * channels];
            let x = self.cast("latent", Numbers::Float);
            let shape = self.sizes(&[0, channels as i64, height as i64, width as i64]);
            let x = self.node("Reshape", &[&x, &shape], &[]);
            (value("latent", Numbers::Int, &numbers), x)
        } else {
            // The table of each channel lies behind that of the channel before.
            let index = self.cast("image", Numbers::Int);
            let base: Vec<i32> = (0..channels as i32).map(|channel| 256 * channel).collect();
            let base = self.whole(&[1, channels, 1, 1], &base);
            let index = self.node("Add", &[&index, &base], &[]);
            let values: Vec<f32> = table.iter().map(|v| f32::from(*v)).collect();
            let values = self.floats(&[values.len()], &values);
            let x = self.node("Gather", &[&values, &index], &[]);
            (value("image", Numbers::Byte, &[channels, height, width]), x)
        };
        self.names.push((INPUT, first));
        message
    }

    fn output(&mut self) -> Message {
        let [height, width, channels] = self.program.output().sides();
        let last = self
            .names
            .last()
            .map(|(_, name)| name.clone())
            .unwrap_or_default();
        if height * width == 1 {
            let flat = self.node("Flatten", &[&last], &[Attribute::Int("axis", 1)]);
            self.nodes.push(node(
                "Cast",
                &[&flat],
                "logits",
                &[Attribute::Int("to", Numbers::Int as i64)],
            ));
            return value("logits", Numbers::Int, &[channels]);
        }
        self.nodes.push(node(
            "Cast",
            &[&last],
            "logits",
            &[Attribute::Int("to", Numbers::Int as i64)],
        ));
        value("logits", Numbers::Int, &[channels, height, width])
    }

    /// What a step reads, in the shape in which it reads it. Images lie as (channel, row, column), and what is flattened
    /// counts as (row, column, channel).
    fn read(&mut self, read: Read) -> String {
        let made = self.program.shape_of(read.value);
        let name = self
            .names
            .iter()
            .rev()
            .find(|(value, _)| *value == read.value);
        let name = name.map(|(_, name)| name.clone()).unwrap_or_default();
        if made.sides() == read.shape.sides() {
            return name;
        }
        let order = |values: &[i64]| [Attribute::Ints("perm", values.to_vec())];
        let last = self.node("Transpose", &[&name], &order(&[0, 2, 3, 1]));
        let [height, width, channels] = read.shape.sides().map(|side| side as i64);
        let sides = self.sizes(&[0, height, width, channels]);
        let shaped = self.node("Reshape", &[&last, &sides], &[]);
        self.node("Transpose", &[&shaped], &order(&[0, 3, 1, 2]))
    }

    /// Cuts off what lies below whole numbers, if there is anything, and limits.
    fn finish(&mut self, x: &str, fractions: bool, [low, high]: [i32; 2]) -> String {
        let floor = match fractions {
            true => self.node("Floor", &[x], &[]),
            false => x.to_owned(),
        };
        // Limits that no exact sum reaches.
        let bound = |limit: i32| i128::from(limit).abs() < EXACT;
        let low = if bound(low) {
            self.floats(&[], &[low as f32])
        } else {
            String::new()
        };
        let high = if bound(high) {
            self.floats(&[], &[high as f32])
        } else {
            String::new()
        };
        match (low.is_empty(), high.is_empty()) {
            (true, true) => floor,
            (_, true) => self.node("Clip", &[&floor, &low], &[]),
            _ => self.node("Clip", &[&floor, &low, &high], &[]),
        }
    }

    /// x, already times 2^-shift, rounded and limited.
    fn rounded(&mut self, x: &str, shift: i32, limits: [i32; 2]) -> String {
        if shift <= 0 {
            return self.finish(x, false, limits);
        }
        let half = self.floats(&[], &[half(shift)]);
        let x = self.node("Add", &[x, &half], &[]);
        self.finish(&x, true, limits)
    }

    fn step(&mut self, step: &Step<'_>) -> Result<String, ExportError> {
        if !matches!(step.form, Form::Product { .. }) && step.bound >= EXACT {
            return Err(too_large(step));
        }
        Ok(match &step.form {
            Form::Product { shape, groups } => self.product(step, shape, *groups)?,
            Form::Activation { leak, shift } => {
                let x = self.read(step.reads[0]);
                let x = self.scaled(&x, *leak as i32 - shift);
                let x = match leak {
                    0 => x,
                    leak => {
                        let alpha = Attribute::Float("alpha", power(-(*leak as i32)));
                        self.node("LeakyRelu", &[&x], &[alpha])
                    }
                };
                self.rounded(&x, *shift, step.limits)
            }
            Form::Sum { ups, shift } => {
                let mut sum = String::new();
                for (read, up) in step.reads.iter().zip(ups) {
                    let x = self.read(*read);
                    let x = self.scaled(&x, *up as i32 - shift);
                    sum = match sum.is_empty() {
                        true => x,
                        false => self.node("Add", &[&sum, &x], &[]),
                    };
                }
                self.rounded(&sum, *shift, step.limits)
            }
            Form::Average { shape, shift } => {
                let x = self.read(step.reads[0]);
                self.average(&x, shape, *shift, step.limits)
            }
            Form::Maximum { shape } => {
                let x = self.read(step.reads[0]);
                let settings = [
                    ints("kernel_shape", &shape.window),
                    ints("strides", &shape.stride),
                    pads(shape.padding),
                ];
                self.node("MaxPool", &[&x], &settings)
            }
            Form::Join { shifts } => {
                let mut parts = Vec::new();
                for (read, shift) in step.reads.iter().zip(shifts) {
                    let x = self.read(*read);
                    let x = self.scaled(&x, -shift);
                    parts.push(self.rounded(&x, *shift, step.limits));
                }
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                self.node("Concat", &parts, &[Attribute::Int("axis", 1)])
            }
            Form::Repeat { size } => {
                let x = self.read(step.reads[0]);
                let size = *size as f32;
                let scales = self.floats(&[4], &[1.0, 1.0, size, size]);
                let settings = [
                    Attribute::Word("mode", "nearest"),
                    Attribute::Word("coordinate_transformation_mode", "asymmetric"),
                    Attribute::Word("nearest_mode", "floor"),
                ];
                self.node("Resize", &[&x, "", &scales], &settings)
            }
        })
    }

    /// The sum of a window as a convolution of ones: an average pool would divide.
    fn average(&mut self, x: &str, shape: &WindowShape, shift: i32, limits: [i32; 2]) -> String {
        let channels = shape.channels;
        let taps: usize = shape.window.iter().product();
        let w = vec![power(-shift); channels * taps];
        let w = self.floats(&[channels, 1, shape.window[0], shape.window[1]], &w);
        let b = self.floats(&[channels], &vec![half(shift); channels]);
        let settings = [
            Attribute::Int("group", channels as i64),
            ints("kernel_shape", &shape.window),
            ints("strides", &shape.stride),
            pads(shape.padding),
        ];
        let y = self.node("Conv", &[x, &w, &b], &settings);
        self.finish(&y, shift > 0, limits)
    }

    fn product(
        &mut self,
        step: &Step<'_>,
        shape: &ConvShape,
        groups: usize,
    ) -> Result<String, ExportError> {
        let layer = step.layer.ok_or_else(|| too_large(step))?;
        let read = step.reads[0];
        let made = self.program.shape_of(read.value);
        // A dense layer over a flattened image is a convolution whose kernel covers the image.
        let covers =
            read.shape.pixels() == 1 && groups == 1 && made.pixels() > 1 && shape.padding == [0, 0];
        let (x, kernel, inputs) = match covers {
            true => {
                let whole = Read {
                    value: read.value,
                    shape: made,
                };
                (self.read(whole), [made.height, made.width], made.channels)
            }
            false => {
                let kernel = [shape.kernel_height, shape.kernel_width];
                (self.read(read), kernel, shape.input_channels / groups)
            }
        };
        let settings = [
            Attribute::Int("group", groups as i64),
            ints("kernel_shape", &kernel),
            ints("strides", &[shape.stride; 2]),
            pads(shape.padding),
        ];
        let outputs = shape.output_channels;
        let dimensions = [outputs, inputs, kernel[0], kernel[1]];
        if step.bound < EXACT {
            let w = weights(layer, kernel, inputs, |output| -layer.shift[output]);
            let w = self.floats(&dimensions, &w);
            let bias = layer.bias.iter().zip(&layer.shift);
            // A shift to the left comes before the bias.
            let bias: Vec<f32> = bias
                .map(|(bias, shift)| {
                    (f64::from(*bias) * f64::from(-shift.max(&0)).exp2()) as f32 + half(*shift)
                })
                .collect();
            let b = self.floats(&[outputs], &bias);
            let y = self.node("Conv", &[&x, &w, &b], &settings);
            let fractions = layer.shift.iter().any(|shift| *shift > 0);
            return Ok(self.finish(&y, fractions, step.limits));
        }
        // x = 256 high + low, with low from 0 to 255; |high| is at most 128.
        let most = i128::from(layer.bounds(255).0);
        if most >= EXACT || layer.shift.iter().any(|shift| *shift > 30) {
            return Err(too_large(step));
        }
        let high = self.scaled(&x, -8);
        let high = self.node("Floor", &[&high], &[]);
        let above = self.scaled(&high, 8);
        let low = self.node("Sub", &[&x, &above], &[]);
        let w = self.floats(&dimensions, &weights(layer, kernel, inputs, |_| 0));
        let mut sums = [high, low].map(|part| self.node("Conv", &[&part, &w], &settings));
        for sum in &mut sums {
            *sum = self.cast(sum, Numbers::Int);
        }
        let column = [1, outputs, 1, 1];
        let by_output =
            |value: &dyn Fn(usize) -> i32| -> Vec<i32> { (0..outputs).map(value).collect() };
        let bytes = self.whole(&[], &[256]);
        let above = self.node("Mul", &[&sums[0], &bytes], &[]);
        let mut sum = self.node("Add", &[&above, &sums[1]], &[]);
        if layer.shift.iter().any(|shift| *shift < 0) {
            let ups = self.whole(&column, &by_output(&|o| 1 << (-layer.shift[o]).max(0)));
            sum = self.node("Mul", &[&sum, &ups], &[]);
        }
        let added = self.whole(
            &column,
            &by_output(&|o| layer.bias[o] + (1 << layer.shift[o].max(0) >> 1)),
        );
        sum = self.node("Add", &[&sum, &added], &[]);
        if layer.shift.iter().any(|shift| *shift > 0) {
            // Division cuts towards zero; without the remainder, which is never negative, there is nothing to cut.
            let downs = self.whole(&column, &by_output(&|o| 1 << layer.shift[o].max(0)));
            let rest = self.node("Mod", &[&sum, &downs], &[]);
            sum = self.node("Sub", &[&sum, &rest], &[]);
            sum = self.node("Div", &[&sum, &downs], &[]);
        }
        let [low, high] = step.limits;
        if low > i32::MIN {
            let low = self.whole(&[], &[low]);
            sum = self.node("Max", &[&sum, &low], &[]);
        }
        if i128::from(high) >= EXACT {
            // The logits, which f32 might not hold: nothing reads them as floats.
            return Ok(sum);
        }
        let high = self.whole(&[], &[high]);
        sum = self.node("Min", &[&sum, &high], &[]);
        Ok(self.cast(&sum, Numbers::Float))
    }
}

/// Weights as ONNX orders them (outputs, inputs, rows, columns), each times 2^exponent of its output.
fn weights(
    layer: &PackedLayer,
    [rows, columns]: [usize; 2],
    inputs: usize,
    exponent: impl Fn(usize) -> i32,
) -> Vec<f32> {
    let whole = unpacked(&layer.codes, layer.bits, layer.zero);
    let taps = rows * columns;
    let mut ordered = Vec::with_capacity(whole.len());
    for (output, row) in whole.chunks((taps * inputs).max(1)).enumerate() {
        let factor = f64::from(exponent(output)).exp2();
        for input in 0..inputs {
            for tap in 0..taps {
                ordered.push((row[tap * inputs + input] as f64 * factor) as f32);
            }
        }
    }
    ordered
}

fn too_large(step: &Step<'_>) -> ExportError {
    ExportError::Layer {
        layer: step.name.to_owned(),
        reason: format!(
            "its sums may reach {}, and ONNX's f32 counts exactly only below 2^24, also when inputs are split into bytes. \
             Pack with --activations 8 if it has 16, or train with fewer bits a weight (--target-bits)",
            step.bound
        ),
    }
}

/// The layout of what goes in and comes out, for people.
pub fn interface(program: &Program<'_>) -> String {
    let sides = |shape: Shape| {
        let [height, width, channels] = shape.sides();
        match height * width {
            1 => format!("batch, {channels}"),
            _ => format!("batch, {channels}, {height}, {width}"),
        }
    };
    let output = sides(program.output());
    match program.model.table.is_empty() {
        true => format!(
            "latent: int32 ({}) -> logits: int32 ({output})",
            sides(Shape::row(program.input.len()))
        ),
        false => {
            let [height, width, channels] = program.input.sides();
            format!(
                "image: uint8 (batch, {channels}, {height}, {width}) -> logits: int32 ({output})"
            )
        }
    }
}
