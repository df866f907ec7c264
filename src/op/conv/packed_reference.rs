//! Convolutions of packed models in plain loops.

use super::integers::{PackedGroups, PackedMatrix};
use crate::op::ConvShape;
use crate::op::GroupShape;
use crate::op::group_conv::packed_reference::packed_group_conv;
use crate::op::integers::Exact;
use crate::pack::PackedLayer;
use crate::reference;
use crate::tensor::pad4;

/// Weights in units of the layer's smallest, in rows of `window` numbers stored in rows of `row`.
fn weights(layer: &PackedLayer) -> Vec<i64> {
    reference::packed_unpack(&layer.codes, layer.bits, layer.zero)
}

fn wide(values: &[i32]) -> Vec<i64> {
    values.iter().map(|v| i64::from(*v)).collect()
}

impl Exact for PackedMatrix {
    fn exact(&self, x: &[&[i64]]) -> Vec<i64> {
        let shape = ConvShape {
            batch: 1,
            ..self.whole
        };
        let (inputs, stored) = (shape.input_channels, pad4(shape.input_channels));
        let mut w = vec![0; shape.w().iter().product()];
        for (tap, taps) in weights(&self.layer).chunks(inputs).enumerate() {
            w[tap * stored..tap * stored + inputs].copy_from_slice(taps);
        }
        let table = [wide(&self.layer.bias), wide(&self.layer.shift)];
        let limits = self.limits.map(i64::from);
        reference::packed_conv(&shape, x[0], &w, [&table[0], &table[1]], limits)
    }
}

impl Exact for PackedGroups {
    fn exact(&self, x: &[&[i64]]) -> Vec<i64> {
        let conv = ConvShape {
            batch: 1,
            ..self.shape.conv
        };
        let shape = GroupShape { conv, ..self.shape };
        let table = [wide(&self.layer.bias), wide(&self.layer.shift)];
        let limits = self.limits.map(i64::from);
        packed_group_conv(
            &shape,
            x[0],
            &weights(&self.layer),
            [&table[0], &table[1]],
            limits,
        )
    }
}
