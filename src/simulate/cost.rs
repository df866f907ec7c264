//! Energy, cycles and traffic of a network in a format, layer by layer.

use std::ops::{Add, AddAssign};

use serde::Serialize;

use super::accelerator::{Accelerator, Dataflow};
use super::activity::Activity;
use super::format::Format;
use super::node::Node;
use super::workload::{Product, Work, Workload};

/// Energy of an image by where it goes, in pJ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Energy {
    /// Multiplications, shifts, additions and comparisons.
    pub arithmetic: f64,
    /// Registers of the elements: accumulators, and numbers that move through an array.
    pub registers: f64,
    /// The on-chip memory for weights.
    pub weights: f64,
    /// The on-chip memory for activations and partial sums.
    pub activations: f64,
    /// Off-chip memory.
    pub off_chip: f64,
}

impl Energy {
    /// The names of its parts, in their order.
    pub const PARTS: [&str; 5] = [
        "arithmetic",
        "registers",
        "weight memory",
        "activation memory",
        "off-chip memory",
    ];

    /// Its parts.
    pub fn parts(&self) -> [f64; 5] {
        [
            self.arithmetic,
            self.registers,
            self.weights,
            self.activations,
            self.off_chip,
        ]
    }

    /// All of it.
    pub fn total(&self) -> f64 {
        self.parts().iter().sum()
    }

    /// Both on-chip memories.
    pub fn on_chip(&self) -> f64 {
        self.weights + self.activations
    }
}

impl Add for Energy {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            arithmetic: self.arithmetic + other.arithmetic,
            registers: self.registers + other.registers,
            weights: self.weights + other.weights,
            activations: self.activations + other.activations,
            off_chip: self.off_chip + other.off_chip,
        }
    }
}

impl AddAssign for Energy {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Bits of an image that cross the edge of a memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// On-chip, weights and tables.
    pub weights: f64,
    /// On-chip, activations and partial sums.
    pub activations: f64,
    /// Off-chip.
    pub off_chip: f64,
}

/// What a layer takes for an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerCost {
    /// Its name.
    pub name: String,
    /// The operation's word.
    pub operation: &'static str,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bits of a weight; 0 without any.
    pub weight_bits: u32,
    /// Bits of an accumulator; 0 without any.
    pub accumulator_bits: u32,
    /// Cycles, waiting for memory included.
    pub cycles: f64,
    /// Cycles without waiting.
    pub compute_cycles: f64,
    /// Multiply-accumulates by those that all elements could do in its cycles.
    pub utilisation: f64,
    /// Bits moved.
    pub traffic: Traffic,
    /// Energy.
    pub energy: Energy,
    /// The lower bound of its energy: every weight and activation moves once.
    pub bound: Energy,
    /// The same where activations of zero are left out, if they were counted.
    pub skipping: Option<Skipping>,
}

/// What is left if activations of zero are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Skipping {
    /// Energy.
    pub energy: Energy,
    /// Cycles, waiting for memory included.
    pub cycles: f64,
}

/// What a network takes in a format for an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FormatCost {
    /// The format's name.
    pub format: String,
    /// Bytes of all weights, each layer in whole words of 32 bits as in packed files.
    pub weight_bytes: u64,
    /// Bytes of biases and shifts.
    pub table_bytes: u64,
    /// Whether weights do not fit the on-chip memory.
    pub weights_off_chip: bool,
    /// Bytes of the on-chip memory for weights.
    pub weight_memory: f64,
    /// Bytes of the on-chip memory for activations.
    pub activation_memory: f64,
    /// Sum over layers.
    pub cycles: f64,
    /// Sum over layers.
    pub energy: Energy,
    /// Sum over layers.
    pub bound: Energy,
    /// Sum over layers.
    pub skipping: Option<Skipping>,
    /// In order.
    pub layers: Vec<LayerCost>,
}

/// Bytes of a product's weights in a format.
fn weight_bytes(format: Format, product: &Product) -> u64 {
    4 * (product.weights() * u64::from(format.weight_bits(product))).div_ceil(32)
}

/// Bytes of a product's biases and shifts in a format.
fn table_bytes(format: Format, product: &Product) -> u64 {
    product.channels() * u64::from(format.table_bits()) / 8
}

/// Where numbers of a format lie, and what a bit of them takes.
struct Memories {
    weights_off_chip: bool,
    /// Bytes.
    weights: f64,
    /// Bytes, and what they would be for a single image.
    activations: [f64; 2],
    /// Images that go through a layer together.
    images: u64,
}

impl Memories {
    fn new(workload: &Workload, format: Format, on: &Accelerator) -> Self {
        let products = || workload.works.iter().filter_map(|work| work.product);
        let bytes = |product: Product| {
            (weight_bytes(format, &product) + table_bytes(format, &product)) as f64
        };
        let all: f64 = products().map(bytes).sum();
        let largest = products().map(bytes).fold(0.0, f64::max);
        let weights_off_chip = all > on.sram_bytes();
        // Lanes gain nothing from several images if all weights are at hand.
        let together = weights_off_chip || on.dataflow != Dataflow::Lanes;
        let images = if together { on.batch } else { 1 };
        let live = workload.works.iter().map(|work| work.live).max();
        let bits = format.activation_bits(workload.activation_bits);
        let one = live.unwrap_or(0) as f64 * f64::from(bits) / 8.0;
        Self {
            weights_off_chip,
            weights: match weights_off_chip {
                true => largest.min(on.sram_bytes()),
                false => all,
            },
            activations: [one * images as f64, one].map(|bytes| bytes.min(on.sram_bytes())),
            images,
        }
    }
}

/// What a network takes in a format.
pub fn cost(
    workload: &Workload,
    format: Format,
    on: &Accelerator,
    node: &Node,
    activity: Option<&Activity>,
) -> FormatCost {
    let memories = Memories::new(workload, format, on);
    let costing = Costing {
        format,
        on,
        node,
        memories: &memories,
        activation_bits: format.activation_bits(workload.activation_bits),
    };
    let layers: Vec<LayerCost> = workload
        .works
        .iter()
        .enumerate()
        .map(|(i, work)| {
            let zeros = activity.map(|activity| activity.works[i].zero_share());
            costing.layer(work, zeros)
        })
        .collect();
    let products = || workload.works.iter().filter_map(|work| work.product);
    let energy = |of: fn(&LayerCost) -> Energy| {
        let layers = layers.iter().map(of);
        layers.fold(Energy::default(), |sum, energy| sum + energy)
    };
    let skipping = activity.is_some().then(|| Skipping {
        energy: energy(|layer| layer.skipping.unwrap_or_default().energy),
        cycles: layers
            .iter()
            .map(|layer| layer.skipping.unwrap_or_default().cycles)
            .sum(),
    });
    FormatCost {
        format: format.name(),
        weight_bytes: products().map(|p| weight_bytes(format, &p)).sum(),
        table_bytes: products().map(|p| table_bytes(format, &p)).sum(),
        weights_off_chip: memories.weights_off_chip,
        weight_memory: memories.weights,
        activation_memory: memories.activations[0],
        cycles: layers.iter().map(|layer| layer.cycles).sum(),
        energy: energy(|layer| layer.energy),
        bound: energy(|layer| layer.bound),
        skipping,
        layers,
    }
}

struct Costing<'a> {
    format: Format,
    on: &'a Accelerator,
    node: &'a Node,
    memories: &'a Memories,
    activation_bits: u32,
}

impl Costing<'_> {
    /// A layer, whose activations are zero to the part `zeros`, if that is known.
    fn layer(&self, work: &Work, zeros: Option<f64>) -> LayerCost {
        match &work.product {
            Some(product) => self.product(work, product, zeros),
            None => self.other(work, zeros.is_some()),
        }
    }

    /// pJ of a bit of the memory for weights.
    fn weight_bit(&self) -> f64 {
        self.node.sram_bit(self.memories.weights)
    }

    /// Cycles in which off-chip memory delivers so many bits at best, or the cycles of the computation if those are more.
    fn waiting(&self, cycles: u64, off_chip: f64) -> f64 {
        let memory = (off_chip / self.node.dram_bits_per_cycle()).ceil();
        (cycles as f64).max(memory)
    }

    /// Bits of an image's activations that leave the chip: all that a layer reads and writes, if what has to be kept meanwhile
    /// does not fit.
    fn spilled(&self, work: &Work, written: f64, images: u64) -> f64 {
        let bits = f64::from(self.activation_bits);
        let kept = work.live as f64 * bits / 8.0 * images as f64;
        match kept > self.on.sram_bytes() {
            true => work.inputs as f64 * bits + written,
            false => 0.0,
        }
    }

    /// Bits that an image's results take.
    fn written(&self, work: &Work) -> f64 {
        let bits = match work.writes_sums {
            true => 32,
            false => self.activation_bits,
        };
        work.outputs as f64 * f64::from(bits)
    }

    fn product(&self, work: &Work, product: &Product, zeros: Option<f64>) -> LayerCost {
        let (format, on, node) = (self.format, self.on, self.node);
        let (images, bits) = (self.memories.images, f64::from(self.activation_bits));
        let each = 1.0 / images as f64;
        let nonzero = 1.0 - zeros.unwrap_or(0.0);
        let flow = on.flow(product, images, nonzero);
        let weight_bits = format.weight_bits(product);
        let accumulator = format.accumulator_bits(product, self.activation_bits);
        let code = f64::from(weight_bits);

        // Weights.
        let tables = product.sums() as f64 * f64::from(format.table_bits());
        let codes = flow.weight_reads as f64 * each * code;
        let row = product.terms as f64 * code / 8.0;
        let once = on.dataflow == Dataflow::WeightStationary || row <= on.sram_bytes();
        let stored = product.weights() as f64 * code
            + product.channels() as f64 * f64::from(format.table_bits());
        let fetched = match (self.memories.weights_off_chip, once) {
            (false, _) => 0.0,
            (true, true) => stored * each,
            // Not even the weights of one output fit.
            (true, false) => (codes + tables).max(stored * each),
        };
        // Activations.
        let written = self.written(work);
        let sums = flow.partial_sums as f64 * each * f64::from(accumulator);
        let read = flow.activation_reads as f64 * each * bits;
        let spilled = self.spilled(work, written, images);
        let traffic = Traffic {
            weights: codes + tables + fetched,
            activations: read + written + sums,
            off_chip: fetched + spilled,
        };

        // Energy.
        let macs = product.macs as f64;
        let multiply_adds = macs * format.multiply_add(product, self.activation_bits, node);
        let finish = product.sums() as f64 * format.finish(product, self.activation_bits, node)
            + work.comparisons as f64 * node.add_int(self.activation_bits);
        let moved = match on.dataflow {
            Dataflow::Lanes => f64::from(accumulator),
            Dataflow::OutputStationary => bits + code + f64::from(accumulator),
            Dataflow::WeightStationary => bits + f64::from(accumulator),
        };
        let accumulators = node.sram_bit(self.accumulators(product, accumulator));
        let activation_bit = node.sram_bit(self.memories.activations[0]);
        let energy = Energy {
            arithmetic: multiply_adds + finish,
            registers: macs * moved * node.register_bit.pj,
            weights: traffic.weights * self.weight_bit(),
            activations: (read + written) * activation_bit + sums * accumulators,
            off_chip: traffic.off_chip * node.dram_bit(),
        };

        // The bound.
        let batch = 1.0 / on.batch as f64;
        let alone = self.spilled(work, written, 1);
        let least_read = work.inputs.min(product.reads) as f64 * bits;
        let [at_home, off_chip] = match self.memories.weights_off_chip {
            true => [0.0, stored * batch],
            false => [stored * batch, 0.0],
        };
        let bound = Energy {
            arithmetic: energy.arithmetic,
            registers: 0.0,
            weights: at_home * self.weight_bit(),
            activations: (least_read + written) * node.sram_bit(self.memories.activations[1]),
            off_chip: (off_chip + alone) * node.dram_bit(),
        };

        let off_chip = traffic.off_chip * images as f64;
        let cycles = self.waiting(flow.cycles, off_chip) * each;
        let skipping = zeros.map(|_| {
            let left = flow.cycles_skipping;
            // Lanes leave the whole cycle out, arrays only keep operands still.
            let reads = match left {
                Some(_) => {
                    nonzero * product.reads as f64
                        / (product.positions * product.terms * product.groups) as f64
                }
                None => 1.0,
            };
            Skipping {
                energy: Energy {
                    arithmetic: multiply_adds * nonzero + finish,
                    registers: match left {
                        Some(_) => energy.registers * nonzero,
                        None => energy.registers,
                    },
                    weights: (codes * reads + tables + fetched) * self.weight_bit(),
                    ..energy
                },
                cycles: self.waiting(left.unwrap_or(flow.cycles), off_chip) * each,
            }
        });
        LayerCost {
            name: match &work.pool {
                Some(pool) => format!("{} + {pool}", work.name),
                None => work.name.clone(),
            },
            operation: work.word,
            macs: product.macs,
            weight_bits,
            accumulator_bits: accumulator,
            cycles,
            compute_cycles: flow.cycles as f64 * each,
            utilisation: macs / (cycles * on.elements() as f64),
            traffic,
            energy,
            bound,
            skipping,
        }
    }

    /// Bytes of the memory for partial sums beside an array.
    fn accumulators(&self, product: &Product, bits: u32) -> f64 {
        let columns = product.outputs.min(self.on.columns);
        let sums = product.positions * self.memories.images * columns;
        (sums as f64 * f64::from(bits) / 8.0).min(self.on.sram_bytes())
    }

    fn other(&self, work: &Work, skips: bool) -> LayerCost {
        let (on, node, images) = (self.on, self.node, self.memories.images);
        let bits = f64::from(self.activation_bits);
        let written = self.written(work);
        let read = work.touches as f64 * bits;
        let spilled = self.spilled(work, written, images);
        let traffic = Traffic {
            weights: 0.0,
            activations: read + written,
            off_chip: spilled,
        };
        let additions = work.operations.additions as f64 * self.format.add(work.sum_bits, node);
        let compared = work.comparisons as f64 * node.add_int(self.activation_bits);
        let energy = Energy {
            arithmetic: additions + compared,
            registers: 0.0,
            weights: 0.0,
            activations: traffic.activations * node.sram_bit(self.memories.activations[0]),
            off_chip: spilled * node.dram_bit(),
        };
        let least = work.inputs.min(work.touches) as f64 * bits + written;
        let bound = Energy {
            activations: least * node.sram_bit(self.memories.activations[1]),
            off_chip: self.spilled(work, written, 1) * node.dram_bit(),
            ..energy
        };
        let compute = (work.elements * images).div_ceil(on.vector());
        let each = 1.0 / images as f64;
        let cycles = self.waiting(compute, spilled * images as f64) * each;
        LayerCost {
            name: work.name.clone(),
            operation: work.word,
            macs: 0,
            weight_bits: 0,
            accumulator_bits: 0,
            cycles,
            compute_cycles: compute as f64 * each,
            utilisation: 0.0,
            traffic,
            energy,
            bound,
            skipping: skips.then_some(Skipping { energy, cycles }),
        }
    }
}
