//! How threads share every matrix product.

use super::call::groups_of;
use super::{Call, Grid, Recording};
use crate::gpu::{Cooperative, Core, Family, Kernel, Path, Storage, Tiles, fastest};

/// How the threads of a call share its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    /// The core, if it is a product.
    pub core: Option<Core>,
    /// Workgroups.
    pub groups: [u32; 3],
}

/// In how many ways threads can share a product of the recording, on a device with such matrices.
pub(crate) fn most_cores(recording: &Recording, matrices: Option<Cooperative>) -> usize {
    let ways = recording.calls().map(|call| match call.grid {
        Grid::Product { size, .. } => ways(call, recording.path(), size[0], matrices).len(),
        Grid::Threads(_) | Grid::Groups(_) => 0,
    });
    ways.max().unwrap_or(0)
}

/// The ways in which threads can share a product of `rows` rows. Cooperative matrices are for products whose first operand,
/// activations or their gradients, is stored in 16 bits; others could have numbers that are too small for that, as the gradients
/// of a loss are before they are scaled.
fn ways(call: &Call, path: Path, rows: usize, matrices: Option<Cooperative>) -> Vec<Core> {
    let halves = || {
        let first = call.operands().inputs[0];
        matches!(call.kernel.family, Family::Matrix(_)) && first != Storage::Float
    };
    match matrices.filter(|_| halves()) {
        Some(matrices) => matrices.cores(),
        None => call.kernel.cores(path, rows),
    }
}

/// Chooses for every call, in order. A product has the tile that was measured to be the fastest, if it is one of `tiles`.
/// Another one takes the core that should be fastest, unless another one that the same kernel has already loses little by
/// it, because each takes a pipeline of its own. Products of one size have one core, however often they come: on CPU drivers the
/// core decides last bits, and a process that has some shards of a batch must choose what one that has all does.
pub(crate) fn choose(
    recording: &Recording,
    tiles: &Tiles,
    matrices: Option<Cooperative>,
) -> Vec<Shared> {
    /// A kernel and the values of its constants.
    type Key = (*const Kernel, Vec<(&'static str, u64)>);
    /// A product of one size, and the cores that it may have.
    type Product = (Key, Grid, u64, Vec<Core>);
    let mut known: Vec<(Key, Core)> = Vec::new();
    let mut chosen: Vec<(Product, Core)> = Vec::new();
    let path = recording.path();
    let share = |call: &Call| {
        let networks = call.networks().count();
        let (size, splits) = match call.grid {
            Grid::Threads(threads) => {
                let [x, y, _] = groups_of(threads);
                return Shared {
                    core: None,
                    groups: [x, y, networks as u32],
                };
            }
            Grid::Groups(groups) => return Shared { core: None, groups },
            Grid::Product { size, splits } => (size, splits),
        };
        let constants = call.constants.iter();
        let constants = constants.map(|(name, value)| (*name, value.to_bits()));
        let key: Key = (call.kernel, constants.collect());
        let cores = ways(call, path, size[0], matrices);
        let cooperative = |core: &Core| matches!(core, Core::Cooperative { .. });
        let own = known.iter().filter(|(other, _)| *other == key);
        // One kernel may multiply floats in some calls and halves in others.
        let own = own.filter(|(_, core)| cooperative(core) == cores.iter().any(cooperative));
        let own: Vec<Core> = own.map(|(_, core)| *core).collect();
        let product: Product = (key.clone(), call.grid, call.flops, cores.clone());
        let before = chosen.iter().find(|(other, _)| *other == product);
        let core = match recording.core {
            Some(number) => cores.get(number).or(cores.last()).copied(),
            None => tiles
                .core(call, &cores)
                .or(before.map(|(_, core)| *core))
                .or_else(|| fastest(&cores, (size, splits * networks), call.flops, &own)),
        };
        let core = core.unwrap_or_else(|| panic!("{} is no product", call.kernel.name));
        if before.is_none() {
            chosen.push((product, core));
        }
        if !own.contains(&core) {
            known.push((key, core));
        }
        Shared {
            core: Some(core),
            groups: match networks {
                1 => core.groups(size, splits),
                _ => core.groups_of_both(size, splits),
            },
        }
    };
    recording.calls().map(share).collect()
}
