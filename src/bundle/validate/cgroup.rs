//! `linux.cgroupsPath` and `linux.resources`: the container's place in the cgroup tree and its rules.

use std::path::{Component, PathBuf};

use oci_spec::runtime as oci;

use crate::cgroup::devices;
use crate::error::{At, Context, Result, anyhow, hinted};

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
        return Err(hinted(
            "names the root of the tree",
            "a container needs a cgroup of its own: give that a name",
        ))
        .with_context(at);
    }
    Ok(Some(path.clone()))
}

/// The rules of `linux.resources.devices` in their order, then the devices that every container may use.
pub fn device_rules(linux: &oci::Linux) -> Result<Vec<devices::Rule>> {
    let listed = linux
        .resources()
        .as_ref()
        .and_then(|resources| resources.devices().as_deref())
        .unwrap_or_default();
    let mut rules = Vec::new();
    for (index, entry) in listed.iter().enumerate() {
        let kind = entry.typ().map(|kind| kind.as_str().to_string());
        let rule = devices::Rule::from_spec(
            entry.allow(),
            kind.as_deref(),
            entry.major(),
            entry.minor(),
            entry.access().as_deref(),
        )
        .with_context(|| At::new(format!("linux.resources.devices[{index}]")))?;
        rules.push(rule);
    }
    rules.extend(devices::default_rules());
    Ok(rules)
}
