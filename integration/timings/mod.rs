//! `--timings`, `ORLOP_TIMINGS` and the verb `timings`: what is recorded, where it goes, what it must not give away, and that it
//! costs nothing when it is off.

mod cost;
mod files;
mod safety;
mod trace;
mod verbs;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Bundle, Cmd};

/// The option that names a file of the bundle, and its path.
fn option(bundle: &Bundle) -> (String, PathBuf) {
    let path = bundle.path("timings.jsonl");
    (format!("--timings={}", path.display()), path)
}

/// The spans of a file, each a line of JSON.
#[track_caller]
fn spans(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

/// Runs a command that writes to this file, and returns the spans that it has added.
#[track_caller]
fn added(path: &Path, cmd: Cmd) -> Vec<Value> {
    let before = if path.exists() { spans(path).len() } else { 0 };
    cmd.run().ok();
    spans(path).split_off(before)
}

/// The spans of one process.
fn of<'a>(spans: &'a [Value], process: &str) -> Vec<&'a Value> {
    spans.iter().filter(|span| span["process"] == process).collect()
}

/// The spans of one process with this step.
fn steps<'a>(spans: &'a [Value], process: &str, step: &str) -> Vec<&'a Value> {
    of(spans, process)
        .into_iter()
        .filter(|span| span["step"] == step)
        .collect()
}

#[track_caller]
fn assert_has(spans: &[Value], process: &str, names: &[&str]) {
    for name in names {
        assert!(
            !steps(spans, process, name).is_empty(),
            "no step {name} of {process}: {spans:#?}"
        );
    }
}

fn number(span: &Value, field: &str) -> u64 {
    span[field].as_u64().unwrap_or_else(|| panic!("{field} of {span}"))
}

fn end(span: &Value) -> u64 {
    number(span, "monotonic") + number(span, "duration")
}
