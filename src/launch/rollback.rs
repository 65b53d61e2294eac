//! What a create has made so far, and how it is undone if the create fails.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use nix::errno::Errno;

use super::end;
use crate::cgroup::controllers::Enabled;
use crate::cgroup::oom;
use crate::cgroup::resctrl::{self, Class};
use crate::cgroup::systemd::{self, Placeholder, Systemd};
use crate::cgroup::tree::Leaf;
use crate::error::{Cleanup, Context, Error, Report, Result, Step, anyhow, errno, with_hint};
use crate::hooks;
use crate::net::devices::Taken;
use crate::plan::{HookPoint, Plan};
use crate::protocol::Channel;
use crate::state::{Container, State};
use crate::status::Document;
use crate::sys::fs;
use crate::sys::process::Exit;

/// A container's first process, as the runtime knows it.
pub struct InitProcess {
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// What has been made so far, to be undone if something fails.
pub struct Rollback {
    pub container: Container,
    pub state: State,
    pub leaf: Option<Leaf>,
    pub enabled: Enabled,
    pub systemd: Option<Systemd>,
    pub placeholder: Option<Placeholder>,
    pub class: Option<Class>,
    pub init: Option<Rc<InitProcess>>,
    /// Whether init has sent a message.
    pub heard: bool,
    /// How init ended, once that is known.
    pub exit: Cell<Option<Exit>>,
    pub net_devices: Option<Taken>,
    pub pid_file: Option<PathBuf>,
}

impl Rollback {
    /// For a claimed ID, before anything is made.
    pub fn new(container: Container, state: State) -> Self {
        Rollback {
            container,
            state,
            leaf: None,
            enabled: Enabled::default(),
            systemd: None,
            placeholder: None,
            class: None,
            init: None,
            heard: false,
            exit: Cell::new(None),
            net_devices: None,
            pid_file: None,
        }
    }
}

/// Undoes a create that failed, newest first.
pub fn take_back(made: Rollback, plan: &Plan) -> Result<()> {
    let mut cleanup = Cleanup::default();
    let was_made = made.init.is_some();
    drop(made.placeholder);
    if let Some(taken) = made.net_devices {
        cleanup.step(taken.give_back().context(Step::NetworkDevices));
    }
    if let Some(init) = made.init {
        cleanup.step(end::kill(&init.pidfd));
    }
    // If the leaf could not be completed, parts of it may be left; systemd removes its own units.
    let unfinished = made.state.cgroup.clone();
    let unfinished = unfinished.filter(|place| !place.existed && place.unit.is_none());
    if let Some(place) = made.leaf.map(|leaf| leaf.place).or(unfinished) {
        cleanup.step(systemd::remove(&place).context(Step::Cgroup));
        cleanup.step(made.enabled.take_back().context(Step::Cgroup));
    }
    if let Some(path) = &made.pid_file {
        cleanup.step(match fs::unlinkat(fs::CWD, path, false) {
            Err(error) if error.errno != Errno::ENOENT => Err(error).context(Step::PidFile),
            _ => Ok(()),
        });
    }
    if let Some(class) = &made.class {
        cleanup.step(resctrl::take_back(class).context(Step::ClassOfService));
    }
    if cleanup.is_complete() {
        // While anything else is left, the state records what and where.
        cleanup.step(made.container.remove(false).context(Step::State));
    }
    if was_made && cleanup.is_complete() {
        hooks::run_all(
            HookPoint::Poststop,
            &plan.hooks.poststop,
            &Document::for_hook(&made.state, 0, HookPoint::Poststop.status()),
        );
    }
    cleanup.end()
}

/// The error of a create that fails: what init has reported, if that is why something else failed in the runtime. An init that
/// is ending no longer has namespaces, and does not read what it is sent.
pub fn reported_by_init(error: Error, channel: &Channel, pidfd: &OwnedFd) -> Error {
    if error.downcast_ref::<Report>().is_some() {
        return error;
    }
    let about_its_end = match errno(&error) {
        Some(errno) => matches!(
            errno,
            Errno::ENOENT | Errno::ESRCH | Errno::EPIPE | Errno::ECONNRESET | Errno::EINVAL
        ),
        None => true,
    };
    let patience = if about_its_end { 200 } else { 0 };
    if !end::ends_within(pidfd.as_fd(), patience) {
        return error;
    }
    channel.last_word(pidfd.as_fd()).unwrap_or(error)
}

/// The error for an init that ended without a message: how it ended, and what that means. `unsent`: why a message that it
/// waits for could not be sent.
pub fn init_died(made: &Rollback, pidfd: &OwnedFd, unsent: Option<Error>) -> Error {
    let exit = end::of_child(pidfd, unsent.as_ref());
    made.exit.set(exit);
    match (exit, unsent) {
        (Some(Exit::Signal(signal)), _) => {
            let leaf = made.leaf.as_ref().map(|leaf| &leaf.place);
            leaf.and_then(oom::out_of_memory).unwrap_or_else(|| {
                with_hint(
                    format!("init was killed by signal {signal}"),
                    "it was killed from outside, or by the kernel when the whole machine lacked memory; see `dmesg`",
                )
            })
        }
        (Some(Exit::Code(code)), _) => anyhow!("init ended with exit status {code} and no message"),
        (None, unsent) => unsent.unwrap_or_else(|| anyhow!("init closed the channel")),
    }
}
