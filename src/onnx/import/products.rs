//! Operators with weights, and what is folded into those.

use std::borrow::Cow;

use super::constant::checked_len;
use super::flow::{Affine, Axis, Flow};
use super::operators::{Input, first_flow, float, image, int};
use super::{Importer, Known, Layer, Misfit, NormValues};
use crate::graph::{INPUT, Scaling, Value};
use crate::onnx::read::Node;
use crate::onnx::shown;
use crate::op::{Conv, Dense, NORM_EPSILON, Norm, Op, Pair};

/// A constant input with this number of axes: its shape and numbers.
fn weights<'i>(
    inputs: &'i [Input],
    at: usize,
    axes: usize,
    what: &str,
) -> Result<(Vec<usize>, Cow<'i, [f32]>), Misfit> {
    let Some(Some(Known::Constant(constant))) = inputs.get(at) else {
        return Err(format!("its {what} are no constants of the file"));
    };
    if constant.shape.len() != axes {
        return Err(format!(
            "its {what} have the shape {:?}, and {axes} axes are read",
            constant.shape
        ));
    }
    if constant.len() == 0 {
        return Err(format!(
            "its {what} of shape {:?} are no numbers at all",
            constant.shape
        ));
    }
    Ok((constant.shape.clone(), constant.floats()))
}

/// The path of a layer as its weights name it, else as the node does.
fn path(node: &Node<'_>, at: usize) -> String {
    let tensor = node.inputs.get(at).map_or("", String::as_str);
    let ends = [
        ".weight", ".gamma", ".kernel", "_weight", "/kernel", "/gamma",
    ];
    if let Some(path) = ends.iter().find_map(|end| tensor.strip_suffix(end))
        && !path.is_empty()
        && !tensor.contains("::")
    {
        return path.to_owned();
    }
    // Scopes repeat what they are in: /layer1/layer1.0/conv1/Conv.
    let mut parts: Vec<&str> = node
        .name
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    parts.pop();
    let mut path: Vec<&str> = Vec::new();
    for part in parts {
        let longer = path.last().is_some_and(|last| {
            part.strip_prefix(last)
                .is_some_and(|rest| rest.starts_with('.'))
        });
        if longer {
            path.pop();
        }
        path.push(part);
    }
    path.join(".")
}

impl Importer<'_, '_> {
    pub(super) fn convolution(
        &mut self,
        node: &Node<'_>,
        inputs: &[Input],
    ) -> Result<Flow, Misfit> {
        let flow = image(first_flow(inputs)?)?;
        let (sides, theirs) = weights(inputs, 1, 4, "weights")?;
        let [outputs, per_group, rows, columns] = sides[..] else {
            return Err("weights of another shape".to_owned());
        };
        let window = self.window(node, &flow, Some([rows, columns]))?;
        if window.size != [rows, columns] {
            return Err(format!(
                "kernel_shape {:?} and weights of {rows} x {columns}",
                window.size
            ));
        }
        if window.stride[0] != window.stride[1] {
            return Err(format!(
                "strides {:?}: here they are the same along rows and columns",
                window.stride
            ));
        }
        let groups = usize::try_from(int(node, "group", 1)?).unwrap_or(0);
        let channels = self.shapes[flow.at].channels;
        if groups == 0
            || per_group.checked_mul(groups) != Some(channels)
            || !outputs.is_multiple_of(groups)
        {
            return Err(format!(
                "weights of {outputs} outputs over {per_group} channels each, in {groups} groups, and {channels} channels"
            ));
        }
        let mut bias = self.bias(inputs, outputs)?;
        let stored = |name: &String| self.file.tensors.iter().any(|tensor| tensor.name == *name);
        if bias.iter().all(|b| *b == 0.0) && !node.inputs.get(2).is_some_and(stored) {
            // Zeros that the exporter computes where there is no bias.
            bias.clear();
        }
        let mut pads = window.pads;
        for (own, before) in pads.iter_mut().zip(flow.pads) {
            *own += before;
        }
        // Uneven zeros: the larger on both sides, and a kernel with as many zeros more on the other.
        let padding = [pads[0].max(pads[2]), pads[1].max(pads[3])];
        let before = [padding[0] - pads[0], padding[1] - pads[1]];
        let kernel = [
            rows + before[0] + padding[0] - pads[2],
            columns + before[1] + padding[1] - pads[3],
        ];
        if kernel != [rows, columns] {
            self.notes.push(format!(
                "node '{}': its uneven pads became a kernel of {} x {} with zeros at the edge",
                shown(&super::title(node)),
                kernel[0],
                kernel[1]
            ));
        }
        let padded = padding != [0; 2];
        let flow = match padded {
            true => self.settled_offsets(&flow, &node.kind)?,
            false => flow,
        };
        let affine = flow.affine_for(channels);
        let sides = [outputs, kernel[0], kernel[1], per_group];
        let count = checked_len(&sides).map_err(|_| {
            format!(
                "with its pads it becomes a kernel of {} x {} for {per_group} channels and {outputs} outputs, which is too large",
                kernel[0], kernel[1]
            )
        })?;
        let mut ours = vec![0.0; count];
        for output in 0..outputs {
            let first = output / (outputs / groups) * per_group;
            let mut moved = 0.0;
            for input in 0..per_group {
                let factor = affine.factors[first + input];
                for row in 0..rows {
                    for column in 0..columns {
                        let from = ((output * per_group + input) * rows + row) * columns + column;
                        let tap = (row + before[0]) * kernel[1] + column + before[1];
                        let to = (output * kernel[0] * kernel[1] + tap) * per_group + input;
                        let weight = f64::from(theirs[from]);
                        ours[to] = (weight * factor) as f32;
                        moved += weight * affine.offsets[first + input];
                    }
                }
            }
            if moved != 0.0 {
                bias.resize(outputs, 0.0);
                bias[output] = (f64::from(bias[output]) + moved) as f32;
            }
        }
        let op = Conv {
            outputs,
            kernel: Pair(kernel),
            stride: window.stride[0],
            padding: Pair(padding),
            groups,
            bias: !bias.is_empty(),
            quantise: true,
        };
        let learned = Layer {
            weights: ours,
            bias,
        };
        let at = self.layer(node, op, flow.at, learned)?;
        Ok(Flow::image(at))
    }

    /// Appends an operation with its weights.
    fn layer(
        &mut self,
        node: &Node<'_>,
        op: impl Into<Op>,
        input: Value,
        learned: Layer,
    ) -> Result<Value, Misfit> {
        let at = self.emit(&path(node, 1), op, &[input])?;
        self.layers.insert(at - 1, learned);
        Ok(at)
    }

    /// The bias of a convolution; empty without one.
    fn bias(&self, inputs: &[Input], outputs: usize) -> Result<Vec<f32>, Misfit> {
        if !matches!(inputs.get(2), Some(Some(_))) {
            return Ok(Vec::new());
        }
        let (sides, bias) = weights(inputs, 2, 1, "biases")?;
        match sides == [outputs] {
            true => Ok(bias.into_owned()),
            false => Err(format!("{} biases for {outputs} outputs", bias.len())),
        }
    }

    pub(super) fn gemm(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let flow = first_flow(inputs)?;
        if int(node, "transA", 0)? != 0 {
            return Err("transA: images change places with numbers".to_owned());
        }
        let (sides, theirs) = weights(inputs, 1, 2, "weights")?;
        let alpha = f64::from(float(node, "alpha", 1.0)?);
        let beta = f64::from(float(node, "beta", 1.0)?);
        let by_output = int(node, "transB", 0)? != 0;
        let outputs = if by_output { sides[0] } else { sides[1] };
        let bias = match inputs.get(2) {
            Some(Some(Known::Constant(bias))) => {
                let spread = bias.spread_over(&[1, outputs])?.to_floats();
                spread
                    .iter()
                    .map(|b| (beta * f64::from(*b)) as f32)
                    .collect()
            }
            Some(Some(Known::Flow(_))) => {
                return Err("a bias that depends on the image".to_owned());
            }
            _ => Vec::new(),
        };
        self.dense(node, &flow, (&sides, &theirs, by_output), (alpha, bias))
    }

    pub(super) fn matmul(&mut self, node: &Node<'_>, inputs: &[Input]) -> Result<Flow, Misfit> {
        let flow = first_flow(inputs)?;
        let (sides, theirs) = weights(inputs, 1, 2, "weights")?;
        self.dense(node, &flow, (&sides, &theirs, false), (1.0, Vec::new()))
    }

    /// A dense layer over a row of numbers, whatever image that row was before.
    fn dense(
        &mut self,
        node: &Node<'_>,
        flow: &Flow,
        (sides, theirs, by_output): (&[usize], &[f32], bool),
        (alpha, mut bias): (f64, Vec<f32>),
    ) -> Result<Flow, Misfit> {
        let [outputs, numbers] = match by_output {
            true => [sides[0], sides[1]],
            false => [sides[1], sides[0]],
        };
        let shape = self.shapes[flow.at];
        let rank = super::sides_of(flow, &shape).len();
        if rank != 2 || flow.axes.first() != Some(&Axis::Batch) {
            return Err("dense layers read one row of numbers for each image".to_owned());
        }
        let order = flow.numbers(&shape);
        if order.len() != numbers {
            return Err(format!(
                "weights for {numbers} numbers, and it reads {}",
                order.len()
            ));
        }
        let affine = flow.affine_for(shape.channels);
        let mut ours = vec![0.0; theirs.len()];
        for output in 0..outputs {
            let mut moved = 0.0;
            for (number, place) in order.iter().enumerate() {
                let from = match by_output {
                    true => output * numbers + number,
                    false => number * outputs + output,
                };
                let channel = place % shape.channels;
                let weight = alpha * f64::from(theirs[from]);
                ours[output * numbers + place] = (weight * affine.factors[channel]) as f32;
                moved += weight * affine.offsets[channel];
            }
            if moved != 0.0 {
                bias.resize(outputs, 0.0);
                bias[output] = (f64::from(bias[output]) + moved) as f32;
            }
        }
        let op = Dense {
            outputs,
            bias: !bias.is_empty(),
            quantise: true,
        };
        let learned = Layer {
            weights: ours,
            bias,
        };
        let at = self.layer(node, op, flow.at, learned)?;
        Ok(Flow::new(at, vec![Axis::Batch, Axis::Channel]))
    }

    pub(super) fn normalisation(
        &mut self,
        node: &Node<'_>,
        inputs: &[Input],
    ) -> Result<Flow, Misfit> {
        let flow = first_flow(inputs)?;
        if int(node, "training_mode", 0)? != 0 || node.outputs.len() > 1 {
            return Err(
                "it takes its statistics from the batch: the network was exported while training. Call net.eval() before \
                 torch.onnx.export"
                    .to_owned(),
            );
        }
        let shape = self.shapes[flow.at];
        let order = flow.numbers(&shape);
        if flow.is_flat() && shape.pixels() != 1 {
            return Err(
                "a normalisation of a flattened image: put it before the flattening, or behind the next dense layer"
                    .to_owned(),
            );
        }
        let along = flow.is_flat() || flow.axes.get(1) == Some(&Axis::Channel);
        if !along {
            return Err("it normalises another axis than channels".to_owned());
        }
        let channels = shape.channels;
        // Where each number of theirs stands here.
        let places: Vec<usize> = match flow.is_flat() {
            true => order,
            false => (0..channels).collect(),
        };
        let part = |at: usize, what: &str| -> Result<Vec<f64>, Misfit> {
            let (_, values) = weights(inputs, at, 1, what)?;
            if values.len() != channels {
                return Err(format!("{} {what} for {channels} channels", values.len()));
            }
            let mut ours = vec![0.0; channels];
            for (place, value) in places.iter().zip(&*values) {
                ours[*place] = f64::from(*value);
            }
            Ok(ours)
        };
        let (gamma, beta) = (part(1, "factors")?, part(2, "offsets")?);
        let (mean, variance) = (part(3, "means")?, part(4, "variances")?);
        if variance.iter().any(|v| *v < 0.0) {
            return Err("a negative variance".to_owned());
        }
        let epsilon = f64::from(float(node, "epsilon", 1e-5)?);
        let affine = flow.affine_for(channels);
        let mut values = NormValues {
            gamma: Vec::new(),
            beta: beta.iter().map(|b| *b as f32).collect(),
            mean: Vec::new(),
            variance: Vec::new(),
        };
        for channel in 0..channels {
            let (factor, offset) = (affine.factors[channel], affine.offsets[channel]);
            let deviation = (variance[channel] + epsilon).sqrt();
            let whole = gamma[channel] * factor / deviation;
            let same_epsilon = epsilon as f32 == NORM_EPSILON as f32;
            if (factor, offset, same_epsilon) == (1.0, 0.0, true) {
                values.gamma.push(gamma[channel] as f32);
                values.mean.push(mean[channel] as f32);
                values.variance.push(variance[channel] as f32);
                continue;
            }
            match factor == 0.0 {
                true => {
                    // A constant channel.
                    let at = gamma[channel] * (offset - mean[channel]) / deviation;
                    values.gamma.push(0.0);
                    values.mean.push(0.0);
                    values.variance.push(1.0);
                    values.beta[channel] = (beta[channel] + at) as f32;
                }
                false => {
                    // The deviation as this program computes it, with an epsilon of its own.
                    let own = (deviation / factor).powi(2) - NORM_EPSILON;
                    let own = own.max(0.0) as f32;
                    let own_deviation = (f64::from(own) + NORM_EPSILON).sqrt();
                    values.gamma.push((whole * own_deviation) as f32);
                    values.mean.push(((mean[channel] - offset) / factor) as f32);
                    values.variance.push(own);
                }
            }
        }
        let at = self.emit(&path(node, 1), Norm {}, &[flow.at])?;
        self.norms.insert(at - 1, values);
        Ok(Flow {
            affine: None,
            ..flow.over(at)
        })
    }

    /// A flow with a factor and an offset more; folded into what comes before where that is possible.
    pub(super) fn with(&mut self, flow: Flow, affine: &Affine) -> Flow {
        let channels = self.shapes[flow.at].channels;
        let all = flow.affine_for(channels).then(affine);
        if all.is_none() || self.fold_back(flow.at, &all) {
            return Flow {
                affine: None,
                ..flow
            };
        }
        Flow {
            affine: Some(all),
            ..flow
        }
    }

    /// A flow with nothing still to be applied. What cannot be folded into the nodes before becomes a batch normalisation.
    pub(super) fn settled(&mut self, flow: &Flow, reader: &str) -> Result<Flow, Misfit> {
        let Some(affine) = &flow.affine else {
            return Ok(flow.clone());
        };
        let done = Flow {
            affine: None,
            ..flow.clone()
        };
        if self.fold_back(flow.at, affine) {
            return Ok(done);
        }
        if self.shapes[flow.at].flat {
            return Err(
                "a factor of a flattened value that cannot be folded into a layer".to_owned(),
            );
        }
        let at = self.emit("", Norm {}, &[flow.at])?;
        self.notes.push(format!(
            "a factor and an offset for each channel before {} became the batch normalisation '{}'",
            shown(reader),
            self.nodes[at - 1].name
        ));
        let factor = (1.0 + NORM_EPSILON).sqrt();
        let channels = affine.factors.len();
        self.norms.insert(
            at - 1,
            NormValues {
                gamma: affine.factors.iter().map(|f| (f * factor) as f32).collect(),
                beta: affine.offsets.iter().map(|o| *o as f32).collect(),
                mean: vec![0.0; channels],
                variance: vec![1.0; channels],
            },
        );
        Ok(done.over(at))
    }

    /// A flow without offsets: zeros that are added around it are zeros then.
    pub(super) fn settled_offsets(&mut self, flow: &Flow, reader: &str) -> Result<Flow, Misfit> {
        match flow.affine.as_ref().is_none_or(Affine::is_scale) {
            true => Ok(flow.clone()),
            false => self.settled(flow, reader),
        }
    }

    /// Whether a factor and an offset of a value could become part of what makes it.
    fn fold_back(&mut self, value: Value, affine: &Affine) -> bool {
        if self.shared[value] {
            return false;
        }
        let readers = self.nodes.iter().flat_map(|node| &node.inputs);
        if readers.filter(|read| **read == value).count() > 0 {
            return false;
        }
        self.fold_into(value, affine)
    }

    /// The same for a value that nothing else reads.
    fn fold_into(&mut self, value: Value, affine: &Affine) -> bool {
        if value == INPUT {
            return self.fold_into_scaling(affine);
        }
        let number = value - 1;
        let outputs = affine.factors.len();
        if let Some(norm) = self.norms.get_mut(&number) {
            for channel in 0..outputs {
                let (f, o) = (affine.factors[channel], affine.offsets[channel]);
                norm.gamma[channel] = (f64::from(norm.gamma[channel]) * f) as f32;
                norm.beta[channel] = (f64::from(norm.beta[channel]) * f + o) as f32;
            }
            return true;
        }
        if let Some(layer) = self.layers.get_mut(&number) {
            let each = layer.weights.len() / outputs.max(1);
            for (row, factor) in layer.weights.chunks_mut(each.max(1)).zip(&affine.factors) {
                row.iter_mut()
                    .for_each(|w| *w = (f64::from(*w) * factor) as f32);
            }
            if !affine.is_scale() {
                layer.bias.resize(outputs, 0.0);
            }
            for (channel, bias) in layer.bias.iter_mut().enumerate() {
                let (f, o) = (affine.factors[channel], affine.offsets[channel]);
                *bias = (f64::from(*bias) * f + o) as f32;
            }
            let biased = !layer.bias.is_empty();
            let node = &mut self.nodes[number];
            if let Some(changed) = node.op.operation().with_bias(biased) {
                node.op = changed;
            }
            return true;
        }
        // Through what keeps a scale, if nothing else reads what that reads.
        let node = &self.nodes[number];
        let [before] = node.inputs[..] else {
            return false;
        };
        let commutes = match &node.op {
            Op::Activation(function) => {
                function.ceiling().is_none() && affine.is_scale() && affine.is_positive()
            }
            Op::MaxPool(_) => affine.is_positive(),
            Op::AveragePool(_) | Op::GlobalAveragePool(_) => affine.is_scale(),
            Op::Dropout(_) => affine.is_scale(),
            _ => false,
        };
        let readers = self.nodes.iter().flat_map(|node| &node.inputs);
        let alone = readers.filter(|read| **read == before).count() == 1 && !self.shared[before];
        commutes && alone && before != INPUT && self.fold_into(before, affine)
    }

    /// What is done to pixels first is part of the model.
    fn fold_into_scaling(&mut self, affine: &Affine) -> bool {
        let channels = affine.factors.len();
        if channels > 3 || !affine.is_positive() {
            return false;
        }
        let mut scaling = Scaling::NONE;
        for channel in 0..3 {
            let from = channel.min(channels - 1);
            let (f, o) = (affine.factors[from], affine.offsets[from]);
            // factor (pixel - mean) / deviation + offset
            let deviation = f64::from(self.scaling.deviation[channel]) / f;
            scaling.deviation[channel] = deviation as f32;
            scaling.mean[channel] = (f64::from(self.scaling.mean[channel]) - o * deviation) as f32;
        }
        if !scaling.is_usable() {
            return false;
        }
        self.scaling = scaling;
        true
    }
}
