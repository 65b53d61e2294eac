//! What is required of seccomp, one test a requirement, where `filters.rs` has none: each action, the errno of the default,
//! names that nobody knows, several architectures, a kernel without filters.

use serde_json::{Value, json};

use crate::exec::identity::{exec_cmd, idle};
use crate::harness::Bundle;
use crate::need;
use crate::seccomp::filters::{answers, denying, docker, with};

/// getppid, by a rule with one action. What kills or traps a single process ends it by SIGSYS; a tracer that is not there
/// answers ENOSYS.
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
    // Everything that the probe needs is allowed; what is not is refused by the default.
    let mut profile = docker();
    profile["defaultErrnoRet"] = json!(libc::EXDEV);
    profile["syscalls"]
        .as_array_mut()
        .expect("a list")
        .push(json!({ "names": ["reboot"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EINVAL }));
    let got = answers(with(Bundle::new(), profile), &["syscall,165", "syscall,169"]);
    assert_eq!(got, [json!("EXDEV"), json!("EINVAL")]);
}

/// What `--debug` adds to stderr has the log's form there as well.
#[test]
fn the_flags_are_told_in_the_log() {
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

/// Docker lists x86-64, x86 and x32: programs of 32 bits run, and are refused by their own numbers.
#[test]
fn thirty_two_bit_programs_run_under_dockers_profile() {
    let got = answers(Bundle::new(), &["syscall32,20"]);
    need!(got == [json!(1)], "32-bit programs (CONFIG_IA32_EMULATION)");
    // getpid, getppid, mount, pivot_root, and a number that no kernel has.
    let calls = [
        "syscall32,20",
        "syscall32,64",
        "syscall32,21",
        "syscall32,217",
        "syscall32,4000",
    ];
    let got = answers(with(Bundle::new(), docker()), &calls);
    assert_eq!(
        got,
        [json!(1), json!(0), json!("EPERM"), json!("EPERM"), json!("ENOSYS")]
    );
}

/// What Podman writes refuses newer calls itself, and some by their arguments with another errno.
#[test]
fn podmans_profile_answers_as_it_says() {
    let profile: Value = serde_json::from_str(include_str!("../../tests/profiles/podman-default.json")).expect("JSON");
    let calls = [
        // socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT), socket(AF_UNIX, SOCK_STREAM, 0), kexec_load, a new number.
        "syscall,41,16,3,9",
        "syscall,41,1,1,0",
        "syscall,246",
        "syscall,4000",
    ];
    let got = answers(with(Bundle::new(), profile), &calls);
    assert_eq!(
        [&got[0], &got[2], &got[3]],
        [&json!("EINVAL"), &json!("EPERM"), &json!("ENOSYS")]
    );
    assert!(got[1].is_number(), "{got:?}");
}

/// seccomp(2) is refused to the runtime itself, as a kernel without it would.
#[test]
fn without_filters_in_the_kernel_a_profile_is_an_error_and_nothing_else_is() {
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
