//! `--systemd-cgroup` against a bus and a systemd of our own: the exact calls, and what becomes of a container when they
//! answer otherwise. That systemd itself is content is shown by `guest/booted.rs`.

mod fake;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use self::fake::{Fake, Manner};
use crate::harness::{Bundle, Cmd, Output, eventually, runtime};
use crate::namespaces::user::{as_user, rootless};
use crate::need;
use orlop::dbus::Value;

/// A container that the fake makes the cgroup of.
struct Scoped {
    bundle: Bundle,
    fake: Fake,
    id: String,
    slice: String,
}

impl Scoped {
    fn new(manner: Manner) -> Self {
        Self::of(Bundle::new().args(["probe", "sleep"]), manner)
    }

    fn of(bundle: Bundle, manner: Manner) -> Self {
        let fake = Fake::new(bundle.dir(), manner);
        let id = bundle.fresh_id();
        // A slice of the bundle's own, inside another.
        let slice = format!("test-{}.slice", id.replace('-', "_"));
        bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("{slice}:orlop:{id}")));
        Self {
            bundle,
            fake,
            id,
            slice,
        }
    }

    fn resources(self, resources: Json) -> Self {
        self.bundle.change(|c| {
            for (section, value) in resources.as_object().expect("sections") {
                c["linux"]["resources"][section] = value.clone();
            }
        });
        self
    }

    fn annotation(self, name: &str, value: &str) -> Self {
        self.bundle.change(|c| c["annotations"][name] = json!(value));
        self
    }

    fn orlop(&self, args: &[&str]) -> Cmd {
        self.bundle
            .orlop(args)
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.fake.address())
    }

    fn create(&self) -> Output {
        let bundle = self.bundle.dir().to_str().expect("UTF-8");
        self.orlop(&["--systemd-cgroup", "create", "--bundle", bundle, &self.id])
            .run()
    }

    fn on(&self, verb: &[&str]) -> Output {
        self.orlop(&[verb, &[self.id.as_str()]].concat()).run()
    }

    fn unit(&self) -> String {
        format!("orlop-{}.scope", self.id)
    }

    fn leaf(&self) -> PathBuf {
        PathBuf::from("/sys/fs/cgroup/test.slice")
            .join(&self.slice)
            .join(self.unit())
    }

    fn content(&self, file: &str) -> String {
        let text = fs::read_to_string(self.leaf().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        text.trim().to_owned()
    }

    fn pid(&self) -> i64 {
        self.on(&["state"]).ok().json()["pid"].as_i64().expect("a pid")
    }
}

impl Drop for Scoped {
    fn drop(&mut self) {
        self.orlop(&["delete", "--force", &self.id]).spawn().wait_quietly();
        fake::remove_slices(&self.slice);
    }
}

fn has(controller: &str) -> bool {
    let all = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    all.split_whitespace().any(|name| name == controller)
}

/// Of orlop alone: the calls of others are others.
fn is_orlop() -> bool {
    runtime().ends_with("orlop")
}

macro_rules! ours {
    () => {
        need!(is_orlop(), "the calls of orlop");
    };
}

#[test]
fn a_container_is_a_scope_from_create_to_delete() {
    ours!();
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
    // Init is alone there, and it is not the process that held the place.
    let pid = c.pid();
    assert_eq!(c.content("cgroup.procs"), pid.to_string());
    assert_ne!(pids, Value::Array("u".into(), vec![Value::Uint32(pid as u32)]));

    let before = c.fake.names().len();
    c.on(&["start"]).ok();
    // No other verb needs systemd, and none the flag.
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
    ours!();
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

/// The place is asked for, not believed.
#[test]
fn a_scope_is_where_systemd_says() {
    ours!();
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
    ours!();
    let c = Scoped::of(Bundle::new().args(["probe", "exit", "7"]), Manner::Good);
    let bundle = c.bundle.dir().to_str().expect("UTF-8").to_owned();
    let run = c.orlop(&["--systemd-cgroup", "run", "--bundle", &bundle, &c.id]).run();
    assert_eq!(run.code, 7, "{run:#?}");
    c.fake.call("StopUnit");
    assert!(!c.leaf().exists());
}

/// A plain user may not bring a process from one part of the tree to another; init is born of one that systemd has brought,
/// and so is who joins later.
#[test]
fn a_plain_users_processes_are_brought_by_systemd() {
    ours!();
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
    // Not init itself, which was never anywhere else.
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
fn a_unit_that_has_failed_is_forgotten_and_its_name_used() {
    ours!();
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

/// What is refused leaves nothing and nobody.
#[test]
fn what_systemd_refuses_leaves_nothing() {
    ours!();
    let table = [
        (Manner::Taken, "there is a unit of this name already"),
        (Manner::JobFails, "systemd did not start it: failed"),
        (Manner::Refuses("Delegate"), "cannot set property delegate"),
        (Manner::NoSystemd, "systemd does not answer"),
        (Manner::Rejects, "does not let us in"),
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
fn without_a_bus_the_error_says_so() {
    ours!();
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
        "nobody listens at",
        "ENOENT",
        "start dbus, or leave --systemd-cgroup out",
    ] {
        assert!(refused.stderr.contains(text), "{text}: {refused:#?}");
    }
    assert!(create("tcp:host=localhost").stderr.contains("names no unix socket"));
    c.bundle.assert_clean();
    // The second of two addresses.
    let address = format!("unix:path={bundle}/none;{}", c.fake.address());
    let create = c
        .bundle
        .orlop(["--systemd-cgroup", "create", "--bundle", &bundle, &c.id]);
    create.env("DBUS_SYSTEM_BUS_ADDRESS", &address).run().ok();
}

/// It is deleted all the same, and systemd will see that its cgroup has gone.
#[test]
fn a_container_is_deleted_without_the_bus() {
    ours!();
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

/// The name is another's by then.
#[test]
fn deleting_spares_a_later_unit_of_the_same_name() {
    ours!();
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
fn paths_that_name_no_unit_are_refused() {
    ours!();
    for (path, message) in [
        ("/web", "must have the form SLICE:PREFIX:NAME"),
        ("web", "must have the form SLICE:PREFIX:NAME"),
        ("a.slice:b:c:d", "must have the form SLICE:PREFIX:NAME"),
        ("a.slice:b:c.slice", "a slice holds no processes"),
        ("../a.slice:b:c", "is no name of a slice"),
        ("a--b.slice:c:d", "is no name of a slice"),
        ("a.slice:b:c/../d", "systemd takes no unit of the name"),
        ("a.slice:b:", "has no name"),
    ] {
        let c = Scoped::new(Manner::Good);
        c.bundle.change(|c| c["linux"]["cgroupsPath"] = json!(path));
        let refused = c.create().fails_with(message);
        assert!(refused.stderr.contains("linux.cgroupsPath"), "{refused:#?}");
        assert!(c.fake.names().is_empty());
    }
}

#[test]
fn annotations_are_properties_of_the_unit() {
    ours!();
    let c = Scoped::new(Manner::Good)
        .annotation("org.systemd.property.CollectMode", "'inactive-or-failed'")
        .annotation("org.systemd.property.TimeoutStopSec", "7")
        .annotation("org.systemd.property.Description", "'mine'")
        .annotation("org.systemd.property.After", "['a.service', 'b.service']");
    c.create().ok();
    let properties = Fake::properties(&c.fake.call("StartTransientUnit")[2]);
    let names = vec![Value::text("a.service"), Value::text("b.service")];
    for property in [
        ("CollectMode", Value::text("inactive-or-failed")),
        ("TimeoutStopUSec", Value::Uint64(7_000_000)),
        ("Description", Value::text("mine")),
        ("After", Value::Array("s".into(), names)),
    ] {
        let found: Vec<_> = properties.iter().filter(|(name, _)| *name == property.0).collect();
        assert_eq!(found, [&(property.0.to_owned(), property.1)]);
    }
}

#[test]
fn annotations_that_are_no_properties_are_refused() {
    ours!();
    for (name, value, message) in [
        ("CollectMode", "inactive", "neither a value nor a type"),
        ("collectMode", "'inactive'", "is no name of a property"),
        ("TimeoutStopSec", "'7'", "is a number of seconds"),
        ("PIDs", "[uint32 1]", "cannot be another"),
        ("Slice", "'a.slice'", "cannot be another"),
        ("Delegate", "false", "cannot be another"),
    ] {
        let name = format!("org.systemd.property.{name}");
        let c = Scoped::new(Manner::Good).annotation(&name, value);
        let refused = c.create().fails_with(message);
        assert!(refused.stderr.contains(&format!("annotations.{name}")), "{refused:#?}");
        assert!(c.fake.names().is_empty());
    }
    // One that only systemd knows to be none.
    let name = "org.systemd.property.Bogus";
    let c = Scoped::new(Manner::Refuses("Bogus")).annotation(name, "true");
    let refused = c.create().fails_with("Cannot set property Bogus");
    assert!(refused.stderr.contains(&format!("annotations.{name}")), "{refused:#?}");
    // Without systemd they are nothing but annotations.
    let c = Scoped::new(Manner::Good).annotation(name, "no value");
    c.bundle.change(|c| c["linux"]["cgroupsPath"] = json!(null));
    let bundle = c.bundle.dir().to_str().expect("UTF-8").to_owned();
    c.orlop(&["create", "--bundle", &bundle, &c.id]).run().ok();
}

#[test]
fn limits_are_told_to_systemd_and_written() {
    ours!();
    need!(
        has("memory") && has("pids") && has("cpu"),
        "cgroup controllers cpu, memory and pids"
    );
    let c = Scoped::new(Manner::Good).resources(json!({
        "memory": { "limit": 64 << 20, "reservation": 16 << 20 }, "pids": { "limit": 20 },
        "cpu": { "shares": 2048, "quota": 5500, "period": 100000 }, "unified": { "memory.high": "48M" }
    }));
    c.create().ok();
    let properties = Fake::properties(&c.fake.call("StartTransientUnit")[2]);
    for (name, number) in [
        ("MemoryMax", 64 << 20),
        ("MemoryLow", 16 << 20),
        ("MemoryHigh", 48 << 20),
        ("TasksMax", 20),
        ("CPUWeight", 174),
        ("CPUQuotaPeriodUSec", 100_000),
        ("CPUQuotaPerSecUSec", 60_000),
    ] {
        let found = properties.iter().find(|(known, _)| known == name);
        assert_eq!(found, Some(&(name.to_owned(), Value::Uint64(number))));
    }
    // The fake writes none of it.
    for (file, content) in [
        ("memory.max", "67108864"),
        ("memory.low", "16777216"),
        ("memory.high", "50331648"),
        ("pids.max", "20"),
        ("cpu.weight", "174"),
        ("cpu.max", "6000 100000"),
    ] {
        assert_eq!(c.content(file), content, "{file}");
    }

    c.on(&["update", "--pids-limit", "30", "--cpu-quota", "20000"]).ok();
    let set = c.fake.call("SetUnitProperties");
    assert_eq!(set[..2], [Value::text(c.unit()), Value::Bool(true)]);
    let properties = Fake::properties(&set[2]);
    for (name, number) in [("TasksMax", 30), ("CPUQuotaPerSecUSec", 200_000)] {
        assert!(
            properties.contains(&(name.to_owned(), Value::Uint64(number))),
            "{properties:?}"
        );
    }
    assert_eq!(c.content("pids.max"), "30");
    assert_eq!(c.content("cpu.max"), "20000 100000");
}

/// The place of the process that holds the scope is not counted.
#[test]
fn a_scope_for_one_process_or_none_is_closed_behind_init() {
    ours!();
    need!(has("pids"), "cgroup controller pids");
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

/// All or nothing, in systemd too.
#[test]
fn an_update_that_is_refused_changes_nothing() {
    ours!();
    need!(has("pids") && has("memory"), "cgroup controllers memory and pids");
    let c = Scoped::new(Manner::Refuses("TasksMax"));
    c.create().ok();
    c.on(&["update", "--memory", "64M", "--pids-limit", "5"])
        .fails_with("TasksMax");
    assert_eq!(c.content("memory.max"), "max");

    // Taken by systemd, refused by the kernel.
    let c = Scoped::new(Manner::Good).resources(json!({ "pids": { "limit": 20 } }));
    c.create().ok();
    let update = c.orlop(&["update", "--resources", "-", &c.id]);
    let asked =
        json!({ "pids": { "limit": 5 }, "memory": { "limit": 64 << 20 }, "unified": { "memory.oom.group": "7" } });
    update.stdin(&asked.to_string()).run().fails_with("memory.oom.group");
    assert_eq!(c.content("pids.max"), "20");
    assert_eq!(c.content("memory.max"), "max");
    let calls = c.fake.calls();
    let sets: Vec<_> = calls.iter().filter(|(name, _)| name == "SetUnitProperties").collect();
    let [_, (_, back)] = sets.as_slice() else {
        panic!("{sets:#?}")
    };
    let back = Fake::properties(&back[2]);
    for (name, number) in [("TasksMax", 20), ("MemoryMax", u64::MAX)] {
        assert!(back.contains(&(name.to_owned(), Value::Uint64(number))), "{back:?}");
    }
}

#[test]
fn how_to_kill_for_lack_of_memory_is_said_at_the_start() {
    ours!();
    need!(has("memory"), "cgroup controller memory");
    for (manner, policy) in [(Manner::Good, Some("kill")), (Manner::Old, None)] {
        let c = Scoped::new(manner).resources(json!({ "unified": { "memory.oom.group": "1" } }));
        c.create().ok();
        let properties = Fake::properties(&c.fake.call("StartTransientUnit")[2]);
        let said = properties.iter().find(|(name, _)| name == "OOMPolicy");
        assert_eq!(said.and_then(|(_, value)| value.as_text()), policy);
        assert_eq!(c.content("memory.oom.group"), "1");
    }
}

/// A controller that systemd has not handed down is not enabled behind its back.
#[test]
fn a_limit_without_its_controller_is_refused() {
    ours!();
    let all = ["cpuset", "io", "memory", "pids", "cpu"];
    let missing = all.into_iter().find(|controller| !has(controller));
    need!(missing.is_some(), "a kernel without one of the controllers");
    let file = format!("{}.max", missing.expect("one that is missing"));
    let c = Scoped::new(Manner::Good).resources(json!({ "unified": { file: "1" } }));
    c.create().fails_with("has not given the cgroup controller");
    assert!(!c.leaf().exists());
    // Nor one that systemd knows nothing of, if the kernel has it not.
    let c = Scoped::new(Manner::Good).resources(json!({ "unified": { "nonsense.max": "1" } }));
    c.create().fails_with("controller \"nonsense\" is not available");
    assert!(!c.leaf().exists());
}
