//! Finding the cgroup of a container whose state is lost, by its mark.

use std::os::fd::AsFd;
use std::path::Path;

use super::directory::open_if_there;
use super::{mount, owner};
use crate::error::Result;
use crate::state::Container;
use crate::state::record::CgroupState;
use crate::sys::{directory, fs};

/// Every cgroup that is marked as this container's, including those left over from earlier containers of the same id. If
/// `created`, the container's creation time, is known, only those of this container.
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
        // Cgroups below a container's are not searched: what is marked there was marked by a runtime inside.
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

/// Whether a path leads to this container's directory. The state root may have been given as another path.
fn is_directory_of(container: &Container, path: &Path) -> Result<bool> {
    if path == container.path {
        return Ok(true);
    }
    let own = fs::fstat(container.fd())?;
    Ok(fs::lstatat(fs::CWD, path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (own.st_dev, own.st_ino)))
}
