//! Writing limits to the files of a leaf, and giving the leaf to a container that may manage its own part of the tree.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::controllers::{Enabled, enable, enable_in_unit};
use super::directory::read;
use super::systemd::Systemd;
use super::tree::Leaf;
use crate::error::{At, Context, Error, Result, Step, call_with_hint, with_hint};
use crate::log;
use crate::plan::Cgroup;
use crate::plan::limits::{Controller, Limit, Limits, Max, Setting};
use crate::sys::{SysError, SysResult, fs};

/// Writes the limits of a new container.
pub fn apply(leaf: &Leaf, plan: &Cgroup, enabled: &mut Enabled) -> Result<()> {
    let mut apply = || -> Result<()> {
        let settings = &plan.limits.settings;
        let unit = leaf.place.unit.is_some();
        if !unit {
            enable(&leaf.place.path, settings, enabled)?;
        } else if !settings.is_empty() {
            enable_in_unit(&leaf.place.path, settings, enabled)?;
        }
        if !settings.is_empty() {
            check_usage(leaf.fd(), &plan.limits)?;
            for setting in settings.iter().filter(|setting| !setting.comes_late(unit)) {
                open_and_write(leaf.fd(), setting)?;
            }
        }
        Ok(())
    };
    apply().context(Step::Cgroup)
}

/// Does what can only be done once init is in the leaf: writes the remaining limits and gives the leaf away.
pub fn close(leaf: &Leaf, plan: &Cgroup, systemd: Option<&mut Systemd>) -> Result<()> {
    let unit = leaf.place.unit.as_ref();
    let settings = plan.limits.settings.iter();
    let late: Vec<Setting> = settings
        .filter(|setting| setting.comes_late(unit.is_some()))
        .cloned()
        .collect();
    let close = || -> Result<()> {
        if let (Some(unit), Some(systemd), false) = (unit, systemd, late.is_empty()) {
            systemd.set(&unit.name, &late)?;
        }
        late.iter().try_for_each(|setting| open_and_write(leaf.fd(), setting))?;
        // Not earlier: if init is created by a process in another user namespace, that process could not have moved init into a
        // cgroup that belongs to another user.
        plan.owner.map_or(Ok(()), |owner| delegate(leaf.fd(), owner))
    };
    close().context(Step::Cgroup)
}

/// `memory.checkBeforeUpdate`: the OOM killer would enforce a limit below current usage. The error names all limits that are too
/// low.
pub fn check_usage(leaf: BorrowedFd, limits: &Limits) -> Result<()> {
    let Some(asked) = limits.not_below_usage else {
        return Ok(());
    };
    if asked.memory.or(asked.memory_and_swap).is_none() {
        return Ok(());
    }
    let memory: u64 = read(leaf, "memory.current")?.trim().parse().unwrap_or(0);
    // The file does not exist if the kernel does not count swap.
    let swap: u64 = match asked.memory_and_swap.map(|_| read(leaf, "memory.swap.current")) {
        Some(Ok(text)) => text.trim().parse().unwrap_or(0),
        Some(Err(error)) if error.errno != Errno::ENOENT => return Err(error.into()),
        _ => 0,
    };
    let both = memory.saturating_add(swap);
    let mut places = Vec::new();
    let mut reasons = Vec::new();
    for (place, what, limit, used) in [
        ("limit", "memory", asked.memory, memory),
        ("swap", "memory+swap", asked.memory_and_swap, both),
    ] {
        if let Some(limit) = limit.filter(|limit| used > *limit) {
            places.push(format!("linux.resources.memory.{place}"));
            reasons.push(format!("rejecting {what} limit {limit}: {used} bytes are in use"));
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(with_hint(
        format!("{}; memory.checkBeforeUpdate is set", reasons.join("; ")),
        "processes would be killed; free memory first, or leave checkBeforeUpdate out",
    ))
    .context(At::new(places.join(", ")))
}

/// A warning if the new memory limit is below current usage: the kernel enforces it at once, by reclaim and then by the OOM
/// killer. None if usage is below the limit or cannot be read.
pub fn below_usage(leaf: BorrowedFd, settings: &[Setting]) -> Option<String> {
    // The last one written counts.
    let last = settings.iter().rev().find_map(|setting| match setting.limit.known() {
        Limit::MemoryMax(max) => Some((&setting.at, *max)),
        _ => None,
    });
    let (at, Max::At(limit)) = last? else { return None };
    let used: u64 = read(leaf, "memory.current").ok()?.trim().parse().ok()?;
    (used > limit).then(|| {
        format!(
            "{at}: {used} bytes are in use, more than the new limit of {limit}, so the kernel reclaims memory and may kill \
             processes of the container; with memory.checkBeforeUpdate set such an update is refused"
        )
    })
}

/// The open file that a limit is written to.
pub struct Target {
    fd: OwnedFd,
    /// The limit itself, or the one to set where the kernel lacks its file.
    pub limit: Limit,
}

/// Opens a limit's file, or its fallback's. `None` where the kernel has neither and the limit does not need one.
pub fn target(leaf: BorrowedFd, setting: &Setting) -> Result<Option<Target>> {
    let limit = &setting.limit;
    let fallback = limit.fallback();
    for limit in std::iter::once(limit).chain(&fallback) {
        let file = limit.file();
        match fs::openat(leaf, Path::new(&*file), libc::O_WRONLY, 0) {
            Ok(fd) => {
                let limit = limit.clone();
                return Ok(Some(Target { fd, limit }));
            }
            Err(error) if error.errno == Errno::ENOENT => {}
            Err(error) => return Err(error).with_context(|| At::object(setting.at.clone(), file)),
        }
    }
    if limit.is_optional() {
        return Ok(None);
    }
    let other = fallback.map(|fallback| format!(", nor {}", fallback.file()));
    Err(with_hint(
        format!(
            "the kernel has no file {}{} in this cgroup",
            limit.file(),
            other.unwrap_or_default()
        ),
        match limit.controller_of_file() {
            Some(Controller::Hugetlb) => "the sizes of huge pages of this machine are in /sys/kernel/mm/hugepages",
            _ if limit.is_on_swap() => "boot with swapaccount=1, or leave memory.swap out",
            Some(Controller::Io) => "weights need the BFQ scheduler or io.cost in the kernel; throttles need neither",
            _ => "it may be new in a later kernel, or disabled by the kernel's build or boot options",
        },
    ))
    .with_context(|| At::object(setting.at.clone(), limit.file()))
}

fn open_and_write(leaf: BorrowedFd, setting: &Setting) -> Result<()> {
    match target(leaf, setting)? {
        Some(target) => write(&target, setting),
        None => Ok(()),
    }
}

/// Writes a limit to its open file.
pub fn write(target: &Target, setting: &Setting) -> Result<()> {
    let (file, text) = (target.limit.file(), target.limit.text());
    let put = || match fs::write(target.fd.as_fd(), text.as_bytes()) {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(error, &target.limit)),
    };
    put().with_context(|| At::object(setting.at.clone(), file))
}

fn refused(error: SysError, limit: &Limit) -> Error {
    let cure = match error.errno {
        Errno::EINVAL | Errno::ERANGE => {
            "the kernel does not accept this value; see its cgroup-v2 document for the range"
        }
        Errno::ENODEV if limit.controller_of_file() == Some(Controller::Io) => {
            "there is no such block device; `lsblk` shows the numbers"
        }
        Errno::ENODEV => "there is no such device",
        Errno::EBUSY => "more than that is in use, and cannot be reclaimed",
        Errno::ENOSPC => "none of these CPUs or memory nodes is available",
        Errno::EACCES | Errno::EPERM => "this part of the tree is not delegated to this user",
        Errno::EOPNOTSUPP if matches!(limit.known(), Limit::IoWeight { .. }) => {
            "io.cost is not enabled for this device: write \"MAJOR:MINOR enable=1\" to the io.cost.qos of the top cgroup, or \
             use the BFQ scheduler for the device"
        }
        _ => return error.into(),
    };
    call_with_hint(error, format!("writing {:?} to {}", limit.text(), limit.file()), cure)
}

/// The files that the owner of a delegated cgroup may write, besides the directory (cgroups(7), "Delegation").
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Gives the leaf to the user that the container's process runs as, so that it can create cgroups below.
fn delegate(leaf: BorrowedFd, owner: u32) -> Result<()> {
    const SAME_GROUP: u32 = u32::MAX;
    let list = fs::open(Path::new("/sys/kernel/cgroup/delegate"), libc::O_RDONLY)
        .and_then(|fd| fs::read_all(fd.as_fd(), 64 << 10))
        .map_or_else(|_| DELEGATED.into(), |list| String::from_utf8_lossy(&list).into_owned());
    let give = || -> SysResult<()> {
        fs::fchown(leaf, owner, SAME_GROUP)?;
        for file in list.lines() {
            match fs::openat(leaf, Path::new(file), libc::O_PATH | libc::O_NOFOLLOW, 0) {
                // The list also has files of controllers that are not enabled here.
                Err(error) if error.errno == Errno::ENOENT => {}
                file => fs::fchown(file?.as_fd(), owner, SAME_GROUP)?,
            }
        }
        Ok(())
    };
    match give() {
        // An unprivileged caller cannot give files away. The container then cannot create cgroups below its leaf.
        Err(error) if error.errno == Errno::EPERM && !crate::sys::process::is_root_of_host() => {
            log::debug(|| format!("the cgroup is not given away: {error}"));
            Ok(())
        }
        other => other.context("giving the cgroup to the container's user"),
    }
}
