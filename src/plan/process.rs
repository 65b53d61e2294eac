//! The container's process.

use std::ffi::CString;
use std::path::PathBuf;

use super::seccomp::{Listener, Seccomp};
use crate::cpu_list::CpuList;
use crate::sys::process::Resource;
use crate::sys::sched::SchedAttr;

/// Who the process is and what it runs: one structure for init and for exec, so that neither can forget a part.
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
    /// The supplementary groups stay the caller's.
    pub keep_groups: bool,
    /// Unset leaves the caller's, as the spec says.
    pub umask: Option<u32>,
    pub rlimits: Vec<Rlimit>,
    /// Unset leaves the caller's, as the spec says.
    pub oom_score_adj: Option<i32>,
    pub no_new_privileges: bool,
    pub capabilities: Capabilities,
    pub scheduling: Scheduling,
    /// `linux.memoryPolicy`, which is a property of the process and of what it starts.
    pub memory_policy: Option<MemoryPolicy>,
    /// `PER_*`, see personality(2); none leaves the caller's.
    pub personality: Option<u32>,
    /// The AppArmor profile that the execve changes to.
    pub apparmor_profile: Option<String>,
    /// The SELinux label that the execve changes to.
    pub selinux_label: Option<String>,
    /// Set from outside, because in a user namespace the file belongs to a user that is not mapped.
    pub oom_score_from_outside: bool,
    /// Resource limits, scheduler and I/O priority are set from outside: raising them needs privilege on the host, which
    /// a process in a user namespace has not and the runtime has.
    pub limits_from_outside: bool,
    /// Descriptors after the standard three that the process keeps, those of [`Process::activation`] among them.
    pub preserve_fds: u32,
    /// Sockets that systemd handed to the runtime for the process, see sd_listen_fds(3).
    pub activation: Option<Activation>,
    /// Its sd_notify(3) messages are wanted.
    pub notify: bool,
    /// A session keyring of its own; not with `--no-new-keyring`.
    pub new_keyring: bool,
    pub seccomp: Option<Seccomp>,
}

impl Process {
    /// Who is to get the listener of the process's filter.
    pub fn listener(&self) -> Option<&Listener> {
        self.seccomp.as_ref().and_then(|filter| filter.listener.as_ref())
    }

    /// Whether what the process does on its way to its program could fail for this limit: a few open files, the memory of
    /// the runtime, of which init is a copy, and the thread that hands a listener over.
    pub fn is_in_the_way(&self, limit: &Rlimit) -> bool {
        let enough = match limit.resource {
            libc::RLIMIT_NOFILE => 64,
            libc::RLIMIT_AS | libc::RLIMIT_DATA => 64 << 20,
            libc::RLIMIT_STACK => 1 << 20,
            // Of all processes of the user's, so that no number is enough.
            libc::RLIMIT_NPROC if self.listener().is_some() => u64::MAX,
            _ => 0,
        };
        limit.soft < enough
    }
}

#[derive(Debug, Clone)]
pub struct Rlimit {
    /// Its place in `process.rlimits`.
    pub index: usize,
    /// Its name in the config.
    pub name: String,
    /// `RLIMIT_*`.
    pub resource: Resource,
    pub soft: u64,
    pub hard: u64,
}

/// When the process runs and when its input and output do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// What sched_setattr(2) gets.
    pub scheduler: Option<SchedAttr>,
    pub io: Option<IoPriority>,
    /// The processors of a process that joins a container: on its way there, and there.
    pub exec_initial: Option<CpuList>,
    pub exec_final: Option<CpuList>,
}

/// ioprio_set(2): class and level in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority(pub u16);

/// What set_mempolicy(2) gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*` with `MPOL_F_*`.
    pub mode: i32,
    /// The mode's name in the config.
    pub name: String,
    pub nodes: CpuList,
}

/// The first descriptors after the standard three, as systemd counts and names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// How many they are.
    pub count: u32,
    /// `LISTEN_FDNAMES`, their names with colons between them.
    pub names: Option<CString>,
}

/// The five sets of capabilities(7), one bit a capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}
