//! What orlop says about common mistakes, word by word: those that it finds before the first side effect. Real
//! containers' are in `integration/lifecycle/errors.rs`. The texts are in `golden/errors/`, see `golden/check.rs`.
//!
//! A mistake that is found late would fail here as well: the container's directory would be in the state root.

mod golden {
    include!("golden/check.rs");
}

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle with the default config and an empty root file system, so that not even a config which should have been
/// refused leads to a process.
struct Bundle {
    _dir: TempDir,
    /// Without links.
    path: PathBuf,
}

impl Bundle {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = fs::canonicalize(dir.path()).expect("its path");
        fs::create_dir_all(path.join("bundle/rootfs")).expect("make the bundle");
        fs::write(
            path.join("bundle/config.json"),
            include_str!("../fixtures/bundles/default/config.json"),
        )
        .expect("write config.json");
        // Another runtime may accept the mistake, and shall not fail for another reason.
        if let Some(rootfs) = std::env::var_os("RECORD_ROOTFS") {
            let copy = PathBuf::from(rootfs).join(".");
            let copied = Command::new("cp")
                .arg("-a")
                .arg(copy)
                .arg(path.join("bundle/rootfs"))
                .status();
            assert!(copied.expect("copy a root file system").success());
            let open = Command::new("chmod").arg("755").arg(&path).status();
            assert!(open.expect("make it accessible").success());
        }
        Bundle { _dir: dir, path }
    }

    fn config(self, edit: impl FnOnce(&mut Value)) -> Self {
        let mut config: Value = serde_json::from_slice(&fs::read(self.file("config.json")).unwrap()).unwrap();
        edit(&mut config);
        self.text(&serde_json::to_string_pretty(&config).unwrap())
    }

    fn text(self, config: &str) -> Self {
        fs::write(self.file("config.json"), config).expect("write config.json");
        self
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join("bundle").join(name)
    }

    /// The golden text of `create`.
    #[track_caller]
    fn create(&self, name: &str) {
        self.orlop(name, &["create", "--bundle", "DIR/bundle", "box"]);
    }

    /// The golden text of a command; `DIR` in its arguments is this test's directory.
    #[track_caller]
    fn orlop(&self, name: &str, arguments: &[&str]) {
        let dir = self.path.to_str().expect("a UTF-8 path");
        let log = self.path.join("log");
        let record = golden::record_file();
        let mut command = match (&record, std::env::var_os("RUNTIME")) {
            (Some(_), Some(other)) => Command::new(other),
            _ => Command::new(env!("CARGO_BIN_EXE_orlop")),
        };
        for (flag, path) in [("--root", self.path.join("state")), ("--log", log.clone())] {
            if !arguments.contains(&flag) {
                command.arg(flag).arg(path);
            }
        }
        command.args(["--log-format", "json"]);
        // The runtime must not inherit what the caller of the tests left open.
        // SAFETY: between fork and execve the closure only makes a system call, and allocates nothing.
        unsafe {
            command.pre_exec(
                || match libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                },
            );
        }
        command
            .args(arguments.iter().map(|argument| argument.replace("DIR", dir)))
            .current_dir(&self.path);
        if record.is_some() {
            // A container that was created keeps the streams, so that they do not end.
            let stderr = fs::File::create(self.path.join("stderr")).expect("a file");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        }
        let mut output = command.output().expect("run orlop");
        if record.is_some() {
            output.stderr = fs::read(self.path.join("stderr")).expect("what it said");
        }
        let said = golden::Said {
            command: format!("orlop {}", arguments.join(" ")),
            code: output.status.code().expect("an exit code"),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            log: fs::read_to_string(&log).unwrap_or_default(),
            placeholders: &[(dir, "DIR")],
        };
        if let Some(file) = record {
            golden::record(&file, name, &said);
            // It may have accepted what orlop refuses.
            let root = self.path.join("state");
            let mut delete = Command::new(command.get_program());
            let deleted = delete
                .arg("--root")
                .arg(root)
                .args(["delete", "--force", "box"])
                .output();
            deleted.expect("delete the container");
            return;
        }
        let left: Vec<_> = fs::read_dir(self.path.join("state")).into_iter().flatten().collect();
        assert!(left.is_empty(), "{name}: left behind: {left:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{name}: stdout");
        golden::check(name, &said);
    }
}

/// One test a mistake in config.json: its name is also the golden file's.
macro_rules! config {
    ($($name:ident: $edit:expr;)*) => {
        $(
            #[test]
            fn $name() {
                Bundle::new().config($edit).create(stringify!($name));
            }
        )*
    };
}

/// One test a mistake on the command line.
macro_rules! command_line {
    ($($name:ident: $($argument:literal)*;)*) => {
        $(
            #[test]
            fn $name() {
                Bundle::new().orlop(stringify!($name), &[$($argument),*]);
            }
        )*
    };
}

fn remove(from: &mut Value, name: &str) {
    from.as_object_mut().expect("an object").remove(name).expect(name);
}

fn push(list: &mut Value, item: Value) {
    list.as_array_mut().expect("a list").push(item);
}

/// A profile that allows everything but for one rule.
fn rule(c: &mut Value, rule: Value) {
    c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
}

fn add_mount(config: &mut Value, mount: Value) {
    push(&mut config["mounts"], mount);
}

fn without_namespace(config: &mut Value, kind: &str) {
    let list = config["linux"]["namespaces"].as_array_mut().expect("a list");
    list.retain(|entry| entry["type"] != kind);
}

/// In which only container id 0 exists.
fn user_namespace(config: &mut Value) {
    push(&mut config["linux"]["namespaces"], json!({ "type": "user" }));
    for kind in ["uidMappings", "gidMappings"] {
        config["linux"][kind] = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    }
}

fn hook(config: &mut Value, hook: Value) {
    config["hooks"] = json!({ "createRuntime": [hook] });
}

// The bundle and the file.

#[test]
fn bundle_missing() {
    Bundle::new().orlop("bundle_missing", &["create", "--bundle", "DIR/elsewhere", "box"]);
}

#[test]
fn bundle_is_a_file() {
    let bundle = Bundle::new();
    bundle.orlop(
        "bundle_is_a_file",
        &["create", "--bundle", "DIR/bundle/config.json", "box"],
    );
}

#[test]
fn config_missing() {
    let bundle = Bundle::new();
    fs::remove_file(bundle.file("config.json")).unwrap();
    bundle.create("config_missing");
}

#[test]
fn config_is_a_directory() {
    let bundle = Bundle::new();
    fs::remove_file(bundle.file("config.json")).unwrap();
    fs::create_dir(bundle.file("config.json")).unwrap();
    bundle.create("config_is_a_directory");
}

#[test]
fn json_comma() {
    let text = "{\n  \"ociVersion\": \"1.0.2\",\n  \"process\": {\n    \"args\": [\"sh\",]\n  }\n}\n";
    Bundle::new().text(text).create("json_comma");
}

#[test]
fn json_with_byte_order_mark() {
    Bundle::new()
        .text("\u{feff}{\"ociVersion\": \"1.0.2\"}")
        .create("json_with_byte_order_mark");
}

#[test]
fn json_in_utf16() {
    let bundle = Bundle::new();
    let text: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(bundle.file("config.json"), text).unwrap();
    bundle.create("json_in_utf16");
}

#[test]
fn json_ends_early() {
    Bundle::new()
        .text("{\n\t\"ociVersion\": \"1.0.2\",\n\t\"process\": {")
        .create("json_ends_early");
}

#[test]
fn json_empty() {
    Bundle::new().text("").create("json_empty");
}

#[test]
fn json_is_a_list() {
    Bundle::new().text("[]").create("json_is_a_list");
}

config! {
    // Types and versions.
    type_wrong: |c| c["process"]["args"] = json!("sh");
    type_wrong_deep: |c| c["linux"]["namespaces"][0]["type"] = json!(3);
    type_wrong_number: |c| c["process"]["user"]["uid"] = json!(-1);
    version_missing: |c| remove(c, "ociVersion");
    version_malformed: |c| c["ociVersion"] = json!("1.0");
    version_unknown: |c| c["ociVersion"] = json!("2.0.0");

    // Everything that is wrong is reported, in the order of the file; what only follows from it is not.
    five_mistakes: |c| {
        c["process"]["args"] = json!([]);
        c["process"]["rlimits"][0]["type"] = json!("RLIMIT_FILES");
        c["root"]["path"] = json!("image");
        add_mount(c, json!({ "destination": "/data", "source": "/srv", "options": ["bind", "readonly"] }));
        c["linux"]["sysctl"] = json!({ "vm.swappiness": "10" });
    };
    mistakes_that_hide_others: |c| {
        // Nothing is said to lack a namespace, nor any of the ids to lack a mapping.
        c["linux"]["namespaces"][1]["type"] = json!("net");
        c["linux"]["netDevices"] = json!({ "eth1": {} });
        c["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 1000, "size": "1" }]);
        c["process"]["user"]["uid"] = json!(5);
        // Nor is what is left of it missing anything else.
        remove(&mut c["process"]["user"], "gid");
        c["process"]["cwd"] = json!(7);
    };

    // The root file system.
    root_missing: |c| remove(c, "root");
    root_path_missing: |c| remove(&mut c["root"], "path");
    root_path_empty: |c| c["root"]["path"] = json!("");
    rootfs_missing: |c| c["root"]["path"] = json!("image");
    rootfs_is_a_file: |c| c["root"]["path"] = json!("config.json");
    rootfs_below_a_file: |c| c["root"]["path"] = json!("config.json/rootfs");
    rootfs_is_the_hosts: |c| c["root"]["path"] = json!("/");
    propagation_unknown: |c| c["linux"]["rootfsPropagation"] = json!("rshare");

    // The process.
    args_empty: |c| c["process"]["args"] = json!([]);
    args_missing: |c| remove(&mut c["process"], "args");
    program_empty: |c| c["process"]["args"] = json!([""]);
    argument_with_nul: |c| c["process"]["args"] = json!(["sh", "a\0b"]);
    root_path_with_nul: |c| c["root"]["path"] = json!("a\0b");
    hostname_with_nul: |c| c["hostname"] = json!("a\0b");
    cwd_relative: |c| c["process"]["cwd"] = json!("home");
    cwd_missing: |c| remove(&mut c["process"], "cwd");
    groups_too_many: |c| c["process"]["user"]["additionalGids"] = (1..=65537).collect();
    group_no_id: |c| c["process"]["user"]["additionalGids"] = json!([5, 4294967295u32]);
    rlimit_twice: |c| {
        let limit = c["process"]["rlimits"][0].clone();
        push(&mut c["process"]["rlimits"], limit);
    };
    rlimit_unknown: |c| c["process"]["rlimits"][0]["type"] = json!("RLIMIT_FILES");
    user_without_an_id: |c| remove(&mut c["process"]["user"], "uid");
    user_minus_1: |c| c["process"]["user"]["uid"] = json!(u32::MAX);
    rlimit_without_hard: |c| remove(&mut c["process"]["rlimits"][0], "hard");
    rlimit_soft_above_hard: |c| c["process"]["rlimits"][0]["soft"] = json!(2048);
    annotation_without_a_key: |c| c["annotations"] = json!({ "": "x" });
    oom_score_out_of_range: |c| c["process"]["oomScoreAdj"] = json!(1001);
    capabilities_not_a_list: |c| c["process"]["capabilities"]["bounding"] = json!("CAP_KILL");
    terminal_without_socket: |c| c["process"]["terminal"] = json!(true);

    environment_without_a_name: |c| c["process"]["env"] = json!(["A=1", "=2"]);
    environment_without_a_value: |c| c["process"]["env"] = json!(["A=1", "PATH"]);
    scheduler_policy_missing: |c| c["process"]["scheduler"] = json!({ "nice": 1 });
    scheduler_policy_unknown: |c| c["process"]["scheduler"] = json!({ "policy": "SCHED_NORMAL" });
    scheduler_flag_unknown: |c| {
        c["process"]["scheduler"] = json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_RESET_ON_FORK"] });
    };
    scheduler_nice_out_of_range: |c| c["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 20 });
    scheduler_priority_missing: |c| c["process"]["scheduler"] = json!({ "policy": "SCHED_FIFO" });
    scheduler_priority_without_real_time: |c| {
        c["process"]["scheduler"] = json!({ "policy": "SCHED_OTHER", "priority": 1 });
    };
    scheduler_runtime_without_deadline: |c| {
        c["process"]["scheduler"] = json!({ "policy": "SCHED_IDLE", "runtime": 10_000 });
    };
    scheduler_deadline_before_the_runtime: |c| {
        c["process"]["scheduler"] = json!({ "policy": "SCHED_DEADLINE", "runtime": 20_000, "deadline": 10_000 });
    };
    scheduler_forbids_the_hooks_fork: |c| {
        c["process"]["scheduler"] = json!({ "policy": "SCHED_DEADLINE", "runtime": 10_000, "deadline": 20_000 });
        c["hooks"] = json!({ "startContainer": [{ "path": "/bin/true" }] });
    };
    io_priority_class_unknown: |c| c["process"]["ioPriority"] = json!({ "class": "best-effort", "priority": 4 });
    io_priority_out_of_range: |c| c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 });
    io_priority_missing: |c| c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_RT" });
    exec_cpu_affinity_backwards: |c| c["process"]["execCPUAffinity"] = json!({ "initial": "3-1" });
    exec_cpu_affinity_with_a_blank: |c| c["process"]["execCPUAffinity"] = json!({ "final": "0, 1" });
    exec_cpu_affinity_too_high: |c| c["process"]["execCPUAffinity"] = json!({ "final": "0-99999999999" });
    memory_policy_mode_unknown: |c| c["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_SPREAD", "nodes": "0" });
    memory_policy_without_nodes: |c| c["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND" });
    memory_policy_with_nodes: |c| c["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_LOCAL", "nodes": "0" });
    memory_policy_flags_exclude_each_other: |c| {
        let flags = ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"];
        c["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": flags });
    };
    personality_unknown: |c| c["linux"]["personality"] = json!({ "domain": "LINUX64" });
    personality_flag: |c| {
        c["linux"]["personality"] = json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] });
    };

    // Namespaces and what depends on them.
    namespace_unknown: |c| c["linux"]["namespaces"][1]["type"] = json!("net");
    namespace_twice: |c| push(&mut c["linux"]["namespaces"], json!({ "type": "network" }));
    namespace_path_relative: |c| c["linux"]["namespaces"][1]["path"] = json!("run/netns/blue");
    mount_namespace_missing: |c| {
        without_namespace(c, "mount");
        c["linux"]["rootfsPropagation"] = json!("rshared");
    };
    mount_namespace_missing_for_a_mount: |c| {
        without_namespace(c, "mount");
        push(&mut c["mounts"][1]["options"], json!("rslave"));
    };
    mount_namespace_missing_beside_a_user_namespace: |c| {
        without_namespace(c, "mount");
        push(&mut c["linux"]["namespaces"], json!({ "type": "user" }));
        for list in ["uidMappings", "gidMappings"] {
            c["linux"][list] = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        }
    };
    hostname_without_uts: |c| without_namespace(c, "uts");
    domainname_without_uts: |c| {
        remove(c, "hostname");
        c["domainname"] = json!("example");
        without_namespace(c, "uts");
    };
    sysctl_not_namespaced: |c| c["linux"]["sysctl"] = json!({ "vm.swappiness": "10" });
    sysctl_without_namespace: |c| {
        without_namespace(c, "network");
        c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    };
    sysctl_dots: |c| c["linux"]["sysctl"] = json!({ "net/../vm/swappiness": "10" });
    sysctl_beside_domainname: |c| {
        c["domainname"] = json!("one");
        c["linux"]["sysctl"] = json!({ "kernel.domainname": "another" });
    };
    sysctl_twice: |c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "net/ipv4/ip_forward": "0" });
    sysctl_hostname: |c| c["linux"]["sysctl"] = json!({ "kernel.hostname": "box" });
    sysctl_line_break: |c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1\n" });
    mapping_without_user_namespace: |c| {
        c["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    };
    user_namespace_without_mapping_for_the_user: |c| {
        push(&mut c["linux"]["namespaces"], json!({ "type": "user" }));
        c["process"]["user"]["uid"] = json!(5);
    };
    user_not_mapped: |c| {
        user_namespace(c);
        c["process"]["user"]["uid"] = json!(1000);
    };
    group_not_mapped: |c| {
        user_namespace(c);
        c["process"]["user"]["gid"] = json!(1000);
    };
    additional_group_not_mapped: |c| {
        user_namespace(c);
        c["process"]["user"]["additionalGids"] = json!([0, 7]);
    };
    mapping_without_a_host_id: |c| {
        user_namespace(c);
        remove(&mut c["linux"]["uidMappings"][0], "hostID");
    };
    mapping_of_size_0: |c| {
        push(&mut c["linux"]["namespaces"], json!({ "type": "user" }));
        c["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        c["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": 1000, "size": 0 }]);
    };

    mount_namespace_beside_a_new_user_namespace: |c| {
        user_namespace(c);
        c["linux"]["namespaces"][4]["path"] = json!("/proc/1/ns/mnt");
    };
    time_offset_without_namespace: |c| c["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1 } });
    time_offset_in_a_joined_namespace: |c| {
        push(&mut c["linux"]["namespaces"], json!({ "type": "time", "path": "/proc/self/ns/time" }));
        c["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1 } });
    };
    time_offset_of_an_unknown_clock: |c| {
        push(&mut c["linux"]["namespaces"], json!({ "type": "time" }));
        c["linux"]["timeOffsets"] = json!({ "realtime": { "secs": 1 } });
    };
    time_offset_of_many_nanoseconds: |c| {
        push(&mut c["linux"]["namespaces"], json!({ "type": "time" }));
        c["linux"]["timeOffsets"] = json!({ "monotonic": { "nanosecs": 1_000_000_000 } });
    };
    time_offset_not_a_number: |c| {
        push(&mut c["linux"]["namespaces"], json!({ "type": "time" }));
        c["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": "1h" } });
    };
    net_device_without_namespace: |c| {
        without_namespace(c, "network");
        c["linux"]["netDevices"] = json!({ "eth1": {} });
    };
    net_device_into_the_hosts_namespace: |c| {
        c["linux"]["namespaces"][1]["path"] = json!("/proc/self/ns/net");
        c["linux"]["netDevices"] = json!({ "eth1": {} });
    };
    net_device_name_too_long: |c| c["linux"]["netDevices"] = json!({ "eth1": { "name": "container-network" } });
    net_device_template_bad: |c| c["linux"]["netDevices"] = json!({ "eth1": { "name": "eth%s" } });
    net_device_key_is_a_template: |c| c["linux"]["netDevices"] = json!({ "eth%d": {} });
    net_devices_of_one_name: |c| c["linux"]["netDevices"] = json!({ "eth1": { "name": "eth2" }, "eth2": {} });
    class_with_slash: |c| c["linux"]["intelRdt"] = json!({ "closID": "a/b" });
    class_reserved: |c| c["linux"]["intelRdt"] = json!({ "closID": "info" });
    class_schema_of_another_resource: |c| c["linux"]["intelRdt"] = json!({ "memBwSchema": "L3:0=f" });
    class_schema_of_two_lines: |c| c["linux"]["intelRdt"] = json!({ "schemata": ["L3:0=f", "MB:0=10\nL2:0=1"] });

    cgroup_with_dots: |c| c["linux"]["cgroupsPath"] = json!("/../escape");
    cgroup_of_the_root: |c| c["linux"]["cgroupsPath"] = json!("/");

    // Mounts, devices, masks.
    mount_of_type_bind_alone: |c| add_mount(c, json!({ "destination": "/data", "type": "bind", "source": "/srv" }));
    mount_options_in_one_string: |c| add_mount(c, json!({
        "destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind,ro,nosuid"],
    }));
    mount_options_in_one_string_beside_bind: |c| add_mount(c, json!({
        "destination": "/data", "source": "/srv", "options": ["bind", "ro,x"],
    }));
    mount_option_readonly: |c| add_mount(c, json!({
        "destination": "/data", "source": "/srv", "options": ["bind", "readonly"],
    }));
    mount_option_in_capitals: |c| add_mount(c, json!({
        "destination": "/data", "source": "/srv", "options": ["rbind", "NOEXEC"],
    }));
    mount_option_of_the_mount_among_those_of_tmpfs: |c| add_mount(c, json!({
        "destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m,nosuid"],
    }));
    mount_nofollow_beside_copy_symlink: |c| add_mount(c, json!({
        "destination": "/data", "source": "/srv", "options": ["bind", "copy-symlink", "src-nofollow"],
    }));
    mount_without_type: |c| add_mount(c, json!({ "destination": "/data", "source": "/srv" }));
    mount_without_destination: |c| add_mount(c, json!({ "type": "tmpfs" }));
    mount_destination_empty: |c| add_mount(c, json!({ "destination": "", "type": "tmpfs" }));
    bind_without_source: |c| add_mount(c, json!({ "destination": "/data", "options": ["rbind"] }));
    mount_over_the_root: |c| add_mount(c, json!({ "destination": "/", "type": "tmpfs" }));
    mount_option_too_long: |c| {
        let long = format!("lowerdir={}", "/layer:".repeat(700));
        add_mount(c, json!({ "destination": "/data", "type": "overlay", "options": [long] }));
    };
    mount_option_too_long_for_a_remount: |c| {
        let long = format!("lowerdir={}", "/layer:".repeat(40));
        add_mount(c, json!({ "destination": "/dev", "options": ["remount", long] }));
    };
    cgroup_option_unknown: |c| {
        add_mount(c, json!({ "destination": "/run/cgroup", "type": "cgroup", "options": ["ro", "memory"] }));
    };
    copy_up_without_tmpfs: |c| {
        add_mount(c, json!({ "destination": "/data", "source": "/srv", "options": ["bind", "tmpcopyup"] }));
    };
    idmap_without_mapping: |c| {
        add_mount(c, json!({ "destination": "/data", "source": "/srv", "options": ["bind", "idmap"] }));
    };
    idmap_without_gid_mappings: |c| {
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        add_mount(c, json!({ "destination": "/data", "source": "/srv", "options": ["bind"], "uidMappings": map }));
    };
    idmap_mapping_of_size_0: |c| {
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 0 }]);
        add_mount(c, json!({
            "destination": "/data", "source": "/srv", "options": ["bind", "ridmap"], "uidMappings": map, "gidMappings": map,
        }));
    };
    idmap_mappings_overlap: |c| {
        let one = json!({ "containerID": 0, "hostID": 1000, "size": 10 });
        let map = json!([one, { "containerID": 9, "hostID": 2000, "size": 1 }]);
        add_mount(c, json!({
            "destination": "/data", "source": "/srv", "options": ["bind", "idmap"], "uidMappings": [one], "gidMappings": map,
        }));
    };
    idmap_of_a_remount: |c| {
        let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        add_mount(c, json!({
            "destination": "/dev", "options": ["remount", "idmap"], "uidMappings": map, "gidMappings": map,
        }));
    };
    idmap_of_a_new_file_system_in_a_user_namespace: |c| {
        user_namespace(c);
        add_mount(c, json!({ "destination": "/data", "type": "tmpfs", "options": ["idmap"] }));
    };
    device_owner_not_mapped: |c| {
        user_namespace(c);
        c["linux"]["devices"] = json!([{ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "gid": 1000 }]);
    };
    mask_of_the_root: |c| push(&mut c["linux"]["maskedPaths"], json!("//."));
    readonly_path_of_the_root: |c| push(&mut c["linux"]["readonlyPaths"], json!("/"));
    device_path_relative: |c| {
        c["linux"]["devices"] = json!([{ "path": "dev/fuse", "type": "c", "major": 10, "minor": 229 }]);
    };
    device_type_unknown: |c| {
        c["linux"]["devices"] = json!([{ "path": "/dev/fuse", "type": "x", "major": 10, "minor": 229 }]);
    };
    device_number_out_of_range: |c| {
        c["linux"]["devices"] = json!([{ "path": "/dev/fuse", "type": "c", "major": 10, "minor": -1 }]);
    };
    device_without_a_number: |c| c["linux"]["devices"] = json!([{ "type": "b", "path": "/dev/disk", "major": 8 }]);
    device_rule_without_allow: |c| {
        c["linux"]["resources"]["devices"] = json!([{ "type": "c", "access": "rw" }]);
    };
    device_rule_access_unknown: |c| {
        c["linux"]["resources"]["devices"] = json!([{ "allow": true, "type": "c", "access": "rx" }]);
    };
    masked_path_relative: |c| push(&mut c["linux"]["maskedPaths"], json!("proc/keys"));
    readonly_path_relative: |c| push(&mut c["linux"]["readonlyPaths"], json!("sys"));

    // Hooks.
    hook_path_relative: |c| hook(c, json!({ "path": "bin/setup" }));
    hook_argument_with_nul: |c| c["hooks"] = json!({ "poststop": [{ "path": "/bin/true", "args": ["true", "a\0b"] }] });
    hook_timeout_0: |c| hook(c, json!({ "path": "/bin/setup", "timeout": 0 }));
    hook_path_missing: |c| hook(c, json!({ "args": ["setup"] }));

    // seccomp.
    seccomp_default_action_missing: |c| c["linux"]["seccomp"] = json!({});
    seccomp_default_errno_useless: |c| {
        c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1 });
    };
    seccomp_errno_useless: |c| rule(c, json!({ "names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 1 }));
    seccomp_errno_too_large: |c| rule(c, json!({ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096 }));
    seccomp_action_unknown: |c| rule(c, json!({ "names": ["mkdir"], "action": "SCMP_ACT_DENY" }));
    seccomp_names_empty: |c| rule(c, json!({ "names": [], "action": "SCMP_ACT_ERRNO" }));
    seccomp_operator_unknown: |c| {
        let args = json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_IN" }]);
        rule(c, json!({ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": args }));
    };
    seccomp_argument_out_of_range: |c| {
        let args = json!([{ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" }]);
        rule(c, json!({ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": args }));
    };
    seccomp_architecture_unknown: |c| {
        c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_Z80"] });
    };
    seccomp_flag_unknown: |c| {
        c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_FAST"] });
    };
    seccomp_flag_without_notification: |c| {
        let flags = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
        c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": flags });
    };
    seccomp_metadata_without_path: |c| {
        c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" });
    };
    seccomp_notify_without_path: |c| rule(c, json!({ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }));
    seccomp_listener_path_relative: |c| {
        rule(c, json!({ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }));
        c["linux"]["seccomp"]["listenerPath"] = json!("agent.sock");
    };
    seccomp_execve_refused: |c| rule(c, json!({ "names": ["execve"], "action": "SCMP_ACT_ERRNO" }));
    seccomp_capset_refused: |c| {
        c["process"]["noNewPrivileges"] = json!(false);
        rule(c, json!({ "names": ["capset"], "action": "SCMP_ACT_ERRNO" }));
    };

    // Resources that version 2 of cgroups does not know, and values that nobody takes.
    memory_swappiness: |c| c["linux"]["resources"]["memory"] = json!({ "swappiness": 0 });
    memory_swap_without_limit: |c| c["linux"]["resources"]["memory"] = json!({ "swap": 1 << 26 });
    memory_swap_below_limit: |c| c["linux"]["resources"]["memory"] = json!({ "limit": 1 << 26, "swap": 1 << 20 });
    cpu_real_time: |c| c["linux"]["resources"]["cpu"] = json!({ "realtimeRuntime": 950_000 });
    cpu_quota_too_small: |c| c["linux"]["resources"]["cpu"] = json!({ "quota": 10 });
    pids_limit_negative: |c| c["linux"]["resources"]["pids"] = json!({ "limit": -5 });
    leaf_weight: |c| c["linux"]["resources"]["blockIO"] = json!({ "leafWeight": 10 });
    network_class: |c| c["linux"]["resources"]["network"] = json!({ "classID": 1 });
    huge_page_size_unknown: |c| {
        c["linux"]["resources"]["hugepageLimits"] = json!([{ "pageSize": "2 megabytes", "limit": 0 }]);
    };
    rdma_without_limit: |c| c["linux"]["resources"]["rdma"] = json!({ "mlx5_1": {} });
    unified_with_slash: |c| c["linux"]["resources"]["unified"] = json!({ "../memory.high": "1M" });
    unified_command: |c| c["linux"]["resources"]["unified"] = json!({ "cgroup.procs": "1" });
}

command_line! {
    id_with_slash: "create" "--bundle" "DIR/bundle" "a/b";
    id_empty: "create" "--bundle" "DIR/bundle" "";
    id_missing: "create" "--bundle" "DIR/bundle";
    id_dots: "state" "..";
    verb_unknown: "crate" "box";
    verb_unknown_and_its_help: "crate" "--help";
    events_interval_0: "events" "--interval" "0" "box";
    update_size_unknown: "update" "--memory" "12parsecs" "box";
    update_from_two_sources: "update" "--memory" "1M" "--resources" "-" "box";
    update_unified_without_value: "update" "--unified" "memory.high" "box";
    // Config and command line together.
    seccomp_log_without_profile: "run" "--seccomp-log" "--bundle" "DIR/bundle" "box";
    seccomp_log_detached: "run" "--seccomp-log" "--detach" "--bundle" "DIR/bundle" "box";
    seccomp_log_unknown: "run" "--seccomp-log=all" "--bundle" "DIR/bundle" "box";
    flag_unknown: "create" "--bundel" "DIR/bundle" "box";
    flag_misplaced: "state" "--root" "DIR" "box";
    flag_switch_not_a_truth: "--debug=maybe" "list";
    kill_several_without_signal: "kill" "box" "bax" "bix";
    delete_pattern_broken: "delete" "--regex" "(";
    config_file_missing: "create" "--config" "DIR/elsewhere" "--bundle" "DIR/bundle" "box";
    flag_value_unknown: "list" "--format" "yaml";
    checkpoint_page_server_without_port: "checkpoint" "--page-server" "host" "box";
    checkpoint_page_server_without_brackets: "checkpoint" "--page-server" "::1:9876" "box";
    checkpoint_parent_absolute: "checkpoint" "--parent-path" "DIR/before" "box";
    checkpoint_pre_dump_and_lazy_pages: "checkpoint" "--pre-dump" "--lazy-pages" "box";
    checkpoint_status_fd_without_lazy_pages: "checkpoint" "--status-fd" "3" "box";
    checkpoint_cgroups_mode_misspelt: "checkpoint" "--manage-cgroups-mode" "softt" "box";
    restore_empty_ns_of_another_type: "restore" "--empty-ns" "pid" "box";
    restore_lsm_profile_without_type: "restore" "--lsm-profile" "container_t" "box";
    signal_unknown: "kill" "box" "SIGSTOPP";
    signal_out_of_range: "kill" "box" "65";
    state_unknown: "state" "box";
    start_unknown: "start" "box";
    kill_unknown: "kill" "box" "TERM";
    delete_unknown: "delete" "box";
    exec_unknown: "exec" "box" "true";
    exec_id_invalid: "exec" "../box" "true";
    exec_id_missing: "exec" "--tty";
    exec_command_missing: "exec" "box";
    exec_option_after_the_id: "exec" "box" "--tty" "sh";
    exec_user_not_a_number: "exec" "--user" "1x" "box" "true";
    exec_user_is_a_name: "exec" "--user" "root" "box" "true";
    exec_group_missing: "exec" "--user" "1000:" "box" "true";
    exec_cwd_relative: "exec" "--cwd" "tmp" "box" "true";
    exec_cgroup_climbs: "exec" "--cgroup" "../.." "box" "true";
    exec_cgroup_with_a_controller: "exec" "--cgroup" "memory:/a" "box" "true";
    preserve_fds_closed: "create" "--bundle" "DIR/bundle" "--preserve-fds" "200" "box";
    console_socket_without_terminal: "create" "--bundle" "DIR/bundle" "--console-socket" "DIR/socket" "box";
    spec_exists: "spec" "--bundle" "DIR/bundle";
    log_directory_missing: "--log" "DIR/elsewhere/log" "state" "box";
    spec_directory_missing: "spec" "--bundle" "DIR/elsewhere";
    root_empty: "--root" "" "state" "box";
}
