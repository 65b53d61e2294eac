//! The sections about the kernel and about what confines processes.

use std::fs;

use serde_json::{Value, json};

use super::report::{Fact, Section, Status, ok};
use crate::cgroup::devices;
use crate::host::kernel::{self, Feature, OLDEST, Support};
use crate::host::{self, Selinux};
use crate::mountinfo;
use crate::security::seccomp::profile;
use crate::sys::bpf;
use crate::sys::process::NAMESPACES;

pub fn section(mounts: &[u8]) -> Section {
    let (release, machine) = kernel::version();
    let version = ok("version", format!("{release} {machine}"), "").unless(
        kernel::number(&release).is_none_or(|number| number >= OLDEST),
        Status::Missing,
        "orlop needs Linux 5.14 or newer",
        "upgrade the kernel",
    );
    let mut facts = vec![version];
    facts.extend(
        Feature::ALL
            .iter()
            .filter(|feature| **feature != Feature::Seccomp)
            .map(|feature| self::feature(*feature)),
    );
    facts.push(namespaces());
    facts.push(resctrl(mounts));
    facts.push(device_rules());
    let pressure = fs::metadata("/proc/pressure").is_ok();
    facts.push(
        ok("pressure", pressure, "stall times of containers (PSI) are measured").unless(
            pressure,
            Status::Limited,
            "stall times of containers (PSI) are not measured",
            "boot with psi=1",
        ),
    );
    Section { key: "kernel", facts }
}

fn feature(feature: Feature) -> Fact {
    let (key, present, missing, effect) = match feature {
        Feature::CloneIntoCgroup => (
            "cloneIntoCgroup",
            "processes are created inside their cgroup",
            "no container can be created",
            Status::Missing,
        ),
        Feature::Openat2 => (
            "openat2",
            "paths cannot leave the image",
            "no container can be created",
            Status::Missing,
        ),
        Feature::Pidfd => (
            "pidfd",
            "signals reach the right process",
            "no container can be created",
            Status::Missing,
        ),
        Feature::MountSetattr => (
            "mountSetattr",
            "mounts get their options, recursively too, and map IDs",
            "no container can be created",
            Status::Missing,
        ),
        Feature::OpenTreeAttr => ("openTreeAttr", "not used by orlop", "not used by orlop", Status::Ok),
        Feature::OpenTreeNamespace => (
            "openTreeNamespace",
            "a mount namespace is created with the mounts of its container only",
            "a mount namespace is created as a copy of the host's mounts, which are then removed",
            Status::Ok,
        ),
        Feature::PidnsOfProc => (
            "procPidns",
            "proc is mounted for a PID namespace that is joined",
            "proc of a PID namespace that is joined is mounted by another process",
            Status::Ok,
        ),
        Feature::MemoryPolicy => (
            "memoryPolicy",
            "linux.memoryPolicy works",
            "linux.memoryPolicy is refused",
            Status::Limited,
        ),
        Feature::Keyring => (
            "keyring",
            "each container gets a session keyring",
            "containers get no session keyring",
            Status::Limited,
        ),
        Feature::Seccomp => (
            "filters",
            "linux.seccomp works",
            "linux.seccomp is refused",
            Status::Limited,
        ),
    };
    let support = feature.support();
    let fact = ok(key, support == Support::Present, present);
    match support {
        Support::Present => fact,
        Support::Missing => fact.but(effect, missing, ""),
        Support::Refused(errno) => fact.but(
            effect,
            format!("the call fails with {errno:?}; {missing}"),
            "if orlop runs in a container, its seccomp profile must allow the call",
        ),
    }
}

fn namespaces() -> Fact {
    let missing = kernel::missing_namespaces();
    let names = |all: Vec<&str>| all.join(", ");
    let present: Vec<&str> = NAMESPACES
        .iter()
        .filter(|kind| !missing.contains(kind))
        .map(|kind| kind.name)
        .collect();
    ok("namespaces", json!(present), "").unless(
        missing.is_empty(),
        Status::Limited,
        format!("refused: {}", names(missing.iter().map(|kind| kind.name).collect())),
        "",
    )
}

fn resctrl(mounts: &[u8]) -> Fact {
    let point = mountinfo::point_of(mounts, "resctrl").map(|point| point.to_string_lossy().into_owned());
    let known =
        fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.lines().any(|line| line.ends_with("\tresctrl")));
    let is_mounted = point.is_some();
    let (meaning, cure) = match known {
        true => ("linux.intelRdt is refused", "mount -t resctrl resctrl /sys/fs/resctrl"),
        false => (
            "linux.intelRdt is refused: the kernel or the processor has none of Intel RDT, AMD QoS and Arm MPAM",
            "",
        ),
    };
    ok("resctrl", point, "linux.intelRdt works").unless(is_mounted, Status::Limited, meaning, cure)
}

/// Loads a program that decides about devices, and closes it at once.
fn device_rules() -> Fact {
    let loaded = bpf::load_cgroup_device(&devices::compile(&[])).map(drop);
    let fact = ok("deviceRules", loaded.is_ok(), "linux.resources.devices is enforced");
    match loaded {
        Ok(()) => fact,
        Err(error) => fact.but(
            Status::Limited,
            format!(
                "loading a BPF program fails with {:?}; rules are left out for an unprivileged user, who cannot create devices",
                error.errno
            ),
            "",
        ),
    }
}

pub fn security(binary: Option<&'static str>) -> Section {
    let lsms = fs::read_to_string("/sys/kernel/security/lsm").ok();
    let names: Option<Vec<&str>> = lsms
        .as_deref()
        .map(|text| text.trim().split(',').filter(|name| !name.is_empty()).collect());
    let apparmor = host::has_apparmor();
    let selinux = host::selinux();
    let facts = vec![
        feature(Feature::Seccomp),
        actions(),
        flags(),
        match names {
            Some(names) => ok("lsm", json!(names), ""),
            None => ok("lsm", Value::Null, "").but(
                Status::Unknown,
                "the list of security modules cannot be read",
                "mount -t securityfs none /sys/kernel/security",
            ),
        },
        ok("apparmor", apparmor, "process.apparmorProfile works").unless(
            apparmor,
            Status::Limited,
            "process.apparmorProfile is refused",
            "",
        ),
        ok("selinux", selinux == Selinux::Enabled, "process.selinuxLabel works").unless(
            selinux == Selinux::Enabled,
            Status::Limited,
            match selinux {
                Selinux::WithoutPolicy => "no policy is loaded: process.selinuxLabel is refused",
                _ => "process.selinuxLabel is refused",
            },
            "",
        ),
        ok(
            "binary",
            binary,
            "how orlop keeps containers from writing to its binary",
        )
        .unless(
            binary.is_some(),
            Status::Missing,
            "orlop cannot keep containers from writing to its binary",
            "permit executable memfds (vm.memfd_noexec=0)",
        ),
    ];
    Section { key: "security", facts }
}

fn actions() -> Fact {
    let text = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let actions: Vec<&str> = text.split_whitespace().collect();
    let fact = ok("seccompActions", json!(actions), "");
    fact.unless(
        actions.contains(&"user_notif"),
        Status::Limited,
        "SCMP_ACT_NOTIFY is refused: the kernel has no user_notif",
        "",
    )
}

fn flags() -> Fact {
    let (there, missing): (Vec<&str>, Vec<&str>) = profile::FLAGS.iter().partition(|flag| profile::is_supported(flag));
    ok("seccompFlags", json!(there), "").unless(
        missing.is_empty(),
        Status::Limited,
        format!("profiles with {} are refused", missing.join(" or ")),
        "",
    )
}
