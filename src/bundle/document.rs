//! The types that config.json is read into: those of the oci-spec crate, except the two outermost.
//!
//! The crate's `Process` rejects a whole config because of one unknown capability, where the spec wants a warning, and
//! checks CPU lists with regular expressions, which are half a megabyte of code in the memory of every runtime. It spells
//! two scheduler flags differently from the spec, and treats a missing I/O class as best effort. Its `Spec` reads the
//! sections of other systems, which a Linux runtime does not need. Unknown properties are ignored, as the spec says.

use std::collections::HashMap;
use std::path::PathBuf;

use oci_spec::runtime::{
    Box as ConsoleSize, Hooks, Linux, LinuxMemoryPolicy, LinuxPersonality, LinuxSeccomp, Mount, PosixRlimit, Root, User,
};
use serde::Deserialize;

/// The whole of config.json (config.md).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    #[serde(default)]
    oci_version: String,
    root: Option<Root>,
    mounts: Option<Vec<Mount>>,
    process: Option<Process>,
    hostname: Option<String>,
    domainname: Option<String>,
    hooks: Option<Hooks>,
    annotations: Option<HashMap<String, String>>,
    linux: Option<Linux>,
}

impl Spec {
    pub fn version(&self) -> &String {
        &self.oci_version
    }

    pub fn root(&self) -> &Option<Root> {
        &self.root
    }

    pub fn mounts(&self) -> &Option<Vec<Mount>> {
        &self.mounts
    }

    pub fn process(&self) -> &Option<Process> {
        &self.process
    }

    pub fn hostname(&self) -> &Option<String> {
        &self.hostname
    }

    pub fn domainname(&self) -> &Option<String> {
        &self.domainname
    }

    pub fn hooks(&self) -> &Option<Hooks> {
        &self.hooks
    }

    pub fn annotations(&self) -> &Option<HashMap<String, String>> {
        &self.annotations
    }

    pub fn linux(&self) -> &Option<Linux> {
        &self.linux
    }

    /// Removes a `linux.resources.pids` without a limit, for which the type has 0.
    pub fn remove_pids(&mut self) {
        let resources = self.linux.as_mut().and_then(|linux| linux.resources_mut().as_mut());
        if let Some(resources) = resources {
            resources.set_pids(None);
        }
    }
}

/// The part of a container's config that `exec` needs.
#[derive(Debug, Deserialize)]
pub struct ProcessOnly {
    pub process: Option<Process>,
    pub linux: Option<LinuxOfProcess>,
    pub annotations: Option<HashMap<String, String>>,
}

/// What `linux` says about every process of the container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinuxOfProcess {
    pub memory_policy: Option<LinuxMemoryPolicy>,
    pub personality: Option<LinuxPersonality>,
    pub seccomp: Option<LinuxSeccomp>,
}

/// `process`, also alone in the file of `exec --process`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    terminal: Option<bool>,
    console_size: Option<ConsoleSize>,
    /// Optional in the schema of the spec. The default is root.
    #[serde(default)]
    user: User,
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    cwd: PathBuf,
    capabilities: Option<CapabilityNames>,
    rlimits: Option<Vec<PosixRlimit>>,
    no_new_privileges: Option<bool>,
    apparmor_profile: Option<String>,
    oom_score_adj: Option<i32>,
    selinux_label: Option<String>,
    io_priority: Option<IoPriority>,
    scheduler: Option<Scheduler>,
    #[serde(rename = "execCPUAffinity")]
    exec_cpu_affinity: Option<ExecCpuAffinity>,
}

impl Process {
    pub fn terminal(&self) -> Option<bool> {
        self.terminal
    }

    pub fn set_terminal(&mut self, terminal: bool) {
        self.terminal = Some(terminal);
    }

    /// Replaces the AppArmor profile and the SELinux label by those of the command line, unless they are empty.
    pub fn set_labels(&mut self, apparmor_profile: Option<&str>, selinux_label: Option<&str>) {
        for (to, from) in [
            (&mut self.apparmor_profile, apparmor_profile),
            (&mut self.selinux_label, selinux_label),
        ] {
            if let Some(from) = from.filter(|from| !from.is_empty()) {
                *to = Some(from.to_string());
            }
        }
    }

    /// Takes missing fields about confinement and scheduling from the container's own process: leaving a field out must not
    /// remove the confinement. (An engine may be exempt from the OOM killer; a program of an image must not inherit that.)
    pub fn inherit(&mut self, own: Process) {
        self.capabilities = self.capabilities.take().or(own.capabilities);
        self.oom_score_adj = self.oom_score_adj.or(own.oom_score_adj);
        self.apparmor_profile = self.apparmor_profile.take().or(own.apparmor_profile);
        self.selinux_label = self.selinux_label.take().or(own.selinux_label);
        self.scheduler = self.scheduler.take().or(own.scheduler);
        self.io_priority = self.io_priority.take().or(own.io_priority);
        self.exec_cpu_affinity = self.exec_cpu_affinity.take().or(own.exec_cpu_affinity);
    }

    pub fn console_size(&self) -> Option<ConsoleSize> {
        self.console_size
    }

    pub fn user(&self) -> &User {
        &self.user
    }

    pub fn args(&self) -> &Option<Vec<String>> {
        &self.args
    }

    pub fn env(&self) -> &Option<Vec<String>> {
        &self.env
    }

    pub fn cwd(&self) -> &PathBuf {
        &self.cwd
    }

    pub fn capabilities(&self) -> &Option<CapabilityNames> {
        &self.capabilities
    }

    pub fn rlimits(&self) -> &Option<Vec<PosixRlimit>> {
        &self.rlimits
    }

    pub fn no_new_privileges(&self) -> Option<bool> {
        self.no_new_privileges
    }

    pub fn apparmor_profile(&self) -> &Option<String> {
        &self.apparmor_profile
    }

    pub fn oom_score_adj(&self) -> Option<i32> {
        self.oom_score_adj
    }

    pub fn selinux_label(&self) -> &Option<String> {
        &self.selinux_label
    }

    pub fn io_priority(&self) -> &Option<IoPriority> {
        &self.io_priority
    }

    pub fn scheduler(&self) -> &Option<Scheduler> {
        &self.scheduler
    }

    pub fn exec_cpu_affinity(&self) -> &Option<ExecCpuAffinity> {
        &self.exec_cpu_affinity
    }
}

/// `process.capabilities`: names as in the config.
#[derive(Debug, Default, Deserialize)]
pub struct CapabilityNames {
    pub bounding: Option<Vec<String>>,
    pub effective: Option<Vec<String>>,
    pub permitted: Option<Vec<String>>,
    pub inheritable: Option<Vec<String>>,
    pub ambient: Option<Vec<String>>,
}

/// `process.scheduler`: names as in the config.
#[derive(Debug, Deserialize)]
pub struct Scheduler {
    pub policy: String,
    pub nice: Option<i32>,
    pub priority: Option<i32>,
    pub flags: Option<Vec<String>>,
    pub runtime: Option<u64>,
    pub deadline: Option<u64>,
    pub period: Option<u64>,
}

/// `process.ioPriority`.
#[derive(Debug, Deserialize)]
pub struct IoPriority {
    pub class: String,
    pub priority: Option<i64>,
}

/// `process.execCPUAffinity`: two lists of CPUs as in the config.
#[derive(Debug, Deserialize)]
pub struct ExecCpuAffinity {
    pub initial: Option<String>,
    #[serde(rename = "final")]
    pub last: Option<String>,
}
