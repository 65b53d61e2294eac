//! The capabilities of this process, see capabilities(7).

use super::{Arg, SysResult, check};

/// Capabilities by their bits (linux/capability.h).
pub const DAC_OVERRIDE: u64 = 1 << 1;
pub const SYS_PTRACE: u64 = 1 << 19;
pub const SYS_ADMIN: u64 = 1 << 21;
pub const SYS_RESOURCE: u64 = 1 << 24;
pub const PERFMON: u64 = 1 << 38;

/// `prctl(PR_SET_KEEPCAPS)`: permitted capabilities survive the change to a non-root uid.
pub fn set_keep_capabilities(keep: bool) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(keep)) },
        Prctl,
        Arg::word("PR_SET_KEEPCAPS")
    )
    .map(drop)
}

/// `prctl(PR_CAPBSET_DROP)` of one capability number. A number the kernel does not know is `EINVAL`.
pub fn drop_bounding(capability: u32) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability as libc::c_ulong) },
        Prctl,
        Arg::word("PR_CAPBSET_DROP"),
        Arg::Capability(capability)
    )
    .map(drop)
}

/// Whether one capability number is in the bounding set; `None` past the last that the kernel knows.
pub fn in_bounding(capability: u32) -> Option<bool> {
    // SAFETY: no memory is passed.
    match unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability as libc::c_ulong) } {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// `prctl(PR_CAP_AMBIENT_RAISE)`.
pub fn raise_ambient(capability: u32) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe {
            libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong,
                capability as libc::c_ulong,
                0,
                0,
            )
        },
        Prctl,
        Arg::word("PR_CAP_AMBIENT_RAISE"),
        Arg::Capability(capability)
    )
    .map(drop)
}

/// `prctl(PR_CAP_AMBIENT_CLEAR_ALL)`.
pub fn clear_ambient() -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe {
            libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
                0,
                0,
                0,
            )
        },
        Prctl,
        Arg::word("PR_CAP_AMBIENT_CLEAR_ALL")
    )
    .map(drop)
}

/// The three capability sets of capset(2), one bit a capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// _LINUX_CAPABILITY_VERSION_3 of linux/capability.h.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// `capget(2)` of this process.
pub fn capget() -> SysResult<CapabilitySets> {
    let header = CapHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut data = [CapData::default(); 2];
    check!(
        // SAFETY: version 3 fills two CapData, which data has room for.
        unsafe { libc::syscall(libc::SYS_capget, &header, data.as_mut_ptr()) },
        Capget
    )?;
    let [low, high] = data;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(CapabilitySets {
        effective: join(low.effective, high.effective),
        permitted: join(low.permitted, high.permitted),
        inheritable: join(low.inheritable, high.inheritable),
    })
}

/// The names of the capabilities of a set, in the order of their numbers. One without a name is a number.
pub fn names(bits: u64) -> Vec<String> {
    let known = caps::all();
    let name = |number: u32| {
        let found = known.iter().find(|known| u32::from(known.index()) == number);
        found.map_or_else(|| number.to_string(), ToString::to_string)
    };
    (0..64).filter(|number| bits & 1 << number != 0).map(name).collect()
}

/// `capset(2)` of this process: all three sets in one call.
pub fn capset(sets: CapabilitySets) -> SysResult<()> {
    let header = CapHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let half = |shift: u32| CapData {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    check!(
        // SAFETY: version 3 reads two CapData, which data holds.
        unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) },
        Capset,
        Arg::named("effective", Arg::Hex(sets.effective)),
        Arg::named("permitted", Arg::Hex(sets.permitted)),
        Arg::named("inheritable", Arg::Hex(sets.inheritable))
    )
    .map(drop)
}
