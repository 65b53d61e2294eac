//! `check`: every risk has a rule, and what the host lacks follows from facts that are made up here.

use nix::errno::Errno;
use serde_json::{Value, json};

use orlop::bundle::load::parse;
use orlop::bundle::validate::{self, Checked, RuntimeOptions};
use orlop::commands::check::findings::{Code, Findings, Level};
use orlop::commands::check::host::{self, Host};
use orlop::commands::check::kernel;
use orlop::commands::check::risk::Risk;
use orlop::commands::check::risks;
use orlop::error::Report;
use orlop::host::{Bounding, CapabilitySets, Directory, Facts};
use orlop::plan::{IdMapping, Namespaces};

/// A config without any risk.
fn safe() -> Value {
    let namespaces = ["mount", "pid", "ipc", "uts", "network", "cgroup"];
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "user": { "uid": 1000, "gid": 1000 }, "args": ["sh"], "cwd": "/", "noNewPrivileges": true,
            "capabilities": { "bounding": ["CAP_KILL"] }
        },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc" },
            { "destination": "/sys", "type": "sysfs", "options": ["ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["rw"] },
            { "destination": "/data", "source": "/srv/data", "options": ["rbind", "rw"] }
        ],
        "linux": {
            "namespaces": namespaces.map(|kind| json!({ "type": kind })),
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "seccomp": { "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["bpf"], "action": "SCMP_ACT_ERRNO" }] }
        }
    })
}

fn checked(config: &Value) -> Checked {
    let facts = Facts {
        user: Some(0),
        group: Some(0),
        root_of_host: true,
        capability_sets: Some(CapabilitySets {
            effective: u64::MAX,
            permitted: u64::MAX,
            inheritable: 0,
        }),
        bounding: Bounding {
            known: u64::MAX,
            held: u64::MAX,
        },
        root: Some(Ok(Directory {
            path: "/bundle/rootfs".into(),
            is_directory: true,
        })),
        ..Facts::default()
    };
    let config = parse(
        "/bundle".into(),
        config.to_string().into_bytes(),
        Some("config.json".into()),
    )
    .unwrap();
    let checked = validate::check(config, &RuntimeOptions::default(), facts);
    if checked.checks.has_mistakes() {
        panic!("{:?}", checked.checks.mistakes());
    }
    checked
}

fn risks_of(edit: impl FnOnce(&mut Value)) -> Vec<&'static str> {
    let mut config = safe();
    edit(&mut config);
    let mut findings = Findings::default();
    risks::of_container(&checked(&config), &mut findings);
    assert!(
        findings
            .list
            .iter()
            .all(|found| found.level == Level::Risk && found.finding.hint.is_some())
    );
    findings.list.iter().map(|found| found.code.name()).collect()
}

fn without_namespace(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .retain(|entry| entry["type"] != kind);
}

fn bind(config: &mut Value, source: &str, options: Value) {
    config["mounts"][3]["source"] = json!(source);
    config["mounts"][3]["options"] = options;
}

fn capabilities(config: &mut Value, names: &[&str]) {
    config["process"]["capabilities"]["bounding"] = json!(names);
}

const POWERFUL: &[&str] = &[
    "CAP_DAC_READ_SEARCH",
    "CAP_NET_ADMIN",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_PTRACE",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_TIME",
    "CAP_PERFMON",
    "CAP_BPF",
];

type Edit = fn(&mut Value);

/// What turns the safe config into one with exactly this risk.
const TABLE: &[(Risk, Edit)] = &[
    (Risk::HostRoot, |c| bind(c, "/", json!(["rbind", "ro"]))),
    (Risk::HostDirectory, |c| bind(c, "/etc", json!(["rbind"]))),
    (Risk::EngineSocket, |c| {
        bind(c, "/run/docker.sock", json!(["bind", "ro"]))
    }),
    (Risk::EngineSocket, |c| bind(c, "/run/containerd", json!(["rbind"]))),
    (Risk::EngineSocket, |c| bind(c, "/srv/x/podman.sock", json!(["bind"]))),
    (Risk::SharedPropagation, |c| {
        bind(c, "/srv/data", json!(["rbind", "rshared"]))
    }),
    (Risk::AllCapabilities, |c| capabilities(c, POWERFUL)),
    (Risk::Capability, |c| capabilities(c, &["CAP_SYS_PTRACE"])),
    (Risk::NoSeccomp, |c| {
        drop(c["linux"].as_object_mut().unwrap().remove("seccomp"))
    }),
    (Risk::WritableProcSys, |c| {
        c["linux"]["readonlyPaths"] = json!(["/proc/bus"])
    }),
    (Risk::NoMaskedPaths, |c| c["linux"]["maskedPaths"] = json!([])),
    (Risk::WritableSys, |c| c["mounts"][1]["options"] = json!(["nosuid"])),
    (Risk::AllDevices, |c| {
        c["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }])
    }),
    (Risk::HostNetwork, |c| without_namespace(c, "network")),
    (Risk::HostPid, |c| without_namespace(c, "pid")),
    (Risk::HostIpc, |c| without_namespace(c, "ipc")),
    (Risk::HostRootUser, |c| {
        c["process"]["user"] = json!({ "uid": 0, "gid": 0 })
    }),
    (Risk::NewPrivileges, |c| c["process"]["noNewPrivileges"] = json!(false)),
    (Risk::WritableCgroup, |c| without_namespace(c, "cgroup")),
];

#[test]
fn each_risk_is_found_and_nothing_else() {
    assert_eq!(risks_of(|_| {}), [""; 0]);
    for (risk, edit) in TABLE {
        assert_eq!(risks_of(edit), [risk.name()], "{}", risk.name());
    }
    for risk in Risk::ALL {
        assert!(
            TABLE.iter().any(|(other, _)| other == risk),
            "{} is not in the table",
            risk.name()
        );
    }
}

/// Each capability counts.
#[test]
fn each_capability_with_power_over_the_host_is_a_risk() {
    for name in POWERFUL {
        assert_eq!(risks_of(|c| capabilities(c, &[name])), ["capability"], "{name}");
    }
    assert_eq!(
        risks_of(|c| capabilities(c, &["CAP_NET_BIND_SERVICE", "CAP_CHOWN"])),
        [""; 0]
    );
}

#[test]
fn a_user_namespace_takes_the_risk_out_of_capabilities_and_root() {
    let found = risks_of(|c| {
        capabilities(c, POWERFUL);
        c["process"]["user"] = json!({ "uid": 0, "gid": 0 });
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "user" }));
        for map in ["uidMappings", "gidMappings"] {
            c["linux"][map] = json!([{ "containerID": 0, "hostID": 100000, "size": 65536 }]);
        }
        c["linux"]["maskedPaths"] = json!([]);
        c["mounts"][1]["options"] = json!([]);
    });
    assert_eq!(found, [""; 0]);
}

/// The last rule for all devices decides.
#[test]
fn a_later_denial_takes_the_risk_out_of_devices() {
    let rules = json!([{ "allow": true, "access": "rwm" }, { "allow": false, "access": "rwm" }]);
    assert_eq!(risks_of(|c| c["linux"]["resources"]["devices"] = rules), [""; 0]);
    let of_one = json!([{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "access": "rwm" }]);
    assert_eq!(risks_of(|c| c["linux"]["resources"]["devices"] = of_one), [""; 0]);
}

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// The levels and errnos for new namespaces.
fn new_namespaces(new: i32, host: &Host) -> Vec<(Level, String)> {
    let mut findings = Findings::default();
    let namespaces = Namespaces {
        new: new as u64,
        joined: Vec::new(),
    };
    host::namespaces(&namespaces, host, &mut findings);
    assert!(findings.list.iter().all(|found| found.code == Code::Namespaces));
    findings
        .list
        .into_iter()
        .map(|found| (found.level, found.finding.msg))
        .collect()
}

#[test]
fn what_prevents_new_namespaces_is_told() {
    let nothing = |_: &str| None;
    let root = Host {
        uid: 0,
        effective: CAP_SYS_ADMIN,
        setting: &nothing,
        missing: 0,
    };
    let user = Host {
        uid: 1000,
        effective: 0,
        setting: &nothing,
        missing: 0,
    };
    assert_eq!(new_namespaces(libc::CLONE_NEWPID, &root), []);
    assert_eq!(new_namespaces(libc::CLONE_NEWPID | libc::CLONE_NEWUSER, &user), []);
    let only = |found: Vec<(Level, String)>| {
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    };
    let powerless = Host { effective: 0, ..root };
    let (level, text) = only(new_namespaces(libc::CLONE_NEWPID, &powerless));
    assert!(
        level == Level::Error && text.contains(&format!("{:?}", Errno::EPERM)),
        "{text}"
    );
    let lacking = Host {
        missing: libc::CLONE_NEWTIME as u64,
        ..root
    };
    let (level, text) = only(new_namespaces(libc::CLONE_NEWTIME | libc::CLONE_NEWPID, &lacking));
    assert!(
        level == Level::Error && text.contains("the kernel has no time namespaces"),
        "{text}"
    );
    let no_more = |name: &str| (name == "user.max_pid_namespaces").then(|| "0".to_string());
    let (level, text) = only(new_namespaces(
        libc::CLONE_NEWPID,
        &Host {
            setting: &no_more,
            ..root
        },
    ));
    assert!(
        level == Level::Error && text.contains("allows no pid namespaces"),
        "{text}"
    );
    let only_root = |name: &str| (name == "kernel.unprivileged_userns_clone").then(|| "0".to_string());
    let (level, _) = only(new_namespaces(
        libc::CLONE_NEWUSER,
        &Host {
            setting: &only_root,
            ..user
        },
    ));
    assert_eq!(level, Level::Error);
    let apparmor = |name: &str| (name == "kernel.apparmor_restrict_unprivileged_userns").then(|| "1".to_string());
    let (level, _) = only(new_namespaces(
        libc::CLONE_NEWUSER,
        &Host {
            setting: &apparmor,
            ..user
        },
    ));
    assert_eq!(level, Level::Warning, "a profile may make an exception");
}

#[test]
fn a_file_system_is_known_built_in_or_as_a_module() {
    let known = "nodev\ttmpfs\n\text4\nnodev\tfuse\n";
    let module = |name: &str| name == "xfs";
    let mut config = safe();
    for (kind, expected) in [
        ("tmpfs", true),
        ("ext4", true),
        ("fuse.sshfs", true),
        ("xfs", true),
        ("tmp", false),
        ("nodev", false),
    ] {
        config["mounts"][0] = json!({ "destination": "/m", "type": kind });
        let checked = checked(&config);
        let result = host::file_system(&checked.sections.rootfs.mounts[0], known, &module);
        assert_eq!(result.is_ok(), expected, "{kind}");
        if let Err(error) = result {
            let report = Report::of(&error);
            assert_eq!(
                (report.errno, report.path.as_deref()),
                (Some(Errno::ENODEV), Some("mounts[0]"))
            );
            assert!(
                report
                    .hint
                    .is_some_and(|hint| hint.starts_with("the kernel does not know"))
            );
        }
    }
}

#[test]
fn settings_that_need_a_newer_kernel_are_told() {
    let mut config = safe();
    config["linux"]["resources"]["cpu"] = json!({ "idle": 1 });
    config["linux"]["resources"]["unified"] = json!({ "memory.zswap.writeback": "0" });
    config["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" });
    let paths = |release| {
        let mut findings = Findings::default();
        kernel::check(&checked(&config), release, &mut findings);
        let paths = findings.list.into_iter().filter_map(|found| found.finding.path);
        let mut paths: Vec<String> = paths.collect();
        paths.sort();
        paths
    };
    assert_eq!(paths(Some((6, 18))), [""; 0]);
    assert_eq!(paths(None), [""; 0]);
    let writeback = "linux.resources.unified.memory.zswap.writeback";
    assert_eq!(paths(Some((6, 8))), ["linux.memoryPolicy.mode"]);
    assert_eq!(paths(Some((6, 1))), ["linux.memoryPolicy.mode", writeback]);
    assert_eq!(
        paths(Some((5, 14))),
        ["linux.memoryPolicy.mode", "linux.resources.cpu.idle", writeback]
    );
    assert_eq!(paths(Some((5, 10))).len(), 4, "too old for orlop itself");
}

#[test]
fn ranges_of_subordinate_ids_decide_what_an_unprivileged_user_may_map() {
    use orlop::idmap::subordinate::{Ids, allows};
    let map = |host, size| IdMapping {
        container: 0,
        host,
        size,
    };
    let read = |nss: &'static str| {
        move |path: &str| match path {
            "/etc/passwd" => Some("u:x:1000:1000::/:/bin/sh\n".to_string()),
            "/etc/subuid" => Some("u:100000:65536\nother:300000:65536\n".to_string()),
            "/etc/nsswitch.conf" => Some(nss.to_string()),
            _ => None,
        }
    };
    let allowed = |maps: &[IdMapping]| allows(Ids::Users, 1000, maps, &read("passwd: files\n"));
    assert!(allowed(&[map(100000, 65536)]));
    assert!(allowed(&[map(1000, 1), map(100000, 5)]), "their own ID");
    assert!(!allowed(&[map(100000, 65537)]));
    assert!(!allowed(&[map(300000, 1)]), "another user's");
    assert!(
        !allows(Ids::Groups, 1000, &[map(100000, 1)], &read("")),
        "no range of groups"
    );
    assert!(
        allows(Ids::Groups, 1000, &[map(5, 1)], &read("subid: sss\n")),
        "only the helper knows"
    );
}

#[test]
fn root_of_a_user_namespace_may_map_only_its_own_ids() {
    use orlop::idmap::subordinate::{holds_all, own_ranges};
    let map = |host, size| IdMapping {
        container: 0,
        host,
        size,
    };
    let own = own_ranges("         0       1000          1\n         1     100000      65536\n");
    assert_eq!(own, [(0, 1), (1, 65536)]);
    assert!(holds_all(&own, &[map(0, 1), map(5, 10)]));
    assert!(!holds_all(&own, &[map(100000, 1)]));
    assert!(own_ranges("x\n1 2\n").is_empty());
}

#[test]
fn an_apparmor_profile_must_be_loaded() {
    use orlop::security::lsm::foretell;
    let loaded = "docker-default (enforce)\n/usr/sbin/x y (complain)\n";
    for profile in ["docker-default", "/usr/sbin/x y", "unconfined", "a//&b", ":ns:x"] {
        assert!(foretell(profile, loaded).is_ok(), "{profile}");
    }
    let report = Report::of(&foretell("docker", loaded).unwrap_err());
    assert_eq!(report.path.as_deref(), Some("process.apparmorProfile"));
    assert!(
        report
            .hint
            .is_some_and(|hint| hint.starts_with("the profile is not loaded"))
    );
}
