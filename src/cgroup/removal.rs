//! Emptying and removing cgroups: the leaf of a container, and the parents that were made for it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::directory::{descendants, is_absent, is_own, open_if_there, own_directory, populated};
use super::events::{Events, Waited};
use super::{members, owner};
use crate::error::{Result, bail};
use crate::state::record::CgroupState;
use crate::sys::{SysResult, bpf, fs};

/// Kills the processes in a container's cgroup and below it, and waits for their end.
pub fn empty(cgroup: &CgroupState) -> Result<()> {
    if is_own(cgroup)? {
        members::kill_all(cgroup)?;
        wait_until_empty(cgroup, Instant::now() + Duration::from_secs(10))?;
    }
    Ok(())
}

/// Removes a container's leaf with everything below it, and the parents that were created for it and are no longer used.
/// Processes still inside are killed. A leaf at the same path that is not the container's is not touched. One that existed
/// before the container is emptied and kept.
pub fn remove(cgroup: &CgroupState) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    let mut pause = Duration::from_millis(1);
    while is_own(cgroup)? {
        if cgroup.existed {
            if give_back(cgroup)? {
                break;
            }
            if Instant::now() >= end {
                bail!("the cgroups below {:?} cannot be removed", cgroup.path);
            }
        } else {
            match fs::unlinkat(fs::CWD, &cgroup.path, true) {
                Ok(()) => break,
                Err(error) if error.errno == Errno::ENOENT => break,
                Err(error) if error.errno == Errno::EBUSY && Instant::now() < end => {}
                Err(error) => return Err(error.into()),
            }
        }
        members::kill_all(cgroup)?;
        let waited = wait_until_empty(cgroup, end)?;
        let mut removed = false;
        for directory in descendants(&cgroup.path)?.iter().skip(1).rev() {
            // Whether one is still busy or already gone shows when the leaf itself is removed again.
            removed |= fs::unlinkat(fs::CWD, directory, true).is_ok();
        }
        if !waited && !removed {
            // Busy for a reason whose end no event reports, such as a mount on a cgroup below.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
    Ok(remove_parents(cgroup)?)
}

/// Removes the container's device rules and mark from a cgroup that existed before it: resources that were not created by the
/// container must not be deleted with it (runtime.md, "Delete"). Returns false while there are processes or cgroups below.
fn give_back(cgroup: &CgroupState) -> Result<bool> {
    let Some(directory) = own_directory(cgroup)? else {
        return Ok(true);
    };
    if populated(&cgroup.path)? || descendants(&cgroup.path)?.len() > 1 {
        return Ok(false);
    }
    // Listing the programs is not permitted where attaching one is not.
    for program in bpf::attached_cgroup_devices(directory.as_fd()).unwrap_or_default() {
        bpf::detach_cgroup_device(directory.as_fd(), program.as_fd())?;
    }
    owner::release(directory.as_fd())?;
    // It may have been created by another `create` that failed because it was in use.
    remove_unowned(&cgroup.path, directory.as_fd())?;
    Ok(true)
}

/// Waits until the cgroup and all below it hold no living process. Returns whether there was anything to wait for.
fn wait_until_empty(cgroup: &CgroupState, end: Instant) -> Result<bool> {
    match Events::at(&cgroup.path).and_then(|events| events.wait(end, |now| !now.populated)) {
        Ok(Waited::No) => Ok(false),
        Ok(Waited::Yes) => Ok(true),
        Ok(Waited::TooLong) => bail!(
            "processes in {:?} have been killed but do not end: {:?}",
            cgroup.path,
            members::processes(cgroup)?
        ),
        Err(error) if is_absent(&error) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Removes the parents of a leaf that orlop has created, innermost first. One that is in use stays, and is removed with the last
/// container that uses it.
pub fn remove_parents(cgroup: &CgroupState) -> SysResult<()> {
    // If any are listed, their creator died or failed before it marked the leaf, and perhaps before it marked these.
    for parent in &cgroup.parents {
        if let Some(fd) = open_if_there(parent)? {
            owner::set_made(fd.as_fd())?;
        }
    }
    for parent in cgroup.path.ancestors().skip(1) {
        let made = match open_if_there(parent)? {
            Some(fd) => owner::is_made(fd.as_fd())?,
            None => true,
        };
        if !made {
            break;
        }
        match fs::unlinkat(fs::CWD, parent, true) {
            Err(error) if error.errno == Errno::EBUSY => break,
            Err(error) if !is_absent(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes a directory that we have created but cannot use, unless another `create` has marked it as its own meanwhile. That one
/// takes the directory for one that existed before; our mark says that it did not.
pub fn leave_to_other(path: &Path) -> SysResult<()> {
    let Some(fd) = open_if_there(path)? else { return Ok(()) };
    owner::set_made(fd.as_fd())?;
    remove_unowned(path, fd.as_fd())
}

/// Removes a directory that orlop has created and that has no owner any more. Called after marking it as created and after
/// removing the owner's mark, so that of two processes that do this at once one sees what the other did.
fn remove_unowned(path: &Path, fd: BorrowedFd) -> SysResult<()> {
    if !owner::is_made(fd)? || owner::of(fd)?.is_some() {
        return Ok(());
    }
    match fs::unlinkat(fs::CWD, path, true) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::EBUSY) => Ok(()),
        other => other,
    }
}
