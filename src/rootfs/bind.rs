//! Preparing bind mounts: a detached copy of the source, with its owners mapped and its flags changed. Run by init, or by the
//! runtime if init lacks the privileges.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::diagnose;
use super::place::HostMounts;
use crate::error::{At, Context, Result};
use crate::plan::{Mount, MountOptions, Reach};
use crate::protocol::{Channel, Message};
use crate::sys::{fs, mount};

/// The treatment of flags on a bind mount's source that the options do not mention, if they mention others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum UnnamedFlags {
    /// They are cleared, unless the kernel has locked them.
    Clear,
    /// Those that the kernel would lock are kept: the runtime has more privileges than the container's user namespace, for
    /// which they must be as good as locked.
    KeepLockable,
}

/// The source of a bind mount.
pub enum Source<'a> {
    /// A path on the host.
    Path(&'a Path),
    /// A file or directory opened through the handle on the root file system.
    Opened(OwnedFd),
}

/// The owners of the files in a bind mount.
pub enum Owners<'a> {
    Unmapped,
    /// Mapped with the ID maps of this user namespace.
    Mapped(&'a OwnedFd),
    /// Mapped by the runtime, because init has no privileges over their file system.
    MappedBy(&'a Channel),
}

pub fn at_source(entry: &Mount, path: &Path) -> At {
    At::object(format!("mounts[{}].source", entry.index), path.display())
}

/// A detached copy of the source, with its owners mapped and its flags changed according to the options. `host`: how a path on
/// the host is copied.
pub fn bind(source: Source, entry: &Mount, owners: Owners, unnamed: UnnamedFlags, host: HostMounts) -> Result<OwnedFd> {
    let recursive = entry.options.bind == Some(Reach::Recursive);
    let tree = match &source {
        Source::Path(path) => if entry.nofollow.source {
            host.clone_tree_of_link(path, recursive)
        } else {
            host.clone_tree(fs::CWD, path, recursive)
        }
        .with_context(|| at_source(entry, path))?,
        Source::Opened(fd) => mount::clone_tree(fd.as_fd(), Path::new(""), recursive)?,
    };
    match owners {
        Owners::Unmapped => {}
        Owners::Mapped(mapping) => map_ids(&tree, entry, mapping)?,
        Owners::MappedBy(runtime) => {
            runtime.send_with(&Message::MapOwners(entry.index), Some(tree.as_fd()))?;
            runtime.expect_from_runtime(&[Message::OwnersMapped])?;
        }
    }
    let options = &entry.options;
    set_recursive_flags(tree.as_fd(), options)?;
    if unnamed == UnnamedFlags::Clear && options.attr_unnamed != 0 {
        let clear = options.attr_clear | options.attr_unnamed;
        match mount::set_attributes(tree.as_fd(), options.attr_set, clear, 0, false) {
            // Some flag is locked. That is fine if the options do not mention it.
            Err(error) if error.errno == Errno::EPERM => {}
            result => return Ok(result.map(|()| tree)?),
        }
    }
    set_mount_flags(tree.as_fd(), options)?;
    Ok(tree)
}

/// Maps the owners in a mount that is not attached yet with the ID maps of a user namespace.
pub fn map_ids(tree: &OwnedFd, entry: &Mount, mapping: &OwnedFd) -> Result<()> {
    let recursive = entry.id_map.as_ref().is_some_and(|map| map.reach == Reach::Recursive);
    mount::map_ids(tree.as_fd(), mapping.as_fd(), recursive).map_err(|error| diagnose::of_id_map(error, recursive))
}

/// Changes the flags of an existing mount. The recursive ones come first, so that those of the mount itself override them.
pub fn set_flags(mount: BorrowedFd, options: &MountOptions) -> Result<()> {
    set_recursive_flags(mount, options)?;
    set_mount_flags(mount, options)
}

fn set_recursive_flags(mount: BorrowedFd, options: &MountOptions) -> Result<()> {
    change_flags(mount, options.rec_attr_set, options.rec_attr_clear, true)
}

fn set_mount_flags(mount: BorrowedFd, options: &MountOptions) -> Result<()> {
    let clear = options.attr_clear | options.unnamed_unlockable();
    change_flags(mount, options.attr_set, clear, false)
}

fn change_flags(mount: BorrowedFd, set: u64, clear: u64, recursive: bool) -> Result<()> {
    if set | clear == 0 {
        return Ok(());
    }
    mount::set_attributes(mount, set, clear, 0, recursive)
        .map_err(|error| diagnose::of_flags(error, mount, clear, recursive))
}
