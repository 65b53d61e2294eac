//! The names of flags and constants, as errors print them.

use std::fmt::{Formatter, Result};

use nix::sys::signal::Signal;

use super::namespace::NAMESPACES;

/// Names of flags or of constants, with their values.
pub(super) type Names = [(u64, &'static str)];

/// The type of `RLIMIT_*`: an enum of C in glibc, an int elsewhere.
#[cfg(target_env = "gnu")]
pub type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
pub type Resource = libc::c_int;

/// linux/sched.h
pub(super) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// linux/mount.h
pub(super) const OPEN_TREE_CLONE: u32 = 1;
pub(super) const OPEN_TREE_NAMESPACE: u32 = 2;

/// `AT_*` of fcntl.h, and the flags of open_tree(2) beside them.
pub(super) const AT: &Names = &[
    (OPEN_TREE_CLONE as u64, "OPEN_TREE_CLONE"),
    (OPEN_TREE_NAMESPACE as u64, "OPEN_TREE_NAMESPACE"),
    (libc::AT_RECURSIVE as u64, "AT_RECURSIVE"),
    (libc::AT_SYMLINK_NOFOLLOW as u64, "AT_SYMLINK_NOFOLLOW"),
    (libc::AT_EMPTY_PATH as u64, "AT_EMPTY_PATH"),
];

/// `MOUNT_ATTR_*` of linux/mount.h. The mask of all access time modes comes before the modes, whose bits it has.
pub(super) const MOUNT_ATTRIBUTES: &Names = &[
    (libc::MOUNT_ATTR_RDONLY, "MOUNT_ATTR_RDONLY"),
    (libc::MOUNT_ATTR_NOSUID, "MOUNT_ATTR_NOSUID"),
    (libc::MOUNT_ATTR_NODEV, "MOUNT_ATTR_NODEV"),
    (libc::MOUNT_ATTR_NOEXEC, "MOUNT_ATTR_NOEXEC"),
    (libc::MOUNT_ATTR__ATIME, "MOUNT_ATTR__ATIME"),
    (libc::MOUNT_ATTR_NOATIME, "MOUNT_ATTR_NOATIME"),
    (libc::MOUNT_ATTR_STRICTATIME, "MOUNT_ATTR_STRICTATIME"),
    (libc::MOUNT_ATTR_NODIRATIME, "MOUNT_ATTR_NODIRATIME"),
    (libc::MOUNT_ATTR_IDMAP, "MOUNT_ATTR_IDMAP"),
    (libc::MOUNT_ATTR_NOSYMFOLLOW, "MOUNT_ATTR_NOSYMFOLLOW"),
];

/// `MS_*` of linux/mount.h.
pub(super) const MOUNT: &Names = &[
    (libc::MS_RDONLY, "MS_RDONLY"),
    (libc::MS_NOSUID, "MS_NOSUID"),
    (libc::MS_NODEV, "MS_NODEV"),
    (libc::MS_NOEXEC, "MS_NOEXEC"),
    (libc::MS_SYNCHRONOUS, "MS_SYNCHRONOUS"),
    (libc::MS_MANDLOCK, "MS_MANDLOCK"),
    (libc::MS_DIRSYNC, "MS_DIRSYNC"),
    (libc::MS_NOSYMFOLLOW, "MS_NOSYMFOLLOW"),
    (libc::MS_NOATIME, "MS_NOATIME"),
    (libc::MS_NODIRATIME, "MS_NODIRATIME"),
    (libc::MS_BIND, "MS_BIND"),
    (libc::MS_REC, "MS_REC"),
    (libc::MS_SILENT, "MS_SILENT"),
    (libc::MS_UNBINDABLE, "MS_UNBINDABLE"),
    (libc::MS_PRIVATE, "MS_PRIVATE"),
    (libc::MS_SLAVE, "MS_SLAVE"),
    (libc::MS_SHARED, "MS_SHARED"),
    (libc::MS_RELATIME, "MS_RELATIME"),
    (libc::MS_STRICTATIME, "MS_STRICTATIME"),
    (libc::MS_LAZYTIME, "MS_LAZYTIME"),
];

/// `RLIMIT_*`, whose numbers differ between machines.
pub(super) const RESOURCES: &Names = &[
    (libc::RLIMIT_AS as u64, "RLIMIT_AS"),
    (libc::RLIMIT_CORE as u64, "RLIMIT_CORE"),
    (libc::RLIMIT_CPU as u64, "RLIMIT_CPU"),
    (libc::RLIMIT_DATA as u64, "RLIMIT_DATA"),
    (libc::RLIMIT_FSIZE as u64, "RLIMIT_FSIZE"),
    (libc::RLIMIT_LOCKS as u64, "RLIMIT_LOCKS"),
    (libc::RLIMIT_MEMLOCK as u64, "RLIMIT_MEMLOCK"),
    (libc::RLIMIT_MSGQUEUE as u64, "RLIMIT_MSGQUEUE"),
    (libc::RLIMIT_NICE as u64, "RLIMIT_NICE"),
    (libc::RLIMIT_NOFILE as u64, "RLIMIT_NOFILE"),
    (libc::RLIMIT_NPROC as u64, "RLIMIT_NPROC"),
    (libc::RLIMIT_RSS as u64, "RLIMIT_RSS"),
    (libc::RLIMIT_RTPRIO as u64, "RLIMIT_RTPRIO"),
    (libc::RLIMIT_RTTIME as u64, "RLIMIT_RTTIME"),
    (libc::RLIMIT_SIGPENDING as u64, "RLIMIT_SIGPENDING"),
    (libc::RLIMIT_STACK as u64, "RLIMIT_STACK"),
];

/// `SCHED_*` of linux/sched.h.
pub(super) const POLICIES: &Names = &[
    (0, "SCHED_OTHER"),
    (1, "SCHED_FIFO"),
    (2, "SCHED_RR"),
    (3, "SCHED_BATCH"),
    (4, "SCHED_ISO"),
    (5, "SCHED_IDLE"),
    (6, "SCHED_DEADLINE"),
];

/// `SCHED_FLAG_*` of linux/sched.h.
pub(super) const POLICY_FLAGS: &Names = &[
    (0x01, "SCHED_FLAG_RESET_ON_FORK"),
    (0x02, "SCHED_FLAG_RECLAIM"),
    (0x04, "SCHED_FLAG_DL_OVERRUN"),
    (0x08, "SCHED_FLAG_KEEP_POLICY"),
    (0x10, "SCHED_FLAG_KEEP_PARAMS"),
    (0x20, "SCHED_FLAG_UTIL_CLAMP_MIN"),
    (0x40, "SCHED_FLAG_UTIL_CLAMP_MAX"),
];

/// `IOPRIO_CLASS_*` of linux/ioprio.h.
pub(super) const IO_CLASSES: &Names = &[
    (0, "IOPRIO_CLASS_NONE"),
    (1, "IOPRIO_CLASS_RT"),
    (2, "IOPRIO_CLASS_BE"),
    (3, "IOPRIO_CLASS_IDLE"),
];

/// `PER_*` of linux/personality.h.
pub(super) const PERSONALITIES: &Names = &[(0, "PER_LINUX"), (8, "PER_LINUX32")];

/// `SECCOMP_FILTER_FLAG_*` of linux/seccomp.h.
pub(super) const FILTER: &Names = &[
    (0x01, "SECCOMP_FILTER_FLAG_TSYNC"),
    (0x02, "SECCOMP_FILTER_FLAG_LOG"),
    (0x04, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
    (0x08, "SECCOMP_FILTER_FLAG_NEW_LISTENER"),
    (0x10, "SECCOMP_FILTER_FLAG_TSYNC_ESRCH"),
    (0x20, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
];

/// The `MPOL_*` modes of linux/mempolicy.h, of which there is always one.
const MEMORY_POLICIES: &Names = &[
    (0, "MPOL_DEFAULT"),
    (1, "MPOL_PREFERRED"),
    (2, "MPOL_BIND"),
    (3, "MPOL_INTERLEAVE"),
    (4, "MPOL_LOCAL"),
    (5, "MPOL_PREFERRED_MANY"),
    (6, "MPOL_WEIGHTED_INTERLEAVE"),
];

/// `MPOL_F_*` of linux/mempolicy.h, in the same number as the mode.
const MEMORY_POLICY_FLAGS: &Names = &[
    (1 << 13, "MPOL_F_NUMA_BALANCING"),
    (1 << 14, "MPOL_F_RELATIVE_NODES"),
    (1 << 15, "MPOL_F_STATIC_NODES"),
];

/// Flags beside the access mode of open(2).
const OPEN: &Names = &[
    (libc::O_CREAT as u64, "O_CREAT"),
    (libc::O_EXCL as u64, "O_EXCL"),
    (libc::O_TRUNC as u64, "O_TRUNC"),
    (libc::O_DIRECTORY as u64, "O_DIRECTORY"),
    (libc::O_NOFOLLOW as u64, "O_NOFOLLOW"),
];

/// Prints the names of all flags that are set, and the rest as a number.
pub(super) fn flags(f: &mut Formatter, names: &Names, value: u64) -> Result {
    let mut rest = value;
    let mut separator = "";
    for (bits, name) in names {
        if rest & bits == *bits {
            write!(f, "{separator}{name}")?;
            rest &= !bits;
            separator = "|";
        }
    }
    match rest {
        0 => Ok(()),
        rest => write!(f, "{separator}{rest:#x}"),
    }
}

/// Prints the name of a constant, or its number where it has none.
pub(super) fn constant(f: &mut Formatter, names: &Names, value: u64) -> Result {
    match names.iter().find(|(known, _)| *known == value) {
        Some((_, name)) => f.write_str(name),
        None => write!(f, "{value:#x}"),
    }
}

pub(super) fn open_flags(f: &mut Formatter, value: i32) -> Result {
    f.write_str(match value & libc::O_ACCMODE {
        _ if value & libc::O_PATH != 0 => "O_PATH",
        libc::O_WRONLY => "O_WRONLY",
        libc::O_RDWR => "O_RDWR",
        _ => "O_RDONLY",
    })?;
    for (bits, name) in OPEN {
        if value as u64 & bits == *bits {
            write!(f, "|{name}")?;
        }
    }
    Ok(())
}

pub(super) fn clone_flags(f: &mut Formatter, value: u64) -> Result {
    let mut separator = "";
    let mut put = |f: &mut Formatter, bits: u64, name: &str| {
        if value & bits == 0 {
            return Ok(());
        }
        write!(f, "{separator}{name}")?;
        separator = "|";
        Ok(())
    };
    for kind in &NAMESPACES {
        put(f, kind.flag, kind.clone_flag)?;
    }
    put(f, libc::CLONE_PARENT as u64, "CLONE_PARENT")?;
    put(f, CLONE_INTO_CGROUP, "CLONE_INTO_CGROUP")?;
    match separator {
        // What a fork says.
        "" => f.write_str("SIGCHLD"),
        _ => Ok(()),
    }
}

pub(super) fn signal(f: &mut Formatter, number: i32) -> Result {
    /// The first real-time signal of the kernel's range.
    const SIGRTMIN: i32 = 34;
    match Signal::try_from(number) {
        Ok(signal) => f.write_str(signal.as_str()),
        Err(_) if (SIGRTMIN..=64).contains(&number) => write!(f, "SIGRTMIN+{}", number - SIGRTMIN),
        Err(_) => write!(f, "{number}"),
    }
}

pub(super) fn memory_policy(f: &mut Formatter, value: u64) -> Result {
    let set = MEMORY_POLICY_FLAGS.iter().filter(|(bit, _)| value & bit != 0);
    let mode = set.clone().fold(value, |mode, (bit, _)| mode & !bit);
    constant(f, MEMORY_POLICIES, mode)?;
    for (_, name) in set {
        write!(f, "|{name}")?;
    }
    Ok(())
}

pub(super) fn capability(f: &mut Formatter, number: u32) -> Result {
    let known = caps::all().into_iter();
    match known.into_iter().find(|known| u32::from(known.index()) == number) {
        Some(capability) => write!(f, "{capability}"),
        None => write!(f, "{number}"),
    }
}
