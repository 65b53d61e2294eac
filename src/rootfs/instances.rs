//! Bind mounting the host's instance of a file system instead of mounting a new one. Run by init, before the root is
//! changed.
//!
//! sysfs shows a network namespace, procfs a PID namespace, mqueue an IPC namespace, and mounting a new instance requires
//! privileges over that namespace. A container in a user namespace that shares one of these with the host has none. But a
//! new instance would show the same as the host's.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::{Context, Error, Hint, Result};
use crate::sys::fs::FsType;
use crate::sys::{fs, mount};

const KINDS: &[(&str, FsType)] = &[
    ("sysfs", FsType::SYSFS),
    ("proc", FsType::PROC),
    ("mqueue", FsType::MQUEUE),
];

/// The attributes that can be added to a mount from a more privileged namespace. Its access time mode is locked.
const ADDABLE: u64 = libc::MOUNT_ATTR_RDONLY
    | libc::MOUNT_ATTR_NOSUID
    | libc::MOUNT_ATTR_NODEV
    | libc::MOUNT_ATTR_NOEXEC
    | libc::MOUNT_ATTR_NOSYMFOLLOW;

/// A copy of the host's mount at `place` with the attributes added. It includes all mounts below, because mounts that cover
/// parts of it must stay. `refused` is the error of mounting a new instance.
pub fn clone_host_instance(kind: &str, place: &str, attributes: u64, refused: Error) -> Result<OwnedFd> {
    let wanted = KINDS.iter().find(|(name, _)| *name == kind).map(|(_, wanted)| *wanted);
    let is_kind = |host: &OwnedFd| fs::type_of(host.as_fd()).is_ok_and(|found| Some(found) == wanted);
    let host = fs::open(Path::new(place), libc::O_PATH | libc::O_DIRECTORY).ok();
    let Some(host) = host.filter(is_kind) else {
        return Err(refused.context(Hint { message: format!("{kind} cannot be mounted in this user namespace, and the host has none at {place} to bind mount"), hint: format!(
                "give the container a separate namespace (network for sysfs, pid for proc, ipc for mqueue), or mount {kind} \
                 on {place} on the host"
            ) }));
    };
    let bind = || -> Result<OwnedFd> {
        let tree = mount::clone_tree(host.as_fd(), Path::new(""), true)?;
        mount::set_attributes(tree.as_fd(), attributes & ADDABLE, 0, 0, true)?;
        Ok(tree)
    };
    bind().with_context(|| format!("bind mounting the host's {place} instead"))
}
