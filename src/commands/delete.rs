//! `delete`: removes what `create` made.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;

use super::several;
use crate::cgroup::{lost, members, oom, systemd, tree};
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

/// How long the processes of a container may take to die once they are killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a creator may take to clean up once init is dead, and to do so once it has been told to end.
const GRACE: Duration = Duration::from_secs(2);

/// What `delete` may end before it removes a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Nothing: only stopped containers are removed, as runtime.md has it.
    Nothing,
    /// An init that has not executed its program. Engines give up a container that way when their own preparations fail.
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
        // Engines make sure by force that an id is free. One look decides: between two of them it could be claimed.
        match store.find(id)? {
            Some(container) => match remove(&container, ends) {
                // Whoever made it has taken it back, or another `delete` has removed it.
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
    // Somebody else may have had the lock, and changed what was seen before.
    let (seen, broken) = look(container, force)?;
    if let Some(error) = &broken {
        log::warning(&format!("removing what is left: {error:#}"));
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
        cleanup.step(systemd::remove(cgroup).context(Step("cgroup")));
    }
    start::remove(container, &seen.state, cleanup, force)
}

/// Takes the lock from whoever is at work on the container. Nothing of it is to live on, so its processes are killed: a create
/// or start then fails, and cleans up after itself. One that hangs in a call of its own does not, and is ended as well.
fn take_over(container: &Container, seen: &Snapshot) -> Result<()> {
    if container.lock_or_gone(Duration::ZERO)? {
        return Ok(());
    }
    let creating = seen.status == Status::Creating;
    if creating {
        // Else it would take its init for one that the kernel has killed, and make another.
        container.mark_deleted().context(Step("state"))?;
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
                    "signal {signal} for process {}, which works on the container",
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
            "another command is working on this container and does not end although it was killed: process {}",
            left.join(", ")
        ),
        "it is in a call of the kernel that does not return; /proc/PID/stack and /proc/PID/wchan show which",
    ))
}

/// A process that has ended needs no signal.
fn unless_ended(sent: SysResult<()>) -> SysResult<()> {
    match sent {
        Err(error) if error.errno == Errno::ESRCH => Ok(()),
        other => other,
    }
}

/// By force also a container whose state is broken, with what is wrong: what of it can be found is removed. Of a state that
/// could not be read nothing is known, and nothing is removed.
fn look(container: &Container, force: bool) -> Result<(Snapshot, Option<Error>)> {
    match status::inspect(container) {
        Ok(seen) => Ok((seen, None)),
        Err(error) if force && is_broken(&error) && !container.is_gone()? => {
            Ok((status::salvage(container)?, Some(error)))
        }
        Err(error) => Err(error),
    }
}

/// The cgroups of a container that its state does not lead to, by their mark.
fn find_lost(container: &Container, state: &State, broken: bool) -> Result<Vec<CgroupState>> {
    if let Some(cgroup) = &state.cgroup
        && tree::own_directory(cgroup)?.is_some()
    {
        return Ok(Vec::new());
    }
    let created = Some(state.created.as_str()).filter(|created| !created.is_empty() && !broken);
    let lost = lost::find(container, created).context(Step("cgroup"))?;
    if broken && lost.is_empty() && state.pid == 0 {
        log::warning("no cgroup and no process of the container is known: if its processes live, they go on");
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
            Status::Created => "leave --strict out, or use `orlop delete --force`",
            _ => "end it with `orlop kill`, or use `orlop delete --force`",
        },
    ))
}
