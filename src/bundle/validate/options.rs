//! What a config is checked against, besides its own text.

use std::path::Path;

use oci_spec::runtime as oci;

use crate::bundle::document::Spec;
use crate::host::Facts;
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
    /// Those among them that the caller has left closed
    pub closed_fds: Vec<i32>,
    /// Sockets that systemd handed over
    pub activation: Option<Activation>,
    /// The caller wants the container's sd_notify(3) messages
    pub notify: bool,
    /// `--seccomp-log`
    pub seccomp_log: Option<Logging>,
    /// `--cgroup-manager`, `--systemd-cgroup`
    pub cgroup: Cgroups,
}

/// How the container gets its cgroup.
#[derive(Debug)]
pub enum Cgroups {
    /// The runtime makes the directory. If nothing is requested that requires one, `--rootless` says whether there must be
    /// one.
    Files(Optional),
    /// systemd makes a unit. It is named after this container ID unless the config says otherwise.
    Systemd(String),
    /// There is none: the container stays in the caller's cgroup.
    None,
}

impl Default for Cgroups {
    fn default() -> Self {
        Cgroups::Files(Optional::default())
    }
}

/// What the sections of a config are checked against: the rest of the config, the command line, and the host.
pub struct PlanContext<'a> {
    pub bundle: &'a Path,
    pub spec: &'a Spec,
    pub linux: &'a oci::Linux,
    pub options: &'a RuntimeOptions,
    pub facts: &'a Facts,
    /// If `linux.namespaces` is wrong, every namespace is assumed to be the container's own: then nothing is said to lack
    /// one.
    pub namespaces: &'a Namespaces,
    /// The maps of the container's user namespace.
    pub id_maps: Option<&'a IdMaps>,
    /// False if the maps could not be told because something about them is wrong. What depends on them is not checked.
    pub maps_known: bool,
}
