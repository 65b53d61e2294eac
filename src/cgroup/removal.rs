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

/// Kills what is in a container's cgroup and below it, and waits for its end.
pub fn empty(cgroup: &CgroupState) -> Result<()> {
    if is_own(cgroup)? {
        members::kill_all(cgroup)?;
        wait_until_empty(cgroup, Instant::now() + Duration::from_secs(10))?;
    }
    Ok(())
}

/// Removes a container's leaf with all below it, and the parents that were made for it where nobody else uses them.
/// Processes still inside are killed. A leaf at the same path that is not the container's is left alone, and one that
/// was there before the container is emptied and given back.
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
            // What is still busy or already gone shows when the leaf itself is tried again.
            removed |= fs::unlinkat(fs::CWD, directory, true).is_ok();
        }
        if !waited && !removed {
            // Busy for a reason that no event tells the end of, such as a mount on a cgroup below.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
    Ok(remove_parents(cgroup)?)
}

/// Takes the container's rules and mark off a cgroup that somebody had made before: what a container did not create is
/// not its own to delete (runtime.md, "Delete"). False while there are processes or cgroups below.
fn give_back(cgroup: &CgroupState) -> Result<bool> {
    let Some(directory) = own_directory(cgroup)? else {
        return Ok(true);
    };
    if populated(&cgroup.path)? || descendants(&cgroup.path)?.len() > 1 {
        return Ok(false);
    }
    // Where no program may be attached, none may be looked for.
    for program in bpf::attached_cgroup_devices(directory.as_fd()).unwrap_or_default() {
        bpf::detach_cgroup_device(directory.as_fd(), program.as_fd())?;
    }
    owner::release(directory.as_fd())?;
    // Perhaps it was made by one that came too late to have it.
    remove_unowned(&cgroup.path, directory.as_fd())?;
    Ok(true)
}

/// Waits until the cgroup and all below it hold no living process. Returns whether there was anything to wait for.
fn wait_until_empty(cgroup: &CgroupState, end: Instant) -> Result<bool> {
    match Events::at(&cgroup.path).and_then(|events| events.wait(end, |now| !now.populated)) {
        Ok(Waited::No) => Ok(false),
        Ok(Waited::Yes) => Ok(true),
        Ok(Waited::TooLong) => bail!(
            "processes in {:?} do not end although they were killed: {:?}",
            cgroup.path,
            members::processes(cgroup)?
        ),
        Err(error) if is_absent(&error) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Removes the parents of a leaf that we have made, innermost first; one that is in use stays, and goes with the last
/// container that uses it.
pub fn remove_parents(cgroup: &CgroupState) -> SysResult<()> {
    // Their creator died or failed before it marked the leaf, and perhaps before it marked these.
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

/// For a directory that we have made and cannot have: removed, unless another creator has marked it as its own meanwhile.
/// That one thinks that the directory was there before, and is told better.
pub fn leave_to_other(path: &Path) -> SysResult<()> {
    let Some(fd) = open_if_there(path)? else { return Ok(()) };
    owner::set_made(fd.as_fd())?;
    remove_unowned(path, fd.as_fd())
}

/// Removes a directory that we have made, if it is nobody's any more. Called by the one that has just marked it as made and
/// by the one that has just taken its own mark off, so that one of the two sees what the other did.
fn remove_unowned(path: &Path, fd: BorrowedFd) -> SysResult<()> {
    if !owner::is_made(fd)? || owner::of(fd)?.is_some() {
        return Ok(());
    }
    match fs::unlinkat(fs::CWD, path, true) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::EBUSY) => Ok(()),
        other => other,
    }
}
