//! An interpreter of the part of eBPF that device programs use. It is strict: what the kernel's verifier would reject is a
//! [`Fault`], and so is any other instruction.
//!
//! See Documentation/bpf/standardization/instruction-set.rst in the kernel, and linux/bpf.h.

/// struct bpf_insn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    pub code: u8,
    pub dst: u8,
    pub src: u8,
    pub off: i16,
    pub imm: i32,
}

impl Insn {
    /// From the eight bytes in memory: code, two nibbles of registers (destination low), offset, immediate.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        let [code, registers, o0, o1, i0, i1, i2, i3] = bytes;
        Insn {
            code,
            dst: registers & 0xf,
            src: registers >> 4,
            off: i16::from_le_bytes([o0, o1]),
            imm: i32::from_le_bytes([i0, i1, i2, i3]),
        }
    }

    fn is_exit(self) -> bool {
        self.code == 0x95
    }

    fn is_always(self) -> bool {
        self.code == 0x05
    }

    fn is_jump(self) -> bool {
        matches!(self.code & 0x7, 0x05 | 0x06) && !self.is_exit()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    UnknownOpcode(u8),
    /// A field that the instruction does not use is not zero.
    ReservedField,
    NoSuchRegister(u8),
    /// Only the frame pointer is read-only.
    ReadOnlyRegister,
    Uninitialised(u8),
    /// Arithmetic or a comparison on the address of the context.
    PointerArithmetic,
    /// A load through something that is not the context.
    NotAPointer,
    OutOfContext(i16),
    JumpOutOfBounds,
    BackwardJump,
    Unreachable(usize),
    FellOffTheEnd,
    /// A device program answers 0 or 1.
    Answer(u64),
}

/// struct bpf_cgroup_dev_ctx: `access << 16 | type`, major, minor.
pub type Context = [u32; 3];

#[derive(Clone, Copy)]
enum Register {
    Uninitialised,
    Context,
    Number(u64),
}

/// Checks what the verifier checks before it follows any path: fields, registers, jumps, and that no instruction is unreachable.
pub fn verify(program: &[Insn]) -> Result<(), Fault> {
    let mut reached = vec![false; program.len()];
    let mut to_visit = vec![0usize];
    for (at, insn) in program.iter().enumerate() {
        well_formed(*insn)?;
        if insn.is_jump() {
            target(program, at)?;
        }
    }
    while let Some(at) = to_visit.pop() {
        let insn = *program.get(at).ok_or(Fault::FellOffTheEnd)?;
        if std::mem::replace(&mut reached[at], true) || insn.is_exit() {
            continue;
        }
        if insn.is_jump() {
            to_visit.push(target(program, at)?);
        }
        if !insn.is_always() {
            to_visit.push(at + 1);
        }
    }
    match reached.iter().position(|reached| !reached) {
        Some(dead) => Err(Fault::Unreachable(dead)),
        None => Ok(()),
    }
}

fn target(program: &[Insn], at: usize) -> Result<usize, Fault> {
    let offset = program[at].off;
    if offset < 0 {
        return Err(Fault::BackwardJump);
    }
    let target = at + 1 + offset as usize;
    if target < program.len() {
        Ok(target)
    } else {
        Err(Fault::JumpOutOfBounds)
    }
}

fn well_formed(insn: Insn) -> Result<(), Fault> {
    // (destination used, source used, offset used, immediate used)
    let (dst, src, off, imm) = match insn.code {
        0x61 => (true, true, true, false), // r = *(u32 *)(r + off)
        0xb4 | 0x54 | 0x64 | 0x74 | 0xa4 => (true, false, false, true), // w = imm, w &= imm, w <<= imm, w >>= imm, w ^= imm
        0xbc | 0x4c => (true, true, false, false),                      // w = w, w |= w
        0x16 | 0x56 | 0x46 => (true, false, true, true),                // if w == imm, if w != imm, if w & imm
        0x05 => (false, false, true, false),                            // goto
        0x95 => (false, false, false, false),                           // exit
        other => return Err(Fault::UnknownOpcode(other)),
    };
    if !dst && insn.dst != 0 || !src && insn.src != 0 || !off && insn.off != 0 || !imm && insn.imm != 0 {
        return Err(Fault::ReservedField);
    }
    if matches!(insn.code, 0x64 | 0x74) && !(0..32).contains(&insn.imm) {
        return Err(Fault::ReservedField);
    }
    if let Some(register) = [insn.dst, insn.src].into_iter().find(|register| *register > 10) {
        return Err(Fault::NoSuchRegister(register));
    }
    if matches!(insn.code & 0x7, 0x01 | 0x04) && insn.dst == 10 {
        return Err(Fault::ReadOnlyRegister);
    }
    Ok(())
}

/// Runs a program for one context. Jumps only lead forward, so it ends.
pub fn run(program: &[Insn], context: Context) -> Result<bool, Fault> {
    let mut registers = [Register::Uninitialised; 11];
    registers[1] = Register::Context;
    let mut at = 0;
    loop {
        let insn = *program.get(at).ok_or(Fault::FellOffTheEnd)?;
        well_formed(insn)?;
        let number = |register: u8| match registers[usize::from(register)] {
            Register::Uninitialised => Err(Fault::Uninitialised(register)),
            Register::Context => Err(Fault::PointerArithmetic),
            Register::Number(number) => Ok(number),
        };
        let immediate = insn.imm as u32;
        // 32-bit instructions use the lower half, and zero the upper half of their result.
        let result = match insn.code {
            0x61 => match registers[usize::from(insn.src)] {
                Register::Uninitialised => return Err(Fault::Uninitialised(insn.src)),
                Register::Number(_) => return Err(Fault::NotAPointer),
                Register::Context => match insn.off {
                    0 => context[0],
                    4 => context[1],
                    8 => context[2],
                    other => return Err(Fault::OutOfContext(other)),
                },
            },
            0xb4 => immediate,
            0xbc => number(insn.src)? as u32,
            0x54 => number(insn.dst)? as u32 & immediate,
            0x64 => (number(insn.dst)? as u32) << immediate,
            0x74 => number(insn.dst)? as u32 >> immediate,
            0xa4 => number(insn.dst)? as u32 ^ immediate,
            0x4c => number(insn.dst)? as u32 | number(insn.src)? as u32,
            0x16 | 0x56 | 0x46 | 0x05 => {
                let taken = match insn.code {
                    0x16 => number(insn.dst)? as u32 == immediate,
                    0x56 => number(insn.dst)? as u32 != immediate,
                    0x46 => number(insn.dst)? as u32 & immediate != 0,
                    _ => true,
                };
                let there = target(program, at)?;
                at = if taken { there } else { at + 1 };
                continue;
            }
            0x95 => {
                return match number(0)? {
                    0 => Ok(false),
                    1 => Ok(true),
                    other => Err(Fault::Answer(other)),
                };
            }
            other => return Err(Fault::UnknownOpcode(other)),
        };
        registers[usize::from(insn.dst)] = Register::Number(u64::from(result));
        at += 1;
    }
}
