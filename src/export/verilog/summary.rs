//! Sizes of an engine and what an image takes, in numbers that do not need a tool.

use super::hardware::Hardware;
use super::plan::{Micro, Plan, Work};
use super::{Arithmetic, Options};

/// A step of the engine.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LayerSummary {
    /// Name of the node.
    pub name: String,
    /// The operation's word; `copy` where values are laid out anew for it.
    pub work: String,
    /// Bits of a weight in memory.
    pub code_bits: Option<u32>,
    /// Bits that its sums need.
    pub sum_bits: Option<u32>,
    /// Bits of its weight memory, with what fills up words.
    pub weight_memory_bits: usize,
    /// Multiply-accumulates of the network.
    pub macs: u64,
    /// Clocks in which words are read.
    pub reads: u64,
    /// Clocks, without those between steps.
    pub cycles: u64,
    /// Part of the array's terms that are multiply-accumulates of the network.
    pub utilisation: f64,
}

/// An engine and what it does.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Summary {
    /// Name of the network.
    pub network: String,
    /// `shift-add`, or `multiplier, 8 bits`.
    pub arithmetic: String,
    /// Whether weights are random ones in place of the network's.
    pub random_weights: bool,
    /// Outputs at once.
    pub lanes: usize,
    /// Inputs of each a clock.
    pub inputs: usize,
    /// Bits of an accumulator.
    pub accumulator_bits: usize,
    /// Clocks of an image, from its first byte to its last logit, to a few parts in a thousand.
    pub cycles: u64,
    /// Bits of all weight memories.
    pub weight_memory_bits: usize,
    /// Bits of the activation memory.
    pub activation_memory_bits: usize,
    /// Bits of biases, shifts and corrections.
    pub output_memory_bits: usize,
    /// Bits of the table of steps.
    pub table_bits: usize,
    /// Bits of the table that bytes of an image go through.
    pub input_table_bits: usize,
    /// Step by step.
    pub steps: Vec<LayerSummary>,
}

/// Clocks between a step's last read and the next one's first.
const BETWEEN: u64 = 19;

fn cycles(micro: &Micro, [lanes, inputs]: [usize; 2]) -> u64 {
    let count = |i: usize| micro.counts[i] as u64;
    let window = count(0) * count(1) * count(2);
    let positions = count(4) * count(5);
    match micro.work {
        Work::Window { .. } => window * count(3) * positions,
        Work::Product { .. } => {
            // Sums leave one a clock, while the next ones are added.
            let written = micro.written[0] as u64;
            let last = written - (count(3) - 1) * lanes as u64;
            // A pool reads what it has so far, one word at a time; where sums wait to leave there is time for it.
            let [rows, columns] = micro.pool.map(|n| n as u64);
            let again = positions - positions / (rows * columns);
            let fetches = match window >= lanes as u64 {
                true => again * written.div_ceil(inputs as u64),
                false => 0,
            };
            positions * ((count(3) - 1) * window.max(lanes as u64) + window.max(last)) + fetches
        }
    }
}

impl Summary {
    /// Of an engine.
    pub fn new(plan: &Plan<'_>, hardware: &Hardware, options: &Options) -> Self {
        let codes = options.lanes * options.inputs;
        let of = |micro: &Micro| {
            let step = &plan.program.steps[micro.step];
            let product = matches!(micro.work, Work::Product { .. });
            let weights = hardware.weights[micro.step].as_ref().filter(|_| product);
            let reads: u64 = micro.counts.iter().map(|n| *n as u64).product();
            let positions = (micro.counts[4] * micro.counts[5]) as u64;
            let macs = weights.map_or(0, |w| w.values.len() as u64 * positions);
            let words: usize = micro.counts[..4].iter().product();
            let own = plan
                .micros
                .iter()
                .rfind(|m| m.step == micro.step)
                .is_some_and(|m| {
                    std::ptr::eq(m, micro)
                        || matches!(m.work, Work::Window { .. })
                            && m.to.map(|t| t.0) == micro.to.map(|t| t.0)
                });
            let clocks = cycles(micro, [options.lanes, options.inputs]);
            LayerSummary {
                name: step.name.to_owned(),
                work: if own {
                    step.word.to_owned()
                } else {
                    "copy".to_owned()
                },
                code_bits: weights.map(|w| w.bits),
                sum_bits: hardware.sum_bits[micro.step].filter(|_| product),
                weight_memory_bits: weights.map_or(0, |w| w.bits as usize * words * codes),
                macs,
                reads,
                cycles: clocks,
                utilisation: macs as f64 / (clocks * codes as u64) as f64,
            }
        };
        let steps: Vec<LayerSummary> = plan.micros.iter().map(of).collect();
        let (arithmetic, random) = match options.arithmetic {
            Arithmetic::Shift => ("shift-add".to_owned(), false),
            Arithmetic::Multiply { bits, random } => (format!("multiplier, {bits} bits"), random),
        };
        let fields: usize = hardware.fields.iter().map(|field| field.1).sum();
        let act = hardware.parameters["ACT"];
        let between = BETWEEN * plan.micros.len() as u64;
        let run: u64 = steps.iter().map(|step| step.cycles).sum();
        Self {
            network: plan.program.model.model.name.clone(),
            arithmetic,
            random_weights: random,
            lanes: options.lanes,
            inputs: options.inputs,
            accumulator_bits: hardware.parameters["ACC"],
            cycles: plan.program.input.len() as u64 + run + between,
            weight_memory_bits: hardware.weight_bits(),
            activation_memory_bits: plan.words * options.inputs * act,
            output_memory_bits: hardware.outputs.len() * hardware.output_width(),
            table_bits: plan.micros.len() * fields,
            input_table_bits: plan.program.model.table.len() * act,
            steps,
        }
    }
}
