//! Reading files of timings, which may come from anywhere.

use std::path::Path;

use serde_json::Value;

use super::line::{Line, VERSION};
use crate::error::{Context, Result, bail, with_hint};

/// The lines of a file.
pub fn file(path: &Path) -> Result<Vec<Line>> {
    let name = || format!("{path:?}");
    let bytes = std::fs::read(path).with_context(name)?;
    let lines = lines(&bytes).with_context(name)?;
    if lines.is_empty() {
        return Err(with_hint(
            format!("{path:?}: it has no timings"),
            "`orlop run --timings=FILE` writes some",
        ));
    }
    Ok(lines)
}

/// The lines of a file's content. Empty ones are skipped.
pub fn lines(bytes: &[u8]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (index, text) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if !text.trim_ascii().is_empty() {
            lines.push(line(text).with_context(|| format!("line {}", index + 1))?);
        }
    }
    Ok(lines)
}

fn line(text: &[u8]) -> Result<Line> {
    let value: Value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(error) => {
            return Err(with_hint(
                format!("not JSON, from column {} on", error.column()),
                "every line must be a JSON object, as `--timings=FILE` writes them",
            ));
        }
    };
    // Later versions may have other fields, so the version comes first.
    match value.get("version").and_then(Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => bail!("unknown version {version}: another version of orlop wrote it"),
        None => bail!("not a line of timings: it has no version"),
    }
    serde_json::from_value(value).context("not a line of timings")
}
