//! Namespaces, new and joined by path, in every combination. Settings inside them are in `settings.rs`.

use std::fs::{self};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::exec::{exec_facts, idle};
use crate::harness::golden::refused;
use crate::harness::namespaces::{has_time_namespaces, in_pid_namespace_of, joining, with_namespaces};
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Facts, Holder, KINDS, file_of, own_namespace};
use crate::need;

#[test]
fn all_eight_kinds_are_created_at_once() {
    need!(has_time_namespaces(), "time namespaces");
    let bundle = remapped(Bundle::new()).edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "time" }));
    });
    let facts = bundle.facts();
    for (kind, file, _) in KINDS {
        assert_ne!(facts["namespaces"][file], own_namespace(kind), "{kind}");
    }
    assert_eq!(facts["pid"], 1);
}

#[test]
fn each_kind_can_be_joined_by_path() {
    for (kind, file, flag) in KINDS {
        if kind == "time" && !has_time_namespaces() {
            crate::harness::record_skip("time namespaces");
            continue;
        }
        let bundle = Bundle::new();
        // Made after the bundle, or the tmpfs of a mount namespace would be without it.
        let holder = match kind {
            "user" => Holder::remapped(flag, 0, 100_000),
            // The namespace is usable as soon as it has a first process.
            "pid" => Holder::with_init(),
            _ => Holder::new(flag),
        };
        let bundle = joining(bundle, &holder, &[kind]);
        let out = bundle.run().ok();
        assert_eq!(out.stderr, "", "{kind}");
        let facts = Facts(out.json());
        assert_eq!(facts["namespaces"][file], holder.namespace(kind), "{kind}");
        assert_ne!(facts["namespaces"][file], own_namespace(kind), "{kind}");
        for (other, file, _) in KINDS {
            if !["user", "time", kind].contains(&other) {
                assert_ne!(
                    facts["namespaces"][file],
                    own_namespace(other),
                    "{other} beside a joined {kind}"
                );
            }
        }
        assert_eq!(facts["uid"], json!([0, 0, 0, 0]), "{kind}");
        facts.mount("/proc");
        // It would keep the mounts of a container that shared its mount namespace.
        drop(holder);
    }
}

/// Existing namespaces belong to the host's user namespace and are joined before the new one is entered.
#[test]
fn namespaces_of_the_host_are_joined_beside_a_new_user_namespace() {
    let kinds = ["network", "ipc", "uts", "cgroup"];
    let holder = Holder::new(libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP);
    let bundle = joining(Bundle::new(), &holder, &kinds)
        // Neither sysfs nor mqueue can be mounted for a namespace that belongs to another user namespace.
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
    assert_ne!(facts["namespaces"]["user"], own_namespace("user"));
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
    assert_ne!(facts["namespaces"]["pid"], own_namespace("pid"));
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
    assert!(!out.stderr.contains("Mappings"), "{out:#?}");
    mapped(200_000).run().fails_with("linux.uidMappings");
}

#[test]
fn a_container_works_without_a_mapped_root() {
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
fn an_unprivileged_user_joins_their_own_user_namespace() {
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
fn an_unprivileged_user_cannot_join_namespaces_of_root() {
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
        // A file that cannot be opened is reported as such.
        let bundle = join(json!(holder.path(kind)));
        let out = as_user(bundle.run_cmd(&[])).run().fails_with("EACCES");
        assert!(
            out.stderr.contains("linux.namespaces[0].path") && out.stderr.contains("bind mount"),
            "{name}: {out:#?}"
        );
    }
}

#[test]
fn a_path_of_another_type_is_refused_with_its_property() {
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
                // Together with a new user namespace it is refused for another reason.
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
fn joining_the_current_user_namespace_changes_nothing() {
    let bundle = Bundle::new().edit(|c| {
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        list.push(json!({ "type": "user", "path": "/proc/self/ns/user" }));
    });
    assert_eq!(bundle.facts()["namespaces"]["user"], own_namespace("user"));
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

/// CVE-2021-43784: a length stored in 16 bits let the following bytes be parsed as other data.
#[test]
fn mappings_beyond_what_the_kernel_takes() {
    let bundle = remapped(Bundle::new()).edit(|c| {
        let all = (0..5000_u32).map(|id| json!({ "containerID": id, "hostID": 4_000_000_000 + id, "size": 1 }));
        c["linux"]["uidMappings"] = all.collect();
    });
    bundle.run().fails_with("linux.uidMappings: ");
    bundle.assert_clean();
}

/// Its other processes would see leftover mounts.
#[test]
fn a_container_that_fails_leaves_nothing_in_a_joined_mount_namespace() {
    let bundle = Bundle::new().mount("/data", "bind", "/no/such/source", &["rbind"]);
    let holder = Holder::new(libc::CLONE_NEWNS);
    let own = bundle.dir().to_str().unwrap().to_owned();
    // Mounts that other tests make on the host meanwhile appear here too.
    let mounts = || -> Vec<String> {
        let all = fs::read_to_string(format!("/proc/{}/mountinfo", holder.pid())).unwrap();
        let ours = |line: &&str| !line.contains("-bundle") || line.contains(&own);
        all.lines().filter(ours).map(String::from).collect()
    };
    let before = mounts();
    joining(bundle, &holder, &["mount"]).run().fails_with("/no/such/source");
    assert_eq!(mounts(), before);
}

/// It is in the namespace, with a procfs that shows it, and ends on its own.
#[test]
fn a_container_in_the_pid_namespace_of_another() {
    let first = idle();
    let c = first.start();
    let second = in_pid_namespace_of(&c, idle());
    let joined = second.start();
    let link = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    assert_eq!(link(joined.pid()), link(c.pid()));
    let facts = exec_facts(&joined, &[]);
    assert_eq!(facts["namespaces"]["pid"], json!(link(c.pid()).to_string_lossy()));
    assert_eq!(facts["ppid"], 0);
    joined.kill("KILL");
    joined.until_stopped();
    assert_eq!(c.status(), "running");
    let out = in_pid_namespace_of(&c, Bundle::new().args(["probe", "exit", "5"])).run();
    assert_eq!(out.code, 5, "{out:#?}");
    let deadline = in_pid_namespace_of(&c, Bundle::new()).edit(|config| {
        config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
        config["process"]["terminal"] = json!(true);
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NPROC", "soft": 700, "hard": 700 }]);
    });
    let facts = deadline.facts();
    assert_eq!(
        (&facts["scheduler"]["policy"], &facts["scheduler"]["nice"]),
        (&json!(3), &json!(5))
    );
    assert_eq!(facts["rlimits"]["RLIMIT_NPROC"], json!([700, 700]));
    assert!(facts["tty"][0].is_object(), "{}", facts["tty"]);
    assert_eq!(facts["sid"], facts["pid"]);
}
