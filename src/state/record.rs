//! What state.json holds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::Hook;
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::cgroup::resources::Setting;

/// How far `create` has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Creating,
    Created,
}

/// What is kept of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub version: u32,
    pub oci_version: String,
    pub id: String,
    pub phase: Phase,
    /// The creator's pid in its pid namespace.
    #[serde(default)]
    pub creator: i32,
    /// Init's pid in the runtime's pid namespace; 0 before there is one.
    pub pid: i32,
    /// When init started, in clock ticks since boot (proc_pid_stat(5), field 22): with the pid it names the process
    /// for ever, whoever gets the number later.
    pub start_time: u64,
    /// The inode number of init's pidfds, which says the same at a lower price, see [`crate::sys::process::pidfd_inode`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pidfd_inode: Option<u64>,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// The uid of whoever created it.
    pub owner: u32,
    /// The container's cgroup directory on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupState>,
    /// What the container has of its own in resctrl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassState>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Hooks that run after create, kept so that later edits of the bundle have no effect on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
    /// `linux.resources` as `update` has changed it; without, it is as the config has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<serde_json::Value>,
    /// How to undo the `update` in progress. If no command holds the lock, that update was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Unfinished>,
    /// Whether the container's memory is limited, so that init may be killed for lack of it.
    #[serde(default)]
    pub memory_limited: bool,
    /// Whether init shares a pid namespace with others, so that its end is not the end of all.
    #[serde(default)]
    pub shared_pid_namespace: bool,
    /// Init has no mount namespace of its own, so who joins its namespaces has still to enter its root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chroot: bool,
    /// What makes the name of the container's session keyring unpredictable; see [`State::keyring_name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// `--no-new-keyring`: processes that join later keep their caller's too.
    #[serde(default)]
    pub no_new_keyring: bool,
    /// While the container is being created, how far that is, see [`crate::progress`]. The last of the fields: it is overwritten in
    /// place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

impl State {
    /// The form of state.json; a number this binary does not know is refused, not guessed at.
    pub const VERSION: u32 = 1;

    /// Which process init is.
    pub fn init(&self) -> Identity {
        Identity {
            pid: self.pid,
            start_time: self.start_time,
            pidfd_inode: self.pidfd_inode,
        }
    }

    /// The name of the session keyring, by which processes that join the container find it. Whoever knows it can join the
    /// keyring, if it is of the same user or user namespace.
    pub fn keyring_name(&self) -> String {
        format!("{}_ses.{}", self.keyring.as_deref().unwrap_or_default(), self.id)
    }
}

/// What every form of state.json has.
#[derive(Deserialize)]
pub struct Form {
    pub version: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CgroupState {
    pub path: PathBuf,
    /// The directory was there before, and was taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub existed: bool,
    /// What the directory is marked with while it is this container's.
    pub owner: String,
    /// The directory's inode number, which the kernel gives to no other cgroup; 0 before there is one.
    pub inode: u64,
    /// The unit of systemd's that it belongs to, if systemd has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitState>,
    /// Directories above the leaf that its creator is going to create, innermost first; empty once the leaf is marked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<PathBuf>,
}

/// Restores everything that an update may have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// In the order in which the update writes them.
    pub files: Vec<FileBefore>,
    /// The previous limits of the systemd unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unit: Vec<Setting>,
    /// The previous lines of the class's schemata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// The update replaces the device rules; the previous ones follow from the stored resources.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub devices: bool,
}

/// A file of the leaf and the lines that restore it, each written separately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBefore {
    pub file: String,
    pub lines: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    pub name: String,
    /// Of the systemd of the user, not of the system.
    #[serde(default)]
    pub user: bool,
}

/// What the container is in and has in resctrl.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ClassState {
    /// The class of service that its processes are in, whoever has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<PathBuf>,
    /// Directories that go with the container: its monitoring group, and a class of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
}
