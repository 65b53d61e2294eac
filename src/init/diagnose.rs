//! Why the host refuses to create namespaces: the kernel returns only an errno, so this looks at the settings.

use nix::errno::Errno;

use crate::error::{Error, Hint, Report, Step, call_with_hint};
use crate::plan::Plan;
use crate::sys::process::NAMESPACES;
use crate::sys::{SysError, process};

/// The error of a clone3(2) or unshare(2) that creates a plan's namespaces.
pub fn explain(error: SysError, plan: &Plan) -> Error {
    match cure(error.errno, process::effective_uid(), plan.namespaces.new, &setting) {
        Some((text, cure)) => call_with_hint(error, text, cure),
        None => error.into(),
    }
}

/// Steps that fail where a user namespace gives no privilege.
const FIRST_STEPS: &[Step] = &[
    Step::IdMaps,
    Step::UserNamespace,
    Step::Network,
    Step::Hostname,
    Step::Root,
    Step::Mounts,
];

/// The error of an early step in a new user namespace. The cause may be a setting of the host and not the step.
pub fn explain_step(error: Error, plan: &Plan) -> Error {
    if process::effective_uid() == 0 || !plan.namespaces.makes(libc::CLONE_NEWUSER) {
        return error;
    }
    let report = Report::of(&error);
    let denied = matches!(report.errno, Some(Errno::EPERM | Errno::EACCES));
    let early = report.step.is_some_and(|step| FIRST_STEPS.contains(&step));
    match apparmor(&setting).filter(|_| denied && early) {
        Some((text, cure)) => error.context(Hint {
            message: text,
            hint: cure,
        }),
        None => error,
    }
}

/// The value of a sysctl, if the kernel has it.
pub fn setting(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
    Some(text.trim().to_string())
}

/// The setting of the host that forbids these new namespaces (`made`: their `CLONE_NEW*` flags), and what to do about it.
pub fn cure(errno: Errno, uid: u32, made: u64, setting: &dyn Fn(&str) -> Option<String>) -> Option<(String, String)> {
    let is_zero = |name: &str| setting(name).as_deref() == Some("0");
    let change =
        |name: &str, value: &str| format!("as root: `sysctl -w {name}={value}`, and in /etc/sysctl.d to keep it");
    let user = made & libc::CLONE_NEWUSER as u64 != 0;
    match errno {
        Errno::ENOSPC => NAMESPACES.iter().filter(|kind| made & kind.flag != 0).find_map(|kind| {
            let name = format!("user.max_{}_namespaces", kind.file.to_string_lossy());
            is_zero(&name).then(|| {
                (
                    format!("this host allows no {} namespaces ({name} is 0)", kind.name),
                    change(&name, "15000"),
                )
            })
        }),
        Errno::EPERM if user && uid != 0 && is_zero("kernel.unprivileged_userns_clone") => Some((
            "only root may create user namespaces on this host (kernel.unprivileged_userns_clone is 0)".into(),
            change("kernel.unprivileged_userns_clone", "1"),
        )),
        Errno::EPERM | Errno::EACCES if user && uid != 0 => apparmor(setting),
        _ => None,
    }
}

/// Ubuntu's restriction: the program's profile decides whether it may create the namespace, which grants no privilege.
pub fn apparmor(setting: &dyn Fn(&str) -> Option<String>) -> Option<(String, String)> {
    let name = "kernel.apparmor_restrict_unprivileged_userns";
    (setting(name).as_deref() == Some("1")).then(|| {
        (
            format!("AppArmor grants no privilege in user namespaces of unprivileged users ({name} is 1)"),
            format!(
                "give orlop an AppArmor profile with the rule `userns,` (flags=(unconfined), as in /etc/apparmor.d/crun), or \
                 as root: `sysctl -w {name}=0`"
            ),
        )
    })
}
