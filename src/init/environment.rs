//! The working directory and the environment variables. Run by the process, inside the new root.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::bundle::plan::Process;
use crate::error::{At, Context, Result, cured, hinted};
use crate::rootfs::Root;
use crate::sys::{SysResult, fs};

/// Enters the working directory, and makes it first where the image lacks it, as engines expect. Still with full
/// privilege.
pub fn make_cwd(root: &Root, plan: &Process) -> Result<()> {
    if plan.cwd == Path::new("/") {
        return Ok(());
    }
    go_to(root.make_directory(&plan.cwd), plan)
}

/// Enters the working directory of a process that joins: it must exist, for to make one would be to change the
/// container behind its back.
pub fn enter_cwd(root: &Root, plan: &Process) -> Result<()> {
    go_to(root.open(&plan.cwd, libc::O_PATH | libc::O_DIRECTORY), plan)
}

fn go_to(directory: SysResult<OwnedFd>, plan: &Process) -> Result<()> {
    let at = || At::object("process.cwd", plan.cwd.display());
    let error = match directory.and_then(|directory| fs::fchdir(directory.as_fd())) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    match error.errno {
        Errno::ENOTDIR => Err(cured(error, "not a directory", "process.cwd must name a directory")).with_context(at),
        // Such as /proc/self/fd/7: a way out of the container.
        Errno::ELOOP => Err(cured(
            error,
            "leads out of the container",
            "process.cwd must not lead through links of /proc",
        ))
        .with_context(at),
        // Only for one that joins: init has made what was missing.
        Errno::ENOENT => Err(cured(
            error,
            "no such directory",
            "exec makes none: it must exist in the container already",
        ))
        .with_context(at),
        _ => Err(error).with_context(at),
    }
}

/// Verifies that the working directory is inside the container. getcwd(2) says "(unreachable)" for any other, however
/// it was reached (CVE-2024-21626).
pub fn check_cwd(plan: &Process) -> Result<()> {
    let cwd = fs::getcwd().context(At::object("process.cwd", plan.cwd.display()))?;
    if !cwd.starts_with(b"/") {
        return Err(hinted(
            "the working directory is outside the container's root file system",
            "process.cwd must name a directory of the container",
        ))
        .context(At::object("process.cwd", plan.cwd.display()));
    }
    Ok(())
}

/// The process's environment: the config's, and HOME from the container's /etc/passwd where that says nothing.
pub fn variables(plan: &Process) -> Vec<CString> {
    let mut variables = plan.env.clone();
    if !variables.iter().any(|entry| entry.as_bytes().starts_with(b"HOME=")) {
        let home = home(plan.uid).unwrap_or_else(|| "/".into());
        variables.extend(CString::new(format!("HOME={home}")));
    }
    variables
}

fn home(uid: u32) -> Option<String> {
    let file = fs::open(
        Path::new("/etc/passwd"),
        libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK,
    )
    .ok()?;
    // The container's own file, so it may be anything: only a plain file of a sane size is read.
    if fs::fstat(file.as_fd()).ok()?.st_mode & libc::S_IFMT != libc::S_IFREG {
        return None;
    }
    let text = fs::read_all(file.as_fd(), 4 << 20).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let id = fields.nth(2)?;
        // Digits only: "+0" is a mark of NIS, and no number.
        (id.bytes().all(|byte| byte.is_ascii_digit()) && id.parse() == Ok(uid))
            .then(|| fields.nth(2).unwrap_or("/").to_string())
            .filter(|home| !home.is_empty())
    })
}
