//! A value of the graph under construction, as ONNX sees it.

use std::rc::Rc;

use crate::graph::{Shape, Value};

/// What an axis of a tensor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    Batch,
    Channel,
    Row,
    Column,
}

impl Axis {
    /// Its length in a value of this shape.
    pub fn side(self, shape: &Shape) -> usize {
        match self {
            Self::Batch => 1,
            Self::Channel => shape.channels,
            Self::Row => shape.height,
            Self::Column => shape.width,
        }
    }
}

/// A factor and an offset for each channel, applied after the value: factor x + offset.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    pub factors: Vec<f64>,
    pub offsets: Vec<f64>,
}

impl Affine {
    /// Nearer to one than rounding of f32 is far.
    const NEAR: f64 = 2e-7;

    /// As many ones and zeros as there are channels.
    pub fn none(channels: usize) -> Self {
        Self {
            factors: vec![1.0; channels],
            offsets: vec![0.0; channels],
        }
    }

    /// The same factor for all channels.
    pub fn scale(channels: usize, factor: f64) -> Self {
        Self {
            factors: vec![factor; channels],
            offsets: vec![0.0; channels],
        }
    }

    /// This one, then `next`.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        let pairs = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
        let moved = pairs(&self.offsets, &next.factors);
        Self {
            factors: pairs(&self.factors, &next.factors),
            offsets: moved
                .iter()
                .zip(&next.offsets)
                .map(|(a, b)| a + b)
                .collect(),
        }
    }

    pub fn is_none(&self) -> bool {
        let ones = self.factors.iter().all(|f| (f - 1.0).abs() < Self::NEAR);
        ones && self.is_scale()
    }

    /// Whether it has no offsets.
    pub fn is_scale(&self) -> bool {
        self.offsets.iter().all(|o| *o == 0.0)
    }

    pub fn is_positive(&self) -> bool {
        self.factors.iter().all(|f| *f > 0.0)
    }
}

/// What a tensor of the file is.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The value of the graph.
    pub at: Value,
    /// What the axes of the tensor are; axes that are missing have one element.
    pub axes: Vec<Axis>,
    /// Of a flattened value, whose axes are the images and all numbers: where in the value each number lies.
    pub order: Option<Rc<Vec<usize>>>,
    /// Still to be applied.
    pub affine: Option<Affine>,
    /// Zero pixels still to be added: above, left, below, right.
    pub pads: [usize; 4],
    /// The operator that ends a classifier, if there was one.
    pub end: Option<String>,
}

impl Flow {
    pub fn new(at: Value, axes: Vec<Axis>) -> Self {
        Self {
            at,
            axes,
            order: None,
            affine: None,
            pads: [0; 4],
            end: None,
        }
    }

    /// An image, channels first.
    pub fn image(at: Value) -> Self {
        use Axis::{Batch, Channel, Column, Row};
        Self::new(at, vec![Batch, Channel, Row, Column])
    }

    /// The same tensor over another value of the same axes.
    #[must_use]
    pub fn over(&self, at: Value) -> Self {
        Self { at, ..self.clone() }
    }

    pub fn is_flat(&self) -> bool {
        self.order.is_some()
    }

    /// Where in the value each number lies, in the order of the tensor. Images come first.
    pub fn numbers(&self, shape: &Shape) -> Vec<usize> {
        if let Some(order) = &self.order {
            return order.to_vec();
        }
        let step = |axis: &Axis| match axis {
            Axis::Batch => 0,
            Axis::Channel => 1,
            Axis::Column => shape.channels,
            Axis::Row => shape.width * shape.channels,
        };
        let mut places = vec![0];
        for axis in &self.axes {
            let side = axis.side(shape);
            places = places
                .iter()
                .flat_map(|place| (0..side).map(move |i| place + i * step(axis)))
                .collect();
        }
        places
    }

    /// As one row.
    #[must_use]
    pub fn flattened(&self, shape: &Shape) -> Self {
        if shape.pixels() == 1 && !self.is_flat() {
            // Numbers of one pixel are its channels.
            return Self {
                axes: vec![Axis::Batch, Axis::Channel],
                ..self.clone()
            };
        }
        Self {
            order: Some(Rc::new(self.numbers(shape))),
            axes: vec![Axis::Batch],
            ..self.clone()
        }
    }

    /// Whether numbers come in the order in which the value has them.
    pub fn is_in_order(&self, shape: &Shape) -> bool {
        self.numbers(shape).iter().copied().eq(0..shape.len())
    }

    /// What is still to be applied, for a value of so many channels.
    pub fn affine_for(&self, channels: usize) -> Affine {
        self.affine
            .clone()
            .unwrap_or_else(|| Affine::none(channels))
    }
}
