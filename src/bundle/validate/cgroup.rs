//! `linux.cgroupsPath` and `linux.resources`: the container's place in the cgroup tree and its rules.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime as oci;

use crate::bundle::document::Spec;
use crate::cgroup::resources;
use crate::cgroup::systemd::{annotations, properties, unit};
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::plan::limits::Limits;
use crate::plan::{IdMaps, Mount, MountKind, Namespaces, Scope};
use crate::sys::process;

/// `linux.cgroupsPath`: a name below some other cgroup.
pub fn path(linux: &oci::Linux) -> Result<Option<PathBuf>> {
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
            "a container needs a cgroup of its own: give that a name",
        ))
        .with_context(at);
    }
    Ok(Some(path.clone()))
}

/// That nothing is asked of a cgroup which is not to be made (`--cgroup-manager disabled`). Rules for devices are no such thing: every
/// engine sends some, and who asks for no cgroup has been told.
pub fn needless(linux: &oci::Linux, limits: &Limits) -> Result<()> {
    let cure = "leave it out, or let the container have a cgroup: leave out --cgroup-manager";
    if let Some(path) = path(linux)? {
        return Err(with_hint("there is to be no cgroup (--cgroup-manager disabled)", cure))
            .context(At::object("linux.cgroupsPath", path.display()));
    }
    if let Some(setting) = limits.settings.first() {
        return Err(with_hint(
            "is set in a cgroup, and there is to be none (--cgroup-manager disabled)",
            cure,
        ))
        .context(At::object(&setting.at, setting.limit.file()));
    }
    Ok(())
}

/// The scope that systemd is to create. Changes the limits to what systemd can store.
pub fn scope(id: &str, spec: &Spec, linux: &oci::Linux, limits: &mut Limits) -> Result<Scope> {
    let user = !process::is_root_of_host();
    let path = linux
        .cgroups_path()
        .as_ref()
        .map(|path| path.to_str().unwrap_or_default());
    let properties = annotations::properties(spec.annotations().iter().flatten())?;
    if let Some((name, _)) = properties.iter().find(|(name, _)| OURS.contains(&name.as_str())) {
        return Err(with_hint(
            "orlop sets this property itself, and it cannot be changed",
            "leave it out; the slice follows from linux.cgroupsPath",
        ))
        .context(At::new(format!("annotations.{}{name}", annotations::PREFIX)));
    }
    properties::round_cpu_quota(&mut limits.settings);
    // Mistakes in it are reported before anything is done.
    unit::unit(path, id, user)?;
    Ok(Scope {
        path: path.map(str::to_string),
        user,
        properties,
    })
}

/// Properties that no annotation may change.
const OURS: &[&str] = &["Delegate", "PIDFDs", "PIDs", "Slice"];

/// All of `linux.resources` except the devices.
pub fn limits(linux: &oci::Linux, oci_version: &str) -> Result<Limits> {
    match linux.resources() {
        Some(resources) => resources::convert(resources, oci_version),
        None => Ok(Limits::default()),
    }
}

/// Who on the host shall own the leaf, if the container may manage its part of the tree: it sees just that part, in a new
/// cgroup namespace, and may write to it (config-linux.md, "Cgroup ownership").
pub fn owner(spec: &Spec, mounts: &[Mount], namespaces: &Namespaces, maps: Option<&IdMaps>) -> Option<u32> {
    let writable = |mount: &Mount| {
        mount.kind == MountKind::Cgroup
            && mount.destination == Path::new("/sys/fs/cgroup")
            && !mount.options.is_read_only()
    };
    if !namespaces.makes(libc::CLONE_NEWCGROUP) || !mounts.iter().any(writable) {
        return None;
    }
    let inside = spec.process().as_ref().map_or(0, |process| process.user().uid());
    let Some(maps) = maps else { return Some(inside) };
    let map = maps
        .uid
        .iter()
        .find(|map| inside >= map.container && inside - map.container < map.size)?;
    Some(map.host + (inside - map.container))
}
