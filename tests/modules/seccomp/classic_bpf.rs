//! An interpreter for the subset of classic BPF that seccomp(2) accepts, and the kernel's checks (seccomp_check_filter and
//! bpf_check_classic): every instruction is known, every jump stays inside, every path ends in a return.

use ::seccompiler::sock_filter;

use orlop::security::seccomp::assemble::{AND, JA, JEQ, JGE, JGT, JSET, LD, RET};

/// struct seccomp_data.
#[derive(Debug, Clone, Copy)]
pub struct Data {
    pub nr: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

const LD_IMMEDIATE: u16 = 0x00;

/// Panics if the kernel would reject the program.
pub fn check(program: &[sock_filter]) {
    let length = program.len();
    assert!((1..=4096).contains(&length), "{length} instructions");
    for (index, insn) in program.iter().enumerate() {
        let rest = length - index - 1;
        match insn.code {
            LD => assert!(insn.k % 4 == 0 && insn.k < 64, "{index}: load of {}", insn.k),
            AND | RET | LD_IMMEDIATE => {}
            JA => assert!((insn.k as usize) < rest, "{index}: jump out"),
            JEQ | JGT | JGE | JSET => {
                assert!(usize::from(insn.jt.max(insn.jf)) < rest, "{index}: jump out")
            }
            code => panic!("{index}: instruction {code:#x}"),
        }
    }
    assert_eq!(program[length - 1].code, RET, "falls off the end");
}

/// Runs a program. Returns its result and the number of executed instructions. `little`: the data is little-endian.
pub fn run(program: &[sock_filter], data: &Data, little: bool) -> (u32, usize) {
    let word = |offset: u32| -> u32 {
        match offset {
            0 => data.nr,
            4 => data.arch,
            8 | 12 => 0,
            offset => {
                let argument = data.args[(offset as usize - 16) / 8];
                let first = offset % 8 == 0;
                if first == little {
                    argument as u32
                } else {
                    (argument >> 32) as u32
                }
            }
        }
    };
    let (mut at, mut accumulator, mut steps) = (0, 0u32, 0);
    loop {
        let insn = &program[at];
        steps += 1;
        at += 1;
        let jump = |condition: bool| usize::from(if condition { insn.jt } else { insn.jf });
        match insn.code {
            LD => accumulator = word(insn.k),
            LD_IMMEDIATE => accumulator = insn.k,
            AND => accumulator &= insn.k,
            JA => at += insn.k as usize,
            JEQ => at += jump(accumulator == insn.k),
            JGT => at += jump(accumulator > insn.k),
            JGE => at += jump(accumulator >= insn.k),
            JSET => at += jump(accumulator & insn.k != 0),
            RET => return (insn.k, steps),
            code => panic!("instruction {code:#x}"),
        }
    }
}

/// Whether the kernel recognizes that a number is always allowed (seccomp_is_const_allow in kernel/seccomp.c). It runs the
/// program with only the number and the architecture.
pub fn is_always_allowed(program: &[sock_filter], nr: u32, arch: u32) -> bool {
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let insn = &program[at];
        at += 1;
        let jump = |condition: bool| usize::from(if condition { insn.jt } else { insn.jf });
        match insn.code {
            LD if insn.k == 0 => accumulator = nr,
            LD if insn.k == 4 => accumulator = arch,
            AND => accumulator &= insn.k,
            JA => at += insn.k as usize,
            JEQ => at += jump(accumulator == insn.k),
            JGT => at += jump(accumulator > insn.k),
            JGE => at += jump(accumulator >= insn.k),
            JSET => at += jump(accumulator & insn.k != 0),
            RET => return insn.k == 0x7fff_0000,
            _ => return false,
        }
    }
}

/// Whether a program compares numbers without loading the number first.
pub fn compares_unloaded(program: &[sock_filter], data: &Data) -> bool {
    // The comparison with the architecture, and the instruction that follows it.
    let found = program
        .iter()
        .position(|insn| insn.code == JEQ && insn.k == data.arch)
        .expect("the architecture");
    let next = &program[found + 1 + usize::from(program[found].jt)];
    let next = match next.code {
        JA => &program[found + 2 + usize::from(program[found].jt) + next.k as usize],
        _ => next,
    };
    !(next.code == LD && next.k == 0 || next.code == RET)
}
