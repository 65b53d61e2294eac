//! Printing profiles and programs for people.

use std::fmt::Write as _;

use nix::errno::Errno;

use super::arch::{Arch, X32_BIT};
use super::assemble::{AND, JA, JEQ, JGE, JGT, JSET, LD, RET};
use crate::plan::seccomp::{Action, Condition, Operator, Reason};
use crate::sys::seccomp::sock_filter;

/// The name of an action in the config, and of its errno.
pub fn action(action: Action) -> String {
    match (action.kind(), action.data()) {
        (Action::ERRNO, Some(number)) => match Errno::from_raw(number as i32) {
            Errno::UnknownErrno => format!("{} {number}", action.name()),
            errno => format!("{} {errno:?}", action.name()),
        },
        (_, Some(number)) => format!("{} {number}", action.name()),
        (_, None) => action.name().to_string(),
    }
}

pub fn reason(reason: Reason) -> String {
    match reason {
        Reason::Rule(index) => format!("syscalls[{index}]"),
        Reason::Default => "the default action".into(),
        Reason::Newer(newest) => format!("newer than {newest}, the newest call in the profile"),
        Reason::UnlistedArch => "the architecture is not listed".into(),
    }
}

pub fn condition(condition: &Condition) -> String {
    let Condition {
        argument, value, mask, ..
    } = condition;
    match condition.operator {
        Operator::MaskedEq => format!("args[{argument}] & {mask:#x} == {value:#x}"),
        Operator::Eq => format!("args[{argument}] == {value:#x}"),
        Operator::Ne => format!("args[{argument}] != {value:#x}"),
        Operator::Lt => format!("args[{argument}] < {value:#x}"),
        Operator::Le => format!("args[{argument}] <= {value:#x}"),
        Operator::Gt => format!("args[{argument}] > {value:#x}"),
        Operator::Ge => format!("args[{argument}] >= {value:#x}"),
    }
}

/// The content of the accumulator before an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loaded {
    Arch,
    /// The number of a call on this architecture.
    Number(Option<Arch>),
    Argument {
        number: u32,
        upper: bool,
        masked: bool,
    },
}

/// A disassembled program for a kernel of an architecture, with one instruction per line: its index, what it does, and where
/// jumps go.
pub fn program(program: &[sock_filter], native: Arch) -> String {
    let mut out = String::new();
    // All jumps go forward, so the predecessors of an instruction have been visited before it.
    let mut loaded: Vec<Option<Loaded>> = vec![None; program.len()];
    // When the number is loaded, the architecture is known from the comparison before.
    let mut arch: Vec<Option<Arch>> = vec![None; program.len()];
    for (place, insn) in program.iter().enumerate() {
        let (holds, known) = (at(&loaded, place), at(&arch, place));
        let k = insn.k;
        let (yes, no) = (place + 1 + usize::from(insn.jt), place + 1 + usize::from(insn.jf));
        let mut next = vec![(place + 1, holds, known)];
        let text = match insn.code {
            LD => {
                let load = match k {
                    0 => Loaded::Number(known),
                    4 => Loaded::Arch,
                    _ => Loaded::Argument {
                        number: k.saturating_sub(16) / 8,
                        upper: (k % 8 != 0) == native.is_little_endian(),
                        masked: false,
                    },
                };
                next = vec![(place + 1, Some(load), known)];
                format!("load {}", name(Some(load)))
            }
            AND => {
                let Some(Loaded::Argument { number, upper, .. }) = holds else {
                    let _ = writeln!(out, "{place:4}  and {k:#x}");
                    continue;
                };
                let masked = Loaded::Argument {
                    number,
                    upper,
                    masked: true,
                };
                next = vec![(place + 1, Some(masked), known)];
                format!("and {k:#x}")
            }
            JA => {
                let to = place + 1 + k as usize;
                next = vec![(to, holds, known)];
                format!("go to {to}")
            }
            JEQ | JGT | JGE | JSET => {
                let operator = match insn.code {
                    JEQ => "==",
                    JGT => ">",
                    JGE => ">=",
                    _ => "&",
                };
                let compared = Arch::all().find(|arch| arch.audit() == k);
                let arch_if_true = match holds {
                    Some(Loaded::Arch) => compared,
                    _ => known,
                };
                next = vec![(yes, holds, arch_if_true), (no, holds, known)];
                format!(
                    "if {} {operator} {} go to {yes}, else to {no}",
                    name(holds),
                    value(holds, k)
                )
            }
            RET => {
                next.clear();
                format!("return {}", action(Action(k)))
            }
            code => format!("{code:#x} {k:#x}"),
        };
        for (to, holds, known) in next {
            if let (Some(one), Some(other)) = (loaded.get_mut(to), arch.get_mut(to)) {
                (*one, *other) = (holds, known);
            }
        }
        let _ = writeln!(out, "{place:4}  {text}");
    }
    out
}

fn at<T: Copy>(list: &[Option<T>], place: usize) -> Option<T> {
    list.get(place).copied().flatten()
}

fn name(loaded: Option<Loaded>) -> String {
    match loaded {
        None => "?".into(),
        Some(Loaded::Arch) => "arch".into(),
        Some(Loaded::Number(_)) => "nr".into(),
        Some(Loaded::Argument { number, upper, masked }) => {
            let half = if upper { "upper" } else { "lower" };
            let masked = if masked { " masked" } else { "" };
            format!("args[{number}] {half} half{masked}")
        }
    }
}

/// The operand of a comparison, with the name of the architecture or the call.
fn value(loaded: Option<Loaded>, k: u32) -> String {
    match loaded {
        Some(Loaded::Arch) => match Arch::all().find(|arch| arch.audit() == k) {
            Some(arch) => arch.name().to_string(),
            None => format!("{k:#x}"),
        },
        Some(Loaded::Number(arch)) => {
            // x32 calls have the audit architecture of x86-64.
            let arch = match arch {
                Some(Arch::X86_64 | Arch::X32) if k & X32_BIT != 0 => Some(Arch::X32),
                other => other,
            };
            let number = if k > 0xffff { format!("{k:#x}") } else { k.to_string() };
            match arch.and_then(|arch| arch.call(k)) {
                Some(call) => format!("{number} ({})", call.name()),
                None => number,
            }
        }
        _ => format!("{k:#x}"),
    }
}
