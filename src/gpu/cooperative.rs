//! Devices that multiply whole matrices: operands of 16 bits, sums of 32.

use super::Core;

/// The matrices that the threads of a subgroup of a device multiply together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Cooperative {
    /// Their rows and columns: 8 or 16.
    pub size: u32,
    /// Threads in a subgroup, as the device says.
    pub lanes: u32,
}

/// Bytes of a workgroup's memory that the largest tile takes, rounded up to what every such device has.
pub(super) const WORKGROUP_BYTES: u32 = 32 << 10;

/// What a device must be opened with.
pub(super) const FEATURES: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SUBGROUP);

/// Shaders are WGSL with these extensions. (naga knows what belongs to subgroups without being told.)
const ENABLE: &str = "enable f16; enable wgpu_cooperative_matrix; ";
const TEXT: &str = include_str!("../../shaders/shared/matrix_cooperative.wgsl");

impl Cooperative {
    /// What an adapter offers, if kernels can use it: square matrices, operands of 16 bits and sums of 32.
    pub(super) fn of(adapter: &wgpu::Adapter) -> Option<Self> {
        use wgpu::CooperativeScalarType::{F16, F32};
        if !adapter.features().contains(FEATURES)
            || adapter.limits().max_compute_workgroup_storage_size < WORKGROUP_BYTES
        {
            return None;
        }
        let offered = adapter.cooperative_matrix_properties().into_iter();
        let sizes = offered
            .filter(|p| p.ab_type == F16 && p.cr_type == F32)
            .filter(|p| p.m_size == p.n_size && p.n_size == p.k_size)
            .map(|p| p.m_size);
        let size = sizes.filter(|size| [8, 16].contains(size)).max()?;
        // Of several sizes of subgroups drivers take the largest for such kernels. Where one does not, a kernel
        // is slower and as right.
        let lanes = adapter.get_info().subgroup_max_size;
        [8, 16, 32, 64]
            .contains(&lanes)
            .then_some(Self { size, lanes })
    }

    /// The ways in which products can be shared.
    pub fn cores(self) -> Vec<Core> {
        let tiles = [(16, 16), (32, 16), (32, 32)].into_iter();
        let fits = tiles.filter(|(rows, columns)| self.bytes(*rows, *columns) <= WORKGROUP_BYTES);
        let core = |(rows, columns)| Core::Cooperative {
            rows,
            columns,
            matrices: self,
        };
        fits.map(core).collect()
    }

    /// Bytes of a workgroup's memory for a tile of so many blocks: lines of 40 numbers of 16 bits, and a matrix of sums for each
    /// subgroup.
    fn bytes(self, rows: u32, columns: u32) -> u32 {
        4 * (rows + columns) * 40 * 2 + self.parts(rows) * self.size * self.size * 4
    }

    /// Rows and columns of matrices in the part of a tile that a subgroup makes, for a tile of so many blocks of four rows
    /// and columns: as square as can be.
    fn part(self, rows: u32, columns: u32) -> [u32; 2] {
        let [high, wide] = [rows, columns].map(|blocks| 4 * blocks / self.size);
        let most = (high * wide / self.parts(rows)).max(1);
        let heights = (0..=high.ilog2()).map(|power| 1 << power);
        let fits = heights.map(|height| [height, (most / height).min(wide)]);
        let mut whole = fits.filter(|[height, width]| height * width == most && height <= width);
        whole.next_back().unwrap_or([1, most])
    }

    /// Subgroups of a workgroup, which has a thread for each eighth of a block of rows.
    fn parts(self, rows: u32) -> u32 {
        8 * rows / self.lanes
    }

    /// The WGSL of a core with tiles of so many blocks; `exponent` is that of operand `a`, and products are multiplied by two to its
    /// negative.
    pub(super) fn text(self, rows: u32, columns: u32, exponent: i32) -> String {
        let [high, wide] = self.part(rows, columns);
        let (size, parts) = (self.size, self.parts(rows));
        let mut text = format!(
            "const ROW_BLOCKS = {rows}u; const COLUMN_BLOCKS = {columns}u; const SIZE = {size}u; const PARTS = {parts}u; \
             const PART_ROWS = {high}u; const PART_COLUMNS = {wide}u; const BACK = 0x1p{}f;\n",
            -exponent
        );
        for line in TEXT.lines() {
            let (rows, columns) = match line.rsplit_once(" // each ") {
                Some((_, "row")) => (high, 1),
                Some((_, "column")) => (1, wide),
                Some((_, "matrix")) => (high, wide),
                _ => {
                    text.push_str(line);
                    text.push('\n');
                    continue;
                }
            };
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c))) {
                let line = line
                    .replace("matSIZExSIZE", &format!("mat{size}x{size}"))
                    .replace("ROW", &row.to_string())
                    .replace("COLUMN", &column.to_string());
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    }
}

/// A kernel's whole text with the extensions that it uses, without another line in front.
pub(super) fn enabled(text: String) -> String {
    format!("{ENABLE}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_tile_cover_it() {
        for (size, lanes) in [(8, 8), (8, 32), (16, 32), (16, 64), (8, 16), (16, 16)] {
            let matrices = Cooperative { size, lanes };
            for core in matrices.cores() {
                let Core::Cooperative { rows, columns, .. } = core else {
                    panic!("{core:?}")
                };
                let [high, wide] = matrices.part(rows, columns);
                let parts = matrices.parts(rows);
                let whole = 16 * rows * columns;
                assert_eq!(parts * high * wide * size * size, whole, "{core:?}");
                assert!((4 * columns / size).is_multiple_of(wide), "{core:?}");
                assert!((4 * rows / size).is_multiple_of(high), "{core:?}");
            }
            let least = matrices.cores().len();
            assert!(least >= if (size, lanes) == (16, 16) { 2 } else { 3 });
        }
    }
}
