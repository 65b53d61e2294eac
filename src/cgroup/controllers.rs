//! The controllers that a leaf's limits need, enabled in what is above it. See cgroups(7), "Cgroups v2 controllers".

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::mount;
use super::resources::Setting;
use crate::error::{At, Context, Error, Result, cured, hinted};
use crate::sys::{SysError, fs};

/// The controllers that systemd enables, disables and delegates (systemd.resource-control(5), `Delegate=`). It leaves all others
/// as they are, to whoever wants them.
const SYSTEMDS: &[&str] = &["cpu", "cpuset", "io", "memory", "pids"];

/// Sees that a leaf that systemd has made has the controllers that the settings need. Those of systemd's it has, or was not
/// given: what is above it is systemd's.
pub fn enable_in_unit(leaf: &Path, settings: &[Setting]) -> Result<()> {
    let there = words(leaf, "cgroup.controllers")?;
    let is_systemds = |setting: &&Setting| setting.controller().is_some_and(|name| SYSTEMDS.contains(&name));
    for setting in settings.iter().filter(is_systemds) {
        if let Some(controller) = setting.controller()
            && !there.iter().any(|name| name == controller)
        {
            return Err(hinted(
                format!("systemd has not given the cgroup controller {controller:?} to this scope"),
                "the kernel must have it; for a user's systemd it is delegated by Delegate= in user@.service, see \
                 systemd.resource-control(5)",
            ))
            .with_context(|| At::object(setting.at.clone(), &setting.file));
        }
    }
    let others: Vec<Setting> = settings
        .iter()
        .filter(|setting| !is_systemds(setting))
        .cloned()
        .collect();
    enable(leaf, &others)
}

/// Enables the controllers that the settings need, in each cgroup from the mount down to the leaf's parent.
pub fn enable(leaf: &Path, settings: &[Setting]) -> Result<()> {
    let mut wanted: Vec<(&str, &Setting)> = Vec::new();
    let mut known = BTreeSet::new();
    for setting in settings {
        if let Some(controller) = setting.controller()
            && known.insert(controller)
        {
            wanted.push((controller, setting));
        }
    }
    let there = words(leaf, "cgroup.controllers")?;
    wanted.retain(|(controller, _)| !there.iter().any(|name| name == controller));
    if wanted.is_empty() {
        return Ok(());
    }
    let mount = mount::mount_point()?;
    let mut above: Vec<PathBuf> = leaf
        .ancestors()
        .skip(1)
        .take_while(|directory| directory.starts_with(&mount))
        .map(PathBuf::from)
        .collect();
    above.reverse();
    for directory in above {
        let available = words(&directory, "cgroup.controllers")?;
        let enabled = words(&directory, "cgroup.subtree_control")?;
        for (controller, setting) in &wanted {
            if enabled.iter().any(|name| name == controller) {
                continue;
            }
            let at = || At::object(setting.at.clone(), &setting.file);
            if !available.iter().any(|name| name == controller) {
                return Err(hinted(
                    format!("the cgroup controller {controller:?} is not available in {directory:?}"),
                    unavailable(&directory, &mount),
                ))
                .with_context(at);
            }
            let control = fs::open(&directory.join("cgroup.subtree_control"), libc::O_WRONLY);
            control
                .and_then(|control| fs::write(control.as_fd(), format!("+{controller}").as_bytes()))
                .map_err(|error| refused_controller(error, controller, &directory))
                .with_context(at)?;
        }
    }
    Ok(())
}

/// A cgroup that is made for what goes below it hands down all controllers that it gets itself, for the figures of one
/// without limits are wanted too (`events`, and engines that read them). One that is not to be had is told where it is
/// needed, see [`enable`].
pub fn hand_down(directory: &Path) {
    let controllers = words(directory, "cgroup.controllers").unwrap_or_default();
    let Ok(control) = fs::open(&directory.join("cgroup.subtree_control"), libc::O_WRONLY) else {
        return;
    };
    for controller in controllers {
        // One by one, so that none keeps back the others.
        let _ = fs::write(control.as_fd(), format!("+{controller}").as_bytes());
    }
}

fn unavailable(directory: &Path, mount: &Path) -> String {
    if directory == mount {
        "the kernel lacks it, a boot parameter disables it (cgroup_disable=), or on a hybrid host version 1 has it: boot \
         with systemd.unified_cgroup_hierarchy=1"
            .into()
    } else {
        "it is not delegated to this part of the tree: enable it in the cgroup.subtree_control above".into()
    }
}

fn refused_controller(error: SysError, controller: &str, directory: &Path) -> Error {
    let cure = match error.errno {
        // cgroups(7), "no internal processes".
        Errno::EBUSY => {
            "a cgroup with processes in it cannot hand this controller down: choose another linux.cgroupsPath"
        }
        Errno::EOPNOTSUPP | Errno::EINVAL => {
            "a threaded cgroup, or one with real-time processes, cannot hand it down: choose another linux.cgroupsPath"
        }
        Errno::EACCES | Errno::EPERM => {
            "this part of the tree is not delegated to this user; run under `systemd-run --user --scope -p Delegate=yes`, \
             or as root"
        }
        Errno::EROFS => "the cgroup file system is mounted read-only here",
        _ => "see the kernel's log",
    };
    cured(
        error,
        format!("enabling the cgroup controller {controller:?} in {directory:?}"),
        cure,
    )
}

fn words(directory: &Path, file: &str) -> Result<Vec<String>> {
    let text = fs::open(&directory.join(file), libc::O_RDONLY).and_then(|fd| fs::read_all(fd.as_fd(), 64 << 10))?;
    Ok(String::from_utf8_lossy(&text)
        .split_ascii_whitespace()
        .map(str::to_string)
        .collect())
}
