//! From text to the types of the spec, each failure with the place it is about.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::locate;
use crate::error::{At, Error, Result, anyhow, bail};

/// From text to a type; the error tells the place in the text, or the path in the document.
pub fn read_as<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    // A type that has fields can also be read from a list of their values; the spec knows no such thing.
    if text.trim_ascii_start().first() == Some(&b'[') {
        serde_json::from_slice::<Value>(text).map_err(|error| broken(text, &error))?;
        bail!("not a JSON object");
    }
    let read = match std::str::from_utf8(text) {
        Ok(text) => serde_json::from_str(text),
        Err(error) => {
            let line = text
                .iter()
                .take(error.valid_up_to())
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            bail!("line {line}: not valid UTF-8, which JSON is written in");
        }
    };
    read.map_err(|error| {
        let document = match serde_json::from_slice::<Value>(text) {
            Ok(document) => document,
            Err(error) => return broken(text, &error),
        };
        if !document.is_object() {
            return anyhow!("not a JSON object");
        }
        match locate::mistake::<T>(&document) {
            // The document itself, which lacks something.
            Some((path, reason)) if path.is_empty() => anyhow!("{reason}"),
            Some((path, reason)) => match known_as(&path) {
                Some(name) => anyhow!("{name}: {reason}").context(At::new(path)),
                None => anyhow!("{reason}").context(At::new(path)),
            },
            // What is written twice is only seen in the text.
            None => broken(text, &error),
        }
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
fn broken(text: &[u8], error: &serde_json::Error) -> Error {
    let line = text
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
