//! The root file system: its mounts, its devices, and its masked paths.

use std::path::{Path, PathBuf};

use super::{IdMaps, MountOptions, Reach};
use crate::error::At;

#[derive(Debug)]
pub struct Rootfs {
    /// The absolute path of the root file system, without symbolic links.
    pub path: PathBuf,
    pub root_mode: RootMode,
    pub readonly: bool,
    /// `MS_*` propagation of the runtime's mounts in the container's namespace, before the root is changed.
    pub propagation: u64,
    /// `MS_*` propagation of the container's root mount after all mounts, if the config sets one.
    pub final_propagation: Option<u64>,
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    /// Whether to create nodes and links in `/dev`; false if it is a bind mount.
    pub fill_dev: bool,
    pub console: DevConsole,
    pub masked: Vec<PathBuf>,
    pub readonly_paths: Vec<PathBuf>,
    /// `--no-pivot`: move the root mount over `/` instead of pivot_root(2).
    pub no_pivot: bool,
    /// The SELinux label of the files in new file systems.
    pub label: Option<String>,
}

/// How the terminal is mounted on /dev/console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevConsole {
    /// Bind mounted on a file that is created if missing.
    Create,
    /// Bind mounted on an existing file, because nothing may be created in a bind-mounted /dev.
    Existing,
    /// Not at all: the container has one already, or the mount would appear in the /dev of other processes.
    None,
}

/// Where the container's mounts are created, and how its root is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootMode {
    /// In a separate mount namespace, which is new or joined, with pivot_root(2).
    Pivot,
    /// The container shares the runtime's mount namespace, in which its mounts must not be created: see
    /// `rootfs::shared_mntns`.
    Detached,
    /// It shares that namespace and has no mounts; with chroot(2).
    Chroot,
}

#[derive(Debug)]
pub struct Mount {
    /// Its index in `mounts`.
    pub index: usize,
    pub destination: PathBuf,
    pub kind: MountKind,
    pub options: MountOptions,
    pub nofollow: NoFollow,
    /// The owners of its files are mapped with these ID maps: mount_setattr(2), "ID-mapped mounts".
    pub id_map: Option<MountIdMap>,
}

impl Mount {
    /// Its place in the config.
    pub fn place(&self) -> String {
        format!("mounts[{}]", self.index)
    }

    /// Whether it becomes read-only after all other mounts: mount points, devices and copies of the image's files must still be
    /// created in it.
    pub fn is_made_read_only_later(&self) -> bool {
        matches!(&self.kind, MountKind::New { kind, .. } if kind == "tmpfs" || self.destination == Path::new("/dev"))
            && self.options.attributes_of_new() & libc::MOUNT_ATTR_RDONLY != 0
    }

    /// The same with its destination, for errors.
    pub fn at(&self) -> At {
        At::object(self.place(), self.destination.display())
    }
}

/// Whether the source and the destination of a bind mount are not followed if they are symbolic links (`src-nofollow`,
/// `dest-nofollow`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoFollow {
    pub source: bool,
    pub destination: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct MountIdMap {
    /// Only the mount, or also all mounts below it.
    pub reach: Reach,
    /// From the IDs in the file system to those on the host: the maps of the mount, or of the container.
    pub maps: IdMaps,
}

#[derive(Debug, PartialEq, Eq)]
pub enum MountKind {
    /// The absolute path of a directory or file on the host.
    Bind {
        source: PathBuf,
        /// The same path inside the container, if it is in the root file system and in the mount of an earlier entry, which
        /// exists only in the container.
        inside: Option<PathBuf>,
    },
    /// A symbolic link with this target, copied from the host instead of a bind mount (`copy-symlink`).
    Link(PathBuf),
    /// A new instance of a file system type.
    New {
        kind: String,
        source: Option<String>,
        /// The path of the host's instance, which is bind mounted if the kernel does not permit a new one: the container's
        /// user namespace has no privileges over the namespace that this file system shows, which is shared with the host.
        fallback: Option<&'static str>,
    },
    /// `cgroup` (or `cgroup2`): the container's part of the cgroup tree.
    Cgroup,
    /// Changes the options of an existing mount.
    Remount,
}

#[derive(Debug)]
pub struct Device {
    /// Its index in `linux.devices`; none for the spec's default devices.
    pub index: Option<usize>,
    pub path: PathBuf,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub kind: u32,
    /// makedev(3).
    pub number: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as IDs inside the container.
    pub uid: u32,
    pub gid: u32,
    /// Not created: it must already exist, in the directory that is bind mounted on /dev.
    pub expected: bool,
}
