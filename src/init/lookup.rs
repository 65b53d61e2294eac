//! Looks up the program of a process, where the process would find it, and foretells whether execve(2) will accept it.

use std::ffi::{CStr, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::files::Files;
use super::{elf, obstacle};
use crate::error::{At, Result, bail, with_hint};
use crate::plan::Process;
use crate::sys::{SysError, Syscall, fs};

/// The search path of execvp(3) if PATH is not set (confstr(3), _CS_PATH).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// How many interpreters of interpreters the kernel follows (BINPRM_MAX_RECURSION of linux/binfmts.h).
const MOST_INTERPRETERS: u32 = 4;

/// The place in the config that names the program.
pub fn program_at() -> At {
    At::new("process.args[0]")
}

fn os(text: &CStr) -> &OsStr {
    OsStr::from_bytes(text.to_bytes())
}

/// The program's path, by the rules of execvp(3) with the PATH of the container's environment.
pub fn search(plan: &Process, files: &dyn Files) -> Result<PathBuf> {
    let Some(name) = plan.args.first() else {
        bail!("process.args is empty")
    };
    let text = name.to_string_lossy();
    if name.to_bytes().contains(&b'/') {
        let path = PathBuf::from(os(name));
        return match check(&path, files) {
            Ok(()) => Ok(path),
            Err(error) if error.errno == Errno::ENOENT => Err(obstacle::not_there(plan, &text, &path, error, files)),
            Err(error) => Err(obstacle::refused(&text, &path, error, files)),
        };
    }
    let set = plan
        .env
        .iter()
        .find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let path = set.unwrap_or(DEFAULT_PATH.as_bytes());
    let mut denied = None;
    for directory in path.split(|byte| *byte == b':') {
        // An empty entry means the working directory.
        let directory = if directory.is_empty() {
            Path::new(".")
        } else {
            Path::new(OsStr::from_bytes(directory))
        };
        let candidate = directory.join(os(name));
        match check(&candidate, files) {
            Ok(()) => return Ok(candidate),
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(error) => denied = denied.or(Some((candidate, error))),
        }
    }
    match denied {
        Some((candidate, error)) => Err(obstacle::refused(&text, &candidate, error, files)),
        None => {
            let shown = String::from_utf8_lossy(path);
            let searched = match set {
                Some(_) => format!("the container's PATH is {shown:?}"),
                None => format!("process.env has no PATH, so {shown:?} was searched"),
            };
            let cure = obstacle::whole_command(plan)
                .unwrap_or_else(|| format!("{searched}; install the program in the image, or give its full path"));
            Err(with_hint(
                format!("exec: {text:?}: executable file not found in $PATH"),
                cure,
            ))
        }
    }
}

/// Checks whether execve(2) would accept a path, as far as that can be known in advance.
pub fn check(path: &Path, files: &dyn Files) -> Result<(), SysError> {
    let fd = files.open(path, libc::O_PATH)?;
    if fs::fstat(fd.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(SysError::new(Syscall::Execve.of(path), Errno::EISDIR));
    }
    files.may_execute(path)
}

/// The errno with which execve(2) would reject a file that [`check`] accepts, as far as the first bytes of the files
/// involved tell.
pub fn rejection(path: &Path, files: &dyn Files) -> Option<Errno> {
    rejection_below(path, files, MOST_INTERPRETERS)
}

/// The errno with which execve(2) would refuse a path, as far as that can be told in advance.
pub fn refusal(path: &Path, files: &dyn Files) -> Option<Errno> {
    refusal_below(path, files, MOST_INTERPRETERS + 1)
}

fn refusal_below(path: &Path, files: &dyn Files, levels: u32) -> Option<Errno> {
    match check(path, files) {
        // What execve(2) itself says about a directory.
        Err(error) if error.errno == Errno::EISDIR => Some(Errno::EACCES),
        Err(error) => Some(error.errno),
        Ok(()) => rejection_below(path, files, levels.checked_sub(1)?),
    }
}

fn rejection_below(path: &Path, files: &dyn Files, levels: u32) -> Option<Errno> {
    let begin = obstacle::head(path, files)?;
    let is_script = begin.starts_with(b"#!");
    if !is_script && !elf::can_be_loaded(&begin) {
        return Some(Errno::ENOEXEC);
    }
    let Some(interpreter) = obstacle::interpreter(&begin) else {
        return is_script.then_some(Errno::ENOEXEC);
    };
    refusal_below(Path::new(&interpreter), files, levels)
}
