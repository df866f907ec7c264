//! Which calls read textures, and where buffers are copied into them.
//!
//! On a CPU driver a load from a buffer at an address that differs between threads costs many times as much as one from
//! a texture. So a buffer is copied into a texture of the same bytes, its texture copy, before the first read after a write. A
//! copy ends a compute pass, which costs such a driver more than the copy itself: copies move up to others before them.

use std::ops::Range;

use super::call::rows_of;
use super::{Call, Command, Exchange, Recording};
use crate::gpu::{Buffer, Numbers, Path};
use crate::tensor::Tensor;

/// A copy of some rows of a buffer into its texture copy.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub buffer: Buffer,
    pub rows: Range<u32>,
    pub numbers: Numbers,
}

impl Copy {
    fn of(tensor: &Tensor, numbers: Numbers) -> Self {
        Self {
            buffer: tensor.buffer.clone(),
            rows: rows_of(tensor),
            numbers,
        }
    }

    /// Whether it makes the other one needless.
    fn covers(&self, other: &Self) -> bool {
        self.buffer.same(&other.buffer)
            && self.numbers == other.numbers
            && self.rows.start <= other.rows.start
            && other.rows.end <= self.rows.end
    }

    /// Whether a write to a tensor changes what is copied.
    fn is_changed_by(&self, tensor: &Tensor) -> bool {
        let rows = rows_of(tensor);
        tensor.buffer.same(&self.buffer) && rows.start < self.rows.end && self.rows.start < rows.end
    }
}

/// A command of the recording, or a copy.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The call of this number.
    Call(usize),
    Copy(Copy),
    Clear(Buffer),
    Exchange(Exchange),
}

/// A recording with its copies.
pub(crate) struct WithCopies {
    pub steps: Vec<Step>,
    /// The form of every call's kernel.
    pub forms: Vec<Path>,
    /// Copies of what never changes, once before everything.
    pub once: Vec<Copy>,
}

/// Inserts what copies are needed, and moves them together.
pub(crate) fn insert(recording: &Recording) -> WithCopies {
    let mut found = WithCopies {
        steps: Vec::new(),
        forms: Vec::new(),
        once: Vec::new(),
    };
    let mut fresh: Vec<Copy> = Vec::new();
    for command in &recording.commands {
        let call = match command {
            Command::Clear(buffer) => {
                fresh.retain(|copy| !copy.buffer.same(buffer));
                found.steps.push(Step::Clear(buffer.clone()));
                continue;
            }
            Command::Exchange(exchange) => {
                fresh.retain(|copy| !exchange.touches(&copy.buffer));
                found.steps.push(Step::Exchange(exchange.clone()));
                continue;
            }
            Command::Call(call) => call,
        };
        let form = form_of(recording, call);
        if form.reads_textures() {
            for tensor in call.inputs() {
                let copy = Copy::of(tensor, call.kernel.numbers);
                if fresh.iter().any(|known| known.covers(&copy)) {
                    continue;
                }
                match recording.is_constant(&tensor.buffer) {
                    true => found.once.push(copy.clone()),
                    false => found.steps.push(Step::Copy(copy.clone())),
                }
                fresh.push(copy);
            }
        }
        for output in call.outputs() {
            fresh.retain(|copy| !copy.is_changed_by(output));
        }
        found.steps.push(Step::Call(found.forms.len()));
        found.forms.push(form);
    }
    let calls: Vec<&Call> = recording.calls().collect();
    found.steps = gather(found.steps, &calls);
    found
}

/// The form of a call's kernel: buffers also where others read texture copies, if it reads little or each number once.
fn form_of(recording: &Recording, call: &Call) -> Path {
    let texels = call.inputs().map(Tensor::texels).sum();
    let constant = call
        .inputs()
        .any(|tensor| recording.is_constant(&tensor.buffer));
    let in_textures = recording.all_in_textures || constant;
    match !in_textures && call.kernel.reads_buffers(texels) {
        true => Path::Gpu,
        false => recording.path(),
    }
}

/// Moves every copy up to the first copies after the last write of what it copies.
fn gather(steps: Vec<Step>, calls: &[&Call]) -> Vec<Step> {
    let true_from: Vec<usize> = (0..steps.len())
        .map(|at| copy_is_true_from(&steps, at, calls))
        .collect();
    let mut waiting: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    let is_copy = |step: &Option<Step>| matches!(step, Some(Step::Copy(_)));
    let mut gathered = Vec::with_capacity(waiting.len());
    for at in 0..waiting.len() {
        if is_copy(&waiting[at]) {
            for later in at + 1..waiting.len() {
                if is_copy(&waiting[later]) && true_from[later] <= at {
                    gathered.extend(waiting[later].take());
                }
            }
        }
        gathered.extend(waiting[at].take());
    }
    gathered
}

/// The first place where the copy at `at` would copy the same; `at` for what is no copy.
fn copy_is_true_from(steps: &[Step], at: usize, calls: &[&Call]) -> usize {
    let Step::Copy(copy) = &steps[at] else {
        return at;
    };
    let writes = |step: &Step| match step {
        Step::Copy(_) => false,
        Step::Clear(cleared) => cleared.same(&copy.buffer),
        Step::Exchange(exchange) => exchange.touches(&copy.buffer),
        Step::Call(number) => calls[*number]
            .outputs()
            .any(|output| copy.is_changed_by(output)),
    };
    let last = steps[..at].iter().rposition(writes);
    last.map_or(0, |last| last + 1)
}
