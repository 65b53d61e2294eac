//! The features document (runtime-spec `features.md`, `features-linux.md`, version 1.3).
//!
//! Engines decide by it what they may ask of us, so nothing here is claimed on its own: each entry comes from
//! [`Facts`], and its caller fills those from the tables that the code works with. Where the specification tells
//! "unknown" (absent) from "none" (empty or false), we always know, and always say so.

use serde_json::{Map, Value, json};

const VERSION_KEY: &str = "dev.orlop.version";
const COMMIT_KEY: &str = "dev.orlop.commit";
/// runc's name for it, which crun prints too and engines look for.
const CHECKPOINT_KEY: &str = "org.opencontainers.runc.checkpoint.enabled";

/// What this build can do, irrespective of the host it runs on.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// Oldest and newest `ociVersion` that is accepted.
    pub oci_version_min: &'a str,
    pub oci_version_max: &'a str,
    /// Version and commit of this program; an empty commit is left out.
    pub version: &'a str,
    pub commit: &'a str,
    /// Names of the hooks that are run.
    pub hooks: &'a [&'a str],
    /// Names of the mount options that are not handed to the file system.
    pub mount_options: &'a [&'a str],
    /// Values of `linux.namespaces[].type`.
    pub namespaces: &'a [&'a str],
    /// Names of the capabilities, `CAP_` included.
    pub capabilities: &'a [&'a str],
    pub cgroup: Cgroup,
    /// `None`: no seccomp in this build.
    pub seccomp: Option<Seccomp<'a>>,
    pub apparmor: bool,
    pub selinux: bool,
    pub intel_rdt: IntelRdt,
    /// Empty lists: `linux.memoryPolicy` is not supported.
    pub memory_policy: MemoryPolicy<'a>,
    /// Whether `uidMappings` and `gidMappings` of a mount are honoured.
    pub idmap: bool,
    /// Whether `linux.netDevices` is honoured.
    pub net_devices: bool,
    pub checkpoint: bool,
    /// Annotations in `config.json` that change what we do; one that ends with `.` stands for all it begins.
    pub unsafe_annotations: &'a [&'a str],
}

/// The cgroup managers and controllers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cgroup {
    pub v1: bool,
    pub v2: bool,
    pub systemd: bool,
    pub systemd_user: bool,
    pub rdma: bool,
}

/// The values that are recognised in `linux.seccomp`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seccomp<'a> {
    pub actions: &'a [&'a str],
    pub operators: &'a [&'a str],
    pub archs: &'a [&'a str],
    /// Flags that are recognised, and those of them that have an effect.
    pub known_flags: &'a [&'a str],
    pub supported_flags: &'a [&'a str],
}

/// The fields of `linux.intelRdt` that are honoured.
#[derive(Debug, Clone, Copy, Default)]
pub struct IntelRdt {
    pub enabled: bool,
    pub schemata: bool,
    pub monitoring: bool,
}

/// The values that are recognised in `linux.memoryPolicy`.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryPolicy<'a> {
    pub modes: &'a [&'a str],
    pub flags: &'a [&'a str],
}

/// The document, fields in the order of the specification.
pub fn features(facts: &Facts) -> Value {
    json!({
        "ociVersionMin": facts.oci_version_min,
        "ociVersionMax": facts.oci_version_max,
        "hooks": facts.hooks,
        "mountOptions": facts.mount_options,
        "linux": {
            "namespaces": facts.namespaces,
            "capabilities": facts.capabilities,
            "cgroup": {
                "v1": facts.cgroup.v1,
                "v2": facts.cgroup.v2,
                "systemd": facts.cgroup.systemd,
                "systemdUser": facts.cgroup.systemd_user,
                "rdma": facts.cgroup.rdma
            },
            "seccomp": seccomp(facts.seccomp.as_ref()),
            "apparmor": { "enabled": facts.apparmor },
            "selinux": { "enabled": facts.selinux },
            "intelRdt": {
                "enabled": facts.intel_rdt.enabled,
                "schemata": facts.intel_rdt.schemata,
                "monitoring": facts.intel_rdt.monitoring
            },
            "memoryPolicy": {
                "modes": facts.memory_policy.modes,
                "flags": facts.memory_policy.flags
            },
            "mountExtensions": { "idmap": { "enabled": facts.idmap } },
            "netDevices": { "enabled": facts.net_devices }
        },
        "annotations": annotations(facts),
        "potentiallyUnsafeConfigAnnotations": facts.unsafe_annotations
    })
}

fn seccomp(seccomp: Option<&Seccomp>) -> Value {
    match seccomp {
        None => json!({ "enabled": false }),
        Some(known) => json!({
            "enabled": true,
            "actions": known.actions,
            "operators": known.operators,
            "archs": known.archs,
            "knownFlags": known.known_flags,
            "supportedFlags": known.supported_flags
        }),
    }
}

/// Annotation values are strings, booleans too.
fn annotations(facts: &Facts) -> Value {
    let mut annotations = Map::new();
    annotations.insert(VERSION_KEY.into(), json!(facts.version));
    if !facts.commit.is_empty() {
        annotations.insert(COMMIT_KEY.into(), json!(facts.commit));
    }
    annotations.insert(CHECKPOINT_KEY.into(), json!(facts.checkpoint.to_string()));
    Value::Object(annotations)
}
