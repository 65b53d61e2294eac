//! `--systemd-cgroup` under a systemd that has booted the machine: `make guest-full` makes such a one. What is asked for is read
//! back from systemd and from the kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Bundle, Cmd, Output, eventually};
use crate::namespaces::user::{as_user, rootless};
use crate::need;

const USER: u32 = 1000;

fn is_booted() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

macro_rules! booted {
    () => {
        need!(is_booted(), "a machine booted by systemd");
    };
}

fn systemctl(args: &[&str]) -> String {
    let output = Command::new("systemctl").args(args).output().expect("run systemctl");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// As systemd has it; empty if it has not.
fn shown(flags: &[&str], unit: &str, property: &str) -> String {
    let text = systemctl(&[flags, &["show", "--property", property, unit]].concat());
    let value = text.trim().strip_prefix(&format!("{property}="));
    value.unwrap_or_default().to_owned()
}

fn has(controller: &str) -> bool {
    let all = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    all.split_whitespace().any(|name| name == controller)
}

struct Scoped {
    bundle: Bundle,
    id: String,
    user: bool,
}

impl Scoped {
    fn new(resources: Value) -> Self {
        Self::of(Bundle::new().args(["probe", "sleep"]), resources, false)
    }

    /// A plain user's.
    fn of_user(resources: Value) -> Self {
        Self::of(rootless(Bundle::new().args(["probe", "sleep"])), resources, true)
    }

    fn of(bundle: Bundle, resources: Value, user: bool) -> Self {
        let id = bundle.fresh_id();
        bundle.change(|c| {
            c["linux"]["cgroupsPath"] = json!(format!(
                "{}:test:{id}",
                if user { "user.slice" } else { "system.slice" }
            ));
            for (section, value) in resources.as_object().expect("sections") {
                c["linux"]["resources"][section] = value.clone();
            }
        });
        Self { bundle, id, user }
    }

    fn orlop(&self, args: &[&str]) -> Cmd {
        let cmd = self.bundle.orlop([&["--systemd-cgroup"], args].concat());
        if self.user {
            as_user(cmd.env("XDG_RUNTIME_DIR", &format!("/run/user/{USER}")))
        } else {
            cmd
        }
    }

    fn on(&self, verb: &[&str]) -> Output {
        self.orlop(&[verb, &[self.id.as_str()]].concat()).run()
    }

    fn create(&self) -> Output {
        let bundle = self.bundle.dir().to_str().expect("UTF-8");
        self.orlop(&["create", "--bundle", bundle, &self.id]).run()
    }

    fn unit(&self) -> String {
        format!("test-{}.scope", self.id)
    }

    fn shown(&self, property: &str) -> String {
        let machine = format!("--machine={USER}@");
        let flags: &[&str] = if self.user { &["--user", &machine] } else { &[] };
        shown(flags, &self.unit(), property)
    }

    fn slice(&self) -> PathBuf {
        let root = Path::new("/sys/fs/cgroup");
        if self.user {
            let manager = format!("user.slice/user-{USER}.slice/user@{USER}.service");
            root.join(manager).join("user.slice")
        } else {
            root.join("system.slice")
        }
    }

    fn leaf(&self) -> PathBuf {
        self.slice().join(self.unit())
    }

    fn content(&self, file: &str) -> String {
        let text = fs::read_to_string(self.leaf().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        text.trim().to_owned()
    }

    fn pid(&self) -> String {
        self.on(&["state"]).ok().json()["pid"].to_string()
    }

    #[track_caller]
    fn assert_shown(&self, properties: &[(&str, &str)]) {
        for (property, value) in properties {
            assert_eq!(self.shown(property), *value, "{property}");
        }
    }

    #[track_caller]
    fn assert_contents(&self, files: &[(&str, &str)]) {
        for (file, content) in files {
            assert_eq!(self.content(file), *content, "{file}");
        }
    }
}

impl Drop for Scoped {
    fn drop(&mut self) {
        self.on(&["delete", "--force"]);
    }
}

#[test]
fn a_scope_is_there_while_its_container_is() {
    booted!();
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

#[test]
fn limits_are_systemds_and_the_kernels() {
    booted!();
    let c = Scoped::new(json!({
        "memory": { "limit": 64 << 20, "reservation": 16 << 20, "swap": 96 << 20 }, "pids": { "limit": 20 },
        "cpu": { "shares": 2048, "quota": 5500, "period": 100_000 },
        "unified": { "memory.high": "48M", "memory.min": "4096" }
    }));
    let swap = Path::new("/proc/swaps").exists() && fs::metadata("/sys/fs/cgroup/system.slice/memory.swap.max").is_ok();
    let limits = [
        ("MemoryMax", "67108864", "memory.max", "67108864"),
        ("MemoryLow", "16777216", "memory.low", "16777216"),
        ("MemoryHigh", "50331648", "memory.high", "50331648"),
        ("MemoryMin", "4096", "memory.min", "4096"),
        ("MemorySwapMax", "33554432", "memory.swap.max", "33554432"),
        ("TasksMax", "20", "pids.max", "20"),
        ("CPUWeight", "174", "cpu.weight", "174"),
        ("CPUQuotaPerSecUSec", "60ms", "cpu.max", "6000 100000"),
        ("CPUQuotaPeriodUSec", "100ms", "cpu.max", "6000 100000"),
    ];
    let check = || {
        for (property, value, file, content) in limits.iter().filter(|limit| swap || limit.2 != "memory.swap.max") {
            c.assert_shown(&[(property, value)]);
            c.assert_contents(&[(file, content)]);
        }
    };
    c.create().ok();
    check();
    // It reads its own files again, and writes the kernel's.
    systemctl(&["daemon-reload"]);
    check();
    systemctl(&["set-property", "--runtime", &c.unit(), "IOWeight=77"]);
    check();

    c.on(&[
        "update",
        "--memory",
        "128M",
        "--memory-swap",
        "-1",
        "--pids-limit",
        "-1",
        "--cpu-quota",
        "-1",
        "--cpu-share",
        "1024",
    ])
    .ok();
    c.assert_shown(&[
        ("MemoryMax", "134217728"),
        ("TasksMax", "infinity"),
        ("CPUQuotaPerSecUSec", "infinity"),
        ("CPUWeight", "100"),
        ("MemoryLow", "16777216"),
    ]);
    c.assert_contents(&[
        ("memory.max", "134217728"),
        ("pids.max", "max"),
        ("cpu.max", "max 100000"),
        ("cpu.weight", "100"),
    ]);
    // What is refused is taken back there too.
    let update = c.orlop(&["update", "--resources", "-", &c.id]);
    let asked = json!({ "pids": { "limit": 7 }, "unified": { "memory.oom.group": "7" } });
    update.stdin(&asked.to_string()).run().fails_with("memory.oom.group");
    c.assert_shown(&[("TasksMax", "infinity")]);
    c.assert_contents(&[("pids.max", "max")]);
}

#[test]
fn no_processes_at_all_are_a_limit_too() {
    booted!();
    for limit in [0, 1, 2, 3] {
        let c = Scoped::new(json!({ "pids": { "limit": limit } }));
        c.bundle.change(|c| c["ociVersion"] = json!("1.3.0"));
        c.create().ok();
        c.assert_shown(&[("TasksMax", &limit.max(1).to_string())]);
        c.assert_contents(&[("pids.max", &limit.to_string()), ("pids.current", "1")]);
        c.on(&["start"]).ok();
    }
}

#[test]
fn an_idle_group_is_a_weight_of_zero() {
    booted!();
    need!(Path::new("/sys/fs/cgroup/system.slice/cpu.idle").exists(), "cpu.idle");
    let c = Scoped::new(json!({ "cpu": { "idle": 1, "shares": 1024 } }));
    c.create().ok();
    c.assert_shown(&[("CPUWeight", "idle")]);
    c.assert_contents(&[("cpu.idle", "1")]);
    c.on(&["update", "--cpu-idle", "0", "--cpu-share", "2048"]).ok();
    c.assert_shown(&[("CPUWeight", "174")]);
    c.assert_contents(&[("cpu.idle", "0"), ("cpu.weight", "174")]);
}

/// The spare disk of the guest.
fn disk() -> Option<(String, String)> {
    for name in ["ubdb", "nvme2n1"] {
        if let Ok(numbers) = fs::read_to_string(format!("/sys/class/block/{name}/dev")) {
            return Some((name.into(), numbers.trim().into()));
        }
    }
    None
}

#[test]
fn throttles_of_a_disk_are_by_its_device_file() {
    booted!();
    need!(has("io") && disk().is_some(), "cgroup controller io and a spare disk");
    let (name, numbers) = disk().expect("a disk");
    let (major, minor) = numbers.split_once(':').expect("two numbers");
    let throttle = |rate: u64| json!([{ "major": major.parse::<u32>().expect("a number"), "minor": minor.parse::<u32>().expect("a number"), "rate": rate }]);
    let c = Scoped::new(json!({ "blockIO": {
        "throttleReadBpsDevice": throttle(1 << 20), "throttleWriteBpsDevice": throttle(2 << 20),
        "throttleReadIOPSDevice": throttle(300), "throttleWriteIOPSDevice": throttle(400)
    } }));
    c.create().ok();
    c.assert_shown(&[
        ("IOReadBandwidthMax", &format!("/dev/{name} 1048576")),
        ("IOWriteBandwidthMax", &format!("/dev/{name} 2097152")),
        ("IOReadIOPSMax", &format!("/dev/{name} 300")),
        ("IOWriteIOPSMax", &format!("/dev/{name} 400")),
    ]);
    c.assert_contents(&[(
        "io.max",
        &format!("{numbers} rbps=1048576 wbps=2097152 riops=300 wiops=400"),
    )]);
}

#[test]
fn weights_of_io_are_known() {
    booted!();
    let file = ["io.bfq.weight", "io.weight"]
        .into_iter()
        .find(|file| Path::new("/sys/fs/cgroup/system.slice").join(file).exists());
    need!(file.is_some(), "io.weight or io.bfq.weight");
    let c = Scoped::new(json!({ "blockIO": { "weight": 500 } }));
    c.create().ok();
    c.assert_shown(&[("IOWeight", "4950")]);
}

#[test]
fn processors_and_memory_nodes() {
    booted!();
    need!(has("cpuset"), "cgroup controller cpuset");
    let c = Scoped::new(json!({ "cpu": { "cpus": "0", "mems": "0" } }));
    c.create().ok();
    c.assert_shown(&[("AllowedCPUs", "0"), ("AllowedMemoryNodes", "0")]);
    c.assert_contents(&[
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("cpuset.cpus.effective", "0"),
        ("cpuset.mems.effective", "0"),
    ]);
    systemctl(&["daemon-reload"]);
    c.assert_contents(&[("cpuset.cpus", "0"), ("cpuset.mems", "0")]);
}

#[test]
fn pages_of_huge_size_are_limited_in_the_files() {
    booted!();
    need!(has("hugetlb"), "cgroup controller hugetlb");
    let c = Scoped::new(json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }] }));
    c.create().ok();
    let limits = [("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")];
    c.assert_contents(&limits);
    systemctl(&["daemon-reload"]);
    c.assert_contents(&limits);
}

#[test]
fn pressure_is_reported() {
    booted!();
    need!(Path::new("/proc/pressure/cpu").exists(), "pressure stall information");
    let c = Scoped::new(json!({}));
    c.create().ok();
    let events = c.orlop(&["events", "--stats", &c.id]).run().ok().json();
    assert!(events.to_string().contains("psi"), "{events}");
}

/// The container's own program alone decides about devices: systemd, which may attach one of its own, is told no rules.
#[test]
fn device_rules_are_as_they_were_when_systemd_has_read_its_files_again() {
    booted!();
    // A rule of the config, one of every container's, and none.
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
    booted!();
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
    booted!();
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
fn slices_are_made() {
    booted!();
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
fn the_name_of_a_living_unit_is_not_taken() {
    booted!();
    let c = Scoped::new(json!({}));
    c.create().ok();
    let other = Scoped::new(json!({}));
    other
        .bundle
        .change(|config| config["linux"]["cgroupsPath"] = json!(format!("system.slice:test:{}", c.id)));
    other.create().fails_with("there is a unit of this name already");
    c.assert_shown(&[("ActiveState", "active")]);
    assert_eq!(c.content("cgroup.procs"), c.pid());
}

#[test]
fn a_container_stopped_by_systemd_can_be_deleted() {
    booted!();
    let c = Scoped::new(json!({}));
    c.bundle
        .change(|c| c["annotations"]["org.systemd.property.TimeoutStopSec"] = json!("1"));
    c.create().ok();
    c.on(&["start"]).ok();
    systemctl(&["stop", &c.unit()]);
    assert_eq!(c.on(&["state"]).ok().json()["status"], "stopped");
    c.on(&["delete"]).ok();
}

/// The caller is in a part of the tree that is not the user's, so that only systemd can bring a process over.
#[test]
fn a_plain_users_container_is_a_scope_of_the_users_systemd() {
    booted!();
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
fn a_plain_user_without_a_bus_is_told() {
    booted!();
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
    other.run().fails_with("nobody listens at");
    c.bundle.assert_clean();
}
