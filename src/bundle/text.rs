//! From text to the types of the spec. Each mistake has its place.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::reader::{self, Notes, ReadOptions, Step};
use crate::error::{At, Error, Position, Result, anyhow, with_hint};

/// After this many mistakes of type in one document the rest is not read: each costs reading the document once more.
const MOST_MISTAKES: usize = 30;

/// Reads a type from a text. An error gives the place in the text, or the path in the document.
pub fn read_as<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    read(text, false).map(|(value, _)| value)
}

/// Reads a type that has all the document's keys, and notes the unknown and the missing ones.
pub fn read_all<T: DeserializeOwned>(text: &[u8]) -> Result<(T, Notes)> {
    read(text, true)
}

fn read<T: DeserializeOwned>(text: &[u8], all_keys: bool) -> Result<(T, Notes)> {
    let text = utf8(text)?;
    let options = ReadOptions { all_keys, without: &[] };
    let (read, notes) = reader::read(text, options);
    match read {
        Ok(value) => Ok((value, notes)),
        Err(error) => {
            let mistake = explain(text, &error, notes.mistake.as_deref().unwrap_or_default());
            Err(match mistake.position {
                Some(Position { line, column }) => anyhow!("line {line} column {column}: {:#}", mistake.error),
                None => mistake.error,
            })
        }
    }
}

/// What could be read of a document.
pub struct Reading<T> {
    /// None if nothing of it is of use.
    pub value: Option<T>,
    pub notes: Notes,
    pub mistakes: Vec<Mistake>,
    /// The values that were passed over because something in them is wrong.
    pub left_out: Vec<Vec<Step>>,
}

/// A mistake in a text.
#[derive(Debug)]
pub struct Mistake {
    pub error: Error,
    /// Known where the text itself is wrong. Otherwise the path in the error says where the mistake is.
    pub position: Option<Position>,
}

impl Mistake {
    /// The mistake as one of an outer document, in which its own is the value of a key.
    pub fn below(&mut self, key: &str) {
        if let Some(at) = self.error.downcast_mut::<At>() {
            at.path = format!("{key}.{}", at.path);
        }
    }
}

/// Reads a document although parts of it may be of a wrong type, to find all mistakes. Text that is not JSON has only one.
pub fn read_despite_mistakes<T: DeserializeOwned>(text: &[u8]) -> Reading<T> {
    let mut reading = Reading {
        value: None,
        notes: Notes::default(),
        mistakes: Vec::new(),
        left_out: Vec::new(),
    };
    let text = match utf8(text) {
        Ok(text) => text,
        Err(error) => {
            reading.mistakes.push(Mistake { error, position: None });
            return reading;
        }
    };
    while reading.mistakes.len() < MOST_MISTAKES {
        let options = ReadOptions {
            all_keys: true,
            without: &reading.left_out,
        };
        let (read, mut notes) = reader::read(text, options);
        let error = match read {
            Ok(value) => {
                (reading.value, reading.notes) = (Some(value), notes);
                break;
            }
            Err(error) => error,
        };
        let place = notes.mistake.take().unwrap_or_default();
        // An object that lacks a value which was passed over is no new mistake, but it cannot be read either.
        if !reading.left_out.iter().any(|inside| inside.starts_with(&place)) {
            reading.mistakes.push(explain(text, &error, &place));
        }
        if place.is_empty() {
            break;
        }
        reading.left_out.retain(|inside| !inside.starts_with(&place));
        reading.left_out.push(place);
    }
    reading
}

/// JSON must be UTF-8 (RFC 8259, section 8.1). Editors and shells on Windows write other encodings.
fn utf8(text: &[u8]) -> Result<&str> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(with_hint(
            "the file begins with a byte order mark, which JSON does not allow",
            "save it as UTF-8 without BOM, or remove the mark: `sed -i '1s/^\\xEF\\xBB\\xBF//' FILE`",
        ));
    }
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(with_hint(
            "the file is UTF-16, and JSON must be UTF-8",
            "convert it: `iconv -f UTF-16 -t UTF-8`",
        ));
    }
    std::str::from_utf8(text).map_err(|error| {
        let valid = text.iter().take(error.valid_up_to());
        let line = valid.filter(|byte| **byte == b'\n').count() + 1;
        anyhow!("line {line}: not valid UTF-8, which JSON requires")
    })
}

/// What is wrong with a text, or with the value at a place in it.
fn explain(text: &str, error: &serde_json::Error, place: &[Step]) -> Mistake {
    let document = match serde_json::from_str::<Value>(text) {
        Ok(document) => document,
        // It stops the reader wherever it is, so it comes before mistakes of type.
        Err(error) => return broken(text, &error),
    };
    let pathless = |error| Mistake { error, position: None };
    if !document.is_object() {
        return pathless(anyhow!("not a JSON object"));
    }
    let reason = reason(error);
    if reason.starts_with("duplicate field") {
        // Both have the same path, so only the text can tell them apart.
        return broken(text, error);
    }
    let reason = match at(&document, place) {
        // serde_json gives no better reason for a value that cannot be a name.
        Some(value) if reason == "expected value" => format!("invalid value {value}: expected a name"),
        _ => reason,
    };
    let path = reader::text(place);
    pathless(match known_as(place) {
        _ if path.is_empty() => anyhow!("{reason}"),
        Some(name) => anyhow!("{name}: {reason}").context(At::new(path)),
        None => anyhow!("{reason}").context(At::new(path)),
    })
}

/// What serde says, without the place that it adds.
fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let reason = message.rsplit_once(" at line ").map(|(reason, _)| reason.to_string());
    reason.unwrap_or(message)
}

fn at<'a>(document: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}

/// What runc calls a mistake at this place.
fn known_as(place: &[Step]) -> Option<&'static str> {
    let [Step::Key(linux), Step::Key(policy), rest @ ..] = place else {
        return None;
    };
    if linux != "linux" || policy != "memoryPolicy" {
        return None;
    }
    match rest {
        [] => Some("invalid memory policy mode"),
        [Step::Key(key)] if key == "mode" => Some("invalid memory policy mode"),
        [Step::Key(key), ..] if key == "flags" => Some("invalid memory policy flag"),
        _ => None,
    }
}

/// Broken JSON: the line with a mark under the place.
fn broken(text: &str, error: &serde_json::Error) -> Mistake {
    let line = text
        .as_bytes()
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    // serde_json counts bytes; a reader counts characters. None of them may move the cursor or command the terminal.
    let before = line.get(..error.column().saturating_sub(1)).unwrap_or(line);
    let shape = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(char::is_control, " ");
    let (line, before) = (shape(line), shape(before));
    let mut shown = String::new();
    if line.len() <= 160 && !line.trim().is_empty() {
        let column = before.trim_start().chars().count();
        shown = format!("\n    {}\n    {}^", line.trim(), " ".repeat(column));
    }
    Mistake {
        error: anyhow!("{}{shown}", reason(error)),
        position: Some(Position {
            line: error.line(),
            column: before.chars().count() + 1,
        }),
    }
}
