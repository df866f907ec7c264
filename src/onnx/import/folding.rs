//! What can be computed without an image.

use super::constant::{Constant, axis_of, common_shape};
use super::flow::Axis;
use super::operators::{Input, int, ints, setting};
use super::{Importer, Known, Misfit, sides_of};
use crate::onnx::read::{Node, Numbers, Setting};
use crate::onnx::shown;

impl Importer<'_, '_> {
    /// What can be computed without an image.
    pub(super) fn folded(
        &self,
        node: &Node<'_>,
        inputs: &[Input],
    ) -> Result<Option<Constant>, Misfit> {
        let kind = node.kind.as_str();
        if kind == "Shape" {
            let sides = match inputs.first() {
                Some(Some(Known::Flow(flow))) => {
                    let mut sides = sides_of(flow, &self.shapes[flow.at]);
                    let [above, left, below, right] = flow.pads;
                    for (side, axis) in sides.iter_mut().zip(&flow.axes) {
                        *side += match axis {
                            Axis::Row => above + below,
                            Axis::Column => left + right,
                            Axis::Batch | Axis::Channel => 0,
                        } as i64;
                    }
                    sides
                }
                Some(Some(Known::Constant(constant))) => {
                    constant.shape.iter().map(|side| *side as i64).collect()
                }
                _ => return Err("its input is missing".to_owned()),
            };
            let start = int(node, "start", 0)?;
            let end = int(node, "end", sides.len() as i64)?;
            return Constant::whole(sides).sliced(start, end, 0, 1).map(Some);
        }
        if kind == "Constant" {
            return constant(node).map(Some);
        }
        // What decides the type of numbers does not have to be known.
        let needed = if kind == "CastLike" { 1 } else { inputs.len() };
        let mut known = Vec::new();
        for input in inputs.iter().take(needed).flatten() {
            match input {
                Known::Constant(constant) => known.push(&**constant),
                Known::Flow(_) => return Ok(None),
            }
        }
        let Some(first) = known.first().copied() else {
            return Ok(None);
        };
        let axes = |at: usize| -> Result<Option<Vec<i64>>, Misfit> {
            match (ints(node, "axes")?, known.get(at)) {
                (Some(axes), _) => Ok(Some(axes)),
                (None, Some(axes)) => Ok(axes.as_whole().map(<[i64]>::to_vec)),
                (None, None) => Ok(None),
            }
        };
        let second = || known.get(1).copied().ok_or("its second input is missing");
        Ok(Some(match kind {
            "Identity" | "Dropout" => first.clone(),
            "Gather" => first.gathered(second()?, int(node, "axis", 0)?)?,
            "Cast" => first.cast(matches!(int(node, "to", 1)?, 2..=7 | 9 | 12 | 13)),
            "CastLike" => match inputs.get(1) {
                Some(Some(Known::Constant(like))) => first.cast(like.as_whole().is_some()),
                _ => first.cast(false),
            },
            "Concat" => Constant::joined(&known)?,
            "Add" | "Sub" | "Mul" | "Div" => Constant::combined(kind, first, second()?)?,
            "Neg" => Constant::combined(
                "Mul",
                first,
                &Constant::whole(vec![-1]).reshaped(&[], false)?,
            )?,
            "Transpose" => {
                let rank = first.shape.len();
                let order = match ints(node, "perm")? {
                    Some(order) => order
                        .iter()
                        .map(|axis| axis_of(*axis, rank))
                        .collect::<Result<_, _>>()?,
                    None => (0..rank).rev().collect::<Vec<usize>>(),
                };
                first.transposed(&order)?
            }
            "Reshape" => {
                let sides = second()?
                    .as_whole()
                    .ok_or("a shape that is no whole numbers")?;
                first.reshaped(sides, int(node, "allowzero", 0)? != 0)?
            }
            "Squeeze" => {
                let mut shape = Vec::new();
                let rank = first.shape.len();
                let gone = match axes(1)? {
                    Some(axes) => axes
                        .iter()
                        .map(|axis| axis_of(*axis, rank))
                        .collect::<Result<Vec<_>, _>>()?,
                    None => (0..rank).filter(|axis| first.shape[*axis] == 1).collect(),
                };
                for (axis, side) in first.shape.iter().enumerate() {
                    if !gone.contains(&axis) {
                        shape.push(*side as i64);
                    }
                }
                first.reshaped(&shape, true)?
            }
            "Unsqueeze" => {
                let axes = axes(1)?.ok_or("its axes are missing")?;
                let rank = first.shape.len() + axes.len();
                let added: Vec<usize> = axes
                    .iter()
                    .map(|axis| axis_of(*axis, rank))
                    .collect::<Result<_, _>>()?;
                let mut old = first.shape.iter();
                let shape: Vec<i64> = (0..rank)
                    .map(|axis| match added.contains(&axis) {
                        true => 1,
                        false => old.next().map_or(1, |side| *side as i64),
                    })
                    .collect();
                first.reshaped(&shape, true)?
            }
            "Expand" => {
                let sides = second()?
                    .as_whole()
                    .ok_or("a shape that is no whole numbers")?;
                let wanted: Vec<usize> = sides
                    .iter()
                    .map(|side| usize::try_from(*side).map_err(|_| format!("a side of {side}")))
                    .collect::<Result<_, _>>()?;
                first.spread_over(&common_shape(&first.shape, &wanted))?
            }
            "ConstantOfShape" => {
                let value = match setting(node, "value") {
                    Some(Setting::Tensor(tensor)) => Constant {
                        shape: Vec::new(),
                        numbers: tensor.numbers(None).map_err(|e| e.to_string())?,
                    },
                    _ => Constant {
                        shape: Vec::new(),
                        numbers: Numbers::Floats(vec![0.0]),
                    },
                };
                if value.len() != 1 {
                    return Err("its value is not one number".to_owned());
                }
                let sides = first.as_whole().ok_or("a shape that is no whole numbers")?;
                let wanted: Vec<usize> = sides
                    .iter()
                    .map(|side| usize::try_from(*side).map_err(|_| format!("a side of {side}")))
                    .collect::<Result<_, _>>()?;
                value.spread_over(&wanted)?
            }
            "Slice" => self.slice(node, &known)?,
            _ => return Ok(None),
        }))
    }

    pub(super) fn slice(&self, node: &Node<'_>, known: &[&Constant]) -> Result<Constant, Misfit> {
        let part = |name: &str, at: usize| -> Result<Option<Vec<i64>>, Misfit> {
            match (ints(node, name)?, known.get(at)) {
                (Some(values), _) => Ok(Some(values)),
                (None, Some(values)) => Ok(values.as_whole().map(<[i64]>::to_vec)),
                (None, None) => Ok(None),
            }
        };
        let starts = part("starts", 1)?.ok_or("its starts are missing")?;
        let ends = part("ends", 2)?.ok_or("its ends are missing")?;
        let axes = part("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = part("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        let mut result = known[0].clone();
        for ((start, end), (axis, step)) in starts.iter().zip(&ends).zip(axes.iter().zip(&steps)) {
            result = result.sliced(*start, *end, *axis, *step)?;
        }
        Ok(result)
    }
}

/// The value of a `Constant` node.
fn constant(node: &Node<'_>) -> Result<Constant, Misfit> {
    let Some((name, value)) = node.settings.first() else {
        return Err("it has no value".to_owned());
    };
    let (shape, numbers) = match value {
        Setting::Tensor(tensor) => {
            let sides: Result<Vec<usize>, _> =
                tensor.shape.iter().map(|s| usize::try_from(*s)).collect();
            let numbers = tensor.numbers(None).map_err(|e| e.to_string())?;
            (sides.map_err(|_| "a negative side")?, numbers)
        }
        Setting::Float(value) => (Vec::new(), Numbers::Floats(vec![*value])),
        Setting::Int(value) => (Vec::new(), Numbers::Whole(vec![*value])),
        Setting::Floats(values) => (vec![values.len()], Numbers::Floats(values.clone())),
        Setting::Ints(values) => (vec![values.len()], Numbers::Whole(values.clone())),
        _ => return Err(format!("a constant of the kind '{}'", shown(name))),
    };
    Ok(Constant { shape, numbers })
}
