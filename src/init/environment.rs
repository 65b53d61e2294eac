//! The working directory and the environment variables. Runs in the process, inside the new root.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::context::ProcessContext;
use crate::error::{At, Context, Error, Result, call_with_hint, with_hint};
use crate::passwd;
use crate::plan::Process;
use crate::rootfs::{Root, notify};
use crate::sys::{SysError, SysResult, fs, process};

/// Enters the working directory, and creates it first if the image lacks it, as engines expect. Runs with full
/// privilege. Returns false if access is denied even so, which happens on network file systems and in directories of
/// unmapped users: then the process must enter it as its own user.
pub fn make_cwd(root: &Root, plan: &Process) -> Result<bool> {
    if plan.cwd == Path::new("/") {
        return Ok(true);
    }
    go_to(root.make_directory(&plan.cwd), plan)
}

/// Enters the working directory of a process that joins. It must exist: `exec` does not change the container's files.
pub fn enter_cwd(root: &Root, plan: &Process) -> Result<bool> {
    if plan.cwd == Path::new("/") {
        return Ok(true);
    }
    go_to(root.open(&plan.cwd, libc::O_PATH | libc::O_DIRECTORY), plan)
}

/// The error of a working directory that is a file, or below one.
pub fn not_a_directory(error: SysError) -> Error {
    call_with_hint(error, "not a directory", "process.cwd must name a directory")
}

fn go_to(directory: SysResult<OwnedFd>, plan: &Process) -> Result<bool> {
    let at = || At::object("process.cwd", plan.cwd.display());
    let error = match directory.and_then(|directory| fs::fchdir(directory.as_fd())) {
        Ok(()) => return Ok(true),
        Err(error) => error,
    };
    match error.errno {
        Errno::EACCES | Errno::EPERM => Ok(false),
        Errno::ENOTDIR => Err(not_a_directory(error)).with_context(at),
        // Such as /proc/self/fd/7, which leads out of the container.
        Errno::ELOOP => Err(call_with_hint(
            error,
            "leads out of the container",
            "process.cwd must not pass through magic links of /proc",
        ))
        .with_context(at),
        // Only when joining: init creates what is missing.
        Errno::ENOENT => Err(call_with_hint(
            error,
            "no such directory",
            "create the directory in the container first",
        ))
        .with_context(at),
        _ => Err(error).with_context(at),
    }
}

/// Enters the working directory if that has not been done, and verifies that it is inside the container. For any other
/// directory getcwd(2) returns "(unreachable)", however it was reached (CVE-2024-21626). Runs as the process's user.
pub fn check_cwd(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    let at = || At::object("process.cwd", plan.cwd.display());
    if !context.in_cwd {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        fs::openat2(fs::CWD, &plan.cwd, flags, 0, libc::RESOLVE_NO_MAGICLINKS)
            .and_then(|fd| fs::fchdir(fd.as_fd()))
            .map_err(|error| {
                let cure = "neither the container's root nor the process's user may enter it: change its owner or mode";
                call_with_hint(error, "the working directory is not accessible", cure)
            })
            .with_context(at)?;
    }
    let cwd = fs::getcwd().with_context(at)?;
    if !cwd.starts_with(b"/") {
        return Err(with_hint(
            "the working directory is outside the container's root file system",
            "process.cwd must name a directory inside the container",
        ))
        .with_context(at);
    }
    Ok(())
}

/// The environment of the process: that of the config, HOME from the container's /etc/passwd if the config does not set it,
/// and the variables that describe passed descriptors and the notification socket.
pub fn variables(plan: &Process) -> Vec<CString> {
    let mut variables = plan.env.clone();
    let is_home = |entry: &CString| entry.as_bytes().starts_with(b"HOME=");
    if !variables
        .iter()
        .any(|entry| is_home(entry) && entry.as_bytes() != b"HOME=")
    {
        variables.retain(|entry| !is_home(entry));
        let home = home(plan.uid).unwrap_or_else(|| "/".into());
        variables.extend(CString::new(format!("HOME={home}")));
    }
    let mut set = |name: &[u8], entry: CString| {
        variables.retain(|entry| !entry.as_bytes().starts_with(name));
        variables.push(entry);
    };
    if let Some(activation) = &plan.activation {
        set(b"LISTEN_FDS=", text(format!("LISTEN_FDS={}", activation.count)));
        // The process compares it with its own pid, which is 1 only in a new pid namespace.
        set(b"LISTEN_PID=", text(format!("LISTEN_PID={}", process::pid())));
        if let Some(names) = &activation.names {
            let entry = [b"LISTEN_FDNAMES=", names.as_bytes()].concat();
            set(b"LISTEN_FDNAMES=", CString::new(entry).unwrap_or_default());
        }
    }
    if plan.notify {
        set(b"NOTIFY_SOCKET=", notify::SOCKET.into());
    }
    variables
}

/// Converts a text of ours, which contains no NUL byte.
fn text(text: String) -> CString {
    CString::new(text).unwrap_or_default()
}

fn home(uid: u32) -> Option<String> {
    let file = fs::open(
        Path::new("/etc/passwd"),
        libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK,
    )
    .ok()?;
    // The file comes from the container and may be anything: only a regular file of a sane size is read.
    if fs::fstat(file.as_fd()).ok()?.st_mode & libc::S_IFMT != libc::S_IFREG {
        return None;
    }
    let text = fs::read_all(file.as_fd(), 4 << 20).ok()?;
    let text = String::from_utf8_lossy(&text);
    let home = passwd::users(&text)
        .filter(|user| user.uid == uid)
        .find_map(|user| user.home);
    home.map(str::to_string)
}
