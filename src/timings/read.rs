//! Reading files of timings, which may come from anywhere.

use std::path::Path;

use serde_json::Value;

use super::line::{Line, VERSION};
use crate::error::{Context, Error, Result, anyhow, bail, with_hint};

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
    fields(&value).context("not a line of timings")
}

/// The fields of a line. This is done by hand, because the code that serde derives would be several times as long.
fn fields(value: &Value) -> Result<Line> {
    let optional = |name: &str| match value.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(unexpected(name, "a string", other)),
    };
    let text = |name: &str| optional(name)?.ok_or_else(|| anyhow!("{name} is missing"));
    let number = |name: &str| match value.get(name) {
        None => Err(anyhow!("{name} is missing")),
        Some(other) => other
            .as_u64()
            .ok_or_else(|| unexpected(name, "a number of nanoseconds", other)),
    };
    let pid = value.get("pid").map(|pid| {
        let number = pid.as_i64().and_then(|pid| i32::try_from(pid).ok());
        number.ok_or_else(|| unexpected("pid", "a PID", pid))
    });
    let failed = value.get("failed").map(|failed| {
        failed
            .as_bool()
            .ok_or_else(|| unexpected("failed", "true or false", failed))
    });
    Ok(Line {
        version: VERSION,
        call: text("call")?,
        verb: text("verb")?,
        id: text("id")?,
        process: text("process")?,
        pid: pid.transpose()?,
        step: text("step")?,
        object: optional("object")?,
        waits_for: optional("waitsFor")?,
        failed: failed.transpose()?.unwrap_or_default(),
        begin: text("begin")?,
        monotonic: number("monotonic")?,
        duration: number("duration")?,
        trace_id: optional("traceId")?,
        parent_span_id: optional("parentSpanId")?,
    })
}

fn unexpected(name: &str, expected: &str, found: &Value) -> Error {
    anyhow!("{name}: expected {expected}, found {found}")
}
