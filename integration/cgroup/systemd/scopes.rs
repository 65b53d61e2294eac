//! Scopes: the calls that make and remove them, and what is left when one is refused.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use orlop::dbus::Value;
use serde_json::json;

use super::fake::{self, Fake, Manner};
use super::{OURS, Scoped, is_orlop};
use crate::harness::cgroup::has_controller;
use crate::harness::users::{as_user, rootless};
use crate::harness::{Bundle, eventually};
use crate::need;

#[test]
fn a_container_is_a_scope_from_create_to_delete() {
    need!(is_orlop(), OURS);
    let c = Scoped::new(Manner::Good);
    c.create().ok();
    let unit = c.unit();
    assert_eq!(
        c.fake.names(),
        [
            "Hello",
            "AddMatch",
            "Subscribe",
            "Get",
            "Get",
            "StartTransientUnit",
            "Get"
        ]
    );
    let start = c.fake.call("StartTransientUnit");
    assert_eq!(start[..2], [Value::text(&unit), Value::text("replace")]);
    assert_eq!(start[3], Value::Array("(sa(sv))".into(), vec![]));
    let mut properties = Fake::properties(&start[2]);
    let at = properties.iter().position(|(name, _)| name == "PIDs").expect("PIDs");
    let (_, pids) = properties.remove(at);
    let truth = |name: &str, value| (name.to_owned(), Value::Bool(value));
    assert_eq!(
        properties,
        [
            (
                "Description".to_owned(),
                Value::text(format!("orlop container {}", c.id))
            ),
            ("Slice".to_owned(), Value::text(&c.slice)),
            truth("Delegate", true),
            truth("DefaultDependencies", false),
            truth("CPUAccounting", true),
            truth("IOAccounting", true),
            truth("MemoryAccounting", true),
            truth("TasksAccounting", true),
        ]
    );
    // Init is alone there, and it is not the placeholder process.
    let pid = c.pid();
    assert_eq!(c.content("cgroup.procs"), pid.to_string());
    assert_ne!(pids, Value::Array("u".into(), vec![Value::Uint32(pid as u32)]));

    let before = c.fake.names().len();
    c.on(&["start"]).ok();
    // No other verb needs systemd, and none needs the flag.
    c.on(&["pause"]).ok();
    assert_eq!(c.on(&["state"]).ok().json()["status"], "paused");
    c.on(&["resume"]).ok();
    c.orlop(&["exec", &c.id, "probe", "exit", "0"]).run().ok();
    assert_eq!(c.fake.names().len(), before);

    c.on(&["delete", "--force"]).ok();
    assert_eq!(
        c.fake.names()[before..],
        [
            "Hello",
            "AddMatch",
            "Subscribe",
            "Get",
            "Get",
            "StopUnit",
            "ResetFailedUnit"
        ]
    );
    assert_eq!(c.fake.call("StopUnit"), [Value::text(&unit), Value::text("replace")]);
    assert!(!c.leaf().exists());
}

#[test]
fn a_container_without_a_cgroups_path_has_a_scope_too() {
    need!(is_orlop(), OURS);
    let c = Scoped::new(Manner::Good);
    c.bundle.change(|c| {
        c["linux"].as_object_mut().expect("linux").remove("cgroupsPath");
    });
    c.create().ok();
    let start = c.fake.call("StartTransientUnit");
    assert_eq!(start[0], Value::text(format!("orlop-{}.scope", c.id)));
    let properties = Fake::properties(&start[2]);
    assert!(properties.contains(&("Slice".to_owned(), Value::text("system.slice"))));
    c.on(&["delete", "--force"]).ok();
    fake::remove_slices("system.slice");
}

/// The path is asked from systemd, not assumed.
#[test]
fn a_scope_has_the_cgroup_that_systemd_reports() {
    need!(is_orlop(), OURS);
    let c = Scoped::new(Manner::Elsewhere);
    c.create().ok();
    let procs = Path::new("/sys/fs/cgroup/elsewhere.slice")
        .join(c.unit())
        .join("cgroup.procs");
    assert_eq!(
        fs::read_to_string(procs).expect("its processes").trim(),
        c.pid().to_string()
    );
    c.on(&["delete", "--force"]).ok();
    fake::remove_slices("elsewhere.slice");
}

#[test]
fn run_removes_its_scope() {
    need!(is_orlop(), OURS);
    let c = Scoped::of(Bundle::new().args(["probe", "exit", "7"]), Manner::Good);
    let bundle = c.bundle.dir().to_str().expect("UTF-8").to_owned();
    let run = c.orlop(&["--systemd-cgroup", "run", "--bundle", &bundle, &c.id]).run();
    assert_eq!(run.code, 7, "{run:#?}");
    c.fake.call("StopUnit");
    assert!(!c.leaf().exists());
}

/// An unprivileged user may not move a process from one part of the tree to another. Init is cloned from a process that
/// systemd has moved, and so is a process that joins later.
#[test]
fn systemd_moves_an_unprivileged_users_processes() {
    need!(is_orlop(), OURS);
    let c = Scoped::of(rootless(Bundle::new().args(["probe", "sleep"])), Manner::User);
    let as_plain = |args: &[&str]| {
        let cmd = c.bundle.orlop(args).env("DBUS_SESSION_BUS_ADDRESS", &c.fake.address());
        as_user(cmd.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")).run()
    };
    let bundle = c.bundle.dir().to_str().expect("UTF-8").to_owned();
    as_plain(&["--systemd-cgroup", "create", "--bundle", &bundle, &c.id]).ok();
    let pid = as_plain(&["state", &c.id]).ok().json()["pid"].to_string();
    assert_eq!(c.content("cgroup.procs"), pid);
    let brought = c.fake.call("AttachProcessesToUnit");
    assert_eq!(brought[..2], [Value::text(c.unit()), Value::text("")]);
    // Not init itself, which was never elsewhere.
    let pid = pid.parse().expect("a pid");
    assert_ne!(brought[2], Value::Array("u".into(), vec![Value::Uint32(pid)]));
    as_plain(&["start", &c.id]).ok();
    as_plain(&["exec", &c.id, "probe", "exit", "0"]).ok();
    let attached = c
        .fake
        .names()
        .iter()
        .filter(|name| *name == "AttachProcessesToUnit")
        .count();
    assert_eq!(attached, 2);
    as_plain(&["delete", "--force", &c.id]).ok();
    c.fake.call("StopUnit");
    assert!(!c.leaf().exists());
}

#[test]
fn a_failed_unit_is_reset_and_its_name_used() {
    need!(is_orlop(), OURS);
    let c = Scoped::new(Manner::LeftOver);
    c.create().ok();
    let names = c.fake.names();
    let starts = names
        .iter()
        .position(|name| name == "StartTransientUnit")
        .expect("a start");
    assert_eq!(
        names[starts..starts + 3],
        ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]
    );
    // The same call again.
    let calls: Vec<_> = c
        .fake
        .calls()
        .into_iter()
        .filter(|(name, _)| name == "StartTransientUnit")
        .collect();
    assert_eq!(calls[0], calls[1]);
}

/// A refused unit leaves neither a cgroup nor a process.
#[test]
fn a_unit_that_systemd_refuses_leaves_nothing() {
    need!(is_orlop(), OURS);
    let table = [
        (Manner::Taken, "a unit of this name exists already"),
        (Manner::JobFails, "systemd did not start it: failed"),
        (Manner::Refuses("Delegate"), "cannot set property delegate"),
        (Manner::NoSystemd, "systemd does not answer"),
        (Manner::Rejects, "D-Bus authentication rejected"),
        (Manner::HangsUp, "closed the connection"),
        (Manner::Babbles, "a message longer than"),
    ];
    for (manner, message) in table {
        let c = Scoped::new(manner);
        let refused = c.create().fails_with(message);
        assert!(
            refused.stderr.contains("hint") || manner == Manner::HangsUp || manner == Manner::Babbles,
            "{refused:#?}"
        );
        assert!(!c.leaf().exists(), "{manner:?}");
        c.bundle.assert_clean();
    }
}

#[test]
fn a_missing_bus_is_named_in_the_error() {
    need!(is_orlop(), OURS);
    let c = Scoped::new(Manner::Good);
    let bundle = c.bundle.dir().to_str().expect("UTF-8").to_owned();
    let create = |address: &str| {
        let create = c
            .bundle
            .orlop(["--systemd-cgroup", "create", "--bundle", &bundle, &c.id]);
        create.env("DBUS_SYSTEM_BUS_ADDRESS", address).run().fails()
    };
    let refused = create(&format!("unix:path={bundle}/none"));
    for text in [
        "systemd",
        "nothing is listening on",
        "ENOENT",
        "start dbus, or leave --systemd-cgroup out",
    ] {
        assert!(refused.stderr.contains(text), "{text}: {refused:#?}");
    }
    assert!(
        create("tcp:host=localhost")
            .stderr
            .contains("does not name a unix socket")
    );
    c.bundle.assert_clean();
    // The second of two addresses.
    let address = format!("unix:path={bundle}/none;{}", c.fake.address());
    let create = c
        .bundle
        .orlop(["--systemd-cgroup", "create", "--bundle", &bundle, &c.id]);
    create.env("DBUS_SYSTEM_BUS_ADDRESS", &address).run().ok();
}

/// It is deleted anyway, and systemd will notice that its cgroup is gone.
#[test]
fn a_container_is_deleted_without_the_bus() {
    need!(is_orlop(), OURS);
    let c = Scoped::new(Manner::Good);
    c.create().ok();
    let delete = c.bundle.orlop(["delete", "--force", &c.id]);
    let deleted = delete
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
        .run()
        .ok();
    assert!(deleted.stderr.contains("was not stopped"), "{deleted:#?}");
    assert!(!c.leaf().exists());
}

/// By then the name belongs to another unit.
#[test]
fn deleting_spares_a_later_unit_of_the_same_name() {
    need!(is_orlop(), OURS);
    let c = Scoped::new(Manner::Good);
    c.create().ok();
    c.on(&["start"]).ok();
    c.on(&["kill"]).ok();
    c.orlop(&["kill", &c.id, "KILL"]).run();
    eventually("init has ended", || c.content("cgroup.procs").is_empty());
    let inode = fs::metadata(c.leaf()).expect("the leaf").ino();
    fs::remove_dir(c.leaf()).expect("systemd removes an empty scope");
    fs::create_dir(c.leaf()).expect("and makes another");
    assert_ne!(fs::metadata(c.leaf()).expect("the other").ino(), inode);
    c.on(&["delete"]).ok();
    assert!(c.fake.names().iter().all(|name| name != "StopUnit"));
    fs::remove_dir(c.leaf()).expect("the other is still there");
}

#[test]
fn paths_that_do_not_name_a_unit_are_refused() {
    need!(is_orlop(), OURS);
    for (path, message) in [
        ("/web", "must have the form SLICE:PREFIX:NAME"),
        ("web", "must have the form SLICE:PREFIX:NAME"),
        ("a.slice:b:c:d", "must have the form SLICE:PREFIX:NAME"),
        ("a.slice:b:c.slice", "a slice cannot hold processes"),
        ("../a.slice:b:c", "is not a valid slice name"),
        ("a--b.slice:c:d", "is not a valid slice name"),
        ("a.slice:b:c/../d", "is not a valid unit name"),
        ("a.slice:b:", "has no name"),
    ] {
        let c = Scoped::new(Manner::Good);
        c.bundle.change(|c| c["linux"]["cgroupsPath"] = json!(path));
        let refused = c.create().fails_with(message);
        assert!(refused.stderr.contains("linux.cgroupsPath"), "{refused:#?}");
        assert!(c.fake.names().is_empty());
    }
}

/// The placeholder process of the scope is not counted.
#[test]
fn a_pids_limit_of_one_or_zero_is_set_after_init_entered() {
    need!(is_orlop(), OURS);
    need!(has_controller("pids"), "cgroup controller pids");
    for (limit, max) in [(2, "2"), (1, "1"), (0, "0")] {
        let c = Scoped::new(Manner::Good).resources(json!({ "pids": { "limit": limit } }));
        c.bundle.change(|c| c["ociVersion"] = json!("1.3.0"));
        c.create().ok();
        let properties = Fake::properties(&c.fake.call("StartTransientUnit")[2]);
        assert!(properties.iter().all(|(name, _)| name != "TasksMax"));
        let set = Fake::properties(&c.fake.call("SetUnitProperties")[2]);
        assert_eq!(set, [("TasksMax".to_owned(), Value::Uint64(limit.max(1)))]);
        assert_eq!(c.content("pids.max"), max);
    }
}
