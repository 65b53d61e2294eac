//! The checks and decisions between the spec's types and the [`Plan`].
//!
//! What cannot be had is refused by name, or warned about where the spec says so: a setting that is silently ignored would
//! be a hole.

pub mod annotations;
pub mod cgroup;
mod hooks;
mod id_map;
pub mod intel_rdt;
pub mod memory_policy;
mod mounts;
mod namespaces;
mod net_devices;
mod options;
pub mod process;
mod rootfs;
pub mod seccomp;
mod user_namespace;

pub use options::{Cgroups, RuntimeOptions};

use oci_spec::runtime as oci;

use super::capabilities::{self, Ceiling};
use super::raw::{Config, RawProcess};
use super::sysctl;
use crate::cgroup::devices;
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::plan::{Capabilities, Cgroup, Optional, Plan, Process, RootMode};
use crate::sys;

/// Checks a config and takes every decision about it.
pub fn plan(config: Config, options: &RuntimeOptions) -> Result<Plan> {
    let Config {
        bundle,
        text,
        spec,
        capabilities: (capabilities, bounded),
        mut warnings,
    } = config;
    version(spec.version())?;
    annotations::check(spec.annotations())?;
    let linux = spec.linux().clone().unwrap_or_else(empty_linux);
    let namespaces = namespaces::plan(linux.namespaces().as_deref().unwrap_or_default())?;
    namespaces::allowed(&namespaces)?;
    let id_maps = namespaces::id_maps(&linux, &namespaces, &mut warnings)?;
    let time_offsets = namespaces::time_offsets(&linux, &namespaces)?;
    let net_devices = net_devices::plan(&linux, &namespaces)?;
    let intel_rdt = intel_rdt::plan(&linux, &mut warnings)?;
    let keep_groups = annotations::keep_groups(spec.annotations());
    if let (Some(maps), Some(process)) = (&id_maps, spec.process()) {
        namespaces::mapped(process.user(), maps)?;
        let groups = process.user().additional_gids().as_ref();
        if groups.is_some_and(|groups| !groups.is_empty()) && !keep_groups && id_map::denies_setgroups(maps) {
            return Err(with_hint(
                "a plain user who maps only the own group cannot set any groups, see user_namespaces(7)",
                "leave additionalGids out, or map a range of groups that /etc/subgid gives to the user",
            ))
            .context(At::new("process.user.additionalGids"));
        }
    }
    let capabilities = grantable(capabilities, bounded, id_maps.is_some(), &mut warnings)?;
    // Engines send an empty name for none.
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let (hostname, domainname) = (given(spec.hostname()), given(spec.domainname()));
    for (field, value) in [("hostname", &hostname), ("domainname", &domainname)] {
        if value.as_ref().is_some_and(|value| value.contains('\0')) {
            return Err(anyhow!("holds a NUL byte, with which the name would end")).context(At::new(field));
        }
        if value.is_some() && !namespaces.has(libc::CLONE_NEWUTS) {
            return Err(with_hint(
                "needs an own uts namespace: setting it would change the host's",
                "add {\"type\": \"uts\"} to linux.namespaces",
            ))
            .context(At::new(field));
        }
    }
    let sysctls = sysctl::all(linux.sysctl().iter().flatten(), domainname.as_deref(), &namespaces)?;
    let beside = process::ProcessInputs {
        capabilities,
        memory_policy: linux.memory_policy().as_ref().map(memory_policy::plan).transpose()?,
        personality: linux
            .personality()
            .as_ref()
            .map(memory_policy::personality)
            .transpose()?,
        user_namespace: namespaces.has(libc::CLONE_NEWUSER),
        keep_groups,
        joins: false,
    };
    let mut process = spec
        .process()
        .as_ref()
        .map(|p| process::plan(p, beside, options, &mut warnings))
        .transpose()?;
    annotations::warn(spec.annotations(), &mut warnings);
    if let (Some(profile), Some(process)) = (linux.seccomp(), &mut process) {
        let unknown_fails = annotations::fail_unknown_syscall(spec.annotations());
        seccomp::plan(profile, process, unknown_fails, options.seccomp_log)?;
    }
    if options.seccomp_log.is_some() && linux.seccomp().is_none() {
        return Err(with_hint(
            "--seccomp-log: there is no linux.seccomp, so nothing is refused",
            "remove the flag, or give the config a profile",
        ));
    }
    let hooks = hooks::plan(&spec)?;
    if let Some(process) = &process
        && !hooks.start_container.is_empty()
        && process.scheduling.forbids_fork()
    {
        return Err(with_hint(
            "a process of this policy may not fork, and the hooks of hooks.startContainer are forked by it",
            "add SCHED_FLAG_RESET_ON_FORK to process.scheduler.flags",
        ))
        .context(At::object("process.scheduler.policy", "SCHED_DEADLINE"));
    }
    let rootfs = rootfs::plan(
        &spec,
        &linux,
        &options::PlanContext {
            bundle: &bundle,
            options,
            namespaces: &namespaces,
            id_maps: id_maps.as_ref(),
        },
        &mut warnings,
    )?;
    if let Some(process) = &mut process
        && process.notify
        && rootfs.root_mode == RootMode::Chroot
    {
        // The directory with its socket would be mounted on the host.
        process.notify = false;
        warnings.push("NOTIFY_SOCKET is not passed on: that takes an own mount namespace".into());
    }
    let mut limits = cgroup::limits(&linux, spec.version())?;
    let scope = match &options.cgroup {
        Cgroups::Files(_) => None,
        Cgroups::Systemd(id) => Some(cgroup::scope(id, &spec, &linux, &mut limits)?),
        Cgroups::None => {
            cgroup::needless(&linux, &limits)?;
            None
        }
    };
    let optional = match options.cgroup {
        // Nothing is asked that would need a cgroup of its own.
        Cgroups::Files(optional) if linux.cgroups_path().is_none() && limits.settings.is_empty() => optional,
        _ => Optional::Never,
    };
    let owner = cgroup::owner(&spec, &rootfs.mounts, &namespaces, id_maps.as_ref());
    let owner = owner.filter(|owner| *owner != sys::process::effective_uid());
    Ok(Plan {
        oci_version: spec.version().clone(),
        annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        namespaces,
        id_maps,
        time_offsets,
        net_devices,
        intel_rdt,
        rootfs,
        hostname,
        domainname,
        sysctls,
        process,
        hooks,
        cgroup: Cgroup {
            path: match scope {
                Some(_) => linux.cgroups_path().clone(),
                None => cgroup::path(&linux)?,
            },
            devices: devices::rules(linux.resources().as_ref())?,
            limits,
            owner,
            scope,
            none: matches!(options.cgroup, Cgroups::None),
            optional,
        },
        bundle,
        config_text: text,
        warnings,
    })
}

/// Checks the process object of a process that joins a container, with or without a user namespace of its own.
pub fn joining(loose: RawProcess, options: &RuntimeOptions, user_namespace: bool) -> Result<(Process, Vec<String>)> {
    let RawProcess {
        process,
        linux,
        annotations,
        capabilities: (capabilities, bounded),
        mut warnings,
    } = loose;
    let beside = process::ProcessInputs {
        capabilities: grantable(capabilities, bounded, user_namespace, &mut warnings)?,
        memory_policy: linux.memory_policy.as_ref().map(memory_policy::plan).transpose()?,
        personality: linux.personality.as_ref().map(memory_policy::personality).transpose()?,
        user_namespace,
        keep_groups: annotations::keep_groups(&annotations),
        joins: true,
    };
    let mut process = process::plan(&process, beside, options, &mut warnings)?;
    if let Some(profile) = &linux.seccomp {
        let unknown_fails = annotations::fail_unknown_syscall(&annotations);
        seccomp::plan(profile, &mut process, unknown_fails, None)?;
    }
    Ok((process, warnings))
}

/// A new user namespace starts with every capability over itself; otherwise nobody can give what they do not have.
fn grantable(
    wanted: Capabilities,
    bounded: u64,
    user_namespace: bool,
    warnings: &mut Vec<String>,
) -> Result<Capabilities> {
    let ceiling = if user_namespace {
        Ceiling::NEW_USER_NAMESPACE
    } else {
        Ceiling::own(bounded)?
    };
    Ok(capabilities::grantable(wanted, ceiling, warnings))
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
        return Err(with_hint("missing or empty", "write \"ociVersion\": \"1.3.0\"")).context(At::new("ociVersion"));
    }
    let at = || At::object("ociVersion", version);
    if !is_semantic(version) {
        return Err(with_hint(
            "not a version of the form MAJOR.MINOR.PATCH",
            "write \"ociVersion\": \"1.3.0\"",
        ))
        .with_context(at);
    }
    if !version.starts_with("1.") {
        return Err(with_hint(
            "this runtime speaks version 1 of the runtime-spec",
            "write \"ociVersion\": \"1.3.0\"",
        ))
        .with_context(at);
    }
    Ok(())
}

/// Whether a version has the form of SemVer 2.0.0: three numbers, then perhaps `-` and a pre-release, then perhaps `+`
/// and the build, both of identifiers between dots. Numbers have no leading zeros; those of a build may.
fn is_semantic(version: &str) -> bool {
    let is_number =
        |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) && (n == "0" || !n.starts_with('0'));
    let is_identifier = |i: &str| !i.is_empty() && i.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let (version, build) = version
        .split_once('+')
        .map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, pre_release) = version
        .split_once('-')
        .map_or((version, None), |(core, pre)| (core, Some(pre)));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre_release.is_none_or(|pre| {
            let is_numeric = |i: &str| i.bytes().all(|b| b.is_ascii_digit());
            pre.split('.')
                .all(|i| is_identifier(i) && (!is_numeric(i) || is_number(i)))
        })
        && build.is_none_or(|build| build.split('.').all(is_identifier))
}

#[cfg(test)]
mod tests {
    use super::{is_semantic, version};

    /// From the list of SemVer 2.0.0's own examples.
    #[test]
    fn versions_have_the_form_of_semver() {
        for text in [
            "1.0.0",
            "1.2.10",
            "0.0.4",
            "1.0.0-rc.1",
            "1.0.2-dev",
            "1.3.0+dev",
            "1.0.0-alpha.1+001",
            "1.0.0-0A.is.legal",
            "1.1.2-prerelease+meta",
            "1.2.3----RC-SNAPSHOT.12.9.1--.12+788",
            "1.0.0+0.build.1-rc.10000aaa-kk-0.1",
            "1.2.3----R-S.12.9.1--.12",
        ] {
            assert!(is_semantic(text), "{text}");
        }
        for text in [
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "01.1.1",
            "1.01.1",
            "1.1.01",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-+build",
            "1.2.3-0123",
            "1.2.3-0123.0123",
            "1.1.2+.123",
            "1.2.3-a..b",
            "1.2.3-a.",
            "1.2.3+a+b",
            "1.2.3-é",
            "1.2.3- ",
            "1.2.3+a b",
            "-1.0.3",
            "1.2-SNAPSHOT",
            "+1.2.3",
            "1.2.3\n",
        ] {
            assert!(!is_semantic(text), "{text}");
            assert!(version(text).is_err(), "{text}");
        }
        assert!(version("1.0.2-rc.1").is_ok());
        assert!(version("10.0.0").is_err());
    }
}
