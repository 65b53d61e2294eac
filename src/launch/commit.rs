//! The moment from which on a container exists for all commands.

use std::os::fd::AsFd;
use std::path::Path;

use super::fd_passing;
use super::rollback::{InitProcess, Rollback};
use crate::error::{Context, Result, Step};
use crate::progress;
use crate::state::Phase;
use crate::state::identity;
use crate::sys::process;

/// Writes the final state to where it is not read yet.
pub fn prepare(made: &mut Rollback, init: &InitProcess) -> Result<()> {
    made.state.pid = init.pid;
    made.state.start_time = identity::start_time(init.pid)?;
    made.state.pidfd_inode = process::pidfd_inode(init.pidfd.as_fd())?;
    made.state.phase = Phase::Created;
    made.container.prepare(&made.state).context(Step::State)
}

/// From here on the container is visible to all commands.
pub fn publish(made: &mut Rollback, init: &InitProcess, pid_file: Option<&Path>) -> Result<()> {
    if let Some(path) = pid_file {
        fd_passing::pid_file(path, init.pid)?;
        made.pid_file = Some(path.into());
    }
    progress::step(Step::State);
    made.container.publish().context(Step::State)
}
