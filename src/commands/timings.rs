//! `timings`: shows what `--timings=FILE` has written, as text, as a picture, or as JSON.

use serde_json::json;

use super::answer;
use crate::cli::{TextFormat, Timings};
use crate::error::{Context, Result};
use crate::sys::descriptor::Stream;
use crate::sys::terminal;
use crate::timings::waterfall::{self, Call};
use crate::timings::{read, svg};

pub fn run(arguments: &Timings) -> Result<u8> {
    let read = || -> Result<Vec<Call>> {
        let mut lines = Vec::new();
        for file in &arguments.files {
            lines.extend(read::file(file)?);
        }
        Ok(waterfall::calls(lines))
    };
    let calls = read().context("timings")?;
    match arguments.format {
        _ if arguments.svg => answer(&svg::picture(&calls)),
        TextFormat::Text => answer(&waterfall::text(&calls, terminal::columns(Stream::Output))),
        TextFormat::Json => answer(&format!("{}\n", json(&calls))),
    }
}

/// A list of calls, each with its spans in the order of their begin.
fn json(calls: &[Call]) -> serde_json::Value {
    let call = |call: &Call| {
        let first = call.lines.first();
        json!({
            "verb": first.map(|line| &line.verb),
            "id": first.map(|line| &line.id),
            "begin": first.map(|line| &line.begin),
            "duration": call.duration(),
            "spans": call.lines,
        })
    };
    calls.iter().map(call).collect()
}
