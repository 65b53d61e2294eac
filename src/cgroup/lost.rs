//! The cgroup of a container whose state is lost, found by the mark that is on it.

use std::os::fd::AsFd;
use std::path::Path;

use super::directory::open_if_there;
use super::{mount, owner};
use crate::error::Result;
use crate::state::Container;
use crate::state::record::CgroupState;
use crate::sys::{directory, fs};

/// Every cgroup that is marked as this container's: one, or also what an earlier container of the same id has left.
/// `created` is the container's moment of creation if that is known; then only its own counts.
pub fn find(container: &Container, created: Option<&str>) -> Result<Vec<CgroupState>> {
    let mut found = Vec::new();
    let mut queue = Vec::from_iter(mount::find()?);
    while let Some(path) = queue.pop() {
        let Some(fd) = open_if_there(&path)? else {
            continue;
        };
        let Some(owner) = owner::of(fd.as_fd())? else {
            let entries = directory::entries(fd.as_fd())?;
            let below = entries.iter().filter(|entry| entry.is_directory(fd.as_fd()));
            queue.extend(below.map(|entry| path.join(&entry.name)));
            continue;
        };
        // Nothing is looked for below a container's cgroup: what is marked there is the work of a runtime inside.
        let is_own = match created {
            Some(created) => owner == owner::mark_of(container, created),
            None => is_directory_of(container, owner::directory_of(&owner))?,
        };
        if is_own {
            found.push(CgroupState {
                existed: false,
                inode: fs::fstat(fd.as_fd())?.st_ino,
                unit: None,
                parents: Vec::new(),
                owner,
                path,
            });
        }
    }
    Ok(found)
}

/// Whether a path leads to this container's directory, however the state root was spelled.
fn is_directory_of(container: &Container, path: &Path) -> Result<bool> {
    if path == container.path {
        return Ok(true);
    }
    let own = fs::fstat(container.fd())?;
    Ok(fs::lstatat(fs::CWD, path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (own.st_dev, own.st_ino)))
}
