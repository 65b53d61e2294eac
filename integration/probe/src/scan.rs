//! What a contained process can reach through /proc: descriptors that lead to the host, programs
//! that it could overwrite. It is run while the runtime works on the same container.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::facts::open_fds;

/// `processes`: for each other PID, which of its links can be opened. `ancestors`: descriptors of this process that lead to
/// a directory outside of this root.
pub fn all() -> Value {
    let own = std::process::id();
    let root = fs::metadata("/").map(|m| (m.dev(), m.ino())).unwrap_or_default();
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<u32>() else { continue };
        if pid != own {
            processes.push(look_at(pid));
        }
    }
    let directories: Vec<Value> = open_fds()
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(fd, _)| fs::metadata(format!("/proc/self/fd/{fd}")).is_ok_and(|m| m.is_dir()))
        .map(|(fd, target)| json!({ "fd": fd, "target": target, "root": identity(&format!("/proc/self/fd/{fd}")) == root }))
        .collect();
    json!({
        "processes": processes,
        "directories": directories,
        "exeWritable": OpenOptions::new().write(true).open("/proc/self/exe").is_ok(),
    })
}

fn identity(path: &str) -> (u64, u64) {
    fs::metadata(path).map(|m| (m.dev(), m.ino())).unwrap_or_default()
}

fn look_at(pid: u32) -> Value {
    let base = format!("/proc/{pid}");
    let fds: Vec<String> = fs::read_dir(format!("{base}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    json!({
        "pid": pid,
        "name": fs::read_to_string(format!("{base}/comm")).unwrap_or_default().trim_end(),
        "exe": fs::read_link(format!("{base}/exe")).ok().map(|p| p.to_string_lossy().into_owned()),
        "exeWritable": OpenOptions::new().write(true).open(format!("{base}/exe")).is_ok(),
        "rootOpens": fs::read_dir(format!("{base}/root")).is_ok(),
        "fds": fds,
    })
}
