//! `kill`: sends a signal to the init process of a container, or to all of its processes.

use super::several;
use crate::cgroup::members;
use crate::cli::Kill;
use crate::cli::signal;
use crate::error::{Context, Result, bail, with_hint};
use crate::launch::end;
use crate::state::Store;
use crate::status::{self, Snapshot, Status};
use crate::sys::process;

pub fn run(store: &Store, arguments: &Kill) -> Result<u8> {
    let (names, signal) = arguments.parts();
    let number = signal::number(signal)
        .map_err(|error| match names {
            [_, _, ..] if arguments.signal.is_none() => with_hint(
                format!("{error}"),
                "the last word is taken as the signal; to send SIGTERM to all: `orlop kill --signal TERM ID...`",
            ),
            _ => error,
        })
        .with_context(|| format!("kill {:?}", names.first().map_or("", String::as_str)))?;
    let kill = |id: &str, found: bool| -> Result<()> {
        let seen = status::inspect(&store.container(id)?)?;
        // A pattern selects only containers that can receive a signal.
        if found && seen.status == Status::Stopped {
            return Ok(());
        }
        if arguments.all || (number == libc::SIGKILL && seen.state.shared_pid_namespace) {
            return all(&seen, number, arguments.all).map_err(|error| end::perhaps_ended(error, &seen.state));
        }
        match seen.status {
            Status::Created | Status::Running | Status::Paused => seen.signal_init(number),
            Status::Stopped => bail!("container not running"),
            Status::Creating => bail!("the container is still being created"),
        }
    };
    several::each(store, "kill", names, arguments.regex, kill)?;
    Ok(crate::exit_code::SUCCESS)
}

/// Signals every process in the cgroup of the container. With `--all` it is not an error if there are none: engines call it to
/// make sure. Without a private PID namespace, processes may outlive init, and can be killed as long as there are any.
fn all(seen: &Snapshot, number: i32, none_is_fine: bool) -> Result<()> {
    let left = || -> Result<bool> {
        let cgroup = seen.state.cgroup.as_ref();
        Ok(!cgroup
            .map(members::processes)
            .transpose()?
            .unwrap_or_default()
            .is_empty())
    };
    if seen.init.is_none() && !none_is_fine && !left()? {
        bail!("container not running");
    }
    let Some(cgroup) = &seen.state.cgroup else {
        return if seen.init.is_some() {
            seen.signal_init(number)
        } else {
            Ok(())
        };
    };
    if number == libc::SIGKILL {
        return Ok(members::kill_all(cgroup)?);
    }
    for pid in members::processes(cgroup)? {
        // By pidfd, and only if the process is still in this cgroup once the pidfd is open: a PID may be reused.
        let Ok(pidfd) = process::pidfd_open(pid) else { continue };
        if !members::processes(cgroup)?.contains(&pid) {
            continue;
        }
        match process::pidfd_send_signal(std::os::fd::AsFd::as_fd(&pidfd), number) {
            Err(error) if error.errno != nix::errno::Errno::ESRCH => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
