//! What each operator becomes, but for those with weights.

use std::rc::Rc;

use super::constant::{BATCH, Constant, axis_of, common_shape};
use super::flow::{Affine, Axis, Flow};
use super::{Importer, Known, Misfit, sides_of};
use crate::onnx::read::{Node, Numbers, Setting};
use crate::onnx::shown;
use crate::op::{
    Activation, Add, AveragePool, Concat, Dropout, GlobalAveragePool, MaxPool, Op, Pair, Upsample,
    WindowShape,
};

/// Settings of windows over an image.
pub(super) struct Window {
    pub size: [usize; 2],
    pub stride: [usize; 2],
    /// Above, left, below, right.
    pub pads: [usize; 4],
}

/// An input that is left away, a constant or a flow.
pub(super) type Input = Option<Known>;

/// Words for operators that are often met and never read, with what to do.
const KNOWN_MISFITS: &[(&[&str], &str)] = &[
    (
        &[
            "Sigmoid",
            "Tanh",
            "HardSigmoid",
            "HardSwish",
            "Gelu",
            "Elu",
            "Selu",
            "Erf",
            "Softplus",
            "Mish",
            "PRelu",
            "Swish",
        ],
        "activations here are ReLU, ReLU6 and leaky ReLU, which integers compute by shifts. Train the network with one of those",
    ),
    (
        &["ConvTranspose"],
        "upsample by nearest neighbours and convolve (torch.nn.Upsample, then torch.nn.Conv2d) instead",
    ),
    (
        &[
            "LSTM",
            "GRU",
            "RNN",
            "Attention",
            "MultiHeadAttention",
            "LayerNormalization",
            "GroupNormalization",
            "InstanceNormalization",
        ],
        "networks here are convolutions, dense layers, batch normalisations and pools",
    ),
    (
        &[
            "QuantizeLinear",
            "DequantizeLinear",
            "QLinearConv",
            "ConvInteger",
            "QLinearMatMul",
            "MatMulInteger",
            "DynamicQuantizeLinear",
        ],
        "the network is quantised already. Export the float network that it was made from",
    ),
];

impl Importer<'_, '_> {
    /// What a node gives.
    pub(super) fn translate(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Known, Misfit> {
        if let Some(constant) = self.folded(node, inputs)? {
            return Ok(Known::Constant(Rc::new(constant)));
        }
        let flows = inputs.iter().filter_map(|input| match input {
            Some(Known::Flow(flow)) => Some(flow),
            _ => None,
        });
        if let Some(end) = flows.clone().find_map(|flow| flow.end.as_ref()) {
            return Err(format!(
                "it reads what {end} gives; that is left away at the end of a network, and not read within one"
            ));
        }
        let takes_pads = matches!(
            node.kind.as_str(),
            "Conv" | "AveragePool" | "Pad" | "Identity"
        );
        if !takes_pads && flows.clone().any(|flow| flow.pads != [0; 4]) {
            return Err(
                "it reads what a Pad gives: pads are read before convolutions and average pools alone"
                    .to_owned(),
            );
        }
        if let Some((_, advice)) = KNOWN_MISFITS
            .iter()
            .find(|(kinds, _)| kinds.contains(&node.kind.as_str()))
        {
            return Err((*advice).to_owned());
        }
        let flow = match node.kind.as_str() {
            "Identity" | "CastLike" => first_flow(inputs)?,
            "Cast" => match int(node, "to", 1)? {
                1 | 10 | 11 | 16 => first_flow(inputs)?,
                _ => return Err("numbers of an image are cast to whole ones".to_owned()),
            },
            "Dropout" => self.dropout(node, inputs)?,
            "Conv" => self.convolution(node, inputs)?,
            "Gemm" => self.gemm(node, inputs)?,
            "MatMul" => self.matmul(node, inputs)?,
            "BatchNormalization" => self.normalisation(node, inputs)?,
            "Relu" => self.activation(node, &first_flow(inputs)?, Activation::RELU)?,
            "LeakyRelu" => self.leaky(node, inputs)?,
            "Clip" => self.clip(node, inputs)?,
            "Add" | "Sub" | "Mul" | "Div" | "Sum" => self.arithmetic(node, inputs)?,
            "Neg" => {
                let flow = first_flow(inputs)?;
                let channels = self.shapes[flow.at].channels;
                self.with(flow, &Affine::scale(channels, -1.0))
            }
            "Concat" => self.concat(node, inputs)?,
            "MaxPool" => self.max_pool(node, inputs)?,
            "AveragePool" => self.average_pool(node, inputs)?,
            "GlobalAveragePool" | "GlobalMaxPool" => {
                let flow = first_flow(inputs)?;
                self.over_axes(node, &flow, &[Axis::Row, Axis::Column], true)?
            }
            "ReduceMean" | "ReduceMax" => self.reduce(node, inputs)?,
            "Flatten" => {
                let flow = first_flow(inputs)?;
                let rank = sides_of(&flow, &self.shapes[flow.at]).len();
                match int(node, "axis", 1)? {
                    axis if axis_of(axis, rank.max(2)) == Ok(1) => {
                        flow.flattened(&self.shapes[flow.at])
                    }
                    axis => {
                        return Err(format!(
                            "axis {axis}: images stay apart here, so it must be 1"
                        ));
                    }
                }
            }
            "Reshape" => self.reshape(node, inputs)?,
            "Squeeze" | "Unsqueeze" => self.squeeze(node, inputs)?,
            "Transpose" => self.transpose(node, inputs)?,
            "Pad" => self.pad(node, inputs)?,
            "Resize" | "Upsample" => self.upsample(node, inputs)?,
            "Softmax" | "LogSoftmax" => Flow {
                end: Some(node.kind.clone()),
                ..first_flow(inputs)?
            },
            _ => {
                return Err(
                    "this operator is not read. docs/ONNX.md lists those that are".to_owned(),
                );
            }
        };
        Ok(Known::Flow(flow))
    }

    /// What can be computed without an image.
    fn folded(&self, node: &Node<'_>, inputs: &[Input]) -> Result<Option<Constant>, Misfit> {
        let kind = node.kind.as_str();
        if kind == "Shape" {
            let sides = match inputs.first() {
                Some(Some(Known::Flow(flow))) => sides_of(flow, &self.shapes[flow.at]),
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

    fn slice(&self, node: &Node<'_>, known: &[&Constant]) -> Result<Constant, Misfit> {
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

    fn dropout(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let flow = self.settled(&first_flow(inputs)?, &node.kind)?;
        let ratio = match (setting(node, "ratio"), number(inputs, 1)) {
            (Some(Setting::Float(ratio)), _) => f64::from(*ratio),
            (_, Some(ratio)) => ratio,
            _ => 0.5,
        };
        if !(0.0..1.0).contains(&ratio) || ratio == 0.0 {
            return Ok(flow);
        }
        // As people write it: 0.2, not the f32 next to it.
        let ratio = (ratio as f32).to_string().parse().unwrap_or(ratio);
        let at = self.emit("", Dropout { probability: ratio }, &[flow.at])?;
        Ok(flow.over(at))
    }

    fn activation(
        &mut self,
        node: &Node<'_>,
        flow: &Flow,
        function: Activation,
    ) -> Result<Flow, Misfit> {
        let affine = flow.affine_for(self.shapes[flow.at].channels);
        // A positive factor commutes with a function that has straight lines on both sides of zero.
        let commutes = function.ceiling().is_none() && affine.is_scale() && affine.is_positive();
        let flow = match commutes {
            true => flow.clone(),
            false => self.settled(flow, &node.kind)?,
        };
        let at = self.emit("", function, &[flow.at])?;
        Ok(flow.over(at))
    }

    fn leaky(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let slope = float(node, "alpha", 0.01)?;
        let places = -f64::from(slope).log2();
        let shift = places.round().clamp(1.0, 15.0);
        if (places - shift).abs() > 1e-6 {
            return Err(format!(
                "a slope of {slope}: here it is a power of two, which integers shift by. The nearest is {}: train the \
                 network with that",
                (-shift).exp2()
            ));
        }
        self.activation(node, &first_flow(inputs)?, Activation::leaky(shift as u32))
    }

    fn clip(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let limit = |name: &str, at: usize, open: f64| -> Result<f64, Misfit> {
            match (setting(node, name), inputs.get(at)) {
                (Some(Setting::Float(limit)), _) => Ok(f64::from(*limit)),
                (_, Some(Some(_))) => {
                    number(inputs, at).ok_or("its limits are no constants".into())
                }
                _ => Ok(open),
            }
        };
        let low = limit("min", 1, f64::NEG_INFINITY)?;
        let high = limit("max", 2, f64::INFINITY)?;
        let open = f64::from(f32::MAX);
        let flow = first_flow(inputs)?;
        match (low, high) {
            (0.0, 6.0) => self.activation(node, &flow, Activation::RELU6),
            (0.0, high) if high >= open => self.activation(node, &flow, Activation::RELU),
            (low, high) if low <= -open && high >= open => Ok(flow),
            _ => Err(format!(
                "limits {low} and {high}: here they are 0 and 6 (ReLU6), or 0 alone (ReLU)"
            )),
        }
    }

    /// Sums of flows, and calculations with a constant for all or for each channel.
    fn arithmetic(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let kind = node.kind.as_str();
        let all: Option<Vec<&Known>> = inputs.iter().map(Option::as_ref).collect();
        let all = all.ok_or("an input is missing")?;
        let (flow, constant, turned) = match all[..] {
            [Known::Flow(flow), Known::Constant(constant)] => (flow, constant, false),
            [Known::Constant(constant), Known::Flow(flow)] => (flow, constant, true),
            [_, ..] if matches!(kind, "Add" | "Sum") => {
                let flows: Option<Vec<Flow>> = all
                    .iter()
                    .map(|known| match known {
                        Known::Flow(flow) => Some(flow.clone()),
                        Known::Constant(_) => None,
                    })
                    .collect();
                return self.sum(node, flows.ok_or("a sum of several with a constant")?);
            }
            _ => {
                return Err(match kind {
                    "Mul" => "a product of two activations (a gate): integers here only shift and add, so there is none"
                        .to_owned(),
                    _ => "of two values that both depend on the image: only sums are read".to_owned(),
                });
            }
        };
        let values = self.by_channel(flow, constant)?;
        let zeros = vec![0.0; values.len()];
        let ones = vec![1.0; values.len()];
        let negative = |values: &[f64]| values.iter().map(|v| -v).collect::<Vec<f64>>();
        let affine = match (kind, turned) {
            ("Add" | "Sum", _) => Affine {
                factors: ones,
                offsets: values,
            },
            ("Sub", false) => Affine {
                factors: ones,
                offsets: negative(&values),
            },
            ("Sub", true) => Affine {
                factors: negative(&ones),
                offsets: values,
            },
            ("Mul", _) => Affine {
                factors: values,
                offsets: zeros,
            },
            ("Div", false) => Affine {
                factors: values.iter().map(|v| 1.0 / v).collect(),
                offsets: zeros,
            },
            _ => return Err("a constant divided by an activation".to_owned()),
        };
        Ok(self.with(flow.clone(), &affine))
    }

    /// A constant as one number for each channel of a flow.
    fn by_channel(&self, flow: &Flow, constant: &Constant) -> Result<Vec<f64>, Misfit> {
        let shape = self.shapes[flow.at];
        if let Some(number) = constant.as_number() {
            return Ok(vec![number; shape.channels]);
        }
        let mut sides: Vec<usize> = sides_of(flow, &shape)
            .into_iter()
            .map(|side| if side == BATCH { 1 } else { side as usize })
            .collect();
        // Leading axes of one element spread over nothing.
        while sides.len() < constant.shape.len() {
            sides.insert(0, 1);
        }
        let spread = constant.spread_over(&sides)?.to_floats();
        let mut values = vec![None; shape.channels];
        for (place, value) in flow.numbers(&shape).into_iter().zip(spread) {
            let channel = &mut values[place % shape.channels];
            if channel.is_some_and(|other| other != value) {
                return Err(format!(
                    "a constant of shape {:?} that differs from pixel to pixel: here it may differ from channel to channel",
                    constant.shape
                ));
            }
            *channel = Some(value);
        }
        Ok(values
            .into_iter()
            .map(|v| f64::from(v.unwrap_or(1.0)))
            .collect())
    }

    fn sum(&mut self, node: &Node<'_>, flows: Vec<Flow>) -> Result<Flow, Misfit> {
        let first = sides_of(&flows[0], &self.shapes[flows[0].at]);
        if flows
            .iter()
            .any(|flow| sides_of(flow, &self.shapes[flow.at]) != first)
        {
            return Err("a sum of values of different shapes".to_owned());
        }
        let same = flows
            .iter()
            .all(|flow| flow.affine == flows[0].affine && flow.axes == flows[0].axes);
        let scale = flows[0].affine.as_ref().is_none_or(Affine::is_scale);
        let mut settled = Vec::new();
        for flow in &flows {
            settled.push(match same && scale {
                true => flow.clone(),
                false => self.settled(flow, &node.kind)?,
            });
        }
        let axes = &settled[0].axes;
        let orders: Vec<Vec<usize>> = settled
            .iter()
            .map(|flow| flow.numbers(&self.shapes[flow.at]))
            .collect();
        if settled.iter().any(|flow| flow.axes != *axes) || orders.iter().any(|o| *o != orders[0]) {
            return Err("a sum of values with different orders of axes".to_owned());
        }
        let values: Vec<usize> = settled.iter().map(|flow| flow.at).collect();
        let at = self.emit("", Add {}, &values)?;
        Ok(settled[0].over(at))
    }

    fn concat(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let mut flows = Vec::new();
        for input in inputs.iter().flatten() {
            match input {
                Known::Flow(flow) => flows.push(flow.clone()),
                Known::Constant(_) => return Err("constants beside activations".to_owned()),
            }
        }
        if flows.len() == 1 {
            return Ok(flows.remove(0));
        }
        let rank = sides_of(&flows[0], &self.shapes[flows[0].at]).len();
        let axis = axis_of(int(node, "axis", 1)?, rank)?;
        if flows.iter().any(Flow::is_flat) {
            return Err(
                "flattened images are joined: join the images, or pool them to one pixel before"
                    .to_owned(),
            );
        }
        let axes = flows[0].axes.clone();
        if axes.get(axis) != Some(&Axis::Channel) || flows.iter().any(|flow| flow.axes != axes) {
            return Err(format!("along axis {axis}: only channels are joined"));
        }
        // A factor for each channel can wait until the next layer; so can offsets.
        let mut affine = Affine::none(0);
        let pending = flows.iter().any(|flow| flow.affine.is_some());
        for flow in &flows {
            let own = flow.affine_for(self.shapes[flow.at].channels);
            affine.factors.extend(own.factors);
            affine.offsets.extend(own.offsets);
        }
        let values: Vec<usize> = flows.iter().map(|flow| flow.at).collect();
        let at = self.emit("", Concat {}, &values)?;
        Ok(Flow {
            affine: pending.then_some(affine),
            ..flows[0].over(at)
        })
    }

    fn max_pool(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let flow = image(first_flow(inputs)?)?;
        let window = self.window(node, &flow, None)?;
        self.maximum(node, &flow, &window)
    }

    fn maximum(&mut self, node: &Node<'_>, flow: &Flow, window: &Window) -> Result<Flow, Misfit> {
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

    fn average_pool(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
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
    fn average(&mut self, node: &Node<'_>, flow: &Flow, window: &Window) -> Result<Flow, Misfit> {
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

    fn reduce(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
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
            _ => return Err("over all axes, images included".to_owned()),
        };
        let axes: Vec<Axis> = axes
            .iter()
            .map(|axis| axis_of(*axis, flow.axes.len()).map(|axis| flow.axes[axis]))
            .collect::<Result<_, _>>()?;
        let keep = int(node, "keepdims", 1)? != 0;
        self.over_axes(node, &flow, &axes, keep)
    }

    /// The mean or the largest over rows, columns or both.
    fn over_axes(
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

    fn reshape(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
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
    fn retarget(&self, flow: Flow, wanted: &[i64]) -> Result<Flow, Misfit> {
        let shape = self.shapes[flow.at];
        let old = sides_of(&flow, &shape);
        if old == wanted {
            return Ok(flow);
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

    fn squeeze(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
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

    fn transpose(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
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
            (_, Some(0)) | (false, _) if !flow.is_flat() => Ok(Flow {
                axes: order.iter().map(|axis| flow.axes[*axis]).collect(),
                ..flow
            }),
            (true, Some(0)) => Ok(flow),
            _ => Err("images change places with numbers".to_owned()),
        }
    }

    fn pad(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
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
                let pad = usize::try_from(pad).ok().filter(|pad| *pad < 1 << 14);
                flow.pads[at] += pad.ok_or("a pad that cuts off, or is too large")?;
            }
        }
        Ok(flow)
    }

    fn upsample(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
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

/// Zeros that are the same on opposite sides.
fn even(pads: [usize; 4]) -> Result<[usize; 2], Misfit> {
    match pads[0] == pads[2] && pads[1] == pads[3] {
        true => Ok([pads[0], pads[1]]),
        false => Err(format!(
            "pads {pads:?} (above, left, below, right): those of a pool are the same on opposite sides here"
        )),
    }
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

/// The first input, which depends on the image.
pub(super) fn first_flow(inputs: &[Input]) -> Result<Flow, Misfit> {
    match inputs.first() {
        Some(Some(Known::Flow(flow))) => Ok(flow.clone()),
        _ => Err("its first input does not depend on the image".to_owned()),
    }
}

/// A flow that is an image, with all its axes.
pub(super) fn image(flow: Flow) -> Result<Flow, Misfit> {
    use Axis::{Batch, Channel, Column, Row};
    match flow.is_flat() || flow.axes != [Batch, Channel, Row, Column] {
        false => Ok(flow),
        true => {
            Err("it reads images (number, channels, rows, columns), and this is none".to_owned())
        }
    }
}

/// A constant input that is one number.
fn number(inputs: &[Input], at: usize) -> Option<f64> {
    match inputs.get(at) {
        Some(Some(Known::Constant(constant))) => constant.as_number(),
        _ => None,
    }
}

pub(super) fn setting<'n, 'd>(node: &'n Node<'d>, name: &str) -> Option<&'n Setting<'d>> {
    let found = node.settings.iter().find(|(own, _)| own == name);
    found.map(|(_, setting)| setting)
}

pub(super) fn int(node: &Node<'_>, name: &str, usual: i64) -> Result<i64, Misfit> {
    match setting(node, name) {
        None => Ok(usual),
        Some(Setting::Int(value)) => Ok(*value),
        Some(_) => Err(format!("{name} is no whole number")),
    }
}

pub(super) fn float(node: &Node<'_>, name: &str, usual: f32) -> Result<f32, Misfit> {
    match setting(node, name) {
        None => Ok(usual),
        Some(Setting::Float(value)) => Ok(*value),
        Some(_) => Err(format!("{name} is no float")),
    }
}

fn ints(node: &Node<'_>, name: &str) -> Result<Option<Vec<i64>>, Misfit> {
    match setting(node, name) {
        None => Ok(None),
        Some(Setting::Ints(values)) => Ok(Some(values.clone())),
        Some(_) => Err(format!("{name} is no row of whole numbers")),
    }
}

fn word(node: &Node<'_>, name: &str, usual: &str) -> Result<String, Misfit> {
    match setting(node, name) {
        None => Ok(usual.to_owned()),
        Some(Setting::Word(bytes)) => Ok(shown(&String::from_utf8_lossy(bytes))),
        Some(_) => Err(format!("{name} is no word")),
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
