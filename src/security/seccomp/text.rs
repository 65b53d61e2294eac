//! Profiles and programs in words.

use std::fmt::Write as _;

use nix::errno::Errno;
use seccompiler::sock_filter;

use super::arch::Arch;
use super::decide::Reason;
use super::profile::{Action, Condition, Operator};

/// An action by its name in the config, with the errno's name.
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
        Reason::Newer(newest) => format!("newer than {newest}, the newest call of the profile"),
        Reason::Foreign => "the architecture is not listed".into(),
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

/// A program, one instruction a line: its place, what it does, and where jumps go.
pub fn program(program: &[sock_filter]) -> String {
    let mut out = String::new();
    for (place, insn) in program.iter().enumerate() {
        let k = insn.k;
        let jump = |sign: &str| {
            let yes = place + 1 + usize::from(insn.jt);
            let no = place + 1 + usize::from(insn.jf);
            format!("if {sign} {k:#x} go to {yes}, else to {no}{}", architecture(k))
        };
        let text = match insn.code {
            0x20 => match k {
                0 => "load nr".into(),
                4 => "load arch".into(),
                8 | 12 => format!("load instruction_pointer[{k}]"),
                _ => format!(
                    "load args[{}], {} word",
                    (k - 16) / 8,
                    if k % 8 == 0 { "first" } else { "second" }
                ),
            },
            0x54 => format!("and {k:#x}"),
            0x05 => format!("go to {}", place + 1 + k as usize),
            0x15 => jump("=="),
            0x25 => jump(">"),
            0x35 => jump(">="),
            0x45 => jump("&"),
            0x06 => format!("return {}", action(Action(k))),
            code => format!("{code:#x} {k:#x}"),
        };
        let _ = writeln!(out, "{place:4}  {text}");
    }
    out
}

fn architecture(audit: u32) -> String {
    match Arch::all().find(|arch| arch.audit() == audit) {
        Some(arch) => format!("    {}", arch.name()),
        None => String::new(),
    }
}
