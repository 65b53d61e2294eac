//! `annotations` that other runtimes act upon and that confine the container. Each is either honored or the caller is told
//! that it is not: to believe in a filter that does not exist is worse than to have none.

use std::collections::HashMap;

use crate::error::{At, Context, Result, with_hint};
use crate::plan::Warning;

/// Of crun: the process keeps the supplementary groups of the runtime's caller, and `additionalGids` has no effect. It gives
/// an unprivileged user's container access to files by a group that is not mapped into it
/// (`podman run --group-add keep-groups`).
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Of crun: an unknown system call in the seccomp profile is an error.
pub const FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";

/// Of runc and crun: the file with options for CRIU. It can name programs that CRIU executes as root on the host.
pub const CRIU_CONFIG: &str = "org.criu.config";

/// Annotations that are not supported, and what happens instead.
pub const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "run.oci.handler",
        "the program runs as a process of this kernel, not in a virtual machine or another engine",
    ),
    (
        "run.oci.mount_context_type",
        "linux.mountLabel is always mounted as context=",
    ),
    (
        "run.oci.seccomp_bpf_data",
        "its program is not installed; system calls are filtered by linux.seccomp, if there is such a profile",
    ),
    (
        "run.oci.seccomp.plugins",
        "only the agent at linux.seccomp.listenerPath answers the notifications of a filter",
    ),
    (
        "run.oci.seccomp.receiver",
        "the listener of a filter is sent only to linux.seccomp.listenerPath",
    ),
];

/// No key may be empty (config.md, "Annotations").
pub fn check(annotations: &Option<HashMap<String, String>>) -> Result<()> {
    if annotations
        .as_ref()
        .is_some_and(|annotations| annotations.contains_key(""))
    {
        return Err(with_hint(
            "a key must not be empty",
            "name the annotation, or leave it out",
        ))
        .context(At::new("annotations[\"\"]"));
    }
    Ok(())
}

/// Whether every process of the container keeps its caller's groups.
pub fn keep_groups(annotations: &Option<HashMap<String, String>>) -> bool {
    asks_for(annotations, KEEP_GROUPS)
}

/// Whether an unknown system call in a seccomp profile is an error.
pub fn fail_unknown_syscall(annotations: &Option<HashMap<String, String>>) -> bool {
    asks_for(annotations, FAIL_UNKNOWN)
}

/// Whether a switch is on. As in other runtimes, every value but 0 turns it on.
fn asks_for(annotations: &Option<HashMap<String, String>>, key: &str) -> bool {
    let annotation = annotations.as_ref().and_then(|annotations| annotations.get(key));
    annotation.is_some_and(|value| value != "0")
}

/// Warns about annotations that are not supported.
pub fn warn(annotations: &Option<HashMap<String, String>>, warnings: &mut Vec<Warning>) {
    let Some(annotations) = annotations else { return };
    for (key, instead) in UNSUPPORTED {
        // As in other runtimes, 0 turns the annotation off.
        if annotations.get(*key).is_some_and(|value| !matches!(&**value, "" | "0")) {
            let path = format!("annotations.{key}");
            let text = format!("{path} is not supported: {instead}");
            warnings.push(Warning::new(path, text));
        }
    }
}
