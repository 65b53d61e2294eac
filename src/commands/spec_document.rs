//! The configuration that `spec` writes to start from.
//!
//! Same content, field order and tabs as `runc spec` of runc 1.5 (with cgroup v2), because tutorials, test suites and
//! `jq` scripts edit that file. Only the host name is our own, as every runtime's is. Against runc 1.1 this means: no
//! ambient capabilities, and a cgroup namespace.

use serde_json::{Value, json};

use crate::plan::OCI_VERSION;

/// Host name inside the container.
const HOSTNAME: &str = "orlop";

/// The configuration for a container that root starts.
pub fn default_spec() -> Value {
    document(json!({
        "resources": {
            "devices": [{ "allow": false, "access": "rwm" }]
        },
        "namespaces": namespaces(&["pid", "network", "ipc", "uts", "mount", "cgroup"]),
        "maskedPaths": masked_paths(),
        "readonlyPaths": readonly_paths()
    }))
}

/// The configuration for a container that the user `uid`:`gid` starts: a user namespace in which only that user
/// exists, the host's network and sysfs (a new sysfs needs a network namespace of one's own), no limits (without
/// delegation there is no cgroup to write them to).
pub fn rootless_spec(uid: u32, gid: u32) -> Value {
    let mut spec = document(json!({
        "uidMappings": [{ "containerID": 0, "hostID": uid, "size": 1 }],
        "gidMappings": [{ "containerID": 0, "hostID": gid, "size": 1 }],
        "namespaces": namespaces(&["pid", "ipc", "uts", "mount", "cgroup", "user"]),
        "maskedPaths": masked_paths(),
        "readonlyPaths": readonly_paths()
    }));
    if let Some(Value::Array(mounts)) = spec.get_mut("mounts") {
        for mount in mounts {
            if mount.get("destination").and_then(Value::as_str) == Some("/sys") {
                *mount = json!({
                    "destination": "/sys",
                    "type": "none",
                    "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]
                });
            }
            if let Some(Value::Array(options)) = mount.get_mut("options") {
                // Group 5 (tty) has no number in a namespace that maps one user.
                options.retain(|option| !option.as_str().is_some_and(names_an_owner));
            }
        }
    }
    spec
}

/// The text of the file: one tab a level and, like runc's, no line end after the last brace.
pub fn to_text(spec: &Value) -> String {
    // The pretty form of serde_json indents by two blanks. JSON has no line break inside a string, so the blanks a
    // line begins with are always indentation.
    let lines = format!("{spec:#}");
    let with_tabs = lines.lines().map(|line| {
        let content = line.trim_start_matches(' ');
        "\t".repeat((line.len() - content.len()) / 2) + content
    });
    with_tabs.collect::<Vec<_>>().join("\n")
}

fn names_an_owner(option: &str) -> bool {
    option.starts_with("uid=") || option.starts_with("gid=")
}

fn document(linux: Value) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm"
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": HOSTNAME,
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
            },
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
            },
            {
                "destination": "/dev/mqueue",
                "type": "mqueue",
                "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"]
            },
            {
                "destination": "/sys",
                "type": "sysfs",
                "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"]
            },
            {
                "destination": "/sys/fs/cgroup",
                "type": "cgroup",
                "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]
            }
        ],
        "linux": linux
    })
}

fn namespaces(types: &[&str]) -> Value {
    types.iter().map(|kind| json!({ "type": kind })).collect()
}

fn masked_paths() -> Value {
    json!([
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/sys/firmware",
        "/proc/scsi"
    ])
}

fn readonly_paths() -> Value {
    json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"])
}
