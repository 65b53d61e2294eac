//! The container's cgroup and class of service, as configured by config.json and the command line.

use std::path::PathBuf;

use super::limits::Limits;
use crate::dbus::Value;

#[derive(Debug)]
pub struct Cgroup {
    /// `linux.cgroupsPath`.
    pub path: Option<PathBuf>,
    /// Device rules in order, including the default allow list.
    pub devices: Vec<DeviceRule>,
    /// Limits of memory, CPU time and other resources.
    pub limits: Limits,
    /// The user of the host that owns the leaf, if it is delegated to the container.
    pub owner: Option<u32>,
    /// The scope, if systemd creates the cgroup.
    pub scope: Option<Scope>,
    /// No cgroup is created: the container stays in the one of the caller.
    pub none: bool,
    /// Whether the container may run without a cgroup if none can be created.
    pub optional: Optional,
}

/// When a container may run without a cgroup if none can be created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Optional {
    Never,
    /// If the runtime does not have root's privileges over the tree.
    #[default]
    WithoutRoot,
    Always,
}

/// The configuration of the scope.
#[derive(Debug)]
pub struct Scope {
    /// `linux.cgroupsPath`: SLICE:PREFIX:NAME.
    pub path: Option<String>,
    /// Whether it belongs to the user's systemd instead of the system's.
    pub user: bool,
    /// Additional properties from annotations.
    pub properties: Vec<(String, Value)>,
}

/// One rule of the device program. `None` for a number means any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    pub allow: bool,
    pub kind: DeviceKind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// `MKNOD`, `READ` and `WRITE` of [`cgroup::devices`](crate::cgroup::devices).
    pub access: u8,
}

/// The devices that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    All,
    Block,
    Character,
}

/// `linux.intelRdt`: the container's share of caches and memory bandwidth, which the kernel's resctrl enforces.
#[derive(Debug, PartialEq, Eq)]
pub struct IntelRdt {
    /// Where resctrl is mounted.
    pub mount: PathBuf,
    /// The class of service; none means one that is created for the container, `/` the default one.
    pub clos: Option<String>,
    /// The lines to write to the class's `schemata` file, in order: (path in the config, lines).
    pub schemata: Vec<(String, Vec<String>)>,
    pub monitoring: bool,
}
