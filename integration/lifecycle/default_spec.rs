//! The default specification, checked from inside: a container without special settings. Its process is checked
//! in `process/`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::stat::SFlag;
use serde_json::{Value, json};

use crate::harness::host::make_node;
use crate::harness::{Attempts, Bundle, Facts};

const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn facts_about(paths: &[&str]) -> Facts {
    Bundle::new().args([&["probe", "facts"], paths].concat()).facts()
}

fn facts() -> Facts {
    facts_about(&[])
}

/// Tries each operation, which must have this result.
#[track_caller]
fn attempt_all(bundle: Bundle, table: &[(&str, &str)]) -> Attempts {
    let tried = bundle.attempt(table.iter().map(|(operation, _)| *operation));
    for (operation, expected) in table {
        assert_eq!(tried.result(operation), *expected, "{operation}");
    }
    tried
}

#[test]
fn every_mount_has_its_options() {
    let facts = facts();
    let expected: [(&str, &str, &[&str]); 8] = [
        ("/", "tmpfs", &["ro"]),
        ("/proc", "proc", &["rw"]),
        ("/dev", "tmpfs", &["rw", "nosuid", "mode=755", "size=65536k"]),
        (
            "/dev/pts",
            "devpts",
            &["rw", "nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"],
        ),
        ("/dev/shm", "tmpfs", &["rw", "nosuid", "nodev", "noexec", "size=65536k"]),
        ("/dev/mqueue", "mqueue", &["rw", "nosuid", "nodev", "noexec"]),
        ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
        (
            "/sys/fs/cgroup",
            "cgroup2",
            &["ro", "nosuid", "nodev", "noexec", "relatime"],
        ),
    ];
    for (place, kind, options) in expected {
        let mount = facts.mount(place);
        assert_eq!(mount["fstype"], kind, "{place}");
        let own: Vec<&str> = mount["options"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let all = facts.options(place);
        for option in options {
            // `rw` and `ro` of the mount itself: the file system may differ.
            let found = if ["ro", "rw"].contains(option) {
                own.contains(option)
            } else {
                all.iter().any(|o| o == option)
            };
            assert!(found, "{place} lacks {option}: {all:?}");
        }
    }
    // strictatime is shown as neither of the others.
    let dev = facts.options("/dev");
    assert!(!dev.iter().any(|o| o == "relatime" || o == "noatime"), "{dev:?}");
}

#[test]
fn nothing_else_is_mounted() {
    let facts = facts();
    let mut expected: BTreeSet<&str> = [
        "/",
        "/proc",
        "/dev",
        "/dev/pts",
        "/dev/shm",
        "/dev/mqueue",
        "/sys",
        "/sys/fs/cgroup",
    ]
    .into();
    expected.extend(MASKED.iter().chain(&READONLY).filter(|path| Path::new(path).exists()));
    let mounts = facts["mounts"].as_array().unwrap();
    let found: BTreeSet<&str> = mounts.iter().filter_map(|m| m["mountpoint"].as_str()).collect();
    assert_eq!(found, expected);
    assert_eq!(
        found.len(),
        mounts.len(),
        "something is mounted twice in one place: {mounts:#?}"
    );
}

#[test]
fn no_mount_propagates() {
    for mount in facts()["mounts"].as_array().unwrap() {
        assert_eq!(mount["propagation"], json!([]), "{}", mount["mountpoint"]);
    }
}

#[test]
fn default_devices_are_there() {
    let devices = [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ];
    let paths: Vec<String> = devices.iter().map(|(name, ..)| format!("/dev/{name}")).collect();
    let facts = facts_about(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    for ((_, major, minor), path) in devices.iter().zip(&paths) {
        let node = facts.path(path);
        assert_eq!(node["type"], "character device", "{path}");
        assert_eq!(
            (&node["major"], &node["minor"]),
            (&json!(major), &json!(minor)),
            "{path}"
        );
        assert_eq!(
            (&node["mode"], &node["uid"], &node["gid"]),
            (&json!("0666"), &json!(0), &json!(0)),
            "{path}"
        );
    }
}

#[test]
fn default_links_are_there() {
    let links = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ];
    let facts = facts_about(&[
        "/dev/fd",
        "/dev/stdin",
        "/dev/stdout",
        "/dev/stderr",
        "/dev/core",
        "/dev/ptmx",
    ]);
    for (link, target) in links {
        assert_eq!(facts.path(link)["target"], target, "{link}");
    }
    // Only if its target exists, which depends on the kernel.
    let core = facts.path("/dev/core");
    assert!(
        core["target"] == "/proc/kcore" || !Path::new("/proc/kcore").exists(),
        "{core}"
    );
    let ptmx = facts.path("/dev/ptmx")["target"].as_str().unwrap();
    assert!(["pts/ptmx", "/dev/pts/ptmx"].contains(&ptmx), "{ptmx}");
}

/// A hook may mount the devpts later.
#[test]
fn dev_ptmx_is_a_link_even_without_a_devpts() {
    let bundle = || {
        Bundle::new()
            .args(["probe", "facts", "/dev/ptmx"])
            .without_mount("/dev/pts")
    };
    assert_eq!(bundle().facts().path("/dev/ptmx")["target"], "pts/ptmx");
    // Whatever the image has there: a device node would give it the host's pseudo-terminals.
    for image in [None, Some("pts/ptmx"), Some("/etc/ptmx")] {
        let bundle = bundle()
            .without_mount("/dev")
            .without_mount("/dev/shm")
            .without_mount("/dev/mqueue")
            .edit(|c| c["root"]["readonly"] = json!(false));
        let place = bundle.inside("/dev/ptmx");
        match image {
            Some(target) => symlink(target, &place).unwrap(),
            None => {
                make_node(&place, SFlag::S_IFCHR, 0o666, (5, 2));
            }
        }
        assert_eq!(bundle.facts().path("/dev/ptmx")["target"], "pts/ptmx", "{image:?}");
    }
    // A mount of the config at this path is kept where there is no devpts.
    let bundle = bundle().mount("/dev/ptmx", "bind", "/dev/null", &["bind"]);
    assert_eq!(bundle.facts().path("/dev/ptmx")["minor"], 3);
}

#[test]
fn nothing_else_is_in_dev() {
    let tried = Bundle::new().attempt(["list,/dev", "list,/dev/pts", "list,/dev/shm"]);
    let expected = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom",
        "zero",
    ];
    let mut found = tried.detail("list,/dev").clone();
    found.as_array_mut().unwrap().retain(|name| name != "core");
    assert_eq!(found, json!(expected));
    assert_eq!(
        tried.detail("list,/dev/pts"),
        &json!(["ptmx"]),
        "a devpts instance of its own"
    );
    assert_eq!(tried.detail("list,/dev/shm"), &json!([]));
}

#[test]
fn devices_work_and_others_are_denied() {
    let bundle = Bundle::new()
        .with_caps(&["CAP_MKNOD"])
        .edit(|c| c["root"]["readonly"] = json!(false));
    let tried = attempt_all(
        bundle,
        &[
            ("read,/dev/null", "ok"),
            ("write,/dev/null,x", "ok"),
            ("read,/dev/zero", "ok"),
            ("write,/dev/full,x", "ENOSPC"),
            ("read,/dev/urandom", "ok"),
            ("open,/dev/ptmx,rw", "ok"),
            // There is no controlling terminal.
            ("open,/dev/tty,rw", "ENXIO"),
            // kmsg, mem, fuse, the first SCSI disk
            ("mknod,/dev/kmsg,c,1,11", "EPERM"),
            ("mknod,/dev/mem,c,1,1", "EPERM"),
            ("mknod,/dev/fuse,c,10,229", "EPERM"),
            ("mknod,/dev/sda,b,8,0", "EPERM"),
            ("mknod,/tmp/kmsg,c,1,11", "EPERM"),
            ("mknod,/tmp/null,c,1,3", "ok"),
            ("mknod,/tmp/fifo,p", "ok"),
        ],
    );
    assert_eq!(tried.detail("read,/dev/null"), "");
}

#[test]
fn an_allowed_device_is_allowed() {
    let bundle = Bundle::new().with_caps(&["CAP_MKNOD", "CAP_SYSLOG"]).edit(|c| {
        let rule = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm" });
        c["linux"]["resources"]["devices"].as_array_mut().unwrap().push(rule);
    });
    let tried = bundle.attempt(["mknod,/dev/kmsg,c,1,11", "mknod,/dev/mem,c,1,1"]);
    assert_eq!(tried.result("mknod,/dev/kmsg,c,1,11"), "ok");
    assert_eq!(tried.result("mknod,/dev/mem,c,1,1"), "EPERM");
}

#[test]
fn masked_paths_are_empty_and_cannot_be_written() {
    let there: Vec<&str> = MASKED.into_iter().filter(|path| Path::new(path).exists()).collect();
    let mut operations = Vec::new();
    for path in &there {
        let kinds: &[&str] = if Path::new(path).is_dir() {
            &["list", "mkdir"]
        } else {
            &["read", "lstat"]
        };
        operations.extend(kinds.iter().map(|kind| {
            if *kind == "mkdir" {
                format!("mkdir,{path}/x")
            } else {
                format!("{kind},{path}")
            }
        }));
        operations.push(format!("umount,{path}"));
    }
    // The permission bits allow writing; the mask must not.
    let tried = Bundle::new().with_caps(&["CAP_DAC_OVERRIDE"]).attempt(operations);
    for path in there {
        if Path::new(path).is_dir() {
            assert_eq!(tried.detail(&format!("list,{path}")), &json!([]), "{path}");
            assert_eq!(tried.result(&format!("mkdir,{path}/x")), "EROFS", "{path}");
        } else {
            assert_eq!(tried.detail(&format!("read,{path}")), "", "{path}");
            let node = tried.detail(&format!("lstat,{path}"));
            assert_eq!((&node["major"], &node["minor"]), (&json!(1), &json!(3)), "{path}");
        }
        assert_eq!(tried.result(&format!("umount,{path}")), "EPERM", "{path}");
    }
}

#[test]
fn readonly_paths_cannot_be_written() {
    let facts = facts();
    for path in READONLY.into_iter().filter(|path| Path::new(path).exists()) {
        let options = facts.mount(path)["options"].as_array().unwrap();
        assert!(options.contains(&json!("ro")), "{path}: {options:?}");
    }
    let tried = Bundle::new().with_caps(&["CAP_DAC_OVERRIDE"]).attempt([
        "open,/proc/sys/kernel/hostname,w",
        "open,/proc/sysrq-trigger,w",
        "remount-rw,/proc/sys",
        "umount,/proc/sys",
    ]);
    assert_eq!(tried.result("open,/proc/sys/kernel/hostname,w"), "EROFS");
    if Path::new("/proc/sysrq-trigger").exists() {
        assert_eq!(tried.result("open,/proc/sysrq-trigger,w"), "EROFS");
    }
    assert_eq!(tried.result("remount-rw,/proc/sys"), "EPERM");
    assert_eq!(tried.result("umount,/proc/sys"), "EPERM");
}

#[test]
fn readonly_paths_keep_the_flags_of_their_mount() {
    let facts = Bundle::new()
        .edit(|c| c["linux"]["readonlyPaths"] = json!(["/dev/shm"]))
        .facts();
    let options = facts.mount("/dev/shm")["options"].as_array().unwrap().clone();
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(options.contains(&json!(option)), "{options:?}");
    }
}

#[test]
fn the_root_is_read_only_on_request() {
    attempt_all(
        Bundle::new(),
        &[
            ("create,/x", "EROFS"),
            ("create,/etc/x", "EROFS"),
            ("create,/dev/x", "ok"),
            ("create,/dev/shm/x", "ok"),
            ("remount-rw,/", "EPERM"),
        ],
    );
    let tried = Bundle::new()
        .edit(|c| c["root"]["readonly"] = json!(false))
        .attempt(["create,/x"]);
    assert_eq!(tried.result("create,/x"), "ok");
}

#[test]
fn the_network_has_only_a_loopback() {
    let facts = facts();
    let interfaces = facts["interfaces"].as_object().unwrap();
    let names: Vec<&String> = interfaces
        .keys()
        .filter(|name| !name.contains("tunl") && !name.contains("sit"))
        .collect();
    assert_eq!(names, ["lo"]);
    assert_eq!(interfaces["lo"]["up"], true);
}

#[test]
fn namespaces_are_new() {
    let facts = facts();
    let own = |name: &str| {
        json!(
            fs::read_link(format!("/proc/self/ns/{name}"))
                .unwrap()
                .to_string_lossy()
        )
    };
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        assert_ne!(facts["namespaces"][name], own(name), "{name}");
    }
    for name in ["user", "time"] {
        assert_eq!(facts["namespaces"][name], own(name), "{name}");
    }
}

#[test]
fn namespaces_left_out_are_inherited() {
    for (kind, link) in [
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("cgroup", "cgroup"),
        ("pid", "pid"),
    ] {
        let facts = Bundle::new()
            .without_namespace(kind)
            .edit(|c| drop(c.as_object_mut().unwrap().remove("hostname")))
            .without_mount("/dev/mqueue")
            .facts();
        let own = fs::read_link(format!("/proc/self/ns/{link}")).unwrap();
        assert_eq!(facts["namespaces"][link], json!(own.to_string_lossy()), "{kind}");
    }
}

#[test]
fn the_container_sees_its_own_cgroup_as_the_root() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    c.until("ready");
    let outside = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    let path = outside.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    assert!(path.contains(&c.id), "{outside}");
    let procs = fs::read_to_string(format!("/sys/fs/cgroup{path}/cgroup.procs")).unwrap();
    assert_eq!(procs.trim(), c.pid().to_string());

    let facts = facts();
    let inside = facts["cgroup"].as_str().unwrap();
    assert!(inside.lines().any(|line| line == "0::/"), "{inside}");
    assert_eq!(facts.mount("/sys/fs/cgroup")["root"], "/");
}

#[test]
fn cgroups_path_is_followed() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let id = bundle.fresh_id();
    let path = format!("/outer-{id}/inner");
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(path));
    let c = bundle.start();
    let outside = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    assert!(outside.contains(&format!("0::{path}\n")), "{outside}");
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    assert!(!Path::new("/sys/fs/cgroup").join(&path[1..]).exists());
    // The parent was created for it too, and no other container uses it.
    let _ = fs::remove_dir(format!("/sys/fs/cgroup/outer-{id}"));
}

#[test]
fn nothing_dangerous_is_permitted() {
    attempt_all(
        Bundle::new(),
        &[
            ("mount,tmpfs,/tmp", "EPERM"),
            ("umount,/dev/shm", "EPERM"),
            ("sethostname,changed", "EPERM"),
            ("chroot,/tmp", "EPERM"),
            ("mknod,/dev/x,c,1,3", "EPERM"),
            ("unshare,131072", "EPERM"),
            ("write,/proc/sys/kernel/core_pattern,x", "EROFS"),
            ("mkdir,/sys/fs/cgroup/x", "EROFS"),
        ],
    );
}

#[test]
fn the_spec_verb_writes_a_config_that_runs() {
    let bundle = Bundle::new();
    let dir = bundle.dir().to_str().unwrap();
    bundle
        .orlop(["spec", "--bundle", dir])
        .run()
        .fails_for("File config.json exists");
    fs::remove_file(bundle.path("config.json")).unwrap();
    bundle.orlop(["spec", "--bundle", dir]).run().ok();
    let text = fs::read_to_string(bundle.path("config.json")).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written["process"]["terminal"], true);
    bundle.change(|c| {
        *c = written;
        c["process"]["terminal"] = json!(false);
        c["process"]["args"] = json!(["probe", "facts"]);
    });
    let facts = bundle.facts();
    assert_eq!(facts["pid"], 1);
    assert_eq!(
        facts["caps"]["effective"],
        json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"])
    );
}
