//! Grouped convolutions.

use crate::model::LayerParameters;
use crate::op::activation::relu_backward_apart;
use crate::op::group_conv::{
    group_conv_backward_input, group_conv_backward_weight, group_conv_forward,
};
use crate::op::record::{Backward, Binding, Forward, Gradient, Recorder, cut};
use crate::op::{GroupShape, group_conv};
use crate::op::{relu_backward, sum_partials};
use crate::recording::Recording;
use crate::tensor::Tensor;
use crate::verify::Case;

/// A grouped convolution with a ReLU in its epilogue.
pub struct Grouped {
    shape: GroupShape,
    layer: LayerParameters,
    relu: bool,
}

impl Grouped {
    /// The convolution of this geometry.
    pub fn new(shape: GroupShape, bind: &Binding<'_>) -> Self {
        Self {
            shape,
            layer: bind.weights.expect("a convolution has weights").clone(),
            relu: bind.fused.relu,
        }
    }

    fn weight(&self, arena: &Tensor) -> Tensor {
        self.layer.weight_of(arena).view(&self.shape.w())
    }
}

impl Recorder for Grouped {
    fn inputs(&self) -> Vec<Vec<usize>> {
        vec![self.shape.conv.x().to_vec()]
    }

    fn output(&self) -> Vec<usize> {
        self.shape.conv.y().to_vec()
    }

    fn ends_in_relu(&self) -> bool {
        self.relu
    }

    fn has_relu(&self) -> bool {
        self.relu
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        let w = self.weight(at.weights.arena_of(&self.layer));
        let bias = self.layer.bias_of(at.weights.floats);
        let bias = bias.unwrap_or_else(|| at.weights.zeros.clone());
        for (x, y) in at.x[0].parts().iter().zip(at.y.parts()) {
            let shape = self.shape.of_images(x);
            group_conv_forward(recording, at.label, &shape, [x, &w, &bias], self.relu, y);
        }
        None
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        let mut d_y = at.d_y.clone();
        if at.masks_own {
            let apart = at.room(&self.output());
            for ((y, d_y), d_x) in at.y.parts().iter().zip(at.d_y.parts()).zip(apart.parts()) {
                match at.d_y_shared {
                    true => relu_backward_apart(recording, at.label, [y, d_y], d_x),
                    false => relu_backward(recording, at.label, y, d_y),
                }
            }
            if at.d_y_shared {
                d_y = apart;
            }
        }
        let (x, bias) = (at.x[0].parts(), self.layer.has_bias());
        let total = self.layer.product_of(at.gradients);
        let shapes: Vec<GroupShape> = x.iter().map(|x| self.shape.of_images(x)).collect();
        let splits = || shapes.iter().map(GroupShape::weight_splits);
        let partial = match splits().sum() {
            1 => total.view(&[1, total.len()]),
            splits => Tensor::transient("partial", &[splits, total.len()]),
        };
        let pieces = x.iter().zip(d_y.parts()).zip(&shapes);
        for (((x, d_y), shape), partial) in pieces.zip(cut(&partial, splits())) {
            group_conv_backward_weight(recording, at.label, shape, d_y, x, bias, &partial);
        }
        let mut gradient = Gradient::None;
        if at.wanted[0] {
            let d_x = at.room(&self.inputs()[0]);
            let w = self.weight(at.weights.arena_of(&self.layer));
            for ((d_y, shape), d_x) in d_y.parts().iter().zip(&shapes).zip(d_x.parts()) {
                group_conv_backward_input(recording, at.label, shape, [d_y, &w], d_x);
            }
            gradient = Gradient::Own(d_x);
        }
        if splits().sum::<usize>() > 1 {
            sum_partials(recording, at.label, &partial, &total);
        }
        vec![gradient]
    }

    fn cases(&self) -> Vec<Case> {
        group_conv::cases::of_shape(self.shape).into()
    }
}
