//! The root file system: its mounts, its devices, and what is hidden in it.

use std::path::PathBuf;

use super::{IdMaps, MountOptions, Reach};

#[derive(Debug)]
pub struct Rootfs {
    /// The root file system's directory, absolute, with no symbolic link left in it.
    pub path: PathBuf,
    pub root_mode: RootMode,
    pub readonly: bool,
    /// `MS_*` propagation of the runtime's mounts inside the container, before the root is changed.
    pub propagation: u64,
    /// `MS_*` propagation that the container's own root mount ends with, if the config asks for one.
    pub final_propagation: Option<u64>,
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    /// Whether `/dev` is the container's own to fill with nodes and links; false when another's is bound there.
    pub fill_dev: bool,
    pub console: DevConsole,
    pub masked: Vec<PathBuf>,
    pub readonly_paths: Vec<PathBuf>,
    /// `--no-pivot`: move the root mount over `/` instead of pivot_root(2).
    pub no_pivot: bool,
    /// The SELinux label of what is in new file systems.
    pub label: Option<String>,
}

/// How the terminal comes onto /dev/console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevConsole {
    /// Bound on a file that is made for it, where there is none.
    Made,
    /// Bound on what is there; in another's /dev nothing is made.
    Covered,
    /// Not at all: the container has one already, or the mount would appear in another's /dev.
    Left,
}

/// Where the container's mounts are made, and how its root is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootMode {
    /// In the container's own mount namespace, a new one or one that it joins; by pivot_root(2).
    Pivot,
    /// The container shares the runtime's mount namespace, and none of its mounts may be made there: see `rootfs::shared_mntns`.
    Detached,
    /// It shares that and has nothing to be mounted; by chroot(2).
    Chroot,
}

#[derive(Debug)]
pub struct Mount {
    /// Its place in `mounts`.
    pub index: usize,
    pub destination: PathBuf,
    pub kind: MountKind,
    pub options: MountOptions,
    pub nofollow: NoFollow,
    /// The owners of its files are seen through these mappings: mount_setattr(2), "ID-mapped mounts".
    pub id_map: Option<MountIdMap>,
}

/// Which ends of a bind mount stand for themselves where they are symbolic links (`src-nofollow`, `dest-nofollow`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoFollow {
    pub source: bool,
    pub destination: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct MountIdMap {
    /// The mount alone, or all below it too.
    pub reach: Reach,
    /// From the ids in the file system to those that the host sees: the mount's own mappings, or the container's.
    pub maps: IdMaps,
}

#[derive(Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A host directory or file, absolute.
    Bind {
        source: PathBuf,
        /// The same as a path of the container, where it lies in the root file system and an earlier entry has mounted
        /// something there: then only the container has it as it is meant.
        inside: Option<PathBuf>,
    },
    /// A symbolic link with this target, copied from the host in the place of a bind mount (`copy-symlink`).
    Link(PathBuf),
    /// A new instance of a file system type.
    New {
        kind: String,
        source: Option<String>,
        /// Where the host has the instance that is bound if the kernel refuses a new one: the container's user namespace
        /// has no power over the namespace that this file system shows, and the container shares that with the host.
        fallback: Option<&'static str>,
    },
    /// `cgroup` (or `cgroup2`): the container's own part of the cgroup tree.
    Cgroup,
    /// Options changed on what is mounted there already.
    Remount,
}

#[derive(Debug)]
pub struct Device {
    /// Its place in `linux.devices`; none for the spec's default devices.
    pub index: Option<usize>,
    pub path: PathBuf,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub kind: u32,
    /// makedev(3).
    pub number: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as ids inside the container.
    pub uid: u32,
    pub gid: u32,
    /// Not made: it must be there already, in the directory of another's that is bound on /dev.
    pub expected: bool,
}
