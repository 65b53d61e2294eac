//! The [`Plan`]: all that a container shall become, in the terms of the calls that will make it so.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;

use oci_spec::runtime::Hook;

use crate::bundle::mount_options::{MountOptions, Reach};
use crate::cgroup::plan::{Cgroup, IntelRdt};
use crate::cpu_list::CpuList;
use crate::error::At;
use crate::security::seccomp::Seccomp;
use crate::security::seccomp::profile::Listener;
use crate::sys::process::{self, Resource};
use crate::sys::sched::SchedAttr;

/// Every decision about one container, taken before anything is done.
#[derive(Debug)]
pub struct Plan {
    /// The runtime-spec version that the config was written for.
    pub oci_version: String,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// config.json, byte for byte as it was read.
    pub config_text: Vec<u8>,
    pub annotations: BTreeMap<String, String>,
    pub namespaces: Namespaces,
    /// Present exactly when the container is in a user namespace apart from the runtime's: the maps to write if it is
    /// new, the maps that it has if it is joined.
    pub id_maps: Option<IdMaps>,
    /// Offsets of a new time namespace.
    pub time_offsets: Vec<TimeOffset>,
    /// Network devices to be moved into the container's network namespace.
    pub net_devices: Vec<NetDevice>,
    pub intel_rdt: Option<IntelRdt>,
    pub rootfs: Rootfs,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub sysctls: Vec<Sysctl>,
    /// Absent when the config has no process: such a container can be created but not started.
    pub process: Option<Process>,
    pub hooks: Hooks,
    pub cgroup: Cgroup,
    /// What the config asks that cannot be had and that the spec wants warned about, not refused.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The namespaces that init is born into. A time namespace whose clocks are to be moved first is entered later.
    pub fn flags_of_clone(&self) -> u64 {
        if self.time_offsets.is_empty() {
            self.namespaces.new
        } else {
            self.namespaces.new & !(libc::CLONE_NEWTIME as u64)
        }
    }

    /// Whether init waits before its first real step until the runtime has done what only a process outside of the new
    /// namespaces can do: see `launch::parent_setup`.
    pub fn needs_help_from_outside(&self) -> bool {
        self.namespaces.makes(libc::CLONE_NEWUSER)
            || !self.time_offsets.is_empty()
            || !self.net_devices.is_empty()
            || self.intel_rdt.is_some()
    }
}

#[derive(Debug, Default)]
pub struct Namespaces {
    /// `CLONE_NEW*` flags of the namespaces to make.
    pub new: u64,
    /// The namespaces to join, in the order in which they must be.
    pub joined: Vec<JoinedNamespace>,
}

impl Namespaces {
    /// Whether the container has its own namespace of this kind, new or joined, apart from the runtime's.
    pub fn has(&self, flag: i32) -> bool {
        self.new & flag as u64 != 0
            || self
                .joined
                .iter()
                .any(|joined| joined.flag == flag as u64 && !joined.is_callers)
    }

    /// The namespace of this kind that is to be joined. (To be in one's own user namespace already is no joining: the
    /// kernel refuses to enter it again.)
    pub fn joins(&self, flag: i32) -> Option<&JoinedNamespace> {
        self.joined
            .iter()
            .find(|joined| joined.flag == flag as u64 && !(joined.is_callers && flag == libc::CLONE_NEWUSER))
    }

    /// Whether some namespaces can only be entered before init is made: what is older than the container's user
    /// namespace must be joined before privilege over it is lost by entering that, and what is new must be made in a user
    /// namespace that is joined, to belong to it.
    pub fn need_a_process_between(&self) -> bool {
        self.joins(libc::CLONE_NEWUSER).is_some() || self.makes(libc::CLONE_NEWUSER) && !self.joined.is_empty()
    }

    /// Whether the container gets a new namespace of this kind.
    pub fn makes(&self, flag: i32) -> bool {
        self.new & flag as u64 != 0
    }
}

#[derive(Debug)]
pub struct JoinedNamespace {
    /// Its place in `linux.namespaces`.
    pub index: usize,
    /// Its `CLONE_NEW*` flag.
    pub flag: u64,
    pub path: PathBuf,
    /// It is the runtime's own after all: what is set in it would be set on the host.
    pub is_callers: bool,
}

impl JoinedNamespace {
    /// The place in the config, for errors.
    pub fn at(&self) -> At {
        At::object(format!("linux.namespaces[{}].path", self.index), self.path.display())
    }
}

/// What is in `/proc/PID/{uid_map,gid_map}`, see user_namespaces(7).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdMaps {
    pub uid: Vec<IdMapping>,
    pub gid: Vec<IdMapping>,
}

impl IdMaps {
    /// Whether the kernel takes the map of groups only from who gives up setgroups(2) (CVE-2014-8989): it is written
    /// by a plain user, without the helper that may do more.
    pub fn denies_setgroups(&self) -> bool {
        process::effective_uid() != 0
            && matches!(&*self.gid, [only] if only.size == 1 && only.host == process::effective_gid())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdMapping {
    pub container: u32,
    pub host: u32,
    pub size: u32,
}

impl IdMaps {
    /// The id inside the container that files of the making belong to: root where it is mapped, else `preferred` (the
    /// process's own), else the first that there is.
    pub fn creator_id(list: &[IdMapping], preferred: Option<u32>) -> Option<u32> {
        let mapped = |id: u32| list.iter().any(|mapping| mapping.holds(id));
        if mapped(0) {
            return Some(0);
        }
        preferred
            .filter(|id| mapped(*id))
            .or_else(|| list.first().map(|mapping| mapping.container))
    }
}

impl IdMapping {
    /// Whether an id of the container is in this range.
    pub fn holds(&self, id: u32) -> bool {
        id.checked_sub(self.container).is_some_and(|offset| offset < self.size)
    }
}

/// One clock of a new time namespace, see time_namespaces(7).
#[derive(Debug, PartialEq, Eq)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

/// A network device of the runtime's namespace that becomes the container's.
#[derive(Debug, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name in the runtime's namespace.
    pub name: String,
    /// Its name in the container's; with `%d` in it the kernel puts the first free number there.
    pub new_name: String,
}

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

#[derive(Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// The key as the config has it.
    pub key: String,
    /// The file below /proc/sys.
    pub file: PathBuf,
    pub value: String,
}

/// Who the process is and what it runs: one structure for init and for exec, so that neither can forget a part.
#[derive(Debug)]
pub struct Process {
    pub terminal: bool,
    /// (rows, columns) of the terminal.
    pub console_size: Option<(u16, u16)>,
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub cwd: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
    /// The supplementary groups stay the caller's.
    pub keep_groups: bool,
    /// Unset leaves the caller's, as the spec says.
    pub umask: Option<u32>,
    pub rlimits: Vec<Rlimit>,
    /// Unset leaves the caller's, as the spec says.
    pub oom_score_adj: Option<i32>,
    pub no_new_privileges: bool,
    pub capabilities: Capabilities,
    pub scheduling: Scheduling,
    /// `linux.memoryPolicy`, which is a property of the process and of what it starts.
    pub memory_policy: Option<MemoryPolicy>,
    /// `PER_*`, see personality(2); none leaves the caller's.
    pub personality: Option<u32>,
    /// The AppArmor profile that the execve changes to.
    pub apparmor_profile: Option<String>,
    /// The SELinux label that the execve changes to.
    pub selinux_label: Option<String>,
    /// Set from outside, because in a user namespace the file belongs to a user that is not mapped.
    pub oom_score_from_outside: bool,
    /// Resource limits, scheduler and I/O priority are set from outside: raising them needs privilege on the host, which
    /// a process in a user namespace has not and the runtime has.
    pub limits_from_outside: bool,
    /// Descriptors after the standard three that the process keeps, those of [`Process::activation`] among them.
    pub preserve_fds: u32,
    /// Sockets that systemd handed to the runtime for the process, see sd_listen_fds(3).
    pub activation: Option<Activation>,
    /// Its sd_notify(3) messages are wanted.
    pub notify: bool,
    /// A session keyring of its own; not with `--no-new-keyring`.
    pub new_keyring: bool,
    pub seccomp: Option<Seccomp>,
}

impl Process {
    /// Who is to get the listener of the process's filter.
    pub fn listener(&self) -> Option<&Listener> {
        self.seccomp.as_ref().and_then(|filter| filter.listener.as_ref())
    }

    /// Whether what the process does on its way to its program could fail for this limit: a few open files, the memory of
    /// the runtime, of which init is a copy, and the thread that hands a listener over.
    pub fn is_in_the_way(&self, limit: &Rlimit) -> bool {
        let enough = match limit.resource {
            libc::RLIMIT_NOFILE => 64,
            libc::RLIMIT_AS | libc::RLIMIT_DATA => 64 << 20,
            libc::RLIMIT_STACK => 1 << 20,
            // Of all processes of the user's, so that no number is enough.
            libc::RLIMIT_NPROC if self.listener().is_some() => u64::MAX,
            _ => 0,
        };
        limit.soft < enough
    }
}

#[derive(Debug, Clone)]
pub struct Rlimit {
    /// Its place in `process.rlimits`.
    pub index: usize,
    /// Its name in the config.
    pub name: String,
    /// `RLIMIT_*`.
    pub resource: Resource,
    pub soft: u64,
    pub hard: u64,
}

/// When the process runs and when its input and output do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// What sched_setattr(2) gets.
    pub scheduler: Option<SchedAttr>,
    pub io: Option<IoPriority>,
    /// The processors of a process that joins a container: on its way there, and there.
    pub exec_initial: Option<CpuList>,
    pub exec_final: Option<CpuList>,
}

/// ioprio_set(2): class and level in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority(pub u16);

/// What set_mempolicy(2) gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*` with `MPOL_F_*`.
    pub mode: i32,
    /// The mode's name in the config.
    pub name: String,
    pub nodes: CpuList,
}

/// The first descriptors after the standard three, as systemd counts and names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// How many they are.
    pub count: u32,
    /// `LISTEN_FDNAMES`, their names with colons between them.
    pub names: Option<CString>,
}

/// The five sets of capabilities(7), one bit a capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

/// The hooks by point, in the order in which the points come.
#[derive(Debug, Default)]
pub struct Hooks {
    pub prestart: Vec<Hook>,
    pub create_runtime: Vec<Hook>,
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
}
