//! What `run` and `restore` do without `--detach`: they stay with the container until it exits.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::cgroup::oom;
use crate::error::{Cleanup, Result, Step, again, with_cleanup};
use crate::foreground;
use crate::foreground::notify::Proxy;
use crate::foreground::seccomp_audit::SeccompAudit;
use crate::launch::rollback::InitProcess;
use crate::launch::start;
use crate::log;
use crate::progress;
use crate::state::{Container, State};
use crate::sys::process::Exit;
use crate::timings::{self, Peer};

/// A running container of this process.
pub struct Guarded {
    pub container: Container,
    pub state: State,
    pub init: Rc<InitProcess>,
    /// It is not removed when it has exited.
    pub keep: bool,
}

/// Stays with the container until it exits, removes it, and returns its exit code.
pub fn stay(
    container: &Guarded,
    master: Option<OwnedFd>,
    signals: &OwnedFd,
    notify: Option<&Proxy>,
    mut denials: Option<SeccompAudit>,
) -> Result<u8> {
    timings::write();
    progress::step(Step::Foreground);
    let waiting = progress::wait_for(Peer::Program);
    let stayed = foreground::stay(&container.init.pidfd, signals, master, notify, denials.as_mut());
    drop(waiting);
    progress::step(Step::Removal);
    let exit = stayed.map_err(|error| {
        // Without the runtime its signals and its output would not be forwarded, and its exit status would be lost.
        let mut cleanup = Cleanup::default();
        cleanup.step(start::end(&container.init.pidfd));
        if !container.keep {
            cleanup.step(remove(container));
        }
        with_cleanup(
            error.context("the container was killed, because the runtime cannot wait for it"),
            cleanup.end(),
        )
    })?;
    if let Some(denials) = denials
        && let Err(error) = denials.report()
    {
        log::warning(&format!("{error:#}"));
    }
    if let (Exit::Signal(libc::SIGKILL), Some(cgroup)) = (exit, &container.state.cgroup)
        && let Some(limit) = oom::ran_out_of_memory(cgroup)
    {
        // Otherwise the caller would only see an exit code.
        log::warning(&format!(
            "the OOM killer has killed a process of this container: {limit}"
        ));
    }
    if !container.keep
        && let Err(error) = remove(container)
    {
        // The exit code remains that of the container.
        log::warning(&format!(
            "container {} was not deleted: {error:#}",
            container.container.id
        ));
    }
    Ok(exit.code())
}

fn remove(container: &Guarded) -> Result<()> {
    // It may have been deleted in the meantime.
    let is_gone = again(|| {
        container.container.lock(std::time::Duration::from_secs(10))?;
        Ok(container.container.is_gone()?)
    })?;
    if is_gone {
        return Ok(());
    }
    start::remove(&container.container, &container.state, Cleanup::default(), false)
}
