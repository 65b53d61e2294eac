//! The runtime's side of starting a created container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::memory;
use crate::cgroup::{oom, resctrl, systemd};
use crate::error::{Cleanup, Context, Error, Report, Result, Step, again, anyhow, with_cleanup, with_hint};
use crate::hooks;
use crate::log;
use crate::plan::HookPoint;
use crate::progress;
use crate::protocol::{Channel, Message, Received, Unheard, out_of_order};
use crate::state::identity;
use crate::state::record::CgroupState;
use crate::state::{Container, State};
use crate::status::Document;
use crate::sys::{Syscall, descriptor, process, socket};
use crate::timings;

/// How long a process may take to end after it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a container whose init waits on start.sock.
pub fn created(container: &Container, state: &State, init: &OwnedFd) -> Result<()> {
    let connection = socket::unix(libc::SOCK_SEQPACKET)?;
    socket::connect(connection.as_fd(), &container.start_socket())
        .map_err(|error| error.renamed(Syscall::ConnectToInit))
        .context("init is not listening")?;
    // Removed before Start is sent: if this process ends in between, the container is no longer `created`, and init exits
    // because the connection is closed.
    container.remove_start_socket()?;
    timings::cloned(state.pid);
    let start = match timings::clocks() {
        Some(clocks) => Message::StartTimed(clocks.monotonic, clocks.real),
        None => Message::Start,
    };
    tell_with(start, container, state, &Channel::new(connection), init)
}

/// Sends Start, and waits until execve has succeeded or failed.
pub fn tell(container: &Container, state: &State, channel: &Channel, init: &OwnedFd) -> Result<()> {
    tell_with(Message::Start, container, state, channel, init)
}

fn tell_with(start: Message, container: &Container, state: &State, channel: &Channel, init: &OwnedFd) -> Result<()> {
    progress::step(Step::Start);
    channel
        .send_to(&start, init.as_fd())
        .map_err(|error| match &state.cgroup {
            Some(cgroup) => oom::out_of_memory(cgroup).unwrap_or(error),
            None => error,
        })?;
    let executed = executed(channel, init.as_fd(), state.cgroup.as_ref());
    let executed = executed.or_else(|error| match error.downcast_ref::<Unheard>() {
        Some(_) => settle(channel, state.pid, init, error),
        None => Err(error),
    });
    let executed = executed.and_then(|()| match &state.cgroup {
        Some(cgroup) if state.memory_limited => memory::wait_for_exec(cgroup, state.pid, init),
        _ => Ok(()),
    });
    if let Err(error) = executed {
        timings::failed();
        progress::step(Step::Rollback);
        let last_word = error.downcast_ref::<Report>();
        // If a hook fails, the lifecycle continues at its step 12: the container is destroyed.
        let hook = last_word.and_then(|report| report.step) == Some(Step::StartContainerHooks);
        if last_word.is_some() && !hook {
            // The caller should see the container stopped. The error to report is the failure, not a slow end.
            let _ = wait_for_end(init);
        }
        return Err(if hook {
            with_cleanup(error, destroy(container, state, init))
        } else {
            error
        });
    }
    progress::reached("started");
    if state.poststart.is_empty() {
        return Ok(());
    }
    progress::step(Step::PoststartHooks);
    let told = Document::for_hook(state, state.pid, HookPoint::Poststart.status());
    let around = hooks::Surroundings {
        interrupts: channel.interrupts(),
        ..hooks::Surroundings::in_bundle(&told)
    };
    let hooks = hooks::run(HookPoint::Poststart, &state.poststart, &told, &around);
    if let Err(error) = hooks.context(Step::PoststartHooks) {
        timings::failed();
        progress::step(Step::Rollback);
        return Err(with_cleanup(error, destroy(container, state, init)));
    }
    Ok(())
}

/// Waits until `init` has executed the program or reported a failure. `cgroup`: consulted to find out why init ended.
pub fn executed(channel: &Channel, init: BorrowedFd, cgroup: Option<&CgroupState>) -> Result<()> {
    match channel.next_from(init)? {
        Received::Message(Message::Executing, _) => {}
        Received::Message(other, _) => return Err(out_of_order(&other)),
        Received::End => return Err(ended(cgroup)),
    }
    match channel.next_from(init)? {
        Received::Message(other, _) => Err(out_of_order(&other)),
        // Closed by execve.
        Received::End => Ok(()),
    }
}

/// Finds out whether the program runs after all if receiving from init failed: execve closes init's end of the channel, and
/// the kernel records that it happened.
fn settle(channel: &Channel, pid: i32, init: &OwnedFd, error: Error) -> Result<()> {
    let mut closed: Option<Instant> = None;
    loop {
        // No events are requested for the channel: POLLHUP is reported in any case.
        let mut watched = vec![(init.as_fd(), libc::POLLIN)];
        watched.extend(closed.is_none().then_some((channel.fd(), 0)));
        let events = descriptor::poll(&watched, 50).unwrap_or_else(|_| {
            std::thread::sleep(Duration::from_millis(5));
            Vec::new()
        });
        let ready = |index: usize| events.get(index).is_some_and(|events| *events != 0);
        if ready(1) {
            closed = Some(Instant::now());
        }
        if ready(0) {
            return Err(error);
        }
        channel.interrupts().map_or(Ok(()), |interrupts| interrupts.check())?;
        // An init that fails closes it too, but by exiting, which is noticed at once.
        let lives_on = closed.is_some_and(|closed| closed.elapsed() > Duration::from_secs(1));
        if identity::has_executed(pid).unwrap_or(lives_on) {
            log::warning(&format!("the program is running, although: {error:#}"));
            return Ok(());
        }
    }
}

fn ended(cgroup: Option<&CgroupState>) -> Error {
    cgroup.and_then(oom::out_of_memory).unwrap_or_else(|| {
        with_hint(
            "init ended before it executed the program",
            "it was killed from outside, or by the kernel when the whole machine lacked memory; see `dmesg`",
        )
    })
}

/// Kills a container and removes everything that create made.
pub fn destroy(container: &Container, state: &State, init: &OwnedFd) -> Result<()> {
    let mut cleanup = Cleanup::default();
    cleanup.step(end(init));
    remove(container, state, cleanup, false)
}

/// Kills an init and waits for its end.
pub fn end(init: &OwnedFd) -> Result<()> {
    match process::pidfd_send_signal(init.as_fd(), libc::SIGKILL) {
        Err(error) if error.errno != Errno::ESRCH => Err(error.into()),
        _ => wait_for_end(init),
    }
}

/// Waits until a process has ended, whether or not it is a child of ours.
pub fn wait_for_end(init: &OwnedFd) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let events = descriptor::poll(&[(init.as_fd(), libc::POLLIN)], left.as_millis() as i32);
        if matches!(events.as_deref(), Ok([events]) if *events != 0) {
            return Ok(());
        }
        if left.is_zero() {
            events?;
            return Err(anyhow!("init did not end although it was killed"));
        }
        if events.is_err() {
            // A failing poll must not leave anything behind.
            if identity::has_ended(init)? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Removes what is left of a container whose init has ended, and runs its poststop hooks. Their failures are only warnings
/// (runtime.md, "Lifecycle", step 13). `before`: earlier failures. Every step is tried; the state stays while anything else
/// is left, so that the container is still known and can be deleted again. `all`: also removes foreign files in its
/// directory.
pub fn remove(container: &Container, state: &State, before: Cleanup, all: bool) -> Result<()> {
    let mut cleanup = before;
    if let Some(cgroup) = &state.cgroup {
        cleanup.step(again(|| systemd::remove(cgroup).context(Step::Cgroup)));
    }
    if let Some(class) = &state.class {
        cleanup.step(again(|| resctrl::remove(class).context(Step::ClassOfService)));
    }
    if cleanup.is_complete()
        && cleanup
            .step(again(|| container.remove(all).context(Step::State)))
            .is_some()
    {
        let document = Document::for_hook(state, 0, HookPoint::Poststop.status());
        hooks::run_all(HookPoint::Poststop, &state.poststop, &document);
    }
    cleanup.end()
}
