//! The part of the walk that is about the process itself: one routine for init and for every process that joins later
//! (see [`super::join`]), so that neither can forget a part. Run by that process.
//!
//! Its steps take the plan of one process, and an [`ProcessContext`], which is all that they share with the rest.

use super::context::ProcessContext;
use super::{environment, exec, identity, limits, scheduling, take, terminal};
use crate::error::{Result, Step};
use crate::plan::Process;
use crate::security;

pub type ProcessStep = fn(&mut ProcessContext, &Process) -> Result<()>;

/// What the process is given while the host's privileges and its /proc are at hand. A child inherits all of it.
pub const LIMITS: &[(Step, ProcessStep)] = &[
    (Step::OomScore, limits::oom_score),
    (Step::CpuAffinity, |_, plan| scheduling::affinity(plan)),
];

/// What it is given in the container's namespaces while the host's /proc is still at hand. A child inherits this too.
pub const KEYS: &[(Step, ProcessStep)] = &[
    (Step::Keyring, identity::session_keyring),
    // After the keyring, whose label is another; while the host's procfs is at hand, for a fake one must never get them
    // (CVE-2019-16884, CVE-2019-19921). The next execve takes them.
    (Step::Labels, |context, plan| {
        security::lsm::label_exec(plan, context.host_proc.as_ref())
    }),
];

/// What makes it the container's, inside the new root. A child inherits this as well: a process that joins is confined before
/// it is born, because from then on the container can see it, and may be allowed to trace it.
pub const CONFINEMENT: &[(Step, ProcessStep)] = &[
    (Step::Streams, terminal::give),
    // The umask of making is over; this is the process's own.
    (Step::Umask, identity::umask),
    // As late as privilege allows: a limit is for the program, not for what makes its surroundings. The tightest ones are
    // set just before it.
    (Step::Rlimits, limits::rlimits),
    (Step::IoPriority, scheduling::io_priority),
    (Step::MemoryPolicy, |_, plan| scheduling::memory_policy(plan)),
    (Step::Personality, |_, plan| scheduling::personality(plan)),
    (Step::Scheduler, scheduling::scheduler),
    // Groups and ids before the capabilities that changing them needs are gone.
    (Step::Identity, identity::become_user),
    (Step::Capabilities, |_, plan| security::capabilities::apply(plan)),
    // Last of the confinement: after it no execve can raise privileges, and nothing above needs one.
    (Step::NoNewPrivileges, |_, plan| security::no_new_privileges(plan)),
];

/// What only the very process that executes the program can do, as its user and in the container's view.
pub const ARRIVAL: &[(Step, ProcessStep)] = &[
    (Step::Terminal, terminal::take),
    // The working directory must be inside, the program must exist.
    (Step::WorkingDirectory, environment::check_cwd),
    (Step::Program, exec::find),
];

/// Goes through one of the lists.
pub fn walk(context: &mut ProcessContext, plan: &Process, steps: &'static [(Step, ProcessStep)]) -> Result<()> {
    for (name, step) in steps {
        take(context, *name, |context| step(context, plan))?;
    }
    Ok(())
}
