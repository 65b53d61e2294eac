//! The trace that the caller's work belongs to (W3C Trace Context, "traceparent"): its IDs are added to the lines of the log and
//! to the timings, so that a collector can join them with those of an engine.

use std::sync::OnceLock;

/// What names the caller's span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub parent_span_id: String,
}

/// The variable of the environment, in the format of the header.
const VARIABLE: &str = "TRACEPARENT";

/// The caller's context. An invalid one is ignored, as the recommendation demands.
pub fn context() -> Option<&'static TraceContext> {
    static CONTEXT: OnceLock<Option<TraceContext>> = OnceLock::new();
    let read = || parse(std::env::var_os(VARIABLE)?.to_str()?);
    CONTEXT.get_or_init(read).as_ref()
}

/// Reads a `traceparent` of version 00: `00-TRACE-PARENT-FLAGS`, all in lower case.
pub fn parse(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let mut part = |length: usize| {
        let part = parts.next()?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (part.len() == length && part.bytes().all(is_digit)).then_some(part)
    };
    let (version, trace, parent, _flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_zero = |id: &str| id.bytes().all(|digit| digit == b'0');
    if version != "00" || is_zero(trace) || is_zero(parent) || parts.next().is_some() {
        return None;
    }
    Some(TraceContext {
        trace_id: trace.into(),
        parent_span_id: parent.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[test]
    fn a_valid_context_is_read() {
        for flags in ["00", "01", "ff"] {
            let context = parse(&format!("00-{TRACE}-{PARENT}-{flags}")).expect("a context");
            assert_eq!(
                (context.trace_id.as_str(), context.parent_span_id.as_str()),
                (TRACE, PARENT)
            );
        }
    }

    #[test]
    fn an_invalid_context_is_ignored() {
        let zeros = |count: usize| "0".repeat(count);
        let invalid = [
            String::new(),
            "00".into(),
            format!("01-{TRACE}-{PARENT}-01"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("0-{TRACE}-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", zeros(32)),
            format!("00-{TRACE}-{}-01", zeros(16)),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-{}-{PARENT}-01", &TRACE[1..]),
            format!("00-{TRACE}0-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}0-01"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00-{TRACE}-{PARENT}-0g"),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-01-"),
            format!("00-{TRACE}-{PARENT}-01-x"),
            format!(" 00-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-01\n"),
        ];
        for text in invalid {
            assert_eq!(parse(&text), None, "{text:?}");
        }
    }
}
