//! A program as tables and calls of the functions in `engine.c`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::files::{in_comment, int, list};
use super::layout::{Layout, Place};
use crate::export::{ExportError, Program, Step};
use crate::graph::{INPUT, Value};
use crate::op::integers::Form;
use crate::op::{ConvShape, WindowShape};
use crate::pack::PackedLayer;

/// Bytes of `struct product` and `struct pool` of `engine.c` where pointers have 32 bits.
const PRODUCT_BYTES: usize = 84;
const POOL_BYTES: usize = 44;

/// How a product runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// One window that covers all: see `product_of_pixel` in the engine.
    Pixel,
    /// See `product_of_windows` there.
    Windows,
}

/// How a convolution or dense layer runs.
pub fn way(shape: &ConvShape, groups: usize) -> Way {
    let one = shape.output_height() == 1 && shape.output_width() == 1;
    match one && groups == 1 && shape.padding == [0, 0] {
        true => Way::Pixel,
        false => Way::Windows,
    }
}

/// Taps of one output.
fn taps(shape: &ConvShape, groups: usize) -> usize {
    shape.kernel_height * shape.kernel_width * (shape.input_channels / groups)
}

fn listed_taps(step: &Step<'_>) -> usize {
    match &step.form {
        Form::Product { shape, groups } if way(shape, *groups) == Way::Windows => {
            taps(shape, *groups)
        }
        _ => 0,
    }
}

/// Codes of each output from a word of its own, the first in the lowest bits, none across two words.
fn words(layer: &PackedLayer) -> Vec<u32> {
    let in_word = (32 / layer.bits) as usize;
    let row = layer.codes.len() / layer.shape[0].max(1);
    let mut words = Vec::new();
    for row in layer.codes.chunks(row.max(1)) {
        for codes in row.chunks(in_word) {
            let shifted = codes.iter().enumerate();
            let word = shifted.map(|(i, code)| u32::from(*code) << (i as u32 * layer.bits));
            words.push(word.fold(0, |all, code| all | code));
        }
    }
    words
}

/// Whether distances to taps need 32 bits.
///
/// # Errors
/// [`ExportError::Layer`] for a step that is larger than the C code counts.
fn check_sizes(program: &Program<'_>, layout: &Layout) -> Result<bool, ExportError> {
    let most = usize::from(u16::MAX);
    let mut wide = false;
    for (number, step) in program.steps.iter().enumerate() {
        for (input, read) in step.reads.iter().enumerate() {
            let [height, width, _] = read.shape.sides();
            let sides = [height, width, step.shape.height, step.shape.width];
            if sides.iter().any(|side| *side > most) || read.shape.len() > 1 << 28 {
                return Err(ExportError::Layer {
                    layer: step.name.to_owned(),
                    reason: format!(
                        "{} is too large: the C code counts rows and columns with 16 bits",
                        read.shape
                    ),
                });
            }
            if let Form::Product { shape, groups } = &step.form {
                let place = layout.read(number, input, *read);
                let furthest = shape.kernel_height * place.row_step()
                    + shape.kernel_width * shape.input_channels;
                wide |= furthest.max(taps(shape, *groups)) > most;
            }
        }
    }
    Ok(wide)
}

/// Collects tables and calls, step by step.
pub struct Writer<'a> {
    /// What is written.
    pub program: &'a Program<'a>,
    /// Windows of which products keep the largest result, by the value they give.
    pools: BTreeMap<Value, [usize; 2]>,
    /// The arena.
    pub layout: Layout,
    /// Bytes of an activation.
    pub bytes: usize,
    /// Whether lists of taps have 32 bits.
    pub wide_taps: bool,
    /// Constant tables, as text.
    pub tables: String,
    /// Calls of the engine's functions, as text.
    pub calls: String,
    /// Sections of the engine that the calls need.
    pub sections: BTreeSet<&'static str>,
    /// Bytes of all tables where pointers have 32 bits.
    pub table_bytes: usize,
}

impl<'a> Writer<'a> {
    /// Writes all steps.
    ///
    /// # Errors
    /// [`ExportError::Layer`] if a size does not fit into the numbers that the C code counts with.
    pub fn write(
        program: &'a Program<'a>,
        pools: BTreeMap<Value, [usize; 2]>,
    ) -> Result<Self, ExportError> {
        let bytes = program.model.activations.bits() as usize / 8;
        let mut layout = Layout::new(program);
        let wide_taps = check_sizes(program, &layout)?;
        let tap_bytes = if wide_taps { 4 } else { 2 };
        let lists = program.steps.iter().map(listed_taps);
        let lists: Vec<usize> = lists
            .map(|taps| (taps * tap_bytes).div_ceil(bytes))
            .collect();
        layout.arrange(&lists, 4 / bytes);
        let mut writer = Self {
            program,
            pools,
            layout,
            bytes,
            wide_taps,
            tables: String::new(),
            calls: String::new(),
            sections: BTreeSet::from(["all"]),
            table_bytes: 0,
        };
        writer.input();
        for number in 0..program.steps.len() {
            writer.step(number)?;
        }
        Ok(writer)
    }

    /// Bytes of working memory.
    pub fn arena_bytes(&self) -> usize {
        self.layout.len * self.bytes
    }

    fn table(&mut self, kind: &str, bytes: usize, name: &str, numbers: Vec<String>) {
        self.table_bytes += bytes * numbers.len();
        let _ = writeln!(
            self.tables,
            "static const {kind} {name}[{}] = {{\n{}\n}};",
            numbers.len(),
            list(numbers)
        );
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.calls, "    {text}");
    }

    /// Clears the border of a place that has one.
    fn clear(&mut self, place: &Place) {
        if place.border == [0, 0] {
            return;
        }
        self.sections.insert("border");
        let step = place.row_step();
        let (top, left) = (
            place.border[0] * step,
            place.border[1] * place.shape.channels,
        );
        let row = place.shape.width * place.shape.channels;
        let (first, rows) = (place.first(), place.shape.height);
        self.line(format_args!(
            "clear_border(at + {first}, {rows}, {row}, {step}, {top}, {left});"
        ));
    }

    fn input(&mut self) {
        let place = self.layout.place(INPUT).clone();
        let [height, width, channels] = place.shape.sides();
        self.clear(&place);
        if self.program.model.table.is_empty() {
            self.sections.insert("numbers");
            let (first, count) = (place.first(), place.shape.len());
            self.line(format_args!("read_numbers(input, at + {first}, {count});"));
            return;
        }
        self.sections.insert("image");
        let numbers = self
            .program
            .model
            .table
            .iter()
            .map(i16::to_string)
            .collect();
        self.table("value_t", self.bytes, "input_table", numbers);
        let (first, step) = (place.first(), place.row_step());
        self.line(format_args!(
            "read_image(input, input_table, {channels}, at + {first}, {height}, {width}, {step});"
        ));
    }

    fn step(&mut self, number: usize) -> Result<(), ExportError> {
        let step = &self.program.steps[number];
        let inputs: Vec<Place> = (step.reads.iter().enumerate())
            .map(|(input, read)| self.layout.read(number, input, *read))
            .collect();
        let _ = writeln!(
            self.calls,
            "\n    /* {}: {} */",
            in_comment(step.name),
            step.word
        );
        let copies: Vec<_> = self
            .layout
            .copies
            .iter()
            .filter(|copy| copy.step == number)
            .copied()
            .collect();
        for copy in copies {
            let to = self.layout.places[copy.place].clone();
            let from = Place {
                shape: to.shape,
                ..self.layout.place(step.reads[copy.input].value).clone()
            };
            self.clear(&to);
            self.join(
                &from,
                &to,
                "at",
                to.first(),
                (0, [-self.most(), self.most()], false),
            );
        }
        let written = self
            .layout
            .written(step)
            .map(|place| self.layout.places[place].clone());
        let (to, whole) = match written {
            Some(place) => (place, false),
            // The output, as plain rows.
            None => {
                let place = Place {
                    shape: step.shape,
                    border: [0, 0],
                    life: [0, 0],
                    offset: 0,
                };
                (place, true)
            }
        };
        let y = if whole { "logits" } else { "at" };
        if !whole {
            self.clear(&to);
        }
        let target = (y, &to, whole);
        match &step.form {
            Form::Product { shape, groups } => {
                self.product(step, (shape, *groups), &inputs[0], target)?
            }
            Form::Activation { leak, shift } => {
                self.sections.extend(["map", "activation", "keep"]);
                let rows = rows(&inputs[0], &to);
                let end = ending(*shift, step.limits);
                let (x, y_at) = (inputs[0].first(), to.first());
                let whole = i32::from(whole);
                self.line(format_args!(
                    "activation({rows}, at + {x}, {y} + {y_at}, {whole}, {leak}, {end});"
                ));
            }
            Form::Sum { ups, shift } => {
                self.sections.extend(["map", "sum", "keep"]);
                let pointers: Vec<String> = inputs
                    .iter()
                    .map(|x| format!("at + {}", x.first()))
                    .collect();
                let steps: Vec<String> = inputs.iter().map(|x| x.row_step().to_string()).collect();
                let ups: Vec<String> = ups.iter().map(u32::to_string).collect();
                let n = inputs.len();
                let end = ending(*shift, step.limits);
                let (rows, y_at, whole) = (rows(&inputs[0], &to), to.first(), i32::from(whole));
                self.line(format_args!("{{"));
                self.line(format_args!(
                    "    static const size_t steps[{n}] = {{ {} }};",
                    steps.join(", ")
                ));
                self.line(format_args!(
                    "    static const uint8_t ups[{n}] = {{ {} }};",
                    ups.join(", ")
                ));
                self.line(format_args!("    const value_t *x[{n}];"));
                for (i, pointer) in pointers.iter().enumerate() {
                    self.line(format_args!("    x[{i}] = {pointer};"));
                }
                self.line(format_args!(
                    "    add({rows}, {n}, x, steps, ups, {y} + {y_at}, {whole}, {end});"
                ));
                self.line(format_args!("}}"));
            }
            Form::Join { shifts } => {
                let mut at = to.first();
                for (from, shift) in inputs.iter().zip(shifts) {
                    self.join(from, &to, y, at, (*shift, step.limits, whole));
                    at += from.shape.channels;
                }
            }
            Form::Average { shape, shift } => {
                let end = ending(*shift, step.limits);
                self.pool(number, shape, &inputs[0], target, (1, &end));
            }
            Form::Maximum { shape } => {
                let end = ending(0, step.limits);
                self.pool(number, shape, &inputs[0], target, (0, &end));
            }
            Form::Repeat { size } => {
                self.sections.extend(["map", "repeat", "keep"]);
                let [height, width, channels] = inputs[0].shape.sides();
                let (x, y_at, whole) = (inputs[0].first(), to.first(), i32::from(whole));
                let (x_step, y_step) = (inputs[0].row_step(), to.row_step());
                let rows = format!("rows_of({height}, {width}, {x_step}, {y_step})");
                self.line(format_args!(
                    "repeat({rows}, {size}, {channels}, at + {x}, {y} + {y_at}, {whole});"
                ));
            }
        }
        Ok(())
    }

    fn most(&self) -> i32 {
        self.program.model.most() as i32
    }

    /// One input of a concatenation, from the number `at` of `y` on.
    fn join(
        &mut self,
        from: &Place,
        to: &Place,
        y: &str,
        at: usize,
        (shift, limits, whole): (i32, [i32; 2], bool),
    ) {
        self.sections.extend(["map", "join", "keep"]);
        let [height, width, channels] = from.shape.sides();
        let (x_step, y_step) = (from.row_step(), to.row_step());
        let rows = format!("rows_of({height}, {channels}, {x_step}, {y_step})");
        let end = ending(shift, limits);
        let (x, y_pixel, whole) = (from.first(), to.shape.channels, i32::from(whole));
        self.line(format_args!(
            "join({rows}, {width}, {y_pixel}, at + {x}, {y}, {at}, {whole}, {end});"
        ));
    }

    fn pool(
        &mut self,
        number: usize,
        shape: &WindowShape,
        from: &Place,
        (y, to, whole): (&str, &Place, bool),
        (average, end): (i32, &str),
    ) {
        self.sections.extend(["pool", "keep"]);
        let [rows, columns] = shape.output();
        let (channels, x_row) = (shape.channels, from.row_step());
        let name = format!("pool_{number}");
        let before = shape.padding[0] * x_row + shape.padding[1] * channels;
        let numbers = [
            shape.input[0],
            shape.input[1],
            shape.window[0],
            shape.window[1],
            shape.stride[0],
            shape.stride[1],
            shape.padding[0],
            shape.padding[1],
            rows,
            columns,
            channels,
            x_row,
            to.row_step(),
            shape.stride[0] * x_row,
            shape.stride[1] * channels,
            before,
        ];
        self.table_bytes += POOL_BYTES;
        let _ = writeln!(
            self.tables,
            "static const struct pool {name} = {{\n{}\n}};",
            list(numbers)
        );
        let (x, y_at, whole) = (from.first(), to.first(), i32::from(whole));
        self.line(format_args!(
            "pool(&{name}, {average}, at + {x}, {y} + {y_at}, {whole}, {end});"
        ));
    }

    fn product(
        &mut self,
        step: &Step<'_>,
        (shape, groups): (&ConvShape, usize),
        from: &Place,
        (y, to, whole): (&str, &Place, bool),
    ) -> Result<(), ExportError> {
        let layer = step.layer.ok_or_else(|| ExportError::Layer {
            layer: step.name.to_owned(),
            reason: "it has no codes".to_owned(),
        })?;
        self.sections.extend(["keep", "product"]);
        let way = way(shape, groups);
        let name = format!("layer_{}", step.gives);
        let hex = words(layer)
            .into_iter()
            .map(|word| format!("0x{word:08x}"))
            .collect();
        self.table("uint32_t", 4, &format!("{name}_codes"), hex);
        let bias = layer.bias.iter().map(|bias| int(*bias)).collect();
        self.table("int32_t", 4, &format!("{name}_bias"), bias);
        let shift = layer.shift.iter().map(i32::to_string).collect();
        self.table("int8_t", 1, &format!("{name}_shift"), shift);
        let channels = shape.input_channels;
        let (inputs, x_row) = (channels / groups, from.row_step());
        let mut kernel = [shape.kernel_height, shape.kernel_width];
        let pixels = kernel[0] * kernel[1];
        if way == Way::Pixel && x_row == kernel[1] * channels && pixels <= usize::from(u16::MAX) {
            // One long row.
            kernel = [1, pixels];
        }
        let pool = self.pools.get(&step.gives).copied().unwrap_or([1, 1]);
        let fields = [
            format!("{name}_codes"),
            format!("{name}_bias"),
            format!("{name}_shift"),
            int(step.limits[0]),
            int(step.limits[1]),
            layer.bits.to_string(),
            u8::from(layer.zero).to_string(),
            u8::from(whole).to_string(),
            shape.output_channels.to_string(),
            (shape.output_channels / groups).to_string(),
            inputs.to_string(),
            kernel[0].to_string(),
            kernel[1].to_string(),
            (kernel[1] * inputs).to_string(),
            x_row.to_string(),
            channels.to_string(),
            (shape.stride * x_row).to_string(),
            (shape.stride * channels).to_string(),
            step.shape.height.to_string(),
            step.shape.width.to_string(),
            pool[0].to_string(),
            pool[1].to_string(),
            (pool[0] * shape.stride * x_row).to_string(),
            (pool[1] * shape.stride * channels).to_string(),
            to.row_step().to_string(),
            to.shape.channels.to_string(),
        ];
        self.table_bytes += PRODUCT_BYTES;
        let _ = writeln!(
            self.tables,
            "static const struct product {name} = {{\n{}\n}};",
            list(fields)
        );
        let before = shape.padding[0] * x_row + shape.padding[1] * channels;
        let (x, y_at) = (from.first() - before, to.first());
        let in_word = 32 / layer.bits;
        match way {
            Way::Pixel => {
                self.sections.insert("pixel");
                self.line(format_args!(
                    "product_of_pixel(&{name}, {in_word}, at + {x}, {y} + {y_at});"
                ));
            }
            Way::Windows => {
                self.sections.insert("windows");
                self.line(format_args!(
                    "product_of_windows(&{name}, {in_word}, at + {x}, {y} + {y_at}, taps);"
                ));
            }
        }
        Ok(())
    }
}

/// The rows of an image that is read from one place and written to another.
fn rows(from: &Place, to: &Place) -> String {
    let [height, width, channels] = from.shape.sides();
    let (x_step, y_step) = (from.row_step(), to.row_step());
    format!(
        "rows_of({height}, {}, {x_step}, {y_step})",
        width * channels
    )
}

/// Shift and limits.
fn ending(shift: i32, [low, high]: [i32; 2]) -> String {
    format!("{shift}, {}, {}", int(low), int(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_lies_across_two_words() {
        let layer = PackedLayer {
            name: String::new(),
            shape: [2, 1, 1, 11],
            bits: 3,
            zero: false,
            exponent_min: 0,
            codes: (0..22).map(|code| code % 8).collect(),
            bias: vec![0; 2],
            shift: vec![0; 2],
            input_scale: 0,
            output_scale: 0,
            last: true,
        };
        let words = words(&layer);
        assert_eq!(words.len(), 4, "ten codes in a word, eleven in a row");
        let code = |output: usize, i: usize| words[2 * output + i / 10] >> (3 * (i % 10)) & 7;
        for (at, wanted) in layer.codes.iter().enumerate() {
            assert_eq!(code(at / 11, at % 11), u32::from(*wanted));
        }
    }
}
