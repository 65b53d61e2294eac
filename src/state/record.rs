//! The content of state.json.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::Hook;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::identity::Identity;
use crate::plan::limits::Limit;

/// Whether `create` has finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Creating,
    Created,
}

/// The stored state of a container.
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
    /// Init's pid in the runtime's pid namespace; 0 before init exists.
    pub pid: i32,
    /// When init started, in clock ticks since boot (proc_pid_stat(5), field 22). Together with the pid it identifies the
    /// process, even if the pid is reused later.
    pub start_time: u64,
    /// The inode number of init's pidfds, a cheaper identification, see [`crate::sys::process::pidfd_inode`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pidfd_inode: Option<u64>,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// The uid of the user that created it.
    pub owner: u32,
    /// The container's cgroup directory on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<CgroupState>,
    /// What the container uses in resctrl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassState>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Hooks that run after create, stored so that later edits of the bundle have no effect on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
    /// `linux.resources` as changed by `update`; if absent, those of the config apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<serde_json::Value>,
    /// How to undo the `update` in progress. If no command holds the lock, that `update` was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Unfinished>,
    /// Whether the container's memory is limited, so that the OOM killer may kill init.
    #[serde(default)]
    pub memory_limited: bool,
    /// Whether init shares a pid namespace with other processes, which then do not end when init ends.
    #[serde(default)]
    pub shared_pid_namespace: bool,
    /// Init shares the mount namespace of the runtime, so a process that joins its namespaces must also change to its root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chroot: bool,
    /// The unpredictable part of the name of the container's session keyring; see [`State::keyring_name`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// `--no-new-keyring`: processes that join later also keep the keyring of their caller.
    #[serde(default)]
    pub no_new_keyring: bool,
    /// What the standard streams of init were when it was created, and the preserved descriptors after them. CRIU connects
    /// them to those of `restore`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<Stream>,
    /// While the container is being created, the current step, see [`crate::progress`]. This must be the last field: it is
    /// overwritten in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

impl State {
    /// The format of state.json. An unknown version is an error.
    pub const VERSION: u32 = 1;

    /// The identity of the init process.
    pub fn init(&self) -> Identity {
        Identity {
            pid: self.pid,
            start_time: self.start_time,
            pidfd_inode: self.pidfd_inode,
        }
    }

    /// The name of the session keyring, by which processes that join the container find it. Any process that knows the name
    /// can join the keyring, if it has the same user or user namespace.
    pub fn keyring_name(&self) -> String {
        format!("{}_ses.{}", self.keyring.as_deref().unwrap_or_default(), self.id)
    }
}

/// A descriptor that the container got from its caller, in the form that /proc/PID/fd has (proc_pid_fd(5)): a pipe or a socket
/// with its inode number, or nothing that has to be connected again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Pipe(u64),
    Socket(u64),
    Other,
}

impl Stream {
    /// The name of a pipe or a socket.
    pub fn name(self) -> Option<String> {
        match self {
            Stream::Pipe(inode) => Some(format!("pipe:[{inode}]")),
            Stream::Socket(inode) => Some(format!("socket:[{inode}]")),
            Stream::Other => None,
        }
    }

    /// What a link in /proc/PID/fd names.
    pub fn of_name(name: &str) -> Self {
        let inode = |kind| name.strip_prefix(kind)?.strip_suffix(']')?.parse().ok();
        match (inode("pipe:["), inode("socket:[")) {
            (Some(inode), _) => Stream::Pipe(inode),
            (None, Some(inode)) => Stream::Socket(inode),
            (None, None) => Stream::Other,
        }
    }
}

impl Serialize for Stream {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.name().unwrap_or_default().serialize(to)
    }
}

impl<'d> Deserialize<'d> for Stream {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|name| Stream::of_name(&name))
    }
}

/// The part of state.json that all versions of the format share.
#[derive(Deserialize)]
pub struct Format {
    pub version: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CgroupState {
    pub path: PathBuf,
    /// The directory existed before, and was adopted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub existed: bool,
    /// The mark on the directory while it belongs to this container.
    pub owner: String,
    /// The directory's inode number, which is unique among cgroups; 0 before the directory exists.
    pub inode: u64,
    /// The systemd unit that it belongs to, if systemd created it.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_before: Option<UnitBefore>,
    /// The previous lines of the class's schemata.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// The update replaces the device rules; the previous ones follow from the stored resources.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub devices: bool,
}

/// What restores the limits of a systemd unit: the first are lifted, then the others are set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitBefore {
    pub lift: Vec<Limit>,
    pub set: Vec<Limit>,
}

/// A file of the leaf cgroup and the lines that restore it, each written separately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBefore {
    pub file: String,
    pub lines: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    pub name: String,
    /// Whether the unit belongs to the user's systemd instead of the system's.
    #[serde(default)]
    pub user: bool,
}

/// The resctrl directories of a container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ClassState {
    /// The class of service (CLOS) of its processes, created by the runtime or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<PathBuf>,
    /// Directories that are removed with the container: its monitoring group, and a class of service created for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
}
