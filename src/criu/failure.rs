//! Failures of CRIU: what it said last, and where the rest is.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::rpc::{Criu_req_type, Criu_resp};
use crate::error::{Error, anyhow, call_with_hint, with_hint};
use crate::sys::{Arg, Call, SysError, Syscall, fs};

/// The number of error lines that are quoted.
const QUOTED: usize = 4;

/// How much of the end of a log is looked at, in bytes: the lines of `--debug` level may be many.
const TAIL: usize = 256 << 10;

/// The error of a request that CRIU answers with a failure. `log`: its log, if it was to write one.
pub fn of(response: &Criu_resp, log: Option<&Path>, output: &OwnedFd) -> Error {
    let said = said(log, output);
    let said = match (said.is_empty(), response.cr_errmsg()) {
        (true, message) => message.trim_end().to_string(),
        (false, _) => said,
    };
    let said = if said.is_empty() {
        "CRIU failed without a message".into()
    } else {
        said
    };
    match response.cr_errno() {
        0 => with_log(said, log),
        number => {
            let request = match response.type_() {
                Criu_req_type::DUMP => "dump",
                Criu_req_type::PRE_DUMP => "pre-dump",
                Criu_req_type::RESTORE => "restore",
                _ => "request",
            };
            let call = Call::new(Syscall::Criu, vec![Arg::word(request)]).with(said);
            let error = SysError::new(call, Errno::from_raw(number));
            match hint(log) {
                Some(hint) => call_with_hint(error, "CRIU failed", hint),
                None => error.into(),
            }
        }
    }
}

/// The error of a CRIU that has ended without an answer.
pub fn of_ended(how: &str, log: &Path, output: &OwnedFd) -> Error {
    match said(Some(log), output) {
        said if said.is_empty() => with_log(how.into(), Some(log)),
        said => with_log(format!("{how}: {said}"), Some(log)),
    }
}

fn with_log(message: String, log: Option<&Path>) -> Error {
    match hint(log) {
        Some(hint) => with_hint(message, hint),
        None => anyhow!("{message}"),
    }
}

fn hint(log: Option<&Path>) -> Option<String> {
    let log = log.filter(|log| log.exists())?;
    Some(format!("the log of CRIU has the details: {}", log.display()))
}

/// The last errors in the log, or everything that was printed if there is no log.
fn said(log: Option<&Path>, output: &OwnedFd) -> String {
    let text = log.and_then(|log| std::fs::read(log).ok()).unwrap_or_default();
    let tail = text.get(text.len().saturating_sub(TAIL)..).unwrap_or_default();
    let mut lines = errors(&String::from_utf8_lossy(tail));
    if lines.is_empty() {
        let printed = fs::seek_to_start(output.as_fd()).and_then(|()| fs::read_all(output.as_fd(), TAIL));
        let printed = printed.unwrap_or_default();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        lines = errors(&printed);
        if lines.is_empty() {
            lines = printed
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(String::from)
                .collect();
        }
    }
    let first = lines.len().saturating_sub(QUOTED);
    lines.get(first..).unwrap_or_default().join("; ")
}

/// The lines that report errors, without their times: `(00.043464) Error (criu/util.c:1534): …`.
fn errors(text: &str) -> Vec<String> {
    let of_line = |line: &str| {
        let begin = line.find("Error (")?;
        // The time, and with `log-pid` a process, come before it; nothing else does.
        let (before, error) = line.split_at_checked(begin)?;
        before
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '(' | ')' | '.' | ' ' | ':' | 'p' | 'i' | 'e'))
            .then(|| error.trim_end().to_string())
    };
    text.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_quoted_without_times() {
        let log = "(00.000100) Version: 4.2.1\n(00.151973) Error (criu/files-reg.c:1790): Can't lookup mount=43\n\
                   (00.151986)     11: Error (criu/cr-dump.c:1545): Dump files failed with -1\nsays Error (not an error)\n\
                   pie: 1: Error (criu/pie/restorer.c:1): bad\n";
        assert_eq!(
            errors(log),
            [
                "Error (criu/files-reg.c:1790): Can't lookup mount=43",
                "Error (criu/cr-dump.c:1545): Dump files failed with -1",
                "Error (criu/pie/restorer.c:1): bad",
            ]
        );
    }
}
