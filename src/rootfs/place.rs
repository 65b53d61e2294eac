//! Where the root file system is while its mounts are created: attached in the mount namespace of init, or nowhere.
//!
//! Until Linux 7.0 a mount namespace can only be created as a copy of the caller's. So the container's root is attached in a
//! copy of the host's mounts, and pivot_root(2) and umount(2) then remove the host's. Since Linux 7.0 init can stay in the
//! host's mount namespace, create the container's mounts in a detached tree, and have a namespace made of that
//! (`OPEN_TREE_NAMESPACE`). No mount of the host is copied. `launch::mount_namespace` chooses the way.

use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::Root;
use crate::sys::{SysResult, clone, fs, mount};

/// A root that is attached in the mount namespace of this process. Calls that find a mount by its path need this type:
/// mount(2), umount(2) and pivot_root(2), also with a path below /proc/self/fd, and hooks.
pub struct AttachedRoot(Root);

impl AttachedRoot {
    /// A handle on a mount that the caller has attached.
    pub fn new(fd: OwnedFd) -> Self {
        AttachedRoot(Root::new(fd))
    }
}

impl Deref for AttachedRoot {
    type Target = Root;

    fn deref(&self) -> &Root {
        &self.0
    }
}

/// A root that is attached nowhere, while this process is still in the host's mount namespace. It is destroyed when its last
/// descriptor is closed.
pub struct DetachedRoot(Root);

impl DetachedRoot {
    /// A copy of the mounts at this path of the host.
    pub fn copy(path: &Path, host: &HostMounts) -> SysResult<Self> {
        Ok(DetachedRoot(Root::new(host.clone_tree(fs::CWD, path, true)?)))
    }

    /// Enters a new mount namespace with a copy of the tree, and returns the handle on the copy. The root and the working
    /// directory become the root of the copy.
    ///
    /// Nothing of the host can be mounted afterwards. The copy does not include unbindable mounts, so no mount may be unbindable.
    pub fn enter(&self) -> SysResult<Root> {
        let namespace = mount::namespace_of_tree(self.fd())?;
        clone::setns(namespace.as_fd(), libc::CLONE_NEWNS as u64)?;
        Ok(Root::new(fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?))
    }
}

impl Deref for DetachedRoot {
    type Target = Root;

    fn deref(&self) -> &Root {
        &self.0
    }
}

/// The root as init has prepared it.
pub enum PreparedRoot {
    Attached(AttachedRoot),
    Detached(DetachedRoot),
}

/// A root in either place.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    Attached(&'a AttachedRoot),
    Detached(&'a DetachedRoot),
}

impl Deref for Place<'_> {
    type Target = Root;

    fn deref(&self) -> &Root {
        match self {
            Place::Attached(root) => root,
            Place::Detached(root) => root,
        }
    }
}

/// How init copies mounts of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostMounts {
    /// From its own mount namespace, where they already have the propagation that the config asks for.
    Inherited,
    /// From the host's mount namespace. A copy of a shared mount would be its peer, and what is mounted in the copy would
    /// appear on the host. So each copy gets this propagation (`MS_*`) before anything else, with all mounts below it.
    Live(u64),
}

impl HostMounts {
    /// [`mount::clone_tree`]
    pub fn clone_tree(self, dir: BorrowedFd, path: &Path, recursive: bool) -> SysResult<OwnedFd> {
        self.separate(mount::clone_tree(dir, path, recursive)?)
    }

    /// [`mount::clone_tree_of_link`]
    pub fn clone_tree_of_link(self, path: &Path, recursive: bool) -> SysResult<OwnedFd> {
        self.separate(mount::clone_tree_of_link(path, recursive)?)
    }

    fn separate(self, tree: OwnedFd) -> SysResult<OwnedFd> {
        if let HostMounts::Live(propagation) = self {
            mount::set_attributes(tree.as_fd(), 0, 0, propagation & !libc::MS_REC, true)?;
        }
        Ok(tree)
    }
}
