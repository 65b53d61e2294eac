//! What a bundle has left on the host, found by the unique part of its name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};

use super::host::kill;

/// Processes, cgroups and mounts, each with its kind.
pub fn find(mark: &str) -> Vec<String> {
    let mut found: Vec<String> = processes_with(mark)
        .into_iter()
        .map(|(pid, why)| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} {} ({why})", name.trim_end())
        })
        .collect();
    found.extend(
        cgroups_with(mark)
            .into_iter()
            .map(|path| format!("cgroup {}", path.display())),
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(mark) && !super::host_mount::is_live(line))
            .map(|line| format!("mount {line}")),
    );
    found
}

/// Removes everything by force and without the runtime, so that a failing test does not disturb others.
pub fn sweep(mark: &str) {
    for (pid, _) in processes_with(mark) {
        kill(pid);
    }
    for group in cgroups_with(mark) {
        let _ = fs::write(group.join("cgroup.kill"), "1");
        // A cgroup can be removed once its processes have ended, soon after they are killed.
        for _ in 0..100 {
            remove_cgroup(&group);
            if !group.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in mounts.lines().rev().filter(|line| line.contains(mark)) {
        let _ = umount2(line.split(' ').nth(4).unwrap_or_default(), MntFlags::MNT_DETACH);
    }
}

/// The paths in a directory, sorted; none if it cannot be read.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    paths.sort();
    paths
}

fn cgroups_with(mark: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = queue.pop() {
        for path in entries(&dir).into_iter().filter(|path| path.is_dir()) {
            if path.to_string_lossy().contains(mark) {
                found.push(path);
            } else {
                queue.push(path);
            }
        }
    }
    found
}

fn remove_cgroup(dir: &Path) {
    for sub in entries(dir).into_iter().filter(|path| path.is_dir()) {
        remove_cgroup(&sub);
    }
    let _ = fs::remove_dir(dir);
}

/// Running processes that belong to the bundle with that mark, and how they are identified: by the mark in the
/// environment (the runtime and its children before the exec), in a mount (containers), in the cgroup, or in an open file (CRIU).
fn processes_with(mark: &str) -> Vec<(i32, &'static str)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if pid == std::process::id() as i32 {
            continue;
        }
        let holds = |file: &str| {
            let text = fs::read(entry.path().join(file)).unwrap_or_default();
            text.windows(mark.len()).any(|part| part == mark.as_bytes())
        };
        let mounts = || {
            let text = fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
            text.lines()
                .any(|line| line.contains(mark) && !super::host_mount::is_copy(line))
        };
        let why = if holds("cgroup") {
            "its cgroup"
        } else if holds("environ") {
            "its environment"
        } else if mounts() {
            "its mounts"
        } else if is_criu(pid) && has_open(pid, mark) {
            "its descriptors"
        } else {
            continue;
        };
        if !is_zombie(pid) {
            found.push((pid, why));
        }
    }
    found
}

/// CRIU as fixtures/criu starts it, or as it is installed.
fn is_criu(pid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("criu") || name.starts_with("ld-linux")
}

fn has_open(pid: i32, mark: &str) -> bool {
    let files = entries(Path::new(&format!("/proc/{pid}/fd")));
    let mut targets = files.iter().filter_map(|file| fs::read_link(file).ok());
    targets.any(|target| target.to_string_lossy().contains(mark))
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_none_or(|rest| rest.trim_start().starts_with(['Z', 'X']))
}

/// Whether a process runs; a zombie does not.
pub fn alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists() && !is_zombie(pid)
}

/// Waits until `condition` holds; fails with `what` after five seconds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}
