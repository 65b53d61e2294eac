//! `start`: lets a created container execute its program, and reports the result.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::cgroup::members;
use crate::cli::Start;
use crate::error::{Context, Result, Step, anyhow, bail, with_hint};
use crate::foreground::notify::Proxy;
use crate::launch::end;
use crate::launch::start;
use crate::log;
use crate::state::{State, Store};
use crate::status::{self, Status};
use crate::sys::descriptor;
use crate::{progress, timings};

pub fn run(store: &Store, arguments: &Start) -> Result<u8> {
    let id = arguments.id.as_str();
    let start = || -> Result<()> {
        timings::open(&arguments.timed.timings, "start", id)?;
        progress::step(Step::State);
        let container = store.container(id)?;
        container.lock(Duration::from_secs(10))?;
        let seen = status::inspect(&container)?;
        match seen.status {
            Status::Created => {}
            Status::Stopped => bail!("cannot start a container that has stopped"),
            Status::Running | Status::Paused => bail!("cannot start an already running container"),
            Status::Creating => {
                return Err(with_hint(
                    "the container is still being created",
                    "wait for `create` to return",
                ));
            }
        }
        let init = seen.init.ok_or_else(|| anyhow!("container not running"))?;
        let notify = Proxy::open(&container, &seen.state, false)?;
        start::created(&container, &seen.state, &init).map_err(|error| end::perhaps_ended(error, &seen.state))?;
        end_what_init_left(&seen.state, &init);
        if let Some(notify) = notify {
            // The program runs: from here on `start` does not fail.
            if let Err(error) = container.unlock() {
                log::warning(&format!("other commands will wait until the service is ready: {error}"));
            }
            notify.until_ready_or_warned(&init);
        }
        Ok(())
    };
    start().with_context(|| format!("start {id:?}"))?;
    Ok(crate::exit_code::SUCCESS)
}

/// How long to wait for an init process that exits immediately, in milliseconds.
const AT_ONCE: i32 = 20;

/// In a shared PID namespace the other processes of a container outlive init. Engines kill them when they are told that init
/// has exited, but not if that happens before they have noticed that `start` has returned: those processes would keep the
/// container, and the engine that waits for it, forever.
fn end_what_init_left(state: &State, init: &OwnedFd) {
    let Some(cgroup) = state.cgroup.as_ref().filter(|_| state.shared_pid_namespace) else {
        return;
    };
    let end = || -> Result<()> {
        if descriptor::poll(&[(init.as_fd(), libc::POLLIN)], AT_ONCE)? != [0] {
            members::kill_all(cgroup)?;
        }
        Ok(())
    };
    if let Err(error) = end() {
        // The container has been started nevertheless.
        log::warning(&format!(
            "processes that outlive the init process of the container may be left: {error:#}"
        ));
    }
}
