//! Installing the filter. Run by the process that executes the program, as its last act before execve, when it is confined
//! in all other ways and has heard `Start`: so a profile needs to allow nothing of what we do ourselves but execve.
//!
//! Without no_new_privs the kernel wants CAP_SYS_ADMIN for it (seccomp(2)). Then the step "capabilities" has left just
//! this one in the permitted set, it is made effective for the one call, and capset, which gives it up, is the second
//! call that a profile must allow. Every program that is executed on the way is executed without it: what execve
//! computes does not depend on the permitted set (capabilities(7)).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::errno::Errno;

use super::Seccomp;
use super::profile::{NEW_LISTENER, WAIT_KILLABLE_RECV};
use crate::bundle::plan::{Capabilities, Process};
use crate::error::{At, Context, Error, Result, Step, anyhow, cured};
use crate::protocol::{Channel, Message};
use crate::sys::SysError;
use crate::sys::capabilities::{self, CapabilitySets};
use crate::sys::seccomp::{self, sock_filter};

const SYS_ADMIN: u64 = 1 << 21;

/// What the step "capabilities" must leave permitted, beyond the plan.
pub fn kept_capability(plan: &Process) -> u64 {
    match &plan.seccomp {
        Some(_) if !plan.no_new_privileges => SYS_ADMIN,
        _ => 0,
    }
}

/// Whether a capability is lent for the installation that the process shall not have.
pub fn borrows(plan: &Process) -> bool {
    kept_capability(plan) & !(plan.capabilities.effective & plan.capabilities.permitted) != 0
}

/// `last` is to be done when all else is, without being held by the filter; for where the filter notifies, and called only there.
pub fn install(plan: &Process, channel: &Channel, last: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    match &plan.seccomp {
        None => Ok(()),
        Some(filter) => apply(plan.capabilities, kept_capability(plan), || match &filter.listener {
            None => without_listener(filter.flags, &filter.program),
            Some(_) => with_listener(filter, channel, last),
        })
        .context(At::new("linux.seccomp"))
        .context(Step("seccomp")),
    }
}

/// The filter for a hook that is one of the image's programs: it must not be able to do what the container's process is
/// not. Without the agent, which waits for that one process: what it would be asked about is refused (`ENOSYS`).
pub struct OnHook {
    flags: u32,
    program: Vec<sock_filter>,
    capabilities: Capabilities,
    kept: u64,
}

impl OnHook {
    /// None where there is no filter.
    pub fn of(plan: &Process) -> Option<Self> {
        let filter = plan.seccomp.as_ref()?;
        Some(OnHook {
            flags: filter.flags & !(NEW_LISTENER | WAIT_KILLABLE_RECV),
            program: filter.program.clone(),
            capabilities: plan.capabilities,
            kept: kept_capability(plan),
        })
    }

    /// Installs it on this process.
    pub fn install(&self) -> Result<()> {
        apply(self.capabilities, self.kept, || {
            without_listener(self.flags, &self.program)
        })
        .context(At::new("linux.seccomp"))
    }
}

fn apply(wanted: Capabilities, kept: u64, set: impl FnOnce() -> Result<()>) -> Result<()> {
    let last = CapabilitySets {
        effective: wanted.effective & wanted.permitted,
        permitted: wanted.permitted,
        inheritable: wanted.inheritable,
    };
    let borrowed = kept & !last.effective;
    if borrowed != 0 && capabilities::capget()?.permitted & SYS_ADMIN != 0 {
        capabilities::capset(CapabilitySets {
            effective: last.effective | borrowed,
            permitted: last.permitted | borrowed,
            inheritable: last.inheritable,
        })?;
    }
    set()?;
    if borrowed != 0 {
        capabilities::capset(last).map_err(|error| {
            cured(
                error,
                "the capability for installing the filter cannot be given up",
                "allow capset in the profile, or set process.noNewPrivileges to true, with which it is not needed",
            )
        })?;
    }
    Ok(())
}

fn without_listener(flags: u32, program: &[sock_filter]) -> Result<()> {
    seccomp::set_filter(flags, program).map(|_| ()).map_err(refused)
}

fn refused(error: SysError) -> Error {
    match error.errno {
        Errno::EACCES => cured(
            error,
            "the filter cannot be installed",
            "without CAP_SYS_ADMIN set process.noNewPrivileges to true",
        ),
        Errno::EINVAL | Errno::ENOSYS => cured(
            error,
            "the kernel does not take the filter",
            "it lacks CONFIG_SECCOMP_FILTER, or a flag or action of the profile: see /proc/sys/kernel/seccomp/actions_avail",
        ),
        Errno::EBUSY => cured(
            error,
            "there is a listener already",
            "the runtime itself runs under a filter with SCMP_ACT_NOTIFY; only one of them can notify",
        ),
        _ => error.into(),
    }
}

/// What the two threads of [`with_listener`] tell each other.
const NOTHING_YET: i32 = -1;
const FAILED: i32 = -2;
const HANDED_OVER: i32 = -3;

/// Installs a filter that notifies, and has the listener handed over.
///
/// Once it is installed, every call of this thread may wait for the answer of an agent, who does not have the listener
/// yet. So a second thread, made before and therefore without the filter, hands it over. Until it has, this one makes no
/// call at all, not even to wait. execve ends the second thread, if it has not ended yet.
fn with_listener(
    filter: &Seccomp,
    channel: &Channel,
    last: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<()> {
    let word = Arc::new(AtomicI32::new(NOTHING_YET));
    let theirs = word.clone();
    let socket = channel.fd().try_clone_to_owned()?;
    let helper = std::thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(move || hand_over(&theirs, socket, last))
        .map_err(|error| {
            let call = SysError::from_io("clone(CLONE_THREAD)", &error);
            cured(
                call,
                "no thread to hand the listener over",
                "the pids limit must leave room for a second thread",
            )
        })?;
    let number = match seccomp::set_filter(filter.flags, &filter.program) {
        Ok(number) => number,
        Err(error) => {
            word.store(FAILED, Ordering::Release);
            let _ = helper.join();
            return Err(refused(error));
        }
    };
    word.store(number, Ordering::Release);
    // Neither join nor drop: both may make calls.
    std::mem::forget(helper);
    loop {
        match word.load(Ordering::Acquire) {
            HANDED_OVER => return Ok(()),
            FAILED => return Err(anyhow!("the listener was not handed over")),
            _ => std::hint::spin_loop(),
        }
    }
}

/// The second thread: waits for the listener's number, gives the descriptor to the runtime, and hears that it was sent on.
/// Then it does what is left to it.
fn hand_over(word: &AtomicI32, socket: OwnedFd, last: impl FnOnce() -> Result<()>) {
    let number = loop {
        match word.load(Ordering::Acquire) {
            // The first thread cannot wake us; it is in the one call of installing.
            NOTHING_YET => std::thread::sleep(Duration::from_micros(20)),
            FAILED => return,
            number => break number,
        }
    };
    let listener = seccomp::own_listener(number);
    let channel = Channel::new(socket);
    let give = || -> Result<()> {
        channel.send_with(&Message::Listener, Some(listener.as_fd()))?;
        channel.expect_from_runtime(&["ListenerTaken"]).map(drop)
    };
    let result = match give() {
        Ok(()) => match last() {
            Ok(()) => HANDED_OVER,
            Err(error) => {
                channel.send_failure(&error);
                FAILED
            }
        },
        Err(_) => FAILED,
    };
    // Only the agent's is to stay open, so that its end is the end of the listener.
    drop(listener);
    drop(channel);
    word.store(result, Ordering::Release);
}
