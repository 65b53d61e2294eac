//! The [`Plan`]: everything that a container will become, in terms of the calls that will make it so.
//!
//! This is data. [`bundle`](crate::bundle) makes it from config.json; the later chapters only read it.

mod cgroup;
mod hooks;
mod id_map;
pub mod limits;
mod mount_options;
mod process;
mod rootfs;
pub mod seccomp;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::At;

pub use cgroup::{Cgroup, DeviceKind, DeviceRule, IntelRdt, Optional, Scope};
pub use hooks::{HookPoint, Hooks};
pub use id_map::{IdMapping, IdMaps};
pub use mount_options::{FsOption, MountOptions, Propagation, PropagationKind, Reach};
pub use process::{Activation, Capabilities, IoPriority, MemoryPolicy, Process, Rlimit, Scheduling};
pub use rootfs::{DevConsole, Device, Mount, MountIdMap, MountKind, NoFollow, RootMode, Rootfs};
pub use seccomp::Seccomp;

/// The version of the runtime-spec that orlop implements.
pub const OCI_VERSION: &str = "1.3.0";

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
    pub warnings: Vec<Warning>,
    /// What helps to follow the decisions, for `--debug`.
    pub remarks: Vec<String>,
}

/// Something in the config that has no effect, or not the expected one, and that the specification does not want refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The place inside config.json; empty if it is about none in particular.
    pub path: String,
    /// The entry of `mounts` that it is about, if it is about one.
    pub mount: Option<usize>,
    /// It is about an unknown key that looks like a known one.
    pub misspelt: bool,
    pub text: String,
}

impl Warning {
    /// `path`: the place inside config.json.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Warning {
            path: path.into(),
            mount: None,
            misspelt: false,
            text: text.into(),
        }
    }

    pub fn of_mount(index: usize, text: String) -> Self {
        Warning {
            mount: Some(index),
            ..Warning::new(format!("mounts[{index}]"), text)
        }
    }
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name in the runtime's namespace.
    pub name: String,
    /// Its name in the container's; with `%d` in it the kernel puts the first free number there.
    pub new_name: String,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// The key as the config has it.
    pub key: String,
    /// The file below /proc/sys.
    pub file: PathBuf,
    pub value: String,
}
