//! A line of a file of timings: one span as JSON. docs/timings.md describes the fields.

use serde::Serialize;

use super::span::{Peer, Span};

/// The version of the format.
pub const VERSION: u32 = 1;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    pub version: u32,
    /// The same in all lines of one call of a verb, and in no others.
    pub call: String,
    pub verb: String,
    /// Of the container.
    pub id: String,
    /// `runtime`, `init` or `exec`.
    pub process: String,
    /// As the runtime sees it. Unknown if the process ended too early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    pub step: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub failed: bool,
    /// RFC 3339.
    pub begin: String,
    /// The same in nanoseconds of the monotonic clock.
    pub monotonic: u64,
    /// In nanoseconds.
    pub duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Line {
    /// Adds what a span says. `child`: what the other process of the call is named.
    pub fn of(self, span: &Span, child: &str) -> Self {
        let waits_for = span.waits_for.map(|peer| match peer {
            Peer::Runtime => "runtime",
            Peer::Child => child,
            Peer::Start => "start",
            Peer::Hook => "hook",
            Peer::Program => "program",
            Peer::Criu => "criu",
        });
        Line {
            step: span.step.name().into(),
            object: span.object.clone(),
            waits_for: waits_for.map(String::from),
            failed: span.failed,
            monotonic: span.begin,
            duration: span.duration,
            ..self
        }
    }

    pub fn end(&self) -> u64 {
        self.monotonic.saturating_add(self.duration)
    }
}
