//! The mounts of a container whose source is outside of it. CRIU stores a key for each of them, and `restore` tells CRIU where
//! the source is then. The keys are those of runc, so that either runtime can restore what the other has dumped.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::Config;
use crate::bundle::validate::mounts::normalize_dots;
use crate::criu::rpc::{Criu_opts, Ext_mount_map};
use crate::error::{Result, anyhow, bail, with_hint};
use crate::mountinfo::{self, Mount};
use crate::rootfs::{Root, notify};
use crate::sys::fs;

/// The key of every file that is masked.
pub const NULL: &str = "/dev/null";

/// The key of the null device itself, a mount in a user namespace. Its source has other flags than that of masked files, and there
/// no flag of a source may be removed.
const NULL_DEVICE: &str = "device:/dev/null";

/// The key of crun for every directory that is masked: its empty directory, whatever its state root is.
pub const EMPTY_OF_CRUN: &str = "/run/crun/.empty-directory";

/// A mount with a source outside of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct External {
    /// Its mount point in the container. It is the key too, except for masked files and the null device.
    pub point: String,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The bind mount of config.json with this destination, or a mount below it (`rbind`).
    Mount { destination: String, below: String },
    /// A device node of the host.
    Device,
    /// The directory with the socket for sd_notify(3) messages.
    Notify,
    /// The null device, over a masked file.
    Null,
    /// The cgroup of the container, in a container without a cgroup namespace.
    Cgroup,
}

impl External {
    pub fn key(&self) -> &str {
        match self.source {
            Source::Null => NULL,
            Source::Device if self.point == NULL => NULL_DEVICE,
            _ => &self.point,
        }
    }
}

/// What the mounts of a container are, from the outermost to the innermost.
struct Survey<'a> {
    config: &'a Config,
    /// The entries of `mounts` by the ID of the mount that they have become.
    entries: HashMap<u64, usize>,
    /// The bind mounts and what is below them: the entry, and the mount point of its mount.
    bound: HashMap<u64, (usize, PathBuf)>,
    /// File systems that were made for the container.
    own: HashSet<Vec<u8>>,
}

/// Finds the external mounts of the container with this init.
pub fn find(config: &Config, pid: i32) -> Result<Vec<External>> {
    let text = mountinfo::read_of(pid)?;
    let root = fs::open(
        Path::new(&format!("/proc/{pid}/root")),
        libc::O_PATH | libc::O_DIRECTORY,
    )?;
    let mounts: Vec<Mount> = mountinfo::mounts(&text).collect();
    let mut survey = Survey {
        config,
        entries: entries(config, &Root::new(root)),
        bound: HashMap::new(),
        own: HashSet::new(),
    };
    // A file system can be mounted a second time before its first mount is seen.
    for mount in &mounts {
        if let Some(index) = survey.entry(mount)
            && config.mounts.get(index).is_some_and(|entry| !entry.is_bind())
        {
            survey.own.insert(mount.device.to_vec());
        }
    }
    let mut found = Vec::new();
    let mut known: Vec<&Mount> = Vec::new();
    let mut unknown = Vec::new();
    for mount in &mounts {
        let point = mount.point();
        match survey.source(mount, &point)? {
            _ if point == Path::new("/") => known.push(mount),
            Some(source) => {
                known.push(mount);
                found.push(External {
                    point: text_of(&point)?,
                    source,
                });
            }
            None if survey.own.contains(mount.device) => {}
            None => unknown.push(mount),
        }
    }
    refuse_foreign(&known, &unknown)?;
    Ok(found)
}

/// Fails if a mount shows a file system of the host although the config does not have it: CRIU would have no source for it.
/// (Other mounts that the config does not have were made in the container, and CRIU makes them again.)
fn refuse_foreign(known: &[&Mount], unknown: &[&Mount]) -> Result<()> {
    if unknown.is_empty() {
        return Ok(());
    }
    let host = mountinfo::read()?;
    let host: HashSet<&[u8]> = mountinfo::mounts(&host).map(|mount| mount.device).collect();
    let is_foreign = |mount: &&&Mount| host.contains(mount.device) && !known.iter().any(|known| known.includes(mount));
    match unknown.iter().find(is_foreign) {
        None => Ok(()),
        Some(mount) => Err(with_hint(
            format!(
                "a mount of the host on {:?} is not in the container's config",
                mount.point()
            ),
            "if it was added with `orlop mounts add`, remove it first, or add it to config.json",
        )),
    }
}

/// Checks the part of a path that a record of images gives: it must not lead elsewhere.
pub fn check_below(below: &str) -> Result<()> {
    let mut parts = Path::new(below).components();
    if !parts.all(|part| matches!(part, Component::Normal(_))) {
        bail!("{below:?} is not a path below a mount");
    }
    Ok(())
}

/// A mount point without symbolic links. What does not exist yet cannot contain any.
pub fn resolved(root: &Root, destination: &Path) -> PathBuf {
    let destination = normalize_dots(destination);
    let path_of = |fd: BorrowedFd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok();
    let real = |path: &Path| {
        let there = root.open(path, libc::O_PATH).ok()?;
        let (there, top) = (path_of(there.as_fd())?, path_of(root.fd())?);
        Some(Path::new("/").join(there.strip_prefix(top).ok()?))
    };
    let existing = destination.ancestors().find_map(|path| Some((path, real(path)?)));
    match existing {
        Some((path, real)) => match destination.strip_prefix(path) {
            Ok(rest) if rest != Path::new("") => real.join(rest),
            _ => real,
        },
        None => destination,
    }
}

/// Tells a dump about them.
pub fn for_dump(options: &mut Criu_opts, external: &[External]) {
    for mount in external {
        options.ext_mnt.push(pair(&mount.point, mount.key()));
    }
}

pub fn pair(key: &str, value: &str) -> Ext_mount_map {
    let mut pair = Ext_mount_map::new();
    pair.set_key(key.into());
    pair.set_val(value.into());
    pair
}

/// The entries of `mounts`, by the ID of the mount at their destination.
fn entries(config: &Config, root: &Root) -> HashMap<u64, usize> {
    let mut entries = HashMap::new();
    for (index, entry) in config.mounts.iter().enumerate() {
        let id = || {
            let there = root.open(&normalize_dots(&entry.destination), libc::O_PATH).ok()?;
            let is_root = fs::is_mount_root(there.as_fd()).ok()?;
            fs::mount_id(there.as_fd()).ok().filter(|_| is_root)
        };
        // A mount that is covered by a later one is found by its path.
        if let Some(id) = id() {
            entries.insert(id, index);
        }
    }
    entries
}

impl Survey<'_> {
    fn entry(&self, mount: &Mount) -> Option<usize> {
        self.entries.get(&mount.id).copied().or_else(|| {
            let point = mount.point();
            self.config
                .mounts
                .iter()
                .rposition(|entry| normalize_dots(&entry.destination) == point)
        })
    }

    fn source(&mut self, mount: &Mount, point: &Path) -> Result<Option<Source>> {
        if mount.is("cgroup2") && !mount.is_whole() && !self.config.makes(libc::CLONE_NEWCGROUP) {
            return Ok(Some(Source::Cgroup));
        }
        if self.own.contains(mount.device) {
            return Ok(None);
        }
        if let Some(index) = self.entry(mount) {
            let is_bind = self.config.mounts.get(index).is_some_and(|entry| entry.is_bind());
            if is_bind {
                self.bound.insert(mount.id, (index, point.into()));
                return self.mount(index, Path::new("")).map(Some);
            }
            return Ok(None);
        }
        if point == Path::new(notify::PATH) {
            return Ok(Some(Source::Notify));
        }
        if self.config.has_device(point) && !mount.is_whole() {
            return Ok(Some(Source::Device));
        }
        if self.config.masks(point) && !mount.is_whole() || mount.is_top("null") {
            return Ok(Some(Source::Null));
        }
        let Some((index, top)) = self.bound.get(&mount.parent).cloned() else {
            return Ok(None);
        };
        self.bound.insert(mount.id, (index, top.clone()));
        self.mount(index, point.strip_prefix(&top).unwrap_or(Path::new("")))
            .map(Some)
    }

    fn mount(&self, index: usize, below: &Path) -> Result<Source> {
        let destination = self
            .config
            .mounts
            .get(index)
            .map(|entry| normalize_dots(&entry.destination));
        Ok(Source::Mount {
            destination: text_of(&destination.unwrap_or_default())?,
            below: text_of(below)?,
        })
    }
}

/// CRIU takes paths as text.
fn text_of(path: &Path) -> Result<String> {
    let text = path.to_str().map(String::from);
    text.ok_or_else(|| anyhow!("the mount point {path:?} is not in UTF-8, and CRIU accepts no other path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_a_mount_point_are_resolved_in_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        std::fs::create_dir_all(top.join("run/a")).unwrap();
        std::fs::create_dir(top.join("var")).unwrap();
        let link = |target: &str, path: &str| fs::symlinkat(Path::new(target), fs::CWD, &top.join(path)).unwrap();
        link("/run", "var/run");
        link("../../../../run/a", "up");
        let root = Root::new(fs::open(top, libc::O_PATH | libc::O_DIRECTORY).unwrap());
        for (destination, point) in [
            ("/run/a", "/run/a"),
            ("/var/run/a", "/run/a"),
            ("/var/run/b/c", "/run/b/c"),
            ("/up", "/run/a"),
            ("/new/x/../y", "/new/y"),
        ] {
            assert_eq!(
                resolved(&root, Path::new(destination)),
                Path::new(point),
                "{destination}"
            );
        }
    }

    #[test]
    fn a_record_cannot_name_a_source_outside_of_its_mount() {
        for good in ["", "a", "a/b"] {
            check_below(good).unwrap();
        }
        for bad in ["..", "a/../../b", "/etc", "./.."] {
            check_below(bad).unwrap_err();
        }
    }
}
