//! The mounts of a container that shares the runtime's mount namespace. Run by init.
//!
//! Mounts in that namespace, below the container's root directory, would be visible to all processes on the host, would
//! propagate into other containers, would expose the host's files that are bind mounted in it to a recursive removal of the
//! directory, and would remain after a crash. So the container's mounts are never attached in that namespace. Init creates
//! them in a temporary mount namespace, as for any other container, makes a detached copy of the finished tree, returns, and
//! changes to the copy with chroot(2). The temporary namespace is destroyed when init leaves it, and the copy with its last
//! process, even after a crash. createContainer hooks run in the temporary namespace, so that they can see and change the
//! mounts as in any other container.
//!
//! For the kernel, the detached tree belongs to no namespace. Nothing can be mounted in it, set-user-ID bits and file
//! capabilities have no effect (`mnt_may_suid` in fs/namespace.c), and its mounts are not listed in mountinfo. For AppArmor
//! its paths are disconnected, see apparmor.d(5).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::Root;
use crate::error::{Result, call_with_hint};
use crate::sys::{clone, fs, mount};

/// Moves to a new mount namespace, and returns the runtime's. This must come before any source of a mount is opened: only
/// files in the current namespace can be mounted.
pub fn leave() -> Result<OwnedFd> {
    let namespace = fs::open(Path::new("/proc/self/ns/mnt"), libc::O_RDONLY)?;
    match clone::unshare(libc::CLONE_NEWNS as u64) {
        Err(error) if error.errno == Errno::EPERM => Err(call_with_hint(
            error,
            "not permitted to mount",
            "run as root, or give the container separate user and mount namespaces",
        )),
        other => other.map(|()| namespace).map_err(Into::into),
    }
}

/// Returns to the runtime's namespace with a copy of the whole mount tree, and changes the root and the working directory to
/// it. The handle refers to the copy.
pub fn return_to(namespace: OwnedFd) -> Result<Root> {
    let root = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
    // Unbindable mounts (a hook may have made some) would be missing in the copy, which would reveal the files below them.
    mount::set_attributes(root.as_fd(), 0, 0, libc::MS_PRIVATE, true)?;
    let tree = mount::clone_tree(root.as_fd(), Path::new(""), true)?;
    clone::setns(namespace.as_fd(), libc::CLONE_NEWNS as u64)?;
    // setns has changed the root directory to the host's.
    fs::fchdir(tree.as_fd())?;
    fs::chroot(Path::new("."))?;
    fs::chdir(Path::new("/"))?;
    Ok(Root::new(tree))
}
