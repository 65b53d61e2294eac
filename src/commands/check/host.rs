//! What the host lacks for a config, told with the errors that `create` would give. Nothing is changed: files are only looked
//! at, and the answers are those for the user who asks.

use std::path::Path;

use nix::errno::Errno;

use super::findings::{Code, Findings, Level};
use crate::bundle::validate::Checked;
use crate::cgroup::tree;
use crate::error::{At, Context, Error, Result, Step, call_with_hint, with_hint};
use crate::hooks;
use crate::host::kernel;
use crate::idmap;
use crate::init::files::Own;
use crate::init::{diagnose, limits, lookup};
use crate::net::devices;
use crate::plan::{HookPoint, Hooks, IdMaps, Mount, MountKind, Namespaces, Reach};
use crate::security::lsm;
use crate::sys::process::{self, NAMESPACES};
use crate::sys::{Arg, SysError, Syscall, capabilities, fs, mount};

/// Adds everything that the host lacks. `id`: the container's, for its cgroup.
pub fn check(checked: &Checked, id: &str, findings: &mut Findings) {
    let sections = &checked.sections;
    let user_namespace = checked.namespaces.has(libc::CLONE_NEWUSER);
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    for mount in &sections.rootfs.mounts {
        keep(Code::MountSource, source(mount, user_namespace), findings);
        sources_of_new(mount, &known, findings);
        keep(Code::FileSystem, file_system(mount, &known, &is_module), findings);
    }
    let host = Host::own();
    namespaces(&checked.namespaces, &host, findings);
    if let Some(maps) = checked
        .id_maps
        .as_ref()
        .filter(|_| checked.namespaces.makes(libc::CLONE_NEWUSER))
    {
        keep(Code::IdMaps, idmap::foretell(maps, "linux"), findings);
    }
    for mount in &sections.rootfs.mounts {
        if let Some(id_map) = &mount.id_map {
            keep(Code::IdMaps, mapped(&id_map.maps, mount), findings);
        }
    }
    if let Some(cgroup) = &sections.cgroup {
        keep(Code::Cgroup, tree::foretell(cgroup, id), findings);
    }
    for sysctl in sections.sysctls.iter().flatten() {
        if !Path::new("/proc/sys").join(&sysctl.file).exists() {
            let path = format!("linux.sysctl[{:?}]", sysctl.key);
            let text = format!("{path}: the kernel has no such parameter in the caller's namespaces");
            findings.add(Level::Warning, Code::Sysctl, &path, text, None);
        }
    }
    for device in sections.net_devices.iter().flatten() {
        let found = devices::find(device).context(Step::NetworkDevices);
        keep(Code::NetworkDevice, found, findings);
    }
    if let Some(hooks) = &sections.hooks {
        of_hooks(hooks, findings);
    }
    if let Some(Some(process)) = &sections.process {
        let may_raise = process::is_root_of_host() && host.effective & capabilities::SYS_RESOURCE != 0;
        let most_files = diagnose::setting("fs.nr_open").and_then(|most| most.parse().ok());
        let step = if process.limits_from_outside {
            Step::Limits
        } else {
            Step::Rlimits
        };
        let limits = limits::foretell(process, may_raise, most_files).context(step);
        keep(Code::Rlimit, limits, findings);
    }
    if let Some(Some(process)) = &sections.process
        && let Some(profile) = &process.apparmor_profile
        && let Ok(loaded) = std::fs::read_to_string("/sys/kernel/security/apparmor/profiles")
    {
        keep(
            Code::Profile,
            lsm::foretell(profile, &loaded).context(Step::Labels),
            findings,
        );
    }
    super::kernel::check(checked, kernel::number(&kernel::version().0), findings);
}

fn keep(code: Code, result: Result<()>, findings: &mut Findings) {
    if let Err(error) = result {
        findings.error(code, &error);
    }
}

/// The source of a bind mount must exist.
fn source(entry: &Mount, user_namespace: bool) -> Result<()> {
    let MountKind::Bind { source, inside: None } = &entry.kind else {
        return Ok(());
    };
    let flags = if entry.nofollow.source {
        libc::O_PATH | libc::O_NOFOLLOW
    } else {
        libc::O_PATH
    };
    let Err(error) = fs::open(source, flags) else {
        return Ok(());
    };
    // Init is root in the user namespace, and may have privileges that an unprivileged caller lacks.
    if error.errno == Errno::EACCES && user_namespace && process::effective_uid() != 0 {
        return Ok(());
    }
    let recursive = entry.options.bind == Some(Reach::Recursive);
    let call = mount::clone_error(source, recursive, entry.nofollow.source, error.errno);
    Err(call)
        .context(At::object(format!("{}.source", entry.place()), source.display()))
        .context(Step::Mounts)
}

/// A file system on a device needs the device, and an overlay its directories. Only absolute paths are looked at: what a
/// relative one starts from depends on the file system.
fn sources_of_new(entry: &Mount, known: &str, findings: &mut Findings) {
    let MountKind::New { kind, source, .. } = &entry.kind else {
        return;
    };
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    if known.lines().any(|line| line.trim() == kind) {
        wanted.extend(source.as_deref().map(|source| ("the device", source)));
    }
    for option in entry.options.file_system_options().filter(|_| kind == "overlay") {
        let value = option.value().unwrap_or_default();
        match option.key() {
            "lowerdir" | "lowerdir+" => wanted.extend(value.split(':').map(|path| ("lowerdir", path))),
            key @ ("upperdir" | "workdir") => wanted.push((key, value)),
            _ => {}
        }
    }
    for (what, path) in wanted {
        // The backslash escapes a colon.
        if path.starts_with('/') && !path.contains('\\') && !Path::new(path).exists() {
            let text = format!("{what} {path:?} does not exist");
            let error = with_hint(
                text,
                "it is a path on the host, and must exist before the mount is made",
            );
            keep(Code::MountSource, Err(error).context(entry.at()), findings);
        }
    }
}

/// The kernel must know the type of a new file system, or have a module for it. `known`: the text of /proc/filesystems.
pub fn file_system(entry: &Mount, known: &str, is_module: &dyn Fn(&str) -> bool) -> Result<()> {
    let MountKind::New { kind, .. } = &entry.kind else {
        return Ok(());
    };
    // What follows a dot is only for the user: fuse.sshfs.
    let name = kind.split('.').next().unwrap_or_default();
    let has = |line: &str| line.split_whitespace().next_back() == Some(name);
    if known.lines().any(has) || is_module(name) {
        return Ok(());
    }
    Err(SysError::new(Syscall::Fsopen.of(kind.as_str()), Errno::ENODEV))
        .context(entry.at())
        .context(Step::Mounts)
}

/// Whether modprobe(8) would find a module for a file system.
fn is_module(name: &str) -> bool {
    let aliases = Path::new("/lib/modules")
        .join(kernel::version().0)
        .join("modules.alias");
    let begin = format!("alias fs-{name} ");
    std::fs::read_to_string(aliases).is_ok_and(|text| text.lines().any(|line| line.starts_with(&begin)))
}

/// What matters for new namespaces.
pub struct Host<'a> {
    pub uid: u32,
    /// The caller's effective capabilities.
    pub effective: u64,
    pub setting: &'a dyn Fn(&str) -> Option<String>,
    /// `CLONE_NEW*` of what the kernel lacks.
    pub missing: u64,
}

impl Host<'static> {
    fn own() -> Self {
        Host {
            uid: process::effective_uid(),
            effective: capabilities::capget().map_or(0, |sets| sets.effective),
            setting: &diagnose::setting,
            missing: kernel::missing_namespaces().iter().fold(0, |all, kind| all | kind.flag),
        }
    }
}

/// Whether the namespaces can be created, and those exist that are to be joined.
pub fn namespaces(namespaces: &Namespaces, host: &Host, findings: &mut Findings) {
    for joined in namespaces.joined.iter().filter(|joined| !joined.is_callers) {
        let opened = fs::open_namespace(&joined.path).map(drop);
        keep(
            Code::Namespaces,
            opened.with_context(|| joined.at()).context(Step::Namespaces),
            findings,
        );
    }
    let new = namespaces.new;
    let call = |errno| SysError::new(Syscall::Clone3.of(Arg::CloneFlags(new)), errno);
    let mut add = |level, error: Error| {
        findings.reported(
            level,
            Code::Namespaces,
            &error.context(Step::Clone).context(At::new("linux.namespaces")),
        );
    };
    if new & host.missing != 0 {
        let lacking = NAMESPACES.iter().filter(|kind| new & host.missing & kind.flag != 0);
        let names: Vec<&str> = lacking.map(|kind| kind.name).collect();
        add(
            Level::Error,
            Error::new(call(Errno::EINVAL)).context(format!("the kernel has no {} namespaces", names.join(" and "))),
        );
    }
    if let Some((text, cure)) = diagnose::cure(Errno::ENOSPC, host.uid, new, host.setting) {
        add(Level::Error, call_with_hint(call(Errno::ENOSPC), text, cure));
    }
    let user_namespace = namespaces.makes(libc::CLONE_NEWUSER) || namespaces.joins(libc::CLONE_NEWUSER).is_some();
    // An unprivileged user is told by the check of the config.
    if new != 0 && !user_namespace && host.uid == 0 && host.effective & capabilities::SYS_ADMIN == 0 {
        add(Level::Error, call(Errno::EPERM).into());
    }
    if let Some((text, cure)) = diagnose::cure(Errno::EPERM, host.uid, new, host.setting) {
        // A profile of AppArmor may make an exception for orlop.
        let only_restricted = (host.setting)("kernel.unprivileged_userns_clone").as_deref() != Some("0");
        let level = if only_restricted { Level::Warning } else { Level::Error };
        add(level, call_with_hint(call(Errno::EPERM), text, cure));
    }
}

/// The maps of an ID-mapped mount are those of a user namespace, which is made for it.
fn mapped(maps: &IdMaps, entry: &Mount) -> Result<()> {
    idmap::foretell(maps, &entry.place())
        .with_context(|| entry.at())
        .context(Step::Mounts)
}

/// The hooks that run on the host must be programs. Those of `startContainer` are looked up in the container's files.
fn of_hooks(hooks: &Hooks, findings: &mut Findings) {
    for (point, list) in hooks.all() {
        // `create` does not run the later ones, and their failure has no consequence.
        let level = match point {
            HookPoint::Poststart | HookPoint::Poststop => Level::Warning,
            _ => Level::Error,
        };
        if point == HookPoint::StartContainer {
            continue;
        }
        for (index, hook) in list.iter().enumerate() {
            let Some(errno) = lookup::refusal(hook.path(), &Own) else {
                continue;
            };
            let error = hooks::not_run(point, SysError::new(Syscall::Execve.of(hook.path()), errno));
            findings.reported(level, Code::Hook, &error.context(hooks::place(point, index, hook)));
        }
    }
}
