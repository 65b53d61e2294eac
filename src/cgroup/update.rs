//! Changing the limits of a leaf in use: which of them to write, and writing them all or none.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;

use super::apply::{Target, target, write};
use super::directory::read;
use crate::error::{At, Context, Result};
use crate::log;
use crate::plan::limits::{Limit, Limits, Raw, Section, Setting};
use crate::state::record::FileBefore;
use crate::sys::fs;

/// The settings to write when a container's limits change from `old` to `new`: those that differ, and all of the sections that
/// were named, because someone else may have changed the kernel's value. In an order in which the kernel accepts each.
pub fn settings_to_write(old: &Limits, new: &Limits, named: impl Fn(Section) -> bool) -> Vec<Setting> {
    let before: BTreeSet<&Setting> = old.settings.iter().collect();
    let mut settings: Vec<Setting> = new
        .settings
        .iter()
        .filter(|setting| named(setting.limit.section()) || !before.contains(setting))
        .cloned()
        .collect();
    // The kernel takes no burst above the quota and no quota below the burst, so the one that makes room goes first.
    let burst = |limits: &Limits| {
        let last = limits
            .settings
            .iter()
            .rev()
            .find_map(|setting| match setting.limit.known() {
                Limit::CpuMaxBurst(burst) => Some(*burst),
                _ => None,
            });
        last.unwrap_or(0)
    };
    let place = |is: fn(&Limit) -> bool| settings.iter().position(|setting| is(setting.limit.known()));
    if burst(new) < burst(old)
        && let Some(quota) = place(|limit| matches!(limit, Limit::CpuMax { .. }))
        && let Some(burst) = place(|limit| matches!(limit, Limit::CpuMaxBurst(_)))
        && quota < burst
    {
        settings.swap(quota, burst);
    }
    settings
}

/// An update of a leaf's files. What has been written is restored on drop, unless kept.
pub struct LimitsUpdate<'a> {
    leaf: BorrowedFd<'a>,
    writes: Vec<Write>,
    written: usize,
}

struct Write {
    setting: Setting,
    target: Target,
    before: FileBefore,
}

impl<'a> LimitsUpdate<'a> {
    /// Opens the files and reads their contents. Nothing is written yet.
    pub fn prepare(leaf: BorrowedFd<'a>, settings: &[Setting]) -> Result<Self> {
        let mut writes = Vec::new();
        for setting in settings {
            let Some(target) = target(leaf, setting)? else {
                continue;
            };
            let file = target.limit.file().into_owned();
            let before = match read(leaf, &file) {
                // A file that only takes commands has nothing to go back to.
                Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EACCES) => String::new(),
                other => other.with_context(|| At::object(setting.at.clone(), &file))?,
            };
            let lines = lines_before(&target.limit, &before);
            writes.push(Write {
                setting: setting.clone(),
                target,
                before: FileBefore { file, lines },
            });
        }
        Ok(LimitsUpdate {
            leaf,
            writes,
            written: 0,
        })
    }

    /// What restores all of the files.
    pub fn before(&self) -> Vec<FileBefore> {
        self.writes.iter().map(|write| write.before.clone()).collect()
    }

    pub fn write(&mut self) -> Result<()> {
        for one in &self.writes {
            write(&one.target, &one.setting)?;
            self.written += 1;
        }
        Ok(())
    }

    /// The update stands.
    pub fn keep(&mut self) {
        self.written = 0;
    }
}

impl Drop for LimitsUpdate<'_> {
    fn drop(&mut self) {
        let written = self.writes.iter().take(self.written);
        let before: Vec<FileBefore> = written.map(|write| write.before.clone()).collect();
        put_back(self.leaf, &before);
    }
}

/// Restores files that were written in this order.
pub fn put_back(leaf: BorrowedFd, files: &[FileBefore]) {
    let mut left: Vec<&FileBefore> = files.iter().collect();
    // Two rounds: some values are accepted only after another has been restored.
    for _ in 0..2 {
        left.reverse();
        left.retain(|before| {
            before.lines.iter().any(|line| {
                fs::openat(leaf, Path::new(&before.file), libc::O_WRONLY, 0)
                    .and_then(|fd| fs::write(fd.as_fd(), line.as_bytes()))
                    .is_err()
            })
        });
    }
    for before in left {
        log::warning(&format!("{} could not be restored to {:?}", before.file, before.lines));
    }
}

/// The lines that undo the writing of a limit to its file, of which `before` was the content. Files with one entry per device get
/// back the device's entry, or are told to have none.
fn lines_before(limit: &Limit, before: &str) -> Vec<String> {
    let entry = |key: &str| {
        let mut lines = before.lines();
        lines
            .find(|line| line.split_ascii_whitespace().next() == Some(key))
            .map(str::to_string)
    };
    let entry_or = |key: String, none: &str| vec![entry(&key).unwrap_or_else(|| format!("{key} {none}"))];
    match limit {
        Limit::Raw(Raw { known: Some(known), .. }) => lines_before(known, before),
        Limit::IoMax { device, .. } => entry_or(device.to_string(), NO_RATES),
        Limit::RdmaMax { device, .. } => entry_or(device.clone(), "hca_handle=max hca_object=max"),
        Limit::BlockWeight { device, .. } | Limit::IoBfqWeight { device, .. } | Limit::IoWeight { device, .. } => {
            match device {
                Some(device) => entry_or(device.to_string(), "default"),
                None => {
                    let weight = entry("default").or(before.lines().next().map(str::to_string));
                    weight.into_iter().collect()
                }
            }
        }
        _ => {
            let lines: Vec<String> = before.lines().map(str::to_string).collect();
            if lines.is_empty() { vec!["\n".into()] } else { lines }
        }
    }
}

const NO_RATES: &str = "rbps=max wbps=max riops=max wiops=max";

#[cfg(test)]
mod tests {
    use super::lines_before;
    use crate::cgroup::resources::read_unified;
    use crate::plan::limits::{Limit, Raw};

    #[test]
    fn a_limit_is_undone_by_the_lines_before_it() {
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
        for (file, line, before, expected) in table {
            let known = read_unified(file, line);
            let raw = Limit::Raw(Raw {
                file: (*file).into(),
                line: (*line).into(),
                known: known.clone().map(Box::new),
            });
            for limit in known.into_iter().chain([raw]) {
                assert_eq!(lines_before(&limit, before), *expected, "{limit:?} {before:?}");
            }
        }
    }
}
