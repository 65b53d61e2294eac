//! Labels of the security modules: the AppArmor profile and the SELinux context that take effect at execve.
//!
//! Both are written to files of /proc that belong to the writing process. An image that could put another file there
//! would run unconfined (CVE-2019-16884, CVE-2019-19921), so they are reached only through [`HostProc`]. Run by init while
//! the host's procfs is still open.

use std::path::Path;

use nix::errno::Errno;

use super::procfs::HostProc;
use crate::error::{At, Context, Error, Hint, Result, anyhow, errno};
use crate::plan::Process;
use crate::sys::{SysError, Syscall};

/// Sets the labels for the next execve of this process and of the children that it forks until then.
pub fn set_exec_labels(plan: &Process, proc: Option<&HostProc>) -> Result<()> {
    if let Some(profile) = &plan.apparmor_profile {
        apparmor(profile, require(proc)?).with_context(|| At::object("process.apparmorProfile", profile))?;
    }
    if let Some(label) = &plan.selinux_label {
        selinux(label, "attr/exec", require(proc)?)?;
    }
    Ok(())
}

fn require(proc: Option<&HostProc>) -> Result<&HostProc> {
    proc.ok_or_else(|| anyhow!("the host's procfs is not open"))
}

fn apparmor(profile: &str, proc: &HostProc) -> Result<()> {
    let text = format!("exec {profile}");
    // AppArmor's own directory exists since Linux 5.8. On older kernels, and with patches of some distributions, all modules
    // share one file.
    let written = match proc.write_self(Path::new("attr/apparmor/exec"), &text) {
        Err(error) if error.downcast_ref::<SysError>().is_some_and(is_absent) => {
            proc.write_self(Path::new("attr/exec"), &text)
        }
        other => other,
    };
    written.map_err(|error| match errno(&error) {
        Some(Errno::ENOENT) => add_hint(error, NOT_LOADED),
        Some(Errno::EACCES | Errno::EPERM) => add_hint(
            error,
            "the profile of the runtime does not allow the change (change_profile)",
        ),
        _ => error,
    })
}

const NOT_LOADED: &str =
    "the profile is not loaded: load it with apparmor_parser -r FILE; aa-status lists loaded profiles";

/// The error of a profile that is not among the loaded ones, in advance. `loaded`: the text of the kernel's list. A profile
/// that is stacked on others, or in a namespace of its own, is not looked for.
pub fn foretell(profile: &str, loaded: &str) -> Result<()> {
    let is_it = |line: &str| line.rsplit_once(" (").is_some_and(|(name, _)| name == profile);
    if profile == "unconfined" || profile.contains("//") || profile.starts_with(':') || loaded.lines().any(is_it) {
        return Ok(());
    }
    let call = SysError::new(Syscall::Write.of(Path::new("attr/apparmor/exec")), Errno::ENOENT);
    Err(add_hint(call.into(), NOT_LOADED)).with_context(|| At::object("process.apparmorProfile", profile))
}

/// Whether the file is missing, as opposed to the profile whose name is written to it.
fn is_absent(error: &SysError) -> bool {
    error.errno == Errno::ENOENT && error.call.name == Syscall::Openat2
}

fn selinux(label: &str, file: &str, proc: &HostProc) -> Result<()> {
    let written = proc.write_self(Path::new(file), label);
    written
        .map_err(|error| match errno(&error) {
            Some(Errno::EINVAL) => add_hint(
                error,
                "the loaded policy does not contain this context; a context has the form user:role:type:level",
            ),
            Some(Errno::EACCES | Errno::EPERM) => add_hint(
                error,
                "the policy does not allow the runtime's domain to set it (setexec, setkeycreate)",
            ),
            _ => error,
        })
        .with_context(|| At::object("process.selinuxLabel", label))
}

fn add_hint(error: Error, hint: &str) -> Error {
    error.context(Hint {
        message: "the kernel rejected the label".into(),
        hint: hint.into(),
    })
}

/// Calls a function that creates keys. They get the SELinux label of the process, so that it may use them.
pub fn with_key_label(plan: &Process, proc: Option<&HostProc>, create: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(label) = &plan.selinux_label else {
        return create();
    };
    const FILE: &str = "attr/keycreate";
    let proc = require(proc)?;
    selinux(label, FILE, proc)?;
    create()?;
    // A line feed resets the label: the policy determines it for keys that are created later.
    selinux("\n", FILE, proc)
}
