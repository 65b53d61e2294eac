//! Removing mounts from a running container. Run by the helper process of `launch::mounts`, in the container's mount
//! namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::Root;
use crate::error::{At, Context, Result, with_hint};
use crate::plan::Rootfs;
use crate::sys::{fs, mount};

/// Unmounts these paths in reverse order, or none of them if one cannot be unmounted. `descriptors` is the host's
/// `/proc/self/fd`.
pub fn remove(root: &Root, plan: &Rootfs, paths: &[PathBuf], descriptors: BorrowedFd) -> Result<()> {
    let at = |index: usize, path: &Path| At::object(format!("mounts[{index}]"), path.display());
    for (index, path) in paths.iter().enumerate() {
        find(root, plan, path).with_context(|| at(index, path))?;
    }
    for (index, path) in paths.iter().enumerate().rev() {
        // Searched for again, because of several mounts at one path only the topmost is found.
        let remove = || -> Result<()> {
            let found = find(root, plan, path)?;
            Ok(mount::detach_at(descriptors, found.as_fd())?)
        };
        remove().with_context(|| at(index, path))?;
    }
    Ok(())
}

/// The mount at a path, if it may be removed.
fn find(root: &Root, plan: &Rootfs, path: &Path) -> Result<OwnedFd> {
    let found = root.open(path, libc::O_PATH)?;
    if !fs::is_mount_root(found.as_fd())? {
        return Err(with_hint(
            "nothing is mounted at this path",
            "give the destination of a mount, as in config.json or in `mounts add`",
        ));
    }
    let id = fs::mount_id(found.as_fd())?;
    if id == fs::mount_id(root.fd())? {
        return Err(with_hint(
            "the root file system cannot be removed",
            "give the destination of a mount below it",
        ));
    }
    let mut confining = plan.masked.iter().chain(&plan.readonly_paths);
    // A path that is not covered itself is part of a larger mount, which may be removed.
    let covers = |path: &&PathBuf| {
        let is_same_mount =
            |other: OwnedFd| fs::is_mount_root(other.as_fd()) == Ok(true) && fs::mount_id(other.as_fd()) == Ok(id);
        root.open(path, libc::O_PATH).is_ok_and(is_same_mount)
    };
    match confining.find(covers) {
        Some(path) => Err(with_hint(
            format!("this mount confines the container: config.json has {path:?} in maskedPaths or readonlyPaths"),
            "such mounts cannot be removed from a running container",
        )),
        None => Ok(found),
    }
}
