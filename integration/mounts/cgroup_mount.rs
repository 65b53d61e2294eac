//! The mount of the cgroup tree in the container.

use std::fs::{self};

use serde_json::json;

use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Attempts, Bundle};

#[test]
fn the_types_cgroup_and_cgroup2_are_the_same() {
    let with = |kind: &str| {
        let bundle = Bundle::new().edit(|c| {
            let mounts = c["mounts"].as_array_mut().unwrap();
            let mount = mounts.iter_mut().find(|m| m["destination"] == "/sys/fs/cgroup");
            mount.expect("a mount of the cgroup tree")["type"] = json!(kind);
        });
        let facts = bundle.facts();
        let mount = facts.mount("/sys/fs/cgroup").clone();
        [mount["fstype"].clone(), mount["root"].clone(), mount["options"].clone()]
    };
    let both = ["cgroup", "cgroup2"].map(with);
    assert_eq!(both[0], both[1]);
    assert_eq!(both[0][0], "cgroup2");
}

/// containerd 2 gives the mount of a privileged container the options of the host's, which systemd mounts with some.
#[test]
fn options_of_the_whole_hierarchy_have_no_effect() {
    let options = |more: &[&str]| {
        let bundle = Bundle::new().edit(|c| {
            let mounts = c["mounts"].as_array_mut().unwrap();
            let mount = mounts.iter_mut().find(|m| m["destination"] == "/sys/fs/cgroup");
            let options = mount.expect("a mount of the cgroup tree")["options"].as_array_mut();
            options
                .expect("options")
                .extend(more.iter().map(|option| json!(option)));
        });
        bundle.facts().mount("/sys/fs/cgroup")["options"].clone()
    };
    let all = [
        "nsdelegate",
        "favordynmods",
        "memory_localevents",
        "memory_recursiveprot",
        "memory_hugetlb_accounting",
        "pids_localevents",
    ];
    assert_eq!(options(&all), options(&[]));
}

/// CVE-2023-25809: without a cgroup namespace only the container's cgroup of the host's tree is writable.
#[test]
fn without_a_cgroup_namespace_only_the_containers_cgroup_is_writable() {
    let wide = |bundle: Bundle| {
        bundle
            .without_namespace("cgroup")
            .without_mount("/sys/fs/cgroup")
            .mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "rw"],
            )
    };
    let operations = [
        "list,/sys/fs/cgroup",
        "read,/sys/fs/cgroup/cgroup.procs",
        "mkdir,/sys/fs/cgroup/../orlop-escape",
        "open,/sys/fs/cgroup/suite/cgroup.procs,w",
        "open,/sys/fs/cgroup/../cgroup.procs,w",
    ];
    for user_namespace in [false, true] {
        let mut bundle = wide(Bundle::new().with_caps(&["CAP_DAC_OVERRIDE"]));
        if user_namespace {
            bundle = remapped(bundle);
        }
        let tried = bundle.attempt(operations);
        assert!(
            tried
                .detail("list,/sys/fs/cgroup")
                .as_array()
                .unwrap()
                .contains(&json!("cgroup.procs"))
        );
        let processes = tried
            .detail("read,/sys/fs/cgroup/cgroup.procs")
            .as_str()
            .unwrap()
            .trim();
        assert_eq!(processes, "1", "its own processes and no others");
        for operation in &operations[2..] {
            assert_ne!(tried.result(operation), "ok", "{operation}");
        }
    }
    // A container of an unprivileged user without a cgroup: nothing to see, and nothing to write.
    let bundle = rootless(Bundle::new()).without_namespace("cgroup");
    let bundle = wide(bundle).args([&["probe", "try"], &operations[..], &["create,/sys/fs/cgroup/x"]].concat());
    let tried = Attempts(as_user(bundle.run_cmd(&[])).run().ok().json());
    assert_eq!(tried.detail("list,/sys/fs/cgroup"), &json!([]));
    for operation in operations[1..].iter().chain(&["create,/sys/fs/cgroup/x"]) {
        assert_ne!(tried.result(operation), "ok", "{operation}");
    }
    let host = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    assert!(host.into_iter().all(|entry| entry.file_name() != "orlop-escape"));
}

/// Programs join /sys/fs/cgroup and the path in /proc/self/cgroup. Without a cgroup namespace that path starts at the root
/// of the host's tree.
#[test]
fn without_a_cgroup_namespace_a_read_only_tree_is_complete() {
    let script = "own=$(sed -n 's/^0:://p' /proc/self/cgroup); echo \"$own\"; cat \"/sys/fs/cgroup$own/cgroup.procs\"";
    let shared = |options: &[&str]| {
        Bundle::new()
            .without_namespace("cgroup")
            .without_mount("/sys/fs/cgroup")
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", options)
            .with_caps(&["CAP_DAC_OVERRIDE"])
    };
    for options in [&["ro", "nosuid"] as &[&str], &["rro"], &["rw", "ro"]] {
        let bundle = shared(options);
        std::os::unix::fs::symlink("busybox", bundle.inside("/bin/sed")).expect("an applet");
        let said = bundle.sh(script).run().ok().stdout;
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            lines[0].ends_with("-c0") && lines[1..].contains(&"1"),
            "{options:?}: {said}"
        );
    }
    let tried = shared(&["ro"]).attempt([
        "mkdir,/sys/fs/cgroup/x",
        "open,/sys/fs/cgroup/cgroup.procs,w",
        "open,/sys/fs/cgroup/suite/cgroup.procs,w",
    ]);
    for operation in [
        "mkdir,/sys/fs/cgroup/x",
        "open,/sys/fs/cgroup/cgroup.procs,w",
        "open,/sys/fs/cgroup/suite/cgroup.procs,w",
    ] {
        assert_eq!(tried.result(operation), "EROFS", "{operation}");
    }
    // In a user namespace only the container's cgroup is visible.
    let tried = remapped(shared(&["ro"])).attempt(["list,/sys/fs/cgroup", "mkdir,/sys/fs/cgroup/x"]);
    let listed = tried.detail("list,/sys/fs/cgroup").as_array().expect("a list").clone();
    assert!(
        listed.contains(&json!("cgroup.procs")) && !listed.contains(&json!("suite")),
        "{listed:?}"
    );
    assert_eq!(tried.result("mkdir,/sys/fs/cgroup/x"), "EROFS");
}
