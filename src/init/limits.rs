//! Limits of the process itself. Run by it with full privilege; `*_from_outside` by the runtime, for a process in a user
//! namespace, whose privilege ends there.

use std::path::Path;

use super::context::ProcessContext;
use super::scheduling;
use crate::error::{At, Context, Result};
use crate::plan::{Process, Rlimit};
use crate::security::procfs::HostProc;
use crate::sys::process;
use crate::sys::sched::IoTarget;

pub fn oom_score(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    match (plan.oom_score_adj, &context.host_proc) {
        (Some(score), Some(proc)) if !plan.oom_score_from_outside => proc
            .write_own(Path::new("oom_score_adj"), &score.to_string())
            .context(At::object("process.oomScoreAdj", score)),
        _ => Ok(()),
    }
}

pub fn rlimits(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    if plan.limits_from_outside {
        return Ok(());
    }
    set_rlimits(0, plan, context.by_its_maker)
}

/// All limits but those that would be in our own way: of these the hard limit is raised, which only privilege can do.
/// `maker`: for a process that is still to be born.
fn set_rlimits(pid: i32, plan: &Process, maker: bool) -> Result<()> {
    for limit in &plan.rlimits {
        let set = || {
            let room = maker && counts_the_maker(limit);
            if !room && !plan.is_in_the_way(limit) {
                return process::setrlimit(pid, limit.resource, limit.soft, limit.hard);
            }
            let (mut soft, mut hard) = process::getrlimit(pid, limit.resource)?;
            if room {
                hard = limit.hard.saturating_add(u64::from(limit.hard < hard));
                soft = limit.soft.saturating_add(1).min(hard);
            } else if limit.hard > hard {
                hard = limit.hard;
            } else {
                return Ok(());
            }
            process::setrlimit(pid, limit.resource, soft, hard)
        };
        set().with_context(|| at(limit))?;
    }
    Ok(())
}

/// Of all processes of the user's one is the maker, which ends at once: for it there is room until then.
fn counts_the_maker(limit: &Rlimit) -> bool {
    limit.resource == libc::RLIMIT_NPROC
}

fn at(limit: &Rlimit) -> At {
    At::object(format!("process.rlimits[{}]", limit.index), &limit.name)
}

/// The rest of them, which by now are only to be lowered. The last that the process does before its program.
pub fn tighten(context: &ProcessContext, plan: &Process) -> Result<()> {
    let tight = |limit: &&Rlimit| plan.is_in_the_way(limit) || context.by_its_maker && counts_the_maker(limit);
    for limit in plan.rlimits.iter().filter(tight) {
        process::setrlimit(0, limit.resource, limit.soft, limit.hard).with_context(|| at(limit))?;
    }
    Ok(())
}

/// What the runtime does for a process that has just been born, while its files in /proc are still the runtime's user's.
pub fn oom_score_from_outside(plan: &Process, pid: i32) -> Result<()> {
    match plan.oom_score_adj {
        Some(score) if plan.oom_score_from_outside => HostProc::open()?
            .write_of(pid, Path::new("oom_score_adj"), &score.to_string())
            .context(At::object("process.oomScoreAdj", score)),
        _ => Ok(()),
    }
}

/// What the runtime does for a process that is ready to execute its program.
pub fn limits_from_outside(plan: &Process, pid: i32) -> Result<()> {
    if !plan.limits_from_outside {
        return Ok(());
    }
    if let Some(priority) = plan.scheduling.io {
        // It has forked nobody yet that lives on, so it is its whole group.
        scheduling::set_io_priority(IoTarget::Process(pid), priority)?;
    }
    scheduler_from_outside(plan, pid)?;
    set_rlimits(pid, plan, false)
}

/// The scheduler alone, for a process that has been confined before it was born.
pub fn scheduler_from_outside(plan: &Process, pid: i32) -> Result<()> {
    match &plan.scheduling.scheduler {
        Some(attr) => scheduling::set_scheduler(pid, attr),
        None => Ok(()),
    }
}
