//! The host's instance of a file system in the place of a new one. Run by init, before the root is changed.
//!
//! sysfs shows a network namespace, procfs a pid namespace, mqueue an ipc namespace, and a new instance of each needs
//! power over the namespace that it shows. A container in a user namespace that shares one of these with the host has
//! none; but what it would see is just what the host's own instance shows.

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

/// The attributes that can be added to a mount of more privileged namespaces; its access time mode is locked.
const ADDED: u64 = libc::MOUNT_ATTR_RDONLY
    | libc::MOUNT_ATTR_NOSUID
    | libc::MOUNT_ATTR_NODEV
    | libc::MOUNT_ATTR_NOEXEC
    | libc::MOUNT_ATTR_NOSYMFOLLOW;

/// A copy of the host's mount at `place`, with all below it (what covers parts of it must not come off), every mount with
/// the attributes that were asked for. `refused` is why there can be no new instance.
pub fn of_host(kind: &str, place: &str, attributes: u64, refused: Error) -> Result<OwnedFd> {
    let wanted = KINDS.iter().find(|(name, _)| *name == kind).map(|(_, wanted)| *wanted);
    let is_kind = |host: &OwnedFd| fs::type_of(host.as_fd()).is_ok_and(|found| Some(found) == wanted);
    let host = fs::open(Path::new(place), libc::O_PATH | libc::O_DIRECTORY).ok();
    let Some(host) = host.filter(is_kind) else {
        return Err(refused.context(Hint(
            format!(
                "give the container a namespace of its own for it (network for sysfs, pid for proc, ipc for mqueue), or \
                 mount {kind} on {place} of the host"
            ),
            format!("its user namespace may not mount a {kind}, and the host has none at {place} to bind"),
        )));
    };
    let bind = || -> Result<OwnedFd> {
        let tree = mount::clone_tree(host.as_fd(), Path::new(""), true)?;
        mount::set_attributes(tree.as_fd(), attributes & ADDED, 0, 0, true)?;
        Ok(tree)
    };
    bind().with_context(|| format!("binding the host's {place} instead"))
}
