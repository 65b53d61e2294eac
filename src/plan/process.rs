//! The container's process.

use std::ffi::CString;
use std::path::PathBuf;

use super::seccomp::{Listener, Seccomp};
use crate::cpu_list::CpuList;
use crate::sys::process::Resource;
use crate::sys::sched::SchedAttr;

/// The properties of a process: one structure for init and for exec, so that neither can miss a property.
#[derive(Debug)]
pub struct Process {
    pub terminal: bool,
    /// (rows, columns) of the terminal.
    pub console_size: Option<(u16, u16)>,
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub cwd: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
    /// The process keeps the supplementary groups of the caller.
    pub keep_groups: bool,
    /// If not set, inherited from the caller, as the spec requires.
    pub umask: Option<u32>,
    pub rlimits: Vec<Rlimit>,
    /// If not set, inherited from the caller, as the spec requires.
    pub oom_score_adj: Option<i32>,
    pub no_new_privileges: bool,
    pub capabilities: Capabilities,
    pub scheduling: Scheduling,
    /// `linux.memoryPolicy`, which child processes inherit.
    pub memory_policy: Option<MemoryPolicy>,
    /// `PER_*`, see personality(2); if not set, inherited from the caller.
    pub personality: Option<u32>,
    /// The AppArmor profile that takes effect at execve.
    pub apparmor_profile: Option<String>,
    /// The SELinux label that takes effect at execve.
    pub selinux_label: Option<String>,
    /// Set by the runtime, because in a user namespace the file belongs to an unmapped user.
    pub oom_score_from_outside: bool,
    /// Resource limits, scheduler and I/O priority are set by the runtime: raising them requires privileges on the host,
    /// which a process in a user namespace does not have.
    pub limits_from_outside: bool,
    /// How many descriptors after the standard three the process keeps, including those of [`Process::activation`].
    pub preserve_fds: u32,
    /// Those among them that stay closed in the program.
    pub closed_fds: Vec<i32>,
    /// Sockets that systemd passed to the runtime for the process, see sd_listen_fds(3).
    pub activation: Option<Activation>,
    /// Its sd_notify(3) messages are passed on.
    pub notify: bool,
    /// A new session keyring; not with `--no-new-keyring`.
    pub new_keyring: bool,
    pub seccomp: Option<Seccomp>,
}

impl Process {
    /// The agent that gets the listener of the process's filter.
    pub fn listener(&self) -> Option<&Listener> {
        self.seccomp.as_ref().and_then(|filter| filter.listener.as_ref())
    }

    /// Whether the limit could make a step before execve fail: these need a few open files, the memory of the runtime, of
    /// which init is a copy, and the thread that sends a listener.
    pub fn is_in_the_way(&self, limit: &Rlimit) -> bool {
        let enough = match limit.resource {
            libc::RLIMIT_NOFILE => 64,
            libc::RLIMIT_AS | libc::RLIMIT_DATA => 64 << 20,
            libc::RLIMIT_STACK => 1 << 20,
            // It counts all processes of the user, so no number is certainly enough.
            libc::RLIMIT_NPROC if self.listener().is_some() => u64::MAX,
            _ => 0,
        };
        limit.soft < enough
    }
}

#[derive(Debug, Clone)]
pub struct Rlimit {
    /// Its index in `process.rlimits`.
    pub index: usize,
    /// Its name in the config.
    pub name: String,
    /// `RLIMIT_*`.
    pub resource: Resource,
    pub soft: u64,
    pub hard: u64,
}

/// The scheduling of the process and of its I/O.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// The argument of sched_setattr(2).
    pub scheduler: Option<SchedAttr>,
    pub io: Option<IoPriority>,
    /// The CPUs of a process that joins a container: before and after it has joined the cgroup.
    pub exec_initial: Option<CpuList>,
    pub exec_final: Option<CpuList>,
}

/// ioprio_set(2): class and level in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority(pub u16);

/// The arguments of set_mempolicy(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*` with `MPOL_F_*`.
    pub mode: i32,
    /// The mode's name in the config.
    pub name: String,
    pub nodes: CpuList,
}

/// The first descriptors after the standard three, as passed by systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    pub count: u32,
    /// `LISTEN_FDNAMES`: their names, separated by colons.
    pub names: Option<CString>,
}

/// The five sets of capabilities(7), with one bit for each capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}
