//! D-Bus messages as bytes (D-Bus Specification, "Type System" and "Message Protocol"). Pure: everything
//! that a bus sends is parsed here, and the result is either values or an error.

use super::Value;
use crate::error::{Result, anyhow, bail};

/// The signature of several values, one after the other.
pub fn signature(values: &[Value]) -> String {
    let mut text = String::new();
    values.iter().for_each(|value| value.signature(&mut text));
    text
}

/// The alignment of a type, in bytes.
fn alignment(kind: u8) -> usize {
    match kind {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 4,
    }
}

/// Appends values to a message, little endian.
fn put(value: &Value, to: &mut Vec<u8>) {
    let mut kind = String::new();
    value.signature(&mut kind);
    pad(to, alignment(kind.bytes().next().unwrap_or(b'y')));
    match value {
        Value::Byte(number) => to.push(*number),
        Value::Bool(truth) => to.extend(u32::from(*truth).to_le_bytes()),
        Value::Int16(number) => to.extend(number.to_le_bytes()),
        Value::Uint16(number) => to.extend(number.to_le_bytes()),
        Value::Int32(number) => to.extend(number.to_le_bytes()),
        Value::Uint32(number) => to.extend(number.to_le_bytes()),
        Value::Int64(number) => to.extend(number.to_le_bytes()),
        Value::Uint64(number) => to.extend(number.to_le_bytes()),
        Value::Double(number) => to.extend(number.to_le_bytes()),
        Value::Text(text) | Value::Path(text) => {
            to.extend((text.len() as u32).to_le_bytes());
            to.extend(text.as_bytes());
            to.push(0);
        }
        Value::Signature(text) => {
            to.push(text.len() as u8);
            to.extend(text.as_bytes());
            to.push(0);
        }
        Value::Array(element, values) => {
            let length = to.len();
            to.extend([0; 4]);
            // The padding before the first element is not part of the length, and is present even in an empty array.
            pad(to, alignment(element.bytes().next().unwrap_or(b'y')));
            let start = to.len();
            values.iter().for_each(|value| put(value, to));
            let count = (to.len() - start) as u32;
            for (to, from) in to.iter_mut().skip(length).zip(count.to_le_bytes()) {
                *to = from;
            }
        }
        Value::Struct(fields) => fields.iter().for_each(|field| put(field, to)),
        Value::Entry(entry) => {
            put(&entry.0, to);
            put(&entry.1, to);
        }
        Value::Variant(value) => {
            let mut kind = String::new();
            value.signature(&mut kind);
            put(&Value::Signature(kind), to);
            put(value, to);
        }
    }
}

fn pad(to: &mut Vec<u8>, alignment: usize) {
    to.resize(to.len().next_multiple_of(alignment), 0);
}

/// The type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Call,
    Return,
    Error,
    Signal,
}

/// A message. Which of the header fields it has depends on its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub kind: Kind,
    /// Never 0.
    pub serial: u32,
    pub path: Option<String>,
    pub interface: Option<String>,
    pub member: Option<String>,
    pub error: Option<String>,
    /// The serial of the call that this answers.
    pub answers: Option<u32>,
    pub destination: Option<String>,
    pub sender: Option<String>,
    pub body: Vec<Value>,
}

impl Message {
    pub fn new(kind: Kind, serial: u32) -> Self {
        Message {
            kind,
            serial,
            path: None,
            interface: None,
            member: None,
            error: None,
            answers: None,
            destination: None,
            sender: None,
            body: Vec::new(),
        }
    }
}

/// The longest message that is accepted. Messages of systemd are far shorter (the specification allows 128 MiB).
pub const LONGEST: usize = 1 << 20;
/// The specification allows 32 nested arrays and 32 nested structures, and variants nested up to 64 levels.
const DEEPEST: usize = 64;

/// Encodes a message for the socket.
pub fn encode(message: &Message) -> Vec<u8> {
    let mut body = Vec::new();
    message.body.iter().for_each(|value| put(value, &mut body));
    let path = |text: &Option<String>| text.clone().map(Value::Path);
    let text = |text: &Option<String>| text.clone().map(Value::Text);
    let kind = signature(&message.body);
    let fields = [
        (1, path(&message.path)),
        (2, text(&message.interface)),
        (3, text(&message.member)),
        (4, text(&message.error)),
        (5, message.answers.map(Value::Uint32)),
        (6, text(&message.destination)),
        (7, text(&message.sender)),
        (8, (!kind.is_empty()).then_some(Value::Signature(kind))),
    ];
    let fields = fields
        .into_iter()
        .filter_map(|(code, value)| value.map(|value| Value::Struct(vec![Value::Byte(code), Value::variant(value)])))
        .collect();
    let kind = match message.kind {
        Kind::Call => 1,
        Kind::Return => 2,
        Kind::Error => 3,
        Kind::Signal => 4,
    };
    let mut bytes = vec![b'l', kind, 0, 1];
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(message.serial.to_le_bytes());
    put(&Value::Array("(yv)".into(), fields), &mut bytes);
    pad(&mut bytes, 8);
    bytes.extend(body);
    bytes
}

/// The length of the message that starts with these bytes. `None` if there are too few to tell.
pub fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = bytes.get(..16) else { return Ok(None) };
    let mut reader = Reader::new(head)?;
    reader.at = 4;
    let body = reader.u32()? as usize;
    reader.at = 12;
    let fields = reader.u32()? as usize;
    let length = fields
        .checked_add(16)
        .map(|end| end.next_multiple_of(8))
        .and_then(|start| start.checked_add(body));
    match length {
        Some(length) if length <= LONGEST => Ok(Some(length)),
        _ => bail!("received a message longer than {LONGEST} bytes"),
    }
}

/// Decodes one complete message.
pub fn decode(bytes: &[u8]) -> Result<Message> {
    if length(bytes)? != Some(bytes.len()) {
        bail!("the length of a message differs from its header");
    }
    let mut reader = Reader::new(bytes)?;
    let kind = match bytes.get(1) {
        Some(1) => Kind::Call,
        Some(2) => Kind::Return,
        Some(3) => Kind::Error,
        Some(4) => Kind::Signal,
        other => bail!("a message has the unknown type {other:?}"),
    };
    if bytes.get(3) != Some(&1) {
        bail!("a message uses another version of the protocol");
    }
    reader.at = 8;
    let mut message = Message::new(kind, reader.u32()?);
    let mut kind = String::new();
    for field in reader.values("a(yv)")? {
        let Value::Array(_, fields) = field else { continue };
        for field in fields {
            let Value::Struct(field) = field else { continue };
            let [Value::Byte(code), Value::Variant(value)] = field.as_slice() else {
                continue;
            };
            let to = match (code, value.as_ref()) {
                (5, Value::Uint32(serial)) => {
                    message.answers = Some(*serial);
                    continue;
                }
                (8, Value::Signature(text)) => {
                    kind.clone_from(text);
                    continue;
                }
                (1, Value::Path(_)) => &mut message.path,
                (2, Value::Text(_)) => &mut message.interface,
                (3, Value::Text(_)) => &mut message.member,
                (4, Value::Text(_)) => &mut message.error,
                (6, Value::Text(_)) => &mut message.destination,
                (7, Value::Text(_)) => &mut message.sender,
                (1..=8, _) => bail!("header field {code} has the wrong type"),
                // "Unknown fields must be ignored."
                _ => continue,
            };
            *to = value.as_text().map(str::to_string);
        }
    }
    reader.align(8)?;
    message.body = reader.values(&kind)?;
    if reader.at != bytes.len() {
        bail!("a message has {} extra bytes", bytes.len() - reader.at);
    }
    Ok(message)
}

/// The first complete type of a signature, and what follows it.
fn first_type(signature: &str) -> Result<(&str, &str)> {
    let mut depth = 0usize;
    for (at, kind) in signature.bytes().enumerate() {
        match kind {
            b'a' => continue,
            b'(' | b'{' => depth += 1,
            b')' | b'}' => {
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| anyhow!("signature {signature:?} has an unmatched closing bracket"))?;
            }
            b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v' | b'h' => {}
            _ => bail!("signature {signature:?} has an unknown type"),
        }
        if depth == 0 {
            return signature
                .split_at_checked(at + 1)
                .ok_or_else(|| anyhow!("signature {signature:?}"));
        }
    }
    bail!("signature {signature:?} is incomplete")
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self> {
        let big = match bytes.first() {
            Some(b'l') => false,
            Some(b'B') => true,
            _ => bail!("a message has an unknown byte order"),
        };
        Ok(Reader {
            bytes,
            at: 0,
            big,
            depth: 0,
        })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| anyhow!("a message is truncated"))?;
        self.at += count;
        Ok(taken)
    }

    /// A number of `N` bytes, converted to little endian.
    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.align(N)?;
        let mut bytes: [u8; N] = self.take(N)?.try_into()?;
        if self.big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.number()?))
    }

    fn align(&mut self, alignment: usize) -> Result<()> {
        let gap = self.at.next_multiple_of(alignment) - self.at;
        self.take(gap).map(drop)
    }

    fn string(&mut self, length: usize) -> Result<String> {
        let text = std::str::from_utf8(self.take(length)?)?.to_string();
        if self.take(1)? != [0] || text.contains('\0') {
            bail!("a string is not terminated at its length");
        }
        Ok(text)
    }

    /// Reads the values of a whole signature.
    fn values(&mut self, signature: &str) -> Result<Vec<Value>> {
        let mut values = Vec::new();
        let mut rest = signature;
        while !rest.is_empty() {
            let (kind, after) = first_type(rest)?;
            values.push(self.value(kind)?);
            rest = after;
        }
        Ok(values)
    }

    fn value(&mut self, kind: &str) -> Result<Value> {
        if self.depth == DEEPEST {
            bail!("values are nested too deeply");
        }
        self.depth += 1;
        let value = self.flat_value(kind);
        self.depth -= 1;
        value
    }

    fn flat_value(&mut self, kind: &str) -> Result<Value> {
        let first = kind.bytes().next().unwrap_or_default();
        Ok(match first {
            b'y' => Value::Byte(u8::from_le_bytes(self.number()?)),
            b'b' => match self.u32()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => bail!("{other} is not a boolean"),
            },
            b'n' => Value::Int16(i16::from_le_bytes(self.number()?)),
            b'q' => Value::Uint16(u16::from_le_bytes(self.number()?)),
            b'i' => Value::Int32(i32::from_le_bytes(self.number()?)),
            // A descriptor is given as its index among those that are sent with the message.
            b'u' | b'h' => Value::Uint32(self.u32()?),
            b'x' => Value::Int64(i64::from_le_bytes(self.number()?)),
            b't' => Value::Uint64(u64::from_le_bytes(self.number()?)),
            b'd' => Value::Double(f64::from_le_bytes(self.number()?)),
            b's' | b'o' => {
                let length = self.u32()? as usize;
                let text = self.string(length)?;
                if first == b's' {
                    Value::Text(text)
                } else {
                    Value::Path(text)
                }
            }
            b'g' => {
                let [length] = self.number()?;
                Value::Signature(self.string(length.into())?)
            }
            b'v' => {
                let [length] = self.number()?;
                let signature = self.string(length.into())?;
                let (kind, "") = first_type(&signature)? else {
                    bail!("a variant has several values: {signature:?}");
                };
                Value::variant(self.value(kind)?)
            }
            b'a' => {
                let element = kind.get(1..).unwrap_or_default();
                let length = self.u32()? as usize;
                self.align(alignment(element.bytes().next().unwrap_or_default()))?;
                let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
                let end = end.ok_or_else(|| anyhow!("an array is longer than its message"))?;
                let mut values = Vec::new();
                while self.at < end {
                    let before = self.at;
                    values.push(self.value(element)?);
                    if self.at == before {
                        bail!("an array has elements without bytes");
                    }
                }
                if self.at != end {
                    bail!("the last element of an array exceeds its length");
                }
                Value::Array(element.into(), values)
            }
            b'(' => {
                self.align(8)?;
                let inner = kind.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
                let fields = self.values(inner.unwrap_or_default())?;
                if fields.is_empty() {
                    bail!("a structure is empty");
                }
                Value::Struct(fields)
            }
            b'{' => {
                self.align(8)?;
                let inner = kind.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
                let fields = self.values(inner.unwrap_or_default())?;
                let [key, value]: [Value; 2] = fields
                    .try_into()
                    .map_err(|_| anyhow!("a dictionary entry is not a pair"))?;
                Value::Entry(Box::new((key, value)))
            }
            _ => bail!("signature {kind:?} has an unknown type"),
        })
    }
}
