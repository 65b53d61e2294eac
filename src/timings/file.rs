//! Where the timings go. Runs in the runtime only; the descriptor is close-on-exec, and init closes it with all others.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, Result, call_with_hint};
use crate::sys::{SysError, SysResult, fs};

/// Names the file, or a directory for a file per call, where the option is not given.
pub const VARIABLE: &str = "ORLOP_TIMINGS";

pub enum Sink {
    File(OwnedFd),
    /// Printed at the end of the call.
    Screen,
    /// In init and in exec processes: sent to the runtime.
    Runtime,
}

/// Nothing waits for the reader of a FIFO.
const FLAGS: i32 = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_NONBLOCK | libc::O_NOCTTY;

fn append(path: &Path, more: i32) -> SysResult<OwnedFd> {
    fs::openat(fs::CWD, path, FLAGS | more, 0o600)
}

fn refused(error: SysError, name: &str, path: &Path) -> Error {
    let what = format!("{name}={}: cannot open the file for timings", path.display());
    match error.errno {
        Errno::EISDIR => call_with_hint(
            error,
            what,
            format!("name a file in it; {VARIABLE} may name a directory, which gets one file per call"),
        ),
        Errno::ENOENT => call_with_hint(error, what, "create its directory first"),
        Errno::ENXIO => call_with_hint(error, what, "start the reader of the pipe first"),
        Errno::ELOOP => call_with_hint(error, what, "a symbolic link has this name: remove it"),
        _ => Error::new(error).context(what),
    }
}

/// The file of the option.
pub fn open_option(path: &Path) -> Result<OwnedFd> {
    append(path, 0).map_err(|error| refused(error, "--timings", path))
}

/// The file that the environment names, or a file for this call in that directory.
pub fn open_variable(path: &Path, verb: &str, id: &str) -> Result<OwnedFd> {
    match append(path, 0) {
        Err(error) if error.errno == Errno::EISDIR => {
            let file = path.join(name(verb, id, crate::sys::process::pid()));
            // Others may be allowed to write to the directory.
            append(&file, libc::O_NOFOLLOW).map_err(|error| refused(error, VARIABLE, &file))
        }
        other => other.map_err(|error| refused(error, VARIABLE, path)),
    }
}

/// The name of the file for a call. The ID has not been checked in every case.
fn name(verb: &str, id: &str, pid: i32) -> String {
    let plain = |c: char| match c.is_ascii_alphanumeric() || "_+-.".contains(c) {
        true => c,
        false => '-',
    };
    let id: String = id.chars().map(plain).take(200).collect();
    format!("{verb}-{id}-{pid}.jsonl")
}

/// Up to this length a write to a pipe is not mixed with those of others (pipe(7), PIPE_BUF).
const WHOLE: usize = 4096;

/// Writes lines, several of them with one call. A line is never split between two calls, so that the lines of other processes
/// cannot come in between.
pub fn write(file: &OwnedFd, lines: &[String]) -> SysResult<()> {
    let mut batch = String::with_capacity(WHOLE);
    for line in lines {
        if !batch.is_empty() && batch.len() + line.len() > WHOLE {
            fs::write_all(file.as_fd(), batch.as_bytes())?;
            batch.clear();
        }
        batch.push_str(line);
    }
    fs::write_all(file.as_fd(), batch.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_stays_in_its_directory() {
        let table = [
            ("web", "run-web-7.jsonl"),
            ("../../etc/x y\n", "run-..-..-etc-x-y--7.jsonl"),
            ("", "run--7.jsonl"),
        ];
        for (id, expected) in table {
            assert_eq!(name("run", id, 7), expected, "{id:?}");
        }
        assert!(name("run", &"é".repeat(1000), 7).len() < 255);
    }
}
