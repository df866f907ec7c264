//! Constant folding: operators whose inputs are all known are computed while the file is read.

use super::constant::{Constant, axis_of, common_shape};
use super::flow::Axis;
use super::operators::{Input, int, ints, setting};
use super::{Importer, Known, Misfit, sides_of};
use crate::onnx::read::{Node, Numbers, Setting};
use crate::onnx::shown;

impl Importer<'_, '_> {
    /// The constant that a node gives; `None` if it depends on an image.
    pub(super) fn folded(
        &self,
        node: &Node<'_>,
        inputs: &[Input],
    ) -> Result<Option<Constant>, Misfit> {
        let kind = node.kind.as_str();
        match kind {
            "Shape" => return self.shape(node, inputs).map(Some),
            "Constant" => return constant(node).map(Some),
            _ => (),
        }
        // What decides the type of numbers does not have to be known.
        let needed = if kind == "CastLike" { 1 } else { inputs.len() };
        let mut known = Vec::new();
        for input in inputs.iter().take(needed) {
            match input {
                Some(Known::Constant(constant)) => known.push(Some(&**constant)),
                Some(Known::Flow(_)) => return Ok(None),
                None => known.push(None),
            }
        }
        let Some(first) = known.first().copied().flatten() else {
            return Ok(None);
        };
        let of = Operator { node, known };
        Ok(Some(match kind {
            "Identity" | "Dropout" => first.clone(),
            "Gather" => first.gathered(of.second()?, int(node, "axis", 0)?)?,
            "Cast" => first.cast(matches!(int(node, "to", 1)?, 2..=7 | 9 | 12 | 13)),
            "CastLike" => match inputs.get(1) {
                Some(Some(Known::Constant(like))) => first.cast(like.as_whole().is_some()),
                _ => first.cast(false),
            },
            "Concat" => {
                let parts: Option<Vec<&Constant>> = of.known.iter().copied().collect();
                Constant::joined(&parts.ok_or("one of its inputs is missing")?)?
            }
            "Add" | "Sub" | "Mul" | "Div" => Constant::combined(kind, first, of.second()?)?,
            "Neg" => Constant::combined(
                "Mul",
                first,
                &Constant::whole(vec![-1]).reshaped(&[], false)?,
            )?,
            "Transpose" => of.transposed(first)?,
            "Reshape" => {
                let zero_is_zero = int(node, "allowzero", 0)? != 0;
                first.reshaped(whole(of.second()?)?, zero_is_zero)?
            }
            "Squeeze" => of.squeezed(first)?,
            "Unsqueeze" => of.unsqueezed(first)?,
            "Expand" => {
                let wanted = sides(of.second()?)?;
                first.spread_over(&common_shape(&first.shape, &wanted))?
            }
            "ConstantOfShape" => of.filled(first)?,
            "Slice" => of.sliced(first)?,
            _ => return Ok(None),
        }))
    }

    /// The sides of what flows through the network, padding that was not applied yet included, or of a constant.
    fn shape(&self, node: &Node<'_>, inputs: &[Input]) -> Result<Constant, Misfit> {
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
        Constant::whole(sides).sliced(start, end, 0, 1)
    }
}

/// The whole numbers of a constant that is a shape.
fn whole(shape: &Constant) -> Result<&[i64], Misfit> {
    Ok(shape.as_whole().ok_or("a shape that is no whole numbers")?)
}

/// The sides in a constant that is a shape.
fn sides(shape: &Constant) -> Result<Vec<usize>, Misfit> {
    let side = |side: &i64| usize::try_from(*side).map_err(|_| format!("a side of {side}"));
    whole(shape)?.iter().map(side).collect()
}

/// An operator whose inputs are constants.
struct Operator<'n, 'd> {
    node: &'n Node<'d>,
    /// By place; `None` where an optional input is left out.
    known: Vec<Option<&'n Constant>>,
}

impl Operator<'_, '_> {
    fn second(&self) -> Result<&Constant, Misfit> {
        let second = self.known.get(1).copied().flatten();
        Ok(second.ok_or("its second input is missing")?)
    }

    /// Whole numbers that are a setting of the operator or, in later opsets, an input.
    fn numbers(&self, name: &str, at: usize) -> Result<Option<Vec<i64>>, Misfit> {
        match (
            ints(self.node, name)?,
            self.known.get(at).copied().flatten(),
        ) {
            (Some(values), _) => Ok(Some(values)),
            (None, Some(values)) => Ok(values.as_whole().map(<[i64]>::to_vec)),
            (None, None) => Ok(None),
        }
    }

    fn transposed(&self, first: &Constant) -> Result<Constant, Misfit> {
        let rank = first.shape.len();
        let order = match ints(self.node, "perm")? {
            Some(order) => places(&order, rank)?,
            None => (0..rank).rev().collect(),
        };
        first.transposed(&order)
    }

    fn squeezed(&self, first: &Constant) -> Result<Constant, Misfit> {
        let rank = first.shape.len();
        let gone = match self.numbers("axes", 1)? {
            Some(axes) => places(&axes, rank)?,
            None => (0..rank).filter(|axis| first.shape[*axis] == 1).collect(),
        };
        let left = first.shape.iter().enumerate();
        let left = left.filter(|(axis, _)| !gone.contains(axis));
        let shape: Vec<i64> = left.map(|(_, side)| *side as i64).collect();
        first.reshaped(&shape, true)
    }

    fn unsqueezed(&self, first: &Constant) -> Result<Constant, Misfit> {
        let axes = self.numbers("axes", 1)?.ok_or("its axes are missing")?;
        let rank = first.shape.len() + axes.len();
        let added = places(&axes, rank)?;
        let mut old = first.shape.iter();
        let shape: Vec<i64> = (0..rank)
            .map(|axis| match added.contains(&axis) {
                true => 1,
                false => old.next().map_or(1, |side| *side as i64),
            })
            .collect();
        first.reshaped(&shape, true)
    }

    /// One number, everywhere in a shape.
    fn filled(&self, shape: &Constant) -> Result<Constant, Misfit> {
        let numbers = match setting(self.node, "value") {
            Some(Setting::Tensor(tensor)) => tensor.numbers(None).map_err(|e| e.to_string())?,
            _ => Numbers::Floats(vec![0.0]),
        };
        let value = Constant {
            shape: Vec::new(),
            numbers,
        };
        if value.len() != 1 {
            return Err("its value is not one number".to_owned());
        }
        value.spread_over(&sides(shape)?)
    }

    fn sliced(&self, first: &Constant) -> Result<Constant, Misfit> {
        let starts = self.numbers("starts", 1)?.ok_or("its starts are missing")?;
        let ends = self.numbers("ends", 2)?.ok_or("its ends are missing")?;
        let all = || (0..starts.len() as i64).collect();
        let axes = self.numbers("axes", 3)?.unwrap_or_else(all);
        let steps = self.numbers("steps", 4)?;
        let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
        let mut result = first.clone();
        for ((start, end), (axis, step)) in starts.iter().zip(&ends).zip(axes.iter().zip(&steps)) {
            result = result.sliced(*start, *end, *axis, *step)?;
        }
        Ok(result)
    }
}

/// The places of axes that may count from the end.
fn places(axes: &[i64], rank: usize) -> Result<Vec<usize>, Misfit> {
    axes.iter().map(|axis| axis_of(*axis, rank)).collect()
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
