//! The steps that prepare the process itself: shared by init and by every process that joins later (see [`super::join`]), so
//! that neither can omit one. Runs in that process.
//!
//! The steps take the plan of one process and a [`ProcessContext`], and share nothing else with the rest.

use super::context::ProcessContext;
use super::step::take;
use super::{environment, exec, identity, limits, scheduling, terminal};
use crate::error::{Result, Step};
use crate::plan::Process;
use crate::security;

pub type ProcessStep = fn(&mut ProcessContext, &Process) -> Result<()>;

/// Steps that need the host's privileges and its /proc. A child inherits their results.
pub const LIMITS: &[(Step, ProcessStep)] = &[
    (Step::OomScore, limits::oom_score),
    (Step::CpuAffinity, |_, plan| scheduling::affinity(plan)),
];

/// Steps in the container's namespaces that still need the host's /proc. A child inherits their results.
pub const KEYS: &[(Step, ProcessStep)] = &[
    (Step::Keyring, identity::session_keyring),
    // After the keyring, which has a different label; while the host's procfs is available, because a fake procfs must never
    // receive the labels (CVE-2019-16884, CVE-2019-19921). They take effect at the next execve.
    (Step::Labels, |context, plan| {
        security::lsm::set_exec_labels(plan, context.host_proc.as_ref())
    }),
];

/// Confinement, inside the new root. A child inherits it: a joining process is confined before it is cloned, because from then
/// on the container can see it, and may be allowed to trace it.
pub const CONFINEMENT: &[(Step, ProcessStep)] = &[
    (Step::Streams, terminal::give),
    // Nothing else is created for the container; this is the process's own umask.
    (Step::Umask, identity::umask),
    // As late as privileges allow: limits are for the program, not for its preparation. The tightest ones are set just before
    // execve.
    (Step::Rlimits, limits::rlimits),
    (Step::IoPriority, scheduling::io_priority),
    (Step::MemoryPolicy, |_, plan| scheduling::memory_policy(plan)),
    (Step::Personality, |_, plan| scheduling::personality(plan)),
    (Step::Scheduler, scheduling::scheduler),
    // Groups and ids, while the capabilities to change them are still there.
    (Step::Identity, identity::become_user),
    (Step::Capabilities, |_, plan| security::capabilities::apply(plan)),
    // Last: after it no execve can raise privileges, and no step above needs that.
    (Step::NoNewPrivileges, |_, plan| security::no_new_privileges(plan)),
];

/// Steps that only the process that executes the program can do, as its user and in the container's view.
pub const ARRIVAL: &[(Step, ProcessStep)] = &[
    (Step::Terminal, terminal::take),
    // The working directory must be inside the container, the program must exist.
    (Step::WorkingDirectory, environment::check_cwd),
    (Step::Program, exec::find),
];

/// Runs the steps of one of the lists.
pub fn walk(context: &mut ProcessContext, plan: &Process, steps: &'static [(Step, ProcessStep)]) -> Result<()> {
    for (name, step) in steps {
        take(context, *name, |context| step(context, plan))?;
    }
    Ok(())
}
