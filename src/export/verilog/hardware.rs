//! How wide everything in the engine must be, and what stands in its memories.

use std::collections::BTreeMap;

use super::plan::{Micro, Plan, Work};
use super::weights::{Weights, bits_for, signed_bits};
use super::{Arithmetic, Options};
use crate::export::ExportError;
use crate::graph::{INPUT, Value};
use crate::op::integers::Form;
use crate::pack::PackedLayer;

/// One weight memory: all layers of one width.
#[derive(Clone, Debug, Default)]
pub struct Bank {
    /// Step of the program, and the words of its layer, each the codes of all lanes and inputs.
    pub layers: Vec<(usize, Vec<Vec<u64>>)>,
    /// Words of all layers.
    pub depth: usize,
}

/// Numbers of one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputNumbers {
    /// Added to the sum of the array, which makes it the sum of products.
    pub correct: i64,
    /// Added to the sum, with half of the last place that is shifted away.
    pub bias: i64,
    /// Places to the right.
    pub down: u32,
    /// Places to the left, before that.
    pub up: u32,
}

/// An engine for one network.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// Parameters of `gtc_engine`, by name.
    pub parameters: BTreeMap<&'static str, usize>,
    /// Fields of the table of steps, the first in the lowest bits: name and width.
    pub fields: Vec<(&'static str, usize)>,
    /// The table: of every step the numbers of all fields.
    pub table: Vec<Vec<u128>>,
    /// Weight memories by the bits of a code.
    pub banks: BTreeMap<u32, Bank>,
    /// Numbers of all outputs.
    pub outputs: Vec<OutputNumbers>,
    /// Weights of every step of the plan's program; none of steps without.
    pub weights: Vec<Option<Weights>>,
    /// The smallest and the largest number of every value.
    pub ranges: BTreeMap<Value, [i64; 2]>,
    /// Bits that the sums of each step's layer need.
    pub sum_bits: Vec<Option<u32>>,
}

/// The smallest and the largest number of a step's value.
fn range_of(plan: &Plan<'_>, ranges: &BTreeMap<Value, [i64; 2]>, step: usize) -> [i64; 2] {
    let step = &plan.program.steps[step];
    let limits = step.limits.map(i64::from);
    match &step.form {
        Form::Maximum { .. } | Form::Repeat { .. } => {
            let read = ranges[&step.reads[0].value];
            [limits[0].max(read[0]), limits[1].min(read[1])]
        }
        _ => limits,
    }
}

/// (sum << up) + bias + half, for a sum in a range.
fn before_shift(range: [i128; 2], bias: i64, shift: i32) -> [i128; 2] {
    let (up, down) = ((-shift).max(0), shift.max(0));
    let half = (1i128 << down) >> 1;
    range.map(|sum| (sum << up) + i128::from(bias) + half)
}

fn widest(ranges: impl IntoIterator<Item = [i128; 2]>) -> [i128; 2] {
    let ranges = ranges.into_iter();
    ranges.fold([0, 0], |[low, high], range| {
        [low.min(range[0]), high.max(range[1])]
    })
}

impl Hardware {
    /// The engine for a plan.
    ///
    /// # Errors
    /// [`ExportError::Layer`] for an accumulator that is too narrow, and for codes that the array cannot have.
    pub fn new(plan: &Plan<'_>, options: &Options) -> Result<Self, ExportError> {
        let program = &plan.program;
        let table = &program.model.table;
        let least = table.iter().min().copied().unwrap_or(0).min(0);
        let most = table.iter().max().copied().unwrap_or(0).max(0);
        let mut ranges = BTreeMap::from([(INPUT, [least.into(), most.into()])]);
        let mut weights = Vec::new();
        let mut sum_bits = Vec::new();
        let mut sums = Vec::new();
        let mut wide = vec![[0, 0]];
        let act = program.model.activations.bits();
        for (number, step) in program.steps.iter().enumerate() {
            let mut range = range_of(plan, &ranges, number);
            range = [range[0].min(0), range[1].max(0)];
            ranges.insert(step.gives, range);
            let Some(layer) = step.layer else {
                weights.push(None);
                sum_bits.push(None);
                continue;
            };
            let groups = match &step.form {
                Form::Product { groups, .. } => *groups,
                _ => 1,
            };
            let of = Weights::of(layer, options.arithmetic, groups > 1, number);
            if options.arithmetic == Arithmetic::Shift && layer.bits > 4 {
                return Err(ExportError::Layer {
                    layer: step.name.to_owned(),
                    reason: format!(
                        "its codes take {} bits, and the engine reads codes of 1 to 4. Train with fewer levels \
                         (--target-bits 3), or write C with --to c",
                        layer.bits
                    ),
                });
            }
            let read = ranges[&step.reads[0].value];
            let output = |o: usize| match options.arithmetic {
                Arithmetic::Multiply { .. } => of.format_range(read),
                Arithmetic::Shift => of.range(o, read),
            };
            let of_layer = widest((0..layer.shape[0]).map(output));
            for o in 0..layer.shape[0] {
                wide.push(before_shift(
                    output(o),
                    layer.bias[o].into(),
                    layer.shift[o],
                ));
            }
            let needed = signed_bits(of_layer);
            let bound = of_layer[1].max(-of_layer[0]);
            if let Some(given) = options.accumulator
                && given < needed
            {
                return Err(ExportError::Layer {
                    layer: step.name.to_owned(),
                    reason: format!(
                        "an accumulator of {given} bits is too narrow: its sums reach {bound} in size, which takes {needed} \
                         bits. Leave --accumulator away, or give at least {needed}"
                    ),
                });
            }
            sum_bits.push(Some(needed));
            sums.push(of_layer);
            weights.push(Some(of));
        }
        let acc = options
            .accumulator
            .unwrap_or_else(|| signed_bits(widest(sums)))
            .max(act + 1);
        for micro in &plan.micros {
            wide.extend(window_ranges(micro, act));
        }
        let wide = signed_bits(widest(wide)).max(acc).max(act + 1);
        if wide > 32 {
            return Err(ExportError::Layer {
                layer: program.model.model.name.clone(),
                reason: format!("its sums take {wide} bits, and the engine has 32"),
            });
        }
        let mut hardware = Self {
            parameters: BTreeMap::new(),
            fields: Vec::new(),
            table: Vec::new(),
            banks: BTreeMap::new(),
            outputs: Vec::new(),
            weights,
            ranges,
            sum_bits,
        };
        hardware.fill(plan, options, [acc as usize, wide as usize]);
        Ok(hardware)
    }

    fn fill(&mut self, plan: &Plan<'_>, options: &Options, [acc, wide]: [usize; 2]) {
        let program = &plan.program;
        let model = program.model;
        let act = model.activations.bits() as usize;
        let shift = options.arithmetic == Arithmetic::Shift;
        let known: Vec<&Weights> = self.weights.iter().flatten().collect();
        let zero = shift && known.iter().any(|w| w.zero);
        // Indices of codes in the array: those of layers without zeros begin at 1 where others have zeros.
        let index = |w: &&Weights| match (zero, w.zero) {
            (true, false) => bits_for(u64::from(w.span()) + 1).max(bits_for(1 << (w.bits - 1))),
            _ => w.bits - 1,
        };
        let index = known.iter().map(index).max().unwrap_or(0) as usize;
        let index = index.max(usize::from(zero));
        let span = known.iter().map(|w| w.span()).max().unwrap_or(0) as usize;
        let (code, term) = match options.arithmetic {
            Arithmetic::Shift => (index + 1, act + span),
            Arithmetic::Multiply { bits, .. } => (bits as usize, act + bits as usize),
        };
        let address = bits(plan.words * options.inputs - 1).max(2);
        let widths: Vec<u32> = known.iter().map(|w| w.bits).collect();
        self.banks = widths
            .into_iter()
            .map(|bits| (bits, Bank::default()))
            .collect();
        // Numbers of the table, by field.
        let mut rows: Vec<Vec<(&'static str, u128)>> = Vec::new();
        for (number, micro) in plan.micros.iter().enumerate() {
            let at = self.outputs.len();
            let weight = self.load(plan, options, micro, [act, acc]);
            let last = number + 1 == plan.micros.len();
            debug_assert!(!last || micro.to.is_none());
            rows.push(self.row(plan, options, micro, [at, weight, address, act]));
        }
        let largest = |name: &str| {
            let of = |row: &Vec<(&'static str, u128)>| {
                row.iter().find(|f| f.0 == name).map_or(0, |f| f.1)
            };
            let most = rows.iter().map(of).max().unwrap_or(0);
            bits_for(most as u64).max(1) as usize
        };
        let kernel = ["f_column_end", "f_row_end", "f_stride_x", "f_stride_y"].map(largest);
        let kernel = kernel.into_iter().max().unwrap_or(1);
        let reach = plan.micros.iter().map(|m| {
            let image = m.image.unwrap_or([0, 0]);
            let window = m.counts[1].max(m.counts[2]);
            let before = m
                .first
                .iter()
                .map(|f| f.unsigned_abs() as usize)
                .max()
                .unwrap_or(0);
            image[0].max(image[1]) + 2 * before + window
        });
        let place = [largest("f_x_end"), largest("f_y_end"), kernel];
        let place = place
            .into_iter()
            .max()
            .unwrap_or(1)
            .max(bits(reach.max().unwrap_or(1)));
        let group = ["f_group_end", "f_count_end"]
            .map(largest)
            .into_iter()
            .max()
            .unwrap_or(1);
        let depth = self
            .banks
            .values()
            .map(|bank| bank.depth)
            .max()
            .unwrap_or(1);
        let down = self.outputs.iter().map(|o| o.down).max().unwrap_or(0);
        let ups = self.outputs.iter().map(|o| o.up).max().unwrap_or(0);
        let up = [
            bits_for(ups.into()) as usize,
            largest("f_up_first"),
            largest("f_up_second"),
        ];
        let bytes = program.input.len();
        let channels = program.input.channels;
        let padded = plan.micros.iter().any(|m| m.image.is_some());
        let pooled = plan.micros.iter().any(|m| m.pool != [1, 1]);
        self.parameters = BTreeMap::from([
            ("ACT", act),
            ("INPUTS", options.inputs),
            ("LANE", options.inputs.ilog2() as usize),
            ("LANES", options.lanes),
            ("CODE", code),
            ("MULTIPLY", usize::from(!shift)),
            ("ZERO", usize::from(zero)),
            ("TERM", term),
            ("ACC", acc),
            ("WIDE", wide),
            ("DOWN", bits_for(down.into()).max(1) as usize),
            ("UP", up.into_iter().max().unwrap_or(1)),
            ("UPS", usize::from(ups > 0)),
            ("ADDRESS", address),
            ("WEIGHT", bits(depth - 1).max(2)),
            ("OUTPUT", bits(self.outputs.len() - 1).max(1)),
            ("INNER", largest("f_inner_end")),
            ("KERNEL", kernel),
            ("GROUP", group),
            ("PLACE", place),
            (
                "SPACE",
                largest("f_last_lanes_end")
                    .max(bits(options.lanes - 1))
                    .max(1),
            ),
            (
                "POOL",
                largest("f_pool_column_end").max(largest("f_pool_row_end")),
            ),
            ("PADDED", usize::from(padded)),
            ("POOLED", usize::from(pooled)),
            ("STEP", bits(plan.micros.len() - 1).max(1)),
            ("STEPS", plan.micros.len()),
            ("BYTES", bytes),
            ("CHANNELS", channels),
            ("CHANNEL", bits(channels - 1).max(1)),
            ("COUNT", bits(bytes - 1).max(1)),
        ]);
        self.fields = self.widths();
        let field = |row: &Vec<(&'static str, u128)>, name: &str, width: usize| {
            let value = row.iter().find(|f| f.0 == name).map_or(0, |f| f.1);
            // All ones stands for an image without end.
            value & mask(width)
        };
        let fields = self.fields.clone();
        self.table = rows
            .iter()
            .map(|row| {
                fields
                    .iter()
                    .map(|(name, width)| field(row, name, *width))
                    .collect()
            })
            .collect();
    }

    /// Fills the memories with what a step needs of them; gives the address of its weights.
    fn load(
        &mut self,
        plan: &Plan<'_>,
        options: &Options,
        micro: &Micro,
        [act, acc]: [usize; 2],
    ) -> usize {
        let step = &plan.program.steps[micro.step];
        match (&micro.work, step.layer) {
            (
                Work::Product {
                    groups,
                    words_apart,
                },
                Some(layer),
            ) => self.load_weights(
                plan,
                options,
                micro,
                layer,
                [*groups, *words_apart, act, acc],
            ),
            (Work::Window { shift, .. }, _) => {
                let down = (*shift).max(0).cast_unsigned();
                self.outputs.push(OutputNumbers {
                    correct: 0,
                    bias: (1i64 << down) >> 1,
                    down,
                    up: (-*shift).max(0).cast_unsigned(),
                });
                0
            }
            _ => 0,
        }
    }

    fn load_weights(
        &mut self,
        plan: &Plan<'_>,
        options: &Options,
        micro: &Micro,
        layer: &PackedLayer,
        [groups, words_apart, act, _]: [usize; 4],
    ) -> usize {
        let Some(weights) = &self.weights[micro.step] else {
            return 0;
        };
        let place = &plan.places[micro.from.0];
        let channels = place.sides[2];
        let words_of_pixel = place.pixel / options.inputs;
        let read = channels / groups;
        let outputs = layer.shape[0];
        let group_outputs = outputs / groups;
        let [inner, columns, rows, lane_groups, ..] = micro.counts;
        let mut excess = vec![0i64; lane_groups * options.lanes];
        let mut words = Vec::new();
        for lanes in 0..lane_groups {
            for tap in 0..rows * columns {
                for i in 0..inner {
                    let mut word = Vec::with_capacity(options.lanes * options.inputs);
                    for lane in 0..options.lanes {
                        let o = lanes * options.lanes + lane;
                        for input in 0..options.inputs {
                            let (tap, channel) = match groups {
                                // The loop over words may go over a whole image.
                                1 => (
                                    tap * (inner / words_of_pixel) + i / words_of_pixel,
                                    i % words_of_pixel * options.inputs + input,
                                ),
                                _ => (tap, (lanes * words_apart + i) * options.inputs + input),
                            };
                            let first = o / group_outputs * read;
                            let own = o < outputs
                                && channel < channels
                                && (first..first + read).contains(&channel);
                            let weight = own.then(|| {
                                weights.values[o * weights.row + tap * read + channel - first]
                            });
                            excess[o] += weights.excess(weight, act as u32);
                            word.push(weights.code(weight));
                        }
                    }
                    words.push(word);
                }
            }
        }
        excess.resize(micro.written[0], 0);
        for (o, excess) in excess.iter().enumerate() {
            let numbers = match o < outputs {
                true => {
                    let (down, up) = (layer.shift[o].max(0), (-layer.shift[o]).max(0));
                    OutputNumbers {
                        correct: -excess,
                        bias: i64::from(layer.bias[o]) + ((1i64 << down) >> 1),
                        down: down.cast_unsigned(),
                        up: up.cast_unsigned(),
                    }
                }
                false => OutputNumbers::default(),
            };
            self.outputs.push(numbers);
        }
        let bank = self.banks.entry(weights.bits).or_default();
        let at = bank.depth;
        bank.depth += words.len();
        bank.layers.push((micro.step, words));
        at
    }

    /// Bits of all weight memories.
    pub fn weight_bits(&self) -> usize {
        let codes = self.parameters["LANES"] * self.parameters["INPUTS"];
        self.banks
            .iter()
            .map(|(bits, bank)| *bits as usize * codes * bank.depth)
            .sum()
    }

    /// Bits of a row of the memory of outputs.
    pub fn output_width(&self) -> usize {
        let of = |name: &str| self.parameters[name];
        of("ACC") + of("WIDE") + of("DOWN") + if of("UPS") > 0 { of("UP") } else { 0 }
    }
}

/// Sums of the window unit, and what becomes of them before they are shifted to the right.
fn window_ranges(micro: &Micro, act: u32) -> Vec<[i128; 2]> {
    let Work::Window {
        ups,
        shift,
        maximum,
        ..
    } = &micro.work
    else {
        return Vec::new();
    };
    let most = (1i128 << (act - 1)) - 1;
    let window = (micro.counts[1] * micro.counts[2]) as i128;
    let sum = match (micro.second, maximum) {
        (_, true) => most,
        (Some(_), _) => (most << ups[0]) + (most << ups[1]),
        (None, _) => window * (most << ups[0]),
    };
    vec![[-sum, sum], before_shift([-sum, sum], 0, *shift)]
}

/// Bits that hold a count; at least one.
pub fn bits(most: usize) -> usize {
    bits_for(most as u64).max(1) as usize
}

/// So many ones.
pub fn mask(width: usize) -> u128 {
    (1u128 << width) - 1
}
