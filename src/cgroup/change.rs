//! Limits of a leaf in use, changed all together or not at all.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::apply::{file_of, put, read};
use super::resources::Setting;
use crate::error::{At, Context, Result};
use crate::log;
use crate::state::record::FileBefore;
use crate::sys::fs;

/// A change of limits. What has been written is restored on drop, unless kept.
pub struct Change<'a> {
    leaf: BorrowedFd<'a>,
    planned: Vec<Planned>,
    written: usize,
}

struct Planned {
    at: At,
    fd: OwnedFd,
    value: String,
    before: FileBefore,
}

impl<'a> Change<'a> {
    /// Opens the files and reads their contents. Nothing is written yet.
    pub fn plan(leaf: BorrowedFd<'a>, settings: &[Setting]) -> Result<Self> {
        let mut planned = Vec::new();
        for setting in settings {
            let Some((fd, file, value)) = file_of(leaf, setting, libc::O_WRONLY)? else {
                continue;
            };
            let at = At::object(setting.at.clone(), &file);
            let before = match read(leaf, &file) {
                // A file that only takes commands has nothing to go back to.
                Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EACCES) => String::new(),
                other => other.with_context(|| at.clone())?,
            };
            let lines = way_back(&file, &value, &before);
            planned.push(Planned {
                at,
                fd,
                value,
                before: FileBefore { file, lines },
            });
        }
        Ok(Change {
            leaf,
            planned,
            written: 0,
        })
    }

    /// What restores all of the files.
    pub fn before(&self) -> Vec<FileBefore> {
        self.planned.iter().map(|planned| planned.before.clone()).collect()
    }

    pub fn write(&mut self) -> Result<()> {
        for planned in &self.planned {
            put(planned.fd.as_fd(), &planned.before.file, &planned.value).with_context(|| planned.at.clone())?;
            self.written += 1;
        }
        Ok(())
    }

    /// The change stands.
    pub fn keep(&mut self) {
        self.written = 0;
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let written = self.planned.iter().take(self.written);
        let before: Vec<FileBefore> = written.map(|planned| planned.before.clone()).collect();
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
