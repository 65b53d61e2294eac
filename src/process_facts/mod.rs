//! Facts about a process of the host, as /proc shows them. Only files that every user may read, unless a function says
//! otherwise. A PID may be reused: the caller must hold a pidfd, and ask afterwards whether the process still exists.

mod limits;
mod status;

use std::os::fd::AsFd;
use std::path::Path;

use procfs::FromRead;
use procfs::process::Stat;

use crate::error::{Context, Result, bail};
use crate::sys::process::{NAMESPACES, NamespaceKind};
use crate::sys::{SysResult, directory, fs};

pub use limits::{Limit, limits};
pub use status::{Status, status};

/// The most that is read of a file. The kernel's own files are far shorter; a command line is as long as the process wants.
const LONGEST: usize = 1 << 20;

/// The most that is read of a command line.
const LONGEST_COMMAND: usize = 4096;

/// A file of a process, as text.
fn read(pid: i32, file: &str) -> SysResult<String> {
    read_some(pid, file, LONGEST)
}

fn read_some(pid: i32, file: &str, limit: usize) -> SysResult<String> {
    let fd = fs::open(Path::new(&format!("/proc/{pid}/{file}")), libc::O_RDONLY)?;
    let text = fs::read_all(fd.as_fd(), limit)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A file with one line, without its end.
pub fn line(pid: i32, file: &str) -> SysResult<String> {
    Ok(read(pid, file)?.trim_end_matches(['\n', '\0']).to_string())
}

/// /proc/PID/stat (proc_pid_stat(5)).
pub fn stat(pid: i32) -> Result<Stat> {
    Stat::from_read(read(pid, "stat")?.as_bytes()).with_context(|| format!("/proc/{pid}/stat"))
}

/// The arguments of a process, which it may have changed; empty for a kernel thread and for a zombie. Long ones are cut off.
/// Other users' processes can be asked, too.
pub fn command_line(pid: i32) -> SysResult<Vec<String>> {
    let text = read_some(pid, "cmdline", LONGEST_COMMAND)?;
    let text = text.strip_suffix('\0').unwrap_or(&text);
    Ok(match text {
        "" => Vec::new(),
        text => text.split('\0').map(str::to_string).collect(),
    })
}

/// The inode number of a namespace of a process (`self` or a PID), which tells it from all others of its kind; none if the
/// kernel has no such kind. Requires the right to trace the process (PTRACE_MODE_READ_FSCREDS in ptrace(2)).
pub fn namespace(process: &str, kind: &NamespaceKind) -> Result<Option<u64>> {
    let directory = format!("/proc/{process}/ns");
    let directory = fs::open(Path::new(&directory), libc::O_PATH | libc::O_DIRECTORY)?;
    let link = match fs::readlinkat(directory.as_fd(), kind.file) {
        Err(error) if error.errno == nix::errno::Errno::ENOENT && !has_ended(process) => return Ok(None),
        other => other?,
    };
    let link = String::from_utf8_lossy(&link).into_owned();
    let inode = link.split_once(":[").and_then(|(_, rest)| rest.strip_suffix(']'));
    match inode.and_then(|inode| inode.parse().ok()) {
        Some(inode) => Ok(Some(inode)),
        None => bail!("/proc/{process}/ns: {link:?} is not a namespace"),
    }
}

/// The PIDs of all processes that this procfs shows.
pub fn all() -> SysResult<Vec<i32>> {
    let directory = fs::open(Path::new("/proc"), libc::O_RDONLY | libc::O_DIRECTORY)?;
    let entries = directory::entries(directory.as_fd())?.into_iter();
    Ok(entries.filter_map(|entry| entry.name.to_str()?.parse().ok()).collect())
}

/// A process that is ending has left its namespaces.
fn has_ended(process: &str) -> bool {
    let any = fs::open(Path::new(&format!("/proc/{process}/ns/mnt")), libc::O_PATH);
    any.is_err()
}

/// A kind of namespace by its name in the runtime-spec.
pub fn kind(name: &str) -> Option<&'static NamespaceKind> {
    NAMESPACES.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process;

    #[test]
    fn this_process_is_described() {
        let pid = process::pid();
        assert_eq!(stat(pid).unwrap().pid, pid);
        let command = command_line(pid).unwrap();
        assert_eq!(command.first(), std::env::args().next().as_ref());
        let own = |name: &str| namespace("self", kind(name).unwrap()).unwrap();
        assert_eq!(
            own("network"),
            namespace(&pid.to_string(), kind("network").unwrap()).unwrap()
        );
        assert!(own("network").is_some() && own("network") != own("ipc"));
        assert!(line(pid, "oom_score_adj").unwrap().parse::<i32>().is_ok());
    }
}
