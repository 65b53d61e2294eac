//! Where the cgroup tree is mounted, and which cgroup a process is in. See cgroups(7) and proc_pid_mountinfo(5).

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Result, bail, with_hint};
use crate::mountinfo;
use crate::sys::fs::{self, FsType};
use crate::sys::{SysError, Syscall};

/// Where cgroup2 is mounted.
pub fn mount_point() -> Result<PathBuf> {
    find()?.ok_or_else(|| {
        with_hint(
            "cgroup version 2 is not mounted",
            "mount it: `mount -t cgroup2 none /sys/fs/cgroup`; orlop does not use version 1",
        )
    })
}

/// Where cgroup2 is mounted, if it is. The usual places are checked first, because mountinfo can be long.
pub fn find() -> Result<Option<PathBuf>> {
    for usual in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        if fs::type_at(Path::new(usual)) == Ok(FsType::CGROUP2) {
            return Ok(Some(usual.into()));
        }
    }
    Ok(mountinfo::point_of(&mountinfo::read()?, "cgroup2"))
}

/// The place of a process's cgroup below the root of our cgroup namespace: `0::/…` in /proc/PID/cgroup. `process` is a
/// pid or `self`. For a cgroup that has been removed, the kernel gives a path that does not exist.
pub fn place_of(process: &str) -> Result<PathBuf> {
    let file = format!("/proc/{process}/cgroup");
    let open = fs::open(Path::new(&file), libc::O_RDONLY)?;
    let text = fs::read_all(open.as_fd(), 1 << 20)?;
    let text = String::from_utf8_lossy(&text);
    let path = text
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap_or_default();
    // This is how the kernel writes a cgroup outside our cgroup namespace.
    if path.starts_with("..") {
        bail!("{file}: the cgroup is outside this cgroup namespace: /{path}");
    }
    Ok(path.into())
}

/// Opens the cgroup that a process is in.
pub fn open_of(pid: i32) -> Result<OwnedFd> {
    let place = place_of(&pid.to_string())?;
    let path = mount_point()?.join(&place);
    match fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY) {
        // The kernel appends this to the path of a removed cgroup.
        Err(error) if error.errno == Errno::ENOENT && place.as_os_str().as_encoded_bytes().ends_with(b" (deleted)") => {
            Err(SysError::new(Syscall::CgroupOf.of(pid), Errno::ENOENT).into())
        }
        other => Ok(other?),
    }
}
