//! Limits written to a leaf, each value in its file, and the files handed to the container that may manage its own part of
//! the tree.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;

use super::controllers::{Enabled, enable, enable_in_unit};
use super::resources::{Limits, Setting};
use super::systemd::Systemd;
use super::tree::Leaf;
use crate::error::{At, Context, Result, Step, call_with_hint, with_hint};
use crate::log;
use crate::plan::Cgroup;
use crate::sys::{SysResult, fs};

/// The limits of a new container.
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
                write(leaf.fd(), setting)?;
            }
        }
        Ok(())
    };
    apply().context(Step("cgroup"))
}

/// What can only be done when init is in the leaf: to write some limits, and to give it away.
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
        late.iter().try_for_each(|setting| write(leaf.fd(), setting))?;
        // A process in another user namespace, which has made init there, could not have put it into somebody else's cgroup.
        plan.owner.map_or(Ok(()), |owner| delegate(leaf.fd(), owner))
    };
    close().context(Step("cgroup"))
}

/// `memory.checkBeforeUpdate`: a limit below what is in use would be enforced by the OOM killer. All that are too low are
/// named at once.
pub fn check_usage(leaf: BorrowedFd, limits: &Limits) -> Result<()> {
    let Some(asked) = limits.not_below_usage else {
        return Ok(());
    };
    if asked.memory.or(asked.memory_and_swap).is_none() {
        return Ok(());
    }
    let memory: u64 = read(leaf, "memory.current")?.trim().parse().unwrap_or(0);
    // Not there where the kernel counts no swap.
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
        format!("{}; and memory.checkBeforeUpdate is set", reasons.join("; ")),
        "processes would be killed; free memory first, or leave checkBeforeUpdate out",
    ))
    .context(At::new(places.join(", ")))
}

/// A warning if the new memory limit is below current usage: the kernel enforces it at once, by reclaim and then by the OOM
/// killer. None if usage is below the limit or cannot be read.
pub fn below_usage(leaf: BorrowedFd, settings: &[Setting]) -> Option<String> {
    let asked = settings.iter().rev().find(|setting| setting.file == "memory.max")?;
    let limit: u64 = asked.value.parse().ok()?;
    let used: u64 = read(leaf, "memory.current").ok()?.trim().parse().ok()?;
    (used > limit).then(|| {
        format!(
            "{}: {used} bytes are in use, more than the new limit of {limit}, so the kernel reclaims memory and may kill \
             processes of the container; with memory.checkBeforeUpdate set such an update is refused",
            asked.at
        )
    })
}

/// Opens the setting's file, or the one to use in its place; the second value is what to write there. `None` where the
/// kernel has neither and needs none.
pub fn file_of(
    leaf: BorrowedFd,
    setting: &Setting,
    flags: i32,
) -> Result<Option<(std::os::fd::OwnedFd, String, String)>> {
    let first = Some((setting.file.clone(), setting.value.clone()));
    for (file, value) in first.into_iter().chain(setting.fallback.clone()) {
        match fs::openat(leaf, Path::new(&file), flags, 0) {
            Ok(fd) => return Ok(Some((fd, file, value))),
            Err(error) if error.errno == Errno::ENOENT => {}
            Err(error) => return Err(error).with_context(|| At::object(setting.at.clone(), file)),
        }
    }
    if setting.optional {
        return Ok(None);
    }
    let other = setting.fallback.as_ref().map(|(file, _)| format!(", nor {file}"));
    Err(with_hint(
        format!(
            "the kernel has no file {}{} in this cgroup",
            setting.file,
            other.unwrap_or_default()
        ),
        match setting.file.split('.').next() {
            Some("hugetlb") => "the sizes of huge pages of this machine are in /sys/kernel/mm/hugepages",
            Some("memory") if setting.file.contains("swap") => "boot with swapaccount=1, or leave memory.swap out",
            Some("io") => "weights need the BFQ scheduler or io.cost in the kernel; throttles need neither",
            _ => "a newer kernel may have it, or it was built or booted without",
        },
    ))
    .with_context(|| At::object(setting.at.clone(), &setting.file))
}

/// Writes one setting.
fn write(leaf: BorrowedFd, setting: &Setting) -> Result<()> {
    let Some((fd, file, value)) = file_of(leaf, setting, libc::O_WRONLY)? else {
        return Ok(());
    };
    put(fd.as_fd(), &file, &value).with_context(|| At::object(setting.at.clone(), &file))
}

pub fn put(fd: BorrowedFd, file: &str, value: &str) -> Result<()> {
    fs::write(fd, value.as_bytes()).map(drop).map_err(|error| {
        let cure = match error.errno {
            Errno::EINVAL | Errno::ERANGE => {
                "the kernel does not take this value; see its cgroup-v2 document for the range"
            }
            Errno::ENODEV if file.starts_with("io.") => "there is no such block device; `lsblk` shows the numbers",
            Errno::ENODEV => "there is no such device",
            Errno::EBUSY => "what is in use is more than that, and cannot be given back",
            Errno::ENOSPC => "none of these CPUs or memory nodes is left to use",
            Errno::EACCES | Errno::EPERM => "this part of the tree is not delegated to this user",
            Errno::EOPNOTSUPP if file == "io.weight" => {
                "io.cost is not at work on this device: write \"MAJOR:MINOR enable=1\" to the io.cost.qos of the top cgroup, or let \
                 the device have the BFQ scheduler"
            }
            _ => return error.into(),
        };
        call_with_hint(error, format!("writing {value:?} to {file}"), cure)
    })
}

pub fn read_at(path: &Path) -> SysResult<String> {
    read_from(fs::CWD, path)
}

pub fn read(leaf: BorrowedFd, file: &str) -> SysResult<String> {
    read_from(leaf, Path::new(file))
}

fn read_from(directory: BorrowedFd, path: &Path) -> SysResult<String> {
    let fd = fs::openat(directory, path, libc::O_RDONLY, 0)?;
    let text = fs::read_all(fd.as_fd(), 1 << 20)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The files that their cgroup's owner may write, besides the directory (cgroups(7), "Delegation").
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Gives the leaf to the user that the container's process runs as, so that it can make cgroups below.
fn delegate(leaf: BorrowedFd, owner: u32) -> Result<()> {
    const SAME_GROUP: u32 = u32::MAX;
    let list = fs::open(Path::new("/sys/kernel/cgroup/delegate"), libc::O_RDONLY)
        .and_then(|fd| fs::read_all(fd.as_fd(), 64 << 10))
        .map_or_else(|_| DELEGATED.into(), |list| String::from_utf8_lossy(&list).into_owned());
    let give = || -> SysResult<()> {
        fs::fchown(leaf, owner, SAME_GROUP)?;
        for file in list.lines() {
            match fs::openat(leaf, Path::new(file), libc::O_PATH | libc::O_NOFOLLOW, 0) {
                // Not every controller of the list is enabled here.
                Err(error) if error.errno == Errno::ENOENT => {}
                file => fs::fchown(file?.as_fd(), owner, SAME_GROUP)?,
            }
        }
        Ok(())
    };
    match give() {
        // A caller without privilege can give nothing away; the container keeps its leaf, undivided.
        Err(error) if error.errno == Errno::EPERM && !crate::sys::process::is_root_of_host() => {
            log::debug(|| format!("the cgroup stays the caller's: {error}"));
            Ok(())
        }
        other => other.context("giving the cgroup to the container's user"),
    }
}
