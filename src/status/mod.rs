//! The current status of a container. It is never stored but always determined anew: a stored status would be wrong after a
//! crash.

mod document;
mod quick;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use serde::Serialize;

use crate::cgroup::{directory, unfinished};
use crate::error::{Result, anyhow};
use crate::progress;
use crate::state::identity::open_if_alive;
use crate::state::{Container, Phase, State};
use crate::sys::process;

pub use document::Document;
pub use quick::quick_status;

/// The statuses of runtime.md, and `paused`, which all runtimes add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub const ALL: [Status; 5] = [
        Status::Creating,
        Status::Created,
        Status::Running,
        Status::Paused,
        Status::Stopped,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// The state and the status of a container at one moment.
#[derive(Debug)]
pub struct Snapshot {
    pub state: State,
    pub status: Status,
    /// A pidfd of init while it is alive. A pidfd never refers to another process.
    pub init: Option<OwnedFd>,
}

/// Determines the status of a container. An error with [`Broken`](crate::state::file::Broken) in its chain means that the stored
/// state is invalid.
pub fn inspect(container: &Container) -> Result<Snapshot> {
    let Some(mut state) = container.read()? else {
        return inspect_without_state(container);
    };
    let locked = state.phase == Phase::Creating && container.is_locked()?;
    if state.phase == Phase::Creating && !locked {
        // The creator has ended, perhaps after the state was read; then it has written a newer one.
        state = container.read()?.ok_or_else(|| anyhow!("container does not exist"))?;
    }
    if state.unfinished.is_some() {
        unfinished::heal(container, &mut state);
    }
    snapshot(state, container, locked)
}

/// Between the claim of the ID and the first write there is no state: the creator is still working, or died there.
fn inspect_without_state(container: &Container) -> Result<Snapshot> {
    let empty = |status| Snapshot {
        state: empty_state(container),
        status,
        init: None,
    };
    if container.is_gone()? {
        return Err(anyhow!("container does not exist"));
    }
    if is_being_claimed(container)? {
        return Ok(empty(Status::Creating));
    }
    // This process holds the lock now, so no other one is writing.
    if let Some(state) = container.read()? {
        return snapshot(state, container, false);
    }
    match container.missing_state()? {
        Some(error) => Err(error),
        None => Ok(empty(Status::Stopped)),
    }
}

/// Whether a directory without a state is being created: its creator holds the lock, or will within a moment. If not, this
/// process holds the lock afterwards.
fn is_being_claimed(container: &Container) -> Result<bool> {
    for _ in 0..10 {
        if container.is_locked()? {
            return Ok(true);
        }
        if container.is_gone()? {
            return Ok(false);
        }
        container.unlock()?;
        // All rounds together are longer than a creator takes from creating the directory to locking it.
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(container.is_locked()?)
}

/// Derives the status from a state; `creating`: its creator is still working.
fn snapshot(mut state: State, container: &Container, creating: bool) -> Result<Snapshot> {
    if state.phase == Phase::Creating
        && let Some((pid, start_time)) = container.recorded_init()?
    {
        (state.pid, state.start_time) = (pid, start_time);
    }
    let init = if state.pid > 0 {
        open_if_alive(&state.init())?
    } else {
        None
    };
    let status = match (state.phase, &init) {
        (Phase::Creating, _) if creating => Status::Creating,
        (Phase::Creating, _) | (Phase::Created, None) => Status::Stopped,
        (Phase::Created, Some(_)) if container.has_start_socket()? => Status::Created,
        (Phase::Created, Some(_)) if is_frozen(&state)? => Status::Paused,
        (Phase::Created, Some(_)) => Status::Running,
    };
    Ok(Snapshot { state, status, init })
}

fn empty_state(container: &Container) -> State {
    State {
        version: State::VERSION,
        oci_version: crate::plan::OCI_VERSION.into(),
        id: container.id.clone(),
        phase: Phase::Creating,
        creator: 0,
        pid: 0,
        start_time: 0,
        pidfd_inode: None,
        bundle: PathBuf::new(),
        rootfs: PathBuf::new(),
        created: String::new(),
        owner: process::effective_uid(),
        cgroup: None,
        class: None,
        annotations: BTreeMap::new(),
        poststart: Vec::new(),
        poststop: Vec::new(),
        resources: None,
        unfinished: None,
        memory_limited: false,
        shared_pid_namespace: false,
        chroot: false,
        keyring: None,
        no_new_keyring: false,
        streams: Vec::new(),
        step: None,
    }
}

/// A snapshot of a container whose state is invalid, from the fields that are still readable. For removing it by force.
pub fn salvage(container: &Container) -> Result<Snapshot> {
    let mut state = empty_state(container);
    let fields = container.readable_fields()?;
    fn take<T: serde::de::DeserializeOwned>(fields: &serde_json::Value, name: &str, field: &mut T) {
        if let Some(value) = fields.get(name).and_then(|value| T::deserialize(value).ok()) {
            *field = value;
        }
    }
    take(&fields, "pid", &mut state.pid);
    take(&fields, "startTime", &mut state.start_time);
    take(&fields, "bundle", &mut state.bundle);
    take(&fields, "annotations", &mut state.annotations);
    take(&fields, "poststop", &mut state.poststop);
    take(&fields, "cgroup", &mut state.cgroup);
    take(&fields, "class", &mut state.class);
    let init = if state.pid > 0 {
        open_if_alive(&state.init())?
    } else {
        None
    };
    let status = if init.is_some() {
        Status::Running
    } else {
        Status::Stopped
    };
    Ok(Snapshot { state, status, init })
}

pub fn is_frozen(state: &State) -> Result<bool> {
    match &state.cgroup {
        Some(cgroup) => Ok(directory::is_frozen(&cgroup.path)?),
        None => Ok(false),
    }
}

/// The current step of a container that is being created.
pub fn step(state: &State, status: Status) -> Option<String> {
    let step = state.step.as_ref().filter(|_| status == Status::Creating)?;
    progress::shown(step)
}

impl Snapshot {
    /// The document of `state`.
    pub fn document(&self) -> Document<'_> {
        Document {
            oci_version: &self.state.oci_version,
            id: &self.state.id,
            pid: if self.init.is_some() && self.status != Status::Stopped {
                self.state.pid
            } else {
                0
            },
            status: self.status.name(),
            bundle: &self.state.bundle,
            rootfs: Some(&self.state.rootfs),
            created: Some(&self.state.created),
            annotations: &self.state.annotations,
            owner: Some(""),
            step: step(&self.state, self.status),
        }
    }

    /// Sends a signal to init.
    pub fn signal_init(&self, signal: i32) -> Result<()> {
        let init = self.init.as_ref().ok_or_else(|| anyhow!("container not running"))?;
        match process::pidfd_send_signal(init.as_fd(), signal) {
            Err(error) if error.errno == Errno::ESRCH => Err(anyhow!("container not running")),
            other => Ok(other?),
        }
    }
}
