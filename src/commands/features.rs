//! `features`: what this binary supports (features.md of the runtime-spec).

use super::answer;
use super::features_document::{self, Cgroup, Facts, IntelRdt, MemoryPolicy, Seccomp};
use crate::bundle::capabilities;
use crate::bundle::mount_options;
use crate::bundle::validate::{annotations, memory_policy};
use crate::cgroup::systemd::text;
use crate::error::Result;
use crate::hooks;
use crate::security::seccomp::arch::Arch;
use crate::security::seccomp::profile;
use crate::sys::process::NAMESPACES;

pub fn run() -> Result<u8> {
    let capabilities = capabilities::names();
    let capabilities: Vec<&str> = capabilities.iter().map(String::as_str).collect();
    let namespaces: Vec<&str> = NAMESPACES.iter().map(|kind| kind.name).collect();
    let archs: Vec<&str> = Arch::all().map(Arch::name).collect();
    let flags: Vec<&str> = profile::FLAGS
        .iter()
        .copied()
        .filter(|flag| profile::is_supported(flag))
        .collect();
    let document = features_document::features(&Facts {
        oci_version_min: "1.0.0",
        oci_version_max: crate::plan::OCI_VERSION,
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("ORLOP_COMMIT"),
        hooks: &[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        mount_options: mount_options::NAMES,
        namespaces: &namespaces,
        capabilities: &capabilities,
        cgroup: Cgroup {
            v2: true,
            systemd: true,
            systemd_user: true,
            rdma: true,
            ..Cgroup::default()
        },
        apparmor: true,
        selinux: true,
        memory_policy: MemoryPolicy {
            modes: &memory_policy::MODES.map(|(name, _)| name),
            flags: &memory_policy::FLAGS.map(|(name, _)| name),
        },
        intel_rdt: IntelRdt {
            enabled: true,
            schemata: true,
            monitoring: true,
        },
        net_devices: true,
        unsafe_annotations: &[text::PREFIX, annotations::KEEP_GROUPS, hooks::STDOUT, hooks::STDERR],
        idmap: true,
        seccomp: Some(Seccomp {
            actions: profile::ACTIONS,
            operators: profile::OPERATORS,
            archs: &archs,
            known_flags: profile::FLAGS,
            supported_flags: &flags,
        }),
        ..Facts::default()
    });
    answer(&(serde_json::to_string_pretty(&document)? + "\n"))
}
