//! `linux.seccomp`: from the profile to the program.

use std::rc::Rc;

use oci_spec::runtime::LinuxSeccomp;

use crate::bundle::checks::Checks;
use crate::error::{At, Context, Result, with_hint};
use crate::plan::Process;
use crate::plan::seccomp::{Action, Logging, Seccomp, Table};
use crate::security::seccomp::arch::{Arch, Call};
use crate::security::seccomp::{compile, decide, install, notify, profile};

pub const PLACE: &str = "linux.seccomp";

/// The filter that a container's config has for all its processes.
pub struct Filter {
    seccomp: Seccomp,
    /// How it refuses capset(2), if it does.
    capset: Option<Action>,
}

/// Compiles a profile. `unknown_fails`: unknown system calls are a mistake.
pub fn filter(
    seccomp: &LinuxSeccomp,
    unknown_fails: bool,
    logging: Option<Logging>,
    checks: &mut Checks,
) -> Option<Filter> {
    checks.section(&["linux", "seccomp"], |checks| {
        let mut profile = profile::read(seccomp, Arch::NATIVE, PLACE)?;
        for (place, name) in &profile.unknown {
            if unknown_fails {
                checks.keep::<()>(Err(unknown(name)).with_context(|| At::new(place)));
            } else {
                let text = format!("{place}: unknown system call {name:?}; ignored");
                checks.remarks.push(text);
            }
        }
        let mut tables = decide::tables(&profile, Arch::NATIVE);
        let mut logged = None;
        if let Some(logging) = logging {
            profile.enable_logging(logging);
            let written = std::mem::replace(&mut tables, decide::tables(&profile, Arch::NATIVE));
            logged = Some((logging, Rc::new(written)));
        }
        checks.remarks.push(format!("seccomp filter flags: {}", profile.flags));
        if profile.listener.is_some() {
            notify::allow_sleep(&mut tables, Arch::NATIVE);
        }
        let program = compile::program(&tables, profile.default, Arch::NATIVE).context(At::new(PLACE))?;
        if let Some(action) = refusal(&tables, "execve") {
            return Err(with_hint(
                format!("execve gets {}, so no program could be started", action.name()),
                "allow execve in the profile",
            ))
            .context(At::new(PLACE));
        }
        Ok(Filter {
            capset: refusal(&tables, "capset"),
            seccomp: Seccomp {
                program,
                flags: profile.flags,
                listener: profile.listener,
                logged,
            },
        })
    })
}

fn unknown(name: &str) -> crate::error::Error {
    with_hint(
        format!("unknown system call {name:?}"),
        "correct the name, or remove the annotation run.oci.seccomp_fail_unknown_syscall to have it ignored",
    )
}

/// How a filter refuses a system call, whatever its arguments are.
fn refusal(tables: &[Table], name: &str) -> Option<Action> {
    let number = Call::by_name(name).and_then(|call| Arch::NATIVE.number(call))?;
    decide::unconditional_action(tables, Arch::NATIVE.audit(), number).filter(|action| action.is_refusal())
}

impl Filter {
    /// Makes it the filter of a process, if that can install it.
    pub fn give_to(self, process: &mut Process, checks: &mut Checks) -> Option<()> {
        process.seccomp = Some(self.seccomp);
        checks.keep(can_install(process, self.capset))
    }
}

/// A process that borrows a capability to install its filter must give it up by capset(2) afterwards.
fn can_install(process: &Process, capset: Option<Action>) -> Result<()> {
    match capset {
        Some(action) if install::borrows_capability(process) => Err(with_hint(
            format!(
                "capset gets {}, and is needed to give up the capability that installs the filter",
                action.name()
            ),
            "allow capset in the profile, or set process.noNewPrivileges to true",
        ))
        .context(At::new(PLACE)),
        _ => Ok(()),
    }
}
