//! When a process runs, where its memory lies, and as which kind of machine it sees itself.

use super::{Arg, SysResult, check};

/// What sched_setattr(2) sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_*`
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    /// Nanoseconds, as the two below.
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// struct sched_attr of linux/sched/types.h, version 1 (with the utilization clamps).
#[repr(C)]
#[derive(Default)]
struct RawSchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// `sched_setattr(2)` of a process; 0 is the caller.
pub fn sched_setattr(pid: i32, attr: &SchedAttr) -> SysResult<()> {
    let raw = RawSchedAttr {
        size: std::mem::size_of::<RawSchedAttr>() as u32,
        policy: attr.policy,
        flags: attr.flags,
        nice: attr.nice,
        priority: attr.priority,
        runtime: attr.runtime,
        deadline: attr.deadline,
        period: attr.period,
        util_min: 0,
        util_max: 0,
    };
    check!(
        // SAFETY: the structure carries its own size and outlives the call.
        unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw, 0) },
        SchedSetattr,
        Arg::Policy(attr.policy),
        Arg::PolicyFlags(attr.flags),
        Arg::named("nice", attr.nice),
        Arg::named("priority", attr.priority),
        Arg::named("runtime", attr.runtime),
        Arg::named("deadline", attr.deadline),
        Arg::named("period", attr.period)
    )
    .map(drop)
}

/// `sched_getattr(2)` of a process; 0 is the caller.
pub fn sched_getattr(pid: i32) -> SysResult<SchedAttr> {
    let mut raw = RawSchedAttr::default();
    let size = std::mem::size_of::<RawSchedAttr>();
    check!(
        // SAFETY: the structure is valid for writes of its size, and outlives the call.
        unsafe { libc::syscall(libc::SYS_sched_getattr, pid, &mut raw, size, 0) },
        SchedGetattr,
        pid
    )?;
    Ok(SchedAttr {
        policy: raw.policy,
        flags: raw.flags,
        nice: raw.nice,
        priority: raw.priority,
        runtime: raw.runtime,
        deadline: raw.deadline,
        period: raw.period,
    })
}

/// `ioprio_get(2)` of a process: class and level as one number.
pub fn ioprio_get(pid: i32) -> SysResult<u16> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, pid) },
        IoprioGet,
        pid
    )
    .map(|value| value as u16)
}

/// Whose priority [`ioprio_set`] sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoTarget {
    /// Every process of the caller's process group.
    OwnGroup,
    /// The one process of this pid.
    Process(i32),
}

/// `ioprio_set(2)`: class and level as one number (`IOPRIO_PRIO_VALUE`).
pub fn ioprio_set(target: IoTarget, value: u16) -> SysResult<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    const IOPRIO_WHO_PGRP: i32 = 2;
    let (which, who) = match target {
        IoTarget::OwnGroup => (IOPRIO_WHO_PGRP, 0),
        IoTarget::Process(pid) => (IOPRIO_WHO_PROCESS, pid),
    };
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::syscall(libc::SYS_ioprio_set, which, who, libc::c_int::from(value)) },
        IoprioSet,
        Arg::IoClass(value >> 13),
        Arg::named("level", u32::from(value & 7))
    )
    .map(drop)
}

/// `set_mempolicy(2)` of this process: an `MPOL_*` mode with its `MPOL_F_*` flags, and the nodes as a bit mask.
pub fn set_mempolicy(mode: i32, nodes: &[u64]) -> SysResult<()> {
    // The kernel reads one bit less than it is told (get_nodes in mm/mempolicy.c).
    let (mask, bits) = if nodes.is_empty() {
        (std::ptr::null(), 0)
    } else {
        (nodes.as_ptr(), nodes.len() * u64::BITS as usize + 1)
    };
    check!(
        // SAFETY: the mask is valid for the words that its length in bits names; the bit beyond is not read.
        unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) },
        SetMempolicy,
        Arg::MemoryPolicy(mode),
        nodes
    )
    .map(drop)
}

/// `personality(2)`: the execution domain (`PER_*`).
pub fn personality(domain: u32) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::personality(libc::c_ulong::from(domain)) },
        Personality,
        Arg::Personality(domain)
    )
    .map(drop)
}

/// `sched_setaffinity(2)` of this process to the processors of a bit mask.
pub fn set_affinity(processors: &[u64]) -> SysResult<()> {
    check!(
        // SAFETY: the mask is valid for its length.
        unsafe { libc::sched_setaffinity(0, std::mem::size_of_val(processors), processors.as_ptr().cast()) },
        SchedSetaffinity,
        processors
    )
    .map(drop)
}
