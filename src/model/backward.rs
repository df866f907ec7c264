//! The backward pass of a network, as recorded dispatches.

use super::LayerParameters;
use super::activation::Activation;
use super::forward::{Product, cut};
use super::network::{Network, Op, Pass, Weights};
use crate::gpu::PlanBuilder;
use crate::layer::{
    OutputGradient, PoolShape, conv_backward_input, conv_backward_weight, max_unpool,
    norm_backward, norm_backward_sums, norm_gradients, relu_backward, reparameterise_backward,
    sum_partials, upsample_backward,
};
use crate::tensor::Tensor;

impl Network {
    /// From the gradient of the logits to those of all weights, biases, γ and β, written to the arena
    /// `gradients`.
    pub fn backward(
        &self,
        plan: &mut PlanBuilder<'_>,
        pass: &Pass,
        weights: Weights<'_>,
        d_logits: &Tensor,
        gradients: &Tensor,
    ) {
        let parts = &self.parts;
        let mut d_y = Activation::whole(&d_logits.view(&self.output()), parts);
        for (i, op) in self.ops.iter().enumerate().rev() {
            d_y = d_y.view(&op.output(), parts);
            let x = pass.activations[i].view(&op.input(), parts);
            let d_x = match (op, &pass.d_posterior) {
                (Op::Latent { .. }, Some(d_posterior)) => Activation::whole(d_posterior, parts),
                _ => {
                    let label = format!("{} d_x{i}", weights.name);
                    Activation::transient(&label, &op.input(), parts)
                }
            };
            let pieces = x.parts().iter().zip(d_y.parts()).zip(d_x.parts());
            let pieces = pieces.map(|((x, d_y), d_x)| Piece { x, d_y, d_x });
            let pieces: Vec<Piece<'_>> = pieces.collect();
            match op {
                Op::Pool { shape, .. } => {
                    let label = format!("{} pool", weights.name);
                    let argmax = pass.argmax[i].iter().flat_map(Activation::parts);
                    for (piece, argmax) in pieces.iter().zip(argmax) {
                        let shape = shape.of_images(piece.x);
                        max_unpool(plan, &label, &shape, [piece.d_y, argmax], piece.d_x);
                    }
                }
                Op::Upsample { shape } => {
                    let label = format!("{} upsample", weights.name);
                    for piece in &pieces {
                        let shape = shape.of_images(piece.x);
                        upsample_backward(plan, &label, &shape, piece.d_y, piece.d_x);
                    }
                }
                Op::Latent { size, .. } => {
                    let label = format!("{} latent", weights.name);
                    let noise = self.noise.iter().flat_map(Activation::parts);
                    for (piece, noise) in pieces.iter().zip(noise) {
                        let inputs = [piece.x, noise, piece.d_y];
                        reparameterise_backward(plan, &label, *size, inputs, piece.d_x);
                    }
                }
                Op::Norm {
                    shape: [rows, channels],
                    parameters,
                    relu,
                } => {
                    let layer = &self.parameters.layers[*parameters];
                    if let (Some(statistics), Some(gradients)) =
                        (&pass.statistics[i], layer.norm_of(gradients))
                    {
                        let label = format!("{} {}", weights.name, layer.name);
                        let (range, partial, cuts) = self.norm_partials(*rows, *channels);
                        for (piece, partial) in pieces.iter().zip(cuts) {
                            let inputs = [piece.x, piece.d_y, statistics];
                            norm_backward_sums(plan, &label, inputs, *relu, range, &partial);
                        }
                        let splits = partial.shape[0];
                        let sums = Tensor::transient("sums", &[2, *channels]);
                        let (inputs, outputs) = ([&partial, statistics], [&sums, &gradients]);
                        norm_gradients(plan, &label, inputs, splits, outputs);
                        for piece in &pieces {
                            let inputs = [piece.x, piece.d_y, statistics, &sums];
                            norm_backward(plan, &label, inputs, *relu, *rows, piece.d_x);
                        }
                    }
                }
                Op::Matrix {
                    shape,
                    shifts,
                    parameters,
                    relu,
                    pool,
                } => {
                    let layer = &self.parameters.layers[*parameters];
                    let label = format!("{} {}", weights.name, layer.name);
                    // Pools and products take the gradient of a ReLU before them along.
                    let along = matches!(
                        self.ops.get(i + 1),
                        Some(Op::Pool { .. } | Op::Matrix { .. })
                    );
                    if *relu && pool.is_none() && !along {
                        let y = pass.activations[i + 1].view(&op.output(), parts);
                        for (y, piece) in y.parts().iter().zip(&pieces) {
                            relu_backward(plan, &label, y, piece.d_y);
                        }
                    }
                    let argmax = pass.argmax[i].as_ref();
                    let mut d_outputs = Vec::new();
                    for (number, piece) in pieces.iter().enumerate() {
                        d_outputs.push(OutputGradient {
                            d_y: piece.d_y,
                            argmax: argmax.map(|argmax| argmax.part(number)),
                        });
                    }
                    // First, so that all that is read of the gradient is mirrored at once.
                    let spread: Vec<Tensor> = match pool {
                        Some(pool) if i > 0 => {
                            let spread = |(piece, d_y): (&Piece<'_>, &OutputGradient<'_>)| {
                                unpooled(plan, &label, &pool.of_images(piece.x), *d_y)
                            };
                            pieces.iter().zip(&d_outputs).map(spread).collect()
                        }
                        _ => pieces.iter().map(|piece| piece.d_y.clone()).collect(),
                    };
                    let products = pieces.iter().zip(&d_outputs).map(|(piece, d_y)| {
                        let product = Product::of(shape, shifts.as_ref(), piece.x);
                        (product, *d_y, piece.x)
                    });
                    let products: Vec<_> = products.collect();
                    let total = layer.product_of(gradients);
                    let partial = weight_gradient(plan, &label, &products, layer, &total);
                    if i > 0 {
                        let w = layer.weight_of(weights.weights).view(&shape.w());
                        // A max pool stops the same gradients; among dense layers one pipeline is enough.
                        let before = &self.ops[i - 1];
                        let relu = before.ends_in_relu() || shape.is_points() && before.has_relu();
                        for (piece, d_y) in pieces.iter().zip(&spread) {
                            let shape = shape.of_images(piece.x);
                            let inputs = [d_y, &w, piece.x];
                            conv_backward_input(plan, &label, &shape, inputs, relu, piece.d_x);
                        }
                    }
                    // Last, so that all of a layer's results are mirrored at once.
                    if let Some(partial) = partial {
                        sum_partials(plan, &label, &partial, &total);
                    }
                }
            }
            d_y = d_x;
        }
    }
}

/// The gradient of what a product's max pool read, from that of what it gave.
fn unpooled(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    shape: &PoolShape,
    OutputGradient { d_y, argmax }: OutputGradient<'_>,
) -> Tensor {
    let d_x = Tensor::transient("unpooled", &shape.x());
    if let Some(argmax) = argmax {
        max_unpool(plan, label, shape, [d_y, argmax], &d_x);
    }
    d_x
}

/// What a backward pass reads and writes for a part of a batch.
struct Piece<'a> {
    x: &'a Tensor,
    d_y: &'a Tensor,
    d_x: &'a Tensor,
}

/// The gradients of a layer's weights and bias, `total`, or what is left to be summed to them: (splits, total).
fn weight_gradient(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    products: &[(Product, OutputGradient<'_>, &Tensor)],
    layer: &LayerParameters,
    total: &Tensor,
) -> Option<Tensor> {
    let path = plan.gpu().path();
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
        let bias = !layer.has_norm();
        conv_backward_weight(plan, label, product.windows(), *d_y, x, bias, &partial);
    }
    (splits > 1).then_some(partial)
}
