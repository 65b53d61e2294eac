//! What a container is doing now. It is found out each time and never stored: a stored status would be wrong after a crash.

mod document;
mod glance;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use serde::Serialize;

use crate::cgroup::{tree, unfinished};
use crate::error::{Error, Hint, Result, anyhow};
use crate::progress;
use crate::state::identity::living;
use crate::state::reading::Broken;
use crate::state::store::{Container, STATE};
use crate::state::{Phase, State};
use crate::sys::process;

pub use document::Document;
pub use glance::glance;

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

/// A container with its state and its status at one moment.
#[derive(Debug)]
pub struct Seen {
    pub state: State,
    pub status: Status,
    /// Init itself, while it lives: a pidfd cannot come to mean another process.
    pub init: Option<OwnedFd>,
}

/// Looks at a container. A failure with [`Broken`] in it is about a state that was read and makes no sense.
pub fn look(container: &Container) -> Result<Seen> {
    let Some(mut state) = container.read()? else {
        return look_before_the_first_state(container);
    };
    let locked = state.phase == Phase::Creating && container.is_locked()?;
    if state.phase == Phase::Creating && !locked {
        // Its creator is gone, perhaps since the state was read, and then the work is done.
        state = container.read()?.ok_or_else(|| anyhow!("container does not exist"))?;
    }
    if state.unfinished.is_some() {
        unfinished::heal(container, &mut state);
    }
    see(state, container, locked)
}

/// Between the claim of the id and the first state there is nothing to tell; the creator is at it, or died there.
fn look_before_the_first_state(container: &Container) -> Result<Seen> {
    let nothing = |status| Seen {
        state: nothing_yet(container),
        status,
        init: None,
    };
    if container.is_gone()? {
        return Err(anyhow!("container does not exist"));
    }
    if is_being_claimed(container)? {
        return Ok(nothing(Status::Creating));
    }
    // The lock is ours now, so nobody writes; what there is has been written before.
    if let Some(state) = container.read()? {
        return see(state, container, false);
    }
    if container.has_content()? {
        let file = container.path.join(STATE).display().to_string();
        let cure = format!("remove the container with `orlop delete --force {}`", container.id);
        return Err(Error::new(Broken("it is missing".into())).context(Hint(cure, file)));
    }
    Ok(nothing(Status::Stopped))
}

/// Whether a directory without a state has a creator: one who holds its lock, or will within a moment. The lock is ours
/// if not.
fn is_being_claimed(container: &Container) -> Result<bool> {
    for _ in 0..10 {
        if container.is_locked()? {
            return Ok(true);
        }
        if container.is_gone()? {
            return Ok(false);
        }
        container.unlock()?;
        // No creator takes that long from making the directory to locking it.
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(container.is_locked()?)
}

/// The status that follows from a state, and from whether its creator is still at work.
fn see(mut state: State, container: &Container, creating: bool) -> Result<Seen> {
    if state.phase == Phase::Creating
        && let Some((pid, start_time)) = container.noted_init()?
    {
        (state.pid, state.start_time) = (pid, start_time);
    }
    let init = if state.pid > 0 { living(&state.init())? } else { None };
    let status = match (state.phase, &init) {
        (Phase::Creating, _) if creating => Status::Creating,
        (Phase::Creating, _) | (Phase::Created, None) => Status::Stopped,
        (Phase::Created, Some(_)) if container.has_start_socket()? => Status::Created,
        (Phase::Created, Some(_)) if frozen(&state)? => Status::Paused,
        (Phase::Created, Some(_)) => Status::Running,
    };
    Ok(Seen { state, status, init })
}

fn nothing_yet(container: &Container) -> State {
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
        step: None,
    }
}

/// What can be told of a container whose state is broken: nothing but what is still legible in it. For removing it by force.
pub fn salvage(container: &Container) -> Result<Seen> {
    let mut state = nothing_yet(container);
    let left = container.legible()?;
    fn take<T: serde::de::DeserializeOwned>(left: &serde_json::Value, name: &str, field: &mut T) {
        if let Some(value) = left.get(name).and_then(|value| T::deserialize(value).ok()) {
            *field = value;
        }
    }
    take(&left, "pid", &mut state.pid);
    take(&left, "startTime", &mut state.start_time);
    take(&left, "bundle", &mut state.bundle);
    take(&left, "annotations", &mut state.annotations);
    take(&left, "poststop", &mut state.poststop);
    take(&left, "cgroup", &mut state.cgroup);
    take(&left, "class", &mut state.class);
    let init = if state.pid > 0 { living(&state.init())? } else { None };
    let status = if init.is_some() {
        Status::Running
    } else {
        Status::Stopped
    };
    Ok(Seen { state, status, init })
}

pub fn frozen(state: &State) -> Result<bool> {
    match &state.cgroup {
        Some(cgroup) => Ok(tree::is_frozen(&cgroup.path)?),
        None => Ok(false),
    }
}

/// How far the making of a container is, while it lasts.
pub fn step(state: &State, status: Status) -> Option<String> {
    let step = state.step.as_ref().filter(|_| status == Status::Creating)?;
    progress::shown(step)
}

impl Seen {
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
