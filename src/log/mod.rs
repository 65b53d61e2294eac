//! Messages: to standard error for people, and to `--log` (a file, the journal or syslog) for engines, as logrus text or JSON
//! lines, the two formats that callers of a runtime parse (`level`, `msg`, `time`). The messages of `--debug` have this format
//! on standard error as well, because they are mixed with the output of the container, and their times matter.

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
    minimum: Level,
    /// When the program started, with `--debug`.
    begun: Option<Instant>,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Sends a message over a channel to the process that writes the log.
pub type Send = fn(BorrowedFd, Level, String);

/// A copy of the channel to the runtime, and how to send over it, for a process that no longer has the log open.
static DIVERTED: Mutex<Option<(OwnedFd, Send)>> = Mutex::new(None);

/// Opens the log, with the minimum level of its messages. Called once, before anything can fail that would be logged.
pub fn open(to: Option<&Path>, format: Format, minimum: Level) -> Result<()> {
    let to = to.map(Destination::open).transpose()?;
    // A second call would be a bug; the settings of the first remain.
    let begun = (minimum == Level::Debug).then(Instant::now);
    let _ = LOG.set(Log {
        to,
        format,
        minimum,
        begun,
    });
    Ok(())
}

/// Whether [`open`] has been called, with success.
pub fn is_open() -> bool {
    LOG.get().is_some()
}

/// Whether debug messages are wanted (`--debug`).
pub fn debugging() -> bool {
    LOG.get().is_some_and(|log| log.minimum == Level::Debug)
}

/// From here on messages are sent to the runtime over this channel, and the runtime writes them. Without `--debug` nothing
/// changes.
pub fn divert(channel: BorrowedFd, send: Send) {
    if debugging()
        && let Ok(mut diverted) = DIVERTED.lock()
    {
        *diverted = channel.try_clone_to_owned().ok().map(|channel| (channel, send));
    }
}

/// The file descriptor of that channel, which must stay open when all others are closed.
pub fn diverted() -> Option<RawFd> {
    DIVERTED.lock().ok()?.as_ref().map(|(channel, _)| channel.as_raw_fd())
}

/// The time since the program started; only with `--debug`.
pub fn elapsed() -> Option<Duration> {
    Some(LOG.get()?.begun?.elapsed())
}

/// Logs a debug message; without `--debug` it is not even built.
pub fn debug(message: impl FnOnce() -> String) {
    if debugging() {
        write(Level::Debug, &message());
    }
}

/// Logs something that the caller should know although the work continues.
pub fn warning(message: &str) {
    write(Level::Warning, message);
}

/// Logs a message, in any process.
pub fn write(level: Level, message: &str) {
    if let Ok(diverted) = DIVERTED.lock()
        && let Some((channel, send)) = diverted.as_ref()
    {
        // The runtime writes it. Once `create` has returned, the runtime has exited and there is no log to write to.
        return send(channel.as_fd(), level, message.into());
    }
    write_of(SystemTime::now(), level, message);
}

/// Logs a message of that time.
pub fn write_of(time: SystemTime, level: Level, message: &str) {
    let Some(log) = LOG.get() else { return };
    if level < log.minimum {
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

/// The one error that ends the program: to the log file if there is one, and always to stderr. If it has several findings,
/// stderr gets a line for each of them, and the log one entry that holds all.
pub fn failure(report: &Report) {
    let report = Report {
        msg: shown(&report.msg),
        hint: report.hint.as_deref().map(shown),
        ..report.clone()
    };
    let others: Vec<(String, Option<String>)> = report
        .findings
        .iter()
        .skip(1)
        .map(|finding| (shown(&finding.text()), finding.hint.as_deref().map(shown)))
        .collect();
    if let Some(Log {
        to: Some(to), format, ..
    }) = LOG.get()
    {
        // Engines show their users `msg` and nothing else.
        let mut whole = report.clone();
        whole.msg = with_hint_in_line(&report.msg, report.hint.as_deref());
        for (msg, hint) in &others {
            let _ = write!(whole.msg, "; {}", with_hint_in_line(msg, hint.as_deref()));
        }
        if !others.is_empty() {
            whole.msg = shortened(whole.msg);
        }
        to.send(*format, SystemTime::now(), Level::Error, &whole);
    }
    let first = (report.msg, report.hint);
    for (msg, hint) in std::iter::once(first).chain(others) {
        let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        to_stderr(&format!("orlop: error: {msg}{hint}\n"));
    }
}

fn with_hint_in_line(msg: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{msg} (hint: {hint})"),
        None => msg.into(),
    }
}

/// A text that is safe to print on a terminal, here or by an engine. A message can contain the output of an image or of its
/// hook, which must neither control the terminal nor look like another message: newlines are kept only before indented lines,
/// which quote a file.
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
    // If standard error is closed or full, there is nowhere to report it.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A line of the log, with its newline.
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
