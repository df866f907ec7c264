//! The texts of the files.

use std::fmt::Write as _;

use super::hardware::{Hardware, OutputNumbers, mask};
use super::plan::Plan;
use super::summary::Summary;
use super::vectors::LayerTests;
use super::{MARK, Options};
use crate::verify::KnownAnswer;

const ENGINE: &str = include_str!("engine.v");
const BENCH: &str = include_str!("tb.v");
const MAKEFILE: &str = include_str!("Makefile.in");
const README: &str = include_str!("README.in");
const SYNTH: &str = include_str!("synth.py");

/// Ports of the engine that the top module has, too.
const PORTS: &str = "\
    input wire clock,
    input wire reset,
    // The bytes of an image, row after row, the channels of a pixel together. The last one starts the engine.
    input wire in_valid,
    output wire in_ready,
    input wire [7:0] in_data,
    // The logits, one after the other, in two's complement.
    output wire out_valid,
    output wire [31:0] out_data,
    output wire done,
    // For tests, while in_ready is high: numbers of the activation memory, and single steps.
    input wire test_write,
    input wire test_read,
    input wire [@ADDRESS@-1:0] test_address,
    input wire [@ACT@-1:0] test_data,
    output wire [@ACT@-1:0] test_q,
    input wire test_start,
    input wire [@STEP@-1:0] test_first,
    input wire [@STEP@-1:0] test_last
";

/// All files of an export.
pub fn all(
    plan: &Plan<'_>,
    hardware: &Hardware,
    options: &Options,
    answers: &[KnownAnswer],
    tests: &LayerTests,
    summary: &Summary,
) -> Vec<(String, String)> {
    let name = |step: usize| file_name(plan.program.steps[step].name, step);
    let mut files = vec![
        ("engine.v".to_owned(), ENGINE.to_owned()),
        ("top.v".to_owned(), top(plan, hardware)),
        ("memories.v".to_owned(), memories(plan, hardware)),
        ("tb.v".to_owned(), bench(plan, hardware, answers, tests)),
        ("steps.hex".to_owned(), steps_hex(hardware)),
        ("outputs.hex".to_owned(), outputs_hex(hardware)),
        ("input.hex".to_owned(), input_hex(plan, hardware)),
        (
            "images.hex".to_owned(),
            words(answers.iter().flat_map(|a| &a.input).map(|v| *v as u32), 2),
        ),
        (
            "logits.hex".to_owned(),
            words(answers.iter().flat_map(|a| &a.logits).map(|v| *v as u32), 8),
        ),
        (
            "layers.hex".to_owned(),
            words(tests.words.iter().copied(), 8),
        ),
        (
            "Makefile".to_owned(),
            fill(MAKEFILE, plan, hardware).replace("@images@", &answers.len().to_string()),
        ),
        (
            "README".to_owned(),
            readme(plan, hardware, options, tests, summary),
        ),
        ("synth.py".to_owned(), SYNTH.to_owned()),
        ("summary.json".to_owned(), json(summary)),
    ];
    for (bits, bank) in &hardware.banks {
        for (step, lines) in &bank.layers {
            let mut text = String::new();
            for line in lines {
                text.push_str(&hex(line
                    .iter()
                    .map(|code| (u128::from(*code), *bits as usize))));
                text.push('\n');
            }
            files.push((format!("weights_{}.hex", name(*step)), text));
        }
    }
    files
}

fn json(summary: &Summary) -> String {
    let mut value = serde_json::to_value(summary).unwrap_or_default();
    value["made_by"] = format!("{MARK} {}", env!("CARGO_PKG_VERSION")).into();
    serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
}

/// A name that files may have, which no other step of the network has.
fn file_name(name: &str, step: usize) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("{step}_{}", name.chars().map(allowed).collect::<String>())
}

fn top_name(plan: &Plan<'_>) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    let name: String = plan.program.model.model.name.chars().map(allowed).collect();
    let top = format!("gtc_{name}");
    // A network may be called like a part of the engine.
    let modules = ENGINE.lines().chain(BENCH.lines());
    let mut names = modules.filter_map(|line| line.strip_prefix("module "));
    let is_taken = names.any(|rest| rest.split([' ', ';', '(']).next() == Some(&top));
    match is_taken {
        true => top + "_network",
        false => top,
    }
}

/// Replaces the names of parameters between @ signs.
fn fill(text: &str, plan: &Plan<'_>, hardware: &Hardware) -> String {
    let mut text = text
        .replace("@MARK@", MARK)
        .replace("@top@", &top_name(plan));
    for (name, value) in &hardware.parameters {
        text = text.replace(&format!("@{name}@"), &value.to_string());
    }
    text
}

/// Numbers of some bits each, the first in the lowest, in hexadecimal.
fn hex(numbers: impl IntoIterator<Item = (u128, usize)>) -> String {
    let mut bits: Vec<bool> = Vec::new();
    for (number, width) in numbers {
        bits.extend((0..width).map(|bit| number >> bit & 1 == 1));
    }
    let digit = |four: &[bool]| {
        let value = four.iter().rev().fold(0, |v, bit| 2 * v + u32::from(*bit));
        char::from_digit(value, 16).unwrap_or('0')
    };
    let digits: Vec<char> = bits.chunks(4).map(digit).collect();
    digits.into_iter().rev().collect()
}

/// One number a line.
fn words(numbers: impl IntoIterator<Item = u32>, digits: usize) -> String {
    let mut text = String::new();
    for number in numbers {
        let _ = writeln!(text, "{number:0digits$x}");
    }
    text
}

fn steps_hex(hardware: &Hardware) -> String {
    let row = |numbers: &Vec<u128>| {
        let fields = numbers.iter().zip(&hardware.fields);
        hex(fields.map(|(number, (_, width))| (*number, *width))) + "\n"
    };
    hardware.table.iter().map(row).collect()
}

fn outputs_hex(hardware: &Hardware) -> String {
    let of = |name: &str| hardware.parameters[name];
    let row = |o: &OutputNumbers| {
        let wide = |v: i64, width: usize| (i128::from(v).cast_unsigned() & mask(width), width);
        let mut fields = vec![
            wide(o.correct, of("ACC")),
            wide(o.bias, of("WIDE")),
            (o.down.into(), of("DOWN")),
        ];
        if of("UPS") > 0 {
            fields.push((o.up.into(), of("UP")));
        }
        hex(fields) + "\n"
    };
    hardware.outputs.iter().map(row).collect()
}

fn input_hex(plan: &Plan<'_>, hardware: &Hardware) -> String {
    let act = hardware.parameters["ACT"];
    let number = |v: &i16| hex([(i128::from(*v).cast_unsigned() & mask(act), act)]) + "\n";
    plan.program.model.table.iter().map(number).collect()
}

fn bench(
    plan: &Plan<'_>,
    hardware: &Hardware,
    answers: &[KnownAnswer],
    tests: &LayerTests,
) -> String {
    let logits = plan.program.output().len();
    let numbers = [
        ("@images@", answers.len()),
        ("@bytes@", plan.program.input.len()),
        ("@logits@", logits),
        ("@words@", tests.words.len()),
        ("@cases@", tests.cases.len()),
        ("@address@", hardware.parameters["ADDRESS"]),
        ("@act@", hardware.parameters["ACT"]),
        ("@step@", hardware.parameters["STEP"]),
    ];
    let text = BENCH.replace("@top@", &top_name(plan));
    numbers.iter().fold(text, |text, (name, value)| {
        text.replace(name, &value.to_string())
    })
}

/// A memory that is only read.
fn rom(text: &mut String, name: &str, [width, depth]: [usize; 2], loads: &[String]) {
    let address = depth.next_power_of_two().ilog2().max(1);
    let _ = writeln!(
        text,
        "\n// {depth} words of {width} bits.\nmodule {name} (\n    input wire clock,\n    input wire [{}:0] address,\n    \
         output reg [{}:0] q\n);\n    reg [{}:0] memory [0:{}];\n    initial begin",
        address - 1,
        width - 1,
        width - 1,
        depth - 1
    );
    for load in loads {
        let _ = writeln!(text, "        $readmemh({load});");
    }
    let _ = writeln!(
        text,
        "    end\n    always @(posedge clock) q <= memory[address];\nendmodule"
    );
}

fn memories(plan: &Plan<'_>, hardware: &Hardware) -> String {
    let of = |name: &str| hardware.parameters[name];
    let mut text = format!(
        "// {MARK}. The memories of {}: read in one clock. Files of numbers are sought where the tool runs.\n\n\
         `default_nettype none\n\
         /* verilator lint_off DECLFILENAME */ // All memories are in this file.\n",
        top_name(plan)
    );
    let top = top_name(plan);
    let codes = of("LANES") * of("INPUTS");
    for (bits, bank) in &hardware.banks {
        let mut at = 0;
        let mut loads = Vec::new();
        for (step, lines) in &bank.layers {
            let name = file_name(plan.program.steps[*step].name, *step);
            let end = at + lines.len() - 1;
            loads.push(format!("\"weights_{name}.hex\", memory, {at}, {end}"));
            at += lines.len();
        }
        rom(
            &mut text,
            &format!("{top}_weights_{bits}"),
            [*bits as usize * codes, bank.depth],
            &loads,
        );
    }
    let whole = |file: &str| [format!("\"{file}\", memory")];
    let fields: usize = hardware.fields.iter().map(|field| field.1).sum();
    rom(
        &mut text,
        &format!("{top}_steps"),
        [fields, hardware.table.len()],
        &whole("steps.hex"),
    );
    rom(
        &mut text,
        &format!("{top}_outputs"),
        [hardware.output_width(), hardware.outputs.len()],
        &whole("outputs.hex"),
    );
    rom(
        &mut text,
        &format!("{top}_input"),
        [of("ACT"), plan.program.model.table.len()],
        &whole("input.hex"),
    );
    let (act, inputs) = (of("ACT"), of("INPUTS"));
    let address = of("ADDRESS") - of("LANE");
    let _ = write!(
        text,
        "\n// {words} words of {inputs} activations, which are written one at a time.\n\
         module {top}_activations (\n    input wire clock,\n    input wire [{high}:0] read_address,\n    \
         output reg [{width}:0] q,\n    input wire [{last}:0] write_enable,\n    input wire [{high}:0] write_address,\n    \
         input wire [{a}:0] write_data\n);\n    reg [{width}:0] memory [0:{depth}];\n    integer i;\n    \
         always @(posedge clock) begin\n        for (i = 0; i < {inputs}; i = i + 1)\n            if (write_enable[i])\n                \
         memory[write_address][i*{act} +: {act}] <= write_data;\n        q <= memory[read_address];\n    end\nendmodule\n\n\
         `default_nettype wire\n",
        words = plan.words,
        high = address - 1,
        width = act * inputs - 1,
        last = inputs - 1,
        a = act - 1,
        depth = plan.words - 1,
    );
    text
}

/// The engine and its memories.
fn top(plan: &Plan<'_>, hardware: &Hardware) -> String {
    let of = |name: &str| hardware.parameters[name];
    let top = top_name(plan);
    let parameters: Vec<String> = hardware
        .parameters
        .iter()
        .map(|(name, value)| format!("        .{name}({value})"))
        .collect();
    let mut text = format!(
        "// {MARK}. The engine for {} and its memories.\n\n`default_nettype none\n\
         /* verilator lint_off DECLFILENAME */ // top.v, whatever the network is called.\n\nmodule {top} (\n{});\n",
        plan.program.model.model.name,
        fill(PORTS, plan, hardware)
    );
    let (act, inputs, lane, lanes, code) =
        (of("ACT"), of("INPUTS"), of("LANE"), of("LANES"), of("CODE"));
    let codes = lanes * inputs;
    let fields: usize = hardware.fields.iter().map(|field| field.1).sum();
    let steps = hardware.table.len().next_power_of_two().ilog2().max(1);
    let outputs = hardware.outputs.len().next_power_of_two().ilog2().max(1);
    let table = plan.program.model.table.len().next_power_of_two().ilog2();
    let _ = write!(
        text,
        "    wire [{}:0] read_address, write_address;\n    wire [{}:0] read_q;\n    wire [{}:0] write_enable;\n    \
         wire [{}:0] write_data, input_q;\n    wire [{}:0] input_address;\n    wire [{}:0] weight_address;\n    \
         wire [{}:0] weight_q;\n    wire [{}:0] output_address;\n    wire [{}:0] output_q;\n    wire [{}:0] step_address;\n    \
         wire [{}:0] f;\n\n",
        of("ADDRESS") - lane - 1,
        act * inputs - 1,
        inputs - 1,
        act - 1,
        of("CHANNEL") + 7,
        of("WEIGHT") - 1,
        codes * code - 1,
        of("OUTPUT") - 1,
        hardware.output_width() - 1,
        of("STEP") - 1,
        fields - 1,
    );
    let _ = writeln!(
        text,
        "    {top}_activations activations (\n        .clock(clock), .read_address(read_address), .q(read_q), \
         .write_enable(write_enable),\n        .write_address(write_address), .write_data(write_data));\n    \
         {top}_input bytes (.clock(clock), .address(input_address[{}:0]), .q(input_q));\n    \
         {top}_steps steps (.clock(clock), .address(step_address[{}:0]), .q(f));\n    \
         {top}_outputs outputs (.clock(clock), .address(output_address[{}:0]), .q(output_q));\n",
        table - 1,
        steps - 1,
        outputs - 1,
    );
    let mut at = 0;
    for (name, width) in &hardware.fields {
        let _ = match width {
            1 => writeln!(text, "    wire {name} = f[{at}];"),
            _ => writeln!(
                text,
                "    wire [{}:0] {name} = f[{}:{at}];",
                width - 1,
                at + width - 1
            ),
        };
        at += width;
    }
    if hardware.banks.len() < 2 {
        text.push_str("    wire unused_bank = &{1'b0, f_bank};\n");
    }
    let deepest = hardware
        .banks
        .values()
        .map(|bank| bank.depth)
        .max()
        .unwrap_or(1);
    let weight = deepest.next_power_of_two().ilog2().max(1) as usize;
    for (name, width, used) in [
        ("input", of("CHANNEL") + 8, table as usize),
        ("weight", of("WEIGHT"), weight),
        ("step", of("STEP"), steps as usize),
        ("output", of("OUTPUT"), outputs as usize),
    ] {
        if width > used {
            let _ = writeln!(
                text,
                "    wire unused_{name} = &{{1'b0, {name}_address[{}:{used}]}};",
                width - 1
            );
        }
    }
    text.push('\n');
    for (bits, bank) in &hardware.banks {
        let address = bank.depth.next_power_of_two().ilog2().max(1) as usize;
        let _ = writeln!(
            text,
            "    wire [{}:0] weights_{bits};\n    wire [{}:0] codes_{bits};\n    \
             {top}_weights_{bits} memory_{bits} (.clock(clock), .address(weight_address[{}:0]), .q(weights_{bits}));\n    \
             gtc_expand #(.CODES({codes}), .BITS({bits}), .CODE({code}), .MULTIPLY({}), .ZERO({})) expand_{bits} (\n        \
             .packed_codes(weights_{bits}), .zero(f_zero), .codes(codes_{bits}));",
            *bits as usize * codes - 1,
            codes * code - 1,
            address - 1,
            of("MULTIPLY"),
            of("ZERO"),
        );
    }
    let mut chosen = String::new();
    let last = hardware.banks.len() - 1;
    for (number, bits) in hardware.banks.keys().enumerate() {
        let _ = match number == last {
            true => write!(chosen, "codes_{bits}"),
            false => write!(chosen, "f_bank == {number} ? codes_{bits} : "),
        };
    }
    let _ = writeln!(text, "    assign weight_q = {chosen};\n");
    let (acc, wide, down) = (of("ACC"), of("WIDE"), of("DOWN"));
    let up = match of("UPS") {
        0 => format!("{}'d0", of("UP")),
        _ => format!("output_q[{} +: {}]", acc + wide + down, of("UP")),
    };
    let known: Vec<String> = hardware
        .fields
        .iter()
        .map(|field| field.0)
        .filter(|name| !name.starts_with("f_delta_") && !["f_zero", "f_bank"].contains(name))
        .map(|name| format!(".{name}({name})"))
        .collect();
    let known: Vec<String> = known.chunks(4).map(|line| line.join(", ")).collect();
    let _ = write!(
        text,
        "    gtc_engine #(\n{}\n    ) engine (\n        .clock(clock), .reset(reset), .in_valid(in_valid), .in_ready(in_ready), \
         .in_data(in_data),\n        .out_valid(out_valid), .out_data(out_data), .done(done),\n        \
         .test_write(test_write), .test_read(test_read), .test_address(test_address), .test_data(test_data),\n        \
         .test_q(test_q), .test_start(test_start), .test_first(test_first), .test_last(test_last),\n        \
         .read_address(read_address), .read_q(read_q), .write_enable(write_enable), .write_address(write_address),\n        \
         .write_data(write_data), .input_address(input_address), .input_q(input_q), .weight_address(weight_address),\n        \
         .weight_q(weight_q), .output_address(output_address), .output_correct(output_q[{acc}-1:0]),\n        \
         .output_bias(output_q[{acc} +: {wide}]), .output_down(output_q[{} +: {down}]), .output_up({up}),\n        \
         .step_address(step_address),\n        \
         .f_deltas({{f_delta_5, f_delta_4, f_delta_3, f_delta_2, f_delta_1, f_delta_0}}),\n        {});\nendmodule\n\n\
         `default_nettype wire\n",
        parameters.join(",\n"),
        acc + wide,
        known.join(",\n        "),
    );
    text
}

fn readme(
    plan: &Plan<'_>,
    hardware: &Hardware,
    options: &Options,
    tests: &LayerTests,
    summary: &Summary,
) -> String {
    let mut steps = String::new();
    for step in &summary.steps {
        let bits = step
            .code_bits
            .map_or("-".to_owned(), |bits| bits.to_string());
        let sum = step
            .sum_bits
            .map_or("-".to_owned(), |bits| bits.to_string());
        let _ = writeln!(
            steps,
            "  {:<16} {:<20} {bits:>4} {sum:>5} {:>12} {:>10} {:>5.1} %",
            step.name,
            step.work,
            step.macs,
            step.cycles,
            100.0 * step.utilisation
        );
    }
    let mut cases = String::new();
    for (number, case) in tests.cases.iter().enumerate() {
        let _ = writeln!(cases, "  {number:>3}  {case}");
    }
    let random = match summary.random_weights {
        true => {
            "\nThe network's weights do not fit into these multipliers. This engine has random weights of their width, and\n\
                 logits.hex holds what these give. It is for comparing sizes, and is not the network.\n"
        }
        false => "",
    };
    fill(README, plan, hardware)
        .replace("@network@", &summary.network)
        .replace("@arithmetic@", &summary.arithmetic)
        .replace("@random@", random)
        .replace("@lanes@", &options.lanes.to_string())
        .replace("@inputs@", &options.inputs.to_string())
        .replace("@bytes@", &plan.program.input.len().to_string())
        .replace("@logits@", &plan.program.output().len().to_string())
        .replace("@scale@", &plan.program.model.logit_scale().to_string())
        .replace("@cycles@", &summary.cycles.to_string())
        .replace("@steps@", steps.trim_end())
        .replace("@cases@", cases.trim_end())
        .replace("@weight_bits@", &summary.weight_memory_bits.to_string())
        .replace(
            "@activation_bits@",
            &summary.activation_memory_bits.to_string(),
        )
        .replace("@output_bits@", &summary.output_memory_bits.to_string())
        .replace("@table_bits@", &summary.table_bits.to_string())
        .replace("@input_bits@", &summary.input_table_bits.to_string())
}
