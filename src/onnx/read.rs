//! Protocol buffers into the messages of ONNX that describe a network. Every length is checked; fields that nothing here
//! needs are passed over.

use half::{bf16, f16};

use super::OnnxError;

/// Parts of a key: the number of the field, and how its value is written.
const WIRE_BITS: u32 = 3;

/// Bytes that are read field by field.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

/// The value of a field.
#[derive(Clone, Copy)]
enum Field<'a> {
    /// A whole number.
    Number(u64),
    /// Four bytes, eight bytes, or bytes with a length: text, numbers in a row, or a message.
    Bytes(&'a [u8]),
}

fn damaged() -> OnnxError {
    OnnxError::Damaged("it ends within a message, or is no protocol buffer".to_owned())
}

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], OnnxError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, OnnxError> {
        let mut value = 0u64;
        for place in 0..10 {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    /// The next field and its number; `None` at the end.
    fn field(&mut self) -> Result<Option<(u64, Field<'a>)>, OnnxError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & ((1 << WIRE_BITS) - 1) {
            0 => Field::Number(self.varint()?),
            1 => Field::Bytes(self.take(8)?),
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(usize::try_from(length).map_err(|_| damaged())?)?)
            }
            5 => Field::Bytes(self.take(4)?),
            _ => return Err(damaged()),
        };
        match key >> WIRE_BITS {
            0 => Err(damaged()),
            number => Ok(Some((number, value))),
        }
    }
}

impl<'a> Field<'a> {
    fn bytes(self) -> Result<&'a [u8], OnnxError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) => Err(damaged()),
        }
    }

    fn text(self) -> Result<String, OnnxError> {
        let text = std::str::from_utf8(self.bytes()?);
        text.map(str::to_owned).map_err(|_| damaged())
    }

    fn number(self) -> Result<i64, OnnxError> {
        match self {
            Self::Number(number) => Ok(number.cast_signed()),
            Self::Bytes(_) => Err(damaged()),
        }
    }

    /// Adds whole numbers: one of them, or a row.
    fn numbers(self, to: &mut Vec<i64>) -> Result<(), OnnxError> {
        match self {
            Self::Number(number) => to.push(number.cast_signed()),
            Self::Bytes(row) => {
                let mut row = Bytes(row);
                while !row.0.is_empty() {
                    to.push(row.varint()?.cast_signed());
                }
            }
        }
        Ok(())
    }

    /// Adds floats: one of them, or a row.
    fn floats(self, to: &mut Vec<f32>) -> Result<(), OnnxError> {
        to.extend(numbers_of(self.bytes()?, |b: [u8; 4]| {
            f32::from_le_bytes(b)
        })?);
        Ok(())
    }
}

/// Numbers of a fixed width in a row.
fn numbers_of<const WIDTH: usize, T>(
    row: &[u8],
    number: impl Fn([u8; WIDTH]) -> T,
) -> Result<Vec<T>, OnnxError> {
    let (numbers, rest) = row.as_chunks::<WIDTH>();
    match rest.is_empty() {
        true => Ok(numbers.iter().map(|bytes| number(*bytes)).collect()),
        false => Err(damaged()),
    }
}

/// Where the bytes of a tensor are that is not in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct External {
    pub location: String,
    pub offset: u64,
    /// All bytes up to the end, if it is not said.
    pub length: Option<u64>,
}

/// `TensorProto`
#[derive(Clone, Debug, Default)]
pub(super) struct Tensor<'a> {
    pub name: String,
    pub shape: Vec<i64>,
    kind: i64,
    raw: Option<&'a [u8]>,
    floats: Vec<f32>,
    whole: Vec<i64>,
    doubles: Vec<f64>,
    /// If its numbers are in another file.
    pub external: Option<External>,
}

/// Numbers of a constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    Floats(Vec<f32>),
    Whole(Vec<i64>),
}

impl Numbers {
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Whole(values) => values.len(),
        }
    }
}

impl<'a> Tensor<'a> {
    fn read(data: &'a [u8]) -> Result<Self, OnnxError> {
        let mut tensor = Self::default();
        let mut bytes = Bytes(data);
        let mut outside = false;
        let mut external = External::default();
        while let Some((number, field)) = bytes.field()? {
            match number {
                1 => field.numbers(&mut tensor.shape)?,
                2 => tensor.kind = field.number()?,
                4 => field.floats(&mut tensor.floats)?,
                5 | 7 | 11 => field.numbers(&mut tensor.whole)?,
                8 => tensor.name = field.text()?,
                9 => tensor.raw = Some(field.bytes()?),
                10 => {
                    let row = field.bytes()?;
                    tensor.doubles.extend(numbers_of(row, f64::from_le_bytes)?);
                }
                13 => external.add(field.bytes()?)?,
                14 => outside = field.number()? == 1,
                _ => (),
            }
        }
        tensor.external = outside.then_some(external);
        Ok(tensor)
    }

    /// Its numbers; `outside` are the bytes that [`Tensor::external`] names.
    pub fn numbers(&self, outside: Option<&[u8]>) -> Result<Numbers, OnnxError> {
        let shown = super::shown(&self.name);
        let wrong = |reason: String| OnnxError::Damaged(format!("tensor '{shown}': {reason}"));
        let count = self.shape.iter().try_fold(1usize, |count, side| {
            count.checked_mul(usize::try_from(*side).ok()?)
        });
        let count = count.ok_or_else(|| wrong(format!("a shape of {:?}", self.shape)))?;
        let raw = outside.or(self.raw);
        let whole = |row: Result<Vec<i64>, OnnxError>| row.map(Numbers::Whole);
        let floats = |row: Result<Vec<f32>, OnnxError>| row.map(Numbers::Floats);
        let numbers = match (self.kind, raw) {
            (1, Some(raw)) => floats(numbers_of(raw, f32::from_le_bytes)),
            (2 | 9, Some(raw)) => whole(numbers_of(raw, |b| i64::from(u8::from_le_bytes(b)))),
            (3, Some(raw)) => whole(numbers_of(raw, |b| i64::from(i8::from_le_bytes(b)))),
            (6, Some(raw)) => whole(numbers_of(raw, |b| i64::from(i32::from_le_bytes(b)))),
            (7, Some(raw)) => whole(numbers_of(raw, i64::from_le_bytes)),
            (10, Some(raw)) => floats(numbers_of(raw, |b| f16::from_le_bytes(b).to_f32())),
            (11, Some(raw)) => floats(numbers_of(raw, |b| f64::from_le_bytes(b) as f32)),
            (16, Some(raw)) => floats(numbers_of(raw, |b| bf16::from_le_bytes(b).to_f32())),
            (1, None) => Ok(Numbers::Floats(self.floats.clone())),
            (11, None) => Ok(Numbers::Floats(
                self.doubles.iter().map(|v| *v as f32).collect(),
            )),
            // Halves stand there as the bits of whole numbers.
            (10, None) => floats(Ok(self
                .whole
                .iter()
                .map(|bits| f16::from_bits(*bits as u16).to_f32())
                .collect())),
            (16, None) => floats(Ok(self
                .whole
                .iter()
                .map(|bits| bf16::from_bits(*bits as u16).to_f32())
                .collect())),
            (2 | 3 | 6 | 7 | 9, None) => Ok(Numbers::Whole(self.whole.clone())),
            (kind, _) => Err(wrong(format!(
                "numbers of type {kind}, which no network of this program has: floats, or whole numbers of up to 64 bits"
            ))),
        };
        let numbers = numbers.map_err(|error| match error {
            OnnxError::Damaged(reason) if !reason.starts_with("tensor") => wrong(reason),
            other => other,
        })?;
        match numbers.len() == count {
            true => Ok(numbers),
            false => Err(wrong(format!(
                "{} numbers, and its shape {:?} has {count}",
                numbers.len(),
                self.shape
            ))),
        }
    }
}

impl External {
    /// Reads one pair of `StringStringEntryProto`.
    fn add(&mut self, pair: &[u8]) -> Result<(), OnnxError> {
        let mut bytes = Bytes(pair);
        let (mut key, mut value) = (String::new(), String::new());
        while let Some((number, field)) = bytes.field()? {
            match number {
                1 => key = field.text()?,
                2 => value = field.text()?,
                _ => (),
            }
        }
        let count = |text: &str| text.parse().map_err(|_| damaged());
        match key.as_str() {
            "location" => self.location = value,
            "offset" => self.offset = count(&value)?,
            "length" => self.length = Some(count(&value)?),
            _ => (),
        }
        Ok(())
    }
}

/// What a setting of a node is.
#[derive(Clone, Debug)]
pub(super) enum Setting<'a> {
    Float(f32),
    Int(i64),
    Word(&'a [u8]),
    Tensor(Box<Tensor<'a>>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    /// A graph, several tensors or anything else.
    Other,
}

/// `NodeProto`
#[derive(Clone, Debug, Default)]
pub(super) struct Node<'a> {
    pub name: String,
    /// The operator.
    pub kind: String,
    pub domain: String,
    /// Empty names are inputs that are left away.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub settings: Vec<(String, Setting<'a>)>,
}

impl<'a> Node<'a> {
    fn read(data: &'a [u8]) -> Result<Self, OnnxError> {
        let mut node = Self::default();
        let mut bytes = Bytes(data);
        while let Some((number, field)) = bytes.field()? {
            match number {
                1 => node.inputs.push(field.text()?),
                2 => node.outputs.push(field.text()?),
                3 => node.name = field.text()?,
                4 => node.kind = field.text()?,
                5 => node.settings.push(setting(field.bytes()?)?),
                7 => node.domain = field.text()?,
                _ => (),
            }
        }
        Ok(node)
    }
}

/// `AttributeProto`: its name and value.
fn setting(data: &[u8]) -> Result<(String, Setting<'_>), OnnxError> {
    let mut bytes = Bytes(data);
    let (mut name, mut kind) = (String::new(), 0);
    let (mut float, mut int, mut word, mut tensor) = (Vec::new(), 0, &[][..], None);
    let (mut floats, mut ints) = (Vec::new(), Vec::new());
    while let Some((number, field)) = bytes.field()? {
        match number {
            1 => name = field.text()?,
            2 => field.floats(&mut float)?,
            3 => int = field.number()?,
            4 => word = field.bytes()?,
            5 => tensor = Some(Tensor::read(field.bytes()?)?),
            7 => field.floats(&mut floats)?,
            8 => field.numbers(&mut ints)?,
            20 => kind = field.number()?,
            _ => (),
        }
    }
    let value = match (kind, tensor) {
        (1, _) => Setting::Float(float.first().copied().unwrap_or_default()),
        (2, _) => Setting::Int(int),
        (3, _) => Setting::Word(word),
        (4, Some(tensor)) => Setting::Tensor(Box::new(tensor)),
        (6, _) => Setting::Floats(floats),
        (7, _) => Setting::Ints(ints),
        _ => Setting::Other,
    };
    Ok((name, value))
}

/// A side of a tensor that comes in or goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Known(i64),
    /// By a name, or without one.
    Free(String),
}

/// `ValueInfoProto` of a tensor.
#[derive(Clone, Debug, Default)]
pub(super) struct Port {
    pub name: String,
    /// What its numbers are, as a code of `TensorProto.DataType`.
    pub kind: i64,
    /// `None` if it is not said.
    pub shape: Option<Vec<Side>>,
}

impl Port {
    fn read(data: &[u8]) -> Result<Self, OnnxError> {
        let mut port = Self::default();
        let mut bytes = Bytes(data);
        while let Some((number, field)) = bytes.field()? {
            match number {
                1 => port.name = field.text()?,
                2 => port.read_type(field.bytes()?)?,
                _ => (),
            }
        }
        Ok(port)
    }

    fn read_type(&mut self, data: &[u8]) -> Result<(), OnnxError> {
        let mut bytes = Bytes(data);
        while let Some((number, field)) = bytes.field()? {
            if number != 1 {
                continue;
            }
            let mut tensor = Bytes(field.bytes()?);
            while let Some((number, field)) = tensor.field()? {
                match number {
                    1 => self.kind = field.number()?,
                    2 => self.shape = Some(sides(field.bytes()?)?),
                    _ => (),
                }
            }
        }
        Ok(())
    }
}

/// `TensorShapeProto`
fn sides(data: &[u8]) -> Result<Vec<Side>, OnnxError> {
    let mut shape = Vec::new();
    let mut bytes = Bytes(data);
    while let Some((number, field)) = bytes.field()? {
        if number != 1 {
            continue;
        }
        let mut side = Side::Free(String::new());
        let mut bytes = Bytes(field.bytes()?);
        while let Some((number, field)) = bytes.field()? {
            match number {
                1 => side = Side::Known(field.number()?),
                2 => side = Side::Free(field.text()?),
                _ => (),
            }
        }
        shape.push(side);
    }
    Ok(shape)
}

/// `ModelProto` with its `GraphProto`.
#[derive(Clone, Debug, Default)]
pub(super) struct File<'a> {
    pub format: i64,
    /// The version of the default operator set.
    pub opset: Option<i64>,
    /// The program that wrote it.
    pub producer: String,
    /// Whether it defines operators of its own.
    pub functions: bool,
    pub nodes: Vec<Node<'a>>,
    pub tensors: Vec<Tensor<'a>>,
    /// Whether there are tensors in a sparse form.
    pub sparse: bool,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
}

impl<'a> File<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// [`OnnxError::Damaged`].
    pub fn read(data: &'a [u8]) -> Result<Self, OnnxError> {
        let mut file = Self::default();
        let mut bytes = Bytes(data);
        let mut graphs = 0;
        while let Some((number, field)) = bytes.field()? {
            match number {
                1 => file.format = field.number()?,
                2 => file.producer = field.text()?,
                7 => {
                    graphs += 1;
                    file.read_graph(field.bytes()?)?;
                }
                8 => {
                    let mut set = Bytes(field.bytes()?);
                    let (mut domain, mut version) = (String::new(), 0);
                    while let Some((number, field)) = set.field()? {
                        match number {
                            1 => domain = field.text()?,
                            2 => version = field.number()?,
                            _ => (),
                        }
                    }
                    if is_default(&domain) {
                        file.opset = Some(version);
                    }
                }
                25 => file.functions = true,
                _ => (),
            }
        }
        match (graphs, file.format) {
            (1, 1..) => Ok(file),
            _ => Err(OnnxError::Damaged(
                "it is no ONNX model, or only the beginning of one: it has no graph".to_owned(),
            )),
        }
    }

    fn read_graph(&mut self, data: &'a [u8]) -> Result<(), OnnxError> {
        let mut bytes = Bytes(data);
        while let Some((number, field)) = bytes.field()? {
            match number {
                1 => self.nodes.push(Node::read(field.bytes()?)?),
                5 => self.tensors.push(Tensor::read(field.bytes()?)?),
                11 => self.inputs.push(Port::read(field.bytes()?)?),
                12 => self.outputs.push(Port::read(field.bytes()?)?),
                15 => self.sparse = true,
                _ => (),
            }
        }
        Ok(())
    }
}

/// Whether a domain is that of ONNX's own operators.
pub(super) fn is_default(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}
