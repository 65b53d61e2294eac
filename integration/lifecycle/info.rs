//! `info`: what it says of the host agrees with what the host does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::cgroup::has_controller;
use crate::harness::host::{has_strace, kernel_release};
use crate::harness::{Bundle, Cmd, users};
use crate::need;

fn info(bundle: &Bundle) -> Cmd {
    bundle.orlop(["info", "--format", "json"])
}

/// With the calls that match failing, as by the filter of a container or on an older kernel.
fn with_failing(bundle: &Bundle, inject: &str) -> Value {
    let words = format!("exec strace -f -qq -o /dev/null -e inject={inject} \"$0\" \"$@\"");
    info(bundle).through_shell(&words).run().ok().json()
}

#[test]
fn the_document_has_the_same_shape_everywhere() {
    let document = info(&Bundle::new()).run().ok().json();
    let sections = document.as_object().unwrap();
    let keys = |section: &str| -> Vec<&str> {
        sections[section]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    };
    let expected = json!({
        "orlop": ["version", "commit", "specification"],
        "kernel": ["version", "cloneIntoCgroup", "openat2", "pidfd", "mountSetattr", "openTreeAttr", "openTreeNamespace", "procPidns", "memoryPolicy",
            "keyring", "namespaces", "resctrl", "deviceRules", "pressure"],
        "security": ["filters", "seccompActions", "seccompFlags", "lsm", "apparmor", "selinux", "binary"],
        "user": ["uid", "userNamespaces", "maxUserNamespaces"],
        "systemd": ["running", "systemBus", "userBus"],
        "state": ["directory", "exists", "writable"],
        "limits": ["pidMax", "mountMax", "keys", "mountNamespaces", "networkNamespaces"]
    });
    for (section, expected) in expected.as_object().unwrap() {
        assert_eq!(json!(keys(section)), *expected, "{section}");
    }
    let order: Vec<&str> = sections.keys().map(String::as_str).collect();
    let all = [
        "orlop",
        "kernel",
        "security",
        "cgroup",
        "user",
        "idmappedMounts",
        "systemd",
        "criu",
        "state",
        "limits",
    ];
    assert_eq!(order, all);
    let cgroup = [
        "version",
        "mount",
        "controllers",
        "own",
        "ownControllers",
        "parent",
        "delegated",
        "writable",
    ];
    // The root of the tree has no cgroup.kill.
    assert_eq!(
        keys("cgroup")
            .into_iter()
            .filter(|key| *key != "kill")
            .collect::<Vec<_>>(),
        cgroup
    );
    for fact in sections
        .values()
        .flat_map(|section| section.as_object().unwrap().values())
    {
        let keys: Vec<&str> = fact.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys[..3], ["value", "status", "meaning"], "{fact}");
        assert!(
            ["ok", "limited", "missing", "unknown"].contains(&fact["status"].as_str().unwrap()),
            "{fact}"
        );
        assert!(fact["status"] == "ok" || fact["meaning"] != "", "{fact}");
        assert!(
            fact["status"] != "ok" || keys.len() == 3,
            "a cure for what is ok: {fact}"
        );
    }
}

#[test]
fn root_can_do_what_these_tests_do() {
    let bundle = Bundle::new().args(["true"]);
    bundle.run().ok();
    let document = info(&bundle).run().ok().json();
    for (section, key) in [
        ("kernel", "cloneIntoCgroup"),
        ("kernel", "openat2"),
        ("kernel", "pidfd"),
        ("kernel", "mountSetattr"),
        ("security", "filters"),
        ("cgroup", "writable"),
        ("user", "userNamespaces"),
        ("state", "writable"),
    ] {
        assert_eq!(
            (&document[section][key]["value"], &document[section][key]["status"]),
            (&json!(true), &json!("ok")),
            "{key}"
        );
    }
    assert_eq!(document["security"]["binary"]["value"], "read-only mount");
    assert_eq!(
        document["state"]["directory"]["value"],
        bundle.state_root().to_str().unwrap()
    );
    let release = kernel_release();
    let version = document["kernel"]["version"]["value"].as_str().unwrap();
    assert!(version.starts_with(&release), "{version}");
    let controllers = document["cgroup"]["controllers"]["value"].as_array().unwrap();
    for name in ["cpu", "memory", "pids"] {
        assert_eq!(controllers.contains(&json!(name)), has_controller(name), "{name}");
    }
    let memory = document["cgroup"]["controllers"]["meaning"].as_str().unwrap();
    assert!(
        has_controller("memory") || memory.contains("limits of") && memory.contains("memory"),
        "{memory}"
    );
}

#[test]
fn an_unprivileged_user_sees_their_own_possibilities() {
    let bundle = users::rootless(Bundle::new());
    let document = users::as_user(info(&bundle)).run().ok().json();
    assert_eq!(document["user"]["uid"]["value"], 1000);
    assert_eq!(document["security"]["binary"]["value"], "sealed copy in memory");
    assert_eq!(
        (
            &document["cgroup"]["writable"]["value"],
            &document["cgroup"]["writable"]["status"]
        ),
        (&json!(false), &json!("limited"))
    );
    assert!(
        document["cgroup"]["writable"]["cure"]
            .as_str()
            .unwrap()
            .contains("Delegate=yes")
    );
    assert_eq!(document["kernel"]["deviceRules"]["value"], false);
    for fact in document["idmappedMounts"].as_object().unwrap().values() {
        assert_eq!(
            (&fact["value"], &fact["status"]),
            (&Value::Null, &json!("unknown")),
            "{fact}"
        );
    }
    for key in ["subuid", "subgid", "newuidmap", "newgidmap"] {
        assert!(document["user"].get(key).is_some(), "{key}");
    }
}

#[test]
fn a_feature_that_is_missing_or_refused_is_named() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new();
    for (inject, section, key, status) in [
        ("clone3:error=ENOSYS", "kernel", "cloneIntoCgroup", "missing"),
        ("openat2:error=ENOSYS", "kernel", "openat2", "missing"),
        ("mount_setattr:error=ENOSYS", "kernel", "mountSetattr", "missing"),
        ("get_mempolicy:error=ENOSYS", "kernel", "memoryPolicy", "limited"),
        ("keyctl:error=EPERM", "kernel", "keyring", "limited"),
        ("bpf:error=EPERM", "kernel", "deviceRules", "limited"),
        ("seccomp:error=EINVAL", "security", "filters", "limited"),
        ("clone3:error=EPERM", "user", "userNamespaces", "limited"),
    ] {
        let fact = &with_failing(&bundle, inject)[section][key];
        assert_eq!(
            (&fact["value"], &fact["status"]),
            (&json!(false), &json!(status)),
            "{inject}: {fact}"
        );
        if inject.ends_with("EPERM") {
            assert!(fact["meaning"].as_str().unwrap().contains("EPERM"), "{fact}");
        }
    }
    // The fallback is named where there is one.
    assert_eq!(
        with_failing(&bundle, "mount_setattr:error=EPERM")["security"]["binary"]["value"],
        "sealed copy in memory"
    );
    let none = with_failing(&bundle, "mount_setattr,memfd_create:error=EPERM");
    assert_eq!(
        (
            &none["security"]["binary"]["value"],
            &none["security"]["binary"]["status"]
        ),
        (&Value::Null, &json!("missing"))
    );
    assert_eq!(none["idmappedMounts"]["tmpfs"]["status"], "unknown");
    let refused = with_failing(&bundle, "mount_setattr:error=EINVAL");
    assert_eq!(refused["idmappedMounts"]["tmpfs"]["value"], false);
}

#[test]
fn without_a_cgroup_tree_the_cure_is_to_mount_it() {
    let bundle = Bundle::new();
    let words = "exec unshare --mount sh -c 'umount -R /sys/fs/cgroup; exec \"$0\" \"$@\"' \"$0\" \"$@\"";
    let document = info(&bundle).through_shell(words).run().ok().json();
    let version = &document["cgroup"]["version"];
    assert_eq!(
        (&version["value"], &version["status"]),
        (&Value::Null, &json!("missing"))
    );
    assert_eq!(version["cure"], "mount -t cgroup2 none /sys/fs/cgroup");
}

#[test]
fn criu_is_asked_for_its_version() {
    let bundle = Bundle::new();
    let programs = bundle.path("programs");
    fs::create_dir(&programs).unwrap();
    let path = programs.join("criu");
    fs::write(&path, "#!/bin/sh\necho 'Version: 9.8'\necho 'GitID: v9.8'\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let with = info(&bundle).env("PATH", programs.to_str().unwrap()).run().ok().json();
    assert_eq!(
        (&with["criu"]["path"]["value"], &with["criu"]["version"]["value"]),
        (&json!(path), &json!("9.8"))
    );
    let without = info(&bundle).env("PATH", "/nowhere").run().ok().json();
    assert_eq!(without["criu"]["path"]["status"], "limited");
}

#[test]
fn the_text_has_a_line_for_each_fact() {
    let bundle = Bundle::new();
    let document = info(&bundle).run().ok().json();
    let text = bundle.orlop(["info"]).run().ok().stdout;
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for (section, facts) in document.as_object().unwrap() {
        assert!(words.contains(&vec![section.as_str()]), "{section}: {text}");
        for (key, fact) in facts.as_object().unwrap() {
            let line = words
                .iter()
                .any(|words| words.starts_with(&[key.as_str(), fact["status"].as_str().unwrap()]));
            assert!(line, "{section}.{key}: {text}");
        }
    }
}

/// The bundle checks for processes, mounts and cgroups.
#[test]
fn nothing_is_changed() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new();
    let (log, mounts) = (
        bundle.path("calls"),
        fs::read_to_string("/proc/self/mountinfo").unwrap(),
    );
    let words = format!("exec strace -f -qq -o {} \"$0\" \"$@\"", log.display());
    info(&bundle)
        .env("PATH", "/usr/bin:/bin")
        .through_shell(&words)
        .run()
        .ok();
    let log = fs::read_to_string(log).unwrap();
    for call in [
        "O_CREAT",
        "mkdir",
        "unlink",
        "rename",
        "move_mount(",
        " mount(",
        "umount",
        "symlink",
        "setxattr",
        "chmod",
    ] {
        assert!(!log.contains(call), "{call}: {log}");
    }
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
    assert!(!bundle.state_root().exists());
}

/// Without CRIU, whose start takes longer than all the rest. The bound is on processor time, which other programs on the
/// machine hardly change.
#[test]
fn it_takes_less_than_fifty_milliseconds() {
    let output = info(&Bundle::new()).env("PATH", "/nowhere").run().ok();
    assert!(
        output.processor_time < Duration::from_millis(50),
        "{:?}",
        output.processor_time
    );
}
