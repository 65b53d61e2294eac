//! Bind mounts on their way: a detached copy of the source, with its owners mapped and its flags changed. Run by init, or by the
//! runtime where init has not the power.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::diagnose;
use crate::error::{At, Context, Result};
use crate::plan::{Mount, MountOptions, Reach};
use crate::protocol::{Channel, Message};
use crate::sys::{fs, mount};

/// What to do with flags of a bind mount's source that the options do not name, while they name others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unnamed {
    /// They are lost, unless the kernel has them locked.
    AsTheKernelAllows,
    /// Those that it would lock stay: we are more privileged than the container's user namespace, to which the source is
    /// as if locked.
    Locked,
}

/// Of what a bind mount is made.
pub enum Source<'a> {
    /// A path on the host.
    Path(&'a Path),
    /// What the handle on the root file system has opened.
    Opened(OwnedFd),
}

/// Of the files of a bind mount.
pub enum Owners<'a> {
    AsTheyAre,
    /// By this user namespace.
    Mapped(&'a OwnedFd),
    /// By the runtime, because init has no power over their file system.
    MappedBy(&'a Channel),
}

pub fn of_source(entry: &Mount, path: &Path) -> At {
    At::object(format!("mounts[{}].source", entry.index), path.display())
}

/// A detached copy of the source, with its owners mapped and its flags set and cleared as the options say.
pub fn bind(source: Source, entry: &Mount, owners: Owners, unnamed: Unnamed) -> Result<OwnedFd> {
    let recursive = entry.options.bind == Some(Reach::Recursive);
    let tree = match &source {
        Source::Path(path) => if entry.nofollow.source {
            mount::clone_tree_of_link(path, recursive)
        } else {
            mount::clone_tree(fs::CWD, path, recursive)
        }
        .with_context(|| of_source(entry, path))?,
        Source::Opened(fd) => mount::clone_tree(fd.as_fd(), Path::new(""), recursive)?,
    };
    match owners {
        Owners::AsTheyAre => {}
        Owners::Mapped(mapping) => map_ids(&tree, entry, mapping)?,
        Owners::MappedBy(runtime) => {
            runtime.send_with(&Message::MapOwners(entry.index), Some(tree.as_fd()))?;
            runtime.expect_from_runtime(&["OwnersMapped"])?;
        }
    }
    let options = &entry.options;
    set_recursive_flags(tree.as_fd(), options)?;
    if unnamed == Unnamed::AsTheKernelAllows && options.attr_unnamed != 0 {
        let clear = options.attr_clear | options.attr_unnamed;
        match mount::set_attributes(tree.as_fd(), options.attr_set, clear, 0, false) {
            // Something is locked. If nothing of that was named, it may stay.
            Err(error) if error.errno == Errno::EPERM => {}
            done => return Ok(done.map(|()| tree)?),
        }
    }
    set_own_flags(tree.as_fd(), options)?;
    Ok(tree)
}

/// Has the owners in a mount that is not attached yet seen through the mappings of a user namespace.
pub fn map_ids(tree: &OwnedFd, entry: &Mount, mapping: &OwnedFd) -> Result<()> {
    let recursive = entry.id_map.as_ref().is_some_and(|map| map.reach == Reach::Recursive);
    mount::map_ids(tree.as_fd(), mapping.as_fd(), recursive).map_err(|error| diagnose::of_id_map(error, recursive))
}

/// Flags of a mount that was there before, the recursive ones first: what is said of this mount alone then holds for it.
pub fn set_flags(mount: BorrowedFd, options: &MountOptions) -> Result<()> {
    set_recursive_flags(mount, options)?;
    set_own_flags(mount, options)
}

fn set_recursive_flags(mount: BorrowedFd, options: &MountOptions) -> Result<()> {
    change_flags(mount, options.rec_attr_set, options.rec_attr_clear, true)
}

fn set_own_flags(mount: BorrowedFd, options: &MountOptions) -> Result<()> {
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
