//! What the spec leaves open and runc's callers rely on: behaviour that runc's own suite pins.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::harness::{Bundle, Terminal, eventually};
use crate::need;

#[test]
fn output_that_no_terminal_shows_has_plain_line_ends() {
    let bundle = Bundle::new()
        .sh("echo one; echo two; sleep 0")
        .edit(|c| c["process"]["terminal"] = json!(true));
    assert_eq!(bundle.run().ok().stdout, "one\ntwo\n");
    let idle = Bundle::new().args(["probe", "sleep"]);
    let c = idle.start();
    let out = idle
        .orlop(["exec", "--tty", &c.id, "sh", "-c", "echo one; echo two"])
        .run()
        .ok();
    assert_eq!(out.stdout, "one\ntwo\n");
}

/// Whoever holds the master end decides about line ends for itself.
#[test]
fn a_terminal_that_is_handed_over_is_as_the_kernel_made_it() {
    let bundle = Bundle::new()
        .sh("echo one; echo two")
        .edit(|c| c["process"]["terminal"] = json!(true));
    Terminal::of_started(&bundle).until("one\r\ntwo\r\n");
}

/// A shell's `<(…)` is the path of a descriptor that our caller holds open for us.
#[test]
fn an_argument_may_name_an_inherited_descriptor() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let file = bundle.path("process.json");
    // Without `user`, which the schema does not ask for either.
    let process = json!({ "args": ["sh", "-c", "id -u; ls /proc/self/fd | wc -l"], "cwd": "/", "env": ["PATH=/bin"] });
    fs::write(&file, process.to_string()).unwrap();
    symlink("busybox", bundle.inside("/bin/wc")).unwrap();
    let out = bundle
        .orlop(["exec", "--process", "/dev/fd/63", &c.id])
        .pass_fd(fs::File::open(&file).unwrap(), 63)
        .run()
        .ok();
    // The fourth is the directory that ls reads.
    assert_eq!(out.stdout, "0\n4\n");
}

#[test]
fn list_refuses_a_named_root_that_does_not_exist() {
    let bundle = Bundle::new();
    let missing = bundle.path("no-such-root");
    let out = bundle.without_root(["--root", missing.to_str().unwrap(), "list"]).run();
    out.fails_with("no-such-root");
}

#[test]
fn kill_0_asks_whether_the_container_runs() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    c.try_kill(&["0"]).ok();
    c.kill("KILL");
    c.until_stopped();
    c.try_kill(&["0"]).fails_with("container not running");
    bundle.orlop(["kill", "--all", &c.id, "0"]).run().ok();
    c.delete();
}

/// The kernel drops a signal without a handler for the first process of a pid namespace.
#[test]
fn a_created_container_ends_at_a_signal() {
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let bundle = Bundle::new().args(["probe", "sleep"]);
        let c = bundle.create();
        c.kill(signal);
        c.until_stopped();
        c.delete();
    }
}

#[test]
fn what_outlives_init_can_be_killed() {
    let bundle = Bundle::new().args(["probe", "fork-tree", "3"]).without_namespace("pid");
    let c = bundle.start();
    c.until("ready");
    // SAFETY: kill(2) passes no memory; the pid is of a process that this test has started.
    unsafe { libc::kill(c.pid(), libc::SIGKILL) };
    c.until_stopped();
    c.try_kill(&["TERM"]).fails_with("container not running");
    c.try_kill(&["KILL"]).ok();
    eventually("nothing is left to kill", || c.try_kill(&["KILL"]).code != 0);
    c.delete();
}

// ---- hooks --------------------------------------------------------------------------------------------------------------

#[test]
fn a_start_container_hook_without_environment_has_the_processs() {
    let script = "test \"$ONE\" = two && test \"$HOME\" = /root";
    let hook = |env: Option<serde_json::Value>| {
        let mut hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] });
        if let Some(env) = env {
            hook["env"] = env;
        }
        Bundle::new()
            .args(["true"])
            .edit(|c| c["process"]["env"] = json!(["PATH=/bin", "ONE=two", "HOME=/root"]))
            .with_hook("startContainer", hook)
    };
    hook(None).run().ok();
    hook(Some(json!([]))).run().fails_with("hooks.startContainer[0]");
    hook(Some(json!(["ONE=three"])))
        .run()
        .fails_with("hooks.startContainer[0]");
}

#[test]
fn a_start_container_hook_is_held_by_the_filter() {
    for no_new_privileges in [true, false] {
        let with = |action: &str, script: &str| {
            let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] });
            Bundle::new()
                .args(["true"])
                .edit(|c| {
                    c["process"]["noNewPrivileges"] = json!(no_new_privileges);
                    c["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }]);
                    c["linux"]["seccomp"] = json!({
                        "defaultAction": "SCMP_ACT_ALLOW",
                        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": action }],
                    });
                })
                .with_hook("startContainer", hook)
        };
        let mkdir = "exec /bin/busybox mkdir /dev/shm/made";
        let out = with("SCMP_ACT_KILL_PROCESS", mkdir).run().fails_with("bad system call");
        assert!(
            out.stderr
                .contains("error running startContainer hook #0: hooks.startContainer[0]"),
            "{out:#?}"
        );
        with("SCMP_ACT_ERRNO", mkdir)
            .run()
            .fails_with("Operation not permitted");
        // The runtime's own capability for installing the filter is not the hook's.
        with("SCMP_ACT_ERRNO", "while read -r key value; do case $key in Cap[EP]*) test $((0x$value & 0x200000)) = 0 || exit 1; esac; done </proc/self/status")
            .run()
            .ok();
    }
}

#[test]
fn a_create_container_hook_starts_in_the_root() {
    let bundle = Bundle::new().args(["cat", "/tmp/made"]);
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo here >./tmp/made"] });
    let bundle = bundle.with_hook("createContainer", hook).without_mount("/tmp");
    assert_eq!(bundle.run().ok().stdout, "here\n");
}

// ---- mounts -------------------------------------------------------------------------------------------------------------

/// What is mounted on a link to nothing is where the link points, and nowhere else.
#[test]
fn a_mount_point_may_be_a_link_to_what_is_missing() {
    for (link, to, place) in [
        ("/etc/data", "/tmp/there", "/tmp/there"),
        ("/etc/data", "../tmp/a/b/there", "/tmp/a/b/there"),
        ("/etc/data", "../../../../../tmp/there", "/tmp/there"),
        ("/etc/data", "/jump/there", "/tmp/x/y/there"),
    ] {
        for directory in [false, true] {
            let bundle = Bundle::new().args(["cat", &format!("{place}{}", if directory { "/file" } else { "" })]);
            symlink("/tmp/x/y", bundle.inside("/jump")).unwrap();
            symlink(to, bundle.inside(link)).unwrap();
            let source = bundle.path("source");
            if directory {
                fs::create_dir(&source).unwrap();
                fs::write(source.join("file"), "of the source\n").unwrap();
            } else {
                fs::write(&source, "of the source\n").unwrap();
            }
            let bundle = bundle.mount(link, "bind", source.to_str().unwrap(), &["bind"]);
            assert_eq!(bundle.run().ok().stdout, "of the source\n", "{link} -> {to}");
        }
    }
    let bundle = Bundle::new().mount("/etc/data", "bind", "/etc/passwd", &["bind"]);
    symlink("data", bundle.inside("/etc/data")).unwrap();
    bundle.run().fails_with("ELOOP");
}

/// mount(2) ignores it, and so do other runtimes; but nobody shall take a misspelt `ro` for one.
#[test]
fn an_option_that_is_none_of_a_bind_mount_is_warned_about() {
    let source = "/etc";
    let bundle =
        Bundle::new()
            .args(["cat", "/data/hostname"])
            .mount("/data", "bind", source, &["rbind", "mode=755", "nocopy"]);
    let out = bundle.run().ok();
    for option in ["options[1] \"mode=755\"", "options[2] \"nocopy\""] {
        assert!(out.stderr.contains(option), "{out:#?}");
    }
}

// ---- cgroups ------------------------------------------------------------------------------------------------------------

/// An engine reads the figures of containers without limits, too.
#[test]
fn parents_that_are_made_hand_their_controllers_down() {
    let top = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").unwrap_or_default();
    need!(!top.trim().is_empty(), "a cgroup controller");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let path = format!("/made-{}/inner/leaf", std::process::id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(path));
    let c = bundle.start();
    let leaf = fs::read_to_string(format!("/sys/fs/cgroup{path}/cgroup.controllers")).unwrap();
    assert_eq!(leaf, top);
    c.kill("KILL");
    c.until_stopped();
    c.delete();
}
