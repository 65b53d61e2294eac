//! The lines of a log, as logrus text or JSON, and text that is safe for a terminal.

use std::fmt::Write;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Report, Step};
use crate::{rfc3339, trace};

/// The format of the lines of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Debug,
    Warning,
    Error,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// A text that is safe to print on a terminal, here or by an engine. A message can contain the output of an image or of its
/// hook, which must neither control the terminal nor look like another message: newlines are kept only before indented lines,
/// which quote a file.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, c) in text.char_indices() {
        if c == '\n' && text.get(index..).is_some_and(|rest| rest.starts_with("\n    ")) {
            shown.push(c);
        } else {
            push_escaped(&mut shown, c);
        }
    }
    shown
}

/// A line of the log, with its newline.
pub fn line(format: Format, time: SystemTime, level: Level, report: &Report) -> String {
    let time = rfc3339::format(time);
    let errno = report.errno.map(|errno| format!("{errno:?}"));
    let trace = trace::context();
    let optional = [
        ("step", report.step.map(Step::name)),
        ("path", report.path.as_deref()),
        ("errno", errno.as_deref()),
        ("hint", report.hint.as_deref()),
        ("traceId", trace.map(|trace| trace.trace_id.as_str())),
        ("parentSpanId", trace.map(|trace| trace.parent_span_id.as_str())),
    ];
    let mut line = match format {
        Format::Json => {
            let mut fields = Map::new();
            fields.insert("level".into(), level.name().into());
            fields.insert("msg".into(), report.msg.clone().into());
            fields.insert("time".into(), time.into());
            for (name, value) in optional {
                if let Some(value) = value {
                    fields.insert(name.into(), value.into());
                }
            }
            if !report.findings.is_empty() {
                fields.insert("findings".into(), serde_json::json!(report.findings));
            }
            Value::Object(fields).to_string()
        }
        Format::Text => {
            let mut line = format!("time=\"{time}\" level={} msg={}", level.name(), quoted(&report.msg));
            for (name, value) in optional {
                if let Some(value) = value {
                    let _ = write!(line, " {name}={}", quoted(value));
                }
            }
            line
        }
    };
    line.push('\n');
    line
}

/// Quotes a text as logrus does, with Go's `strconv.Quote`: readers of the text format undo these escapes.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c => push_escaped(&mut quoted, c),
        }
    }
    quoted.push('"');
    quoted
}

/// Appends a character if it is printable, and otherwise its escape sequence in Go.
fn push_escaped(text: &mut String, c: char) {
    match c {
        '\u{7}' => text.push_str("\\a"),
        '\u{8}' => text.push_str("\\b"),
        '\u{c}' => text.push_str("\\f"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\u{b}' => text.push_str("\\v"),
        c if is_printable(c) => text.push(c),
        c => {
            let _ = match u32::from(c) {
                number @ 0..0x80 => write!(text, "\\x{number:02x}"),
                number @ 0x80..0x1_0000 => write!(text, "\\u{number:04x}"),
                number => write!(text, "\\U{number:08x}"),
            };
        }
    }
}

/// Letters, marks, numbers, punctuation, symbols and the space.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // std has no function for this, but its escaping tells. It is applied after a letter, where combining marks are not
    // treated specially.
    let mut after_a_letter = [0; 5];
    after_a_letter[0] = b'a';
    let length = 1 + c.encode_utf8(&mut after_a_letter[1..]).len();
    std::str::from_utf8(after_a_letter.get(..length).unwrap_or_default())
        .is_ok_and(|text| text.escape_debug().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::{quoted, shown};

    #[test]
    fn messages_neither_control_the_terminal_nor_forge_lines() {
        let table = [
            ("plain \"text\" \\", "plain \"text\" \\"),
            (
                "\u{1b}[2J\u{9b}31m\r\t\u{7}\u{202e}",
                "\\x1b[2J\\u009b31m\\r\\t\\a\\u202e",
            ),
            (
                "said\norlop: error: all is lost\n",
                "said\\norlop: error: all is lost\\n",
            ),
            (
                "trailing comma\n    [1,]\n       ^",
                "trailing comma\n    [1,]\n       ^",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn texts_are_quoted_as_in_go() {
        // The rules of strconv.Quote.
        let table = [
            ("", r#""""#),
            ("plain text", r#""plain text""#),
            ("a\"b\\c'd", r#""a\"b\\c'd""#),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
            ("\0\u{1}\u{1b}[31m\u{7f}", r#""\x00\x01\x1b[31m\x7f""#),
            ("é 漢 🛳 e\u{301}", "\"é 漢 🛳 e\u{301}\""),
            ("\u{85}\u{a0}\u{ad}", r#""\u0085\u00a0\u00ad""#),
            (
                "\u{200b}\u{2028}\u{202e}\u{feff}\u{e000}",
                r#""\u200b\u2028\u202e\ufeff\ue000""#,
            ),
            ("\u{e0001}\u{10ffff}", r#""\U000e0001\U0010ffff""#),
            ("\u{fffd}", "\"\u{fffd}\""),
        ];
        for (text, expected) in table {
            assert_eq!(quoted(text), expected, "{text:?}");
        }
    }
}
