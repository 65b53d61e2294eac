//! Where messages go: stderr for people, `--log` (a file, the journal or syslog) for engines, as logrus text or JSON lines, the two forms that
//! callers of a runtime parse (`level`, `msg`, `time`). What `--debug` adds has that form on stderr as well, where it stands
//! among the container's own output and its times count.

use std::fmt::Write as _;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Report, Result, Step, shortened};
use crate::rfc3339;

mod destination;

use destination::Destination;

/// The form of a log file's lines.
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
    fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

struct Log {
    to: Option<Destination>,
    format: Format,
    least: Level,
    /// When the program began, with `--debug`.
    begun: Option<Instant>,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Sends a message over a channel to the process that writes the log.
pub type Send = fn(BorrowedFd, Level, String);

/// A copy of the channel to the runtime, and how to send over it, for a process whose own descriptor of the log is closed.
static DIVERTED: Mutex<Option<(OwnedFd, Send)>> = Mutex::new(None);

/// Opens the log, of messages from a level on; called once, before anything can fail that would have to be logged.
pub fn open(to: Option<&Path>, format: Format, least: Level) -> Result<()> {
    let to = to.map(Destination::open).transpose()?;
    // A second call would be a mistake of ours; the first one's settings stay.
    let begun = (least == Level::Debug).then(Instant::now);
    let _ = LOG.set(Log {
        to,
        format,
        least,
        begun,
    });
    Ok(())
}

/// Whether [`open`] has succeeded.
pub fn is_open() -> bool {
    LOG.get().is_some()
}

/// Whether messages are wanted that help to follow the walk (`--debug`).
pub fn debugging() -> bool {
    LOG.get().is_some_and(|log| log.least == Level::Debug)
}

/// From here on `send` passes `--debug` lines over the channel to the runtime, which writes them. Without `--debug` there are
/// none.
pub fn divert(channel: BorrowedFd, send: Send) {
    if debugging()
        && let Ok(mut diverted) = DIVERTED.lock()
    {
        *diverted = channel.try_clone_to_owned().ok().map(|channel| (channel, send));
    }
}

/// The number of that descriptor, for whoever closes all others.
pub fn diverted() -> Option<RawFd> {
    DIVERTED.lock().ok()?.as_ref().map(|(channel, _)| channel.as_raw_fd())
}

/// How long the program has run; with `--debug` only.
pub fn elapsed() -> Option<Duration> {
    Some(LOG.get()?.begun?.elapsed())
}

/// A message that helps to follow the walk; dropped without `--debug`.
pub fn debug(message: impl FnOnce() -> String) {
    if debugging() {
        write(Level::Debug, &message());
    }
}

/// Something the caller should know although the work goes on.
pub fn warning(message: &str) {
    write(Level::Warning, message);
}

/// A message of a level, wherever it arose.
pub fn write(level: Level, message: &str) {
    if let Ok(diverted) = DIVERTED.lock()
        && let Some((channel, send)) = diverted.as_ref()
    {
        // The runtime that created us is gone after `create`; its log went with it.
        return send(channel.as_fd(), level, message.into());
    }
    write_of(SystemTime::now(), level, message);
}

/// A message that arose at that time.
pub fn write_of(time: SystemTime, level: Level, message: &str) {
    let Some(log) = LOG.get() else { return };
    if level < log.least {
        return;
    }
    let report = Report {
        msg: shown(&shortened(message.to_string())),
        ..Report::default()
    };
    match &log.to {
        Some(to) => to.send(log.format, time, level, &report),
        None if level == Level::Debug => to_stderr(&line(log.format, time, level, &report)),
        None => to_stderr(&format!("orlop: {}: {}\n", level.name(), report.msg)),
    }
}

/// The one error that ends the program: to the log file if there is one, and always to stderr.
pub fn failure(report: &Report) {
    let report = Report {
        msg: shown(&report.msg),
        hint: report.hint.as_deref().map(shown),
        ..report.clone()
    };
    if let Some(Log {
        to: Some(to), format, ..
    }) = LOG.get()
    {
        // Engines show their users `msg` and nothing else.
        let mut whole = report.clone();
        if let Some(hint) = &report.hint {
            let _ = write!(whole.msg, " (hint: {hint})");
        }
        to.send(*format, SystemTime::now(), Level::Error, &whole);
    }
    let hint = report
        .hint
        .as_ref()
        .map(|hint| format!("\nhint: {hint}"))
        .unwrap_or_default();
    to_stderr(&format!("orlop: error: {}{hint}\n", report.msg));
}

/// A text as it may go to a terminal, ours or that of an engine's user. A message can hold what an image or its hook said,
/// which must neither command the terminal nor look like a line of ours: only indented lines, as we quote a file with, stay
/// lines of their own.
fn shown(text: &str) -> String {
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

fn to_stderr(text: &str) {
    // Nothing can be done about a stderr that is closed or full.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A line of the log, with its end.
fn line(format: Format, time: SystemTime, level: Level, report: &Report) -> String {
    let time = rfc3339::format(time);
    let errno = report.errno.map(|errno| format!("{errno:?}"));
    let optional = [
        ("step", report.step.map(Step::name)),
        ("path", report.path.as_deref()),
        ("errno", errno.as_deref()),
        ("hint", report.hint.as_deref()),
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

/// A text as logrus quotes it, which is Go's `strconv.Quote`: readers of the text form undo these escapes.
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

/// A character as it is if it can be printed, and else as Go escapes it.
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

/// Letters, marks, numbers, punctuation, symbols and the blank.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // std knows it but tells only by how it escapes; behind a letter, because there a mark is no special case.
    let mut behind_a_letter = [0; 5];
    behind_a_letter[0] = b'a';
    let length = 1 + c.encode_utf8(&mut behind_a_letter[1..]).len();
    std::str::from_utf8(behind_a_letter.get(..length).unwrap_or_default())
        .is_ok_and(|text| text.escape_debug().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::{quoted, shown};

    #[test]
    fn nothing_that_is_shown_commands_the_terminal_or_begins_a_line_of_its_own() {
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
    fn texts_are_quoted_as_go_does() {
        // By the rules of strconv.Quote.
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
