//! What the config and the command line want of the container's cgroup and class of service.

use std::path::PathBuf;

use super::limits::Limits;
use crate::dbus::Value;

#[derive(Debug)]
pub struct Cgroup {
    /// `linux.cgroupsPath`.
    pub path: Option<PathBuf>,
    /// Device rules in their order, the default allow-list included.
    pub devices: Vec<DeviceRule>,
    /// What may be used of memory, processors and all else that is counted.
    pub limits: Limits,
    /// The user of the host that the leaf is given to, because the container may manage what is below it.
    pub owner: Option<u32>,
    /// The scope, if systemd is to make the cgroup.
    pub scope: Option<Scope>,
    /// None is to be made: the caller wants the container in its own.
    pub none: bool,
    /// Whether the container may do without one that cannot be made.
    pub optional: Optional,
}

/// When a container does without a cgroup that cannot be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Optional {
    Never,
    /// If the runtime has not root's power over the tree.
    #[default]
    WithoutRoot,
    Always,
}

/// What the config says about the scope.
#[derive(Debug)]
pub struct Scope {
    /// `linux.cgroupsPath`: SLICE:PREFIX:NAME.
    pub path: Option<String>,
    /// It belongs to the systemd of the user, not of the system.
    pub user: bool,
    /// Further properties, by the config's annotations.
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

/// `linux.intelRdt`: the part of caches and memory bandwidth that the container gets, by the kernel's resctrl.
#[derive(Debug, PartialEq, Eq)]
pub struct IntelRdt {
    /// Where resctrl is mounted.
    pub mount: PathBuf,
    /// The class of service; none means one of the container's own, `/` the default one.
    pub clos: Option<String>,
    /// What goes to the class's `schemata` file, in this order: (place in the config, lines).
    pub schemata: Vec<(String, Vec<String>)>,
    pub monitoring: bool,
}
