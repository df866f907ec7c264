//! Which calls of two networks one dispatch does.
//!
//! High and low precision run the same kernels over tensors of the same shapes. On a GPU a dispatch costs microseconds
//! whatever it does, and those of small layers leave most of the device idle. So the calls of both networks are made
//! neighbours, and where two differ in nothing but their buffers, the second becomes the *twin* of the first: one dispatch does both.
//! Their buffers lie side by side then, see [`crate::gpu::Twins`]. Every number is computed as before.

use super::{Call, Command, Recording, copies, memory};
use crate::gpu::{Buffer, TEXEL_BYTES, TEXELS_PER_ROW, Twins};
use crate::tensor::Tensor;

/// A gibibyte. Batches that need more fill a device by themselves.
const MOST_WORKING_ROWS: u64 = (1 << 30) / (TEXELS_PER_ROW as u64 * TEXEL_BYTES);

impl Recording {
    /// The same list with as many twins as there can be, on a device of which one binding holds `most_rows` rows of
    /// memory. Both networks then need working memory at the same time: where that is too much, the list stays as it is.
    pub(crate) fn with_twins(mut self, most_rows: u32) -> Self {
        let apart = self.commands.clone();
        // From the last on, because a range of commands becomes shorter.
        for [first, second] in std::mem::take(&mut self.sides).into_iter().rev() {
            let sides = [first.clone(), second.clone()].map(|range| calls(&self.commands[range]));
            let [Some(firsts), Some(seconds)] = sides else {
                continue;
            };
            if let Some(joined) = join(firsts, seconds, most_rows, &mut self.twins) {
                let joined = joined.into_iter().map(Command::Call);
                self.commands.splice(first.start..second.end, joined);
            }
        }
        if self.working_rows() > MOST_WORKING_ROWS {
            self.commands = apart;
            self.twins.clear();
        }
        self
    }

    /// Rows of working memory that it needs.
    fn working_rows(&self) -> u64 {
        let calls: Vec<&Call> = self.calls().collect();
        let found = copies::insert(self);
        let blocks = memory::blocks(&found.steps, &calls, &found.forms, &self.twins);
        let mut slabs = Vec::new();
        memory::place(&mut slabs, &blocks);
        slabs.into_iter().map(u64::from).sum()
    }
}

/// The commands as calls, if they are nothing else.
fn calls(commands: &[Command]) -> Option<Vec<Call>> {
    let call = |command: &Command| match command {
        Command::Call(call) => Some(call.clone()),
        Command::Clear(_) | Command::Exchange(_) => None,
    };
    commands.iter().map(call).collect()
}

/// Both lists as one in which each call of the first is followed by that of the second, or has it as its twin. `None` if they
/// do not correspond, or cannot run in this order.
fn join(
    firsts: Vec<Call>,
    seconds: Vec<Call>,
    most_rows: u32,
    twins: &mut Vec<[Buffer; 2]>,
) -> Option<Vec<Call>> {
    if firsts.len() != seconds.len() {
        return None;
    }
    // Calls of the second network come before later ones of the first now.
    for (at, second) in seconds.iter().enumerate() {
        if firsts[at + 1..].iter().any(|first| depend(first, second)) {
            return None;
        }
    }
    let mut joined = Vec::with_capacity(2 * firsts.len());
    for (mut first, second) in firsts.into_iter().zip(seconds) {
        match pairs(&first, &second, most_rows, twins) {
            Some(new) => {
                twins.extend(new);
                first.twin = Some(Box::new(second));
                joined.push(first);
            }
            None => joined.extend([first, second]),
        }
    }
    Some(joined)
}

/// Whether one of two calls reads or writes what the other one writes.
fn depend(a: &Call, b: &Call) -> bool {
    let overlap = |a: &Tensor, b: &Tensor| {
        a.buffer.same(&b.buffer) && a.offset < b.offset + b.len() && b.offset < a.offset + a.len()
    };
    let writes_what_other_uses = |a: &Call, b: &Call| {
        a.outputs().any(|written| {
            let mut used = b.inputs().chain(b.outputs());
            used.any(|used| overlap(written, used))
        })
    };
    writes_what_other_uses(a, b) || writes_what_other_uses(b, a)
}

/// The buffers of two calls that must lie side by side, beside those that do already, for one dispatch to do both; `None` if
/// none can.
fn pairs(
    first: &Call,
    second: &Call,
    most_rows: u32,
    known: &[[Buffer; 2]],
) -> Option<Vec<[Buffer; 2]>> {
    let updates = |call: &Call| -> Vec<bool> { call.writes.iter().map(|w| w.update).collect() };
    let corresponds = std::ptr::eq(first.kernel, second.kernel)
        && first.constants == second.constants
        && first.params.len() == second.params.len()
        && first.reads.len() == second.reads.len()
        && updates(first) == updates(second)
        && first.operands() == second.operands()
        && first.schedule == second.schedule
        && first.grid == second.grid
        && first.flops == second.flops;
    let same_params = first.params == second.params;
    if !corresponds || !Twins::are_possible(first.kernel, same_params) || depend(first, second) {
        return None;
    }
    let mut new: Vec<[Buffer; 2]> = Vec::new();
    for (own, other) in first.slots().zip(second.slots()) {
        let is_this = |[a, b]: &&[Buffer; 2]| a.same(own) && b.same(other);
        let is_taken = |[a, b]: &[Buffer; 2]| [a, b].iter().any(|x| x.same(own) || x.same(other));
        let all = || known.iter().chain(&new);
        if own.same(other) || all().any(|pair| is_this(&pair)) {
            continue;
        }
        let fits = own.rows() == other.rows() && 2 * own.rows() <= most_rows;
        if !fits {
            return None;
        }
        if own.is_kept_beside(other) {
            continue;
        }
        if !own.is_transient() || !other.is_transient() || all().any(is_taken) {
            return None;
        }
        new.push([own, other].map(Buffer::clone));
    }
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Path;
    use crate::op::add::ADD;
    use crate::op::conv::entries::CONV_FORWARD;
    use crate::recording::tests::follow;
    use crate::recording::{Dispatch, Grid, Write, cores};

    const MANY: u32 = 1 << 13;

    fn tensor(label: &str) -> Tensor {
        Tensor::transient(label, &[2, 4096])
    }

    fn call(list: &mut Recording, label: &str, params: u8, reads: &[&Tensor], write: Write<'_>) {
        list.dispatch(Dispatch {
            kernel: &ADD,
            label,
            constants: &[],
            params: &[params; 16],
            reads,
            writes: &[write],
            schedule: false,
            grid: Grid::Threads(1),
            flops: 1,
        });
    }

    /// What every dispatch does: labels, those of a twin behind a plus.
    fn labels(list: &Recording) -> Vec<String> {
        let label = |call: &Call| {
            let labels: Vec<&str> = call.networks().map(|call| call.label.as_str()).collect();
            labels.join("+")
        };
        list.calls().map(label).collect()
    }

    /// Two networks of three calls each over one input. The second call of the second network also reads `more`.
    fn networks(more: impl Fn(&[Tensor; 3]) -> Tensor) -> Recording {
        let input = Tensor::kept("input", &[2, 4096]);
        let values = || ["a", "b", "c"].map(tensor);
        let mut list = Recording::new(Path::Gpu);
        list.side_by_side(
            |list| {
                let [a, b, c] = values();
                call(list, "1a", 1, &[&input], Write::New(&a));
                call(list, "1b", 1, &[&a, &input], Write::New(&b));
                call(list, "1c", 1, &[&b], Write::New(&c));
                [a, b, c]
            },
            |list, firsts| {
                let [a, b, c] = values();
                call(list, "2a", 2, &[&input], Write::New(&a));
                call(list, "2b", 1, &[&a, &more(&firsts)], Write::New(&b));
                call(list, "2c", 1, &[&b], Write::New(&c));
            },
        );
        list
    }

    #[test]
    fn calls_that_correspond_share_a_dispatch() {
        let input = Tensor::kept("input", &[2, 4096]);
        let list = networks(|_| input.clone());
        assert_eq!(labels(&list), ["1a", "1b", "1c", "2a", "2b", "2c"]);
        // The second calls read different inputs that do not lie side by side.
        let list = list.with_twins(MANY);
        assert_eq!(labels(&list), ["1a+2a", "1b", "2b", "1c+2c"]);
        follow(&list);
        let twins: Vec<Option<Twins>> = list.calls().map(Call::twins).collect();
        let [first, .., last] = twins.as_slice() else {
            panic!("{twins:?}");
        };
        let outputs = [true, false, false, false];
        let expected = Twins {
            params: true,
            inputs: [false; 4],
            outputs,
        };
        assert_eq!(*first, Some(expected), "one input for both");
        let expected = Twins {
            params: false,
            inputs: outputs,
            outputs,
        };
        assert_eq!(*last, Some(expected));
        let groups = cores::choose(&list, &Default::default(), None);
        let groups: Vec<u32> = groups.iter().map(|shared| shared.groups[2]).collect();
        assert_eq!(groups, [2, 1, 1, 2]);
    }

    #[test]
    fn a_network_waits_for_what_it_reads_of_the_other() {
        // What the first network wrote before is there.
        let list = networks(|[a, ..]| a.clone()).with_twins(MANY);
        assert_eq!(labels(&list), ["1a+2a", "1b", "2b", "1c+2c"]);
        follow(&list);
        // What it writes in the same place would not be.
        let list = networks(|[_, b, _]| b.clone()).with_twins(MANY);
        assert_eq!(labels(&list), ["1a+2a", "1b", "2b", "1c+2c"]);
        follow(&list);
        // What it writes later would not be in this order.
        let list = networks(|[.., c]| c.clone()).with_twins(MANY);
        assert_eq!(labels(&list), ["1a", "1b", "1c", "2a", "2b", "2c"]);
        follow(&list);
    }

    #[test]
    fn memory_that_does_not_fit_into_a_binding_or_the_device_stays_apart() {
        let input = Tensor::kept("input", &[2, 4096]);
        let list = networks(|_| input.clone()).with_twins(1);
        assert!(list.calls().all(|call| call.twin.is_none()));
        let mut list = Recording::new(Path::Gpu);
        let large = || Tensor::transient("large", &[1 << 27, 4]);
        list.side_by_side(
            |list| call(list, "1", 1, &[&input], Write::New(&large())),
            |list, ()| call(list, "2", 1, &[&input], Write::New(&large())),
        );
        assert_eq!(labels(&list.with_twins(u32::MAX)), ["1", "2"]);
    }

    #[test]
    fn other_commands_keep_networks_apart() {
        let mut list = networks(tensor_of_first);
        list.clear(&tensor("cleared").buffer);
        let commands = list.commands.len();
        list.sides[0][1].end = commands;
        let list = list.with_twins(MANY);
        assert_eq!(labels(&list), ["1a", "1b", "1c", "2a", "2b", "2c"]);
    }

    fn tensor_of_first([a, ..]: &[Tensor; 3]) -> Tensor {
        a.clone()
    }

    #[test]
    fn products_have_twins_only_with_the_same_parameters() {
        assert!(Twins::are_possible(&CONV_FORWARD, true));
        assert!(!Twins::are_possible(&CONV_FORWARD, false));
    }

    #[test]
    fn kept_memory_of_both_networks_lies_side_by_side() {
        let [first, second] = Buffer::kept_pair(["HP", "LP"], 8);
        assert!(first.is_kept_beside(&second));
        assert!(!second.is_kept_beside(&first));
        let [other, _] = Buffer::kept_pair(["HP", "LP"], 8);
        assert!(!other.is_kept_beside(&second));
    }
}
