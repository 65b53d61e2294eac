//! Labels of the security modules: the AppArmor profile and the SELinux context that the execve changes to.
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

/// Writes the labels for the next execve of this process, and of what it forks until then.
pub fn label_exec(plan: &Process, proc: Option<&HostProc>) -> Result<()> {
    if let Some(profile) = &plan.apparmor_profile {
        apparmor(profile, at_hand(proc)?).with_context(|| At::object("process.apparmorProfile", profile))?;
    }
    if let Some(label) = &plan.selinux_label {
        selinux(label, "attr/exec", at_hand(proc)?)?;
    }
    Ok(())
}

fn at_hand(proc: Option<&HostProc>) -> Result<&HostProc> {
    proc.ok_or_else(|| anyhow!("the host's procfs is not open"))
}

fn apparmor(profile: &str, proc: &HostProc) -> Result<()> {
    let text = format!("exec {profile}");
    // The module's own directory exists since Linux 5.8; before, and with some distributions' patches, all modules
    // share one file.
    let written = match proc.write_self(Path::new("attr/apparmor/exec"), &text) {
        Err(error) if error.downcast_ref::<SysError>().is_some_and(is_absent) => {
            proc.write_self(Path::new("attr/exec"), &text)
        }
        other => other,
    };
    written.map_err(|error| match errno(&error) {
        Some(Errno::ENOENT) => add_hint(
            error,
            "the profile is not loaded: load it with apparmor_parser -r FILE; aa-status lists those that are",
        ),
        Some(Errno::EACCES | Errno::EPERM) => add_hint(
            error,
            "the profile that confines the runtime itself does not allow the change (change_profile)",
        ),
        _ => error,
    })
}

/// Whether the file itself is missing, not what is written to it.
fn is_absent(error: &SysError) -> bool {
    error.errno == Errno::ENOENT && error.call.name == Syscall::Openat2
}

fn selinux(label: &str, file: &str, proc: &HostProc) -> Result<()> {
    let written = proc.write_self(Path::new(file), label);
    written
        .map_err(|error| match errno(&error) {
            Some(Errno::EINVAL) => add_hint(
                error,
                "the loaded policy does not know this context; it has the form user:role:type:level",
            ),
            Some(Errno::EACCES | Errno::EPERM) => add_hint(
                error,
                "the policy does not let the runtime's domain set it (setexec, setkeycreate)",
            ),
            _ => error,
        })
        .with_context(|| At::object("process.selinuxLabel", label))
}

fn add_hint(error: Error, cure: &str) -> Error {
    let text = "the kernel refused the label".to_string();
    error.context(Hint {
        message: text,
        hint: cure.into(),
    })
}

/// Does something that makes keys with their SELinux label set to the process's, so that the process may use them.
pub fn with_key_label(plan: &Process, proc: Option<&HostProc>, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(label) = &plan.selinux_label else {
        return make();
    };
    const FILE: &str = "attr/keycreate";
    let proc = at_hand(proc)?;
    selinux(label, FILE, proc)?;
    make()?;
    // What is made later takes its label from the policy again; a line end alone says so.
    selinux("\n", FILE, proc)
}
