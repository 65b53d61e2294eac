//! The kernel parameters that a container may set.

use proptest::prelude::*;

use orlop::bundle::sysctl::sysctl;
use orlop::error::Report;
use orlop::plan::{Namespaces, Sysctl};

const ALL: i32 = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWUSER;

fn with(flags: i32) -> Namespaces {
    Namespaces {
        new: flags as u64,
        joined: vec![],
    }
}

fn file(key: &str) -> Option<String> {
    let found = sysctl(key, "1", &with(ALL)).ok()?;
    Some(found.file.to_str().unwrap().into())
}

fn error(key: &str, value: &str, flags: i32) -> Report {
    Report::of(&sysctl(key, value, &with(flags)).unwrap_err())
}

#[test]
fn every_parameter_requires_its_namespace() {
    let table = [
        ("net.ipv4.ip_forward", libc::CLONE_NEWNET, "network"),
        ("net/core/somaxconn", libc::CLONE_NEWNET, "network"),
        ("kernel.shmmax", libc::CLONE_NEWIPC, "ipc"),
        ("kernel.msgmni", libc::CLONE_NEWIPC, "ipc"),
        ("kernel.sem", libc::CLONE_NEWIPC, "ipc"),
        ("kernel.shm_rmid_forced", libc::CLONE_NEWIPC, "ipc"),
        ("fs.mqueue.msg_max", libc::CLONE_NEWIPC, "ipc"),
        ("kernel.domainname", libc::CLONE_NEWUTS, "uts"),
        ("user.max_mnt_namespaces", libc::CLONE_NEWUSER, "user"),
    ];
    for (key, flag, name) in table {
        let planned = sysctl(key, "5", &with(flag)).unwrap();
        let expected = Sysctl {
            key: key.into(),
            file: key.replace('.', "/").into(),
            value: "5".into(),
        };
        assert_eq!(planned, expected);
        let report = error(key, "5", ALL & !flag);
        assert_eq!(report.path, Some(format!("linux.sysctl[{key:?}]")));
        assert!(
            report.msg.contains(&format!("the host's {name} namespace")),
            "{}",
            report.msg
        );
    }
}

#[test]
fn parameters_of_the_whole_host_are_rejected() {
    for key in [
        "kernel.panic",
        "vm.swappiness",
        "kernel.core_pattern",
        "fs.file-max",
        "kernel.hostname",
        "kernel.shmmaxi",
        "kernel.shmmax.x",
        "netx.a",
        "net",
        "user",
        "fs.mqueue",
        "kernel.sem.",
        "kernel",
        "Net.ipv4.ip_forward",
        "kernel/msgmax ",
        "debug.exception-trace",
        "kernel.ns_last_pid",
        "dev.cdrom.lock",
    ] {
        assert_eq!(file(key), None, "{key}");
    }
}

#[test]
fn no_key_leads_outside_of_its_directory() {
    for key in [
        "",
        ".",
        "..",
        "/",
        "net..ipv4",
        "net.",
        ".net",
        "/net/core",
        "net//core",
        "net/../kernel/panic",
        "net/./core",
        "net/core/",
        "../sys/net",
        "net/ipv4/..",
        "net./.x",
        "net.\0",
        "net/a\0b",
        "net.//.kernel",
    ] {
        assert_eq!(file(key), None, "{key:?}");
    }
}

#[test]
fn the_first_separator_decides_as_in_sysctl_8() {
    let interface = Some("net/ipv4/conf/eno2.100/forwarding".to_string());
    assert_eq!(file("net.ipv4.conf.eno2/100.forwarding"), interface);
    assert_eq!(file("net/ipv4/conf/eno2.100/forwarding"), interface);
    // Two slashes become "..", which is the parent directory.
    assert_eq!(file("net.ipv4.//.kernel.panic"), None);
    // A component of more dots is an ordinary name.
    assert_eq!(file("net/ipv4/.../x").as_deref(), Some("net/ipv4/.../x"));
}

#[test]
fn a_value_is_one_line() {
    assert!(sysctl("net.a.b", "1\t2 3", &with(ALL)).is_ok());
    assert!(sysctl("net.a.b", "", &with(ALL)).is_ok());
    for value in ["1\n2", "\n", "1\0"] {
        assert!(
            error("net.a.b", value, ALL).msg.contains("line break or NUL"),
            "{value:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_accepted_key_stays_below_its_prefix(
        key in prop_oneof![".{0,24}", "(net|user|fs.mqueue|kernel|fs/mqueue)[./a-z\\\\é]{0,16}", "[./]{0,6}net[./]{0,6}"],
        value in ".{0,8}",
    ) {
        if let Ok(found) = sysctl(&key, &value, &with(ALL)) {
            let file = found.file.to_str().unwrap();
            prop_assert!(["net/", "user/", "fs/mqueue/", "kernel/"].iter().any(|prefix| file.starts_with(prefix)), "{}", file);
            prop_assert!(file.split('/').all(|part| !["", ".", ".."].contains(&part)) && !file.contains('\0'), "{}", file);
            prop_assert!(!value.contains('\n'));
            prop_assert!(sysctl(&key, &value, &with(0)).is_err());
            // Both notations name the same file.
            let swapped: String = key.chars().map(|c| match c { '.' => '/', '/' => '.', c => c }).collect();
            let again = sysctl(&swapped, &value, &with(ALL)).map(|sysctl| sysctl.file);
            prop_assert_eq!(again.ok(), Some(found.file));
        }
    }
}
