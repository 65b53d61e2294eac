//! Installing the filter. Run by the process that executes the program, as its last act before execve, when it is confined
//! in all other ways and has heard `Start` (but see [`ahead`](super::ahead) for one that notifies): so a profile needs to allow nothing of what we do ourselves but execve.
//!
//! Without no_new_privs the kernel wants CAP_SYS_ADMIN for it (seccomp(2)). Then the step "capabilities" has left just
//! this one in the permitted set, it is made effective for the one call, and capset, which gives it up, is the second
//! call that a profile must allow. Every program that is executed on the way is executed without it: what execve
//! computes does not depend on the permitted set (capabilities(7)).

use nix::errno::Errno;

use super::profile::{NEW_LISTENER, WAIT_KILLABLE_RECV};
use crate::error::{At, Context, Error, Result, Step, call_with_hint};
use crate::plan::{Capabilities, Process};
use crate::sys::SysError;
use crate::sys::capabilities::{self, CapabilitySets};
use crate::sys::seccomp::{self, sock_filter};

const SYS_ADMIN: u64 = 1 << 21;

/// What the step "capabilities" must leave permitted, beyond the plan.
pub fn kept_capability(plan: &Process) -> u64 {
    match &plan.seccomp {
        Some(_) if !plan.no_new_privileges => SYS_ADMIN,
        _ => 0,
    }
}

/// Whether a capability is lent for the installation that the process shall not have.
pub fn borrows(plan: &Process) -> bool {
    kept_capability(plan) & !(plan.capabilities.effective & plan.capabilities.permitted) != 0
}

/// Installs a filter that does not notify; the other kind is installed [`ahead`](super::ahead).
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

/// The filter for a hook that is one of the image's programs: it must not be able to do what the container's process is
/// not. Without the agent, which waits for that one process: what it would be asked about is refused (`ENOSYS`).
pub struct OnHook {
    flags: u32,
    program: Vec<sock_filter>,
    capabilities: Capabilities,
    kept: u64,
}

impl OnHook {
    /// None where there is no filter.
    pub fn of(plan: &Process) -> Option<Self> {
        let filter = plan.seccomp.as_ref()?;
        Some(OnHook {
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

/// Installs a filter by `set`, with the capability lent for it where that is needed.
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
                "the capability for installing the filter cannot be given up",
                "allow capset in the profile, or set process.noNewPrivileges to true, with which it is not needed",
            )
        })?;
    }
    Ok(())
}

fn without_listener(flags: u32, program: &[sock_filter]) -> Result<()> {
    seccomp::set_filter(flags, program).map(|_| ()).map_err(refused)
}

/// Why the kernel did not take a filter.
pub fn refused(error: SysError) -> Error {
    match error.errno {
        Errno::EACCES => call_with_hint(
            error,
            "the filter cannot be installed",
            "without CAP_SYS_ADMIN set process.noNewPrivileges to true",
        ),
        Errno::EINVAL | Errno::ENOSYS => call_with_hint(
            error,
            "the kernel does not take the filter",
            "it lacks CONFIG_SECCOMP_FILTER, or a flag or action of the profile: see /proc/sys/kernel/seccomp/actions_avail",
        ),
        Errno::EBUSY => call_with_hint(
            error,
            "there is a listener already",
            "the runtime itself runs under a filter with SCMP_ACT_NOTIFY; only one of them can notify",
        ),
        _ => error.into(),
    }
}
