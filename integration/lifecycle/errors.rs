//! Error messages about common mistakes that need a real container, word by word. The rest is
//! in `tests/errors.rs`; the messages are in `tests/golden/errors/`. Every bundle is checked for leftovers.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::golden::run as run_with;
use crate::harness::users::become_user;
use crate::harness::{Bundle, Cmd, Output};

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
pub(super) fn root_only(bundle: Bundle) -> Bundle {
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

/// One test for each mistake with `run`; the golden file has the same name.
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
    // The tests' volumes.
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

/// EM_* of this machine, and of a machine that does not run these tests.
const NATIVE: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };

const OTHER: u16 = 22;

/// The smallest dynamic executable that a kernel accepts: a header, and the segment that names the loader.
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

/// The golden text of `run`, which must fail.
#[track_caller]
pub(super) fn run(bundle: &Bundle, name: &str) -> Output {
    run_with(bundle, name, &[], |cmd| cmd)
}

/// Runs the runtime itself as the user nobody.
pub(super) fn as_nobody(cmd: Cmd) -> Cmd {
    cmd.before_exec(|| become_user(65534))
}

/// A bundle whose process is a file with that content, executable.
pub(super) fn program(content: &[u8]) -> Bundle {
    let bundle = Bundle::new().args(["/bin/tool"]);
    write_tool(&bundle, "tool", content, 0o755);
    bundle
}

/// Written by another process: a descriptor of this one would be inherited by processes that other tests start at this
/// moment, and execve(2) refuses a file that is open for writing anywhere.
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
