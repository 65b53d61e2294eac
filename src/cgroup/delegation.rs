//! What the cgroup tree offers to this process: where containers get their cgroups, with which controllers, and whether this
//! user may create them there. Nothing is changed.

use std::path::{Path, PathBuf};

use super::{mount, subtree_control};
use crate::error::Result;
use crate::mountinfo;
use crate::sys::{SysResult, fs};

/// The controllers for which config.json has limits.
pub const CONTROLLERS: &[&str] = &["cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma"];

/// The tree of version 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub mount: PathBuf,
    /// The controllers at its root.
    pub controllers: Vec<String>,
    /// Those that a hierarchy of version 1 has taken: the host is hybrid if there are any.
    pub taken_by_v1: Vec<String>,
    /// Whether version 1 is mounted too.
    pub has_v1: bool,
    /// The cgroup of this process; none if it lies outside the cgroup namespace.
    pub own: Option<Own>,
}

/// The cgroup of this process, and the one above it, in which containers get theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    pub path: PathBuf,
    pub controllers: Vec<String>,
    pub parent: PathBuf,
    /// The controllers that cgroups in the parent can have.
    pub parent_controllers: Vec<String>,
    /// Whether this user may create cgroups in the parent and put processes into them.
    pub writable: SysResult<()>,
    /// Whether cgroups have cgroup.kill (Linux 5.14). The root of the tree does not, and shows nothing.
    pub kill: Option<bool>,
}

/// The tree; none if version 2 is not mounted.
pub fn tree() -> Result<Option<Tree>> {
    let Some(mount) = mount::find()? else {
        return Ok(None);
    };
    let mounts = mountinfo::read()?;
    let mut taken_by_v1 = Vec::new();
    let mut has_v1 = false;
    for v1 in mountinfo::mounts(&mounts).filter(|found| found.is("cgroup")) {
        has_v1 = true;
        // Version 1 has `blkio` instead of `io`.
        let named = |name: &str| CONTROLLERS.iter().find(|known| **known == name.replace("blkio", "io"));
        taken_by_v1.extend(v1.options().filter_map(named).map(|name| name.to_string()));
    }
    taken_by_v1.sort();
    taken_by_v1.dedup();
    Ok(Some(Tree {
        controllers: subtree_control::available(&mount)?,
        taken_by_v1,
        has_v1,
        own: own(&mount),
        mount,
    }))
}

fn own(mount: &Path) -> Option<Own> {
    let place = mount::place_of("self").ok()?;
    let below = |place: &Path| match place.as_os_str().is_empty() {
        true => mount.to_path_buf(),
        false => mount.join(place),
    };
    let path = below(&place);
    let parent = below(place.parent().unwrap_or(Path::new("")));
    Some(Own {
        controllers: subtree_control::available(&path).ok()?,
        parent_controllers: subtree_control::available(&parent).ok()?,
        writable: writable(&parent),
        kill: (path != *mount).then(|| path.join("cgroup.kill").exists()),
        path,
        parent,
    })
}

/// What delegation gives to a user, see cgroups(7), "Cgroups delegation: delegating a hierarchy to a less privileged user".
fn writable(directory: &Path) -> SysResult<()> {
    fs::access(directory, libc::W_OK | libc::X_OK)?;
    fs::access(&directory.join("cgroup.procs"), libc::W_OK)
}
