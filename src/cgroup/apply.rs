//! Limits written to a leaf: the controllers enabled above it, each value in its file, the values from before put back when
//! one is refused, and the files handed to the container that may manage its own part of the tree.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::mount;
use super::resources::{Limits, Setting};
use super::systemd::Systemd;
use super::tree::Leaf;
use crate::bundle::plan::Cgroup;
use crate::error::{At, Context, Error, Result, Step, cured, hinted};
use crate::log;
use crate::sys::{SysError, SysResult, fs};

/// The limits of a new container, and the ownership of its leaf.
pub fn apply(leaf: &Leaf, plan: &Cgroup) -> Result<()> {
    let apply = || -> Result<()> {
        let settings = &plan.limits.settings;
        if !settings.is_empty() {
            let unit = leaf.place.unit.is_some();
            if unit {
                enable_in_unit(&leaf.place.path, settings)?;
            } else {
                enable(&leaf.place.path, settings)?;
            }
            check_usage(leaf.fd(), &plan.limits)?;
            for setting in settings.iter().filter(|setting| !comes_late(setting, unit)) {
                write(leaf.fd(), setting)?;
            }
        }
        match plan.owner {
            Some(owner) => delegate(leaf.fd(), owner),
            None => Ok(()),
        }
    };
    apply().context(Step("cgroup"))
}

/// A leaf without room for one process would not take init in, nor would a scope that its keeper and init's maker fill; it
/// is closed behind init.
pub fn comes_late(setting: &Setting, unit: bool) -> bool {
    setting.file == "pids.max" && (setting.value == "0" || unit && matches!(setting.value.as_str(), "1" | "2"))
}

/// What can only be written when init is in the leaf.
pub fn close(leaf: &Leaf, plan: &Cgroup, systemd: Option<&mut Systemd>) -> Result<()> {
    let unit = leaf.place.unit.as_ref();
    let settings = plan.limits.settings.iter();
    let late: Vec<Setting> = settings
        .filter(|setting| comes_late(setting, unit.is_some()))
        .cloned()
        .collect();
    let close = || -> Result<()> {
        if let (Some(unit), Some(systemd), false) = (unit, systemd, late.is_empty()) {
            systemd.set(&unit.name, &late)?;
        }
        late.iter().try_for_each(|setting| write(leaf.fd(), setting))
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
    Err(hinted(
        format!("{}; and memory.checkBeforeUpdate is set", reasons.join("; ")),
        "processes would be killed; free memory first, or leave checkBeforeUpdate out",
    ))
    .context(At::new(places.join(", ")))
}

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
    for setting in settings {
        if let Some(controller) = setting.controller()
            && !wanted.iter().any(|(known, _)| *known == controller)
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

/// Opens the setting's file, or the one to use in its place; the second value is what to write there. `None` where the
/// kernel has neither and needs none.
fn file_of(leaf: BorrowedFd, setting: &Setting, flags: i32) -> Result<Option<(std::os::fd::OwnedFd, String, String)>> {
    let first = Some((setting.file.clone(), setting.value.clone()));
    for (file, value) in first.into_iter().chain(setting.otherwise.clone()) {
        match fs::openat(leaf, Path::new(&file), flags, 0) {
            Ok(fd) => return Ok(Some((fd, file, value))),
            Err(error) if error.errno == Errno::ENOENT => {}
            Err(error) => return Err(error).with_context(|| At::object(setting.at.clone(), file)),
        }
    }
    if setting.dispensable {
        return Ok(None);
    }
    let other = setting.otherwise.as_ref().map(|(file, _)| format!(", nor {file}"));
    Err(hinted(
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

fn put(fd: BorrowedFd, file: &str, value: &str) -> Result<()> {
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
            _ => return error.into(),
        };
        cured(error, format!("writing {value:?} to {file}"), cure)
    })
}

pub fn read(leaf: BorrowedFd, file: &str) -> SysResult<String> {
    let fd = fs::openat(leaf, Path::new(file), libc::O_RDONLY, 0)?;
    let text = fs::read_all(fd.as_fd(), 1 << 20)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What undoes one write.
struct Undo {
    file: String,
    lines: Vec<String>,
}

/// Limits that are being changed; what has been written is put back when this is dropped, unless kept.
pub struct Change<'a> {
    leaf: BorrowedFd<'a>,
    done: Vec<Undo>,
}

impl<'a> Change<'a> {
    pub fn new(leaf: BorrowedFd<'a>) -> Self {
        Change { leaf, done: Vec::new() }
    }

    pub fn write(&mut self, setting: &Setting) -> Result<()> {
        let Some((fd, file, value)) = file_of(self.leaf, setting, libc::O_WRONLY)? else {
            return Ok(());
        };
        let at = || At::object(setting.at.clone(), &file);
        let before = match read(self.leaf, &file) {
            // A file that only takes commands has nothing to go back to.
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EACCES) => String::new(),
            other => other.with_context(at)?,
        };
        put(fd.as_fd(), &file, &value).with_context(at)?;
        self.done.push(Undo {
            lines: way_back(&file, &value, &before),
            file,
        });
        Ok(())
    }

    /// The change stands.
    pub fn keep(mut self) {
        self.done.clear();
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        // Two rounds: a value may only be taken when another is back.
        for _ in 0..2 {
            self.done.reverse();
            let leaf = self.leaf;
            self.done.retain(|undo| {
                undo.lines.iter().any(|line| {
                    fs::openat(leaf, Path::new(&undo.file), libc::O_WRONLY, 0)
                        .and_then(|fd| fs::write(fd.as_fd(), line.as_bytes()))
                        .is_err()
                })
            });
        }
        for undo in &self.done {
            log::warning(&format!("{} could not be put back to {:?}", undo.file, undo.lines));
        }
    }
}

/// What has to be written to a file to undo the writing of `value`, when its content was `before`. Files with one entry a
/// device get back the device's entry, or its absence.
fn way_back(file: &str, value: &str, before: &str) -> Vec<String> {
    let key = value.split_ascii_whitespace().next().unwrap_or_default();
    let entry = |key: &str| {
        let mut lines = before.lines();
        lines
            .find(|line| line.split_ascii_whitespace().next() == Some(key))
            .map(str::to_string)
    };
    let per_device = matches!(file, "io.weight" | "io.bfq.weight") && key.contains(':');
    match file {
        "io.max" => vec![entry(key).unwrap_or(format!("{key} rbps=max wbps=max riops=max wiops=max"))],
        "rdma.max" => vec![entry(key).unwrap_or(format!("{key} hca_handle=max hca_object=max"))],
        _ if per_device => vec![entry(key).unwrap_or(format!("{key} default"))],
        "io.weight" | "io.bfq.weight" => {
            let number = entry("default").or(before.lines().next().map(str::to_string));
            number.into_iter().collect()
        }
        _ => {
            let lines: Vec<String> = before.lines().map(str::to_string).collect();
            if lines.is_empty() { vec!["\n".into()] } else { lines }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::way_back;

    #[test]
    fn what_was_there_before_is_put_back() {
        let table: &[(&str, &str, &str, &[&str])] = &[
            ("memory.max", "1", "max\n", &["max"]),
            ("cpu.max", "5000 10000", "max 100000\n", &["max 100000"]),
            ("cpuset.cpus", "0", "\n", &[""]),
            ("cpuset.cpus", "0", "", &["\n"]),
            (
                "io.max",
                "8:0 rbps=1",
                "",
                &["8:0 rbps=max wbps=max riops=max wiops=max"],
            ),
            (
                "io.max",
                "8:0 rbps=1",
                "8:16 rbps=1 wbps=max riops=max wiops=max\n8:0 rbps=9 wbps=2 riops=max wiops=max\n",
                &["8:0 rbps=9 wbps=2 riops=max wiops=max"],
            ),
            ("io.weight", "200", "default 100\n8:0 50\n", &["default 100"]),
            ("io.bfq.weight", "200", "100\n", &["100"]),
            ("io.bfq.weight", "8:0 200", "default 100\n8:0 50\n", &["8:0 50"]),
            ("io.weight", "8:0 200", "default 100\n", &["8:0 default"]),
            (
                "rdma.max",
                "mlx5_1 hca_handle=1",
                "mlx4_0 hca_handle=2 hca_object=2000\n",
                &["mlx5_1 hca_handle=max hca_object=max"],
            ),
            ("misc.max", "a 1", "a max\nb 2\n", &["a max", "b 2"]),
        ];
        for (file, value, before, expected) in table {
            assert_eq!(way_back(file, value, before), *expected, "{file} {value:?} {before:?}");
        }
    }
}
