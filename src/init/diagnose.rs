//! Why the host refuses namespaces: the kernel says no more than an errno, so the settings are asked.

use nix::errno::Errno;

use crate::error::{Error, Hint, Report, Step, call_with_hint};
use crate::plan::Plan;
use crate::sys::process::NAMESPACES;
use crate::sys::{SysError, process};

/// The error of a clone3(2) that makes a plan's namespaces.
pub fn explain(error: SysError, plan: &Plan) -> Error {
    let made: Vec<&str> = NAMESPACES
        .iter()
        .filter(|kind| plan.namespaces.new & kind.flag != 0)
        .map(|kind| kind.name)
        .collect();
    match cure(error.errno, process::effective_uid(), &made, &setting) {
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

/// The error of an early step in a new user namespace, which may be about nothing that the step does.
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

/// The first line of a file below /proc/sys, where there is such a setting.
pub fn setting(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
    Some(text.trim().to_string())
}

/// Which setting of the host is in the way of these new namespaces: what it is, and what to do about it.
pub fn cure(
    errno: Errno,
    uid: u32,
    made: &[&str],
    setting: &dyn Fn(&str) -> Option<String>,
) -> Option<(String, String)> {
    let is_zero = |name: &str| setting(name).as_deref() == Some("0");
    let change =
        |name: &str, value: &str| format!("as root: `sysctl -w {name}={value}`, and in /etc/sysctl.d to keep it");
    let user = made.contains(&"user");
    match errno {
        Errno::ENOSPC => made.iter().find_map(|kind| {
            let short = match *kind {
                "network" => "net",
                "mount" => "mnt",
                other => other,
            };
            let name = format!("user.max_{short}_namespaces");
            is_zero(&name).then(|| {
                (
                    format!("this host allows no {kind} namespaces ({name} is 0)"),
                    change(&name, "15000"),
                )
            })
        }),
        Errno::EPERM if user && uid != 0 && is_zero("kernel.unprivileged_userns_clone") => Some((
            "this host allows user namespaces to root only (kernel.unprivileged_userns_clone is 0)".into(),
            change("kernel.unprivileged_userns_clone", "1"),
        )),
        Errno::EPERM | Errno::EACCES if user && uid != 0 => apparmor(setting),
        _ => None,
    }
}

/// Ubuntu's restriction: the namespace is made, or not, by the profile of the program; in it there is no privilege.
pub fn apparmor(setting: &dyn Fn(&str) -> Option<String>) -> Option<(String, String)> {
    let name = "kernel.apparmor_restrict_unprivileged_userns";
    (setting(name).as_deref() == Some("1")).then(|| {
        (
            format!("AppArmor gives no privilege in the user namespaces of plain users ({name} is 1)"),
            format!(
                "give orlop an AppArmor profile with the rule `userns,` (flags=(unconfined), as in /etc/apparmor.d/crun), or \
                 as root: `sysctl -w {name}=0`"
            ),
        )
    })
}
