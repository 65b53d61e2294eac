//! `features`: what this build supports on any host (runtime-spec `features.md` and `features-linux.md`, version 1.3).
//!
//! Engines decide by this document what they may ask for, so its lists are those that the code works with. Where the
//! specification distinguishes "unknown" (absent) from "none" (empty or false), the answer is always known and always given.

use serde_json::{Map, Value, json};

use super::answer;
use crate::bundle::capabilities;
use crate::bundle::mount_options;
use crate::bundle::validate::{annotations, memory_policy, mounts};
use crate::cgroup::systemd;
use crate::error::Result;
use crate::hooks;
use crate::plan::{HookPoint, OCI_VERSION};
use crate::security::seccomp::arch::Arch;
use crate::security::seccomp::profile;
use crate::sys::process::NAMESPACES;

/// The oldest `ociVersion` that is accepted.
const OCI_VERSION_MIN: &str = "1.0.0";
const VERSION_KEY: &str = "dev.orlop.version";
const COMMIT_KEY: &str = "dev.orlop.commit";
/// runc's name, which crun prints too and engines look for.
const CHECKPOINT_KEY: &str = "org.opencontainers.runc.checkpoint.enabled";
/// Annotations in config.json that change what the runtime does. A name that ends with `.` stands for all names that begin
/// with it.
const UNSAFE_ANNOTATIONS: &[&str] = &[
    systemd::annotations::PREFIX,
    annotations::KEEP_GROUPS,
    annotations::FAIL_UNKNOWN,
    annotations::CRIU_CONFIG,
    hooks::STDOUT,
    hooks::STDERR,
];

pub fn run() -> Result<u8> {
    answer(&(serde_json::to_string_pretty(&document())? + "\n"))
}

/// The document, with its fields in the order of the specification.
pub fn document() -> Value {
    let namespaces: Vec<&str> = NAMESPACES.iter().map(|kind| kind.name).collect();
    json!({
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION,
        "hooks": HookPoint::ALL.map(HookPoint::name),
        "mountOptions": mount_options(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": capabilities::names(),
            "cgroup": {
                "v1": false,
                "v2": true,
                "systemd": true,
                "systemdUser": true,
                "rdma": true
            },
            "seccomp": seccomp(),
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": {
                "modes": memory_policy::MODES.map(|(name, _)| name),
                "flags": memory_policy::FLAGS.map(|(name, _)| name)
            },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": true }
        },
        "annotations": annotations(env!("CARGO_PKG_VERSION"), env!("ORLOP_COMMIT")),
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS
    })
}

/// Those with a meaning of their own on any mount, and those about links, on a bind mount.
fn mount_options() -> Vec<&'static str> {
    let mut names = [mount_options::NAMES, mounts::OF_LINKS].concat();
    names.sort_unstable();
    names
}

fn seccomp() -> Value {
    let archs: Vec<&str> = Arch::all().map(Arch::name).collect();
    let supported: Vec<&str> = profile::FLAGS
        .iter()
        .copied()
        .filter(|flag| profile::is_supported(flag))
        .collect();
    json!({
        "enabled": true,
        "actions": profile::ACTIONS,
        "operators": profile::OPERATORS,
        "archs": archs,
        "knownFlags": profile::FLAGS,
        "supportedFlags": supported
    })
}

/// The values of annotations are strings, even booleans. An empty commit is unknown, and left out.
fn annotations(version: &str, commit: &str) -> Value {
    let mut annotations = Map::new();
    annotations.insert(VERSION_KEY.into(), json!(version));
    if !commit.is_empty() {
        annotations.insert(COMMIT_KEY.into(), json!(commit));
    }
    annotations.insert(CHECKPOINT_KEY.into(), json!("true"));
    Value::Object(annotations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_commit_is_left_out() {
        let with = json!({ VERSION_KEY: "0.1.0", COMMIT_KEY: "0123abc", CHECKPOINT_KEY: "true" });
        assert_eq!(annotations("0.1.0", "0123abc"), with);
        let without = json!({ VERSION_KEY: "0.1.0", CHECKPOINT_KEY: "true" });
        assert_eq!(annotations("0.1.0", ""), without);
    }
}
