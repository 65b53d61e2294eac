//! Mounts for a container that shares the runtime's mount namespace. Run by init.
//!
//! Were they made there, below the directory that is to be the root, everybody on the host would see them, they would
//! propagate into other containers, whoever removed the directory would remove the host's files that are bound in it, and
//! after a crash nobody would take them away. So nothing of the container is ever attached in that namespace. Init makes
//! all mounts in a mount namespace for the while, which is like any container's, takes a copy of the finished tree that is
//! attached nowhere, returns, and goes into the copy by chroot(2). The namespace for the while goes when init has left it,
//! the copy with the last process that is in it, however it or the runtime ends. Hooks of createContainer run in that
//! namespace, to find and change the mounts as they do in any container.
//!
//! The kernel takes such a tree for a foreign one. Nothing can be mounted in it, programs get no power from set-user-ID bits
//! and file capabilities (`mnt_may_suid` in fs/namespace.c), and mountinfo lists what is in the namespace, so none of it. To
//! AppArmor its paths are disconnected ones, see apparmor.d(5).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::Root;
use crate::error::{Result, call_with_hint};
use crate::sys::{fs, mount, process};

/// Leaves the runtime's mount namespace for a new one, and returns the way back. Before anything is opened that is to be
/// mounted: only what lies in the own namespace can be.
pub fn leave() -> Result<OwnedFd> {
    let back = fs::open(Path::new("/proc/self/ns/mnt"), libc::O_RDONLY)?;
    match process::unshare(libc::CLONE_NEWNS as u64) {
        Err(error) if error.errno == Errno::EPERM => Err(call_with_hint(
            error,
            "not permitted to mount",
            "run as root, or give the container a user namespace and a mount namespace of its own",
        )),
        other => other.map(|()| back).map_err(Into::into),
    }
}

/// Returns with a copy of all that is mounted at the root by now, and makes its root the own. What is opened through the
/// handle lies in the copy; the working directory is its root.
pub fn return_to(namespace: OwnedFd) -> Result<Root> {
    let root = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
    // The copy would be without what is unbindable (a hook may have made it so), and what that covers would come to light.
    mount::set_attributes(root.as_fd(), 0, 0, libc::MS_PRIVATE, true)?;
    let tree = mount::clone_tree(root.as_fd(), Path::new(""), true)?;
    process::setns(namespace.as_fd(), libc::CLONE_NEWNS as u64)?;
    // With the namespace came its root directory, the host's.
    fs::fchdir(tree.as_fd())?;
    fs::chroot(Path::new("."))?;
    fs::chdir(Path::new("/"))?;
    Ok(Root::new(tree))
}
