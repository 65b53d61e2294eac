//! The values of `org.systemd.property.*` annotations: GVariant text (glib's "GVariant Text Format"), which says the type of a
//! value with it: `true`, `'text'`, `uint64 5`, `@as []`, `[1, 2]`, `('a', 1)`, `{'k': <1>}`. Pure.

use crate::dbus::Value;
use crate::error::{At, Context, Result, anyhow, bail, with_hint};

pub const PREFIX: &str = "org.systemd.property.";
/// Nobody writes deeper ones.
const DEEPEST: usize = 32;

/// The properties that annotations ask for, by name.
pub fn properties<'a>(annotations: impl Iterator<Item = (&'a String, &'a String)>) -> Result<Vec<(String, Value)>> {
    let mut properties = Vec::new();
    for (key, value) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let property = property(name, value).with_context(|| At::object(format!("annotations.{key}"), value))?;
        properties.push(property);
    }
    properties.sort_by(|a: &(String, Value), b| a.0.cmp(&b.0));
    let twice = properties.windows(2).find_map(|pair| match pair {
        [(one, _), (other, _)] if one == other => Some(one),
        _ => None,
    });
    match twice {
        Some(name) => Err(anyhow!("{name} is given in seconds and in microseconds"))
            .context(At::new(format!("annotations.{PREFIX}{name}"))),
        None => Ok(properties),
    }
}

fn property(name: &str, value: &str) -> Result<(String, Value)> {
    let bytes = name.as_bytes();
    if bytes.len() < 3
        || !bytes.iter().all(u8::is_ascii_alphabetic)
        || !bytes.first().is_some_and(u8::is_ascii_uppercase)
    {
        return Err(with_hint(
            format!("{name:?} is no name of a property"),
            "systemd's names are words as TimeoutStopUSec; `systemctl show` has them all",
        ));
    }
    let value = parse(value).with_context(|| {
        "the value must be of the form of GVariant text: true, 'text', uint64 5, ['a', 'b']".to_string()
    })?;
    // Unit files count in seconds, the bus in microseconds.
    match name.strip_suffix("Sec").filter(|rest| !rest.ends_with('U')) {
        Some(rest) => Ok((format!("{rest}USec"), microseconds(&value)?)),
        None => Ok((name.into(), value)),
    }
}

fn microseconds(value: &Value) -> Result<Value> {
    let seconds = match value {
        Value::Double(seconds) => *seconds,
        Value::Byte(number) => f64::from(*number),
        Value::Int16(number) => f64::from(*number),
        Value::Uint16(number) => f64::from(*number),
        Value::Int32(number) => f64::from(*number),
        Value::Uint32(number) => f64::from(*number),
        Value::Int64(number) => *number as f64,
        Value::Uint64(number) => *number as f64,
        _ => bail!("a property whose name ends with Sec is a number of seconds"),
    };
    let microseconds = seconds * 1e6;
    // Behind that, not every number is one.
    if !(0.0..9e15).contains(&microseconds) {
        bail!("{seconds} is no number of seconds");
    }
    Ok(Value::Uint64(microseconds as u64))
}

/// One value in text form.
pub fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let value = parser.value(None)?;
    parser.blanks();
    if parser.at != text.len() {
        bail!("{:?} stands behind the value", parser.rest());
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// Takes a character if it comes next.
    fn takes(&mut self, wanted: char) -> bool {
        self.blanks();
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn wants(&mut self, wanted: char) -> Result<()> {
        if self.takes(wanted) {
            return Ok(());
        }
        match self.rest() {
            "" => bail!("the text ends where {wanted:?} is expected"),
            rest => bail!("{wanted:?} is expected before {rest:?}"),
        }
    }

    fn word(&mut self, allowed: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !allowed(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn value(&mut self, kind: Option<&str>) -> Result<Value> {
        if self.depth == DEEPEST {
            bail!("values are nested too deep");
        }
        self.depth += 1;
        let value = self.any_value(kind);
        self.depth -= 1;
        value
    }

    /// A value, of the type that was said before it, if one was.
    fn any_value(&mut self, kind: Option<&str>) -> Result<Value> {
        self.blanks();
        let first = self.rest().chars().next().ok_or_else(|| anyhow!("there is no value"))?;
        match first {
            '@' => {
                self.at += 1;
                let said = self.word(|c| c.is_ascii_alphabetic() || "(){}".contains(c));
                if !is_type(said) || kind.is_some_and(|kind| kind != said) {
                    bail!("@{said} is not the type that is expected here");
                }
                self.value(Some(said))
            }
            '\'' | '"' => self.text(kind),
            '[' => self.array(kind),
            '(' => self.tuple(kind),
            '{' => self.dictionary(kind),
            '<' => {
                expect(kind, "v")?;
                self.at += 1;
                let inner = self.value(None)?;
                self.wants('>')?;
                Ok(Value::variant(inner))
            }
            '0'..='9' | '+' | '-' | '.' => self.number(kind.unwrap_or("")),
            _ if first.is_ascii_alphabetic() => self.keyword(kind),
            _ => bail!("{:?} is no value", self.rest()),
        }
    }

    fn keyword(&mut self, kind: Option<&str>) -> Result<Value> {
        let word = self.word(|c| c.is_ascii_alphanumeric());
        let said = match word {
            "true" | "false" => {
                expect(kind, "b")?;
                return Ok(Value::Bool(word == "true"));
            }
            "inf" | "nan" => return self.float(word, kind.unwrap_or("d")),
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            _ => bail!("{word:?} is neither a value nor a type; texts stand in quotes: '{word}'"),
        };
        expect(kind, said)?;
        self.value(Some(said))
    }

    fn text(&mut self, kind: Option<&str>) -> Result<Value> {
        let mut characters = self.rest().chars();
        let quote = characters.next();
        let mut text = String::new();
        loop {
            let next = characters.next();
            let next = next.ok_or_else(|| anyhow!("a text has no quote at its end"))?;
            if Some(next) == quote {
                break;
            }
            if next != '\\' {
                text.push(next);
                continue;
            }
            match characters.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(digits @ ('u' | 'U')) => {
                    let count = if digits == 'u' { 4 } else { 8 };
                    let code: String = characters.by_ref().take(count).collect();
                    let code = u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == count);
                    let character = code.and_then(char::from_u32);
                    text.push(character.ok_or_else(|| anyhow!("\\{digits} is not followed by a character's number"))?);
                }
                Some(other) => text.push(other),
                None => bail!("a text has no quote at its end"),
            }
        }
        self.at = self.text.len() - characters.as_str().len();
        if text.contains('\0') {
            bail!("a text has a NUL character in it");
        }
        Ok(match kind.unwrap_or("s") {
            "s" => Value::Text(text),
            "o" if text.starts_with('/') => Value::Path(text),
            "g" if text.len() < 256
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphabetic() || b"(){}".contains(&byte)) =>
            {
                Value::Signature(text)
            }
            other => bail!("'{text}' is no value of the type {other}"),
        })
    }

    fn number(&mut self, kind: &str) -> Result<Value> {
        let word = self.word(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let wrong = || anyhow!("{word} is no number of this type");
        let hexadecimal = word.trim_start_matches(['+', '-']).starts_with("0x");
        if kind == "d" || kind.is_empty() && !hexadecimal && word.contains(['.', 'e', 'E', 'i', 'n']) {
            return self.float(word, "d");
        }
        let digits = word.trim_start_matches(['+', '-']);
        let number = match digits.strip_prefix("0x") {
            Some(digits) => i128::from_str_radix(digits, 16),
            None => digits.parse::<i128>(),
        };
        // Neither takes a sign of its own.
        let number = number
            .ok()
            .filter(|_| digits.len() + 1 >= word.len())
            .ok_or_else(wrong)?;
        let number = if word.starts_with('-') { -number } else { number };
        let value = match kind {
            "y" => u8::try_from(number).map(Value::Byte),
            "n" => i16::try_from(number).map(Value::Int16),
            "q" => u16::try_from(number).map(Value::Uint16),
            "" | "i" => i32::try_from(number).map(Value::Int32),
            "u" => u32::try_from(number).map(Value::Uint32),
            "x" => i64::try_from(number).map(Value::Int64),
            "t" => u64::try_from(number).map(Value::Uint64),
            other => bail!("{word} is no value of the type {other}"),
        };
        value.map_err(|_| wrong())
    }

    fn float(&mut self, word: &str, kind: &str) -> Result<Value> {
        expect(Some(kind), "d")?;
        word.parse()
            .map(Value::Double)
            .map_err(|_| anyhow!("{word} is no number"))
    }

    fn array(&mut self, kind: Option<&str>) -> Result<Value> {
        let mut element = match kind {
            Some(kind) => Some(
                kind.strip_prefix('a')
                    .ok_or_else(|| anyhow!("an array is no {kind}"))?
                    .to_string(),
            ),
            None => None,
        };
        self.wants('[')?;
        let mut values = Vec::new();
        while !self.takes(']') {
            if !values.is_empty() {
                self.wants(',')?;
            }
            let value = self.value(element.as_deref())?;
            let mut own = String::new();
            value.signature(&mut own);
            if element.get_or_insert_with(|| own.clone()) != &own {
                bail!("the values of an array have several types");
            }
            values.push(value);
        }
        match element {
            Some(element) => Ok(Value::Array(element, values)),
            None => bail!("an empty array needs its type: @as []"),
        }
    }

    fn tuple(&mut self, kind: Option<&str>) -> Result<Value> {
        let inner = match kind {
            Some(kind) => Some(
                kind.strip_prefix('(')
                    .and_then(|kind| kind.strip_suffix(')'))
                    .ok_or_else(|| anyhow!("a tuple is no {kind}"))?,
            ),
            None => None,
        };
        let mut left = inner;
        self.wants('(')?;
        let mut values = Vec::new();
        while !self.takes(')') {
            if !values.is_empty() {
                self.wants(',')?;
                // (1,) is a tuple of one.
                if values.len() == 1 && self.takes(')') {
                    break;
                }
            }
            let expected = match left {
                Some(kinds) => {
                    let end = type_length(kinds).ok_or_else(|| anyhow!("a tuple has too many values"))?;
                    left = kinds.get(end..);
                    kinds.get(..end)
                }
                None => None,
            };
            values.push(self.value(expected)?);
        }
        if values.is_empty() || left.is_some_and(|left| !left.is_empty()) {
            bail!("a tuple has too few values");
        }
        Ok(Value::Struct(values))
    }

    fn dictionary(&mut self, kind: Option<&str>) -> Result<Value> {
        let (mut key_kind, mut value_kind) = (None, None);
        if let Some(kind) = kind {
            let pair = kind.strip_prefix("a{").and_then(|kind| kind.strip_suffix('}'));
            let pair = pair.ok_or_else(|| anyhow!("a dictionary is no {kind}"))?;
            let (key, value) = pair.split_at_checked(1).unwrap_or_default();
            (key_kind, value_kind) = (Some(key.to_string()), Some(value.to_string()));
        }
        self.wants('{')?;
        let mut entries = Vec::new();
        while !self.takes('}') {
            if !entries.is_empty() {
                self.wants(',')?;
            }
            let key = self.value(key_kind.as_deref())?;
            self.wants(':')?;
            let value = self.value(value_kind.as_deref())?;
            for (value, kind) in [(&key, &mut key_kind), (&value, &mut value_kind)] {
                let mut own = String::new();
                value.signature(&mut own);
                if kind.get_or_insert_with(|| own.clone()) != &own {
                    bail!("the entries of a dictionary have several types");
                }
            }
            entries.push(Value::Entry(Box::new((key, value))));
        }
        match (key_kind, value_kind) {
            (Some(key), Some(value)) if type_length(&key) == Some(1) && is_basic(&key) => {
                Ok(Value::Array(format!("{{{key}{value}}}"), entries))
            }
            (Some(_), Some(_)) => bail!("the keys of a dictionary are texts, numbers or booleans"),
            _ => bail!("an empty dictionary needs its type: @a{{sv}} {{}}"),
        }
    }
}

fn expect(kind: Option<&str>, is: &str) -> Result<()> {
    match kind {
        Some(kind) if kind != is => bail!("a value of the type {kind} is expected, and this is of the type {is}"),
        _ => Ok(()),
    }
}

fn is_basic(kind: &str) -> bool {
    matches!(
        kind,
        "y" | "b" | "n" | "q" | "i" | "u" | "x" | "t" | "d" | "s" | "o" | "g"
    )
}

/// Whether a text is one complete type.
fn is_type(kind: &str) -> bool {
    kind.len() < 256 && type_length(kind) == Some(kind.len())
}

/// The length of the first complete type.
fn type_length(kinds: &str) -> Option<usize> {
    fn length(kinds: &[u8], depth: usize) -> Option<usize> {
        if depth == DEEPEST {
            return None;
        }
        match kinds {
            [b'a', b'{', key, rest @ ..] if is_basic(std::str::from_utf8(&[*key]).ok()?) => {
                let value = length(rest, depth + 1)?;
                (rest.get(value) == Some(&b'}')).then_some(value + 4)
            }
            [b'a', rest @ ..] => Some(1 + length(rest, depth + 1)?),
            [b'(', rest @ ..] => {
                let mut at = 0;
                while rest.get(at) != Some(&b')') {
                    at += length(rest.get(at..)?, depth + 1)?;
                }
                (at > 0).then_some(at + 2)
            }
            [b'v', ..] => Some(1),
            [basic, ..] if is_basic(std::str::from_utf8(&[*basic]).ok()?) => Some(1),
            _ => None,
        }
    }
    length(kinds.as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(element: &str, values: Vec<Value>) -> Value {
        Value::Array(element.into(), values)
    }

    #[test]
    fn values_say_their_types() {
        let text = |text: &str| Value::text(text);
        let table: &[(&str, Value)] = &[
            ("true", Value::Bool(true)),
            (" boolean false ", Value::Bool(false)),
            ("'inactive-or-failed'", text("inactive-or-failed")),
            ("\"a 'b' \\\"c\\\" \\n\\u00e9\"", text("a 'b' \"c\" \né")),
            ("5", Value::Int32(5)),
            ("-5", Value::Int32(-5)),
            ("+0x1f", Value::Int32(31)),
            ("uint64 18446744073709551615", Value::Uint64(u64::MAX)),
            ("@t 7", Value::Uint64(7)),
            ("byte 0xff", Value::Byte(255)),
            ("int16 -1", Value::Int16(-1)),
            ("uint16 1", Value::Uint16(1)),
            ("uint32 1", Value::Uint32(1)),
            ("int64 -9223372036854775808", Value::Int64(i64::MIN)),
            ("2.5", Value::Double(2.5)),
            ("double 2", Value::Double(2.0)),
            ("1e3", Value::Double(1000.0)),
            ("objectpath '/a'", Value::Path("/a".into())),
            ("signature 'a{sv}'", Value::Signature("a{sv}".into())),
            ("['a', 'b']", array("s", vec![text("a"), text("b")])),
            ("@as []", array("s", vec![])),
            ("@at [1, 2]", array("t", vec![Value::Uint64(1), Value::Uint64(2)])),
            ("[uint32 1, 2]", array("u", vec![Value::Uint32(1), Value::Uint32(2)])),
            ("('a', 1)", Value::Struct(vec![text("a"), Value::Int32(1)])),
            ("(1,)", Value::Struct(vec![Value::Int32(1)])),
            (
                "@(st) ('/dev/sda', 5)",
                Value::Struct(vec![text("/dev/sda"), Value::Uint64(5)]),
            ),
            (
                "@a(st) [('/dev/sda', 5)]",
                array("(st)", vec![Value::Struct(vec![text("/dev/sda"), Value::Uint64(5)])]),
            ),
            ("<true>", Value::variant(Value::Bool(true))),
            (
                "{'a': <1>}",
                array(
                    "{sv}",
                    vec![Value::Entry(Box::new((text("a"), Value::variant(Value::Int32(1)))))],
                ),
            ),
            ("@a{sv} {}", array("{sv}", vec![])),
        ];
        for (written, value) in table {
            assert_eq!(parse(written).unwrap(), *value, "{written}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in [
            "",
            " ",
            "word",
            "'a",
            "\"a\\",
            "5 6",
            "byte 256",
            "int16 40000",
            "uint64 -1",
            "2147483648",
            "--5",
            "+-5",
            "0x",
            "5x",
            "[]",
            "[1, 'a']",
            "[1 2]",
            "[1,",
            "(",
            "()",
            "{}",
            "{1}",
            "{'a': 1, 'b': 'c'}",
            "{['a']: 1}",
            "@as [1]",
            "@t 'a'",
            "@zz 1",
            "@( 1",
            "@() ()",
            "@(st) ('a')",
            "@(s) ('a', 'b')",
            "string 5",
            "boolean 1",
            "objectpath 'a'",
            "<1",
            "<>",
            "'\\u12'",
            "'\\ud800'",
            "'\\u0000'",
            "uint64",
            "uint64 5.5",
            "double 'a'",
            "é",
            "true false",
        ] {
            assert!(parse(text).is_err(), "{text:?} was accepted: {:?}", parse(text));
        }
        let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
        assert!(parse(&deep).is_err());
        assert!(!is_type(&"a".repeat(300)));
    }

    #[test]
    fn annotations_are_properties() {
        let list = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> = pairs
                .iter()
                .map(|(k, v)| (format!("{PREFIX}{k}"), v.to_string()))
                .collect();
            properties(pairs.iter().map(|(k, v)| (k, v)))
        };
        assert_eq!(
            list(&[("TimeoutStopUSec", "uint64 5"), ("CollectMode", "'inactive'")]).unwrap(),
            [
                ("CollectMode".to_string(), Value::text("inactive")),
                ("TimeoutStopUSec".to_string(), Value::Uint64(5))
            ]
        );
        for (value, microseconds) in [
            ("5", 5_000_000),
            ("uint64 2", 2_000_000),
            ("0.25", 250_000),
            ("double 0", 0),
        ] {
            assert_eq!(
                list(&[("TimeoutStopSec", value)]).unwrap(),
                [("TimeoutStopUSec".to_string(), Value::Uint64(microseconds))]
            );
        }
        for (name, value) in [
            ("TimeoutStopSec", "'5'"),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "inf"),
            ("TimeoutStopSec", "double nan"),
            ("timeout", "5"),
            ("A b", "5"),
            ("", "5"),
            ("Ab", "5"),
            ("Descri\u{e9}", "'x'"),
            ("Description", "x"),
        ] {
            assert!(list(&[(name, value)]).is_err(), "{name} {value}");
        }
        assert!(list(&[("TimeoutStopSec", "1"), ("TimeoutStopUSec", "uint64 1")]).is_err());
        let other = [("org.systemd.proper".to_string(), "x".to_string())];
        assert_eq!(properties(other.iter().map(|(k, v)| (k, v))).unwrap(), []);
    }
}
