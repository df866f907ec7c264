//! Max pools that become part of the product before them.

use std::collections::BTreeMap;

use super::{Program, Step};
use crate::graph::Value;
use crate::op::ConvShape;
use crate::op::integers::Form;

/// Has products keep the largest of the windows that a max pool would read side by side: what lies between them then
/// needs no memory. Limits and rounding do not change which number is the largest. The windows of a value's pool come
/// with the value.
/// `allowed` is asked for each product, its groups and the number of the pool's step.
pub fn pooled<'a>(
    program: &Program<'a>,
    allowed: impl Fn(&ConvShape, usize, usize) -> bool,
) -> (Program<'a>, BTreeMap<Value, [usize; 2]>) {
    let mut steps: Vec<Step<'a>> = Vec::new();
    let mut pools = BTreeMap::new();
    for (number, step) in program.steps.iter().enumerate() {
        let readers = |value| {
            let reads = program.steps.iter().flat_map(|step| &step.reads);
            reads.filter(|read| read.value == value).count()
        };
        if let Form::Maximum { shape } = &step.form
            && shape.window == shape.stride
            && shape.padding == [0, 0]
            && readers(step.reads[0].value) == 1
            && let Some(before) = steps
                .iter_mut()
                .find(|before| before.gives == step.reads[0].value)
            && let Form::Product { shape: of, groups } = &before.form
            && allowed(of, *groups, number)
            && before.shape.sides() == step.reads[0].shape.sides()
            && !pools.contains_key(&before.gives)
        {
            pools.insert(step.gives, shape.window);
            (before.gives, before.shape) = (step.gives, step.shape);
            continue;
        }
        steps.push(step.clone());
    }
    let program = Program {
        steps,
        ..program.clone()
    };
    (program, pools)
}
