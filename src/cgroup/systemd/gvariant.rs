//! Values in text form: the part of glib's "GVariant Text Format" that properties of systemd units need, which is numbers,
//! booleans, strings, and arrays and tuples of them. The text gives the type of a value with it: `true`, `'text'`, `uint64 5`,
//! `@as []`, `[1, 2]`, `('a', 1)`. Pure.

use crate::dbus::Value;
use crate::error::{Result, anyhow, bail};

/// The deepest nesting that is accepted. No property needs more than two levels.
const MAX_DEPTH: usize = 32;

/// Parses one value.
pub fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let value = parser.value(None)?;
    parser.blanks();
    if parser.at != text.len() {
        bail!("unexpected {:?} after the value", parser.rest());
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
            "" => bail!("expected {wanted:?} at the end"),
            rest => bail!("expected {wanted:?} before {rest:?}"),
        }
    }

    fn word(&mut self, allowed: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !allowed(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn value(&mut self, kind: Option<&str>) -> Result<Value> {
        if self.depth == MAX_DEPTH {
            bail!("values are nested more than {MAX_DEPTH} levels deep");
        }
        self.depth += 1;
        let value = self.any_value(kind);
        self.depth -= 1;
        value
    }

    /// Parses a value, of the given type if it was preceded by one.
    fn any_value(&mut self, kind: Option<&str>) -> Result<Value> {
        self.blanks();
        let first = self
            .rest()
            .chars()
            .next()
            .ok_or_else(|| anyhow!("the value is missing"))?;
        match first {
            '@' => {
                self.at += 1;
                let given = self.word(|c| c.is_ascii_alphabetic() || "(){}".contains(c));
                if !is_type(given) {
                    bail!("@{given} is not a supported type");
                }
                expect(kind, given)?;
                self.value(Some(given))
            }
            '\'' | '"' => self.text(kind),
            '[' => self.array(kind),
            '(' => self.tuple(kind),
            '0'..='9' | '+' | '-' | '.' => self.number(kind.unwrap_or("")),
            _ if first.is_ascii_alphabetic() => self.keyword(kind),
            _ => bail!("{:?} is not a value", self.rest()),
        }
    }

    fn keyword(&mut self, kind: Option<&str>) -> Result<Value> {
        let word = self.word(|c| c.is_ascii_alphanumeric());
        let given = match word {
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
            _ => bail!("{word:?} is neither a value nor a supported type; a string needs quotes: '{word}'"),
        };
        expect(kind, given)?;
        self.value(Some(given))
    }

    fn text(&mut self, kind: Option<&str>) -> Result<Value> {
        let mut characters = self.rest().chars();
        let quote = characters.next();
        let mut text = String::new();
        loop {
            let next = characters.next();
            let next = next.ok_or_else(|| anyhow!("a string has no closing quote"))?;
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
                    text.push(
                        character.ok_or_else(|| anyhow!("\\{digits} is not followed by the code of a character"))?,
                    );
                }
                Some(other) => text.push(other),
                None => bail!("a string has no closing quote"),
            }
        }
        self.at = self.text.len() - characters.as_str().len();
        if text.contains('\0') {
            bail!("a string contains a NUL character");
        }
        expect(kind, "s")?;
        Ok(Value::Text(text))
    }

    fn number(&mut self, kind: &str) -> Result<Value> {
        let word = self.word(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let wrong = || anyhow!("{word} is not a valid number of its type");
        let hexadecimal = word.trim_start_matches(['+', '-']).starts_with("0x");
        if kind == "d" || kind.is_empty() && !hexadecimal && word.contains(['.', 'e', 'E', 'i', 'n']) {
            return self.float(word, "d");
        }
        let digits = word.trim_start_matches(['+', '-']);
        let number = match digits.strip_prefix("0x") {
            Some(digits) => i128::from_str_radix(digits, 16),
            None => digits.parse::<i128>(),
        };
        // Neither of the two accepts a second sign.
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
            other => bail!("expected a value of type {other}, found {word}"),
        };
        value.map_err(|_| wrong())
    }

    fn float(&mut self, word: &str, kind: &str) -> Result<Value> {
        expect(Some(kind), "d")?;
        word.parse()
            .map(Value::Double)
            .map_err(|_| anyhow!("{word} is not a valid number"))
    }

    fn array(&mut self, kind: Option<&str>) -> Result<Value> {
        let mut element = match kind {
            Some(kind) => Some(
                kind.strip_prefix('a')
                    .ok_or_else(|| anyhow!("expected a value of type {kind}, found an array"))?
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
            let mut found = String::new();
            value.signature(&mut found);
            if element.get_or_insert_with(|| found.clone()) != &found {
                bail!("the values of an array must have the same type");
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
                    .ok_or_else(|| anyhow!("expected a value of type {kind}, found a tuple"))?,
            ),
            None => None,
        };
        let mut left = inner;
        self.wants('(')?;
        let mut values = Vec::new();
        while !self.takes(')') {
            if !values.is_empty() {
                self.wants(',')?;
                // (1,) is a tuple of one value.
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
}

fn expect(kind: Option<&str>, is: &str) -> Result<()> {
    match kind {
        Some(kind) if kind != is => bail!("expected a value of type {kind}, found one of type {is}"),
        _ => Ok(()),
    }
}

/// Whether a text is one complete type.
fn is_type(kind: &str) -> bool {
    kind.len() < 256 && type_length(kind) == Some(kind.len())
}

/// The length of the first complete type.
fn type_length(kinds: &str) -> Option<usize> {
    fn length(kinds: &[u8], depth: usize) -> Option<usize> {
        if depth == MAX_DEPTH {
            return None;
        }
        match kinds {
            [b'a', rest @ ..] => Some(1 + length(rest, depth + 1)?),
            [b'(', rest @ ..] => {
                let mut at = 0;
                while rest.get(at) != Some(&b')') {
                    at += length(rest.get(at..)?, depth + 1)?;
                }
                (at > 0).then_some(at + 2)
            }
            [b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's', ..] => Some(1),
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
    fn a_value_has_the_type_that_its_text_gives() {
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
        ];
        for (written, value) in table {
            assert_eq!(parse(written).unwrap(), *value, "{written}");
        }
    }

    #[test]
    fn text_that_is_not_a_value_is_refused() {
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
            // No property has these types.
            "objectpath '/a'",
            "signature 's'",
            "<1>",
            "{'a': 1}",
            "@a{sv} {}",
            "@v <1>",
            "@o '/a'",
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
}
