//! Taking mounts out of a container that runs. Run by the helper of `launch::mounts`, in the container's mount namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::Root;
use crate::error::{At, Context, Result, with_hint};
use crate::plan::Rootfs;
use crate::sys::{fs, mount};

/// Takes away what is mounted at these places, the last first. Nothing is, unless all can be found. `descriptors` is the host's
/// `/proc/self/fd`.
pub fn remove(root: &Root, plan: &Rootfs, places: &[PathBuf], descriptors: BorrowedFd) -> Result<()> {
    let at = |index: usize, place: &Path| At::object(format!("mounts[{index}]"), place.display());
    for (index, place) in places.iter().enumerate() {
        find(root, plan, place).with_context(|| at(index, place))?;
    }
    for (index, place) in places.iter().enumerate().rev() {
        // Once more, for of what is mounted on one another only the topmost can be found.
        let remove = || -> Result<()> {
            let found = find(root, plan, place)?;
            Ok(mount::detach_at(descriptors, found.as_fd())?)
        };
        remove().with_context(|| at(index, place))?;
    }
    Ok(())
}

/// The mount at a place, if that may be removed.
fn find(root: &Root, plan: &Rootfs, place: &Path) -> Result<OwnedFd> {
    let found = root.open(place, libc::O_PATH)?;
    if !fs::is_mount_root(found.as_fd())? {
        return Err(with_hint(
            "nothing is mounted at this path",
            "name the destination of a mount, as config.json or `mounts add` had it",
        ));
    }
    let id = fs::mount_id(found.as_fd())?;
    if id == fs::mount_id(root.fd())? {
        return Err(with_hint(
            "the root itself cannot be removed",
            "name the destination of a mount below it",
        ));
    }
    let mut confining = plan.masked.iter().chain(&plan.readonly_paths);
    // Where nothing covers it, it is part of a greater mount, which may go.
    let covers = |path: &&PathBuf| {
        let is_this =
            |other: OwnedFd| fs::is_mount_root(other.as_fd()) == Ok(true) && fs::mount_id(other.as_fd()) == Ok(id);
        root.open(path, libc::O_PATH).is_ok_and(is_this)
    };
    match confining.find(covers) {
        Some(path) => Err(with_hint(
            format!(
                "what is mounted here confines the container: config.json has {path:?} in maskedPaths or readonlyPaths"
            ),
            "it stays for as long as the container does",
        )),
        None => Ok(found),
    }
}
