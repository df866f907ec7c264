//! The texts of the files: what stands around tables and calls.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use super::MARK;
use super::writer::Writer;
use crate::verify::KnownAnswer;

const ENGINE: &str = include_str!("engine.c");
const TEST: &str = include_str!("test.c");
/// Characters of a line of numbers.
const LINE: usize = 110;

/// Numbers between commas, in lines.
pub fn list<T: Display>(numbers: impl IntoIterator<Item = T>) -> String {
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
pub fn int(value: i32) -> String {
    match value {
        i32::MIN => "INT32_MIN".to_owned(),
        value => value.to_string(),
    }
}

/// A name from a model, as it may stand in a comment.
pub fn in_comment(name: &str) -> String {
    let harmless = |c: char| match c {
        '*' | '\\' => '+',
        c if c.is_control() => ' ',
        c => c,
    };
    name.chars().map(harmless).collect()
}

/// What a caller must know, as macros and comments.
pub fn header(writer: &Writer<'_>, prefix: &str) -> String {
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
        in_comment(&model.model.name),
        in_comment(&model.data),
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
    define(
        "ARENA_BYTES",
        writer.arena_bytes().to_string(),
        "working memory",
    );
    define(
        "TABLE_BYTES",
        tables.to_string(),
        "constant tables (with pointers of 32 bits), which can stay in flash",
    );
    if image && !model.classes.is_empty() {
        let names = model.classes.iter().map(|name| in_comment(name));
        let names: Vec<String> = names
            .enumerate()
            .map(|(i, name)| format!("{i} {name}"))
            .collect();
        let _ = writeln!(text, "\n/* Classes: {} */", names.join(", "));
    }
    let whose = match image {
        true => "an image; the class is the number of the largest",
        false => "a latent",
    };
    let _ = write!(
        text,
        "\n/* Gives the {upper}_OUTPUTS logits of {whose}. `arena` is {upper}_ARENA_BYTES of any content,\n   \
         aligned to four bytes; two calls at once need two. */\n\
         void {prefix}_run(const {kind} *input, int32_t *logits, void *arena);\n\n\
         #ifdef __cplusplus\n}}\n#endif\n\n#endif\n",
    );
    text
}

/// The type of what goes in.
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

/// The network itself.
pub fn source(writer: &Writer<'_>, prefix: &str) -> String {
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
         {engine}\n{tables}\n\
         void {prefix}_run(const {kind} *input, int32_t *logits, void *arena)\n{{\n\
         {indent}value_t *const at = (value_t *)arena;\n{taps}\n{calls}}}\n",
        engine = engine(&writer.sections),
        tables = writer.tables,
        indent = "    ",
        calls = writer.calls,
    )
}

/// Known answers, a canary behind the arena, and on a host the logits of files.
pub fn test(writer: &Writer<'_>, prefix: &str, answers: &[KnownAnswer]) -> String {
    let inputs: Vec<String> = answers
        .iter()
        .flat_map(|answer| &answer.input)
        .map(i32::to_string)
        .collect();
    let logits: Vec<String> = answers
        .iter()
        .flat_map(|answer| &answer.logits)
        .map(|logit| int(*logit))
        .collect();
    TEST.replace("@MARK@", MARK)
        .replace("@name@", prefix)
        .replace("@NAME@", &prefix.to_ascii_uppercase())
        .replace("@kind@", input_kind(writer))
        .replace("@count@", &answers.len().to_string())
        .replace("@inputs@", &list(inputs))
        .replace("@logits@", &list(logits))
}

/// Compiles and runs the test.
pub fn makefile(prefix: &str) -> String {
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
    fn no_name_ends_a_comment() {
        for name in ["*/", "**//", "/*", "a\\\nb"] {
            let text = in_comment(name);
            assert!(!text.contains(['*', '\\', '\n']), "{text}");
        }
    }
}
