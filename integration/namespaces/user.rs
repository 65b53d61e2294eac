//! User namespaces: created by root with a range of IDs, and by an unprivileged user with only their own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use serde_json::json;

use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Facts};

#[test]
fn ids_are_mapped() {
    let bundle = remapped(Bundle::new().args(["probe", "sleep"]));
    let c = bundle.start();
    c.until("ready");
    let process = fs::metadata(format!("/proc/{}", c.pid())).unwrap();
    assert_eq!((process.uid(), process.gid()), (100_000, 100_000));
    let map = fs::read_to_string(format!("/proc/{}/uid_map", c.pid())).unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    assert_eq!(
        fs::read_to_string(format!("/proc/{}/setgroups", c.pid())).unwrap(),
        "allow\n"
    );
}

#[test]
fn the_default_specification_holds_in_a_user_namespace() {
    let bundle = remapped(Bundle::new().args(["probe", "facts", "/dev/null", "/dev/fd", "/dev/pts/ptmx"]));
    let facts = Facts(bundle.run_cmd(&[]).groups(&[4, 27]).run().ok().json());
    assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
    assert_eq!(facts["groups"], json!([]));
    assert_eq!(facts["hostname"], "orlop");
    assert_eq!(
        facts["caps"]["bounding"],
        json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"])
    );
    assert_eq!(
        facts["caps"]["effective"],
        json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"])
    );
    assert_eq!(facts["noNewPrivileges"], true);
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    assert_ne!(facts["namespaces"]["user"], json!(own.to_string_lossy()));
    let null = facts.path("/dev/null");
    assert_eq!(
        (&null["type"], &null["major"], &null["minor"]),
        (&json!("character device"), &json!(1), &json!(3))
    );
    assert_eq!(null["mode"], "0666");
    assert_eq!(facts.path("/dev/fd")["target"], "/proc/self/fd");
    assert_eq!(facts["interfaces"]["lo"]["up"], true);
    for place in ["/proc", "/sys", "/dev/pts", "/dev/mqueue"] {
        facts.mount(place);
    }
}

#[test]
fn another_user_in_a_user_namespace() {
    let bundle = remapped(Bundle::new()).edit(|c| {
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [7] });
    });
    let facts = bundle.facts();
    assert_eq!(facts["uid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(facts["gid"], json!([1001, 1001, 1001, 1001]));
    assert_eq!(facts["groups"], json!([7]));
}

#[test]
fn mappings_need_a_user_namespace_and_users_a_mapping() {
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    });
    bundle
        .run()
        .fails_for("linux.uidMappings: mappings require a user namespace");
    let bundle = remapped(Bundle::new().args(["true"])).edit(|c| c["process"]["user"]["uid"] = json!(70_000));
    bundle.run().fails_for("process.user.uid: 70000 is not mapped");
    bundle.assert_clean();
}

/// As in crun: the caller's IDs are mapped to root, and no others.
#[test]
fn without_mappings_the_caller_is_root_inside() {
    let without = |bundle: Bundle| {
        bundle
            .args(["cat", "/proc/self/uid_map", "/proc/self/gid_map"])
            .edit(|c| {
                let linux = c["linux"].as_object_mut().unwrap();
                linux.remove("uidMappings");
                linux.remove("gidMappings");
            })
    };
    let fields = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // In its devpts, group 5 would own the terminals, but it is not mapped.
    let out = without(remapped(Bundle::new().without_mount("/dev/pts"))).run().ok();
    assert_eq!(fields(&out.stdout), ["0", "0", "1", "0", "0", "1"]);
    let warning =
        "linux.uidMappings is missing: the container's ID 0 is mapped to the caller's, 0, and it has no other ID";
    assert!(out.stderr.contains(warning), "{out:#?}");
    let bundle = without(rootless(Bundle::new()));
    let out = as_user(bundle.run_cmd(&[])).run().ok();
    assert_eq!(fields(&out.stdout), ["0", "1000", "1", "0", "1000", "1"]);
}

#[test]
fn an_unprivileged_user_runs_a_container() {
    let bundle = rootless(Bundle::new());
    let facts = Facts(as_user(bundle.run_cmd(&[])).run().ok().json());
    assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
    assert_eq!(facts["pid"], 1);
    assert_eq!(facts["hostname"], "orlop");
    assert_eq!(facts["fds"].as_object().unwrap().len(), 3);
    let out = as_user(rootless(Bundle::new().args(["probe", "exit", "5"])).run_cmd(&[])).run();
    assert_eq!(out.code, 5, "{out:#?}");
}

#[test]
fn an_unprivileged_users_container_works_from_create_to_delete() {
    let bundle = rootless(Bundle::new().args(["probe", "signals"]));
    let id = bundle.fresh_id();
    let call = |args: &[&str]| as_user(bundle.orlop(args)).run();
    as_user(bundle.create_cmd(&id, &[])).run().ok();
    assert_eq!(call(&["state", &id]).ok().json()["status"], "created");
    call(&["start", &id]).ok();
    let state = call(&["state", &id]).ok().json();
    assert_eq!(state["status"], "running");
    let process = fs::metadata(format!("/proc/{}", state["pid"])).unwrap();
    assert_eq!(process.uid(), 1000);
    call(&["kill", &id, "KILL"]).ok();
    crate::harness::eventually("the container stops", || {
        call(&["state", &id]).ok().json()["status"] == "stopped"
    });
    call(&["delete", &id]).ok();
    call(&["state", &id]).fails_with("does not exist");
}

/// CVE-2014-8989: a user who cannot set groups outside cannot drop them inside either.
#[test]
fn an_unprivileged_user_cannot_drop_groups() {
    let bundle = rootless(Bundle::new().args(["probe", "cat", "/proc/self/setgroups"]));
    assert_eq!(as_user(bundle.run_cmd(&[])).run().ok().stdout, "deny\n");
}

#[test]
fn a_missing_user_namespace_of_an_unprivileged_user_is_explained() {
    let bundle = Bundle::new().args(["true"]);
    fs::create_dir_all(bundle.state_root()).unwrap();
    chown(bundle.state_root(), Some(1000), Some(1000)).unwrap();
    as_user(bundle.run_cmd(&[])).run().fails_with("user");
    bundle.assert_clean();
}

/// config.md, `additionalGids`: groups that cannot be set are an error before anything is created.
#[test]
fn an_unprivileged_user_with_one_mapped_group_cannot_have_more() {
    let bundle = rootless(Bundle::new().args(["true"])).edit(|c| c["process"]["user"]["additionalGids"] = json!([0]));
    as_user(bundle.run_cmd(&[]))
        .run()
        .fails_with("process.user.additionalGids");
    bundle.assert_clean();
    bundle.change(|c| c["process"]["user"]["additionalGids"] = json!([]));
    as_user(bundle.run_cmd(&[])).run().ok();
}

#[test]
fn an_unprivileged_users_container_has_its_limits() {
    let bundle = rootless(Bundle::new()).edit(|c| {
        c["process"]["oomScoreAdj"] = json!(900);
        c["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]);
        c["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
        c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 });
    });
    let facts = as_user(bundle.run_cmd(&[])).run().ok().json();
    assert_eq!(facts["oomScoreAdj"], 900);
    assert_eq!(facts["rlimits"]["RLIMIT_CORE"], json!([0, 0]));
    let found = &facts["scheduler"];
    assert_eq!((&found["policy"], &found["nice"]), (&json!(3), &json!(5)));
    assert_eq!(facts["ioprio"]["class"], 3);
}

#[test]
fn an_unprivileged_users_container_notifies() {
    let bundle = rootless(Bundle::new().args(["probe", "notify", "READY=1"]));
    fs::create_dir_all(bundle.inside("/run/notify")).unwrap();
    let manager = bundle.path("manager");
    let socket = std::os::unix::net::UnixDatagram::bind(&manager).unwrap();
    fs::set_permissions(&manager, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(15)))
        .unwrap();
    let run = as_user(bundle.run_cmd(&[]).env("NOTIFY_SOCKET", manager.to_str().unwrap())).spawn();
    let mut text = [0; 100];
    let length = socket.recv(&mut text).unwrap();
    assert!(text[..length].starts_with(b"READY=1\n"));
    run.wait().ok();
}

/// Engines keep images where only root has access, and container root is an unprivileged user there.
#[test]
fn a_root_that_only_the_host_can_reach_works() {
    for propagation in ["", "private", "rslave", "shared", "unbindable"] {
        for flags in [&[] as &[&str], &["--no-pivot"]] {
            let bundle = remapped(Bundle::new().args(["probe", "facts", "/etc/mark"]));
            fs::write(bundle.inside("/etc/mark"), "").unwrap();
            let hidden = bundle.path("hidden");
            fs::create_dir(&hidden).unwrap();
            fs::rename(bundle.inside(""), hidden.join("rootfs")).unwrap();
            fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700)).unwrap();
            let bundle = bundle.edit(|c| {
                c["root"]["path"] = json!("hidden/rootfs");
                c["linux"]["rootfsPropagation"] = json!(propagation);
            });
            let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
            let facts = Facts(bundle.run_cmd(flags).run().ok().json());
            facts.path("/etc/mark");
            let mounts = facts["mounts"].as_array().unwrap();
            let places: Vec<&str> = mounts
                .iter()
                .map(|mount| mount["mountpoint"].as_str().unwrap())
                .collect();
            for place in ["/", "/proc", "/dev", "/dev/pts", "/sys"] {
                assert!(places.contains(&place), "{propagation} {flags:?}: {places:?}");
            }
            if flags.is_empty() {
                // No mount of the host is left below.
                assert_eq!(places.iter().filter(|place| **place == "/").count(), 1, "{places:?}");
                assert!(!places.iter().any(|place| place.contains("hidden")), "{places:?}");
            }
            assert!(facts.options("/").contains(&"ro".to_owned()));
            let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert_eq!(before.lines().count(), after.lines().count(), "{after}");
        }
    }
    // A process that joins gets the same root.
    let bundle = remapped(Bundle::new().args(["probe", "sleep"]));
    fs::create_dir(bundle.path("hidden")).unwrap();
    fs::rename(bundle.inside(""), bundle.path("hidden/rootfs")).unwrap();
    fs::set_permissions(bundle.path("hidden"), fs::Permissions::from_mode(0o700)).unwrap();
    bundle.change(|c| c["root"]["path"] = json!("hidden/rootfs"));
    let c = bundle.start();
    c.until("ready");
    let listed = bundle.orlop(["exec", &c.id, "ls", "/", "/.."]).run().ok().stdout;
    assert!(listed.contains("bin") && !listed.contains("work"), "{listed}");
}
