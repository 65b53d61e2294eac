//! bpf(2), as far as device programs need it. No limit on locked memory is raised: kernels since 5.11 charge programs
//! to the memory cgroup instead.

use std::borrow::Cow;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Arg, Call, SysError, SysResult, Syscall, check, own};

const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_ATTACH: u32 = 8;
const BPF_PROG_DETACH: u32 = 9;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// The programs of cgroups below and above are asked too; all must agree.
const BPF_F_ALLOW_MULTI: u32 = 2;
/// One program takes the place of another at once.
const BPF_F_REPLACE: u32 = 4;
const BPF_PROG_GET_FD_BY_ID: u32 = 13;
const BPF_OBJ_GET_INFO_BY_FD: u32 = 15;
const BPF_PROG_QUERY: u32 = 16;
/// The name that device programs are loaded with.
const NAME: [u8; 16] = *b"orlop_devices\0\0\0";

/// The part of union bpf_attr for BPF_PROG_LOAD, up to its name.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The part of union bpf_attr for BPF_PROG_ATTACH.
#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The part of union bpf_attr for BPF_PROG_QUERY.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// The part of union bpf_attr for BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
#[derive(Default)]
struct IdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The part of union bpf_attr for BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// struct bpf_prog_info up to the name; the rest is not asked for.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    before: [u64; 8],
    name: [u8; 16],
}

fn bpf<T>(command: u32, attributes: &mut T) -> libc::c_long {
    // SAFETY: the attributes, and what their pointers name, outlive the call; the size is their own.
    unsafe { libc::syscall(libc::SYS_bpf, command, attributes as *mut T, std::mem::size_of::<T>()) }
}

/// `bpf(BPF_PROG_LOAD)` of a device program, whose instructions have their little end first. If the verifier refuses it, its last words are in the error.
pub fn load_cgroup_device(program: &[u64]) -> SysResult<OwnedFd> {
    let program: Cow<[u64]> = if cfg!(target_endian = "big") {
        program.iter().copied().map(big_endian).collect()
    } else {
        program.into()
    };
    let mut attributes = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        prog_name: NAME,
        ..LoadAttr::default()
    };
    let fd = bpf(BPF_PROG_LOAD, &mut attributes);
    let first = Errno::last();
    if fd >= 0 {
        return Ok(own(fd));
    }
    let mut log = vec![0u8; 64 << 10];
    // EPERM comes before the verifier. The verifier refuses with several other errnos.
    if first != Errno::EPERM {
        attributes.log_level = 1;
        attributes.log_size = log.len() as u32;
        attributes.log_buf = log.as_mut_ptr() as u64;
        let fd = bpf(BPF_PROG_LOAD, &mut attributes);
        if fd >= 0 {
            return Ok(own(fd));
        }
    }
    let args = vec![Arg::word("BPF_PROG_LOAD"), Arg::Count(program.len(), "instructions")];
    Err(SysError::new(
        Call::new(Syscall::Bpf, args).with(last_words(&log)),
        first,
    ))
}

/// An instruction as big-endian kernels read it. The fields stand in the same order (struct bpf_insn), but each has its
/// big end first, and so have the two halves of the byte of registers.
fn big_endian(instruction: u64) -> u64 {
    let [opcode, registers, offset_low, offset_high, i0, i1, i2, i3] = instruction.to_le_bytes();
    u64::from_be_bytes([
        opcode,
        registers.rotate_left(4),
        offset_high,
        offset_low,
        i3,
        i2,
        i1,
        i0,
    ])
}

/// The last lines of the verifier's log.
fn last_words(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text
        .trim_end_matches('\0')
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    match lines.get(lines.len().saturating_sub(3)..) {
        Some(last @ [_, ..]) => last.join("; "),
        _ => String::new(),
    }
}

/// `bpf(BPF_PROG_ATTACH)` of a device program to a cgroup.
pub fn attach_cgroup_device(cgroup: BorrowedFd, program: BorrowedFd) -> SysResult<()> {
    let mut attributes = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
        ..AttachAttr::default()
    };
    check!(
        bpf(BPF_PROG_ATTACH, &mut attributes),
        Bpf,
        Arg::word("BPF_PROG_ATTACH"),
        Arg::word("BPF_CGROUP_DEVICE")
    )
    .map(drop)
}

/// `bpf(BPF_PROG_ATTACH, BPF_F_REPLACE)`: a device program in the place of another that is attached to the cgroup.
pub fn replace_cgroup_device(cgroup: BorrowedFd, program: BorrowedFd, old: BorrowedFd) -> SysResult<()> {
    let mut attributes = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | BPF_F_REPLACE,
        replace_bpf_fd: old.as_raw_fd() as u32,
    };
    check!(
        bpf(BPF_PROG_ATTACH, &mut attributes),
        Bpf,
        Arg::word("BPF_PROG_ATTACH"),
        Arg::word("BPF_CGROUP_DEVICE"),
        Arg::word("BPF_F_REPLACE")
    )
    .map(drop)
}

/// `bpf(BPF_PROG_DETACH)` of a device program from the cgroup that it was attached to.
pub fn detach_cgroup_device(cgroup: BorrowedFd, program: BorrowedFd) -> SysResult<()> {
    let mut attributes = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        ..AttachAttr::default()
    };
    check!(
        bpf(BPF_PROG_DETACH, &mut attributes),
        Bpf,
        Arg::word("BPF_PROG_DETACH"),
        Arg::word("BPF_CGROUP_DEVICE")
    )
    .map(drop)
}

/// The device programs that were loaded by [`load_cgroup_device`] and are attached to this very cgroup
/// (`bpf(BPF_PROG_QUERY)` and the calls that ask for a program's name).
pub fn attached_cgroup_devices(cgroup: BorrowedFd) -> SysResult<Vec<OwnedFd>> {
    let mut ids = [0u32; 64];
    let mut query = QueryAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        ..QueryAttr::default()
    };
    check!(
        bpf(BPF_PROG_QUERY, &mut query),
        Bpf,
        Arg::word("BPF_PROG_QUERY"),
        Arg::word("BPF_CGROUP_DEVICE")
    )?;
    let mut own = Vec::new();
    for id in ids.into_iter().filter(|id| *id != 0) {
        let mut by_id = IdAttr {
            prog_id: id,
            ..IdAttr::default()
        };
        let program = check!(
            bpf(BPF_PROG_GET_FD_BY_ID, &mut by_id),
            Bpf,
            Arg::word("BPF_PROG_GET_FD_BY_ID"),
            id
        )
        .map(super::own)?;
        let mut info = ProgramInfo::default();
        let mut asked = InfoAttr {
            bpf_fd: program.as_raw_fd() as u32,
            info_len: std::mem::size_of::<ProgramInfo>() as u32,
            info: &raw mut info as u64,
        };
        check!(
            bpf(BPF_OBJ_GET_INFO_BY_FD, &mut asked),
            Bpf,
            Arg::word("BPF_OBJ_GET_INFO_BY_FD")
        )?;
        if info.name == NAME {
            own.push(program);
        }
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_s_last_words_are_in_their_order() {
        assert_eq!(last_words(&[0; 16]), "");
        assert_eq!(last_words(b"\n\n\0\0"), "");
        assert_eq!(last_words(b"R0 !read_ok\n\0\0"), "R0 !read_ok");
        assert_eq!(last_words(b"a\nb\n\nc\nd\n\0"), "b; c; d");
    }

    #[test]
    fn an_instruction_s_fields_stay_in_their_order() {
        // JEQ32_IMM of register 3 (source 5), offset 0x0102, immediate 0x0a0b0c0d.
        let little = u64::from_le_bytes([0x16, 0x53, 0x02, 0x01, 0x0d, 0x0c, 0x0b, 0x0a]);
        let big = [0x16, 0x35, 0x01, 0x02, 0x0a, 0x0b, 0x0c, 0x0d];
        assert_eq!(big_endian(little).to_be_bytes(), big);
    }

    #[test]
    fn a_refused_program_is_explained() {
        // Returns a register that was never set.
        let error = load_cgroup_device(&[0x95]).unwrap_err();
        if error.errno == Errno::EPERM {
            // Without the privilege the verifier is not asked.
            assert_eq!(error.call.said, "");
        } else {
            assert!(error.call.said.contains("R0 !read_ok"), "{error}");
        }
    }
}
