//! The sections about other programs, and about the state directory.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::report::{Fact, Section, Status, ok};
use super::users::number;
use crate::dbus;
use crate::error::{Report, Result};
use crate::host_program;
use crate::state::Store;
use crate::sys::fs;

pub fn systemd() -> Section {
    let runs = Path::new("/run/systemd/system").is_dir();
    let facts = vec![
        ok("running", runs, "").unless(runs, Status::Limited, "--systemd-cgroup is refused", ""),
        reachable("systemBus", false, "--systemd-cgroup works for root"),
        reachable("userBus", true, "--systemd-cgroup works for this user"),
    ];
    Section { key: "systemd", facts }
}

/// Whether a bus accepts a connection.
fn reachable(key: &str, user: bool, meaning: &str) -> Fact {
    let connected = dbus::address(user).and_then(|address| dbus::try_connect(&address));
    let fact = ok(key, connected.is_ok(), meaning);
    match connected {
        Ok(()) => fact,
        Err(error) => {
            let report = Report::of(&error);
            fact.but(Status::Limited, report.msg, report.hint.unwrap_or_default())
        }
    }
}

pub fn criu() -> Section {
    let path = host_program::find("criu");
    let mut facts = vec![ok("path", path.as_ref().map(|path| path.to_string_lossy()), "").unless(
        path.is_some(),
        Status::Limited,
        "checkpoint and restore are refused: criu is not in PATH",
        "install CRIU",
    )];
    if path.is_some() {
        let output = host_program::output("criu", &["--version".into()]).ok();
        let text = output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("Version: "))
            .map(str::to_string);
        let known = version.is_some();
        facts.push(ok("version", version, "").unless(known, Status::Unknown, "`criu --version` does not tell it", ""));
    }
    Section { key: "criu", facts }
}

pub fn state(store: &Result<Store>) -> Section {
    let facts = match store {
        Ok(store) => directory(store.path()),
        Err(error) => {
            let report = Report::of(error);
            vec![ok("directory", Value::Null, "").but(Status::Missing, report.msg, report.hint.unwrap_or_default())]
        }
    };
    Section { key: "state", facts }
}

fn directory(path: &Path) -> Vec<Fact> {
    let exists = path.is_dir();
    // It is created with the first container.
    let nearest = path
        .ancestors()
        .find(|above| above.exists())
        .map(PathBuf::from)
        .unwrap_or_default();
    let writable = fs::access(&nearest, libc::W_OK | libc::X_OK);
    let fact = ok("writable", writable.is_ok(), "");
    vec![
        ok("directory", path.to_string_lossy(), ""),
        ok(
            "exists",
            exists,
            if exists {
                ""
            } else {
                "it is created with the first container"
            },
        ),
        match writable {
            Ok(()) => fact,
            Err(error) => fact.but(
                Status::Missing,
                error.to_string(),
                "give a directory of this user with --root",
            ),
        },
    ]
}

pub fn limits() -> Section {
    let facts = vec![
        number("pidMax", "/proc/sys/kernel/pid_max", "PIDs, of processes and threads"),
        number("mountMax", "/proc/sys/fs/mount-max", "mounts in each mount namespace"),
        number(
            "keys",
            "/proc/sys/kernel/keys/maxkeys",
            "keys of each user but root; each container has a keyring",
        ),
        number(
            "mountNamespaces",
            "/proc/sys/user/max_mnt_namespaces",
            "mount namespaces of each user",
        ),
        number(
            "networkNamespaces",
            "/proc/sys/user/max_net_namespaces",
            "network namespaces of each user",
        ),
    ];
    Section { key: "limits", facts }
}
