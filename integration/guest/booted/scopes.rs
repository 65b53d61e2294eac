//! Scopes: their lifetime, owner and properties.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{BOOTED, Scoped, is_booted, shown, systemctl};
use crate::harness::users::as_user;
use crate::harness::{Bundle, eventually};
use crate::need;

#[test]
fn a_scope_exists_as_long_as_its_container() {
    need!(is_booted(), BOOTED);
    let c = Scoped::new(json!({}));
    c.create().ok();
    c.assert_shown(&[
        ("ActiveState", "active"),
        ("Slice", "system.slice"),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("MemoryAccounting", "yes"),
        ("CPUAccounting", "yes"),
        ("IOAccounting", "yes"),
        ("TasksAccounting", "yes"),
        ("TasksCurrent", "1"),
    ]);
    assert_eq!(c.content("cgroup.procs"), c.pid());
    c.on(&["start"]).ok();
    let exec = c.orlop(&["exec", &c.id, "cat", "/proc/self/cgroup"]).run().ok();
    assert!(exec.stdout.contains("0::/"), "{exec:#?}");
    c.on(&["delete", "--force"]).ok();
    c.assert_shown(&[("ActiveState", "inactive"), ("LoadState", "not-found")]);
    assert!(!c.leaf().exists());
}

/// Only the BPF program of the runtime decides about devices: systemd, which may attach a program as well, gets no rules.
#[test]
fn device_rules_survive_a_reload_of_systemd() {
    need!(is_booted(), BOOTED);
    // A rule of the config, a default rule, and no rule.
    let script = "busybox mknod /tmp/log c 1 11; busybox mknod /tmp/null c 1 3; busybox mknod /tmp/port c 1 4
        while [ ! -e /tmp/go ]; do sleep 0.05; done
        for file in log null port; do if (: </tmp/$file) 2>/dev/null; then echo $file yes; else echo $file no; fi; done >/tmp/said";
    let c = Scoped::of(
        Bundle::new()
            .sh(script)
            .with_caps(&["CAP_MKNOD", "CAP_SYSLOG"])
            .edit(|c| {
                c["root"]["readonly"] = json!(false);
            }),
        json!({ "devices": [
            { "allow": false }, { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm" },
        ] }),
        false,
    );
    c.create().ok();
    c.on(&["start"]).ok();
    eventually("it waits", || c.bundle.inside("/tmp/port").exists());
    c.assert_shown(&[("DevicePolicy", "auto"), ("DeviceAllow", "")]);
    systemctl(&["daemon-reload"]);
    systemctl(&["set-property", "--runtime", &c.unit(), "CPUWeight=50"]);
    fs::File::create(c.bundle.inside("/tmp/go")).expect("make /tmp/go");
    let said = || fs::read_to_string(c.bundle.inside("/tmp/said")).unwrap_or_default();
    eventually("it has tried them all", || said().contains("port"));
    assert_eq!(said(), "log yes\nnull yes\nport no\n");
}

#[test]
fn a_scope_out_of_memory_leaves_no_failed_unit() {
    need!(is_booted(), BOOTED);
    let c = Scoped::of(
        Bundle::new().args(["probe", "eat", "64"]),
        json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 } }),
        false,
    );
    c.create().ok();
    c.on(&["start"]);
    eventually("it is killed", || c.on(&["state"]).ok().json()["status"] == "stopped");
    c.on(&["delete"]).ok();
    c.assert_shown(&[("LoadState", "not-found")]);
    assert!(!systemctl(&["list-units", "--all", "--failed"]).contains(&c.id));
}

#[test]
fn annotations_are_properties() {
    need!(is_booted(), BOOTED);
    let c = Scoped::new(json!({}));
    c.bundle.change(|c| {
        c["annotations"]["org.systemd.property.TimeoutStopSec"] = json!("7");
        c["annotations"]["org.systemd.property.CollectMode"] = json!("'inactive-or-failed'");
        c["annotations"]["org.systemd.property.Description"] = json!("'a container of mine'");
    });
    c.create().ok();
    c.assert_shown(&[
        ("TimeoutStopUSec", "7s"),
        ("CollectMode", "inactive-or-failed"),
        ("Description", "a container of mine"),
    ]);
    c.bundle
        .change(|c| c["annotations"]["org.systemd.property.Bogus"] = json!("true"));
    c.on(&["delete", "--force"]).ok();
    c.create().fails_with("annotations.org.systemd.property.Bogus");
    c.assert_shown(&[("LoadState", "not-found")]);
    c.bundle.assert_clean();
}

#[test]
fn slices_are_created() {
    need!(is_booted(), BOOTED);
    let c = Scoped::new(json!({}));
    c.bundle
        .change(|config| config["linux"]["cgroupsPath"] = json!(format!("a-b-c.slice:test:{}", c.id)));
    c.create().ok();
    let leaf = Path::new("/sys/fs/cgroup/a.slice/a-b.slice/a-b-c.slice").join(c.unit());
    let procs = fs::read_to_string(leaf.join("cgroup.procs")).expect("its processes");
    assert_eq!(procs.trim(), c.pid());
    assert_eq!(shown(&[], "a-b-c.slice", "ActiveState"), "active");
}

#[test]
fn the_name_of_an_active_unit_is_refused() {
    need!(is_booted(), BOOTED);
    let c = Scoped::new(json!({}));
    c.create().ok();
    let other = Scoped::new(json!({}));
    other
        .bundle
        .change(|config| config["linux"]["cgroupsPath"] = json!(format!("system.slice:test:{}", c.id)));
    other.create().fails_with("a unit of this name exists already");
    c.assert_shown(&[("ActiveState", "active")]);
    assert_eq!(c.content("cgroup.procs"), c.pid());
}

#[test]
fn a_container_stopped_by_systemd_can_be_deleted() {
    need!(is_booted(), BOOTED);
    let c = Scoped::new(json!({}));
    c.bundle
        .change(|c| c["annotations"]["org.systemd.property.TimeoutStopSec"] = json!("1"));
    c.create().ok();
    c.on(&["start"]).ok();
    systemctl(&["stop", &c.unit()]);
    assert_eq!(c.on(&["state"]).ok().json()["status"], "stopped");
    c.on(&["delete"]).ok();
}

/// The caller is in a part of the tree that the user does not own, so that only systemd can move a process.
#[test]
fn an_unprivileged_users_container_is_a_scope_of_their_systemd() {
    need!(is_booted(), BOOTED);
    let c = Scoped::of_user(json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 20 } }));
    let own = fs::read_to_string("/proc/self/cgroup").expect("our cgroup");
    assert!(own.contains("/system.slice/"), "{own}");
    c.create().ok();
    c.assert_shown(&[
        ("ActiveState", "active"),
        ("Slice", "user.slice"),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("TasksMax", "20"),
    ]);
    c.assert_contents(&[("memory.max", "67108864"), ("pids.max", "20"), ("pids.current", "1")]);
    assert_eq!(c.content("cgroup.procs"), c.pid());
    c.on(&["start"]).ok();
    let exec = c.orlop(&["exec", "--detach", &c.id, "sleep", "100"]).run();
    exec.ok();
    assert_eq!(c.content("pids.current"), "2");
    c.on(&["update", "--memory", "32M", "--pids-limit", "10"]).ok();
    c.assert_shown(&[("MemoryMax", "33554432"), ("TasksMax", "10")]);
    c.assert_contents(&[("memory.max", "33554432"), ("pids.max", "10")]);
    c.on(&["pause"]).ok();
    assert_eq!(c.on(&["state"]).ok().json()["status"], "paused");
    c.on(&["resume"]).ok();
    c.on(&["delete", "--force"]).ok();
    c.assert_shown(&[("LoadState", "not-found")]);
    assert!(!c.leaf().exists());
}

#[test]
fn a_missing_user_bus_is_an_error() {
    need!(is_booted(), BOOTED);
    let c = Scoped::of_user(json!({}));
    let bundle = c.bundle.dir().to_str().expect("UTF-8").to_owned();
    let create = || {
        c.bundle
            .orlop(["--systemd-cgroup", "create", "--bundle", &bundle, &c.id])
    };
    as_user(create())
        .run()
        .fails_with("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR");
    let other = as_user(create().env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/0/bus"));
    other.run().fails_with("nothing is listening on");
    c.bundle.assert_clean();
}
