//! Limits that the runtime sets for a process in a user namespace, which lacks the privilege to raise them itself.

use std::path::Path;

use crate::error::{At, Context, Result};
use crate::init::limits::set_rlimits;
use crate::init::scheduling;
use crate::plan::Process;
use crate::security::procfs::HostProc;
use crate::sys::sched::IoTarget;

/// Done by the runtime for a process that has just been cloned, while its files in /proc still belong to the runtime's user.
pub fn set_oom_score(plan: &Process, pid: i32) -> Result<()> {
    match plan.oom_score_adj {
        Some(score) if plan.oom_score_from_outside => HostProc::open()?
            .write_pid(pid, Path::new("oom_score_adj"), &score.to_string())
            .context(At::object("process.oomScoreAdj", score)),
        _ => Ok(()),
    }
}

/// Done by the runtime for a process that is ready to execute its program.
pub fn set_limits(plan: &Process, pid: i32) -> Result<()> {
    if !plan.limits_from_outside {
        return Ok(());
    }
    if let Some(priority) = plan.scheduling.io {
        // It has no living children yet, so it is its whole process group.
        scheduling::set_io_priority(IoTarget::Process(pid), priority)?;
    }
    set_scheduler(plan, pid)?;
    set_rlimits(pid, plan, false)
}

/// Sets only the scheduler, for a process that was confined before it was cloned.
pub fn set_scheduler(plan: &Process, pid: i32) -> Result<()> {
    match &plan.scheduling.scheduler {
        Some(attr) => scheduling::set_scheduler(pid, attr),
        None => Ok(()),
    }
}
