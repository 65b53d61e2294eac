//! What the checks know besides the config.

use std::path::Path;

use crate::plan::seccomp::Logging;
use crate::plan::{Activation, IdMaps, Namespaces, Optional};

/// What the command line adds to the config.
#[derive(Debug, Default)]
pub struct RuntimeOptions {
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// `--preserve-fds`, and the descriptors of `activation`
    pub preserve_fds: u32,
    /// Sockets that systemd handed over
    pub activation: Option<Activation>,
    /// The caller wants the container's sd_notify(3) messages
    pub notify: bool,
    /// `--seccomp-log`
    pub seccomp_log: Option<Logging>,
    /// `--cgroup-manager`, `--systemd-cgroup`
    pub cgroup: Cgroups,
}

/// How the container comes to its cgroup.
#[derive(Debug)]
pub enum Cgroups {
    /// The runtime makes the directory. Where nothing is asked that needs one, `--rootless` says whether there must be one.
    Files(Optional),
    /// systemd makes a unit, called by this id of the container's if nothing else is said.
    Systemd(String),
    /// Not at all: it stays in the caller's.
    None,
}

impl Default for Cgroups {
    fn default() -> Self {
        Cgroups::Files(Optional::default())
    }
}

/// What the root file system depends on, too.
pub struct PlanContext<'a> {
    pub bundle: &'a Path,
    pub options: &'a RuntimeOptions,
    pub namespaces: &'a Namespaces,
    pub id_maps: Option<&'a IdMaps>,
}
