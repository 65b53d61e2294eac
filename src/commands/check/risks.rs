//! What gives a container power over the host, although it may be wanted. A pure function of what the check has decided.

use std::path::Path;

use super::findings::{Code, Findings, Level};
use super::risk::Risk;
use crate::bundle::capabilities::bit;
use crate::bundle::validate::Checked;
use crate::plan::{Capabilities, DeviceKind, DeviceRule, Mount, MountKind, Namespaces, Process, PropagationKind};

/// Capabilities that give power over the host, with what they permit.
const POWERFUL: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open any file by its handle"),
    ("CAP_NET_ADMIN", "configure the network"),
    ("CAP_SYS_MODULE", "load kernel modules"),
    ("CAP_SYS_RAWIO", "access memory and I/O ports"),
    ("CAP_SYS_PTRACE", "read and control other processes"),
    ("CAP_SYS_ADMIN", "mount, and much else"),
    ("CAP_SYS_BOOT", "reboot, and load another kernel"),
    ("CAP_SYS_TIME", "set the clock"),
    ("CAP_PERFMON", "observe the kernel"),
    ("CAP_BPF", "load BPF programs"),
];

/// The directories of the host's system.
const HOST_DIRECTORIES: &[&str] = &[
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr", "/var",
    "/var/lib", "/var/run",
];

/// Sockets of engines.
const SOCKETS: &[&str] = &[
    "buildkitd.sock",
    "containerd.sock",
    "containerd.sock.ttrpc",
    "cri-dockerd.sock",
    "crio.sock",
    "docker.sock",
    "dockershim.sock",
    "podman.sock",
];

/// The directories in which these sockets are.
const OF_SOCKETS: &[&str] = &["/run/containerd", "/run/crio", "/run/podman", "/var/run/containerd"];

/// Adds the risks of a container.
pub fn of_container(checked: &Checked, findings: &mut Findings) {
    let namespaces = &checked.namespaces;
    let user_namespace = namespaces.has(libc::CLONE_NEWUSER);
    let rootfs = &checked.sections.rootfs;
    for mount in &rootfs.mounts {
        of_mount(mount, namespaces, findings);
    }
    let proc = rootfs.mounts.iter().find(|mount| is_new(mount, "proc"));
    if let Some(proc) = proc.filter(|_| !user_namespace) {
        let covers = |list: &Option<Vec<_>>, path: &str| {
            list.iter()
                .flatten()
                .any(|covered: &std::path::PathBuf| Path::new(path).starts_with(covered))
        };
        let hides = |path| covers(&rootfs.masked, path) || covers(&rootfs.readonly_paths, path);
        if !proc.options.is_read_only() && !hides("/proc/sys") {
            add(Risk::WritableProcSys, &proc.place(), findings);
        }
        if !covers(&rootfs.masked, "/proc/kcore") {
            add(Risk::NoMaskedPaths, "linux.maskedPaths", findings);
        }
    }
    let cgroup = checked.sections.cgroup.as_ref();
    if cgroup.is_some_and(|cgroup| !cgroup.none && allows_all(&cgroup.devices)) {
        add(Risk::AllDevices, "linux.resources.devices", findings);
    }
    for (flag, risk) in [
        (libc::CLONE_NEWNET, Risk::HostNetwork),
        (libc::CLONE_NEWPID, Risk::HostPid),
        (libc::CLONE_NEWIPC, Risk::HostIpc),
    ] {
        if !namespaces.has(flag) {
            add(risk, "linux.namespaces", findings);
        }
    }
    if let Some(Some(process)) = &checked.sections.process {
        if process.uid == 0 && !user_namespace {
            add(Risk::HostRootUser, "process.user", findings);
        }
        if process.seccomp.is_none() {
            add(Risk::NoSeccomp, "linux.seccomp", findings);
        }
        of_process(process, user_namespace, findings);
    }
}

/// Adds the risks of a process object. `user_namespace`: the process is in a user namespace of the container.
pub fn of_process(process: &Process, user_namespace: bool, findings: &mut Findings) {
    if !process.no_new_privileges {
        add(Risk::NewPrivileges, "process.noNewPrivileges", findings);
    }
    if !user_namespace {
        of_capabilities(&process.capabilities, findings);
    }
}

fn of_capabilities(sets: &Capabilities, findings: &mut Findings) {
    let held = sets.bounding | sets.permitted;
    let is_held = |(name, _): &&(&str, &str)| bit(name).is_some_and(|bit| held & bit != 0);
    let powerful: Vec<_> = POWERFUL.iter().filter(is_held).collect();
    if powerful.len() == POWERFUL.len() {
        add(Risk::AllCapabilities, "process.capabilities", findings);
    } else if !powerful.is_empty() {
        let each: Vec<String> = powerful.iter().map(|(name, what)| format!("{name} ({what})")).collect();
        add_with(
            Risk::Capability,
            "process.capabilities",
            &format!(": {}", each.join(", ")),
            findings,
        );
    }
}

fn of_mount(mount: &Mount, namespaces: &Namespaces, findings: &mut Findings) {
    let user_namespace = namespaces.has(libc::CLONE_NEWUSER);
    let writable = !mount.options.is_read_only();
    let place = mount.place();
    if let MountKind::Bind { source, inside: None } = &mount.kind {
        let is = |path: &&str| source == Path::new(path);
        let is_socket = source
            .file_name()
            .is_some_and(|name| SOCKETS.iter().any(|socket| name == *socket));
        if source == Path::new("/") {
            add(Risk::HostRoot, &place, findings);
        } else if is_socket || OF_SOCKETS.iter().any(is) {
            add(Risk::EngineSocket, &place, findings);
        } else if writable && HOST_DIRECTORIES.iter().any(is) {
            add(Risk::HostDirectory, &place, findings);
        }
        let shared = |kind| mount.options.propagation.last().is_some_and(|last| last.kind == kind);
        if shared(PropagationKind::Shared) && !user_namespace {
            add(Risk::SharedPropagation, &place, findings);
        }
    }
    if is_new(mount, "sysfs") && writable && !user_namespace {
        add(Risk::WritableSys, &place, findings);
    }
    if mount.kind == MountKind::Cgroup && writable && !namespaces.has(libc::CLONE_NEWCGROUP) {
        add(Risk::WritableCgroup, &place, findings);
    }
}

fn is_new(mount: &Mount, wanted: &str) -> bool {
    matches!(&mount.kind, MountKind::New { kind, .. } if kind == wanted)
}

/// Whether a device that no rule names may be opened: the last rule for everything decides.
fn allows_all(rules: &[DeviceRule]) -> bool {
    const OPEN: u8 = crate::cgroup::devices::READ | crate::cgroup::devices::WRITE;
    let decides = |rule: &&DeviceRule| {
        rule.kind == DeviceKind::All && rule.major.is_none() && rule.minor.is_none() && rule.access & OPEN == OPEN
    };
    rules.iter().rev().find(decides).is_some_and(|rule| rule.allow)
}

fn add(risk: Risk, path: &str, findings: &mut Findings) {
    add_with(risk, path, "", findings);
}

fn add_with(risk: Risk, path: &str, more: &str, findings: &mut Findings) {
    let text = format!("{path}: {}{more}", risk.why());
    findings.add(Level::Risk, Code::Risk(risk), path, text, Some(risk.cure().to_string()));
}
