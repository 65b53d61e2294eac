//! What `exec` must withstand: published vulnerabilities of runtimes whose `exec` was less strict than their
//! `run`.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::harness::exec::{exec_cmd, exec_facts, idle};
use crate::harness::{Canary, Cmd};

/// CVE-2026-30892: a user that cannot be parsed is an error, and never root.
#[test]
fn a_user_that_is_not_a_number_is_refused() {
    let bundle = idle().edit(|c| c["root"]["readonly"] = json!(false));
    let c = bundle.start();
    for user in [
        "",
        "abc",
        "1x",
        "4294967295",
        "4294967296",
        "-1",
        "1:",
        ":1",
        "+1",
        "1:2:3",
        "1000abc",
        "1:x",
        "root",
        " 1",
    ] {
        let out = exec_cmd(&c, &["--user", user], &["touch", "/ran"])
            .run()
            .fails_for("--user: invalid value");
        assert_eq!(out.code, 255, "{out:#?}");
        let out = exec_cmd(&c, &["-g", user], &["touch", "/ran"]).run();
        if user.parse::<u32>().is_err() || user == "4294967295" {
            assert_eq!(out.code, 255, "{out:#?}");
        }
    }
    assert!(!bundle.inside("/ran").exists());
}

/// CVE-2022-24769, CVE-2022-29162, CVE-2022-27650, CVE-2025-27612.
#[test]
fn only_capabilities_of_the_config_are_inheritable() {
    let bundle = idle();
    let c = bundle.start();
    let defaults = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]);
    let more = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_AUDIT_WRITE"]);
    for user in ["0", "1000"] {
        let facts = exec_facts(&c, &["-u", user]);
        assert_eq!(facts["caps"]["bounding"], defaults);
        let facts = exec_facts(&c, &["-u", user, "--cap", "CAP_NET_RAW"]);
        for set in ["bounding", "effective", "permitted"] {
            // A user other than root loses everything that is not ambient at execve(2).
            let expected = if user == "0" || set == "bounding" {
                more.clone()
            } else {
                json!([])
            };
            assert_eq!(facts["caps"][set], expected, "{set} of user {user}");
        }
        for set in ["inheritable", "ambient"] {
            assert_eq!(facts["caps"][set], json!([]), "{set} of user {user}");
        }
        let file = bundle.path("process.json");
        let process = json!({ "args": ["probe", "facts"], "cwd": "/", "env": ["PATH=/bin"],
            "user": { "uid": user.parse::<u32>().unwrap(), "gid": 0 },
            "capabilities": { "bounding": more, "effective": more, "permitted": more } });
        fs::write(&file, process.to_string()).unwrap();
        let facts = exec_cmd(&c, &["--process", file.to_str().unwrap()], &[])
            .run()
            .ok()
            .json();
        assert_eq!(facts["caps"]["bounding"], more);
        for set in ["inheritable", "ambient"] {
            assert_eq!(facts["caps"][set], json!([]), "{set} of user {user}");
        }
    }
}

#[test]
fn an_added_capability_is_ambient_only_where_it_is_inheritable() {
    let bundle = idle().edit(|c| {
        c["process"]["capabilities"] =
            json!({ "bounding": ["CAP_NET_RAW", "CAP_KILL"], "inheritable": ["CAP_NET_RAW"] });
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    let c = bundle.start();
    let facts = exec_facts(&c, &["-c", "CAP_NET_RAW", "-c", "CAP_CHOWN"]);
    assert_eq!(facts["caps"]["inheritable"], json!(["CAP_NET_RAW"]));
    assert_eq!(facts["caps"]["ambient"], json!(["CAP_NET_RAW"]));
    assert_eq!(facts["caps"]["effective"], json!(["CAP_NET_RAW"]));
    assert!(facts["caps"]["bounding"].to_string().contains("CAP_CHOWN"));
}

/// Supplementary groups of the caller must not survive.
#[test]
fn groups_of_the_caller_are_dropped() {
    let bundle = idle();
    let c = bundle.start();
    let facts = exec_cmd(&c, &[], &["probe", "facts"])
        .groups(&[4, 27, 999])
        .run()
        .ok()
        .json();
    assert_eq!(facts["groups"], json!([]));
    let facts = exec_cmd(&c, &["-g", "5"], &["probe", "facts"])
        .groups(&[4, 27])
        .run()
        .ok()
        .json();
    assert_eq!(facts["groups"], json!([5]));
}

/// Environment and descriptors of the caller.
#[test]
fn environment_and_descriptors_of_the_caller_do_not_arrive() {
    let bundle = idle();
    let c = bundle.start();
    let mut cmd = exec_cmd(&c, &[], &["probe", "facts"])
        .env("SECRET", "of the caller")
        .env("LISTEN_FDS", "1")
        .env("NOTIFY_SOCKET", "/run/notify");
    for number in (3..=10).chain([100]) {
        cmd = cmd.pass_fd(File::open("/").unwrap(), number);
    }
    let facts = cmd.run().ok().json();
    assert_eq!(
        facts["fds"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["0", "1", "2"]
    );
    let env = facts["env"].to_string();
    for name in ["SECRET", "LISTEN_", "NOTIFY_", "ORLOP"] {
        assert!(!env.contains(name), "{env}");
    }
}

#[test]
fn ids_do_not_lead_out_of_the_state_directory() {
    let bundle = idle();
    let c = bundle.start();
    for id in [
        "../x",
        "..",
        ".",
        "",
        "a/b",
        &format!("../state/{}", c.id),
        &format!("./{}", c.id),
    ] {
        let out = bundle.orlop(["exec", "--", id, "true"]).run().fails_for("container id");
        assert_eq!(out.code, 255, "{out:#?}");
    }
}

#[test]
fn a_sub_cgroup_does_not_lead_out_of_the_containers() {
    let bundle = idle();
    let c = bundle.start();
    for path in ["..", "../..", "/..", "a/../..", "", "pids:a", "cpu,memory:/"] {
        let out = exec_cmd(&c, &["--cgroup", path], &["true"])
            .run()
            .fails_for("--cgroup: invalid value");
        assert_eq!(out.code, 255, "{out:#?}");
    }
}

/// CVE-2024-21626: neither the working directory nor the program can be reached through a descriptor of the runtime.
#[test]
fn no_descriptor_leads_to_the_host() {
    let canary = Canary::dir();
    let bundle = idle();
    for fd in 3..=12 {
        symlink(format!("/proc/self/fd/{fd}"), bundle.inside(&format!("/etc/link{fd}"))).unwrap();
    }
    let c = bundle.start();
    let leaking = |mut cmd: Cmd| {
        for number in (3..=12).chain([100]) {
            cmd = cmd.pass_fd(File::open("/").unwrap(), number);
        }
        cmd.run()
    };
    let file = format!("read,{}/file", &canary.as_str()[1..]);
    for fd in (3..=12).chain([100]) {
        for cwd in [
            format!("/proc/self/fd/{fd}"),
            format!("/proc/self/fd/{fd}/../../.."),
            format!("/proc/self/fd/{fd}/."),
            format!("/proc/thread-self/fd/{fd}"),
            format!("/etc/link{fd}"),
            "/proc/1/root".into(),
            "/proc/1/cwd".into(),
        ] {
            let out = leaking(exec_cmd(&c, &["--cwd", &cwd], &["probe", "try", "list,.", &file]));
            assert!(!out.stdout.contains("canary"), "{out:#?}");
            assert_eq!(out.code, 255, "{cwd} was accepted: {out:#?}");
        }
        for program in [
            format!("/proc/self/fd/{fd}/bin/true"),
            format!("/etc/link{fd}/bin/true"),
        ] {
            let out = leaking(exec_cmd(&c, &[], &[&program]));
            assert_eq!(out.code, 255, "{program} was executed: {out:#?}");
        }
    }
}

#[test]
fn a_working_directory_stays_inside() {
    let canary = Canary::dir();
    let bundle = idle();
    symlink(canary.as_str(), bundle.inside("/etc/absolute")).unwrap();
    symlink(
        format!("{}{}", "../".repeat(12).trim_end_matches('/'), canary.as_str()),
        bundle.inside("/etc/relative"),
    )
    .unwrap();
    let c = bundle.start();
    let up = "/..".repeat(12);
    for cwd in [
        "/etc/absolute".into(),
        "/etc/relative".into(),
        format!("{up}{}", canary.as_str()),
    ] {
        let out = exec_cmd(&c, &["--cwd", &cwd], &["probe", "try", "list,."])
            .run()
            .fails_for("ENOENT");
        assert_eq!(out.code, 255);
    }
    // And none is created, inside or outside.
    let out = exec_cmd(&c, &["--cwd", "/tmp/new"], &["true"])
        .run()
        .fails_with("ENOENT");
    assert_eq!(out.code, 255);
    assert!(!bundle.inside("/tmp/new").exists());
}
