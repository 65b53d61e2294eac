//! From text to the types of the spec, each failure with the place it is about.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::reader::{self, Notes, Step};
use crate::error::{At, Error, Result, anyhow, with_hint};

/// From text to a type; the error tells the place in the text, or the path in the document.
pub fn read_as<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    read(text, false).map(|(value, _)| value)
}

/// The same for a type of all that the text may hold: with what it says in vain and what it does not say.
pub fn read_all<T: DeserializeOwned>(text: &[u8]) -> Result<(T, Notes)> {
    read(text, true)
}

fn read<T: DeserializeOwned>(text: &[u8], curious: bool) -> Result<(T, Notes)> {
    let text = utf8(text)?;
    let (read, notes) = reader::read(text, curious);
    match read {
        Ok(value) => Ok((value, notes)),
        Err(error) => Err(explain(text, &error, notes.mistake.as_deref().unwrap_or_default())),
    }
}

/// JSON is written in UTF-8 (RFC 8259, section 8.1). Editors and shells of Windows write other things.
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
        anyhow!("line {line}: not valid UTF-8, which JSON is written in")
    })
}

/// What is wrong with a text, or with the value at a place in it.
fn explain(text: &str, error: &serde_json::Error, mistake: &[Step]) -> Error {
    let document = match serde_json::from_str::<Value>(text) {
        Ok(document) => document,
        Err(error) => return broken(text, &error),
    };
    if !document.is_object() {
        return anyhow!("not a JSON object");
    }
    let message = error.to_string();
    if message.starts_with("duplicate field") {
        // Two of the same path; only the text tells them apart.
        return broken(text, error);
    }
    let reason = message.rsplit_once(" at line ").map_or(&*message, |(reason, _)| reason);
    let reason = match at(&document, mistake) {
        // The reader of text says no more of what cannot be a name.
        Some(value) if reason == "expected value" => format!("{value} is none of the names that are possible here"),
        _ => reason.into(),
    };
    let path = reader::text(mistake);
    match known_as(&path) {
        _ if path.is_empty() => anyhow!("{reason}"),
        Some(name) => anyhow!("{name}: {reason}").context(At::new(path)),
        None => anyhow!("{reason}").context(At::new(path)),
    }
}

fn at<'a>(document: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.get(index),
    })
}

/// What runc's users know a mistake at this place as.
fn known_as(path: &str) -> Option<&'static str> {
    match path.strip_prefix("linux.memoryPolicy")? {
        "" | ".mode" => Some("invalid memory policy mode"),
        flags if flags.starts_with(".flags") => Some("invalid memory policy flag"),
        _ => None,
    }
}

/// Broken JSON: line, column, and the line itself with a mark under the place.
fn broken(text: &str, error: &serde_json::Error) -> Error {
    let line = text
        .as_bytes()
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    // The column counts bytes, a reader characters. None of them may move the cursor or talk to the terminal.
    let before = line.get(..error.column().saturating_sub(1)).unwrap_or(line);
    let shape = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(char::is_control, " ");
    let (line, before) = (shape(line), shape(before));
    let mut shown = String::new();
    if line.len() <= 160 && !line.trim().is_empty() {
        let column = before.trim_start().chars().count();
        shown = format!("\n    {}\n    {}^", line.trim(), " ".repeat(column));
    }
    anyhow!("{error}{shown}")
}
