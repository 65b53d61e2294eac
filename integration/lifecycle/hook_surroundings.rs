//! The surroundings of a hook: its working directory, environment, streams, descriptors, umask and filter.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::Bundle;

/// Relative paths in a hook's arguments refer to the bundle, wherever the runtime was started.
#[test]
fn hooks_of_the_runtime_begin_in_the_bundle() {
    let mut bundle = Bundle::new().args(["true"]);
    let points = ["prestart", "createRuntime", "poststart", "poststop"];
    for point in points {
        bundle = bundle.with_host_hook(point, &format!("pwd >begun.{point}"));
    }
    bundle.run_cmd(&[]).cwd("/tmp".as_ref()).run().ok();
    for point in points {
        let begun = fs::read_to_string(bundle.path(&format!("begun.{point}"))).unwrap_or_default();
        assert_eq!(Path::new(begun.trim_end()), bundle.dir(), "{point}");
    }
}

/// The engine may have removed the bundle before `delete`.
#[test]
fn poststop_hooks_run_without_the_bundle() {
    let bundle = Bundle::new()
        .args(["true"])
        .with_host_hook("poststop", "pwd >>\"$OUT\"")
        .edit(|c| c["root"]["readonly"] = json!(false));
    let gone = bundle.path("gone");
    fs::create_dir(&gone).unwrap();
    let rootfs = bundle.inside("/");
    bundle.change(|c| c["root"]["path"] = json!(rootfs));
    fs::rename(bundle.path("config.json"), gone.join("config.json")).unwrap();
    let id = bundle.fresh_id();
    let create = ["create", "--bundle", gone.to_str().unwrap(), &id];
    bundle.orlop(create).run().ok();
    fs::remove_dir_all(&gone).unwrap();
    bundle.orlop(["delete", "--force", &id]).run().ok();
    let log = fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default();
    assert_eq!(log, "/\n", "in its caller's directory");
}

/// The runtime clears its umask to create files with exact modes; files of a hook must not become writable for everyone by
/// that.
#[test]
fn create_container_hooks_have_the_callers_umask() {
    for umask in [0o022, 0o027] {
        let bundle = Bundle::new().args(["true"]).with_host_hook(
            "createContainer",
            "umask >\"$OUT\"; : >\"$OUT.made\"; mkdir \"$OUT.dir\"",
        );
        bundle.run_cmd(&[]).umask(umask).run().ok();
        let log = fs::read_to_string(bundle.path("hooks.log")).unwrap();
        assert_eq!(u32::from_str_radix(log.trim(), 8), Ok(umask));
        for (made, full) in [("hooks.log.made", 0o666), ("hooks.log.dir", 0o777)] {
            let mode = fs::metadata(bundle.path(made)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, full & !umask, "{made}");
        }
    }
}

/// The umask of the process does not apply to hooks, and vice versa.
#[test]
fn the_umask_of_the_process_is_not_the_hooks() {
    let bundle = Bundle::new()
        .sh("umask")
        .with_host_hook("createContainer", "umask >>\"$OUT\"")
        .edit(|c| c["process"]["user"]["umask"] = json!(0o77));
    let out = bundle.run_cmd(&[]).umask(0o027).run().ok();
    assert_eq!(out.stdout, "0077\n");
    assert_eq!(fs::read_to_string(bundle.path("hooks.log")).unwrap(), "0027\n");
}

/// Only execve(2) is used, for hooks of every kind: no shell tries a file that the kernel refuses.
#[test]
fn a_file_that_is_not_a_program_is_refused_at_every_point() {
    for point in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let bundle = Bundle::new().args(["true"]);
        let (script, path) = match point {
            "startContainer" => (bundle.inside("/bin/script"), "/bin/script".to_owned()),
            _ => (
                bundle.path("script"),
                bundle.path("script").to_str().unwrap().to_owned(),
            ),
        };
        fs::write(&script, "exit 0\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let bundle = bundle.with_hook(point, json!({ "path": path }));
        bundle.run().fails_with("ENOEXEC");
    }
}

/// The list unchanged, like the third argument of execve(2).
#[test]
fn the_environment_of_a_hook_is_exactly_its_list() {
    let bundle = Bundle::new().args(["true"]);
    let env = ["B=2", "A=1", "WITHOUT", "A=3", "PATH=/bin:/usr/bin"];
    let out = bundle.path("environ");
    fs::write(&out, "").unwrap();
    let bundle = bundle.edit(|c| {
        c["hooks"] = json!({ "createRuntime": [{ "path": "/usr/bin/cp", "args": ["cp", "/proc/self/environ", out], "env": env }] })
    });
    bundle.run().ok();
    assert_eq!(
        fs::read_to_string(out).unwrap(),
        env.map(|entry| entry.to_owned() + "\0").concat()
    );
}

#[test]
fn hooks_see_only_their_environment() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let out = bundle.path("env");
    let script = format!("tr '\\0' '\\n' </proc/self/environ >{}", out.display());
    let hook = json!({ "path": "/bin/sh", "args": ["hook-name", "-c", script], "env": ["A=1", "B=two words"] });
    let bundle = bundle.with_hook("createRuntime", hook);
    bundle
        .create_cmd(&bundle.fresh_id(), &[])
        .env("SECRET", "of the caller")
        .run()
        .ok();
    // The shell adds PWD and the like; the given variables must be there, and no others of the runtime.
    let env = fs::read_to_string(&out).unwrap();
    assert!(env.contains("A=1\n") && env.contains("B=two words\n"), "{env}");
    assert!(!env.contains("SECRET") && !env.contains("ORLOP_TEST"), "{env}");
}

/// config.md, `args`: "with the same semantics as execv's argv", so the first is the name.
#[test]
fn a_hooks_first_argument_is_its_name() {
    let bundle = Bundle::new().args(["true"]);
    let out = bundle.path("name");
    let script = format!("tr '\\0' '|' </proc/$$/cmdline >{}", out.display());
    let bundle = bundle
        .with_hook(
            "createRuntime",
            json!({ "path": "/bin/sh", "args": ["any name", "-c", script], "env": ["PATH=/usr/bin:/bin"] }),
        )
        .with_hook("createRuntime", json!({ "path": "/bin/true" }));
    bundle.run().ok();
    assert!(fs::read_to_string(out).unwrap().starts_with("any name|-c|"));
}

/// A hook, on either side, has no descriptor of the runtime and none that is meant for the container's process.
#[test]
fn hooks_have_only_their_standard_streams() {
    let mut bundle = Bundle::new().args(["probe", "sleep", "0"]);
    let host = bundle.inside("/bin/probe");
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let file = bundle.path(kind);
        let script = format!("exec {} facts >{} 2>&1", host.display(), file.display());
        bundle = bundle.with_hook(kind, json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
    }
    let dir = bundle.path("shared");
    fs::create_dir(&dir).unwrap();
    let script = "exec /bin/probe facts >/tmp/startContainer 2>&1";
    let bundle = bundle
        .mount("/tmp", "bind", dir.to_str().unwrap(), &["bind", "rw"])
        .with_hook(
            "startContainer",
            json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] }),
        );
    let cmd = bundle.run_cmd(&["--preserve-fds", "1"]);
    cmd.pass_fd(fs::File::open("/dev/zero").unwrap(), 3).run().ok();
    for file in [
        bundle.path("prestart"),
        bundle.path("createRuntime"),
        bundle.path("createContainer"),
        dir.join("startContainer"),
        bundle.path("poststart"),
        bundle.path("poststop"),
    ] {
        let text = fs::read_to_string(&file).unwrap();
        let facts: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}: {text}", file.display()));
        let numbers: Vec<&String> = facts["fds"].as_object().unwrap().keys().collect();
        assert_eq!(numbers, ["0", "1", "2"], "{}", file.display());
        assert_eq!(facts["argv"][1], "facts");
        // The shell adds PWD and the like.
        assert!(!facts["env"].to_string().contains("ORLOP_TEST"), "{}", facts["env"]);
    }
}

/// The same for hooks of `start` and `delete`, whose callers may have descriptors open.
#[test]
fn hooks_of_start_and_delete_inherit_nothing() {
    let mut bundle = Bundle::new().args(["probe", "sleep"]);
    let host = bundle.inside("/bin/probe");
    for kind in ["poststart", "poststop"] {
        let script = format!("exec {} facts >{} 2>&1", host.display(), bundle.path(kind).display());
        bundle = bundle.with_hook(kind, json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
    }
    let c = bundle.create();
    for (verb, kind) in [
        (&["start"] as &[&str], "poststart"),
        (&["delete", "--force"], "poststop"),
    ] {
        let mut cmd = bundle.orlop([verb, &[&c.id]].concat());
        for number in [3, 9, 100] {
            cmd = cmd.pass_fd(fs::File::open("/").unwrap(), number);
        }
        cmd.run().ok();
        let facts: Value = serde_json::from_str(&fs::read_to_string(bundle.path(kind)).unwrap()).unwrap();
        let numbers: Vec<&String> = facts["fds"].as_object().unwrap().keys().collect();
        assert_eq!(numbers, ["0", "1", "2"], "{kind}");
    }
}

#[test]
fn a_start_container_hook_without_env_has_the_environment_of_the_process() {
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
fn a_start_container_hook_runs_under_the_filter() {
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
        // The hook does not have the capability with which the runtime installs the filter.
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
