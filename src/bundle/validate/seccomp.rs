//! `linux.seccomp`: from the profile to the program.

use std::rc::Rc;

use oci_spec::runtime::LinuxSeccomp;

use crate::error::{At, Context, Result, with_hint};
use crate::log;
use crate::plan::Process;
use crate::plan::seccomp::{Logging, Seccomp};
use crate::security::seccomp::arch::{Arch, Call};
use crate::security::seccomp::{compile, decide, install, notify, profile};

pub const PLACE: &str = "linux.seccomp";

/// Gives a process the filter that the container's config has for all of its processes.
pub fn plan(
    seccomp: &LinuxSeccomp,
    process: &mut Process,
    unknown_fails: bool,
    logging: Option<Logging>,
) -> Result<()> {
    let mut profile = profile::read(seccomp, Arch::NATIVE, PLACE)?;
    if unknown_fails && let Some((place, name)) = profile.unknown.first() {
        return Err(with_hint(
            format!("unknown system call {name:?}"),
            "correct the name, or remove the annotation run.oci.seccomp_fail_unknown_syscall to have it ignored",
        ))
        .with_context(|| At::new(place));
    }
    for (place, name) in &profile.unknown {
        log::debug(|| format!("{place}: unknown system call {name:?}; ignored"));
    }
    let mut tables = decide::tables(&profile, Arch::NATIVE);
    let mut logged = None;
    if let Some(logging) = logging {
        profile.enable_logging(logging);
        let written = std::mem::replace(&mut tables, decide::tables(&profile, Arch::NATIVE));
        logged = Some((logging, Rc::new(written)));
    }
    log::debug(|| format!("seccomp filter flags: {}", profile.flags));
    if profile.listener.is_some() {
        notify::allow_sleep(&mut tables, Arch::NATIVE);
    }
    let program = compile::program(&tables, profile.default, Arch::NATIVE).context(At::new(PLACE))?;
    process.seccomp = Some(Seccomp {
        program,
        flags: profile.flags,
        listener: profile.listener,
        logged,
    });
    let refuses = |name: &str| {
        let number = Call::by_name(name).and_then(|call| Arch::NATIVE.number(call));
        number
            .and_then(|number| decide::unconditional_action(&tables, Arch::NATIVE.audit(), number))
            .filter(|action| action.is_refusal())
    };
    if let Some(action) = refuses("execve") {
        return Err(with_hint(
            format!("execve gets {}, so that no program could be started", action.name()),
            "allow execve in the profile",
        ))
        .context(At::new(PLACE));
    }
    if install::borrows_capability(process)
        && let Some(action) = refuses("capset")
    {
        return Err(with_hint(
            format!(
                "capset gets {}, and is needed to give up the capability that installs the filter",
                action.name()
            ),
            "allow capset in the profile, or set process.noNewPrivileges to true",
        ))
        .context(At::new(PLACE));
    }
    Ok(())
}
