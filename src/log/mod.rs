//! Messages: to standard error for people, and to `--log` (a file, the journal or syslog) for engines, as logrus text or JSON
//! lines, the two formats that callers of a runtime parse (`level`, `msg`, `time`). The messages of `--debug` have this format
//! on standard error as well, because they are mixed with the output of the container, and their times matter.

use std::fmt::Write as _;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Report, Result, shortened};

mod destination;
mod line;

use destination::Destination;
use line::line;

pub use line::{Format, Level, shown};

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

fn to_stderr(text: &str) {
    // If standard error is closed or full, there is nowhere to report it.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
