//! Writing classic BPF instructions, the language of seccomp filters (linux/filter.h).
//!
//! Jumps only go forward, and conditional ones at most 255 instructions. So the program is written from its end to its
//! start: the target of a jump always exists before the jump. If it is too far away, it is repeated (a `ret`), or reached
//! through an unconditional jump.

use crate::plan::seccomp::{Action, Condition, Operator};
use crate::sys::seccomp::sock_filter;

/// The instruction codes that a filter needs.
pub const LD: u16 = 0x20;
pub const AND: u16 = 0x54;
pub const JA: u16 = 0x05;
pub const JEQ: u16 = 0x15;
pub const JGT: u16 = 0x25;
pub const JGE: u16 = 0x35;
pub const JSET: u16 = 0x45;
pub const RET: u16 = 0x06;

/// Offsets in struct seccomp_data.
pub const NR: u32 = 0;
pub const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// Where the program continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    Return(Action),
    /// The instruction with this index, counted from the end of the program.
    At(usize),
}

/// A program that is being written.
pub struct Assembler {
    /// The instructions written so far, starting with the last one of the program.
    reversed: Vec<sock_filter>,
    is_little_endian: bool,
}

impl Assembler {
    pub fn new(is_little_endian: bool) -> Self {
        Assembler {
            reversed: Vec::with_capacity(1024),
            is_little_endian,
        }
    }

    /// The program in the order of execution.
    pub fn finish(mut self) -> Vec<sock_filter> {
        self.reversed.reverse();
        self.reversed
    }

    /// The offset of half an argument in struct seccomp_data.
    pub fn half_offset(&self, argument: u8, upper: bool) -> u32 {
        let is_second = upper == self.is_little_endian;
        ARGS + 8 * u32::from(argument) + if is_second { 4 } else { 0 }
    }

    /// Compares an argument, half by half, and continues at `yes` or `no`.
    pub fn condition(&mut self, condition: &Condition, wide: bool, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let (low, high) = (condition.value as u32, (condition.value >> 32) as u32);
        let (low_mask, high_mask) = (condition.mask as u32, (condition.mask >> 32) as u32);
        let [low_offset, high_offset] = [false, true].map(|upper| self.half_offset(condition.argument, upper));
        let (low_half, high_half) = ((low_offset, low), (high_offset, high));
        match condition.operator {
            Operator::Eq | Operator::MaskedEq => {
                let mut next = self.masked_equal(low_half, low_mask, yes, no);
                if wide {
                    next = self.masked_equal(high_half, high_mask, next, no);
                }
                next
            }
            Operator::Ne => {
                let mut next = self.masked_equal(low_half, u32::MAX, no, yes);
                if wide {
                    next = self.masked_equal(high_half, u32::MAX, next, yes);
                }
                next
            }
            Operator::Gt => self.greater(JGT, low_half, high_half, wide, yes, no),
            Operator::Ge => self.greater(JGE, low_half, high_half, wide, yes, no),
            Operator::Le => self.greater(JGT, low_half, high_half, wide, no, yes),
            Operator::Lt => self.greater(JGE, low_half, high_half, wide, no, yes),
        }
    }

    /// Whether one half of an argument (its offset), masked, equals a value.
    fn masked_equal(&mut self, (offset, value): (u32, u32), mask: u32, yes: Label, no: Label) -> Label {
        match (mask, value) {
            (0, _) => yes,
            (u32::MAX, _) => {
                let test = self.branch(JEQ, value, yes, no);
                self.load(offset, test)
            }
            (_, 0) => {
                let test = self.branch(JSET, mask, no, yes);
                self.load(offset, test)
            }
            _ => {
                self.branch(JEQ, value, yes, no);
                let masked = self.emit(AND, mask);
                self.load(offset, masked)
            }
        }
    }

    /// Whether an argument is greater than a value (JGT), or greater than or equal to it (JGE). Each half is an offset and a
    /// value.
    fn greater(&mut self, jump: u16, low: (u32, u32), high: (u32, u32), wide: bool, yes: Label, no: Label) -> Label {
        let test = self.branch(jump, low.1, yes, no);
        let lower = self.load(low.0, test);
        if !wide {
            return lower;
        }
        let equal = self.branch(JEQ, high.1, lower, no);
        let upper = self.branch(JGT, high.1, yes, equal);
        self.load(high.0, upper)
    }

    /// A conditional jump. If both labels are the same, no instruction is needed.
    pub fn branch(&mut self, code: u16, value: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        // Making `yes` reachable may add one more instruction, which the jump to `no` must also skip.
        let no = self.reachable(no, 254);
        let yes = self.reachable(yes, 255);
        let distance = |index: usize| (self.reversed.len() - index - 1) as u8;
        let (jt, jf) = (distance(yes), distance(no));
        self.reversed.push(sock_filter { code, jt, jf, k: value });
        Label::At(self.reversed.len() - 1)
    }

    /// The index of an instruction that leads to a label and that the next jump can reach.
    fn reachable(&mut self, label: Label, max_distance: usize) -> usize {
        let end = self.reversed.len();
        match label {
            Label::At(index) if end - index - 1 <= max_distance => index,
            Label::At(index) => match self.find_jump_to(index, max_distance) {
                Some(jump) => jump,
                None => {
                    self.emit(JA, (end - index - 1) as u32);
                    end
                }
            },
            Label::Return(action) => {
                let near = self.reversed.iter().rev().take(max_distance + 1);
                let is_same = |insn: &sock_filter| insn.code == RET && insn.k == action.0;
                match near.into_iter().position(is_same) {
                    Some(distance) => end - distance - 1,
                    None => {
                        self.emit(RET, action.0);
                        end
                    }
                }
            }
        }
    }

    /// An existing unconditional jump to an instruction that the next jump can reach.
    fn find_jump_to(&self, target: usize, max_distance: usize) -> Option<usize> {
        let near = self.reversed.iter().enumerate().rev().take(max_distance + 1);
        let leads_there =
            |(index, insn): &(usize, &sock_filter)| insn.code == JA && index - 1 - insn.k as usize == target;
        near.filter(|(index, _)| *index > target)
            .find(leads_there)
            .map(|(index, _)| index)
    }

    /// A load instruction, after which the program continues at a label.
    pub fn load(&mut self, offset: u32, next: Label) -> Label {
        self.fall_through_to(next);
        self.emit(LD, offset)
    }

    /// Ensures that the next instruction is followed by a label.
    pub fn fall_through_to(&mut self, next: Label) {
        match next {
            Label::At(index) if index + 1 == self.reversed.len() => {}
            Label::At(index) => {
                let distance = self.reversed.len() - index - 1;
                self.emit(JA, distance as u32);
            }
            Label::Return(action) => {
                self.emit(RET, action.0);
            }
        }
    }

    pub fn emit(&mut self, code: u16, k: u32) -> Label {
        self.reversed.push(sock_filter { code, jt: 0, jf: 0, k });
        Label::At(self.reversed.len() - 1)
    }
}
