//! Convolutions and dense layers as matrix products.

use crate::model::{LayerParameters, PartedTensor};
use crate::op::activation::relu_backward_apart;
use crate::op::record::{
    Backward, Binding, Forward, Gradient, Layout, MatrixProduct, Product, Recorder, cut,
};
use crate::op::{
    Argmax, ConvShape, Epilogue, OutputGradient, PoolShape, conv_backward_input,
    conv_backward_weight, conv_forward, max_unpool, relu_backward, sum_partials,
};
use crate::recording::Recording;
use crate::tensor::Tensor;
use crate::verify::{self, Case};

/// A convolution or dense layer that runs as one matrix product, with a ReLU and a max pool in its epilogue.
pub struct Matrix {
    /// The product: of a layer that reads rows of windows, the dense layer over them.
    shape: ConvShape,
    layout: Layout,
    layer: LayerParameters,
    relu: bool,
    pool: Option<PoolShape>,
}

impl Matrix {
    /// The product of a layer with geometry `convolution` that reads its input in `layout`.
    pub fn new(convolution: ConvShape, layout: Layout, bind: &Binding<'_>) -> Self {
        let shape = match layout {
            Layout::Padded => convolution,
            Layout::Rows(shape) | Layout::Shifts(shape) => shape.as_rows(),
        };
        let pool = bind.fused.pool.then_some(PoolShape {
            batch: bind.batch,
            input_height: bind.output.height,
            input_width: bind.output.width,
            channels: bind.output.channels,
            size: 2,
        });
        let layer = bind.weights.expect("a matrix product has weights").clone();
        Self {
            shape,
            layout,
            layer,
            relu: bind.fused.relu,
            pool,
        }
    }

    fn shifts(&self) -> Option<&ConvShape> {
        match &self.layout {
            Layout::Shifts(shape) => Some(shape),
            Layout::Padded | Layout::Rows(_) => None,
        }
    }

    /// The gradients of what the products of all micro-batches gave, behind their epilogues, spread over what
    /// a fused max pool read.
    fn spread(
        &self,
        recording: &mut Recording,
        at: &Backward<'_>,
        d_y: &PartedTensor,
    ) -> Vec<Tensor> {
        let (Some(pool), Some(argmax)) = (&self.pool, &at.kept.argmax) else {
            return d_y.parts().to_vec();
        };
        let mut spread = Vec::new();
        for (number, d_y) in d_y.parts().iter().enumerate() {
            let shape = PoolShape {
                batch: d_y.shape[0],
                ..*pool
            };
            let d_x = Tensor::transient_of("unpooled", &shape.x(), at.storages.gradients);
            max_unpool(
                recording,
                at.label,
                &shape,
                [d_y, argmax.part(number)],
                &d_x,
            );
            spread.push(d_x);
        }
        spread
    }

    /// The gradient before this layer's own ReLU, where nobody else applied it.
    fn before_relu(&self, recording: &mut Recording, at: &Backward<'_>) -> PartedTensor {
        if !at.masks_own {
            return at.d_y.clone();
        }
        if at.d_y_shared {
            let d_x = at.room(&self.output());
            for ((y, d_y), d_x) in at.y.parts().iter().zip(at.d_y.parts()).zip(d_x.parts()) {
                relu_backward_apart(recording, at.label, [y, d_y], d_x);
            }
            return d_x;
        }
        for (y, d_y) in at.y.parts().iter().zip(at.d_y.parts()) {
            relu_backward(recording, at.label, y, d_y);
        }
        at.d_y.clone()
    }

    /// Records the gradients of weights and bias, or what is left to be summed to them: (splits, total).
    fn weight_gradient(
        &self,
        recording: &mut Recording,
        label: &str,
        products: &[(Product, OutputGradient<'_>, &Tensor)],
        total: &Tensor,
    ) -> Option<Tensor> {
        let path = recording.path();
        let splits_of = |product: &Product| product.shape.weight_splits(path, products.len());
        let splits = products
            .iter()
            .map(|(product, ..)| splits_of(product))
            .sum();
        let partial = match splits {
            1 => total.view(&[1, total.len()]),
            _ => Tensor::transient("partial", &[splits, total.len()]),
        };
        let lengths = products.iter().map(|(product, ..)| splits_of(product));
        for ((product, d_y, x), partial) in products.iter().zip(cut(&partial, lengths)) {
            let bias = self.layer.has_bias();
            conv_backward_weight(recording, label, product.windows(), *d_y, x, bias, &partial);
        }
        (splits > 1).then_some(partial)
    }
}

impl Recorder for Matrix {
    fn inputs(&self) -> Vec<Vec<usize>> {
        let shape = self.shifts().map_or(self.shape.x(), ConvShape::shifts);
        vec![shape.to_vec()]
    }

    fn output(&self) -> Vec<usize> {
        self.pool.map_or(self.shape.y(), |pool| pool.y()).to_vec()
    }

    fn layout(&self) -> Layout {
        self.layout
    }

    fn keeps_argmax(&self) -> Argmax {
        let places = self.pool.map(|pool| pool.size * pool.size);
        places.map_or(Argmax::None, Argmax::Beside)
    }

    fn ends_in_relu(&self) -> bool {
        self.relu && self.pool.is_none()
    }

    fn has_relu(&self) -> bool {
        self.relu
    }

    fn can_mask(&self) -> bool {
        true
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        let weights = at.weights;
        let w = self
            .layer
            .weight_of(weights.arena_of(&self.layer))
            .view(&self.shape.w());
        let bias = self.layer.bias_of(weights.floats);
        let bias = bias.unwrap_or_else(|| weights.zeros.clone());
        for (number, (x, y)) in at.x[0].parts().iter().zip(at.y.parts()).enumerate() {
            let product = Product::of(&self.shape, self.shifts(), x);
            let epilogue = match (self.pool, self.relu) {
                (Some(_), _) => Epilogue::MaxPool {
                    argmax: at.argmax.as_ref().map(|argmax| argmax.part(number)),
                },
                (None, true) => Epilogue::Relu,
                (None, false) => Epilogue::Linear,
            };
            conv_forward(
                recording,
                at.label,
                product.windows(),
                [x, &w, &bias],
                epilogue,
                y,
            );
        }
        None
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        let x = at.x[0].parts();
        let d_y = self.before_relu(recording, at);
        let argmax = at.kept.argmax.as_ref();
        // First, so that everything that is read of the gradient is copied to its texture at once.
        let wanted = at.wanted[0];
        let spread = match wanted {
            true => self.spread(recording, at, &d_y),
            false => Vec::new(),
        };
        let products = x
            .iter()
            .zip(d_y.parts())
            .enumerate()
            .map(|(number, (x, d_y))| {
                let product = Product::of(&self.shape, self.shifts(), x);
                let argmax = argmax.map(|argmax| argmax.part(number));
                (product, OutputGradient { d_y, argmax }, x)
            });
        let products: Vec<_> = products.collect();
        let total = self.layer.product_of(at.gradients);
        let partial = self.weight_gradient(recording, at.label, &products, &total);
        let gradient = match wanted {
            true => {
                let d_x = at.room(&self.inputs()[0]);
                let arena = at.weights.arena_of(&self.layer);
                let w = self.layer.weight_of(arena).view(&self.shape.w());
                // A max pool stops the same gradients; among dense layers one pipeline is enough.
                let relu = at.masks || self.shape.is_points() && at.input_has_relu;
                for ((x, d_y), d_x) in x.iter().zip(&spread).zip(d_x.parts()) {
                    let shape = self.shape.of_images(x);
                    conv_backward_input(recording, at.label, &shape, [d_y, &w, x], relu, d_x);
                }
                Gradient::Own(d_x)
            }
            false => Gradient::None,
        };
        // Last, so that all results of a layer are copied to their texture at once.
        if let Some(partial) = partial {
            sum_partials(recording, at.label, &partial, &total);
        }
        vec![gradient]
    }

    fn product(&self) -> Option<MatrixProduct> {
        Some(MatrixProduct {
            shape: self.shape,
            shifts: self.shifts().copied(),
            pool: self.pool,
        })
    }

    fn cases(&self) -> Vec<Case> {
        verify::product_cases(self.shape, self.shifts().copied(), self.pool)
    }
}
