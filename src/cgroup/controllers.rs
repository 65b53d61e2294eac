//! The controllers that a leaf's limits need, enabled in what is above it. See cgroups(7), "Cgroups v2 controllers".

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use super::threads::{self, Kind, Wanted};
use super::{directory, mount, subtree_control};
use crate::error::{At, Cleanup, Context, Error, Result, call_with_hint, with_hint};
use crate::plan::limits::{Controller, Setting};
use crate::sys::{SysError, fs};

/// Whether systemd enables, disables and delegates a controller (systemd.resource-control(5), `Delegate=`). It does not touch
/// the others.
fn is_managed_by_systemd(controller: Controller) -> bool {
    matches!(
        controller,
        Controller::Cpu | Controller::Cpuset | Controller::Io | Controller::Memory | Controller::Pids
    )
}

/// Enables the controllers that the settings need in a leaf that systemd has made. Those that systemd manages it must have
/// already: the cgroups above it belong to systemd.
pub fn enable_in_unit(leaf: &Path, settings: &[Setting], enabled: &mut Enabled) -> Result<()> {
    let there = subtree_control::available(leaf)?;
    let (managed, others): (Vec<&Setting>, Vec<&Setting>) = settings
        .iter()
        .partition(|setting| setting.limit.controller().is_some_and(is_managed_by_systemd));
    for setting in managed {
        if let Some(controller) = setting.limit.controller()
            && !there.iter().any(|name| name == controller.name())
        {
            return Err(with_hint(
                format!(
                    "systemd has not given the cgroup controller {:?} to this scope",
                    controller.name()
                ),
                "the kernel must have it; for a user's systemd it is delegated by Delegate= in user@.service, see \
                 systemd.resource-control(5)",
            ))
            .with_context(|| At::object(setting.at.clone(), setting.limit.file()));
        }
    }
    enable(leaf, others, enabled)
}

/// Controllers that were enabled for a container in the cgroups above its own.
#[derive(Debug, Default)]
pub struct Enabled(Vec<(PathBuf, String)>);

impl Enabled {
    /// After a create that failed, when its leaf has been removed: disables the controllers that turned a cgroup with processes
    /// into a thread root, below which only threaded cgroups are usable. If other cgroups are below by now, they may rely on the
    /// controllers, which then stay enabled.
    pub fn take_back(&self) -> Result<()> {
        let mut cleanup = Cleanup::default();
        for (directory, controller) in self.0.iter().rev() {
            cleanup.step(disable(directory, controller).with_context(|| format!("cgroup {directory:?}")));
        }
        cleanup.end()
    }
}

fn disable(directory: &Path, controller: &str) -> Result<()> {
    let Some(fd) = directory::open_if_there(directory)? else {
        return Ok(());
    };
    // See `let_take_back`. Any other process that holds the lock is disabling controllers too.
    if threads::kind(directory)? != Some(Kind::ThreadRoot) || fs::flock(fd.as_fd()).is_err() {
        return Ok(());
    }
    if directory::descendants(directory)?.len() > 1 {
        return Ok(());
    }
    Ok(subtree_control::change(directory, &format!("-{controller}"))?)
}

/// Waits for a failed create that is disabling its controllers in a thread root above the leaf. It holds a lock and does so
/// only while there are no cgroups below; so once we have had the lock, it has either finished or will see our leaf.
fn let_take_back(above: &[PathBuf]) -> Result<()> {
    for directory in above {
        if threads::kind(directory)? != Some(Kind::ThreadRoot) {
            continue;
        }
        let fd = directory::open_directory(directory)?;
        // Any user who can open the directory can hold this lock, so the wait is short.
        for _ in 0..50 {
            match fs::flock(fd.as_fd()) {
                Err(error) if error.errno == Errno::EWOULDBLOCK => std::thread::sleep(Duration::from_millis(2)),
                other => {
                    other?;
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Enables the controllers that the settings need, in each cgroup from the mount down to the leaf's parent, and makes the leaf
/// threaded if it is in a threaded subtree. Combinations that the kernel does not allow are refused before anything changes.
pub fn enable<'a>(leaf: &Path, settings: impl IntoIterator<Item = &'a Setting>, enabled: &mut Enabled) -> Result<()> {
    let mut wanted = wanted(settings);
    let mut kind = threads::kind(leaf)?;
    let mut above = Vec::new();
    if matches!(kind, Some(Kind::Invalid | Kind::Threaded)) {
        above = above_of(leaf)?;
        let_take_back(&above)?;
        kind = threads::kind(leaf)?;
    }
    if !wanted.is_empty() {
        let there = subtree_control::available(leaf)?;
        wanted.retain(|(controller, _)| !there.iter().any(|name| name == controller.name()));
    }
    if wanted.is_empty() && kind != Some(Kind::Invalid) {
        return Ok(());
    }
    if above.is_empty() {
        above = above_of(leaf)?;
    }
    if let Some(mount) = above.first() {
        available(mount, mount, &wanted)?;
    }
    let conversion = threads::Conversion::new(leaf, &above, &wanted)?;
    for directory in &above {
        conversion.convert(directory)?;
        hand_down_wanted(directory, &wanted, enabled)?;
    }
    conversion.convert(leaf)
}

/// Why the controllers that the settings need could not be enabled above a leaf, as far as that can be told in advance.
/// Nothing is changed.
pub fn foretell(leaf: &Path, settings: &[Setting]) -> Result<()> {
    let wanted = wanted(settings);
    let above: Vec<PathBuf> = above_of(leaf)?.into_iter().filter(|above| above.exists()).collect();
    if let Some(mount) = above.first() {
        available(mount, mount, &wanted)?;
    }
    threads::Conversion::new(leaf, &above, &wanted)?;
    for directory in &above {
        let already = subtree_control::enabled(directory)?;
        for (controller, setting) in &wanted {
            let controller = controller.name();
            if !already.iter().any(|name| name == controller) {
                subtree_control::may_change(directory)
                    .map_err(|error| refused_controller(error, controller, directory))
                    .with_context(|| At::object(setting.at.clone(), setting.limit.file()))?;
            }
        }
    }
    Ok(())
}

/// The controllers that settings need, each with the first of them.
fn wanted<'a>(settings: impl IntoIterator<Item = &'a Setting>) -> Vec<Wanted<'a>> {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut known = BTreeSet::new();
    for setting in settings {
        if let Some(controller) = setting.limit.controller()
            && known.insert(controller)
        {
            wanted.push((controller, setting));
        }
    }
    wanted
}

/// The cgroups from the mount down to the leaf's parent.
fn above_of(leaf: &Path) -> Result<Vec<PathBuf>> {
    let mount = mount::mount_point()?;
    let above = leaf
        .ancestors()
        .skip(1)
        .take_while(|directory| directory.starts_with(&mount));
    let mut above: Vec<PathBuf> = above.map(PathBuf::from).collect();
    above.reverse();
    Ok(above)
}

/// Checks that a cgroup has all of these controllers.
fn available(directory: &Path, mount: &Path, wanted: &[Wanted]) -> Result<()> {
    let available = subtree_control::available(directory)?;
    for (controller, setting) in wanted {
        let controller = controller.name();
        if !available.iter().any(|name| name == controller) {
            return Err(with_hint(
                format!("the cgroup controller {controller:?} is not available in {directory:?}"),
                unavailable(directory, mount),
            ))
            .with_context(|| At::object(setting.at.clone(), setting.limit.file()));
        }
    }
    Ok(())
}

fn hand_down_wanted(directory: &Path, wanted: &[Wanted], enabled: &mut Enabled) -> Result<()> {
    let already = subtree_control::enabled(directory)?;
    for (controller, setting) in wanted {
        let controller = controller.name();
        if already.iter().any(|name| name == controller) {
            continue;
        }
        subtree_control::change(directory, &format!("+{controller}"))
            .map_err(|error| refused_controller(error, controller, directory))
            .with_context(|| At::object(setting.at.clone(), setting.limit.file()))?;
        enabled.0.push((directory.into(), controller.into()));
    }
    Ok(())
}

/// Enables all available controllers in a parent cgroup that was created for a container, because the statistics of a container
/// without limits are wanted too (`events`, and engines that read them). A controller that is not available is reported when a
/// limit needs it, see [`enable`].
pub fn hand_down(directory: &Path) {
    subtree_control::enable_all(directory);
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
            "a cgroup with processes in it cannot enable this controller for its children (it can enable cpu, cpuset and pids, \
             while no cgroup below it has processes): choose another linux.cgroupsPath"
        }
        Errno::EOPNOTSUPP | Errno::EINVAL => {
            "a threaded cgroup, or one with real-time processes, cannot enable it: choose another linux.cgroupsPath"
        }
        Errno::EACCES | Errno::EPERM => {
            "this part of the tree is not delegated to this user; run under `systemd-run --user --scope -p Delegate=yes`, \
             or as root"
        }
        Errno::EROFS => "the cgroup file system is mounted read-only here",
        _ => "see the kernel's log",
    };
    call_with_hint(
        error,
        format!("enabling the cgroup controller {controller:?} in {directory:?}"),
        cure,
    )
}
