//! ONNX, the exchange format of neural networks: float networks in and out, packed networks out.
//!
//! | module | |
//! |---|---|
//! | `read` | protocol buffers into messages, with every length checked |
//! | `write` | messages into protocol buffers |
//! | `import` | a float network as a graph of this program |
//! | `float` | one of the two networks of a trained model |
//! | `names` | unique names for values |
//! | `packed` | a packed network, with the same integers as everywhere |
//!
//! The numbers of fields are those of `onnx/onnx.proto` in github.com/onnx/onnx; what operators do is said in
//! `docs/Operators.md` there.

mod float;
mod import;
mod names;
mod packed;
mod read;
mod write;

pub use float::{FloatNode, FloatWriter, Learned, write as write_float};
pub use import::{Outside, import};
pub use packed::{interface, write as write_packed};
pub use write::Attribute;

/// The operator set that is written, of ONNX 1.8, and the version of the format, of ONNX 1.10 (2021).
const OPSET: i64 = 13;
const FORMAT: i64 = 8;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// No protocol buffer, or not a whole one.
    #[error("not a whole ONNX model: {0}")]
    Damaged(String),
    /// A network that this program does not have.
    #[error("{0}")]
    Refused(String),
    /// A node that this program does not have.
    #[error("node '{node}' ({operator}): {reason}")]
    Node {
        /// Its name, or that of its output.
        node: String,
        /// The operator.
        operator: String,
        /// What stands in the way, and what to do.
        reason: String,
    },
}

/// A name out of a file, short enough for a message.
fn shown(name: &str) -> String {
    crate::printable::printable(name, 80)
}
