//! Cooperative matrices ("tensor cores", "simdgroup matrices", WMMA): the threads of a subgroup multiply matrices together, with operands of
//! 16 bits and sums of 32.

use super::{Core, Operands, Storage};

/// The matrices that the threads of a subgroup of a device multiply together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Cooperative {
    /// Their rows and columns: 8 or 16.
    pub size: u32,
    /// Threads in a subgroup, as the device says.
    pub lanes: u32,
}

/// Bytes of workgroup memory that a device must have. Tiles that take more are left out.
pub(super) const WORKGROUP_BYTES: u32 = 32 << 10;
/// Steps of the depth that are staged at once.
const DEPTH: u32 = 32;
/// Numbers of 16 bits from one line of a staged tile to the next.
const LINE: u32 = DEPTH + 8;

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
        let info = adapter.get_info();
        let lanes = match info.backend {
            // wgpu tells the extremes of all Metal devices. Of those only Apple's multiply matrices, and they have 32 lanes.
            wgpu::Backend::Metal if info.name.contains("Apple") => 32,
            wgpu::Backend::Metal => return None,
            // Of several sizes drivers take the largest for such kernels. Where one does not, a kernel is slower and as
            // right.
            _ => info.subgroup_max_size,
        };
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

    /// Bytes of workgroup memory for a tile of so many blocks: lines of 16-bit numbers, and a matrix of sums for each subgroup.
    fn bytes(self, rows: u32, columns: u32) -> u32 {
        4 * (rows + columns) * LINE * 2 + self.parts(rows) * self.size * self.size * 4
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

    /// Subgroups of a workgroup.
    fn parts(self, rows: u32) -> u32 {
        threads(rows) / self.lanes
    }

    /// The WGSL of a core with tiles of so many blocks; operands are stored like this.
    pub(super) fn text(self, rows: u32, columns: u32, operands: &Operands) -> String {
        let [high, wide] = self.part(rows, columns);
        let parts = self.parts(rows);
        let floats = operands.inputs[1] == Storage::Float;
        let mut text = format!(
            "const UNSCALE = 0x1p{}f;\nconst COLUMNS_ARE_FLOATS = {floats};\n",
            -operands.exponent()
        );
        for (name, value) in [
            ("ROW_BLOCKS", rows),
            ("COLUMN_BLOCKS", columns),
            ("THREADS", threads(rows)),
            ("DEPTH", DEPTH),
            ("LINE", LINE),
            ("SIZE", self.size),
            ("PARTS", parts),
            ("PART_ROWS", high),
            ("PART_COLUMNS", wide),
        ] {
            text += &format!("const {name} = {value}u;\n");
        }
        let size = format!("{0}x{0}", self.size);
        let mut repeat = |lines: &str, [rows, columns]: [u32; 2]| {
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c))) {
                let lines = lines
                    .replace("$SIZE", &size)
                    .replace("$ROW", &row.to_string())
                    .replace("$COLUMN", &column.to_string());
                text.push_str(&lines);
            }
        };
        let mut block: Option<String> = None;
        for line in TEXT.split_inclusive('\n') {
            match (line.trim(), &mut block) {
                ("// begin each matrix", _) => block = Some(String::new()),
                ("// end each matrix", _) => {
                    repeat(&block.take().unwrap_or_default(), [high, wide]);
                }
                (_, Some(block)) => block.push_str(line),
                (words, None) => match words.rsplit_once(" // each ") {
                    Some((_, "row")) => repeat(line, [high, 1]),
                    Some((_, "column")) => repeat(line, [1, wide]),
                    Some((_, "matrix")) => repeat(line, [high, wide]),
                    _ => repeat(line, [1, 1]),
                },
            }
        }
        text
    }
}

/// Threads of a workgroup: each stages four steps of the depth of one block of rows.
fn threads(rows: u32) -> u32 {
    rows * DEPTH / 4
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
        for (size, lanes) in [
            (8, 8),
            (8, 32),
            (8, 64),
            (16, 32),
            (16, 64),
            (8, 16),
            (16, 16),
        ] {
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
