//! Formats of numbers that the same network is costed in.

use super::node::Node;
use super::workload::{Product, signed_bits};

/// In which numbers a network computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As it is packed: powers of two in each layer's own bits.
    Packed,
    /// Linear integers in the bits that each layer is packed in: the control that differs in nothing else. A layer of one
    /// bit is ±1 in both.
    SameBits,
    /// Linear integers of so many bits in every layer, from -2^(bits-1).
    Linear(u32),
    /// Floats of 16 bits, summed in 32.
    Float16,
    /// Floats of 32 bits.
    Float32,
}

impl Format {
    /// All that reports show, the packed network first.
    pub const ALL: [Self; 8] = [
        Self::Packed,
        Self::SameBits,
        Self::Linear(2),
        Self::Linear(3),
        Self::Linear(4),
        Self::Linear(8),
        Self::Float16,
        Self::Float32,
    ];

    /// Its name in tables.
    pub fn name(self) -> String {
        match self {
            Self::Packed => "packed".to_owned(),
            Self::SameBits => "linear, same bits".to_owned(),
            Self::Linear(bits) => format!("int{bits}"),
            Self::Float16 => "float16".to_owned(),
            Self::Float32 => "float32".to_owned(),
        }
    }

    /// Whether its numbers are floats.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float16 | Self::Float32)
    }

    /// Bits of a weight.
    pub fn weight_bits(self, product: &Product) -> u32 {
        match self {
            Self::Packed | Self::SameBits => product.bits,
            Self::Linear(bits) => bits,
            Self::Float16 => 16,
            Self::Float32 => 32,
        }
    }

    /// Bits of what is stored for each output beside its weights: of integers a bias of 32 bits and a shift of 8, of floats a
    /// bias.
    pub fn table_bits(self) -> u32 {
        match self {
            Self::Packed | Self::SameBits | Self::Linear(_) => 40,
            Self::Float16 => 16,
            Self::Float32 => 32,
        }
    }

    /// Bits of an activation, for a network whose packed activations have `packed`.
    pub fn activation_bits(self, packed: u32) -> u32 {
        match self {
            Self::Packed | Self::SameBits | Self::Linear(_) => packed,
            Self::Float16 => 16,
            Self::Float32 => 32,
        }
    }

    /// The size of the largest weight, in units of the smallest.
    fn most(self, product: &Product) -> u128 {
        let linear = |bits: u32| 1u128 << (bits - 1);
        match self {
            Self::Packed => 1 << product.span,
            Self::SameBits => linear(product.bits),
            Self::Linear(bits) => linear(bits),
            Self::Float16 | Self::Float32 => 0,
        }
    }

    /// Bits of an accumulator that no activations and no weights of the format can overflow: 1 + ceil log2(A K w + 1) for
    /// activations up to A, K terms and weights up to w. The same rule for all, although weights are known.
    pub fn accumulator_bits(self, product: &Product, activation_bits: u32) -> u32 {
        if self.is_float() {
            return 32;
        }
        let activation = (1u128 << (activation_bits - 1)) - 1;
        signed_bits(activation * u128::from(product.terms) * self.most(product))
    }

    /// pJ of a multiply-accumulate, without registers.
    pub fn multiply_add(self, product: &Product, activation_bits: u32, node: &Node) -> f64 {
        let sign = |bits: u32| node.sign_bit.pj * f64::from(bits);
        let product_energy = match self {
            Self::Packed => {
                let wide = activation_bits + product.span;
                node.shift(wide, product.span + 1) + sign(wide)
            }
            // One bit is a sign, as in the packed network.
            Self::SameBits if product.bits == 1 => sign(activation_bits),
            Self::SameBits => node.multiply_int(activation_bits, product.bits),
            Self::Linear(bits) => node.multiply_int(activation_bits, bits),
            Self::Float16 => node.multiply_fp16.pj,
            Self::Float32 => node.multiply_fp32.pj,
        };
        let add = match self.is_float() {
            true => node.add_fp32.pj,
            false => node.add_int(self.accumulator_bits(product, activation_bits)),
        };
        product_energy + add
    }

    /// pJ of what follows a sum: of integers bias, rounding and a shift to the unit of the output, of floats a bias. Linear
    /// integers are given scales that are powers of two, as the packed network has.
    pub fn finish(self, product: &Product, activation_bits: u32, node: &Node) -> f64 {
        if self.is_float() {
            return node.add_fp32.pj;
        }
        let bits = self.accumulator_bits(product, activation_bits);
        2.0 * node.add_int(bits) + node.shift(bits, product.shift_places)
    }

    /// pJ of an addition that belongs to no product.
    pub fn add(self, sum_bits: u32, node: &Node) -> f64 {
        match self.is_float() {
            true => node.add_fp32.pj,
            false => node.add_int(sum_bits),
        }
    }
}
