//! Passes a process's pid, pidfd and terminal master to the caller of `create`, `run` and `exec`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Context, Result, Step, anyhow, with_hint};
use crate::progress;
use crate::sys::{fs, socket};

/// How many seconds a receiver may take to accept. A receiver that never does must not block the caller forever.
pub const PATIENCE: i32 = 10;

/// `--console-socket`: sends the terminal's master end to the process that listens there. Returns the master if there is no
/// socket.
pub fn console(socket: Option<&Path>, master: Option<OwnedFd>) -> Result<Option<OwnedFd>> {
    match (socket, &master) {
        (Some(path), Some(fd)) => {
            progress::step(Step::ConsoleSocket);
            send(path, "/dev/ptmx", fd).context(Step::ConsoleSocket)?;
            Ok(None)
        }
        _ => Ok(master),
    }
}

/// `--pidfd-socket`: sends a pidfd, with the same word that runc sends along.
pub fn pidfd(socket: &Path, pidfd: &OwnedFd, word: &str) -> Result<()> {
    progress::step(Step::PidfdSocket);
    send(socket, word, pidfd).context(Step::PidfdSocket)
}

fn send(path: &Path, word: &str, fd: &OwnedFd) -> Result<()> {
    let socket = socket::unix(libc::SOCK_STREAM)?;
    socket::limit_sending(socket.as_fd(), PATIENCE)?;
    socket::connect(socket.as_fd(), path)?;
    Ok(socket::send(socket.as_fd(), word.as_bytes(), Some(fd.as_fd()))?)
}

/// `--pid-file`. A process that waits for the file must never see it half written.
pub fn pid_file(path: &Path, pid: i32) -> Result<()> {
    progress::step(Step::PidFile);
    write_pid_file(path, pid)
        .with_context(|| format!("{path:?}"))
        .context(Step::PidFile)
}

fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().ok_or_else(|| anyhow!("not a file name"))?;
    if write_at_once(path, pid)? {
        return Ok(());
    }
    // An existing file is replaced; a device such as /dev/null would be lost for the whole host.
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return Err(with_hint(
            "is not a regular file, and would be replaced by one",
            "name a file that does not exist yet, or an earlier pid file",
        ));
    }
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    // Never through a link that someone has placed there, and not into a file of another user.
    match fs::unlinkat(fs::CWD, &temporary, false) {
        // A missing directory is reported by the next call.
        Err(error) if error.errno != Errno::ENOENT => return Err(error.into()),
        _ => {}
    }
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
    let file = fs::openat(fs::CWD, &temporary, flags, 0o666)?;
    let put = || -> Result<()> {
        fs::write(file.as_fd(), pid.to_string().as_bytes())?;
        Ok(fs::renameat(fs::CWD, &temporary, path)?)
    };
    put().inspect_err(|_| {
        let _ = fs::unlinkat(fs::CWD, &temporary, false);
    })
}

/// Writes a file that has no name yet, so that nothing is left if the runtime is killed, and then links it. Returns false if
/// that is not possible: the name exists, or the file system does not support it.
fn write_at_once(path: &Path, pid: i32) -> Result<bool> {
    let directory = match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    let Ok(file) = fs::openat(fs::CWD, directory, libc::O_WRONLY | libc::O_TMPFILE, 0o666) else {
        return Ok(false);
    };
    fs::write(file.as_fd(), pid.to_string().as_bytes())?;
    Ok(fs::link(file.as_fd(), path).is_ok())
}
