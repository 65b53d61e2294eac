//! Filters at work: the results of system calls of the first process and of processes that join, and calls that a profile
//! may forbid although the runtime makes them.

use std::fs;

use serde_json::json;

use crate::harness::exec::{exec_cmd, exec_facts, idle};
use crate::harness::seccomp::{Agent, answers, denying, docker, with, with_privileges};
use crate::harness::{Bundle, Facts};

/// CVE row "seccomp gap on exec".
#[test]
fn every_process_is_under_the_filter() {
    for no_new in [true, false] {
        let facts = Facts(with_privileges(with(Bundle::new(), docker()), no_new).run().ok().json());
        assert_eq!(facts["seccomp"], 2, "init, noNewPrivileges {no_new}");
        let bundle = with_privileges(with(idle(), docker()), no_new);
        let c = bundle.start();
        assert_eq!(exec_facts(&c, &[])["seccomp"], 2, "exec, noNewPrivileges {no_new}");
        // An engine's process object says nothing about seccomp: the container does.
        let path = c.bundle.path("process.json");
        let process = json!({ "args": ["probe", "facts"], "cwd": "/", "user": { "uid": 0, "gid": 0 },
                              "env": ["PATH=/bin"], "noNewPrivileges": no_new });
        fs::write(&path, process.to_string()).unwrap();
        let output = c
            .bundle
            .orlop(["exec", "--process", path.to_str().unwrap(), &c.id])
            .run()
            .ok();
        assert_eq!(output.json()["seccomp"], 2, "exec --process, noNewPrivileges {no_new}");
    }
    let facts = Facts(Bundle::new().run().ok().json());
    assert_eq!(facts["seccomp"], 0, "without a profile there is no filter");
}

/// The capability with which the filter is installed is dropped, for root and for other users.
#[test]
fn no_capability_remains() {
    for uid in [0, 1000] {
        let bundle = || Bundle::new().edit(|c| c["process"]["user"] = json!({ "uid": uid, "gid": uid }));
        let without = Facts(with_privileges(bundle(), false).run().ok().json());
        let under = Facts(with_privileges(with(bundle(), docker()), false).run().ok().json());
        assert_eq!(under["seccomp"], 2);
        assert_eq!(under["capabilities"], without["capabilities"], "uid {uid}");
    }
}

#[test]
fn the_kill_action_kills() {
    let bundle = with(Bundle::new(), denying(&["getppid"], "SCMP_ACT_KILL_PROCESS"));
    let output = bundle.args(["probe", "try", "syscall,110"]).run();
    assert_eq!(output.code, 128 + libc::SIGSYS);
}

/// The profile need not allow calls that only the runtime makes.
#[test]
fn calls_that_only_the_runtime_makes_may_be_forbidden() {
    let ours = [
        "sendmsg",
        "recvmsg",
        "recvfrom",
        "accept4",
        "close_range",
        "fcntl",
        "capget",
        "setgroups",
        "chdir",
        "faccessat2",
        "faccessat",
        "openat2",
        "clone",
        "clone3",
        "poll",
        "seccomp",
        "connect",
    ];
    for no_new in [true, false] {
        let mut names = ours.to_vec();
        if no_new {
            names.push("capset");
        }
        let bundle = with(Bundle::new(), denying(&names, "SCMP_ACT_KILL_PROCESS"));
        let output = with_privileges(bundle, no_new).args(["true"]).run();
        assert_eq!(output.code, 0, "noNewPrivileges {no_new}: {}", output.stderr);
        let bundle = with_privileges(with(idle(), denying(&ours[..5], "SCMP_ACT_KILL_PROCESS")), no_new);
        let c = bundle.start();
        assert_eq!(exec_cmd(&c, &[], &["true"]).run().code, 0);
    }
}

#[test]
fn the_kernel_accepts_all_flags() {
    for flags in [
        json!([]),
        json!(["SECCOMP_FILTER_FLAG_LOG"]),
        json!([
            "SECCOMP_FILTER_FLAG_TSYNC",
            "SECCOMP_FILTER_FLAG_LOG",
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
        ]),
    ] {
        let mut profile = docker();
        profile["flags"] = flags;
        assert_eq!(Facts(with(Bundle::new(), profile).run().ok().json())["seccomp"], 2);
    }
}

/// The call with which the probe sleeps is allowed, and only that.
#[test]
fn a_profile_without_futex_works() {
    for action in [
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_NOTIFY",
    ] {
        let bundle = Bundle::new();
        let agent = Agent::listen(&bundle);
        let mut profile = denying(&["futex"], action);
        let notify = json!({ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" });
        profile["syscalls"].as_array_mut().unwrap().push(notify);
        profile["listenerPath"] = json!(agent.path);
        let bundle = with(bundle, profile).args(["true"]);
        let id = bundle.fresh_id();
        bundle.create_cmd(&id, &[]).run().ok();
        assert_eq!(bundle.orlop(["start", &id]).run().ok().code, 0, "{action}");
        assert_eq!(bundle.run().code, 0, "{action}");
        if action == "SCMP_ACT_ERRNO" {
            // FUTEX_WAKE of no waiter.
            assert_eq!(answers(bundle, &["syscall,202,0,129,1"]), [json!("EPERM")]);
        }
    }
}

/// getppid, by a rule with one action. Actions that kill or trap a single process end it by SIGSYS; without a tracer
/// the result is ENOSYS.
#[test]
fn every_action_does_what_its_name_says() {
    let bundle = |action: &str| with(Bundle::new(), denying(&["getppid"], action));
    for action in [
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_TRAP",
    ] {
        let output = bundle(action).args(["probe", "try", "syscall,110"]).run();
        assert_eq!(output.code, 128 + libc::SIGSYS, "{action}: {}", output.stderr);
    }
    for (action, answer) in [
        ("SCMP_ACT_ERRNO", json!("EPERM")),
        ("SCMP_ACT_TRACE", json!("ENOSYS")),
        ("SCMP_ACT_LOG", json!(0)),
        ("SCMP_ACT_ALLOW", json!(0)),
    ] {
        assert_eq!(answers(bundle(action), &["syscall,110"]), [answer], "{action}");
    }
}

#[test]
fn an_errno_of_the_default_and_of_a_rule() {
    // Everything that the probe needs is allowed; the default refuses the rest.
    let mut profile = docker();
    profile["defaultErrnoRet"] = json!(libc::EXDEV);
    profile["syscalls"]
        .as_array_mut()
        .expect("a list")
        .push(json!({ "names": ["reboot"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EINVAL }));
    let got = answers(with(Bundle::new(), profile), &["syscall,165", "syscall,169"]);
    assert_eq!(got, [json!("EXDEV"), json!("EINVAL")]);
}

/// The lines that `--debug` adds to stderr have the format of the log.
#[test]
fn the_flags_are_in_the_log() {
    for (flags, number) in [
        (json!([]), 0),
        (json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]), 6),
    ] {
        let mut profile = docker();
        profile["flags"] = flags;
        let bundle = with(Bundle::new(), profile).args(["true"]);
        let path = bundle.dir().to_str().expect("UTF-8").to_owned();
        for (form, line) in [
            ("text", format!(" level=debug msg=\"seccomp filter flags: {number}\"\n")),
            (
                "json",
                format!("\"level\":\"debug\",\"msg\":\"seccomp filter flags: {number}\""),
            ),
        ] {
            let id = bundle.fresh_id();
            let words = ["--debug", "--log-format", form, "run", "--bundle", &path, &id];
            let output = bundle.orlop(words).run().ok();
            assert!(output.stderr.contains(&line), "{}", output.stderr);
        }
    }
}

#[test]
fn an_unknown_name_is_ignored_with_a_debug_line() {
    let profile = denying(&["no_such_call", "mkdir"], "SCMP_ACT_ERRNO");
    let bundle = with(Bundle::new(), profile).args(["probe", "try", "syscall,83"]);
    let id = bundle.fresh_id();
    let path = bundle.dir().to_str().expect("UTF-8").to_owned();
    let output = bundle.orlop(["--debug", "run", "--bundle", &path, &id]).run().ok();
    let line = r#"msg="linux.seccomp.syscalls[0].names[0]: unknown system call \"no_such_call\"; ignored""#;
    assert!(output.stderr.contains(line), "{}", output.stderr);
    assert_eq!(output.json()[0]["errno"], "EPERM", "the names beside it count");
    let quiet = bundle.run().ok();
    assert_eq!(quiet.stderr, "");
}

/// seccomp(2) fails for the runtime, as in a kernel without it.
#[test]
fn without_filters_in_the_kernel_only_a_profile_is_an_error() {
    let lacking = |cmd: crate::harness::Cmd| {
        cmd.before_exec(|| {
            let insn = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
            let mut program = [
                insn(0x20, 0, 0, 0),
                insn(0x15, 0, 1, libc::SYS_seccomp as u32),
                insn(0x06, 0, 0, 0x0005_0000 | libc::ENOSYS as u32),
                insn(0x06, 0, 0, 0x7fff_0000),
            ];
            let program = libc::sock_fprog {
                len: program.len() as u16,
                filter: program.as_mut_ptr(),
            };
            // SAFETY: the kernel reads the program, which outlives the call.
            match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        })
    };
    let plain = Bundle::new().args(["true"]);
    lacking(plain.run_cmd(&[])).run().ok();
    let bundle = with(plain, docker());
    let output = lacking(bundle.run_cmd(&[])).run().fails_with("linux.seccomp");
    for text in ["ENOSYS", "CONFIG_SECCOMP_FILTER"] {
        assert!(output.stderr.contains(text), "{text}: {}", output.stderr);
    }
    bundle.assert_clean();
    let bundle = with(idle(), docker());
    let c = bundle.start();
    let output = lacking(exec_cmd(&c, &[], &["true"])).run().fails_with("linux.seccomp");
    assert_eq!(output.code, 255, "{}", output.stderr);
}
