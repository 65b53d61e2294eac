//! What the config and the command line want of the container's cgroup and class of service.

use std::path::PathBuf;

use crate::cgroup::devices::Rule;
use crate::cgroup::resources::Limits;
use crate::cgroup::systemd::unit::Scope;

#[derive(Debug)]
pub struct Cgroup {
    /// `linux.cgroupsPath`.
    pub path: Option<PathBuf>,
    /// Device rules in their order, the default allow-list included.
    pub devices: Vec<Rule>,
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
