//! `run --seccomp-log`: calls that the filter refused are listed after the container has ended, without those of others.

use std::fs;

use caps::Capability;
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::harness::host::drop_bounding;
use crate::harness::{Bundle, Cmd, Output};
use crate::need;

/// Everything but mkdir and rmdir is allowed.
fn bundle() -> Bundle {
    Bundle::new().edit(|c| {
        c["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 18 },
                { "names": ["rmdir"], "action": "SCMP_ACT_KILL_PROCESS",
                  "args": [{ "index": 1, "value": 7, "op": "SCMP_CMP_EQ" }] },
            ]
        })
    })
}

const MKDIR: &str = "SCMP_ARCH_X86_64: mkdir (83): SCMP_ACT_ERRNO EXDEV: syscalls[0]";

/// Whether the kernel's log could be read.
fn readable(output: &Output) -> bool {
    !output.stderr.contains("cannot list denied system calls")
}

const LOG: &str = "the kernel's audit records (CONFIG_AUDIT, CAP_AUDIT_READ)";

fn errno(output: &Output, index: usize) -> Value {
    output.json()[index]["errno"].clone()
}

#[test]
fn refused_calls_are_named_at_the_end() {
    let bundle = bundle().args(["probe", "try", "syscall,83", "syscall,83", "syscall,110"]);
    let output = bundle.run_cmd(&["--seccomp-log"]).run().ok();
    need!(readable(&output), LOG);
    assert_eq!(errno(&output, 0), "EXDEV", "it stays refused");
    let expected = format!(
        "orlop: warning: seccomp denied or logged these system calls of this container:\n    {MKDIR}; 2 times, by probe\n"
    );
    assert_eq!(output.stderr, expected);
    // Without the flag nothing is logged or reported.
    assert_eq!(bundle.run().ok().stderr, "");
}

#[test]
fn a_call_that_kills_is_named_and_the_exit_code_stays() {
    let output = bundle()
        .args(["probe", "try", "syscall,84,0,7"])
        .run_cmd(&["--seccomp-log"])
        .run();
    need!(readable(&output), LOG);
    assert_eq!(output.code, 128 + libc::SIGSYS);
    let expected = "SCMP_ARCH_X86_64: rmdir (84): SCMP_ACT_KILL_PROCESS: depends on its arguments; once, by probe\n";
    assert!(output.stderr.ends_with(expected), "{}", output.stderr);
}

/// Nothing is refused, so that one run shows everything that a profile lacks; the profile in the bundle is not changed.
#[test]
fn with_allow_refused_calls_are_made_and_named() {
    let bundle = bundle().args(["probe", "try", "syscall,83", "syscall,84,0,7"]);
    let before = fs::read(bundle.path("config.json")).unwrap();
    let output = bundle.run_cmd(&["--seccomp-log=allow"]).run().ok();
    need!(readable(&output), LOG);
    // The kernel itself refuses the null pointer.
    assert_eq!(
        [errno(&output, 0), errno(&output, 1)],
        [json!("EFAULT"), json!("EFAULT")]
    );
    let expected = format!(
        "orlop: warning: seccomp allowed these system calls of this container, and would have returned:\n    \
         {MKDIR}; once, by probe\n    SCMP_ARCH_X86_64: rmdir (84): SCMP_ACT_LOG: depends on its arguments; once, by probe\n"
    );
    assert_eq!(output.stderr, expected);
    assert_eq!(fs::read(bundle.path("config.json")).unwrap(), before);
}

#[test]
fn it_is_reported_that_nothing_was_refused() {
    let output = bundle().args(["true"]).run_cmd(&["--seccomp-log"]).run().ok();
    need!(readable(&output), LOG);
    assert_eq!(
        output.stderr,
        "orlop: warning: seccomp denied no system call of this container\n"
    );
}

/// While one container runs, a call of another one is refused and logged.
#[test]
fn other_containers_are_left_out() {
    let script = "echo ready; while [ ! -e /tmp/go ]; do sleep 0.01; done; exec probe try syscall,83";
    let waiting = bundle().sh(script).edit(|c| c["root"]["readonly"] = json!(false));
    let mut running = waiting.run_cmd(&["--seccomp-log"]).spawn();
    running.until("ready");
    let other = bundle().args(["probe", "try", "syscall,83", "syscall,84,0,7"]);
    let output = other.run_cmd(&["--seccomp-log"]).run();
    fs::write(waiting.inside("tmp/go"), "").unwrap();
    let waited = running.wait();
    need!(readable(&output), LOG);
    assert!(output.stderr.contains("rmdir (84)"), "{}", output.stderr);
    assert!(
        waited
            .stderr
            .ends_with(&format!("container:\n    {MKDIR}; once, by probe\n")),
        "{}",
        waited.stderr
    );
}

/// Short-lived processes belong to the container as well.
#[test]
fn grandchildren_are_the_containers() {
    let script = "for i in 1 2 3 4 5; do (probe try syscall,83 >/dev/null); done";
    let output = bundle().sh(script).run_cmd(&["--seccomp-log"]).run().ok();
    need!(readable(&output), LOG);
    assert!(
        output.stderr.contains(&format!("{MKDIR}; 5 times, by probe")),
        "{}",
        output.stderr
    );
}

/// A caller of the runtime without some capabilities.
fn without(command: Cmd, capabilities: &'static [Capability]) -> Cmd {
    command.before_exec(move || {
        for capability in capabilities {
            drop_bounding(*capability)?;
        }
        Ok(())
    })
}

#[test]
fn the_ring_buffer_is_read_where_audit_cannot_be() {
    let bundle = bundle().args(["probe", "try", "syscall,83"]);
    let output = without(bundle.run_cmd(&["--seccomp-log"]), &[Capability::CAP_AUDIT_READ])
        .run()
        .ok();
    need!(readable(&output), "/dev/kmsg");
    // The kernel limits the rate of records there, so this one may be missing.
    assert!(
        output.stderr.contains("maybe more: only the kernel's ring buffer"),
        "{}",
        output.stderr
    );
    assert!(
        output.stderr.contains(&format!("{MKDIR}; once, by probe")) || output.stderr.contains("denied no system call"),
        "{}",
        output.stderr
    );
}

#[test]
fn an_unreadable_log_is_reported() {
    let restricted = fs::read_to_string("/proc/sys/kernel/dmesg_restrict").unwrap_or_default();
    need!(restricted.trim() == "1", "kernel.dmesg_restrict");
    let bundle = bundle().args(["probe", "try", "syscall,83"]);
    let output = without(
        bundle.run_cmd(&["--seccomp-log"]),
        &[Capability::CAP_AUDIT_READ, Capability::CAP_SYSLOG],
    )
    .run()
    .ok();
    assert_eq!(errno(&output, 0), "EXDEV", "the container runs all the same");
    for text in [
        "cannot list denied system calls",
        "AUDIT_NLGRP_READLOG",
        "\"/dev/kmsg\"",
        "EPERM",
        "journalctl -k",
    ] {
        assert!(output.stderr.contains(text), "{text}: {}", output.stderr);
    }
}

/// The kernel sends audit records only to the initial network namespace. Elsewhere missing records must not be taken for
/// success.
#[test]
fn in_another_network_namespace_missing_records_are_noticed() {
    let bundle = bundle().args(["probe", "try", "syscall,83"]);
    let command = bundle
        .run_cmd(&["--seccomp-log"])
        .before_exec(|| Ok(unshare(CloneFlags::CLONE_NEWNET)?));
    let output = command.run().ok();
    assert!(
        output.stderr.contains("a test record did not arrive") || output.stderr.contains("the kernel's ring buffer"),
        "{}",
        output.stderr
    );
}
