//! A packed network in C99: a header, a source file, a test and a Makefile. Nothing is allocated, no library is called,
//! and nothing is multiplied.

mod layout;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use layout::{Layout, Place};

use super::{ExportError, Program, Step};
use crate::graph::{INPUT, Value};
use crate::op::ConvShape;
use crate::op::integers::Form;
use crate::pack::PackedLayer;
use crate::verify::KnownAnswer;

const ENGINE: &str = include_str!("engine.c");
/// What every file says of itself, so that no other is ever replaced.
pub const MARK: &str = "Made by gtc";
/// Characters of a line of numbers.
const LINE: usize = 110;

/// What is written.
#[derive(Clone, Debug)]
pub struct Source {
    /// Names of files and what stands in them.
    pub files: Vec<(String, String)>,
    /// Bytes of working memory.
    pub arena_bytes: usize,
    /// Bytes of constant tables: codes, biases, shifts, and what bytes of an image become.
    pub table_bytes: usize,
}

/// A name that C takes: letters, digits and underscores, not beginning with a digit.
///
/// # Errors
/// [`ExportError::Name`] if nothing is left of it, or a word of C.
pub fn identifier(name: &str) -> Result<String, ExportError> {
    let mut word: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        word.insert(0, '_');
    }
    let word = word.to_ascii_lowercase();
    let reserved = [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "class",
        "namespace",
        "template",
        "this",
        "new",
        "delete",
        "operator",
        "main",
    ];
    if word.chars().all(|c| c == '_') || reserved.contains(&word.as_str()) {
        return Err(ExportError::Name(format!(
            "'{name}' cannot be a name in C. Choose another with --prefix, such as --prefix my_network"
        )));
    }
    Ok(word)
}

/// How a product runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One window that covers all: see `product_of_pixel` in the engine.
    Pixel,
    /// See `product_of_windows` there.
    Windows,
}

fn way(shape: &ConvShape, groups: usize) -> Way {
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

fn list<T: std::fmt::Display>(numbers: impl IntoIterator<Item = T>) -> String {
    let mut text = String::from("    ");
    let mut line = 4;
    for (number, value) in numbers.into_iter().enumerate() {
        let value = value.to_string();
        if number > 0 {
            text.push(',');
            line += 1;
            if line + value.len() + 2 > LINE {
                text.push_str("\n   ");
                line = 3;
            }
            text.push(' ');
            line += 1;
        }
        line += value.len();
        text.push_str(&value);
    }
    text
}

/// An i32 as C writes it: the smallest one is no literal.
fn int(value: i32) -> String {
    match value {
        i32::MIN => "INT32_MIN".to_owned(),
        value => value.to_string(),
    }
}

/// Has products keep the largest of the windows that a max pool would read side by side: what lies between them then
/// needs no memory. Limits and rounding do not change which number is the largest. The windows of a value's pool come
/// with the value.
fn pooled<'a>(program: &Program<'a>) -> (Program<'a>, BTreeMap<Value, [usize; 2]>) {
    let mut steps: Vec<Step<'a>> = Vec::new();
    let mut pools = BTreeMap::new();
    for step in &program.steps {
        let readers = |value| {
            let reads = program.steps.iter().flat_map(|step| &step.reads);
            reads.filter(|read| read.value == value).count()
        };
        if let Form::Maximum { shape } = &step.form
            && shape.window == shape.stride
            && shape.padding == [0, 0]
            && readers(step.reads[0].value) == 1
            && let Some(before) = steps
                .iter_mut()
                .find(|before| before.gives == step.reads[0].value)
            && let Form::Product { shape: of, groups } = &before.form
            && way(of, *groups) == Way::Windows
            && before.shape.sides() == step.reads[0].shape.sides()
            && !pools.contains_key(&before.gives)
        {
            pools.insert(step.gives, shape.window);
            (before.gives, before.shape) = (step.gives, step.shape);
            continue;
        }
        steps.push(step.clone());
    }
    let program = Program {
        steps,
        ..program.clone()
    };
    (program, pools)
}

struct Writer<'a> {
    program: &'a Program<'a>,
    /// Windows of which products keep the largest result, by the value they give.
    pools: BTreeMap<Value, [usize; 2]>,
    layout: Layout,
    /// Bytes of an activation.
    bytes: usize,
    /// Whether lists of taps have 32 bits.
    wide_taps: bool,
    tables: String,
    calls: String,
    sections: BTreeSet<&'static str>,
    table_bytes: usize,
}

/// Writes a packed network in C. `prefix` begins the names of files, macros and the function.
///
/// # Errors
/// [`ExportError::Layer`] if a size does not fit into the numbers that the C code counts with.
pub fn write(
    program: &Program<'_>,
    prefix: &str,
    vectors: &[KnownAnswer],
) -> Result<Source, ExportError> {
    let bytes = program.model.activations.bits() as usize / 8;
    let (program, pools) = pooled(program);
    let program = &program;
    let mut writer = Writer::new(program, pools, bytes)?;
    let taps_bytes = if writer.wide_taps { 4 } else { 2 };
    let numbers = |step: &Step<'_>| (listed_taps(step) * taps_bytes).div_ceil(bytes);
    writer.layout = Layout::new(program, numbers, 4 / bytes);
    writer.input();
    for number in 0..program.steps.len() {
        writer.step(number)?;
    }
    let arena_bytes = writer.layout.len * bytes;
    let files = vec![
        (format!("{prefix}.h"), header(&writer, prefix, arena_bytes)),
        (format!("{prefix}.c"), source(&writer, prefix)),
        (format!("{prefix}_test.c"), test(&writer, prefix, vectors)),
        ("Makefile".to_owned(), makefile(prefix)),
    ];
    Ok(Source {
        files,
        arena_bytes,
        table_bytes: writer.table_bytes,
    })
}

impl<'a> Writer<'a> {
    fn new(
        program: &'a Program<'a>,
        pools: BTreeMap<Value, [usize; 2]>,
        bytes: usize,
    ) -> Result<Self, ExportError> {
        let layout = Layout::new(program, |_| 0, 4 / bytes);
        let mut wide_taps = false;
        for (number, step) in program.steps.iter().enumerate() {
            for (input, read) in step.reads.iter().enumerate() {
                let sides = [
                    read.shape.height,
                    read.shape.width,
                    step.shape.height,
                    step.shape.width,
                ];
                let most = usize::from(u16::MAX);
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
                    wide_taps |= furthest.max(taps(shape, *groups)) > most;
                }
            }
        }
        Ok(Self {
            program,
            pools,
            layout,
            bytes,
            wide_taps,
            tables: String::new(),
            calls: String::new(),
            sections: BTreeSet::from(["all"]),
            table_bytes: 0,
        })
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
            step.name.replace("*/", ""),
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
        shape: &crate::op::WindowShape,
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

/// What a caller must know, as macros and comments.
fn header(writer: &Writer<'_>, prefix: &str, arena_bytes: usize) -> String {
    let program = writer.program;
    let model = program.model;
    let upper = prefix.to_ascii_uppercase();
    let [height, width, channels] = program.input.sides();
    let [rows, columns, outputs] = program.output().sides();
    let operations = model.operations();
    let tables = writer.table_bytes;
    let scale = model.logit_scale();
    let image = !model.table.is_empty();
    let kind = input_kind(writer);
    let mut text = format!(
        "/* {}, trained on {}: a network whose weights are powers of two, in integers.\n   \
         {MARK} {} from a packed model; {} additions an image, no multiplication. */\n\n\
         #ifndef {upper}_H\n#define {upper}_H\n\n#include <stdint.h>\n\n\
         #ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n",
        model.model.name.replace("*/", ""),
        model.data.replace("*/", ""),
        env!("CARGO_PKG_VERSION"),
        operations.additions,
    );
    let mut define = |name: &str, value: String, what: &str| {
        let line = format!("#define {upper}_{name} {value}");
        let _ = writeln!(text, "{line:<40} /* {what} */");
    };
    if image {
        define("HEIGHT", height.to_string(), "rows of an image");
        define("WIDTH", width.to_string(), "columns of an image");
        define("CHANNELS", channels.to_string(), "bytes of a pixel");
    }
    define(
        "INPUTS",
        (height * width * channels).to_string(),
        if image {
            "bytes of an image: row after row, the channels of a pixel together"
        } else {
            "numbers of a latent"
        },
    );
    if !image {
        let scale = format!("({})", model.input_scale());
        define("INPUT_SCALE", scale, "log2 of the unit of these numbers");
    }
    if rows * columns > 1 {
        define("OUTPUT_HEIGHT", rows.to_string(), "rows of the output");
        define("OUTPUT_WIDTH", columns.to_string(), "columns of the output");
    }
    define(
        "OUTPUTS",
        (rows * columns * outputs).to_string(),
        if image {
            "logits"
        } else {
            "logits, in the order row, column, channel"
        },
    );
    define(
        "LOGIT_SCALE",
        format!("({scale})"),
        "log2 of the unit of the logits",
    );
    define("ARENA_BYTES", arena_bytes.to_string(), "working memory");
    define(
        "TABLE_BYTES",
        tables.to_string(),
        "constant tables, which can stay in flash",
    );
    if image && !model.classes.is_empty() {
        let names = model.classes.iter().map(|name| name.replace("*/", ""));
        let names: Vec<String> = names
            .enumerate()
            .map(|(i, name)| format!("{i} {name}"))
            .collect();
        let _ = writeln!(text, "\n/* Classes: {} */", names.join(", "));
    }
    let what = if image { "image" } else { "latent" };
    let _ = write!(
        text,
        "\n/* Gives the {upper}_OUTPUTS logits of {an} {what}; the class is the number of the largest. `arena` is \
         {upper}_ARENA_BYTES\n   of any content, aligned to four bytes; two calls at once need two. */\n\
         void {prefix}_run(const {kind} *input, int32_t *logits, void *arena);\n\n\
         #ifdef __cplusplus\n}}\n#endif\n\n#endif\n",
        an = if image { "an" } else { "a" },
    );
    if !image {
        text = text.replace("; the class is the number of the largest", "");
    }
    text
}

fn input_kind(writer: &Writer<'_>) -> &'static str {
    match (writer.program.model.table.is_empty(), writer.bytes) {
        (false, _) => "uint8_t",
        (true, 1) => "int8_t",
        (true, _) => "int16_t",
    }
}

/// The sections of the engine that a network uses.
fn engine(sections: &BTreeSet<&'static str>) -> String {
    let mut text = String::new();
    let mut wanted = false;
    for line in ENGINE.lines() {
        let name = line
            .strip_prefix("/* [")
            .and_then(|rest| rest.strip_suffix("] */"));
        match name {
            Some(name) => {
                wanted = sections.contains(name);
                if wanted && !text.is_empty() {
                    text.push('\n');
                }
            }
            None if wanted => {
                text.push_str(line);
                text.push('\n');
            }
            None => (),
        }
    }
    text
}

fn source(writer: &Writer<'_>, prefix: &str) -> String {
    let program = writer.program;
    let bits = 8 * writer.bytes;
    let offset = if writer.wide_taps { 32 } else { 16 };
    let most_bits = program
        .steps
        .iter()
        .filter_map(|step| step.layer)
        .map(|layer| layer.bits)
        .max();
    let codes = 1 << most_bits.unwrap_or(1);
    let kind = input_kind(writer);
    let taps = match writer.sections.contains("windows") {
        true => format!(
            "    offset_t *const taps = (offset_t *)(void *)(at + {});\n",
            writer.layout.taps
        ),
        false => String::new(),
    };
    format!(
        "/* See {prefix}.h. {MARK} */\n\n#include \"{prefix}.h\"\n\n#include <stddef.h>\n\n\
         typedef int{bits}_t value_t;      /* an activation */\n\
         typedef uint{offset}_t offset_t;    /* from the first number of a window to a tap */\n\
         typedef uint{offset}_t tap_count_t; /* taps of an output */\n\n\
         /* Codes of the widest layer. */\n#define CODES {codes}\n\n\
         /* A negative number that is shifted to the right stays negative: so it is with every compiler known to us, but \
         the\n   standard leaves it open. Where it is not so, this does not compile. */\n\
         typedef char right_shift_keeps_the_sign[(-1 >> 1) == -1 ? 1 : -1];\n\n\
         {engine}\n{rows}{tables}\n\
         void {prefix}_run(const {kind} *input, int32_t *logits, void *arena)\n{{\n\
         {indent}value_t *const at = (value_t *)arena;\n{taps}\n{calls}}}\n",
        engine = engine(&writer.sections),
        rows = match writer.sections.contains("map") {
            true => ROWS_OF,
            false => "",
        },
        tables = writer.tables,
        indent = "    ",
        calls = writer.calls,
    )
}

const ROWS_OF: &str =
    "static struct rows rows_of(size_t rows, size_t row, size_t x_step, size_t y_step)
{
    struct rows r;
    r.rows = rows;
    r.row = row;
    r.x_step = x_step;
    r.y_step = y_step;
    return r;
}

";

/// Known answers, a canary behind the arena, and on a host the logits of files.
fn test(writer: &Writer<'_>, prefix: &str, vectors: &[KnownAnswer]) -> String {
    let upper = prefix.to_ascii_uppercase();
    let kind = input_kind(writer);
    let inputs: Vec<String> = vectors
        .iter()
        .flat_map(|v| &v.input)
        .map(i32::to_string)
        .collect();
    let logits: Vec<String> = vectors
        .iter()
        .flat_map(|v| &v.logits)
        .map(|v| int(*v))
        .collect();
    format!(
        r#"/* {MARK}. Known answers of {prefix}.h. Returns 0 if all are given; without stdio, as on a board, compile with
   -D{upper}_NO_STDIO. With the name of a file: the logits of the inputs that stand in it one after the other. */

#include "{prefix}.h"

#ifndef {upper}_NO_STDIO
#include <stdio.h>
#endif

#define VECTORS {count}
#define CANARY 16

static const {kind} inputs[VECTORS * {upper}_INPUTS] = {{
{inputs}
}};

static const int32_t expected[VECTORS * {upper}_OUTPUTS] = {{
{logits}
}};

static union {{
    uint32_t aligned;
    uint8_t bytes[{upper}_ARENA_BYTES + CANARY];
}} arena;
static int32_t logits[{upper}_OUTPUTS];

/* How many of the vectors fail. */
int {prefix}_test(void);

int {prefix}_test(void)
{{
    const {kind} *input = inputs;
    const int32_t *wanted = expected;
    int failed = 0, vector;
    for (vector = 0; vector < VECTORS; vector++) {{
        int wrong = 0;
        unsigned i;
        for (i = 0; i < {upper}_ARENA_BYTES + CANARY; i++) {{
            arena.bytes[i] = 0xa5;
        }}
        {prefix}_run(input, logits, arena.bytes);
        for (i = 0; i < {upper}_OUTPUTS; i++) {{
            wrong |= logits[i] != wanted[i];
        }}
        for (i = {upper}_ARENA_BYTES; i < {upper}_ARENA_BYTES + CANARY; i++) {{
            wrong |= arena.bytes[i] != 0xa5;
        }}
        failed += wrong;
        input += {upper}_INPUTS;
        wanted += {upper}_OUTPUTS;
    }}
    return failed;
}}

#ifndef {upper}_NO_STDIO
static int logits_of(const char *name)
{{
    static {kind} input[{upper}_INPUTS];
    FILE *file = fopen(name, "rb");
    if (file == NULL) {{
        fprintf(stderr, "%s: cannot be opened\n", name);
        return 2;
    }}
    while (fread(input, sizeof input, 1, file) == 1) {{
        unsigned i;
        {prefix}_run(input, logits, arena.bytes);
        for (i = 0; i < {upper}_OUTPUTS; i++) {{
            printf(i == 0 ? "%ld" : " %ld", (long)logits[i]);
        }}
        printf("\n");
    }}
    fclose(file);
    return 0;
}}

int main(int argc, char **argv)
{{
    int failed;
    if (argc > 1) {{
        return logits_of(argv[1]);
    }}
    failed = {prefix}_test();
    printf("%d passed, %d failed\n", VECTORS - failed, failed);
    return failed == 0 ? 0 : 1;
}}
#endif
"#,
        count = vectors.len(),
        inputs = list(inputs),
        logits = list(logits),
    )
}

fn makefile(prefix: &str) -> String {
    format!(
        "# {MARK}.\nCFLAGS = -O2\nWARNINGS = -std=c99 -pedantic -Wall -Wextra -Wconversion\n\n\
         .PHONY: test clean\n\n\
         test: {prefix}_test\n\t./{prefix}_test\n\n\
         {prefix}_test: {prefix}_test.c {prefix}.c {prefix}.h\n\
         \t$(CC) $(WARNINGS) $(CFLAGS) -o $@ {prefix}_test.c {prefix}.c\n\n\
         clean:\n\trm -f {prefix}_test\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        let name = |text: &str| identifier(text).ok();
        assert_eq!(name("mobilenet-0.5").as_deref(), Some("mobilenet_0_5"));
        assert_eq!(name("3layers").as_deref(), Some("_3layers"));
        assert_eq!(name("Mein Netz").as_deref(), Some("mein_netz"));
        for refused in ["", "--", "int", "Class"] {
            let error = identifier(refused).unwrap_err().to_string();
            assert!(error.contains("--prefix"), "{error}");
        }
    }

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
