//! Limits of the process. Run by it with full privilege; a process in a user namespace lacks that, and the runtime sets them
//! for it (`launch::limits`).

use std::path::Path;

use super::context::ProcessContext;
use crate::error::{At, Context, Result};
use crate::plan::{Process, Rlimit};
use crate::sys::process;

pub fn oom_score(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    match (plan.oom_score_adj, &context.host_proc) {
        (Some(score), Some(proc)) if !plan.oom_score_from_outside => proc
            .write_self(Path::new("oom_score_adj"), &score.to_string())
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

/// Sets all limits except those that would hinder the runtime: for these only the hard limit is raised, which needs
/// privilege. `maker`: the limits are for a process that is still to be cloned.
pub fn set_rlimits(pid: i32, plan: &Process, maker: bool) -> Result<()> {
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

/// Why a limit could not be set, as far as that can be told in advance. `may_raise`: the caller may raise hard limits.
/// `most_files`: the most that RLIMIT_NOFILE can be.
pub fn foretell(plan: &Process, may_raise: bool, most_files: Option<u64>) -> Result<()> {
    for limit in &plan.rlimits {
        let (soft, hard) = process::getrlimit(0, limit.resource)?;
        let too_many = limit.resource == libc::RLIMIT_NOFILE && most_files.is_some_and(|most| limit.hard > most);
        if limit.hard > hard && !may_raise || too_many {
            let soft = if plan.is_in_the_way(limit) { soft } else { limit.soft };
            return Err(process::setrlimit_refused(limit.resource, soft, limit.hard)).with_context(|| at(limit));
        }
    }
    Ok(())
}

/// Whether a limit counts the parent, which is one of the user's processes until it exits: it gets one more until then.
fn counts_the_maker(limit: &Rlimit) -> bool {
    limit.resource == libc::RLIMIT_NPROC
}

fn at(limit: &Rlimit) -> At {
    At::object(format!("process.rlimits[{}]", limit.index), &limit.name)
}

/// Sets the remaining limits, which can now only be lowered. One of the last steps before the program is executed.
pub fn tighten(context: &ProcessContext, plan: &Process) -> Result<()> {
    let tight = |limit: &&Rlimit| plan.is_in_the_way(limit) || context.by_its_maker && counts_the_maker(limit);
    for limit in plan.rlimits.iter().filter(tight) {
        process::setrlimit(0, limit.resource, limit.soft, limit.hard).with_context(|| at(limit))?;
    }
    Ok(())
}
