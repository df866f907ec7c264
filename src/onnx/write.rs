//! The part of ONNX's protocol buffers that is written here: messages of github.com/onnx/onnx, `onnx/onnx.proto`, by
//! the numbers of their fields.

use super::{FORMAT, OPSET};

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// Its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u32, wire: u64) {
        self.varint(u64::from(field) << 3 | wire);
    }

    /// A whole number; negative ones take ten bytes.
    pub fn int(mut self, field: u32, value: i64) -> Self {
        self.key(field, 0);
        self.varint(value.cast_unsigned());
        self
    }

    /// A float.
    pub fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Bytes or text.
    pub fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    /// Text.
    pub fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// A message within this one.
    pub fn message(self, field: u32, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }
}

/// What numbers of a tensor are: codes of `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// f32
    Float = 1,
    /// u8
    Byte = 2,
    /// i32
    Int = 6,
    /// i64
    Long = 7,
}

/// `TensorProto`
pub fn tensor(name: &str, kind: Numbers, dimensions: &[usize], data: &[u8]) -> Message {
    let mut message = Message::default();
    for size in dimensions {
        message = message.int(1, *size as i64);
    }
    message.int(2, kind as i64).text(8, name).bytes(9, data)
}

/// `ValueInfoProto` of a tensor whose first dimension is the batch.
pub fn value(name: &str, kind: Numbers, sides: &[usize]) -> Message {
    let batch = Message::default().text(2, "batch");
    let mut shape = Message::default().message(1, &batch);
    for size in sides {
        shape = shape.message(1, &Message::default().int(1, *size as i64));
    }
    let tensor = Message::default().int(1, kind as i64).message(2, &shape);
    let kind = Message::default().message(1, &tensor);
    Message::default().text(1, name).message(2, &kind)
}

/// A setting of a node: `AttributeProto`.
#[derive(Clone, Debug)]
pub enum Attribute {
    /// A whole number.
    Int(&'static str, i64),
    /// Whole numbers.
    Ints(&'static str, Vec<i64>),
    /// A float.
    Float(&'static str, f32),
    /// A word.
    Word(&'static str, &'static str),
}

impl Attribute {
    fn message(&self) -> Message {
        let message = Message::default();
        match self {
            Self::Int(name, value) => message.text(1, name).int(3, *value).int(20, 2),
            Self::Ints(name, values) => {
                let mut message = message.text(1, name);
                for value in values {
                    message = message.int(8, *value);
                }
                message.int(20, 7)
            }
            Self::Float(name, value) => message.text(1, name).float(2, *value).int(20, 1),
            Self::Word(name, value) => message.text(1, name).text(4, value).int(20, 3),
        }
    }
}

/// `NodeProto`
pub fn node(kind: &str, inputs: &[&str], output: &str, attributes: &[Attribute]) -> Message {
    let mut message = Message::default();
    for input in inputs {
        message = message.text(1, input);
    }
    message = message.text(2, output).text(3, output).text(4, kind);
    for attribute in attributes {
        message = message.message(5, &attribute.message());
    }
    message
}

/// The bytes of a `ModelProto`: a graph of nodes and stored tensors with one input and one output, and facts in words.
pub fn model(
    name: &str,
    [nodes, tensors]: [&[Message]; 2],
    [input, output]: [&Message; 2],
    facts: &[(&str, String)],
) -> Vec<u8> {
    let mut graph = Message::default();
    for node in nodes {
        graph = graph.message(1, node);
    }
    graph = graph.text(2, name);
    for tensor in tensors {
        graph = graph.message(5, tensor);
    }
    graph = graph.message(11, input).message(12, output);
    let opset = Message::default().text(1, "").int(2, OPSET);
    let mut file = Message::default()
        .int(1, FORMAT)
        .text(2, "gtc")
        .text(3, env!("CARGO_PKG_VERSION"))
        .message(7, &graph)
        .message(8, &opset);
    for (key, value) in facts {
        let entry = Message::default().text(1, key).text(2, value);
        file = file.message(14, &entry);
    }
    file.into_bytes()
}
