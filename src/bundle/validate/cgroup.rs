//! `linux.cgroupsPath` and `linux.resources`: the container's place in the cgroup tree and its rules.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime as oci;

use super::options::{Cgroups, PlanContext};
use crate::bundle::checks::Checks;
use crate::cgroup::devices;
use crate::cgroup::resources;
use crate::cgroup::systemd::{annotations, properties, unit};
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::plan::limits::Limits;
use crate::plan::{Cgroup, DeviceRule, Mount, MountKind, Optional, Scope};

/// The container's cgroup. None if something about it is wrong.
pub fn cgroup(context: &PlanContext, mounts: &[Mount], checks: &mut Checks) -> Option<Cgroup> {
    let linux = context.linux;
    let resources = linux.resources().as_ref();
    let devices = checks.section(&["linux", "resources", "devices"], |checks| {
        Ok(device_rules(resources, checks))
    });
    let limits = checks.section(&["linux", "resources"], |_| limits(linux, context.spec.version()));
    let path = checks.section(&["linux", "cgroupsPath"], |_| match context.options.cgroup {
        Cgroups::Systemd(_) => Ok(linux.cgroups_path().clone()),
        Cgroups::Files(_) | Cgroups::None => path(linux),
    });
    let mut limits = limits?;
    let scope = match &context.options.cgroup {
        Cgroups::Files(_) => None,
        Cgroups::Systemd(id) => Some(checks.keep(scope(id, context, &mut limits))?),
        Cgroups::None => {
            checks.keep(no_cgroup(path.as_ref()?.as_deref(), &limits))?;
            None
        }
    };
    let optional = match context.options.cgroup {
        // Nothing is requested that requires a separate cgroup.
        Cgroups::Files(optional) if linux.cgroups_path().is_none() && limits.settings.is_empty() => optional,
        _ => Optional::Never,
    };
    let owner = owner(context, mounts).filter(|owner| Some(*owner) != context.facts.user);
    Some(Cgroup {
        path: path?,
        devices: devices?,
        limits,
        owner,
        scope,
        none: matches!(context.options.cgroup, Cgroups::None),
        optional,
    })
}

/// `linux.cgroupsPath`: a name below some other cgroup.
fn path(linux: &oci::Linux) -> Result<Option<PathBuf>> {
    let Some(path) = linux
        .cgroups_path()
        .as_ref()
        .filter(|path| !path.as_os_str().is_empty())
    else {
        return Ok(None);
    };
    let at = || At::object("linux.cgroupsPath", path.display());
    if path.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(anyhow!("must not contain \"..\"")).with_context(at);
    }
    if !path.components().any(|part| matches!(part, Component::Normal(_))) {
        return Err(with_hint(
            "names the root of the tree",
            "a container needs a separate cgroup: give it a name",
        ))
        .with_context(at);
    }
    Ok(Some(path.clone()))
}

/// With `--cgroup-manager disabled` there is no cgroup, so nothing may require one. Rules for devices do not count: every
/// engine sends some, and a user who disables cgroups knows that they have no effect.
fn no_cgroup(path: Option<&Path>, limits: &Limits) -> Result<()> {
    let hint = "leave it out, or leave out --cgroup-manager for the container to have a cgroup";
    if let Some(path) = path {
        return Err(with_hint("cgroups are disabled (--cgroup-manager disabled)", hint))
            .context(At::object("linux.cgroupsPath", path.display()));
    }
    if let Some(setting) = limits.settings.first() {
        return Err(with_hint(
            "requires a cgroup, and cgroups are disabled (--cgroup-manager disabled)",
            hint,
        ))
        .context(At::object(&setting.at, setting.limit.file()));
    }
    Ok(())
}

/// The scope that systemd makes. Changes limits to values that systemd can keep.
fn scope(id: &str, context: &PlanContext, limits: &mut Limits) -> Result<Scope> {
    let user = !context.facts.root_of_host;
    let path = context.linux.cgroups_path().as_ref();
    let path = path.map(|path| path.to_str().unwrap_or_default());
    let properties = annotations::properties(context.spec.annotations().iter().flatten())?;
    if let Some((name, _)) = properties.iter().find(|(name, _)| OURS.contains(&name.as_str())) {
        return Err(with_hint(
            "orlop sets this property itself, and it cannot be changed",
            "leave it out; the slice follows from linux.cgroupsPath",
        ))
        .context(At::new(format!("annotations.{}{name}", annotations::PREFIX)));
    }
    properties::round_cpu_quota(&mut limits.settings);
    // Checked now, to report its mistakes before anything is done.
    unit::unit(path, id, user)?;
    Ok(Scope {
        path: path.map(str::to_string),
        user,
        properties,
    })
}

/// Properties that no annotation may change.
const OURS: &[&str] = &["Delegate", "PIDFDs", "PIDs", "Slice"];

/// The rules of `linux.resources.devices` in their order, then those for the devices that every container may use.
fn device_rules(resources: Option<&oci::LinuxResources>, checks: &mut Checks) -> Vec<DeviceRule> {
    let listed = resources.and_then(|resources| resources.devices().as_deref());
    let listed = listed.unwrap_or_default().iter().enumerate();
    let mut rules: Vec<_> = listed
        .filter_map(|(index, entry)| checks.keep(devices::rule(index, entry)))
        .collect();
    rules.extend(devices::default_rules());
    rules
}

/// All of `linux.resources` except the devices.
pub fn limits(linux: &oci::Linux, oci_version: &str) -> Result<Limits> {
    match linux.resources() {
        Some(resources) => resources::convert(resources, oci_version),
        None => Ok(Limits::default()),
    }
}

/// The user of the host that owns the leaf if the container may manage its part of the tree: it sees only that part, in a
/// new cgroup namespace, and may write to it (config-linux.md, "Cgroup ownership").
fn owner(context: &PlanContext, mounts: &[Mount]) -> Option<u32> {
    let writable = |mount: &Mount| {
        mount.kind == MountKind::Cgroup
            && mount.destination == Path::new("/sys/fs/cgroup")
            && !mount.options.is_read_only()
    };
    if !context.namespaces.makes(libc::CLONE_NEWCGROUP) || !mounts.iter().any(writable) {
        return None;
    }
    let inside = context
        .spec
        .process()
        .as_ref()
        .map_or(0, |process| process.user().uid());
    let Some(maps) = context.id_maps else {
        return Some(inside);
    };
    let map = maps.uid.iter().find(|map| map.holds(inside))?;
    Some(map.host + (inside - map.container))
}
