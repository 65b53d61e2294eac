//! Namespaces, new and joined by path, in every mix; and what is set in them: host name, clocks, kernel parameters.

use std::fs;
use std::io::Error;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Bundle, Facts, eventually};
use crate::need;
use crate::refused::refused;
use crate::user_namespace::{as_user, remapped, rootless};

/// (type in the config, name below /proc/PID/ns, flag).
const KINDS: [(&str, &str, i32); 8] = [
    ("user", "user", libc::CLONE_NEWUSER),
    ("pid", "pid", libc::CLONE_NEWPID),
    ("network", "net", libc::CLONE_NEWNET),
    ("ipc", "ipc", libc::CLONE_NEWIPC),
    ("uts", "uts", libc::CLONE_NEWUTS),
    ("cgroup", "cgroup", libc::CLONE_NEWCGROUP),
    ("time", "time", libc::CLONE_NEWTIME),
    ("mount", "mnt", libc::CLONE_NEWNS),
];

fn file_of(kind: &str) -> &'static str {
    KINDS.iter().find(|(name, ..)| *name == kind).expect("a kind").1
}

/// A process of the host that keeps namespaces of its own, for a container to join.
pub struct Holder(Child);

impl Holder {
    /// In new namespaces of these flags, which belong to the user namespace among them, if there is one.
    pub fn new(flags: i32) -> Self {
        Self::with(flags, 0, None)
    }

    /// A user namespace whose first ids are `inside` for the host's `outside`, 65536 of them.
    pub fn remapped(flags: i32, inside: u32, outside: u32) -> Self {
        let holder = Self::with(flags | libc::CLONE_NEWUSER, 0, None);
        for file in ["uid_map", "gid_map"] {
            let path = format!("/proc/{}/{file}", holder.pid());
            fs::write(path, format!("{inside} {outside} 65536")).expect("write the map");
        }
        holder
    }

    /// A plain user's, in which that user is root.
    pub fn of_user(flags: i32, uid: u32) -> Self {
        Self::with(flags | libc::CLONE_NEWUSER, uid, Some(format!("0 {uid} 1")))
    }

    fn with(flags: i32, uid: u32, map: Option<String>) -> Self {
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null());
        unsafe {
            command.pre_exec(move || {
                let done = uid == 0
                    || libc::setgroups(0, std::ptr::null()) == 0
                        && libc::setresgid(uid, uid, uid) == 0
                        && libc::setresuid(uid, uid, uid) == 0
                        && libc::prctl(libc::PR_SET_DUMPABLE, 1) == 0;
                if !done || libc::unshare(flags) != 0 {
                    return Err(Error::last_os_error());
                }
                if let Some(map) = &map {
                    fs::write("/proc/self/setgroups", "deny")?;
                    fs::write("/proc/self/uid_map", map)?;
                    fs::write("/proc/self/gid_map", map)?;
                }
                Ok(())
            });
        }
        Holder(command.spawn().expect("a process in namespaces of its own"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// What a config calls the namespace of this type.
    pub fn path(&self, kind: &str) -> String {
        let file = match kind {
            // unshare(2) puts only children into these two.
            "pid" => "pid_for_children",
            "time" => "time_for_children",
            other => file_of(other),
        };
        format!("/proc/{}/ns/{file}", self.pid())
    }

    /// Its identity, as the probe reports it.
    pub fn namespace(&self, kind: &str) -> Value {
        json!(fs::read_link(self.path(kind)).expect("the namespace").to_string_lossy())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn own(kind: &str) -> Value {
    json!(
        fs::read_link(Path::new("/proc/self/ns").join(file_of(kind)))
            .expect("a namespace")
            .to_string_lossy()
    )
}

/// The namespaces of the config, each with its path if it has one.
fn with_namespaces<'a>(bundle: Bundle, list: impl IntoIterator<Item = (&'a str, Option<String>)>) -> Bundle {
    let list: Vec<Value> = list
        .into_iter()
        .map(|(kind, path)| match path {
            Some(path) => json!({ "type": kind, "path": path }),
            None => json!({ "type": kind }),
        })
        .collect();
    bundle.edit(|c| c["linux"]["namespaces"] = json!(list))
}

/// The default ones, with these joined.
fn joining(bundle: Bundle, holder: &Holder, kinds: &[&str]) -> Bundle {
    let mut list: Vec<&str> = vec!["pid", "network", "ipc", "uts", "mount", "cgroup"];
    list.extend(
        kinds
            .iter()
            .filter(|kind| !["pid", "network", "ipc", "uts", "mount", "cgroup"].contains(kind)),
    );
    with_namespaces(
        bundle,
        list.iter()
            .map(|kind| (*kind, kinds.contains(kind).then(|| holder.path(kind)))),
    )
}

fn has_time_namespaces() -> bool {
    Path::new("/proc/self/ns/time").exists()
}

#[test]
fn all_eight_are_new_at_once() {
    need!(has_time_namespaces(), "time namespaces");
    let bundle = remapped(Bundle::new()).edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "time" }));
    });
    let facts = bundle.facts();
    for (kind, file, _) in KINDS {
        assert_ne!(facts["namespaces"][file], own(kind), "{kind}");
    }
    assert_eq!(facts["pid"], 1);
}

#[test]
fn each_kind_is_joined_by_path() {
    for (kind, file, flag) in KINDS {
        if kind == "time" && !has_time_namespaces() {
            crate::harness::record_skip("time namespaces");
            continue;
        }
        let bundle = Bundle::new();
        // Made after the bundle, or the tmpfs of a mount namespace would be without it.
        let holder = match kind {
            "user" => Holder::remapped(flag, 0, 100_000),
            // The namespace lives as soon as it has a first process.
            "pid" => Holder::with_init(),
            _ => Holder::new(flag),
        };
        let bundle = joining(bundle, &holder, &[kind]);
        let out = bundle.run().ok();
        assert_eq!(out.stderr, "", "{kind}");
        let facts = Facts(out.json());
        assert_eq!(facts["namespaces"][file], holder.namespace(kind), "{kind}");
        assert_ne!(facts["namespaces"][file], own(kind), "{kind}");
        for (other, file, _) in KINDS {
            if !["user", "time", kind].contains(&other) {
                assert_ne!(facts["namespaces"][file], own(other), "{other} beside a joined {kind}");
            }
        }
        assert_eq!(facts["uid"], json!([0, 0, 0, 0]), "{kind}");
        facts.mount("/proc");
        // It would keep the mounts of a container that shared its mount namespace.
        drop(holder);
    }
}

impl Holder {
    /// A pid namespace with a first process that reaps what is left to it.
    fn with_init() -> Self {
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "sleep", "1000"])
            .stdin(Stdio::null());
        let holder = Holder(command.spawn().expect("unshare"));
        eventually("the pid namespace has a process", || {
            fs::read_link(holder.path("pid")).is_ok_and(|link| json!(link.to_string_lossy()) != own("pid"))
                && !fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.pid()))
                    .unwrap_or_default()
                    .is_empty()
        });
        holder
    }
}

/// What was there before belongs to the host's user namespace: joined before the new one is entered.
#[test]
fn namespaces_of_the_host_are_joined_beside_a_new_user_namespace() {
    let kinds = ["network", "ipc", "uts", "cgroup"];
    let holder = Holder::new(libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP);
    let bundle = joining(Bundle::new(), &holder, &kinds)
        // Neither a sysfs nor a message queue can be mounted for a namespace that belongs to somebody else.
        .without_mount("/sys")
        .without_mount("/sys/fs/cgroup")
        .without_mount("/dev/mqueue")
        .edit(|c| {
            c.as_object_mut().unwrap().remove("hostname");
        });
    let facts = remapped(bundle).facts();
    for kind in kinds {
        assert_eq!(facts["namespaces"][file_of(kind)], holder.namespace(kind), "{kind}");
    }
    assert_ne!(facts["namespaces"]["user"], own("user"));
    assert_eq!((&facts["pid"], &facts["uid"]), (&json!(1), &json!([0, 0, 0, 0])));
}

#[test]
fn a_pid_namespace_is_joined_beside_a_new_user_namespace() {
    let holder = Holder::with_init();
    // A procfs belongs to its pid namespace, and that to the host's root.
    let bundle = joining(Bundle::new(), &holder, &["pid"])
        .without_mount("/proc")
        .edit(|c| {
            c["linux"]["maskedPaths"] = json!([]);
            c["linux"]["readonlyPaths"] = json!([]);
            c["process"]["args"] = json!(["probe", "sleep"]);
        });
    let bundle = remapped(bundle);
    let container = bundle.start();
    container.until("ready");
    let inside = fs::read_link(format!("/proc/{}/ns/pid", container.pid())).unwrap();
    assert_eq!(json!(inside.to_string_lossy()), holder.namespace("pid"));
    assert_eq!(
        fs::read_to_string(format!("/proc/{}/uid_map", container.pid()))
            .unwrap()
            .split_whitespace()
            .nth(1),
        Some("100000")
    );
    container.kill("KILL");
    container.until_stopped();
}

#[test]
fn a_user_namespace_is_joined_with_what_belongs_to_it() {
    let kinds = ["user", "network", "uts", "ipc"];
    let flags = libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
    let holder = Holder::remapped(flags, 0, 100_000);
    let bundle = joining(Bundle::new(), &holder, &kinds).edit(|c| {
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [7] });
        c["hostname"] = json!("joined");
        c["linux"]["sysctl"] = json!({ "kernel.shmmni": "77" });
    });
    let facts = bundle.facts();
    for kind in kinds {
        assert_eq!(facts["namespaces"][file_of(kind)], holder.namespace(kind), "{kind}");
    }
    assert_ne!(facts["namespaces"]["pid"], own("pid"));
    assert_eq!(facts["uid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(facts["groups"], json!([7]));
    assert_eq!(facts["hostname"], "joined");
    // New namespaces belong to the joined one: otherwise neither procfs nor sysfs could be mounted.
    facts.mount("/proc");
    facts.mount("/sys");
}

#[test]
fn a_user_namespace_is_joined_with_what_belongs_to_the_host() {
    let holder = Holder::remapped(0, 0, 100_000);
    let of_host = Holder::new(libc::CLONE_NEWNET);
    let bundle = joining(Bundle::new(), &holder, &["user"])
        .without_mount("/sys")
        .without_mount("/sys/fs/cgroup");
    let bundle = bundle.edit(|c| {
        for entry in c["linux"]["namespaces"].as_array_mut().unwrap() {
            if entry["type"] == "network" {
                entry["path"] = json!(of_host.path("network"));
            }
        }
    });
    let facts = bundle.facts();
    assert_eq!(facts["namespaces"]["user"], holder.namespace("user"));
    assert_eq!(facts["namespaces"]["net"], of_host.namespace("network"));
}

#[test]
fn a_mount_namespace_is_joined_with_its_user_namespace() {
    let bundle = Bundle::new();
    let holder = Holder::remapped(libc::CLONE_NEWNS, 0, 100_000);
    let bundle = joining(bundle, &holder, &["user", "mount"]);
    let facts = bundle.facts();
    for kind in ["user", "mount"] {
        assert_eq!(facts["namespaces"][file_of(kind)], holder.namespace(kind), "{kind}");
    }
    drop(holder);
}

/// The ids of a joined user namespace are those it has.
#[test]
fn the_user_must_be_mapped_in_a_joined_user_namespace() {
    let holder = Holder::remapped(0, 0, 100_000);
    let bundle = joining(Bundle::new(), &holder, &["user"]).edit(|c| c["process"]["user"]["uid"] = json!(70_000));
    bundle.run().fails_with("process.user.uid: 70000 is not mapped");
    bundle.assert_clean();
}

#[test]
fn mappings_beside_a_joined_user_namespace_must_be_its_own() {
    let holder = Holder::remapped(0, 0, 100_000);
    let mapped = |host: u32| {
        joining(Bundle::new(), &holder, &["user"]).edit(|c| {
            for kind in ["uidMappings", "gidMappings"] {
                c["linux"][kind] = json!([{ "containerID": 0, "hostID": host, "size": 65536 }]);
            }
        })
    };
    let out = mapped(100_000).run().ok();
    assert!(out.stderr.contains("linux.uidMappings: not needed"), "{out:#?}");
    mapped(200_000).run().fails_with("linux.uidMappings");
}

#[test]
fn a_container_lives_without_a_mapped_root() {
    let user_1000 = |c: &mut Value| {
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        for mount in c["mounts"].as_array_mut().unwrap() {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    };
    let new = remapped(Bundle::new().edit(user_1000)).edit(|c| {
        for kind in ["uidMappings", "gidMappings"] {
            c["linux"][kind] = json!([{ "containerID": 1000, "hostID": 100_000, "size": 10 }]);
        }
    });
    let holder = Holder::remapped(0, 1000, 100_000);
    let joined = joining(Bundle::new().edit(user_1000), &holder, &["user"]);
    for bundle in [new, joined] {
        let facts = bundle.facts();
        assert_eq!(facts["uid"], json!([1000, 1000, 1000, 1000]));
        assert_eq!(facts["gid"], json!([1000, 1000, 1000, 1000]));
        assert_eq!(facts["interfaces"]["lo"]["up"], true);
        facts.mount("/proc");
    }
}

#[test]
fn a_plain_user_joins_the_own_user_namespace() {
    let holder = Holder::of_user(libc::CLONE_NEWNET | libc::CLONE_NEWUTS, 1000);
    let bundle = rootless(Bundle::new()).edit(|c| {
        for kind in ["uidMappings", "gidMappings"] {
            c["linux"].as_object_mut().unwrap().remove(kind);
        }
    });
    let kinds = ["user", "network", "uts"];
    let bundle = with_namespaces(
        bundle,
        ["pid", "ipc", "mount", "user", "network", "uts"]
            .map(|kind| (kind, kinds.contains(&kind).then(|| holder.path(kind)))),
    );
    let facts = Facts(as_user(bundle.run_cmd(&[])).run().ok().json());
    for kind in kinds {
        assert_eq!(facts["namespaces"][file_of(kind)], holder.namespace(kind), "{kind}");
    }
    assert_eq!((&facts["uid"], &facts["pid"]), (&json!([0, 0, 0, 0]), &json!(1)));
    assert_eq!(facts["hostname"], "orlop");
}

/// A namespace file bound to a place where everybody can open it.
struct Bound(std::path::PathBuf);

impl Bound {
    fn new(bundle: &Bundle, path: &str) -> Self {
        let place = bundle.path("bound");
        fs::write(&place, "").unwrap();
        let bind = Command::new("mount").arg("--bind").arg(path).arg(&place).status();
        assert!(bind.unwrap().success());
        Bound(place)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_plain_user_cannot_join_what_is_roots() {
    let holder = Holder::remapped(libc::CLONE_NEWNET, 0, 100_000);
    let place = Bundle::new();
    for (kind, name) in [("network", "a network"), ("user", "a user namespace")] {
        let bound = Bound::new(&place, &holder.path(kind));
        let join = |path: Value| {
            rootless(Bundle::new()).edit(|c| {
                let list = c["linux"]["namespaces"].as_array_mut().unwrap();
                list.retain(|entry| entry["type"] != kind);
                list.insert(0, json!({ "type": kind, "path": path }));
                if kind == "user" {
                    for kind in ["uidMappings", "gidMappings"] {
                        c["linux"].as_object_mut().unwrap().remove(kind);
                    }
                }
            })
        };
        let bundle = join(json!(bound.0));
        let out = as_user(bundle.run_cmd(&[])).run().fails_with("EPERM");
        let hint = if kind == "user" {
            "only its owner and root"
        } else {
            "join the user namespace that it belongs to"
        };
        assert!(
            out.stderr.contains("linux.namespaces[0].path") && out.stderr.contains(hint),
            "{name}: {out:#?}"
        );
        bundle.assert_clean();
        // What cannot even be opened is told as that.
        let bundle = join(json!(holder.path(kind)));
        let out = as_user(bundle.run_cmd(&[])).run().fails_with("EACCES");
        assert!(
            out.stderr.contains("linux.namespaces[0].path") && out.stderr.contains("bind-mounted"),
            "{name}: {out:#?}"
        );
    }
}

#[test]
fn a_path_of_another_type_is_refused_by_its_place() {
    let holder = Holder::remapped(libc::CLONE_NEWNET | libc::CLONE_NEWIPC, 0, 100_000);
    for (index, (kind, ..)) in KINDS.iter().enumerate() {
        if *kind == "time" && !has_time_namespaces() {
            crate::harness::record_skip("time namespaces");
            continue;
        }
        let wrong = if *kind == "ipc" { "network" } else { "ipc" };
        let list = KINDS.map(|(other, ..)| (other, (other == *kind).then(|| holder.path(wrong))));
        let bundle = with_namespaces(Bundle::new().args(["true"]), list).edit(|c| {
            if *kind != "user" {
                for kind in ["uidMappings", "gidMappings"] {
                    c["linux"][kind] = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
                }
            }
            if *kind == "mount" {
                // Beside a new user namespace it is refused for another reason.
                c["linux"]["namespaces"].as_array_mut().unwrap().remove(0);
                for kind in ["uidMappings", "gidMappings"] {
                    c["linux"].as_object_mut().unwrap().remove(kind);
                }
            }
        });
        let place = if *kind == "mount" { index - 1 } else { index };
        let out = bundle.run().fails_with(&format!("linux.namespaces[{place}].path"));
        assert!(out.stderr.contains("EINVAL"), "{kind}: {out:#?}");
        bundle.assert_clean();
    }
}

#[test]
fn a_mount_namespace_cannot_be_joined_beside_a_new_user_namespace() {
    let bundle = Bundle::new();
    let holder = Holder::new(libc::CLONE_NEWNS);
    remapped(joining(bundle, &holder, &["mount"]))
        .run()
        .fails_with("linux.namespaces[4].path");
}

#[test]
fn the_own_user_namespace_by_path_changes_nothing() {
    let bundle = Bundle::new().edit(|c| {
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        list.push(json!({ "type": "user", "path": "/proc/self/ns/user" }));
    });
    assert_eq!(bundle.facts()["namespaces"]["user"], own("user"));
}

#[test]
fn names_are_set_in_a_joined_uts_namespace() {
    let holder = Holder::new(libc::CLONE_NEWUTS);
    let bundle = joining(Bundle::new(), &holder, &["uts"]).edit(|c| {
        c["hostname"] = json!("shared");
        c["domainname"] = json!("example.org");
    });
    let facts = bundle.facts();
    assert_eq!(
        (&facts["hostname"], &facts["domainname"]),
        (&json!("shared"), &json!("example.org"))
    );
    let name = Command::new("nsenter")
        .arg(format!("--uts={}", holder.path("uts")))
        .arg("hostname")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&name.stdout), "shared\n");
}

#[test]
fn kernel_parameters_are_set_in_a_joined_network_namespace_and_not_in_the_hosts() {
    let holder = Holder::new(libc::CLONE_NEWNET);
    let before = fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
    let bundle = joining(
        Bundle::new().args(["probe", "cat", "/proc/sys/net/ipv4/ip_default_ttl"]),
        &holder,
        &["network"],
    )
    .edit(|c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "33" }));
    assert_eq!(bundle.run().ok().stdout, "33\n");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap(), before);
    // By whatever path it is named.
    let host = format!("/proc/{}/ns/net", std::process::id());
    bundle.change(|c| {
        for entry in c["linux"]["namespaces"].as_array_mut().unwrap() {
            if entry["type"] == "network" {
                entry["path"] = json!(host);
            }
        }
    });
    bundle
        .run()
        .fails_with("the container shares the host's network namespace");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap(), before);
}

#[test]
fn limits_of_the_own_user_namespace_are_set() {
    let args = ["probe", "cat", "/proc/sys/user/max_net_namespaces"];
    let bundle =
        remapped(Bundle::new().args(args)).edit(|c| c["linux"]["sysctl"] = json!({ "user.max_net_namespaces": "3" }));
    assert_eq!(bundle.run().ok().stdout, "3\n");
}

// What cannot work, word by word.

#[test]
fn a_class_of_service_without_resctrl() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    need!(!mounts.contains(" - resctrl "), "a host without resctrl");
    let bundle = Bundle::new().edit(|c| c["linux"]["intelRdt"] = json!({ "closID": "gold", "enableMonitoring": true }));
    refused(&bundle, "class_without_resctrl", |cmd| cmd);
}

#[test]
fn clocks_out_of_range() {
    need!(has_time_namespaces(), "time namespaces");
    let bundle = moved(Bundle::new(), json!({ "boottime": { "secs": -4_000_000_000_i64 } }));
    refused(&bundle, "time_offset_out_of_range", |cmd| cmd);
}

#[test]
fn a_host_name_in_a_joined_uts_namespace_of_another_user_namespace() {
    let holder = Holder::new(libc::CLONE_NEWUTS);
    refused(
        &remapped(joining(Bundle::new(), &holder, &["uts"])),
        "hostname_of_another_user_namespace",
        |cmd| cmd,
    );
}

#[test]
fn a_kernel_parameter_in_a_joined_namespace_of_another_user_namespace() {
    let holder = Holder::new(libc::CLONE_NEWNET);
    let bundle = joining(Bundle::new(), &holder, &["network"])
        .edit(|c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "33" }));
    refused(&remapped(bundle), "sysctl_of_another_user_namespace", |cmd| cmd);
}

#[test]
fn a_user_namespace_path_of_another_type() {
    let bundle = Bundle::new().edit(|c| {
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        list.push(json!({ "type": "user", "path": "/proc/self/ns/uts" }));
    });
    refused(&bundle, "user_namespace_path_of_another_type", |cmd| cmd);
}

#[test]
fn a_joined_mount_namespace_of_another_user_namespace() {
    let bundle = Bundle::new();
    let holder = Holder::remapped(0, 0, 100_000);
    let of_host = Holder::new(libc::CLONE_NEWNS);
    let bundle = joining(bundle, &holder, &["user"]).edit(|c| {
        c["linux"]["namespaces"][4]["path"] = json!(of_host.path("mount"));
    });
    refused(&bundle, "mount_namespace_of_another_user_namespace", |cmd| cmd);
}

#[test]
fn mappings_that_overlap() {
    let bundle = remapped(Bundle::new()).edit(|c| {
        let again = json!({ "containerID": 10, "hostID": 300_000, "size": 10 });
        c["linux"]["uidMappings"].as_array_mut().unwrap().push(again);
    });
    refused(&bundle, "mappings_overlap", |cmd| cmd);
}

/// CVE-2021-43784: a length that was kept in 16 bits let what came after be read as something else.
#[test]
fn mappings_beyond_what_the_kernel_takes() {
    let bundle = remapped(Bundle::new()).edit(|c| {
        let all = (0..5000_u32).map(|id| json!({ "containerID": id, "hostID": 4_000_000_000 + id, "size": 1 }));
        c["linux"]["uidMappings"] = all.collect();
    });
    bundle.run().fails_with("id maps: linux.uidMappings");
    bundle.assert_clean();
}

/// Its other processes would see what is left in it.
#[test]
fn a_container_that_fails_leaves_nothing_in_a_joined_mount_namespace() {
    let bundle = Bundle::new().mount("/data", "bind", "/no/such/source", &["rbind"]);
    let holder = Holder::new(libc::CLONE_NEWNS);
    let own = bundle.dir().to_str().unwrap().to_owned();
    // What other tests mount on the host meanwhile arrives here too.
    let mounts = || -> Vec<String> {
        let all = fs::read_to_string(format!("/proc/{}/mountinfo", holder.pid())).unwrap();
        let ours = |line: &&str| !line.contains("-bundle") || line.contains(&own);
        all.lines().filter(ours).map(String::from).collect()
    };
    let before = mounts();
    joining(bundle, &holder, &["mount"]).run().fails_with("/no/such/source");
    assert_eq!(mounts(), before);
}

/// Seconds since boot, as a process of this time namespace sees them.
fn uptime(text: &str) -> f64 {
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn moved(bundle: Bundle, offsets: Value) -> Bundle {
    bundle.edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "time" }));
        c["linux"]["timeOffsets"] = offsets;
        c["process"]["args"] = json!(["sh", "-c", "cat /proc/uptime /proc/self/timens_offsets"]);
    })
}

#[track_caller]
fn assert_moved(out: &str, monotonic: [&str; 2], boottime: [&str; 2]) {
    let here = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let seconds: f64 = boottime[0].parse().unwrap();
    assert!((uptime(out) - here - seconds).abs() < 60.0, "{out}");
    let offset = |clock: &str| -> Vec<&str> {
        let line = out
            .lines()
            .find(|line| line.starts_with(clock))
            .unwrap_or_else(|| panic!("{out}"));
        line.split_whitespace().skip(1).collect()
    };
    assert_eq!(offset("monotonic"), monotonic);
    assert_eq!(offset("boottime"), boottime);
}

#[test]
fn clocks_are_moved() {
    need!(has_time_namespaces(), "time namespaces");
    let offsets = json!({ "monotonic": { "secs": 172_800, "nanosecs": 5 }, "boottime": { "secs": 604_800 } });
    let (monotonic, boottime) = (["172800", "5"], ["604800", "0"]);
    let bundle = moved(Bundle::new(), offsets.clone());
    assert_moved(&bundle.run().ok().stdout, monotonic, boottime);
    let bundle = moved(remapped(Bundle::new()), offsets.clone());
    assert_moved(&bundle.run().ok().stdout, monotonic, boottime);
    let holder = Holder::remapped(0, 0, 100_000);
    let bundle = moved(joining(Bundle::new(), &holder, &["user"]), offsets.clone());
    assert_moved(&bundle.run().ok().stdout, monotonic, boottime);
    let bundle = moved(rootless(Bundle::new()), offsets);
    assert_moved(&as_user(bundle.run_cmd(&[])).run().ok().stdout, monotonic, boottime);
    // The host's go on as they were.
    let own = fs::read_to_string("/proc/self/timens_offsets").unwrap();
    assert!(
        own.lines()
            .all(|line| line.split_whitespace().skip(1).all(|number| number == "0")),
        "{own}"
    );
}

#[test]
fn a_joined_time_namespace_keeps_its_clocks() {
    need!(has_time_namespaces(), "time namespaces");
    let first = moved(Bundle::new(), json!({ "boottime": { "secs": 604_800 } })).args(["probe", "sleep"]);
    let container = first.start();
    container.until("ready");
    let path = format!("/proc/{}/ns/time", container.pid());
    let bundle = Bundle::new().args(["cat", "/proc/uptime"]).edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "time", "path": path }));
    });
    let here = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let there = uptime(&bundle.run().ok().stdout);
    assert!((there - here - 604_800.0).abs() < 60.0, "{there}");
    bundle.change(|c| c["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1 } }));
    bundle.run().fails_with("linux.timeOffsets");
    container.kill("KILL");
    container.until_stopped();
}

#[test]
fn a_container_with_moved_clocks_goes_through_a_whole_life() {
    need!(has_time_namespaces(), "time namespaces");
    let bundle = moved(
        Bundle::new(),
        json!({ "monotonic": { "secs": -1 }, "boottime": { "secs": 86_400 } }),
    )
    .args(["probe", "sleep"]);
    let container = bundle.create();
    assert_eq!(container.status(), "created");
    container.start();
    container.until("ready");
    // The start time by which init is known must not be the container's.
    assert_eq!(container.status(), "running");
    container.kill("KILL");
    container.until_stopped();
    container.delete();
}
