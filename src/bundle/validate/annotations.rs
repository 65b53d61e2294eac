//! `annotations` that other runtimes act upon, and that say how the container is confined. What they ask for is had, or
//! the caller is told that it is not: whoever believes in a filter that is not there is worse off than without.

use std::collections::HashMap;

use crate::error::{At, Context, Result, with_hint};

/// crun's: the process keeps the supplementary groups of the runtime's caller, and `additionalGids` has no effect. A plain
/// user reaches files by such a group that has no number in the container (`podman run --group-add keep-groups`).
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// crun's: a system call of the seccomp profile that is unknown here is an error.
const FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";

/// Those that are not supported, and what is the case in spite of them.
const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "run.oci.handler",
        "the program runs as a process of this kernel, in no virtual machine or other engine",
    ),
    (
        "run.oci.mount_context_type",
        "file systems are mounted with context=, as linux.mountLabel is meant",
    ),
    (
        "run.oci.seccomp_bpf_data",
        "its program is not installed; system calls are filtered by linux.seccomp, if there is such a profile",
    ),
    (
        "run.oci.seccomp.plugins",
        "nobody answers the notifications of a filter but the agent at linux.seccomp.listenerPath",
    ),
    (
        "run.oci.seccomp.receiver",
        "the listener of a filter goes to linux.seccomp.listenerPath alone",
    ),
];

/// That every key is one (config.md, "Annotations").
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

/// Whether a seccomp profile may name no system call that is unknown here.
pub fn fail_unknown_syscall(annotations: &Option<HashMap<String, String>>) -> bool {
    asks_for(annotations, FAIL_UNKNOWN)
}

/// Whether a switch is on. As others read them, everything but 0 turns it on.
fn asks_for(annotations: &Option<HashMap<String, String>>, key: &str) -> bool {
    let annotation = annotations.as_ref().and_then(|annotations| annotations.get(key));
    annotation.is_some_and(|value| value != "0")
}

/// Warns of those that are not supported.
pub fn warn(annotations: &Option<HashMap<String, String>>, warnings: &mut Vec<String>) {
    let Some(annotations) = annotations else { return };
    for (key, instead) in UNSUPPORTED {
        // As others read them, 0 is as good as nothing.
        if annotations.get(*key).is_some_and(|value| !matches!(&**value, "" | "0")) {
            warnings.push(format!("annotations.{key} is not supported: {instead}"));
        }
    }
}
