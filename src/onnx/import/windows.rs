//! Operators over windows of an image: pools, and the settings that convolutions share with them.

use super::constant::axis_of;
use super::flow::{Affine, Axis, Flow};
use super::operators::{Input, first_flow, image, int, ints, word};
use super::{Importer, Known, Misfit};
use crate::onnx::read::Node;
use crate::op::{AveragePool, GlobalAveragePool, MaxPool, Op, Pair, WindowShape};

/// Settings of windows over an image.
pub(super) struct Window {
    pub size: [usize; 2],
    pub stride: [usize; 2],
    /// Above, left, below, right.
    pub pads: [usize; 4],
}

impl Importer<'_, '_> {
    pub(super) fn max_pool(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let flow = image(first_flow(inputs)?)?;
        let window = self.window(node, &flow, None)?;
        self.maximum(node, &flow, &window)
    }

    pub(super) fn maximum(
        &mut self,
        node: &Node<'_>,
        flow: &Flow,
        window: &Window,
    ) -> Result<Flow, Misfit> {
        if (window.size, window.stride, window.pads) == ([1, 1], [1, 1], [0; 4]) {
            return Ok(flow.clone());
        }
        let affine = flow.affine_for(self.shapes[flow.at].channels);
        let flow = match affine.is_positive() {
            true => flow.clone(),
            false => self.settled(flow, &node.kind)?,
        };
        let padding = even(window.pads)?;
        let at = self.emit(
            "",
            MaxPool {
                size: Pair(window.size),
                stride: (window.stride != window.size).then_some(Pair(window.stride)),
                padding: Pair(padding),
            },
            &[flow.at],
        )?;
        Ok(flow.over(at))
    }

    pub(super) fn average_pool(
        &mut self,
        node: &Node<'_>,
        inputs: &[Input],
    ) -> Result<Flow, Misfit> {
        let flow = image(first_flow(inputs)?)?;
        let mut window = self.window(node, &flow, None)?;
        let counts = int(node, "count_include_pad", 0)? != 0;
        if window.pads != [0; 4] && !counts {
            return Err(
                "a mean that leaves out the pixels of the padding, so that its divisor differs at the edges. Export it with \
                 count_include_pad=True"
                    .to_owned(),
            );
        }
        if flow.pads != [0; 4] {
            for (own, before) in window.pads.iter_mut().zip(flow.pads) {
                *own += before;
            }
        }
        let flow = Flow {
            pads: [0; 4],
            ..flow
        };
        if (window.size, window.stride, window.pads) == ([1, 1], [1, 1], [0; 4]) {
            return Ok(flow);
        }
        self.average(node, &flow, &window)
    }

    /// The mean of windows: here sums times a power of two, so the rest of the factor waits for the next layer.
    pub(super) fn average(
        &mut self,
        node: &Node<'_>,
        flow: &Flow,
        window: &Window,
    ) -> Result<Flow, Misfit> {
        let affine = flow.affine_for(self.shapes[flow.at].channels);
        let flow = match affine.is_scale() || window.pads == [0; 4] {
            true => flow.clone(),
            false => self.settled(flow, &node.kind)?,
        };
        let shape = self.shapes[flow.at];
        let padding = even(window.pads)?;
        let whole = window.size == [shape.height, shape.width] && padding == [0; 2];
        let op: Op = match whole {
            true => GlobalAveragePool {}.into(),
            false => AveragePool {
                size: Pair(window.size),
                stride: (window.stride != window.size).then_some(Pair(window.stride)),
                padding: Pair(padding),
            }
            .into(),
        };
        let at = self.emit("", op, &[flow.at])?;
        let numbers = window.size[0] * window.size[1];
        let geometry = WindowShape {
            batch: 1,
            input: [shape.height, shape.width],
            channels: shape.channels,
            window: window.size,
            stride: window.stride,
            padding,
        };
        let missing = 1.0
            / (numbers as f64 * f64::from(crate::op::average_pool::operation::factor(&geometry)));
        let old = flow.affine_for(shape.channels);
        // The offset of a mean is that of its numbers; the sum here has it `missing` times too small as well.
        let affine = Affine {
            factors: old.factors.iter().map(|f| f * missing).collect(),
            offsets: old.offsets,
        };
        Ok(Flow {
            affine: (!affine.is_none()).then_some(affine),
            ..flow.over(at)
        })
    }

    pub(super) fn reduce(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let flow = first_flow(inputs)?;
        if flow.is_flat() {
            return Err("over a flattened value: pool before the flattening".to_owned());
        }
        let axes = match (ints(node, "axes")?, inputs.get(1)) {
            (Some(axes), _) => axes,
            (None, Some(Some(Known::Constant(axes)))) => axes
                .as_whole()
                .ok_or("axes that are no whole numbers")?
                .to_vec(),
            _ => Vec::new(),
        };
        if axes.is_empty() {
            return match int(node, "noop_with_empty_axes", 0)? {
                0 => Err("over all axes, images included".to_owned()),
                _ => Ok(flow),
            };
        }
        let axes: Vec<Axis> = axes
            .iter()
            .map(|axis| axis_of(*axis, flow.axes.len()).map(|axis| flow.axes[axis]))
            .collect::<Result<_, _>>()?;
        let keep = int(node, "keepdims", 1)? != 0;
        self.over_axes(node, &flow, &axes, keep)
    }

    /// The mean or the largest over rows, columns or both.
    pub(super) fn over_axes(
        &mut self,
        node: &Node<'_>,
        flow: &Flow,
        axes: &[Axis],
        keep: bool,
    ) -> Result<Flow, Misfit> {
        if axes
            .iter()
            .any(|axis| matches!(axis, Axis::Batch | Axis::Channel))
        {
            return Err("over channels or images: only rows and columns are pooled".to_owned());
        }
        let shape = self.shapes[flow.at];
        let side = |axis: Axis| {
            if axes.contains(&axis) {
                axis.side(&shape)
            } else {
                1
            }
        };
        let window = Window {
            size: [side(Axis::Row), side(Axis::Column)],
            stride: [side(Axis::Row), side(Axis::Column)],
            pads: [0; 4],
        };
        let mut flow = match window.size {
            [1, 1] => flow.clone(),
            _ if node.kind.ends_with("Mean") || node.kind == "GlobalAveragePool" => {
                self.average(node, flow, &window)?
            }
            _ => self.maximum(node, flow, &window)?,
        };
        if !keep {
            flow.axes.retain(|axis| !axes.contains(axis));
        }
        Ok(flow)
    }

    /// Settings of the windows of a node; `size` is that of the kernel, where no setting says it.
    pub(super) fn window(
        &self,
        node: &Node<'_>,
        flow: &Flow,
        size: Option<[usize; 2]>,
    ) -> Result<Window, Misfit> {
        let shape = self.shapes[flow.at];
        let sizes = |name: &str, usual: Option<Vec<i64>>| -> Result<Vec<usize>, Misfit> {
            let values = ints(node, name)?
                .or(usual)
                .ok_or_else(|| format!("{name} is missing"))?;
            values
                .iter()
                .map(|value| {
                    let fits = usize::try_from(*value)
                        .ok()
                        .filter(|value| *value < 1 << 14);
                    fits.ok_or_else(|| format!("{name} {values:?}"))
                })
                .collect()
        };
        let two = |name: &str, usual: Option<Vec<i64>>| -> Result<[usize; 2], Misfit> {
            let values = sizes(name, usual)?;
            <[usize; 2]>::try_from(values)
                .map_err(|v| format!("{name} {v:?}: images have two axes, rows and columns"))
        };
        let usual = size.map(|size| size.map(|side| side as i64).to_vec());
        let size = two("kernel_shape", usual)?;
        let stride = two("strides", Some(vec![1, 1]))?;
        let dilation = two("dilations", Some(vec![1, 1]))?;
        if dilation != [1, 1] {
            return Err(format!(
                "dilations {dilation:?}: only kernels without gaps are read"
            ));
        }
        if size.contains(&0) || stride.contains(&0) {
            return Err("a kernel or a stride of 0".to_owned());
        }
        let input = [
            shape.height + flow.pads[0] + flow.pads[2],
            shape.width + flow.pads[1] + flow.pads[3],
        ];
        let pads = match word(node, "auto_pad", "NOTSET")?.as_str() {
            "NOTSET" => {
                let pads = sizes("pads", Some(vec![0; 4]))?;
                <[usize; 4]>::try_from(pads)
                    .map_err(|v| format!("pads {v:?}: images have four sides"))?
            }
            "VALID" => [0; 4],
            same @ ("SAME_UPPER" | "SAME_LOWER") => {
                let mut pads = [0; 4];
                for axis in 0..2 {
                    let windows = input[axis].div_ceil(stride[axis]);
                    let all =
                        ((windows - 1) * stride[axis] + size[axis]).saturating_sub(input[axis]);
                    let less = all / 2;
                    let ends = [less, all - less];
                    pads[axis] = ends[usize::from(same == "SAME_LOWER")];
                    pads[axis + 2] = ends[usize::from(same == "SAME_UPPER")];
                }
                pads
            }
            other => return Err(format!("auto_pad '{other}'")),
        };
        if int(node, "ceil_mode", 0)? != 0 {
            for axis in 0..2 {
                let padded = input[axis] + pads[axis] + pads[axis + 2];
                let rest = padded.saturating_sub(size[axis]) % stride[axis];
                if rest != 0 {
                    return Err(
                        "ceil_mode adds windows that reach beyond the padded image. Export it with ceil_mode=False, or with \
                         images of a size that its windows divide"
                            .to_owned(),
                    );
                }
            }
        }
        Ok(Window { size, stride, pads })
    }
}

/// Zeros that are the same on opposite sides.
fn even(pads: [usize; 4]) -> Result<[usize; 2], Misfit> {
    match pads[0] == pads[2] && pads[1] == pads[3] {
        true => Ok([pads[0], pads[1]]),
        false => Err(format!(
            "pads {pads:?} (above, left, below, right): those of a pool are the same on opposite sides here"
        )),
    }
}
