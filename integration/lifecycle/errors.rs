//! What orlop says about common mistakes, word by word: those that need a real container, or another user. The rest is
//! in `tests/errors.rs`; the texts are in `tests/golden/errors/`. Every bundle looks for what was left behind.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::golden::{OWN_TEXTS, own_texts, run as run_with, said, verb};
use crate::harness::{Bundle, Cmd, HostMount, Output};
use crate::need;

/// The golden text of `run`, which must fail.
#[track_caller]
fn run(bundle: &Bundle, name: &str) -> Output {
    run_with(bundle, name, &[], |cmd| cmd)
}

/// Runs the runtime itself as nobody.
fn as_nobody(cmd: Cmd) -> Cmd {
    cmd.before_exec(|| unsafe {
        let done = libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(65534, 65534, 65534) == 0
            && libc::setresuid(65534, 65534, 65534) == 0;
        if done {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    })
}

/// A bundle whose process is a file with that content, executable.
fn program(content: &[u8]) -> Bundle {
    let bundle = Bundle::new().args(["/bin/tool"]);
    write_tool(&bundle, "tool", content, 0o755);
    bundle
}

/// Written by another process: a descriptor of ours would be inherited by what other tests spawn in this moment, and
/// execve(2) refuses a file that is open for writing anywhere.
fn write_tool(bundle: &Bundle, name: &str, content: &[u8], mode: u32) {
    let path = bundle.inside("/bin").join(name);
    let mut tee = Command::new("tee")
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("run tee");
    tee.stdin
        .take()
        .expect("piped stdin")
        .write_all(content)
        .expect("write the program");
    assert!(tee.wait().expect("wait for tee").success());
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn namespace<'a>(config: &'a mut Value, kind: &str) -> &'a mut Value {
    let list = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
    list.iter_mut()
        .find(|entry| entry["type"] == kind)
        .expect("the namespace")
}

fn hook(path: &str, script: &str) -> Value {
    json!({ "path": path, "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] })
}

/// A user namespace in which only container id 0 exists.
fn root_only(bundle: Bundle) -> Bundle {
    bundle.edit(|c| {
        let list = c["linux"]["namespaces"].as_array_mut().expect("namespaces");
        list.push(json!({ "type": "user" }));
        for kind in ["uidMappings", "gidMappings"] {
            c["linux"][kind] = json!([{ "containerID": 0, "hostID": 100_000, "size": 1 }]);
        }
        for mount in c["mounts"].as_array_mut().expect("mounts") {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    })
}

/// One test a mistake for `run`: its name is also the golden file's.
macro_rules! mistakes {
    ($($name:ident: $bundle:expr;)*) => {
        $(
            #[test]
            fn $name() {
                run(&$bundle, stringify!($name));
            }
        )*
    };
}

mistakes! {
    // Namespaces.
    namespace_path_missing: Bundle::new().edit(|c| namespace(c, "network")["path"] = json!("/run/netns/blue"));
    namespace_path_of_another_type: Bundle::new().edit(|c| namespace(c, "network")["path"] = json!("/proc/self/ns/uts"));
    namespace_path_of_no_namespace: Bundle::new().edit(|c| namespace(c, "network")["path"] = json!("/dev/null"));
    pid_namespace_path_missing: Bundle::new().edit(|c| namespace(c, "pid")["path"] = json!("/proc/0/ns/pid"));
    sysctl_unknown: Bundle::new().edit(|c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_froward": "1" }));
    sysctl_value_bad: Bundle::new().edit(|c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "yes" }));
    hostname_too_long: Bundle::new().edit(|c| c["hostname"] = json!("h".repeat(65)));

    // Mounts, devices.
    bind_source_missing: Bundle::new().mount("/data", "bind", "/no/such/source", &["rbind"]);
    bind_on_a_file: Bundle::new().mount("/bin/busybox", "bind", "/tmp", &["bind"]);
    tmpfs_size_bad: Bundle::new().mount("/tmp", "tmpfs", "tmpfs", &["size=lots"]);
    tmpfs_option_unknown: Bundle::new().mount("/tmp", "tmpfs", "tmpfs", &["sise=1m"]);
    file_system_unknown: Bundle::new().mount("/tmp", "nosuchfs", "none", &[]);
    mount_point_missing_in_a_read_only_mount: Bundle::new().mount("/sys/work", "tmpfs", "tmpfs", &[]);
    mount_point_missing_in_proc: Bundle::new().mount("/proc/work", "tmpfs", "tmpfs", &[]);
    mount_point_of_a_file_missing_in_proc: Bundle::new().mount("/proc/file", "bind", "/etc/passwd", &["bind"]);
    mount_point_of_a_file_missing_in_a_read_only_mount: Bundle::new().mount("/sys/file", "bind", "/etc/passwd", &["bind"]);
    mount_below_a_file: Bundle::new().mount("/bin/busybox/x", "tmpfs", "tmpfs", &[]);
    mount_over_proc: Bundle::new().mount("/proc", "tmpfs", "tmpfs", &[]);
    mount_inside_proc: Bundle::new().mount("/proc/sys", "tmpfs", "tmpfs", &[]);
    device_taken: {
        let bundle = Bundle::new().without_mount("/dev").edit(|c| {
            c["linux"]["devices"] = json!([{ "path": "/etc/fuse", "type": "c", "major": 10, "minor": 229 }]);
        });
        fs::write(bundle.inside("/etc/fuse"), "").expect("a file in the way");
        bundle
    };
    default_device_taken: {
        let bundle = Bundle::new().without_mount("/dev");
        fs::write(bundle.inside("/dev/null"), "").expect("a file in the way");
        bundle
    };
    file_system_full: Bundle::new()
        .mount("/data", "tmpfs", "tmpfs", &["nr_inodes=1"])
        .mount("/data/below", "tmpfs", "tmpfs", &[]);
    file_system_full_for_a_device: Bundle::new().mount("/data", "tmpfs", "tmpfs", &["nr_inodes=1"]).edit(|c| {
        c["linux"]["devices"] = json!([{ "path": "/data/fuse", "type": "c", "major": 10, "minor": 229 }]);
    });
    copy_up_larger_than_its_tmpfs: Bundle::new().mount("/bin", "tmpfs", "tmpfs", &["size=4k", "tmpcopyup"]);
    // The tests' own.
    cgroup_with_processes: Bundle::new().edit(|c| c["linux"]["cgroupsPath"] = json!("/suite"));

    // Hooks.
    hook_missing: Bundle::new().with_hook("createRuntime", hook("/no/such/hook", ""));
    hook_not_executable: Bundle::new().with_hook("createRuntime", hook("/etc/passwd", ""));
    hook_fails: Bundle::new().with_host_hook("createRuntime", "echo no network; echo to be had >&2; exit 3");
    hook_fails_silently: Bundle::new().with_host_hook("prestart", "exit 1");
    hook_killed: Bundle::new().with_host_hook("createRuntime", "kill -9 $$");
    hook_fails_in_the_container: Bundle::new().with_hook("createContainer", hook("/bin/sh", "echo not here; exit 4"));
    hook_missing_in_the_container: Bundle::new().with_hook("startContainer", hook("/no/such/hook", ""));
    hook_fails_after_the_start: Bundle::new()
        .args(["sleep", "100"])
        .with_host_hook("poststart", "echo too late; exit 5");
    hook_too_slow: Bundle::new().with_hook(
        "createRuntime",
        json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo waiting for the network; exec sleep 60"], "timeout": 1 }),
    );
    hook_without_first_line: {
        let bundle = Bundle::new();
        fs::write(bundle.path("hook"), "echo hello\n").expect("write the hook");
        fs::set_permissions(bundle.path("hook"), fs::Permissions::from_mode(0o755)).expect("chmod");
        let path = bundle.path("hook").to_str().expect("a UTF-8 path").to_owned();
        bundle.with_hook("createRuntime", json!({ "path": path }))
    };

    // The program.
    program_not_in_path: Bundle::new().args(["sevrer", "--port", "80"]);
    program_without_path: Bundle::new().args(["server"]).edit(|c| c["process"]["env"] = json!(["TERM=xterm"]));
    program_missing: Bundle::new().args(["/bin/server"]);
    program_below_a_file: Bundle::new().args(["/bin/busybox/server"]);
    program_is_a_directory: Bundle::new().args(["/bin"]);
    program_not_executable: {
        let bundle = program(b"#!/bin/sh\n");
        write_tool(&bundle, "tool", b"#!/bin/sh\n", 0o644);
        bundle
    };
    program_not_executable_in_path: {
        let bundle = program(b"").args(["tool"]);
        write_tool(&bundle, "tool", b"#!/bin/sh\n", 0o644);
        bundle
    };
    program_is_a_dangling_link: {
        let bundle = Bundle::new().args(["/bin/tool"]);
        symlink("/opt/tool", bundle.inside("/bin/tool")).expect("a link");
        bundle
    };
    script_without_interpreter: program(b"#!/usr/bin/python3 -u\nprint('hello')\n");
    script_with_incomplete_interpreter: {
        let bundle = program(&dynamic_elf("/lib64/ld-linux-x86-64.so.2", NATIVE)).args(["/bin/script"]);
        write_tool(&bundle, "script", b"#!/bin/tool\n", 0o755);
        bundle
    };
    script_with_windows_line_ends: program(b"#!/bin/sh\r\necho hello\r\n");
    script_without_first_line: program(b"echo hello\n");
    program_without_loader: program(&dynamic_elf("/lib64/ld-linux-x86-64.so.2", NATIVE));
    program_for_another_machine: program(&dynamic_elf("/lib/ld.so.1", OTHER));
    program_empty_file: program(b"");
    program_on_noexec: program(b"").args(["/data/tool"]).edit(|c| {
        let mount = json!({ "destination": "/data", "type": "bind", "source": "rootfs/bin", "options": ["rbind", "noexec"] });
        c["mounts"].as_array_mut().expect("mounts").push(mount);
    });
    interpreter_on_noexec: program(b"#!/data/busybox sh\n").edit(|c| {
        let mount = json!({ "destination": "/data", "source": "rootfs/bin", "options": ["rbind", "noexec"] });
        c["mounts"].as_array_mut().expect("mounts").push(mount);
    });
    interpreter_not_executable: {
        let bundle = program(b"#!/bin/interpreter\n");
        write_tool(&bundle, "interpreter", b"", 0o644);
        bundle
    };
    program_in_a_closed_directory: {
        let bundle = Bundle::new().args(["/closed/tool"]).edit(|c| c["process"]["user"]["uid"] = json!(5));
        fs::create_dir(bundle.inside("/closed")).expect("make the directory");
        fs::set_permissions(bundle.inside("/closed"), fs::Permissions::from_mode(0o700)).expect("chmod");
        bundle
    };
    command_in_one_string: Bundle::new().args(["echo hello"]);
    command_with_a_path_in_one_string: Bundle::new().args(["/bin/echo hello"]);
    command_of_a_shell: Bundle::new().args(["echo hello | cat"]);
    cwd_is_a_file: Bundle::new().edit(|c| c["process"]["cwd"] = json!("/bin/busybox"));
    cwd_below_a_read_only_mount: Bundle::new().edit(|c| c["process"]["cwd"] = json!("/sys/work"));

    arguments_too_long: Bundle::new().args(["true".to_owned(), "x".repeat(1 << 17)]);

    // Ids.
    device_group_not_mapped: root_only(Bundle::new()).edit(|c| {
        let list = c["mounts"].as_array_mut().expect("mounts");
        let pts = list.iter_mut().find(|mount| mount["destination"] == "/dev/pts").expect("/dev/pts");
        pts["options"].as_array_mut().expect("options").push(json!("gid=5"));
    });
}

/// EM_* of this machine and of none that runs these tests.
const NATIVE: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
const OTHER: u16 = 22;

/// The least that a kernel takes for a dynamic executable: a header, and the segment that names the loader.
fn dynamic_elf(loader: &str, machine: u16) -> Vec<u8> {
    const HEADER: u64 = 64;
    const SEGMENT: u64 = 56;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // ET_DYN, the machine, version 1.
    file.extend(3_u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    // Entry, the segments' place, no sections; flags.
    for field in [HEADER + SEGMENT, HEADER, 0] {
        file.extend(field.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    // Sizes: of this header, of a segment's; one of them; no sections.
    for field in [HEADER as u16, SEGMENT as u16, 1, 0, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    // PT_INTERP, readable; offset, two addresses, two sizes, alignment.
    file.extend(3_u32.to_le_bytes());
    file.extend(4_u32.to_le_bytes());
    let size = loader.len() as u64 + 1;
    for field in [HEADER + SEGMENT, 0, 0, size, size, 1] {
        file.extend(field.to_le_bytes());
    }
    file.extend(loader.as_bytes());
    file.push(0);
    file
}

// What is found between create and start.

#[test]
fn start_program_gone() {
    let bundle = program(b"#!/bin/sh\n");
    let c = bundle.create();
    fs::remove_file(bundle.inside("/bin/tool")).expect("remove the program");
    verb(&bundle, "start_program_gone", &["start", &c.id], &c.id);
    c.delete();
}

#[test]
fn start_without_process() {
    need!(own_texts(), OWN_TEXTS);
    let bundle = Bundle::new().edit(|c| {
        c.as_object_mut().expect("an object").remove("process");
    });
    let c = bundle.create();
    verb(&bundle, "start_without_process", &["start", &c.id], &c.id);
    c.delete();
}

// Verbs at the wrong time.

#[test]
fn verbs_on_a_running_container() {
    let bundle = Bundle::new().args(["sleep", "100"]);
    let c = bundle.start();
    let dir = bundle.dir().to_str().expect("a UTF-8 path");
    verb(&bundle, "start_twice", &["start", &c.id], &c.id);
    verb(&bundle, "delete_running", &["delete", &c.id], &c.id);
    verb(&bundle, "id_taken", &["create", "--bundle", dir, &c.id], &c.id);
    assert_eq!(c.status(), "running");
}

#[test]
fn verbs_on_a_stopped_container() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    verb(&bundle, "start_stopped", &["start", &c.id], &c.id);
    verb(&bundle, "kill_stopped", &["kill", &c.id, "TERM"], &c.id);
    c.delete();
}

#[test]
fn delete_created() {
    need!(own_texts(), OWN_TEXTS);
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.create();
    verb(&bundle, "delete_created", &["--strict", "delete", &c.id], &c.id);
    assert_eq!(c.status(), "created");
}

#[test]
fn cgroup_of_another_container() {
    let bundle = Bundle::new().args(["true"]);
    let name = format!("/{}-leaf", bundle.fresh_id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(name));
    let c = bundle.start();
    c.until_stopped();
    let dir = bundle.dir().to_str().expect("a UTF-8 path").to_owned();
    // The names of this run's own things differ only by their ends.
    let mark = c.id.rsplit_once('-').expect("an id").0.to_owned();
    verb(
        &bundle,
        "cgroup_of_another_container",
        &["create", "--bundle", &dir, &format!("{mark}-later")],
        &mark,
    );
    c.delete();
}

#[test]
fn interrupted() {
    need!(own_texts(), OWN_TEXTS);
    let bundle = Bundle::new().with_host_hook("createRuntime", "kill -TERM $PPID; exec sleep 100");
    run(&bundle, "interrupted");
}

#[test]
fn delete_broken() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    let file = bundle.state_root().join(&c.id).join("state.json");
    fs::write(&file, "").expect("spoil state.json");
    verb(&bundle, "delete_broken", &["delete", &c.id], &c.id);
    verb(&bundle, "delete_broken_by_force", &["delete", "--force", &c.id], &c.id);
}

#[test]
fn state_file_broken() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    let file = bundle.state_root().join(&c.id).join("state.json");
    let before = fs::read(&file).expect("read state.json");
    fs::write(&file, "{").expect("spoil state.json");
    verb(&bundle, "state_file_broken", &["state", &c.id], &c.id);
    fs::write(&file, before).expect("mend state.json");
}

// Files of the command line.

#[test]
fn console_socket_missing() {
    let bundle = Bundle::new().edit(|c| c["process"]["terminal"] = json!(true));
    let socket = bundle.path("console.sock");
    run_with(
        &bundle,
        "console_socket_missing",
        &["--detach", "--console-socket", socket.to_str().unwrap()],
        |cmd| cmd,
    );
}

#[test]
fn console_socket_deaf() {
    let bundle = Bundle::new().edit(|c| c["process"]["terminal"] = json!(true));
    let socket = bundle.path("console.sock");
    // Closed at once; its name stays.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("bind"));
    run_with(
        &bundle,
        "console_socket_deaf",
        &["--detach", "--console-socket", socket.to_str().unwrap()],
        |cmd| cmd,
    );
}

#[test]
fn pid_file_directory_missing() {
    let bundle = Bundle::new();
    let file = bundle.path("elsewhere/pid");
    run_with(
        &bundle,
        "pid_file_directory_missing",
        &["--pid-file", file.to_str().unwrap()],
        |cmd| cmd,
    );
}

// Without power.

#[test]
fn config_unreadable() {
    let bundle = Bundle::new();
    fs::set_permissions(bundle.path("config.json"), fs::Permissions::from_mode(0)).expect("chmod");
    run_with(&bundle, "config_unreadable", &[], as_nobody);
}

#[test]
fn bundle_not_searchable() {
    let bundle = Bundle::new();
    let (closed, inner) = (bundle.path("closed"), bundle.path("closed/bundle"));
    fs::create_dir_all(&inner).expect("make the bundle");
    fs::write(inner.join("config.json"), "{}").expect("write config.json");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("chmod");
    let inner = inner.to_str().expect("a UTF-8 path");
    let words = ["run", "--bundle", inner, "box"];
    said(&bundle, "bundle_not_searchable", &words, "box", as_nobody);
}

#[test]
fn state_root_full() {
    let bundle = Bundle::new();
    let state = HostMount::tmpfs(&bundle.state_root(), 0);
    let remounted = Command::new("mount")
        .args(["-o", "remount,size=4k", state.as_str()])
        .status();
    assert!(remounted.expect("run mount").success());
    run(&bundle, "state_root_full");
}

#[test]
fn state_root_not_writable() {
    let bundle = root_only(Bundle::new());
    fs::create_dir(bundle.state_root()).expect("make the state root");
    run_with(&bundle, "state_root_not_writable", &[], as_nobody);
}

#[test]
fn state_root_not_readable() {
    let bundle = Bundle::new();
    fs::create_dir(bundle.state_root()).expect("make the state root");
    fs::set_permissions(bundle.state_root(), fs::Permissions::from_mode(0o700)).expect("chmod");
    said(&bundle, "state_root_not_readable", &["state", "box"], "box", as_nobody);
    said(&bundle, "state_root_not_listable", &["list"], "box", as_nobody);
}

#[test]
fn namespaces_not_permitted() {
    let bundle = Bundle::new();
    fs::create_dir(bundle.state_root()).expect("make the state root");
    std::os::unix::fs::chown(bundle.state_root(), Some(65534), Some(65534)).expect("chown");
    run_with(&bundle, "namespaces_not_permitted", &[], as_nobody);
}

#[test]
fn rlimit_above_the_callers() {
    let bundle = Bundle::new().edit(|c| c["process"]["rlimits"][0]["hard"] = json!(u64::MAX));
    run(&bundle, "rlimit_above_the_kernels");
}

#[test]
fn oom_score_below_the_callers() {
    let privileged = fs::write("/proc/thread-self/oom_score_adj", "-1").is_ok();
    let _ = fs::write("/proc/thread-self/oom_score_adj", "0");
    need!(!privileged, "a machine without CAP_SYS_RESOURCE");
    run(
        &Bundle::new().edit(|c| c["process"]["oomScoreAdj"] = json!(-1)),
        "oom_score_below_the_callers",
    );
}

// What is no error.

#[test]
fn capability_unknown() {
    let bundle = Bundle::new().args(["true"]).with_caps(&["CAP_EVERYTHING"]);
    let output = run(&bundle, "capability_unknown");
    assert_eq!(output.code, 0);
}

#[test]
fn capability_without_its_prefix() {
    let bundle = Bundle::new().args(["true"]).with_caps(&["NET_RAW"]);
    assert_eq!(run(&bundle, "capability_without_its_prefix").code, 0);
}

#[test]
fn keys_misspelt() {
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c["root"]["readOnly"] = json!(true);
        c["linux"]["maskedPath"] = json!(["/proc/keys"]);
        c["process"]["user"]["username"] = json!("www-data");
        c["linux"]["noNewPrivileges"] = json!(true);
    });
    assert_eq!(run(&bundle, "keys_misspelt").code, 0);
}

#[test]
fn destination_relative() {
    let bundle = Bundle::new().args(["true"]).mount("data", "tmpfs", "tmpfs", &[]);
    fs::create_dir(bundle.inside("/data")).expect("make the mount point");
    assert_eq!(run(&bundle, "destination_relative").code, 0);
}

#[test]
fn hook_fails_after_the_end() {
    let bundle = Bundle::new()
        .args(["true"])
        .with_host_hook("poststop", "echo still busy; exit 6");
    assert_eq!(run(&bundle, "hook_fails_after_the_end").code, 0);
}
