//! Containers in a user namespace, made by root, and containers of an unprivileged user.

use std::fs;
use std::os::unix::fs::chown;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde_json::json;

use crate::harness::{Bundle, Cmd};

/// As with an engine that remaps IDs: container IDs 0–65535 are 100000–165535 on the host.
pub fn remapped(bundle: Bundle) -> Bundle {
    bundle.edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "user" }));
        for kind in ["uidMappings", "gidMappings"] {
            c["linux"][kind] = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        }
    })
}

/// As an unprivileged user writes it: their ID is root inside; no network namespace and no limits.
pub fn rootless(bundle: Bundle) -> Bundle {
    let bundle = bundle
        .without_namespace("network")
        .without_mount("/sys/fs/cgroup")
        .edit(|c| {
            c["linux"]["namespaces"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "type": "user" }));
            for kind in ["uidMappings", "gidMappings"] {
                c["linux"][kind] = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
            }
            c["linux"].as_object_mut().unwrap().remove("resources");
            for mount in c["mounts"].as_array_mut().unwrap() {
                if mount["destination"] == "/dev/pts" {
                    // Group 5 is not mapped.
                    mount["options"]
                        .as_array_mut()
                        .unwrap()
                        .retain(|option| option != "gid=5");
                }
                if mount["destination"] == "/sys" {
                    *mount = json!({ "destination": "/sys", "type": "none", "source": "/sys",
                                 "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
                }
            }
        });
    fs::create_dir_all(bundle.state_root()).unwrap();
    chown(bundle.state_root(), Some(1000), Some(1000)).unwrap();
    bundle
}

/// Runs the runtime itself as user 1000.
pub fn as_user(cmd: Cmd) -> Cmd {
    cmd.before_exec(|| become_user(1000))
}

/// Gives this process the ids of a user who has one group. For [`Cmd::before_exec`].
pub fn become_user(id: u32) -> std::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}
