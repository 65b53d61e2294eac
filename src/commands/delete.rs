//! `delete`: removes what `create` made.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;

use crate::cgroup::{oom, tree};
use crate::cli::Delete;
use crate::error::{Context, Error, Result, hinted};
use crate::launch::start;
use crate::log;
use crate::state::status::{self, Seen};
use crate::state::{Container, Status, Store};
use crate::sys::process;

/// How long the processes of a container may take to die once they are killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `delete` is allowed to end.
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
    let delete = || -> Result<()> {
        if !arguments.force {
            let ends = if strict { Ends::Nothing } else { Ends::Created };
            return remove(&store.container(&arguments.id)?, ends);
        }
        // Engines make sure by force that an id is free. One look decides: between two of them it could be claimed.
        match store.find(&arguments.id)? {
            Some(container) => match remove(&container, Ends::All) {
                // Whoever made it has taken it back, or another `delete` has removed it.
                Err(_) if container.is_gone() => Ok(()),
                other => other,
            },
            None => Ok(()),
        }
    };
    delete().with_context(|| format!("delete {:?}", arguments.id))?;
    Ok(crate::SUCCESS)
}

fn remove(container: &Container, ends: Ends) -> Result<()> {
    let force = ends == Ends::All;
    let (seen, _) = look(container, force)?;
    if seen.status == Status::Creating && force {
        // Its creator holds the lock. Without its processes the create fails, and cleans up after itself.
        if let Some(cgroup) = &seen.state.cgroup {
            tree::kill_all(cgroup)?;
        }
    } else {
        refuse_unless_allowed(container, &seen, ends)?;
    }
    container.lock(PATIENCE)?;
    if container.is_gone() {
        return Ok(());
    }
    // Somebody else may have had the lock, and changed what was seen before.
    let (seen, broken) = look(container, force)?;
    if let Some(error) = broken {
        log::warning(&format!("removing what is left: {error:#}"));
    }
    refuse_unless_allowed(container, &seen, ends)?;
    if let Some(init) = &seen.init {
        match process::pidfd_send_signal(init.as_fd(), libc::SIGKILL) {
            Err(error) if error.errno != Errno::ESRCH => return Err(error.into()),
            _ => start::wait_for_end(init)?,
        }
    }
    if let Some(cgroup) = &seen.state.cgroup {
        oom::let_watchers_hear(cgroup);
    }
    start::remove(container, &seen.state)
}

/// By force also a container whose state is broken, with what is wrong: what of it can be found is removed.
fn look(container: &Container, force: bool) -> Result<(Seen, Option<Error>)> {
    match status::look(container) {
        Ok(seen) => Ok((seen, None)),
        Err(error) if force && !container.is_gone() => Ok((status::salvage(container)?, Some(error))),
        Err(error) => Err(error),
    }
}

fn refuse_unless_allowed(container: &Container, seen: &Seen, ends: Ends) -> Result<()> {
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
    Err(hinted(
        message,
        match seen.status {
            Status::Creating => "wait for `orlop create` to return, or use `orlop delete --force`",
            Status::Created => "leave --strict out, or use `orlop delete --force`",
            _ => "end it with `orlop kill`, or use `orlop delete --force`",
        },
    ))
}
