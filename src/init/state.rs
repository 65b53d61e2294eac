//! What init works on: the plan, what the runtime gave it, and what its steps have made so far.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::context::ProcessContext;
use crate::hooks;
use crate::plan::Plan;
use crate::rootfs::mounts::Pending;
use crate::rootfs::notify;
use crate::rootfs::sources::Sources;

/// What init has and what it has made so far.
pub struct Init<'a> {
    pub plan: &'a Plan,
    /// What the steps about the process work on.
    pub context: ProcessContext<'a>,
    pub inputs: InitInputs,
    pub made: InitState,
}

/// How a new mount namespace is created: see `rootfs::place`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountNamespace {
    /// With CLONE_NEWNS, before the mounts: a copy of the runtime's.
    Copied,
    /// After the mounts, of the container's tree of mounts.
    OfTree,
}

impl MountNamespace {
    /// Those of the namespaces (`CLONE_NEW*`) that are created when a process is cloned or calls unshare(2).
    pub fn left_to_clone(self, namespaces: u64) -> u64 {
        match self {
            MountNamespace::Copied => namespaces,
            MountNamespace::OfTree => namespaces & !(libc::CLONE_NEWNS as u64),
        }
    }
}

/// What init gets from the runtime besides the plan.
pub struct InitInputs {
    /// The bound start.sock; none for `run`, which starts over the channel.
    pub start_socket: Option<OwnedFd>,
    /// The container's cgroup directory on the host.
    pub cgroup: Option<PathBuf>,
    /// The directory with the socket for sd_notify(3), if that is wanted.
    pub notify: Option<notify::Directory>,
    /// What the runtime prepared for the mounts and devices.
    pub sources: Sources,
    /// The network namespace comes over the channel.
    pub network_beside: bool,
    /// The name for the session keyring.
    pub keyring: String,
    /// This process is not init yet, but clones it at the end, see `launch::late`.
    pub born_late: bool,
    /// How the mount namespace is created, if it is new.
    pub mount_namespace: MountNamespace,
    /// For the output of the hooks that init runs.
    pub hook_output: hooks::Files,
}

/// What earlier steps leave for later ones.
#[derive(Default)]
pub struct InitState {
    /// The network namespace is the container's and ready for use.
    pub network: Cell<bool>,
    /// The runtime's mount namespace, if the container is to be in it.
    pub back: Option<OwnedFd>,
    pub null: Option<OwnedFd>,
    pub pending: Vec<Pending>,
}

impl<'a> AsMut<ProcessContext<'a>> for Init<'a> {
    fn as_mut(&mut self) -> &mut ProcessContext<'a> {
        &mut self.context
    }
}
