//! `spec`: writes a template config.json.
//!
//! Content, field order and tabs are those of `runc spec` of runc 1.5 (with cgroup v2), because tutorials, test suites and
//! `jq` scripts edit that file. Only the host name differs, as it does in every runtime. Compared with runc 1.1 there are no
//! ambient capabilities, and there is a cgroup namespace.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::Spec;
use crate::error::{Context, Error, Result, with_hint};
use crate::plan::OCI_VERSION;
use crate::sys::{Arg, SysError, Syscall, process};

/// The host name in the container.
const HOSTNAME: &str = "orlop";

pub fn run(arguments: &Spec) -> Result<u8> {
    let document = if arguments.rootless {
        rootless_spec(process::effective_uid(), process::effective_gid())
    } else {
        default_spec()
    };
    let bundle = arguments.bundle.as_deref().unwrap_or(Path::new("."));
    // A file named by the caller is overwritten, and may be a pipe; config.json may be somebody's work.
    let named = arguments.file.as_deref();
    let path = bundle.join(named.unwrap_or(Path::new("config.json")));
    let write = || -> Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(named.is_some())
            .create_new(named.is_none())
            .open(&path)
            .map_err(|error| match error.kind() {
                // runc's words.
                std::io::ErrorKind::AlreadyExists => with_hint(
                    "File config.json exists. Remove it first",
                    "an existing config.json is not overwritten; --bundle selects another directory",
                ),
                _ => Error::new(SysError::from_io(
                    match named {
                        Some(_) => Syscall::Open.of(Arg::OpenFlags(libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC)),
                        None => Syscall::CreateNew.of(Arg::OpenFlags(libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)),
                    },
                    &error,
                )),
            })?;
        Ok(file.write_all(to_text(&document).as_bytes())?)
    };
    write().with_context(|| format!("spec {path:?}"))?;
    Ok(crate::exit_code::SUCCESS)
}

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

/// The configuration for a container that the user `uid`:`gid` starts: a user namespace that maps only that user, the host's
/// network and sysfs (mounting sysfs requires a separate network namespace), and no limits (without delegation there is no
/// cgroup to write them to).
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
                // Group 5 (tty) is not mapped in a namespace with a single user.
                options.retain(|option| !option.as_str().is_some_and(names_an_owner));
            }
        }
    }
    spec
}

/// The text of the file: one tab per level and, as in runc, no newline after the last brace.
pub fn to_text(spec: &Value) -> String {
    // serde_json indents by two spaces. A JSON string cannot contain a newline, so leading spaces are always indentation.
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
