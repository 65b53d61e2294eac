//! What a container is doing now. It is never stored, but seen: a stored status would be wrong after a crash.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use procfs::FromRead;
use procfs::process::Stat;
use serde::Serialize;

use super::reading::Broken;
use super::record::{Phase, State};
use super::store::{Container, STATE};
use crate::cgroup::{tree, unfinished};
use crate::error::{Context, Error, Hint, Result, anyhow, errno};
use crate::progress;
use crate::sys::{descriptor, fs, process};

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
        oci_version: crate::bundle::OCI_VERSION.into(),
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

/// A process, as it is remembered: a pid alone may be another's by now.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    pub pid: i32,
    /// In clock ticks since boot (proc_pid_stat(5), field 22).
    pub start_time: u64,
    /// Where the kernel has such numbers, see [`process::pidfd_inode`]. Then it alone decides.
    pub pidfd_inode: Option<u64>,
}

/// A pidfd for this process, if it lives (a zombie does not). That it cannot be told is an error, not an end.
pub fn living(of: &Identity) -> Result<Option<OwnedFd>> {
    // The pidfd first: what is read of /proc afterwards is either about the same process, or about a later one whose
    // start time gives it away.
    let pidfd = match process::pidfd_open(of.pid) {
        // The number is nobody's, or a thread's (two errnos, by kernel), or none.
        Err(error) if matches!(error.errno, Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return Ok(None),
        other => other?,
    };
    if let Some(inode) = of.pidfd_inode {
        let lives = fs::fstat(pidfd.as_fd())?.st_ino == inode && !all_have_ended(&pidfd)?;
        return Ok(lives.then_some(pidfd));
    }
    let read = stat(of.pid);
    if let Ok(stat) = &read
        && !matches!(stat.state, 'Z' | 'X' | 'x')
    {
        return Ok((stat.starttime == of.start_time).then_some(pidfd));
    }
    // Unreadable, or the first thread is a zombie, which others may outlive.
    if all_have_ended(&pidfd)? {
        return Ok(None);
    }
    Ok((read?.starttime == of.start_time).then_some(pidfd))
}

/// Whether all threads of a process have ended.
fn all_have_ended(pidfd: &OwnedFd) -> Result<bool> {
    let events = descriptor::poll(&[(pidfd.as_fd(), libc::POLLIN)], 0)?;
    Ok(events.first().is_some_and(|events| *events != 0))
}

/// Whether this process lives; none where that takes more to tell than [`living`] does.
pub fn lives(process: &Identity) -> Option<bool> {
    if process.pid <= 0 {
        return Some(false);
    }
    if process.pidfd_inode.is_some() {
        return living(process).ok().map(|pidfd| pidfd.is_some());
    }
    match stat(process.pid) {
        Ok(stat) if stat.starttime != process.start_time => Some(false),
        // The first thread is a zombie, which others may outlive.
        Ok(stat) => (!matches!(stat.state, 'Z' | 'X' | 'x')).then_some(true),
        Err(error) => matches!(errno(&error), Some(Errno::ENOENT | Errno::ESRCH)).then_some(false),
    }
}

/// /proc/PID/stat of a process (proc_pid_stat(5)).
fn stat(pid: i32) -> Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let file = fs::open(Path::new(&path), libc::O_RDONLY)?;
    // 52 numbers and a name of up to 64 bytes. Through the process's own type procfs would look at four more files.
    let mut text = [0u8; 2048];
    let length = fs::pread(file.as_fd(), &mut text)?;
    Stat::from_read(text.get(..length).unwrap_or_default()).context(path)
}

/// The start time of a process that certainly lives, because it is our child.
pub fn start_time(pid: i32) -> Result<u64> {
    Ok(stat(pid)?.starttime)
}

/// Whether the process behind a pidfd has ended, where poll(2) cannot tell: by what procfs says of the descriptor.
pub fn has_ended(pidfd: &OwnedFd) -> Result<bool> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let file = fs::open(Path::new(&path), libc::O_RDONLY)?;
    let text = fs::read_all(file.as_fd(), 1 << 20)?;
    let text = String::from_utf8_lossy(&text);
    let pid = text
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    Ok(match pid {
        Some(pid @ 1..) => match stat(pid) {
            Err(error) if matches!(errno(&error), Some(Errno::ENOENT | Errno::ESRCH)) => true,
            other => matches!(other?.state, 'Z' | 'X' | 'x'),
        },
        // Reaped.
        Some(_) => true,
        None => return Err(anyhow!("{path} has no pid")),
    })
}

/// Whether a process has executed a program since it was cloned. The pid must be known to be still its own.
pub fn has_executed(pid: i32) -> Result<bool> {
    /// Forked, but did not exec.
    const PF_FORKNOEXEC: u32 = 0x40;
    Ok(stat(pid)?.flags & PF_FORKNOEXEC == 0)
}

pub fn frozen(state: &State) -> Result<bool> {
    match &state.cgroup {
        Some(cgroup) => Ok(tree::is_frozen(&cgroup.path)?),
        None => Ok(false),
    }
}

/// The document that `state` prints and that hooks get on standard input, in runc's order of fields. What the schema
/// of runtime.md has comes first; `rootfs`, `created` and `owner` are extras that engines know.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a> {
    pub oci_version: &'a str,
    pub id: &'a str,
    /// 0 when there is no process.
    pub pid: i32,
    pub status: &'static str,
    pub bundle: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'static str>,
    /// What a create is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

impl<'a> Document<'a> {
    /// What hooks of the runtime's side are told, and nothing beyond what runtime.md has.
    pub fn for_hook(state: &'a State, pid: i32, status: &'static str) -> Self {
        Document {
            oci_version: &state.oci_version,
            id: &state.id,
            pid,
            status,
            bundle: &state.bundle,
            rootfs: None,
            created: None,
            annotations: &state.annotations,
            owner: None,
            step: None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_executed_is_told_from_a_copy_of_us() {
        assert!(has_executed(process::pid()).unwrap());
        assert!(!has_ended(&process::pidfd_open(process::pid()).unwrap()).unwrap());
        match process::clone3(0, None).unwrap() {
            process::Cloned::Child => process::exit_now(0),
            process::Cloned::Parent { pid, pidfd } => {
                assert!(!has_executed(pid).unwrap());
                while !has_ended(&pidfd).unwrap() {
                    std::thread::yield_now();
                }
                process::wait_pidfd(pidfd.as_fd(), true).unwrap();
                assert!(has_ended(&pidfd).unwrap());
            }
        }
    }
}
