//! `inspect`: what is in force beside what was asked for. The limits of controllers are in `guest/`.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::exec::{exec_cmd, exec_facts, idle, link};
use crate::harness::seccomp::docker;
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Cmd, Container, eventually};

fn inspect_cmd(c: &Container, flags: &[&str]) -> Cmd {
    c.bundle.orlop([&["inspect"], flags, &[&c.id]].concat())
}

#[track_caller]
fn inspect(c: &Container) -> Value {
    inspect_cmd(c, &["--format", "json"]).run().ok().json()
}

#[track_caller]
fn entry<'a>(document: &'a Value, section: &str, name: &str) -> &'a Value {
    let entries = document["sections"][section].as_array();
    let entries = entries.unwrap_or_else(|| panic!("no section {section}: {document:#}"));
    let found = entries.iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("no entry {name} in {section}: {entries:#?}"))
}

#[track_caller]
fn assert_equal(document: &Value, section: &str, names: &[&str]) {
    for name in names {
        let entry = entry(document, section, name);
        assert_eq!(entry["equal"], true, "{section}: {entry:#}");
    }
}

#[track_caller]
fn assert_no_differences(document: &Value) {
    assert_eq!(document["differences"], json!([]), "{document:#}");
    assert_eq!(document["problem"], Value::Null);
}

/// The program that runs on the host, with these words.
#[track_caller]
fn on_host(words: &[&str]) {
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .expect("a program of the host");
    assert!(output.status.success(), "{words:?}: {output:?}");
}

#[test]
fn everything_of_the_default_bundle_is_in_force() {
    let bundle = idle();
    let c = bundle.start();
    c.until("ready");
    let found = inspect(&c);
    assert_no_differences(&found);
    assert_eq!((&found["version"], &found["status"]), (&json!(1), &json!("running")));
    assert_eq!(entry(&found, "identity", "pid")["found"], c.pid());
    assert_eq!(entry(&found, "identity", "created")["found"], c.state()["created"]);
    for (name, file) in [("network", "net"), ("pid", "pid"), ("mount", "mnt")] {
        let entry = entry(&found, "namespaces", name);
        let inode = entry["found"]["inode"].as_u64().unwrap();
        assert_eq!(link(c.pid(), file), format!("{file}:[{inode}]"));
        assert_eq!((&entry["asked"], &entry["equal"]), (&json!("new"), &json!(true)));
    }
    assert_equal(&found, "namespaces", &["user", "hostname"]);
    assert_equal(
        &found,
        "mounts",
        &["/", "/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup"],
    );
    assert_equal(&found, "maskedPaths", &["/proc/keys", "/sys/firmware"]);
    assert_equal(&found, "readonlyPaths", &["/proc/sys"]);
    assert_equal(&found, "confinement", &["no_new_privs", "seccomp"]);
    assert_equal(&found, "rlimits", &["RLIMIT_NOFILE"]);
    assert_equal(&found, "devices", &["rules"]);
    assert_equal(&found, "cgroup", &["path", "init is in"]);
    let facts = exec_facts(&c, &[]);
    let sets = entry(&found, "capabilities", "bounding");
    assert_eq!(
        sets["found"],
        json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"])
    );
    assert_eq!(entry(&found, "namespaces", "hostname")["found"], facts["hostname"]);
    let process = entry(&found, "processes", &c.pid().to_string());
    assert_eq!(process["found"]["inside"], 1);
    assert_eq!(process["found"]["command"], "probe sleep");
    // A paused container is the same one.
    bundle.orlop(["pause", &c.id]).run().ok();
    let found = inspect(&c);
    assert_no_differences(&found);
    assert_eq!(
        (&found["status"], &entry(&found, "cgroup", "frozen")["found"]),
        (&json!("paused"), &json!(true))
    );
    bundle.orlop(["resume", &c.id]).run().ok();
}

/// Every key is there, and no other, so that programs can rely on them.
#[test]
fn the_json_has_the_documented_form() {
    let bundle = idle();
    let c = bundle.start();
    let found = inspect(&c);
    let keys = |value: &Value| -> Vec<String> {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(
        keys(&found),
        ["differences", "id", "problem", "sections", "status", "version"]
    );
    let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/inspect.md")).unwrap();
    for section in keys(&found["sections"]) {
        assert!(documented.contains(&format!("| `{section}` |")), "{section}");
        for entry in found["sections"][&section].as_array().unwrap() {
            let mut expected = vec!["asked", "equal", "found", "name"];
            if entry["equal"] == false {
                expected.insert(1, "difference");
            }
            if entry.get("unknown").is_some() {
                assert_eq!(
                    (&entry["equal"], &entry["found"]),
                    (&Value::Null, &Value::Null),
                    "{entry}"
                );
                expected.push("unknown");
            }
            assert_eq!(keys(entry), expected, "{entry}");
        }
    }
}

/// As an engine writes it.
fn engine_like() -> Bundle {
    let bundle = idle().edit(|c| {
        c["linux"]["seccomp"] = docker();
        let names = [
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_SETUID",
            "CAP_NET_RAW",
            "CAP_SYS_CHROOT",
        ];
        c["process"]["capabilities"] = json!({ "bounding": names, "effective": names, "permitted": names });
        c["process"]["noNewPrivileges"] = json!(false);
        c["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
                                         { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]);
        c["process"]["oomScoreAdj"] = json!(100);
        c["process"]["user"]["umask"] = json!(0o27);
        c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
        c["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 7 });
        c["linux"]["sysctl"] = json!({ "net.ipv4.ip_local_port_range": "2000 3000", "kernel.shmmni": "77" });
        c["linux"]["resources"]["devices"] = json!([{ "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" }]);
        c["root"]["readonly"] = json!(false);
    });
    let name = format!("/{}-own", bundle.fresh_id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(name));
    let (volume, inner) = (bundle.path("volume"), bundle.inside("/data"));
    fs::create_dir_all(&volume).unwrap();
    fs::create_dir_all(&inner).unwrap();
    fs::write(bundle.path("resolv.conf"), "nameserver ::1\n").unwrap();
    fs::write(bundle.inside("/etc/resolv.conf"), "").unwrap();
    // Mount points below links of the image, one of them absolute.
    fs::create_dir_all(bundle.inside("/run/deep")).unwrap();
    fs::create_dir_all(bundle.inside("/var")).unwrap();
    symlink("/run", bundle.inside("/var/run")).unwrap();
    symlink("../tmp", bundle.inside("/var/tmp")).unwrap();
    let (volume, file) = (volume.to_str().unwrap().to_owned(), bundle.path("resolv.conf"));
    bundle
        .mount("/data", "bind", &volume, &["rbind", "ro", "nosuid", "rprivate"])
        .mount("/etc/resolv.conf", "bind", file.to_str().unwrap(), &["bind"])
        .mount(
            "/var/run/deep",
            "tmpfs",
            "tmpfs",
            &["nosuid", "nodev", "mode=1770", "size=100k", "uid=7"],
        )
        .mount("/var/tmp", "tmpfs", "tmpfs", &["noexec", "size=50%"])
        .mount("/tmp", "tmpfs", "tmpfs", &["ro"])
}

#[test]
fn everything_of_an_engine_s_config_is_in_force() {
    let bundle = engine_like();
    let c = bundle.start();
    c.until("ready");
    let found = inspect(&c);
    assert_no_differences(&found);
    assert_equal(
        &found,
        "mounts",
        &["/data", "/etc/resolv.conf", "/var/run/deep", "/var/tmp", "/tmp"],
    );
    assert_equal(&found, "sysctls", &["net.ipv4.ip_local_port_range", "kernel.shmmni"]);
    assert_equal(
        &found,
        "scheduling",
        &["scheduler", "I/O priority", "oom_score_adj", "umask"],
    );
    assert_equal(&found, "rlimits", &["RLIMIT_NOFILE", "RLIMIT_CORE"]);
    assert_equal(&found, "confinement", &["seccomp", "no_new_privs"]);
    assert_equal(&found, "devices", &["rules"]);
    assert_eq!(entry(&found, "confinement", "seccomp filters")["found"], 1);
}

/// execve(2) takes the capabilities of a user other than root, unless they are ambient.
#[test]
fn capabilities_are_those_that_execve_leaves() {
    for user in [0, 1000] {
        let bundle = engine_like().edit(|c| {
            c["process"]["user"] = json!({ "uid": user, "gid": user });
            c["process"]["capabilities"]["effective"] = json!(["CAP_CHOWN"]);
        });
        let c = bundle.start();
        c.until("ready");
        let found = inspect(&c);
        assert_no_differences(&found);
        let effective = entry(&found, "capabilities", "effective")["found"]
            .as_array()
            .unwrap()
            .len();
        assert_eq!(effective, if user == 0 { 5 } else { 0 });
    }
}

#[test]
fn containers_in_user_namespaces_are_in_force() {
    let bundle = remapped(engine_like().edit(|c| {
        // Raising priorities is not for the root of a user namespace.
        c["process"].as_object_mut().unwrap().remove("scheduler");
        c["linux"]["sysctl"] = json!({ "kernel.shmmni": "77" });
    }));
    let c = bundle.start();
    c.until("ready");
    let found = inspect(&c);
    assert_no_differences(&found);
    assert_equal(&found, "idMaps", &["users", "groups"]);
    assert_eq!(entry(&found, "idMaps", "users")["found"], json!(["0,100000,65536"]));
    assert_eq!(entry(&found, "namespaces", "user")["found"]["callers"], false);
    assert_eq!(entry(&found, "confinement", "user (on the host)")["found"], 100_000);
    assert_equal(&found, "sysctls", &["kernel.shmmni"]);
}

#[test]
fn an_unprivileged_user_inspects_their_own_container() {
    let bundle = rootless(idle()).edit(|c| c["linux"]["sysctl"] = json!({ "kernel.shmmni": "77" }));
    let id = bundle.fresh_id();
    as_user(bundle.create_cmd(&id, &[])).run().ok();
    as_user(bundle.orlop(["start", &id])).run().ok();
    let run = || {
        as_user(bundle.orlop(["inspect", "--format", "json", &id]))
            .run()
            .ok()
            .json()
    };
    let found = run();
    assert_no_differences(&found);
    assert_equal(&found, "namespaces", &["user", "mount", "hostname"]);
    assert_equal(&found, "sysctls", &["kernel.shmmni"]);
    assert_equal(&found, "confinement", &["no_new_privs"]);
    assert_equal(&found, "mounts", &["/proc", "/sys"]);
    // What came with the host's /sys was not asked for by name, and is no difference.
    let pid = found["sections"]["identity"].as_array().unwrap();
    let pid = pid.iter().find(|entry| entry["name"] == "pid").unwrap()["found"].to_string();
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &pid, "--nofile=90:90"]).uid(1000).gid(1000);
    assert!(prlimit.status().expect("prlimit(1)").success());
    assert_eq!(run()["differences"], json!(["rlimits: RLIMIT_NOFILE"]));
}

#[test]
fn what_was_changed_since_is_marked() {
    let bundle = engine_like();
    let c = bundle.start();
    c.until("ready");
    let pid = c.pid().to_string();
    on_host(&["prlimit", "--pid", &pid, "--nofile=90:90"]);
    fs::write(format!("/proc/{pid}/oom_score_adj"), "200").unwrap();
    on_host(&["nsenter", "-t", &pid, "-u", "hostname", "other"]);
    on_host(&[
        "nsenter",
        "-t",
        &pid,
        "-i",
        "sh",
        "-c",
        "echo 78 >/proc/sys/kernel/shmmni",
    ]);
    on_host(&["nsenter", "-t", &pid, "-m", "/bin/busybox", "umount", "/var/tmp"]);
    on_host(&[
        "nsenter",
        "-t",
        &pid,
        "-m",
        "/bin/busybox",
        "mount",
        "-o",
        "remount,bind,rw",
        "none",
        "/data",
    ]);
    on_host(&["nsenter", "-t", &pid, "-m", "/bin/busybox", "umount", "/proc/sys"]);
    on_host(&["nsenter", "-t", &pid, "-m", "/bin/busybox", "umount", "/proc/keys"]);
    let change = |action: &str, place: &str| {
        let file = bundle.path("mounts.json");
        fs::write(&file, json!([{ "destination": place, "type": "tmpfs" }]).to_string()).unwrap();
        bundle
            .orlop(["mounts", action, &c.id, file.to_str().unwrap()])
            .run()
            .ok();
    };
    change("add", "/root");
    let found = inspect(&c);
    let expected = [
        "namespaces: hostname",
        "sysctls: kernel.shmmni",
        "mounts: /data",
        // /var/tmp leads to /tmp, where the last mount was on top.
        "mounts: /tmp",
        "mounts: /root",
        "maskedPaths: /proc/keys",
        "readonlyPaths: /proc/sys",
        "rlimits: RLIMIT_NOFILE",
        "scheduling: oom_score_adj",
    ];
    assert_eq!(found["differences"], json!(expected));
    for (section, name, difference) in [
        ("mounts", "/data", "differs"),
        ("mounts", "/tmp", "missing"),
        ("mounts", "/root", "additional"),
        ("maskedPaths", "/proc/keys", "missing"),
        ("rlimits", "RLIMIT_NOFILE", "differs"),
    ] {
        assert_eq!(entry(&found, section, name)["difference"], difference);
    }
    assert_eq!(entry(&found, "rlimits", "RLIMIT_NOFILE")["found"], json!(["90", "90"]));
    // The text has the same differences, and with --differences nothing else.
    let text = inspect_cmd(&c, &["--differences"]).run().ok().stdout;
    let marked: Vec<&str> = text.lines().filter(|line| line.starts_with('!')).collect();
    assert_eq!(marked.len(), expected.len(), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("  ")), "{text}");
    assert!(text.contains("! kernel.shmmni  differs: 78 (asked: 77)\n"), "{text}");
}

/// The kernel does not show the rules, but tells other rules from them.
#[test]
fn other_device_rules_are_told_from_those_asked_for() {
    let bundle = idle();
    let c = bundle.start();
    let rules = |minor: u32| {
        let rule = json!({ "allow": true, "type": "c", "major": 10, "minor": minor, "access": "rw" });
        json!({ "devices": [{ "allow": false, "access": "rwm" }, rule] })
    };
    let update = bundle.orlop(["update", "--resources", "-", &c.id]);
    update.stdin(&rules(229).to_string()).run().ok();
    let found = inspect(&c);
    assert_no_differences(&found);
    assert!(
        entry(&found, "devices", "rules")["found"]
            .to_string()
            .contains("allow:c:10:229:rw")
    );
    // As if someone had replaced the program of what the state has.
    let file = bundle.state_root().join(&c.id).join("state.json");
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    state["resources"] = rules(228);
    fs::write(&file, state.to_string()).unwrap();
    assert_eq!(inspect(&c)["differences"], json!(["devices: rules"]));
}

#[test]
fn what_concerns_the_program_is_in_force_once_it_is_started() {
    let bundle = engine_like();
    let c = bundle.create();
    let found = inspect(&c);
    assert_no_differences(&found);
    assert_eq!(found["status"], "created");
    for (section, name) in [
        ("capabilities", "effective"),
        ("confinement", "seccomp"),
        ("rlimits", "RLIMIT_NOFILE"),
    ] {
        let entry = entry(&found, section, name);
        assert_eq!(
            (&entry["equal"], &entry["found"]),
            (&Value::Null, &Value::Null),
            "{entry}"
        );
        assert_eq!(entry["unknown"], "in force once the program is started");
    }
    assert_eq!(entry(&found, "identity", "started")["found"], Value::Null);
    assert_equal(&found, "mounts", &["/data", "/proc"]);
    c.start();
    c.until("ready");
    let started = |found: &Value| entry(found, "identity", "started").clone();
    let first = started(&inspect(&c));
    assert!(
        first["found"].as_str() > entry(&found, "identity", "created")["found"].as_str(),
        "{first}"
    );
    // A later change of the directory is not taken for the start.
    let update = bundle.orlop(["update", "--resources", "-", &c.id]);
    update.stdin("{\"devices\": []}").run().ok();
    let later = started(&inspect(&c));
    assert!(later["found"].is_null() && later["unknown"].is_string(), "{later}");
}

#[test]
fn what_is_left_of_a_stopped_container_is_shown() {
    let bundle = Bundle::new().args(["true"]);
    let name = format!("/{}-own", bundle.fresh_id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(name));
    let c = bundle.start();
    c.until_stopped();
    let found = inspect(&c);
    assert_no_differences(&found);
    assert_eq!(
        (&found["status"], &entry(&found, "identity", "pid")["found"]),
        (&json!("stopped"), &Value::Null)
    );
    assert_equal(&found, "cgroup", &["path"]);
    assert_eq!(entry(&found, "mounts", "/proc")["asked"]["type"], "proc");
    assert_eq!(found["sections"]["processes"], json!([]));
    fs::remove_dir(format!("/sys/fs/cgroup{name}")).unwrap();
    assert_eq!(inspect(&c)["differences"], json!(["cgroup: path"]));
    // Without its bundle it is not known what was asked for.
    fs::remove_dir_all(bundle.inside("/")).unwrap();
    let found = inspect(&c);
    assert!(found["problem"].as_str().unwrap().contains("root"), "{found:#}");
    assert_eq!(entry(&found, "identity", "status")["found"], "stopped");
}

#[test]
fn half_made_and_damaged_containers_are_shown() {
    let bundle = idle().with_host_hook("createRuntime", "echo $$ > $OUT; exec sleep 1000");
    let id = bundle.fresh_id();
    let create = bundle.create_cmd(&id, &[]).spawn();
    let run = || bundle.orlop(["inspect", "--format", "json", &id]).run().ok().json();
    let hook = || fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default();
    eventually("the hook runs", || hook().ends_with('\n'));
    let found = run();
    assert_eq!(found["status"], "creating");
    assert!(
        entry(&found, "identity", "step")["found"]
            .as_str()
            .is_some_and(|step| !step.is_empty())
    );
    assert!(
        entry(&found, "hooks", "createRuntime")["asked"]
            .to_string()
            .contains("/bin/sh")
    );
    // The creator dies and leaves what it has made.
    create.signal(libc::SIGKILL);
    create.wait();
    on_host(&["kill", "-KILL", hook().trim()]);
    let found = run();
    assert_eq!(found["status"], "stopped");
    assert_equal(&found, "cgroup", &["path"]);
    bundle.orlop(["delete", "--force", &id]).run().ok();

    let bundle = idle();
    let c = bundle.start();
    let file = bundle.state_root().join(&c.id).join("state.json");
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    state.as_object_mut().unwrap().remove("bundle");
    fs::write(&file, state.to_string()).unwrap();
    let found = inspect(&c);
    assert!(found["problem"].as_str().unwrap().contains("bundle"), "{found:#}");
    assert_eq!(entry(&found, "identity", "pid")["found"], state["pid"]);
    assert_eq!(
        entry(&found, "rlimits", "RLIMIT_NOFILE")["found"],
        json!(["1024", "1024"])
    );
}

#[test]
fn containers_that_share_a_namespace_name_each_other() {
    let first = idle();
    let one = first.start();
    let path = format!("/proc/{}/ns/net", one.pid());
    first.change(|c| {
        let namespaces = c["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.iter_mut().find(|entry| entry["type"] == "network").unwrap()["path"] = json!(path);
    });
    let two = first.start();
    let found = inspect(&two);
    assert_no_differences(&found);
    let network = entry(&found, "namespaces", "network");
    assert_eq!(
        (&network["asked"], &network["found"]["containers"]),
        (&json!(path), &json!([one.id]))
    );
    assert_eq!(entry(&found, "namespaces", "ipc")["found"]["containers"], json!([]));
    let found = inspect(&one);
    assert_eq!(
        entry(&found, "namespaces", "network")["found"]["containers"],
        json!([two.id])
    );
}

/// Names and command lines are the container's, and the terminal is the reader's.
#[test]
fn a_container_cannot_control_the_reader_s_terminal() {
    let bundle = idle();
    let c = bundle.start();
    let exec = exec_cmd(
        &c,
        &["--detach"],
        &["sleep", "1000", "\u{1b}[2J\nforged: running\u{9b}"],
    );
    // Not a number, so sleep ends; the shell stays.
    exec.run();
    let script = "exec sleep 1000; : \u{1b}[2J\nforged: running";
    exec_cmd(&c, &["--detach"], &["sh", "-c", "sleep 1000 & wait", script])
        .run()
        .ok();
    let text = inspect_cmd(&c, &[]).run().ok().stdout;
    assert!(text.contains("\\x1b[2J\\nforged"), "{text}");
    assert!(
        !text.contains('\u{1b}') && !text.lines().any(|line| line.starts_with("forged")),
        "{text}"
    );
}
