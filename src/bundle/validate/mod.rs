//! The checks and decisions between the spec's types and the [`Plan`].
//!
//! A pure function: it depends on the config, the command line and the facts about the host that are handed in, and makes no
//! system call. Settings that cannot be provided are refused by name, or cause a warning where the spec says so: a setting
//! that is silently ignored would be a security hole. All mistakes are reported at once.

pub mod annotations;
pub mod cgroup;
pub mod devices;
mod hooks;
mod id_map;
pub mod intel_rdt;
pub mod memory_policy;
mod mount_id_map;
pub mod mounts;
mod namespaces;
mod net_devices;
mod options;
pub mod process;
pub mod rootfs;
pub mod seccomp;
mod user;

pub use options::{Cgroups, RuntimeOptions};

use std::path::PathBuf;

use oci_spec::runtime as oci;

use super::checks::{self, Checks, Notes, Source};
use super::document::Spec;
use super::raw::{Config, RawProcess};
use super::sysctl;
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::host::Facts;
use crate::plan::{
    Cgroup, Hooks, IdMaps, IntelRdt, Namespaces, NetDevice, Plan, Process, RootMode, Sysctl, TimeOffset, Warning,
};
use options::PlanContext;

/// Checks a config and makes every decision about it.
pub fn plan(config: Config, options: &RuntimeOptions, facts: Facts) -> Result<Plan> {
    check(config, options, facts).plan()
}

/// A config after its check: the decisions that could be made, and what is wrong.
pub struct Checked {
    pub bundle: PathBuf,
    pub text: Vec<u8>,
    /// The file's name in messages.
    pub file: Option<String>,
    pub spec: Spec,
    /// If they are wrong, every namespace is assumed to be the container's own.
    pub namespaces: Namespaces,
    pub id_maps: Option<IdMaps>,
    pub sections: Sections,
    pub checks: Checks,
}

/// Checks a config. All that is wrong with it is in the answer.
pub fn check(config: Config, options: &RuntimeOptions, mut facts: Facts) -> Checked {
    let Config {
        bundle,
        text,
        file,
        spec,
        faults,
        warnings,
    } = config;
    let mut checks = Checks::new(faults, warnings);
    let linux = spec.linux().clone().unwrap_or_else(empty_linux);
    let joined_maps = facts.user_namespace.take();
    checks.section(&["ociVersion"], |_| version(spec.version()));
    checks.section(&["annotations"], |_| annotations::check(spec.annotations()));
    let namespaces = namespaces::namespaces(&linux, &facts, &mut checks);
    let id_maps = namespaces
        .as_ref()
        .and_then(|namespaces| id_map::container_maps(&linux, namespaces, &facts, joined_maps, &mut checks));
    let maps_known = id_maps.is_some();
    let (namespaces, id_maps) = (
        namespaces.unwrap_or_else(namespaces::all_new),
        id_maps.unwrap_or_default(),
    );
    let context = PlanContext {
        bundle: &bundle,
        spec: &spec,
        linux: &linux,
        options,
        facts: &facts,
        namespaces: &namespaces,
        id_maps: id_maps.as_ref(),
        maps_known,
    };
    let sections = Sections::of(&context, &mut checks);
    Checked {
        bundle,
        text,
        file,
        spec,
        namespaces,
        id_maps,
        sections,
        checks,
    }
}

/// The text with its places. A config that comes from no file (`mounts add` puts one together) has none to show.
pub fn source<'a>(text: &'a [u8], file: Option<&'a str>) -> Option<Source<'a>> {
    file.map(|file| Source {
        text,
        file: Some(file),
        within: "",
    })
}

impl Checked {
    /// The plan, or one error with everything that is wrong.
    fn plan(self) -> Result<Plan> {
        if self.checks.has_mistakes() {
            let (text, file) = (self.text, self.file);
            let source = source(&text, file.as_deref());
            return Err(checks::error_of(self.checks.mistakes(), source.as_ref()));
        }
        self.made().ok_or_else(|| checks::error_of(Vec::new(), None))
    }

    fn made(self) -> Option<Plan> {
        let Checked {
            bundle,
            text,
            spec,
            sections,
            checks,
            ..
        } = self;
        Some(Plan {
            oci_version: spec.version().clone(),
            annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
            namespaces: self.namespaces,
            id_maps: self.id_maps,
            time_offsets: sections.time_offsets?,
            net_devices: sections.net_devices?,
            intel_rdt: sections.intel_rdt?,
            rootfs: sections.rootfs.whole()?,
            hostname: sections.hostname?,
            domainname: sections.domainname?,
            sysctls: sections.sysctls?,
            process: sections.process?,
            hooks: sections.hooks?,
            cgroup: sections.cgroup?,
            bundle,
            config_text: text,
            warnings: checks.warnings,
            remarks: checks.remarks,
        })
    }
}

/// What becomes of the sections that depend on the namespaces and their maps. None: something in the section is wrong.
pub struct Sections {
    pub time_offsets: Option<Vec<TimeOffset>>,
    pub net_devices: Option<Vec<NetDevice>>,
    pub intel_rdt: Option<Option<IntelRdt>>,
    pub rootfs: rootfs::Parts,
    pub hostname: Option<Option<String>>,
    pub domainname: Option<Option<String>>,
    pub sysctls: Option<Vec<Sysctl>>,
    pub process: Option<Option<Process>>,
    pub hooks: Option<Hooks>,
    pub cgroup: Option<Cgroup>,
}

impl Sections {
    fn of(context: &PlanContext, checks: &mut Checks) -> Self {
        let time_offsets = namespaces::time_offsets(context, checks);
        let net_devices = net_devices::net_devices(context, checks);
        let intel_rdt = intel_rdt::intel_rdt(context, checks);
        let hostname = host_name(context, "hostname", context.spec.hostname(), checks);
        let domainname = host_name(context, "domainname", context.spec.domainname(), checks);
        let sysctls = sysctl::sysctls(
            context.linux.sysctl().iter().flatten(),
            domainname.as_ref().and_then(|name| name.as_deref()),
            context.namespaces,
            checks,
        );
        let mut process = process::of_container(context, checks);
        annotations::warn(context.spec.annotations(), &mut checks.warnings);
        let hooks = hooks::hooks(context.spec, checks);
        if let (Some(Some(process)), Some(hooks)) = (&process, &hooks) {
            checks.keep(can_fork_hooks(process, hooks));
        }
        let rootfs = rootfs::rootfs(context, checks);
        let cgroup = cgroup::cgroup(context, &rootfs.mounts, checks);
        if let Some(Some(process)) = &mut process
            && process.notify
            && rootfs.root_mode == Some(RootMode::Chroot)
        {
            // The directory with its socket would be mounted on the host.
            process.notify = false;
            let text = "NOTIFY_SOCKET is not passed on: this requires a separate mount namespace";
            checks.warnings.push(Warning::new("linux.namespaces", text));
        }
        Sections {
            time_offsets,
            net_devices,
            intel_rdt,
            rootfs,
            hostname,
            domainname,
            sysctls,
            process,
            hooks,
            cgroup,
        }
    }
}

/// `hostname` or `domainname`. Engines send an empty name for none.
fn host_name(
    context: &PlanContext,
    field: &str,
    value: &Option<String>,
    checks: &mut Checks,
) -> Option<Option<String>> {
    checks.section(&[field], |_| {
        let Some(name) = value.as_ref().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        if name.contains('\0') {
            return Err(anyhow!("contains a NUL byte")).context(At::new(field));
        }
        if !context.namespaces.has(libc::CLONE_NEWUTS) {
            return Err(with_hint(
                "requires a separate UTS namespace: setting it would change the host's",
                "add {\"type\": \"uts\"} to linux.namespaces",
            ))
            .context(At::new(field));
        }
        Ok(Some(name.clone()))
    })
}

/// The hooks of `hooks.startContainer` are children of the container's process, so its scheduling policy must allow fork(2).
fn can_fork_hooks(process: &Process, hooks: &Hooks) -> Result<()> {
    if hooks.start_container.is_empty() || !process.scheduling.forbids_fork() {
        return Ok(());
    }
    Err(with_hint(
        "a process of this policy may not fork, and it would have to fork the hooks of hooks.startContainer",
        "add SCHED_FLAG_RESET_ON_FORK to process.scheduler.flags",
    ))
    .context(At::object("process.scheduler.policy", "SCHED_DEADLINE"))
}

/// Checks the process object of a process that joins a container. `user_namespace`: it enters another user namespace.
pub fn joining(
    mut raw: RawProcess,
    options: &RuntimeOptions,
    facts: &Facts,
    user_namespace: bool,
) -> Result<(Process, Notes)> {
    let (process, checks) = check_joining(&mut raw, options, facts, user_namespace);
    let source = raw.file.as_ref().map(|file| file.source());
    checks.end(process, source.as_ref())
}

/// The same, with all that is wrong. The mistakes and warnings that are known already are taken out of `raw`.
pub fn check_joining(
    raw: &mut RawProcess,
    options: &RuntimeOptions,
    facts: &Facts,
    user_namespace: bool,
) -> (Option<Process>, Checks) {
    let mut checks = Checks::new(std::mem::take(&mut raw.faults), std::mem::take(&mut raw.warnings));
    let joining = process::Joining {
        process: &raw.process,
        linux: &raw.linux,
        annotations: &raw.annotations,
        added_capabilities: raw.added_capabilities,
        added_groups: &raw.added_groups,
        user_namespace,
    };
    let process = process::of_joining(&joining, options, facts, &mut checks);
    (process, checks)
}

/// An empty `linux`. (The default of the spec's type has namespaces, masks and resources.)
fn empty_linux() -> oci::Linux {
    let mut linux = oci::Linux::default();
    linux.set_namespaces(None);
    linux.set_resources(None);
    linux.set_masked_paths(None);
    linux.set_readonly_paths(None);
    linux
}

/// `ociVersion`: SemVer 2.0.0, and of the major version that this runtime supports.
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
            "this runtime supports version 1 of the runtime-spec",
            "write \"ociVersion\": \"1.3.0\"",
        ))
        .with_context(at);
    }
    Ok(())
}

/// Whether a version has the form of SemVer 2.0.0: three numbers, optionally `-` and a pre-release, optionally `+` and a
/// build. The latter two consist of identifiers separated by dots. Numbers have no leading zeros, except in a build.
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

    /// From the examples of SemVer 2.0.0.
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
