//! What each operator becomes: which one it is, and those of every number by itself.

use std::rc::Rc;

use super::constant::{BATCH, Constant, axis_of};
use super::flow::{Affine, Axis, Flow};
use super::{Importer, Known, Misfit, sides_of};
use crate::onnx::read::{Node, Setting};
use crate::onnx::shown;
use crate::op::{Activation, Add, Concat, Dropout};

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
                let flow = image(first_flow(inputs)?)?;
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
        if slope == 0.0 {
            return self.activation(node, &first_flow(inputs)?, Activation::RELU);
        }
        if !(slope > 0.0 && slope < 1.0) {
            return Err(format!(
                "a slope of {slope}: here it is a power of two below one, which integers shift by"
            ));
        }
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
        if let [flow] = &flows[..] {
            return Ok(flow.clone());
        }
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
        let first = flows.first().ok_or("it joins nothing")?.clone();
        if flows.len() == 1 {
            return Ok(first);
        }
        let rank = sides_of(&first, &self.shapes[first.at]).len();
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
pub(super) fn number(inputs: &[Input], at: usize) -> Option<f64> {
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

pub(super) fn ints(node: &Node<'_>, name: &str) -> Result<Option<Vec<i64>>, Misfit> {
    match setting(node, name) {
        None => Ok(None),
        Some(Setting::Ints(values)) => Ok(Some(values.clone())),
        Some(_) => Err(format!("{name} is no row of whole numbers")),
    }
}

pub(super) fn word(node: &Node<'_>, name: &str, usual: &str) -> Result<String, Misfit> {
    match setting(node, name) {
        None => Ok(usual.to_owned()),
        Some(Setting::Word(bytes)) => Ok(shown(&String::from_utf8_lossy(bytes))),
        Some(_) => Err(format!("{name} is no word")),
    }
}
