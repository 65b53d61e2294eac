//! The checks and decisions between the spec's types and the [`Plan`].
//!
//! What the spec defines and orlop cannot do yet is refused by name (see [`refuse_unsupported`]): a setting that is
//! silently ignored would be a hole.

mod cgroup;
mod hooks;
mod namespaces;
mod process;
mod rootfs;

use oci_spec::runtime as oci;

use super::document::Spec;
use super::load::Config;
use super::plan::{Cgroup, Plan};
use super::{capabilities, sysctl};
use crate::error::{At, Context, Result, hinted};
use crate::sys;

/// What the command line adds to the config.
#[derive(Debug)]
pub struct Choices {
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// `--preserve-fds`
    pub preserve_fds: u32,
}

/// Checks a config and takes every decision about it.
pub fn plan(config: Config, choices: &Choices) -> Result<Plan> {
    let Config {
        bundle,
        text,
        spec,
        capabilities,
        mut warnings,
    } = config;
    version(spec.version())?;
    refuse_unsupported(&spec)?;
    let linux = spec.linux().clone().unwrap_or_else(empty_linux);
    let namespaces = namespaces::plan(linux.namespaces().as_deref().unwrap_or_default())?;
    let id_maps = namespaces::id_maps(&linux, &namespaces)?;
    if let (Some(maps), Some(process)) = (&id_maps, spec.process()) {
        namespaces::mapped(process.user(), maps)?;
    }
    let capabilities = if id_maps.is_some() {
        // A new user namespace starts with every capability over itself.
        capabilities
    } else {
        capabilities::without_ungrantable(capabilities, &mut warnings)?
    };
    for (field, value) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        if value.is_some() && !namespaces.has(libc::CLONE_NEWUTS) {
            return Err(hinted(
                "needs an own uts namespace: setting it would change the host's",
                "add {\"type\": \"uts\"} to linux.namespaces",
            ))
            .context(At::new(field));
        }
    }
    let mut sysctls = Vec::new();
    for (key, value) in linux.sysctl().iter().flatten() {
        sysctls.push(sysctl::plan(key, value, &namespaces)?);
    }
    sysctls.sort_by(|a, b| a.key.cmp(&b.key));
    let process = spec
        .process()
        .as_ref()
        .map(|p| process::plan(p, capabilities, choices))
        .transpose()?;
    let rootfs = rootfs::plan(&spec, &linux, &bundle, choices, &mut warnings)?;
    let optional = sys::process::effective_uid() != 0 && linux.cgroups_path().is_none();
    Ok(Plan {
        oci_version: spec.version().clone(),
        annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        namespaces,
        id_maps,
        rootfs,
        hostname: spec.hostname().clone(),
        domainname: spec.domainname().clone(),
        sysctls,
        process,
        hooks: hooks::plan(&spec)?,
        cgroup: Cgroup {
            path: cgroup::path(&linux)?,
            devices: cgroup::device_rules(&linux)?,
            optional,
            devices_optional: sys::process::effective_uid() != 0,
        },
        bundle,
        config_text: text,
        warnings,
    })
}

/// The spec's `linux` with nothing in it. (Its type's own default holds namespaces, masks and resources.)
fn empty_linux() -> oci::Linux {
    let mut linux = oci::Linux::default();
    linux.set_namespaces(None);
    linux.set_resources(None);
    linux.set_masked_paths(None);
    linux.set_readonly_paths(None);
    linux
}

/// `ociVersion`: SemVer 2.0.0, and of the major version that this runtime speaks.
fn version(version: &str) -> Result<()> {
    if version.is_empty() {
        return Err(hinted("missing or empty", "write \"ociVersion\": \"1.3.0\"")).context(At::new("ociVersion"));
    }
    let at = || At::object("ociVersion", version);
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number =
        |n: &&str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) && (n.len() == 1 || !n.starts_with('0'));
    if numbers.len() != 3 || !numbers.iter().all(is_number) {
        return Err(hinted(
            "not a version of the form MAJOR.MINOR.PATCH",
            "write \"ociVersion\": \"1.3.0\"",
        ))
        .with_context(at);
    }
    if numbers.first() != Some(&"1") {
        return Err(hinted(
            "this runtime speaks version 1 of the runtime-spec",
            "write \"ociVersion\": \"1.3.0\"",
        ))
        .with_context(at);
    }
    Ok(())
}

/// Names everything in the config that orlop does not do yet.
fn refuse_unsupported(spec: &Spec) -> Result<()> {
    let mut wanted: Vec<&str> = Vec::new();
    let mut refuse = |present: bool, path: &'static str| {
        if present {
            wanted.push(path);
        }
    };
    if let Some(process) = spec.process() {
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        refuse(given(process.apparmor_profile()), "process.apparmorProfile");
        refuse(given(process.selinux_label()), "process.selinuxLabel");
        refuse(process.scheduler().is_some(), "process.scheduler");
        refuse(process.io_priority().is_some(), "process.ioPriority");
        let affinity = process.exec_cpu_affinity().as_ref();
        refuse(
            affinity.is_some_and(|lists| lists.initial.is_some() || lists.last.is_some()),
            "process.execCPUAffinity",
        );
    }
    if let Some(linux) = spec.linux() {
        refuse(linux.seccomp().is_some(), "linux.seccomp");
        refuse(linux.intel_rdt().is_some(), "linux.intelRdt");
        refuse(linux.memory_policy().is_some(), "linux.memoryPolicy");
        refuse(
            linux.net_devices().as_ref().is_some_and(|map| !map.is_empty()),
            "linux.netDevices",
        );
        refuse(linux.personality().is_some(), "linux.personality");
        refuse(
            linux.time_offsets().as_ref().is_some_and(|map| !map.is_empty()),
            "linux.timeOffsets",
        );
        refuse(
            linux.mount_label().as_ref().is_some_and(|label| !label.is_empty()),
            "linux.mountLabel",
        );
        if let Some(resources) = linux.resources() {
            // Engines send zeros and empty objects for what they do not limit.
            fn asks(value: Option<impl serde::Serialize>) -> bool {
                fn any(value: &serde_json::Value) -> bool {
                    match value {
                        serde_json::Value::Object(map) => map.values().any(any),
                        serde_json::Value::Array(list) => !list.is_empty(),
                        serde_json::Value::Number(number) => number.as_i64() != Some(0),
                        serde_json::Value::Bool(flag) => *flag,
                        serde_json::Value::String(text) => !text.is_empty(),
                        serde_json::Value::Null => false,
                    }
                }
                value.is_some_and(|value| serde_json::to_value(value).is_ok_and(|value| any(&value)))
            }
            refuse(asks(resources.memory().as_ref()), "linux.resources.memory");
            refuse(asks(resources.cpu().as_ref()), "linux.resources.cpu");
            refuse(asks(resources.pids().as_ref()), "linux.resources.pids");
            refuse(asks(resources.block_io().as_ref()), "linux.resources.blockIO");
            refuse(
                asks(resources.hugepage_limits().as_ref()),
                "linux.resources.hugepageLimits",
            );
            refuse(asks(resources.network().as_ref()), "linux.resources.network");
            refuse(asks(resources.rdma().as_ref()), "linux.resources.rdma");
            refuse(asks(resources.unified().as_ref()), "linux.resources.unified");
        }
    }
    match wanted.as_slice() {
        [] => Ok(()),
        [first, rest @ ..] => {
            let mut text = "not supported by this version of orlop".to_string();
            if !rest.is_empty() {
                text += &format!("; nor are {}", rest.join(", "));
            }
            Err(hinted(
                text,
                "it is refused rather than ignored; remove it from the config to run without it",
            ))
            .context(At::new(*first))
        }
    }
}
