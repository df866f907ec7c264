//! How threads share every matrix product.

use super::call::groups_of;
use super::{Grid, Recording};
use crate::gpu::{Core, Kernel, Tiles};

/// How the threads of a call share its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    /// The core, if it is a product.
    pub core: Option<Core>,
    /// Workgroups.
    pub groups: [u32; 3],
}

/// In how many ways threads can share a product of the recording.
pub(crate) fn most_cores(recording: &Recording) -> usize {
    let path = recording.path();
    let ways = recording.calls().map(|call| match call.grid {
        Grid::Product { size, .. } => call.kernel.cores(path, size[0]).len(),
        Grid::Threads(_) | Grid::Groups(_) => 0,
    });
    ways.max().unwrap_or(0)
}

/// Chooses for every call, in order. A product has the tile that was measured to be the fastest, if it is one of `tiles`.
/// Another one takes the core that should be fastest, unless another one that the same kernel has already loses little by
/// it, because each takes a pipeline of its own.
pub(crate) fn choose(recording: &Recording, tiles: &Tiles) -> Vec<Shared> {
    /// A kernel and the values of its constants.
    type Key = (*const Kernel, Vec<(&'static str, u64)>);
    let mut known: Vec<(Key, Core)> = Vec::new();
    let path = recording.path();
    let share = |call: &super::Call| {
        let (size, splits) = match call.grid {
            Grid::Threads(threads) => {
                return Shared {
                    core: None,
                    groups: groups_of(threads),
                };
            }
            Grid::Groups(groups) => return Shared { core: None, groups },
            Grid::Product { size, splits } => (size, splits),
        };
        let constants = call.constants.iter();
        let constants = constants.map(|(name, value)| (*name, value.to_bits()));
        let key: Key = (call.kernel, constants.collect());
        let own = known.iter().filter(|(other, _)| *other == key);
        let own: Vec<Core> = own.map(|(_, core)| *core).collect();
        let core = match recording.core {
            Some(number) => {
                let cores = call.kernel.cores(path, size[0]);
                cores.get(number).or(cores.last()).copied()
            }
            None => tiles
                .core(call, &call.kernel.cores(path, size[0]))
                .or_else(|| call.kernel.core(path, (size, splits), call.flops, &own)),
        };
        let core = core.unwrap_or_else(|| panic!("{} is no product", call.kernel.name));
        if !own.contains(&core) {
            known.push((key, core));
        }
        Shared {
            core: Some(core),
            groups: core.groups(size, splits),
        }
    };
    recording.calls().map(share).collect()
}
