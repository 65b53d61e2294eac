//! The profiles of Docker and Podman, and programs of several architectures.

use serde_json::{Value, json};

use crate::harness::Bundle;
use crate::harness::seccomp::{answers, denying, docker, with};
use crate::need;

#[test]
fn dockers_profile_has_the_documented_results() {
    // mount, getppid, clone3 (refused by a rule with an errno), and a number that no kernel has.
    let got = answers(
        with(Bundle::new(), docker()),
        &["syscall,165", "syscall,110", "syscall,435", "syscall,4000"],
    );
    assert_eq!(got, [json!("EPERM"), json!(0), json!("ENOSYS"), json!("ENOSYS")]);
    // personality(2) by its argument: PER_LINUX and "what is it" are allowed, PER_BSD is not.
    let got = answers(
        with(Bundle::new(), docker()),
        &["syscall,135,0xffffffff", "syscall,135,6", "syscall,135,0"],
    );
    assert_eq!(got, [json!(0), json!("EPERM"), json!(0)]);
}

/// mkdir is 39 on i386 and 83 on x86-64.
#[test]
fn calls_of_32_bit_programs_have_their_own_numbers() {
    let bundle = || with(Bundle::new(), denying(&["mkdir"], "SCMP_ACT_ERRNO"));
    let got = answers(Bundle::new(), &["syscall32,20"]);
    need!(got == [json!(1)], "32-bit programs (CONFIG_IA32_EMULATION)");
    let got = answers(bundle(), &["syscall32,39", "syscall32,20", "syscall,83", "syscall,39"]);
    assert_eq!(got[..3], [json!("EPERM"), json!(1), json!("EPERM")]);
    assert!(got[3].is_number(), "getpid has the number of the other's mkdir");
    // Through socketcall too, where socketpair is 8.
    let bundle = with(Bundle::new(), denying(&["socketpair"], "SCMP_ACT_ERRNO"));
    assert_eq!(
        answers(bundle, &["syscall32,102,8", "syscall32,102,99"]),
        [json!("EPERM"), json!("EINVAL")]
    );
}

#[test]
fn an_architecture_that_is_not_listed_kills() {
    let got = answers(Bundle::new(), &["syscall32,20"]);
    need!(got == [json!(1)], "32-bit programs (CONFIG_IA32_EMULATION)");
    let mut profile = denying(&["mkdir"], "SCMP_ACT_ERRNO");
    profile["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    let output = with(Bundle::new(), profile)
        .args(["probe", "try", "syscall32,20"])
        .run();
    assert_eq!(output.code, 128 + libc::SIGSYS);
}

/// Docker lists x86-64, x86 and x32: 32-bit programs run, and their calls are refused by their own numbers.
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

/// Podman's profile refuses newer calls itself, and some calls by their arguments with another errno.
#[test]
fn podmans_profile_has_the_documented_results() {
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
