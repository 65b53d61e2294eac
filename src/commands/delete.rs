//! `delete`: removes what `create` has created.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;

use super::several;
use crate::cgroup::{directory, lost, members, oom, systemd};
use crate::cli::Delete;
use crate::error::{Cleanup, Context, Error, Result, Step, with_hint};
use crate::launch::start;
use crate::log;
use crate::state::file::is_broken;
use crate::state::holder::holders;
use crate::state::record::CgroupState;
use crate::state::{Container, State, Store};
use crate::status::{self, Snapshot, Status};
use crate::sys::{SysResult, process};

/// The time that killed processes of a container get to exit.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time that a creator gets to clean up after its init process was killed, and again after it was told to exit.
const GRACE: Duration = Duration::from_secs(2);

/// What `delete` may kill before it removes a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Nothing: only stopped containers are removed, as runtime.md requires.
    Nothing,
    /// An init process that has not executed its program. Engines abandon a container this way if their own setup fails.
    Created,
    /// Everything (`--force`).
    All,
}

pub fn run(store: &Store, arguments: &Delete, strict: bool) -> Result<u8> {
    let ends = match (arguments.force, strict) {
        (true, _) => Ends::All,
        (false, true) => Ends::Nothing,
        (false, false) => Ends::Created,
    };
    let delete = |id: &str, found: bool| -> Result<()> {
        if !arguments.force && !found {
            return remove(&store.container(id)?, ends);
        }
        // Engines use --force to make sure that an ID is free. The lookup is done once: between two, the ID could be claimed.
        match store.find(id)? {
            Some(container) => match remove(&container, ends) {
                // Its creator has removed it, or another `delete` has.
                Err(_) if container.is_gone() == Ok(true) => Ok(()),
                other => other,
            },
            None => Ok(()),
        }
    };
    several::each(store, "delete", &arguments.ids, arguments.regex, delete)?;
    Ok(crate::exit_code::SUCCESS)
}

fn remove(container: &Container, ends: Ends) -> Result<()> {
    let force = ends == Ends::All;
    let (seen, _) = look(container, force)?;
    refuse_unless_allowed(container, &seen, ends)?;
    if force {
        take_over(container, &seen)?;
    } else {
        container.lock(PATIENCE)?;
    }
    if container.is_gone()? {
        return Ok(());
    }
    // The container may have changed before the lock was acquired.
    let (seen, broken) = look(container, force)?;
    if let Some(error) = &broken {
        log::warning(&format!("the state is broken, removing what is left: {error:#}"));
    }
    refuse_unless_allowed(container, &seen, ends)?;
    let lost = if force {
        find_lost(container, &seen.state, broken.is_some())?
    } else {
        Vec::new()
    };
    let mut cleanup = Cleanup::default();
    if let Some(init) = &seen.init {
        cleanup.step(start::end(init));
    }
    if let Some(cgroup) = &seen.state.cgroup {
        oom::let_watchers_hear(cgroup);
    }
    for cgroup in &lost {
        cleanup.step(systemd::remove(cgroup).context(Step::Cgroup));
    }
    start::remove(container, &seen.state, cleanup, force)
}

/// Takes the lock from the commands that are working on the container. Its processes are killed, so that a `create` or `start`
/// fails and cleans up. A command that hangs in a system call is killed as well.
fn take_over(container: &Container, seen: &Snapshot) -> Result<()> {
    if container.lock_or_gone(Duration::ZERO)? {
        return Ok(());
    }
    let creating = seen.status == Status::Creating;
    if holders(container.fd(), seen.state.creator)?.is_empty() && container.lock_or_gone(PATIENCE)? {
        // A CRIU whose runtime was killed has finished. It must not be disturbed: if its processes are killed, it may
        // wait for them for ever.
        return Ok(());
    }
    if creating {
        // Otherwise the creator would assume that the kernel has killed its init process, and create another.
        container.mark_deleted().context(Step::State)?;
    }
    if let Some(cgroup) = &seen.state.cgroup {
        members::kill_all(cgroup)?;
    }
    if let Some(init) = &seen.init {
        unless_ended(process::pidfd_send_signal(init.as_fd(), libc::SIGKILL))?;
    }
    let patience = if creating { GRACE } else { PATIENCE };
    for (signal, patience) in [(libc::SIGTERM, patience), (libc::SIGKILL, GRACE)] {
        if container.lock_or_gone(patience)? {
            return Ok(());
        }
        for holder in holders(container.fd(), seen.state.creator)? {
            log::debug(|| {
                format!(
                    "sending signal {signal} to process {}, which is working on the container",
                    holder.pid
                )
            });
            unless_ended(process::pidfd_send_signal(holder.pidfd.as_fd(), signal))?;
        }
    }
    if container.lock_or_gone(PATIENCE)? {
        return Ok(());
    }
    let left: Vec<String> = holders(container.fd(), seen.state.creator)?
        .iter()
        .map(|holder| holder.pid.to_string())
        .collect();
    Err(with_hint(
        format!(
            "process {} is working on this container and was killed, but does not exit",
            left.join(", ")
        ),
        "it hangs in a system call; /proc/PID/stack and /proc/PID/wchan show which one",
    ))
}

/// Ignores that the process has exited.
fn unless_ended(sent: SysResult<()>) -> SysResult<()> {
    match sent {
        Err(error) if error.errno == Errno::ESRCH => Ok(()),
        other => other,
    }
}

/// With `force`, a container whose state is broken is accepted, with the error, so that whatever can be found is removed. If
/// the state cannot be read, nothing is known about the container, and nothing is removed.
fn look(container: &Container, force: bool) -> Result<(Snapshot, Option<Error>)> {
    match status::inspect(container) {
        Ok(seen) => Ok((seen, None)),
        Err(error) if force && is_broken(&error) && !container.is_gone()? => {
            Ok((status::salvage(container)?, Some(error)))
        }
        Err(error) => Err(error),
    }
}

/// The cgroups of a container that its state does not name; they are found by their mark.
fn find_lost(container: &Container, state: &State, broken: bool) -> Result<Vec<CgroupState>> {
    if let Some(cgroup) = &state.cgroup
        && directory::own_directory(cgroup)?.is_some()
    {
        return Ok(Vec::new());
    }
    let created = Some(state.created.as_str()).filter(|created| !created.is_empty() && !broken);
    let lost = lost::find(container, created).context(Step::Cgroup)?;
    if broken && lost.is_empty() && state.pid == 0 {
        log::warning(
            "neither the cgroup nor a process of the container is known: processes that still run are not killed",
        );
    }
    Ok(lost)
}

fn refuse_unless_allowed(container: &Container, seen: &Snapshot, ends: Ends) -> Result<()> {
    let allowed = match seen.status {
        Status::Stopped => true,
        Status::Created => ends != Ends::Nothing,
        Status::Creating | Status::Running | Status::Paused => ends == Ends::All,
    };
    if allowed {
        return Ok(());
    }
    let message = format!(
        "cannot delete container {} that is not stopped: {}",
        container.id,
        seen.status.name()
    );
    Err(with_hint(
        message,
        match seen.status {
            Status::Creating => "wait for `orlop create` to return, or use `orlop delete --force`",
            Status::Created => "omit --strict, or use `orlop delete --force`",
            _ => "kill it with `orlop kill`, or use `orlop delete --force`",
        },
    ))
}
