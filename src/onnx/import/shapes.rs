//! Operators that move numbers without changing them: other shapes, pads and enlarged images.

use super::constant::{BATCH, axis_of};
use super::flow::{Axis, Flow};
use super::operators::{Input, first_flow, image, int, ints, number, setting, word};
use super::{Importer, Known, Misfit, sides_of};
use crate::onnx::read::{Node, Setting};
use crate::op::Upsample;

impl Importer<'_, '_> {
    pub(super) fn reshape(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let flow = first_flow(inputs)?;
        let sides = match (ints(node, "shape")?, inputs.get(1)) {
            (Some(sides), _) => sides,
            (None, Some(Some(Known::Constant(sides)))) => sides
                .as_whole()
                .ok_or("a shape that is no whole numbers")?
                .to_vec(),
            _ => return Err("its shape is no constant".to_owned()),
        };
        let shape = self.shapes[flow.at];
        let old = sides_of(&flow, &shape);
        let copies = int(node, "allowzero", 0)? == 0;
        let mut wanted = Vec::new();
        for (place, side) in sides.iter().enumerate() {
            wanted.push(match side {
                0 if copies => *old
                    .get(place)
                    .ok_or("a shape with a 0 that stands for no side")?,
                side => *side,
            });
        }
        let rest: i64 = wanted
            .iter()
            .skip(1)
            .filter(|side| **side > 0)
            .try_fold(1i64, |product, side| product.checked_mul(*side))
            .ok_or("a shape that is too large")?;
        let numbers = shape.len() as i64;
        let first_is_batch = match wanted.first() {
            Some(&BATCH) => true,
            Some(-1) => wanted[1..].iter().all(|side| *side > 0) && rest == numbers,
            Some(side) => self.batch == Some(*side),
            None => false,
        };
        if !first_is_batch {
            return Err(format!(
                "a shape of {} in which images do not stay apart",
                sides_text(&sides)
            ));
        }
        wanted[0] = BATCH;
        for side in &mut wanted[1..] {
            if *side == -1 {
                *side = numbers.checked_div(rest).unwrap_or_default();
            }
        }
        self.retarget(flow, &wanted)
    }

    /// The same numbers with other sides: those that have one element may come and go, and all may become one.
    pub(super) fn retarget(&self, flow: Flow, wanted: &[i64]) -> Result<Flow, Misfit> {
        let shape = self.shapes[flow.at];
        let old = sides_of(&flow, &shape);
        if old == wanted {
            return Ok(flow);
        }
        if wanted.first() != Some(&BATCH) {
            return Err(format!(
                "a shape of {} in which images do not come first",
                sides_text(wanted)
            ));
        }
        let long = |sides: &[i64]| -> Vec<i64> {
            sides.iter().copied().filter(|side| *side != 1).collect()
        };
        if !flow.is_flat() && long(&old) == long(wanted) && wanted.len() <= 4 {
            let mut left: Vec<Axis> = flow
                .axes
                .iter()
                .copied()
                .filter(|a| *a == Axis::Batch || a.side(&shape) != 1)
                .collect();
            let mut spare: Vec<Axis> = [Axis::Channel, Axis::Row, Axis::Column]
                .into_iter()
                .filter(|axis| !left.contains(axis))
                .collect();
            let mut axes = Vec::new();
            for side in wanted {
                let from = if *side == 1 { &mut spare } else { &mut left };
                if from.is_empty() {
                    return Err(format!("a shape of {}", sides_text(wanted)));
                }
                axes.push(from.remove(0));
            }
            return Ok(Flow { axes, ..flow });
        }
        match wanted {
            [BATCH, numbers] if *numbers == shape.len() as i64 => Ok(flow.flattened(&shape)),
            // A flattened image that becomes one again.
            [BATCH, _, _, _] if flow.is_flat() => {
                let image = Flow {
                    order: None,
                    axes: Flow::image(flow.at).axes,
                    ..flow.clone()
                };
                let same = sides_of(&image, &shape) == wanted
                    && image.numbers(&shape) == flow.numbers(&shape);
                match same {
                    true => Ok(image),
                    false => Err(format!(
                        "{} numbers become {}: images here are made by convolutions alone",
                        shape.len(),
                        sides_text(wanted)
                    )),
                }
            }
            _ => Err(format!(
                "{} becomes {}: only sides of one element come and go, or all numbers become one row",
                sides_text(&old),
                sides_text(wanted)
            )),
        }
    }

    pub(super) fn squeeze(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let flow = first_flow(inputs)?;
        let axes = match (ints(node, "axes")?, inputs.get(1)) {
            (Some(axes), _) => Some(axes),
            (None, Some(Some(Known::Constant(axes)))) => axes.as_whole().map(<[i64]>::to_vec),
            _ => None,
        };
        let old = sides_of(&flow, &self.shapes[flow.at]);
        let mut wanted = Vec::new();
        if node.kind == "Squeeze" {
            let gone: Vec<usize> = match axes {
                Some(axes) => axes
                    .iter()
                    .map(|axis| axis_of(*axis, old.len()))
                    .collect::<Result<_, _>>()?,
                None => (0..old.len()).filter(|axis| old[*axis] == 1).collect(),
            };
            if let Some(axis) = gone.iter().find(|axis| old[**axis] != 1) {
                return Err(format!("axis {axis} has more than one element"));
            }
            wanted.extend(
                (0..old.len())
                    .filter(|axis| !gone.contains(axis))
                    .map(|axis| old[axis]),
            );
        } else {
            let axes = axes.ok_or("its axes are missing")?;
            let rank = old.len() + axes.len();
            let added: Vec<usize> = axes
                .iter()
                .map(|axis| axis_of(*axis, rank))
                .collect::<Result<_, _>>()?;
            let mut old = old.iter();
            for axis in 0..rank {
                wanted.push(match added.contains(&axis) {
                    true => 1,
                    false => *old.next().ok_or("an axis twice")?,
                });
            }
        }
        self.retarget(flow, &wanted)
    }

    pub(super) fn transpose(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let flow = first_flow(inputs)?;
        let rank = sides_of(&flow, &self.shapes[flow.at]).len();
        let order: Vec<usize> = match ints(node, "perm")? {
            Some(order) => order
                .iter()
                .map(|axis| axis_of(*axis, rank))
                .collect::<Result<_, _>>()?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if sorted != (0..rank).collect::<Vec<_>>() {
            return Err(format!("perm {order:?} for {rank} axes"));
        }
        match (flow.is_flat(), order.first()) {
            (false, Some(0)) => Ok(Flow {
                axes: order.iter().map(|axis| flow.axes[*axis]).collect(),
                ..flow
            }),
            (true, Some(0)) => Ok(flow),
            _ => Err("images change places with numbers".to_owned()),
        }
    }

    pub(super) fn pad(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let flow = image(first_flow(inputs)?)?;
        let mode = word(node, "mode", "constant")?;
        let value = match (setting(node, "value"), inputs.get(2)) {
            (Some(Setting::Float(value)), _) => f64::from(*value),
            (_, Some(Some(_))) => number(inputs, 2).ok_or("its value is no constant")?,
            _ => 0.0,
        };
        if mode != "constant" || value != 0.0 {
            return Err(format!(
                "pads of mode '{mode}' with {value}: only zeros are added"
            ));
        }
        let pads = match (ints(node, "pads")?, inputs.get(1)) {
            (Some(pads), _) => pads,
            (None, Some(Some(Known::Constant(pads)))) => pads
                .as_whole()
                .ok_or("pads that are no whole numbers")?
                .to_vec(),
            _ => return Err("its pads are no constants".to_owned()),
        };
        let rank = flow.axes.len();
        let axes: Vec<Axis> = match inputs.get(3) {
            Some(Some(Known::Constant(axes))) => axes
                .as_whole()
                .ok_or("axes that are no whole numbers")?
                .iter()
                .map(|axis| axis_of(*axis, rank).map(|axis| flow.axes[axis]))
                .collect::<Result<_, _>>()?,
            _ => flow.axes.clone(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(format!("{} pads for {} axes", pads.len(), axes.len()));
        }
        let mut flow = self.settled_offsets(&flow, &node.kind)?;
        for (place, axis) in axes.iter().enumerate() {
            for (end, pad) in [pads[place], pads[place + axes.len()]]
                .into_iter()
                .enumerate()
            {
                let at = match axis {
                    Axis::Row => 2 * end,
                    Axis::Column => 2 * end + 1,
                    _ if pad == 0 => continue,
                    _ => return Err("channels or images are padded".to_owned()),
                };
                let all = usize::try_from(pad).ok();
                let all = all.and_then(|pad| flow.pads[at].checked_add(pad));
                let all = all.filter(|all| *all < 1 << 14);
                flow.pads[at] = all.ok_or("a pad that cuts off, or is too large")?;
            }
        }
        Ok(flow)
    }

    pub(super) fn upsample(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let flow = image(first_flow(inputs)?)?;
        let mode = word(node, "mode", "nearest")?;
        if mode != "nearest" {
            return Err(format!(
                "mode '{mode}': images are enlarged by nearest neighbours (torch.nn.Upsample(mode='nearest'))"
            ));
        }
        let shape = self.shapes[flow.at];
        let floats = |at: usize| match inputs.get(at) {
            Some(Some(Known::Constant(constant))) if constant.len() > 0 => {
                Some(constant.to_floats())
            }
            _ => None,
        };
        let scales = match setting(node, "scales") {
            Some(Setting::Floats(scales)) => Some(scales.clone()),
            _ if node.kind == "Upsample" || self.opset < 11 => floats(1),
            _ => floats(2),
        };
        let rank = flow.axes.len();
        let scales: Vec<f64> = match (scales, floats(3)) {
            (Some(scales), _) => scales.iter().map(|s| f64::from(*s)).collect(),
            (None, Some(sides)) => sides
                .iter()
                .zip(&flow.axes)
                .map(|(side, axis)| match axis {
                    Axis::Batch => 1.0,
                    axis => f64::from(*side) / axis.side(&shape) as f64,
                })
                .collect(),
            _ => return Err("its scales are no constants".to_owned()),
        };
        if scales.len() != rank {
            return Err(format!("{} scales for {rank} axes", scales.len()));
        }
        let scale = |wanted: Axis| {
            let place = flow.axes.iter().position(|axis| *axis == wanted);
            place.map_or(1.0, |place| scales[place])
        };
        let (rows, columns) = (scale(Axis::Row), scale(Axis::Column));
        let whole = rows.fract() == 0.0 && (1.0..=1024.0).contains(&rows);
        if rows != columns || !whole || scale(Axis::Channel) != 1.0 || scale(Axis::Batch) != 1.0 {
            return Err(format!(
                "scales {scales:?}: rows and columns are enlarged by the same whole factor"
            ));
        }
        let usual = if node.kind == "Upsample" || self.opset < 11 {
            "asymmetric"
        } else {
            "half_pixel"
        };
        let places = word(node, "coordinate_transformation_mode", usual)?;
        let rounding = match usual {
            "asymmetric" => "floor".to_owned(),
            _ => word(node, "nearest_mode", "round_prefer_floor")?,
        };
        let size = rows as usize;
        if !(0..2 * size).all(|i| nearest(i, rows, &places, &rounding) == Some(i / size)) {
            return Err(format!(
                "coordinates '{places}' with '{rounding}' take other pixels than the nearest below. Export it with \
                 asymmetric and floor"
            ));
        }
        if size == 1 {
            return Ok(flow);
        }
        let at = self.emit("", Upsample { size }, &[flow.at])?;
        Ok(flow.over(at))
    }
}

/// The pixel that number `i` of an enlarged row is a copy of.
fn nearest(i: usize, scale: f64, places: &str, rounding: &str) -> Option<usize> {
    let x = i as f64;
    let at = match places {
        "asymmetric" => x / scale,
        "half_pixel" | "pytorch_half_pixel" => (x + 0.5) / scale - 0.5,
        _ => return None,
    };
    let pixel = match rounding {
        "floor" => at.floor(),
        "ceil" => at.ceil(),
        "round_prefer_floor" => (at - 0.5).ceil(),
        "round_prefer_ceil" => (at + 0.5).floor(),
        _ => return None,
    };
    Some(pixel.max(0.0) as usize)
}

fn sides_text(sides: &[i64]) -> String {
    let each: Vec<String> = sides
        .iter()
        .map(|side| match *side {
            BATCH => "images".to_owned(),
            side => side.to_string(),
        })
        .collect();
    format!("({})", each.join(", "))
}
