//! Scheduling and memory placement of the process. Runs with full privilege, after the last fork except those of hooks: a
//! process with a deadline policy cannot fork.

use super::context::ProcessContext;
use crate::error::{At, Context, Result};
use crate::plan::{IoPriority, Process};
use crate::sys::process;
use crate::sys::sched::{self, IoTarget, SchedAttr};

/// Sets the CPUs that the config names for a joining process; without any, all that the cpuset allows, because the affinity
/// of the caller must not be inherited. If the config names only the initial CPUs, the kernel's choice stays.
pub fn affinity(plan: &Process) -> Result<()> {
    match (&plan.scheduling.exec_final, &plan.scheduling.exec_initial) {
        (Some(processors), _) => {
            sched::set_affinity(processors.words()).context(At::new("process.execCPUAffinity.final"))
        }
        (None, Some(_)) => Ok(()),
        (None, None) => Ok(process::reset_affinity()?),
    }
}

/// Does nothing for a process that is still to be cloned: a policy may be reset by a fork, or forbid it.
pub fn scheduler(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    match context.by_its_maker {
        true => Ok(()),
        false => own_scheduler(plan),
    }
}

pub fn own_scheduler(plan: &Process) -> Result<()> {
    match &plan.scheduling.scheduler {
        Some(attr) if !plan.limits_from_outside => set_scheduler(0, attr),
        _ => Ok(()),
    }
}

/// For a process by its pid, 0 for the calling one.
pub fn set_scheduler(pid: i32, attr: &SchedAttr) -> Result<()> {
    sched::sched_setattr(pid, attr).context(At::new("process.scheduler"))
}

pub fn io_priority(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    // The session is new, so the group is this process and its future children. Its parent is still in the caller's group.
    let target = match context.by_its_maker {
        true => IoTarget::Process(0),
        false => IoTarget::OwnGroup,
    };
    match plan.scheduling.io {
        Some(priority) if !plan.limits_from_outside => set_io_priority(target, priority),
        _ => Ok(()),
    }
}

pub fn set_io_priority(target: IoTarget, IoPriority(value): IoPriority) -> Result<()> {
    sched::ioprio_set(target, value).context(At::new("process.ioPriority"))
}

pub fn memory_policy(plan: &Process) -> Result<()> {
    let Some(policy) = &plan.memory_policy else {
        return Ok(());
    };
    sched::set_mempolicy(policy.mode, policy.nodes.words())
        .with_context(|| At::object("linux.memoryPolicy", &policy.name))
}

pub fn personality(plan: &Process) -> Result<()> {
    match plan.personality {
        Some(domain) => sched::personality(domain).context(At::new("linux.personality")),
        None => Ok(()),
    }
}
