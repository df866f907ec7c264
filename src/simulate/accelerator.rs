//! The accelerator that a network runs on, and the cycles and traffic of its dataflow.

use serde::Serialize;

use super::workload::Product;

/// In which order products are computed, and what stays where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dataflow {
    /// Lanes side by side, each with an accumulator for one output. An activation goes to all lanes at once, and every lane reads a
    /// weight of its own, in every cycle.
    Lanes,
    /// A systolic array whose elements keep a sum each; activations move along rows, weights along columns.
    OutputStationary,
    /// A systolic array whose elements keep a weight each; activations move along rows, sums along columns.
    WeightStationary,
}

impl Dataflow {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lanes, Self::OutputStationary, Self::WeightStationary];

    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lanes => "lanes",
            Self::OutputStationary => "output-stationary",
            Self::WeightStationary => "weight-stationary",
        }
    }
}

/// An accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accelerator {
    /// Its dataflow.
    pub dataflow: Dataflow,
    /// Lanes, of [`Dataflow::Lanes`].
    pub lanes: u64,
    /// Rows of a systolic array.
    pub rows: u64,
    /// Columns of a systolic array.
    pub columns: u64,
    /// Most KiB of the memory for weights, and again of that for activations.
    pub sram_kib: f64,
    /// Images at a time.
    pub batch: u64,
}

impl Default for Accelerator {
    /// 16 lanes or 16 x 16 elements, 1 MiB for weights and for activations, one image at a time.
    fn default() -> Self {
        Self {
            dataflow: Dataflow::Lanes,
            lanes: 16,
            rows: 16,
            columns: 16,
            sram_kib: 1024.0,
            batch: 1,
        }
    }
}

/// What a dataflow does for a product, over all images that go through it together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Cycles without waiting for memory.
    pub cycles: u64,
    /// Weights read from the on-chip memory.
    pub weight_reads: u64,
    /// Activations read from the on-chip memory.
    pub activation_reads: u64,
    /// Partial sums written to a memory beside the array, and read from it.
    pub partial_sums: u64,
    /// Cycles if every term outside the image or with an activation of zero takes none; `None` if the dataflow cannot leave
    /// cycles out. `nonzero` of [`Accelerator::flow`] decides.
    pub cycles_skipping: Option<u64>,
}

impl Accelerator {
    /// Multiply-accumulates in a cycle, at most.
    pub fn elements(&self) -> u64 {
        match self.dataflow {
            Dataflow::Lanes => self.lanes,
            _ => self.rows * self.columns,
        }
    }

    /// Numbers in a cycle of operations that are no product.
    pub fn vector(&self) -> u64 {
        match self.dataflow {
            Dataflow::Lanes => self.lanes,
            _ => self.columns,
        }
    }

    /// Bytes of each on-chip memory, at most.
    pub fn sram_bytes(&self) -> f64 {
        self.sram_kib * super::node::KIB
    }

    /// Cycles and traffic of a product for `images` images. `nonzero` is the part of the activations that are read that are not
    /// zero.
    pub fn flow(&self, product: &Product, images: u64, nonzero: f64) -> Flow {
        let positions = product.positions * images;
        let folds = |outputs: u64| product.outputs.div_ceil(outputs);
        let (terms, groups) = (product.terms, product.groups);
        let read = |passes: u64| product.reads * images * passes;
        match self.dataflow {
            Dataflow::Lanes => {
                let passes = folds(self.lanes);
                let left = (read(passes) as f64 * nonzero).round() as u64;
                Flow {
                    cycles: positions * groups * passes * terms,
                    weight_reads: positions * product.weights(),
                    activation_reads: read(passes),
                    partial_sums: 0,
                    cycles_skipping: Some(left),
                }
            }
            Dataflow::OutputStationary => {
                let (down, across) = (positions.div_ceil(self.rows), folds(self.columns));
                let fold = terms + self.rows + self.columns - 2;
                Flow {
                    cycles: groups * down * across * fold,
                    weight_reads: down * product.weights(),
                    activation_reads: read(across),
                    partial_sums: 0,
                    cycles_skipping: None,
                }
            }
            Dataflow::WeightStationary => {
                let (down, across) = (terms.div_ceil(self.rows), folds(self.columns));
                let fold = positions + 2 * self.rows + self.columns - 2;
                Flow {
                    cycles: groups * down * across * fold,
                    weight_reads: product.weights(),
                    activation_reads: read(across),
                    // Every fold but the last writes its sums, and the next one reads them.
                    partial_sums: 2 * (down - 1) * positions * product.channels(),
                    cycles_skipping: None,
                }
            }
        }
    }
}
