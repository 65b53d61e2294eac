//! The destinations of `--log`: a file, the journal, or syslog.

use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::line::{Format, Level, line};
use crate::error::{Context, Error, Report, Result, Step, call_with_hint};
use crate::sys::{SysError, Syscall};
use crate::{rfc3339, trace};

/// The socket of the journal for messages in its own format (systemd's "Native Journal Protocol").
const JOURNAL: &str = "/run/systemd/journal/socket";
/// The socket of a syslog service.
const SYSLOG: &str = "/dev/log";
/// The default identifier of the messages.
const NAME: &str = "orlop";
/// How long a message waits for a service that does not read. A message is not worth more of a container's time.
const PATIENCE: Duration = Duration::from_secs(1);
/// The length of a datagram that every service accepts.
const LONGEST: usize = 32 << 10;
/// LOG_USER of syslog(3).
const FACILITY: u8 = 1 << 3;

pub enum Destination {
    File(File),
    Journal { socket: UnixDatagram, name: String },
    Syslog { socket: UnixDatagram, name: String },
}

impl Destination {
    /// Opens a path, or a destination as in crun: `file:PATH`, `journald:[NAME]` or `syslog:[NAME]`.
    pub fn open(to: &Path) -> Result<Self> {
        let text = to.as_os_str().as_bytes();
        let name = |rest: &[u8]| match rest {
            [] => NAME.to_string(),
            rest => String::from_utf8_lossy(rest).into_owned(),
        };
        let opened = if let Some(rest) = text.strip_prefix(b"journald:") {
            connect(JOURNAL, "journald").map(|socket| Destination::Journal {
                socket,
                name: name(rest),
            })
        } else if let Some(rest) = text.strip_prefix(b"syslog:") {
            connect(SYSLOG, "a syslog service").map(|socket| Destination::Syslog {
                socket,
                name: name(rest),
            })
        } else {
            let path = text.strip_prefix(b"file:").unwrap_or(text);
            append(Path::new(std::ffi::OsStr::from_bytes(path))).map(Destination::File)
        };
        opened.with_context(|| format!("--log {to:?}"))
    }

    /// Writes a message with a single call, so that the messages of several processes are not mixed. Errors are ignored: a full
    /// disk must not stop a container.
    pub fn send(&self, format: Format, time: SystemTime, level: Level, report: &Report) {
        let _ = match self {
            Destination::File(file) => {
                let mut file: &File = file;
                file.write_all(line(format, time, level, report).as_bytes())
            }
            Destination::Journal { socket, name } => {
                socket.send(&to_journal(name, format, time, level, report)).map(drop)
            }
            Destination::Syslog { socket, name } => {
                socket.send(&to_syslog(name, format, time, level, report)).map(drop)
            }
        };
    }
}

fn append(path: &Path) -> Result<File> {
    let open = std::fs::OpenOptions::new().create(true).append(true).open(path);
    open.context("cannot open the log file")
}

fn connect(path: &str, who: &str) -> Result<UnixDatagram> {
    let connect = || {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket)
    };
    connect().map_err(|error: std::io::Error| -> Error {
        call_with_hint(
            SysError::from_io(Syscall::Connect.of(path), &error),
            "nothing is listening",
            format!("start {who} first, or log to a file"),
        )
    })
}

/// Priorities of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warning => 4,
        Level::Debug => 7,
    }
}

/// The text of a message; in the JSON format it is the line of a file.
fn message(format: Format, time: SystemTime, level: Level, report: &Report) -> String {
    let mut text = match format {
        Format::Text => report.msg.clone(),
        Format::Json => line(format, time, level, report).trim_end().to_string(),
    };
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// The fields of an entry, each with its length, so that a value may contain any bytes.
fn to_journal(name: &str, format: Format, time: SystemTime, level: Level, report: &Report) -> Vec<u8> {
    let message = message(format, time, level, report);
    let priority = priority(level).to_string();
    let errno = report.errno.map(|errno| format!("{errno:?}"));
    let trace = trace::context();
    let fields = [
        ("MESSAGE", Some(message.as_str())),
        ("PRIORITY", Some(priority.as_str())),
        ("SYSLOG_IDENTIFIER", Some(name)),
        ("ORLOP_STEP", report.step.map(Step::name)),
        ("ORLOP_PATH", report.path.as_deref()),
        ("ORLOP_ERRNO", errno.as_deref()),
        ("ORLOP_HINT", report.hint.as_deref()),
        ("TRACE_ID", trace.map(|trace| trace.trace_id.as_str())),
        ("PARENT_SPAN_ID", trace.map(|trace| trace.parent_span_id.as_str())),
    ];
    let mut entry = Vec::new();
    for (field, value) in fields {
        let Some(value) = value else { continue };
        entry.extend_from_slice(field.as_bytes());
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        entry.extend_from_slice(value.as_bytes());
        entry.push(b'\n');
    }
    entry
}

/// A line of RFC 3164, with the time in UTC. Services use the time of receipt, and do not accept newlines.
fn to_syslog(name: &str, format: Format, time: SystemTime, level: Level, report: &Report) -> Vec<u8> {
    let number = FACILITY | priority(level);
    let message = message(format, time, level, report).replace('\n', " ");
    let pid = std::process::id();
    let time = rfc3339::format(time);
    format!("<{number}>{} {name}[{pid}]: {message}", month_and_day(&time)).into_bytes()
}

/// `Nov  3 08:41:27` of `2026-11-03T08:41:27.5Z`.
fn month_and_day(time: &str) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let number = |range: std::ops::Range<usize>| time.get(range).and_then(|digits| digits.parse::<usize>().ok());
    let month = number(5..7).and_then(|month| MONTHS.get(month.checked_sub(1)?));
    let day = number(8..10).unwrap_or(1);
    format!(
        "{} {day:>2} {}",
        month.unwrap_or(&"Jan"),
        time.get(11..19).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(msg: &str) -> Report {
        Report {
            msg: msg.into(),
            step: Some(Step::Mounts),
            ..Report::default()
        }
    }

    #[test]
    fn journal_entries_give_the_lengths_of_values() {
        let entry = to_journal(
            "me",
            Format::Text,
            SystemTime::now(),
            Level::Warning,
            &report("a\nPRIORITY=0"),
        );
        let expected: &[&[u8]] = &[
            b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n",
            b"PRIORITY\n\x01\0\0\0\0\0\0\x004\n",
            b"SYSLOG_IDENTIFIER\n\x02\0\0\0\0\0\0\0me\n",
            b"ORLOP_STEP\n\x06\0\0\0\0\0\0\0mounts\n",
        ];
        assert_eq!(entry, expected.concat());
    }

    #[test]
    fn syslog_lines_have_priority_and_name() {
        let line = String::from_utf8(to_syslog(
            "me",
            Format::Text,
            SystemTime::now(),
            Level::Error,
            &report("a\nb"),
        ))
        .unwrap();
        let pid = std::process::id();
        assert!(
            line.starts_with("<11>") && line.ends_with(&format!(" me[{pid}]: a b")),
            "{line}"
        );
        assert_eq!(month_and_day("2026-11-03T08:41:27.5Z"), "Nov  3 08:41:27");
        assert_eq!(month_and_day("2026-01-30T23:59:00Z"), "Jan 30 23:59:00");
        let json = String::from_utf8(to_syslog(
            "me",
            Format::Json,
            SystemTime::now(),
            Level::Debug,
            &report("x"),
        ))
        .unwrap();
        assert!(
            json.starts_with("<15>") && json.contains("]: {\"level\":\"debug\",\"msg\":\"x\""),
            "{json}"
        );
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = message(
            Format::Text,
            SystemTime::now(),
            Level::Error,
            &report(&"\u{e9}".repeat(LONGEST)),
        );
        assert_eq!(text.len(), LONGEST);
        let text = message(
            Format::Text,
            SystemTime::now(),
            Level::Error,
            &report(&format!("a{}", "\u{e9}".repeat(LONGEST))),
        );
        assert_eq!(text.len(), LONGEST - 1);
    }
}
