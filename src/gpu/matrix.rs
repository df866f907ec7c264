//! The ways in which threads share a matrix product, and how one is chosen.

use super::kernel::{Family, Kernel, MAX_GROUPS};
use super::{Cooperative, Operands, Path};

const WORKGROUP: &str = include_str!("../../shaders/shared/matrix_workgroup.wgsl");
const WORKGROUP_PACKED: &str = include_str!("../../shaders/shared/matrix_workgroup_packed.wgsl");
const VECTOR: &str = include_str!("../../shaders/shared/matrix_vector.wgsl");
const REGISTER: &str = include_str!("../../shaders/shared/matrix_register.wgsl");
const SUBGROUP: &str = include_str!("../../shaders/shared/matrix_subgroup.wgsl");

/// Threads in a workgroup of the register core.
const REGISTER_THREADS: usize = 16;
/// Lanes of a subgroup of the subgroup core, and blocks of four rows or columns that they share.
pub(super) const LANES: usize = 8;

/// Workgroups below which a GPU is better filled with smaller ones: twice its compute units, on large ones.
const FEW_GROUPS: usize = 256;

/// Seconds of a run that a product must gain by a core of its own: lavapipe compiles a pipeline in a fifth of a
/// second, and the first step waits for all of them.
const WORTH_A_PIPELINE: f64 = 50e-6;

/// How threads share the product of a matrix kernel, all in blocks of four rows and four columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Core {
    /// A workgroup makes a tile and stages both operands in its memory; each thread keeps 8 x 8 numbers.
    Workgroup {
        /// Blocks of rows in a tile, 16 or 32.
        rows: u32,
        /// Blocks of columns, 16 or as many as rows.
        columns: u32,
    },
    /// A workgroup makes four rows, its threads share the depth.
    Vector {
        /// How many, a power of four times `columns`.
        threads: u32,
        /// Blocks of columns, 1 or 2.
        columns: u32,
    },
    /// A thread makes a tile in its registers.
    Register {
        /// Blocks of rows in a tile.
        rows: u32,
        /// Blocks of columns, 2 or 3.
        columns: u32,
    },
    /// A subgroup makes a tile: each lane has blocks of its own of one operand and multiplies them by the one
    /// block that every lane has of the other.
    Subgroup {
        /// The operand that lanes share.
        shared: Operand,
        /// Blocks that a lane has of the other one, 1 or 2.
        own: u32,
    },
    /// A workgroup makes a tile and stages both operands in its memory, in 16 bits; subgroups multiply cooperative matrices of them.
    Cooperative {
        /// Blocks of rows in a tile, 16 or 32.
        rows: u32,
        /// Blocks of columns, 16 or as many as rows.
        columns: u32,
        /// What a subgroup multiplies.
        matrices: Cooperative,
    },
}

/// An operand of a matrix product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// What rows of the result belong to.
    Rows,
    /// What columns of the result belong to.
    Columns,
}

impl Core {
    /// Rows and columns of the result, in numbers, that one thread, subgroup or workgroup makes.
    fn tile(self) -> [usize; 2] {
        match self {
            Core::Vector { columns, .. } => [4, 4 * columns as usize],
            Core::Workgroup { rows, columns }
            | Core::Register { rows, columns }
            | Core::Cooperative { rows, columns, .. } => {
                [rows, columns].map(|blocks| 4 * blocks as usize)
            }
            Core::Subgroup { shared, own } => {
                let (common, apart) = (4 * LANES, 4 * LANES * own as usize);
                match shared {
                    Operand::Rows => [common, apart],
                    Operand::Columns => [apart, common],
                }
            }
        }
    }

    /// Its tile in words, as `64x64`: rows x columns.
    pub fn tile_name(self) -> String {
        let [rows, columns] = self.tile();
        match self {
            // Another name, because it is another choice: what was measured of the one says nothing of the other.
            Core::Cooperative { .. } => format!("{rows}x{columns} cooperative"),
            _ => format!("{rows}x{columns}"),
        }
    }

    fn tiles(self, [rows, columns]: [usize; 2]) -> usize {
        let [height, width] = self.tile();
        rows.div_ceil(height) * columns.div_ceil(width)
    }

    /// Time for a product whose depth is cut into `splits` ranges, in units without meaning: what tiles cover, by the rate
    /// that was measured on 3 x 3 convolutions of 64 to 512 channels, through lavapipe and on an H200.
    fn time(self, size: [usize; 2], splits: usize) -> usize {
        let [height, width] = self.tile();
        let covered = self.tiles(size) * height * width;
        match self {
            Core::Workgroup { .. } | Core::Cooperative { .. }
                if self.tiles(size) * splits < FEW_GROUPS =>
            {
                covered * 18
            }
            // Those of cooperative matrices were not measured.
            Core::Workgroup { columns: 32, .. } | Core::Cooperative { columns: 32, .. } => {
                covered * 14
            }
            Core::Workgroup { rows: 32, .. } | Core::Cooperative { rows: 32, .. } => covered * 15,
            Core::Subgroup { own: 2, .. } => covered * 10,
            Core::Subgroup { .. } => covered * 12,
            Core::Register { columns: 3, .. } => covered * 17,
            _ => covered * 16,
        }
    }

    /// Its WGSL, for operands stored like this.
    pub(super) fn text(self, family: Family, operands: &Operands) -> String {
        let (constants, text) = match (self, family) {
            (Core::Workgroup { .. }, Family::MatrixPacked) => (String::new(), WORKGROUP_PACKED),
            (Core::Workgroup { rows, columns }, _) => {
                let constants =
                    format!("const ROW_BLOCKS = {rows}u; const COLUMN_BLOCKS = {columns}u;");
                (constants, WORKGROUP)
            }
            (
                Core::Cooperative {
                    rows,
                    columns,
                    matrices,
                },
                _,
            ) => return matrices.text(rows, columns, operands),
            (Core::Vector { columns, .. }, _) => {
                (format!("const COLUMN_BLOCKS = {columns}u;"), VECTOR)
            }
            (Core::Register { columns, .. }, _) => {
                (format!("const TILE_COLUMNS = {columns}u;"), REGISTER)
            }
            (Core::Subgroup { shared, own }, _) => {
                let rows = shared == Operand::Rows;
                let [height, width] = self.tile().map(|numbers| numbers / 4);
                let constants = format!(
                    "const SHARED_ROWS = {rows}; const OWN = {own}u; const TILE = vec2u({height}u, {width}u);"
                );
                (constants, SUBGROUP)
            }
        };
        // Lines for blocks of columns that it has not are left out.
        let columns = match self {
            Core::Vector { columns, .. } | Core::Register { columns, .. } => columns,
            _ => 2,
        };
        let lines = text.lines();
        let lines = lines.filter(|line| columns >= 2 || !line.ends_with("// second column"));
        let lines = lines.filter(|line| columns >= 3 || !line.ends_with("// third column"));
        let lines: Vec<&str> = [constants.as_str()].into_iter().chain(lines).collect();
        lines.join("\n")
    }

    /// Values of its overrides in kernels of a family; `steps` of the depth are taken at once where there is a choice.
    pub fn constants(self, family: Family, steps: u32) -> Vec<(&'static str, f64)> {
        match self {
            Core::Workgroup { .. } if matches!(family, Family::Matrix(_)) => {
                vec![("STEPS", f64::from(steps))]
            }
            Core::Workgroup { .. } | Core::Subgroup { .. } | Core::Cooperative { .. } => Vec::new(),
            Core::Vector { threads, .. } => vec![("THREADS", f64::from(threads))],
            Core::Register { rows, .. } => vec![("ROWS", f64::from(rows))],
        }
    }

    /// Workgroups for `splits` products of so many rows and columns.
    pub(crate) fn groups(self, [rows, columns]: [usize; 2], splits: usize) -> [u32; 3] {
        let tiles = self.tiles([rows, columns]);
        let groups = match self {
            Core::Workgroup { .. } | Core::Cooperative { .. } => [tiles, 1, splits],
            Core::Vector { .. } => {
                let y = rows.div_ceil(4).min(64);
                [tiles.div_ceil(y), y, 1]
            }
            Core::Register { .. } => [(tiles * splits).div_ceil(REGISTER_THREADS), 1, 1],
            Core::Subgroup { .. } => [tiles * splits, 1, 1],
        };
        groups.map(|n| n as u32)
    }

    /// The same for the products of two networks, see [`super::Twins`].
    pub(crate) fn groups_of_both(self, size: [usize; 2], splits: usize) -> [u32; 3] {
        let [x, y, z] = self.groups(size, splits);
        assert_eq!(y, 1, "{self:?} has no room for two networks");
        [x, 2, z]
    }

    /// Seconds that a product of so many operations takes, roughly, on two cores through lavapipe.
    fn seconds(self, size: [usize; 2], splits: usize, flops: u64) -> f64 {
        let covered = self.time(size, splits) as f64 / 10.0 / (size[0] * size[1]) as f64;
        covered * flops as f64 / 100e9
    }
}

impl Kernel {
    /// The ways in which a product of `rows` rows can run on a path; none for kernels that are no product.
    pub fn cores(&self, path: Path, rows: usize) -> Vec<Core> {
        // No more blocks of rows than share the rows evenly.
        let blocks = rows.div_ceil(4).max(1);
        let rows = match self.family {
            Family::Matrix(_) => blocks.div_ceil(blocks.div_ceil(4)) as u32,
            _ => 4,
        };
        (path.backend().cores)(self.family, rows)
    }
}

/// Chooses, of the ways to share a product of so many rows and columns in `splits` ranges of its depth, with so many operations, the one
/// that should be fastest, unless one of `known`, for which there is a pipeline, loses little by it. `None` if there is no way.
pub(crate) fn fastest(
    cores: &[Core],
    (size, splits): ([usize; 2], usize),
    flops: u64,
    known: &[Core],
) -> Option<Core> {
    // One that needs too many workgroups, if all do: making a plan refuses it.
    let too_many = |core: &Core| core.groups(size, 1).iter().any(|n| *n > MAX_GROUPS);
    let best = cores
        .iter()
        .copied()
        .min_by_key(|core| (too_many(core), core.time(size, splits)))?;
    let loss = |core: &Core| core.seconds(size, splits, flops) - best.seconds(size, splits, flops);
    let nearly = known
        .iter()
        .copied()
        .filter(|core| !too_many(core))
        .min_by(|a, b| loss(a).total_cmp(&loss(b)));
    Some(
        nearly
            .filter(|core| loss(core) < WORTH_A_PIPELINE)
            .unwrap_or(best),
    )
}

impl Operand {
    pub(super) fn other(self) -> Self {
        match self {
            Operand::Rows => Operand::Columns,
            Operand::Columns => Operand::Rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::conv::entries::CONV_FORWARD;

    #[test]
    fn a_product_has_a_core_of_its_own_only_if_it_gains_by_it() {
        let size = [64, 12];
        let core = |flops, known: &[Core]| {
            let core = fastest(
                &CONV_FORWARD.cores(Path::CpuSubgroup, size[0]),
                (size, 1),
                flops,
                known,
            );
            core.unwrap()
        };
        let best = core(1 << 40, &[]);
        let other = Core::Subgroup {
            shared: Operand::Rows,
            own: 2,
        };
        assert_ne!(best, other);
        assert_eq!(core(1 << 10, &[other]), other, "nothing to gain");
        assert_eq!(core(1 << 40, &[other]), best, "much to gain");
        assert_eq!(core(1 << 10, &[other, best]), best, "both are there");
    }
}
