//! D-Bus values (D-Bus Specification, "Type System").

/// One value. Its signature follows from it, except that of the elements of an array, which may be empty.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Byte(u8),
    Bool(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    Text(String),
    /// An object path.
    Path(String),
    Signature(String),
    /// The signature of the elements, and the elements.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    /// One entry of a dictionary, which is an array of entries.
    Entry(Box<(Value, Value)>),
    Variant(Box<Value>),
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Value::Text(text.into())
    }

    pub fn variant(value: Value) -> Self {
        Value::Variant(Box::new(value))
    }

    /// Appends the type's signature.
    pub fn signature(&self, to: &mut String) {
        match self {
            Value::Byte(_) => to.push('y'),
            Value::Bool(_) => to.push('b'),
            Value::Int16(_) => to.push('n'),
            Value::Uint16(_) => to.push('q'),
            Value::Int32(_) => to.push('i'),
            Value::Uint32(_) => to.push('u'),
            Value::Int64(_) => to.push('x'),
            Value::Uint64(_) => to.push('t'),
            Value::Double(_) => to.push('d'),
            Value::Text(_) => to.push('s'),
            Value::Path(_) => to.push('o'),
            Value::Signature(_) => to.push('g'),
            Value::Array(element, _) => {
                to.push('a');
                to.push_str(element);
            }
            Value::Struct(fields) => {
                to.push('(');
                fields.iter().for_each(|field| field.signature(to));
                to.push(')');
            }
            Value::Entry(entry) => {
                to.push('{');
                entry.0.signature(to);
                entry.1.signature(to);
                to.push('}');
            }
            Value::Variant(_) => to.push('v'),
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Path(text) | Value::Signature(text) => Some(text),
            Value::Variant(value) => value.as_text(),
            _ => None,
        }
    }
}
