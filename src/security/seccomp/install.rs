//! Installing the filter. Run by the process that executes the program, as the last step before execve, after all other
//! restrictions and after `Start` (but see [`notify`](super::notify) for a filter that notifies). So execve is the only
//! system call of the runtime that a profile must allow.
//!
//! Without no_new_privs the kernel requires CAP_SYS_ADMIN for it (seccomp(2)). Then the step "capabilities" has kept this
//! capability in the permitted set, and it is made effective only for seccomp(2). The capset that drops it afterwards is the
//! second system call that a profile must allow. No program ever gets the capability: the result of execve does not depend
//! on the permitted set (capabilities(7)).

use nix::errno::Errno;

use super::profile::{NEW_LISTENER, WAIT_KILLABLE_RECV};
use crate::error::{At, Context, Error, Result, Step, call_with_hint};
use crate::plan::{Capabilities, Process};
use crate::sys::SysError;
use crate::sys::capabilities::{self, CapabilitySets, SYS_ADMIN};
use crate::sys::seccomp::{self, sock_filter};

/// The capability that the step "capabilities" must keep permitted, beyond the plan.
pub fn kept_capability(plan: &Process) -> u64 {
    match &plan.seccomp {
        Some(_) if !plan.no_new_privileges => SYS_ADMIN,
        _ => 0,
    }
}

/// Whether the installation needs a capability that the plan does not give to the process.
pub fn borrows_capability(plan: &Process) -> bool {
    kept_capability(plan) & !(plan.capabilities.effective & plan.capabilities.permitted) != 0
}

/// Installs a filter that does not notify; see [`notify`](super::notify) for the others.
pub fn install(plan: &Process) -> Result<()> {
    match &plan.seccomp {
        None => Ok(()),
        Some(filter) => apply(plan.capabilities, kept_capability(plan), || {
            without_listener(filter.flags, &filter.program)
        })
        .context(At::new("linux.seccomp"))
        .context(Step::Seccomp),
    }
}

/// The filter for a hook that executes a program of the image, which must have no more privileges than the container's
/// process. It has no listener, because the agent serves only that process: system calls that would notify fail with ENOSYS.
pub struct HookFilter {
    flags: u32,
    program: Vec<sock_filter>,
    capabilities: Capabilities,
    kept: u64,
}

impl HookFilter {
    /// None if the process has no filter.
    pub fn of(plan: &Process) -> Option<Self> {
        let filter = plan.seccomp.as_ref()?;
        Some(HookFilter {
            flags: filter.flags & !(NEW_LISTENER | WAIT_KILLABLE_RECV),
            program: filter.program.clone(),
            capabilities: plan.capabilities,
            kept: kept_capability(plan),
        })
    }

    /// Installs it on this process.
    pub fn install(&self) -> Result<()> {
        apply(self.capabilities, self.kept, || {
            without_listener(self.flags, &self.program)
        })
        .context(At::new("linux.seccomp"))
    }
}

/// Installs a filter with `set`, and makes the capability that this needs effective meanwhile.
pub fn apply(wanted: Capabilities, kept: u64, set: impl FnOnce() -> Result<()>) -> Result<()> {
    let last = CapabilitySets {
        effective: wanted.effective & wanted.permitted,
        permitted: wanted.permitted,
        inheritable: wanted.inheritable,
    };
    let borrowed = kept & !last.effective;
    if borrowed != 0 && capabilities::capget()?.permitted & SYS_ADMIN != 0 {
        capabilities::capset(CapabilitySets {
            effective: last.effective | borrowed,
            permitted: last.permitted | borrowed,
            inheritable: last.inheritable,
        })?;
    }
    set()?;
    if borrowed != 0 {
        capabilities::capset(last).map_err(|error| {
            call_with_hint(
                error,
                "cannot drop the capability that was needed to install the filter",
                "allow capset in the profile, or set process.noNewPrivileges to true, which makes the capability unnecessary",
            )
        })?;
    }
    Ok(())
}

fn without_listener(flags: u32, program: &[sock_filter]) -> Result<()> {
    seccomp::set_filter(flags, program).map(|_| ()).map_err(explain_error)
}

/// Explains why the kernel rejected a filter.
pub fn explain_error(error: SysError) -> Error {
    match error.errno {
        Errno::EACCES => call_with_hint(
            error,
            "the filter cannot be installed",
            "set process.noNewPrivileges to true, or run with CAP_SYS_ADMIN",
        ),
        Errno::EINVAL | Errno::ENOSYS => call_with_hint(
            error,
            "the kernel does not support the filter",
            "it lacks CONFIG_SECCOMP_FILTER, or a flag or action of the profile: see /proc/sys/kernel/seccomp/actions_avail",
        ),
        Errno::EBUSY => call_with_hint(
            error,
            "a filter with a listener is already installed",
            "the runtime itself runs under a filter with SCMP_ACT_NOTIFY; a process can have only one such filter",
        ),
        _ => error.into(),
    }
}
