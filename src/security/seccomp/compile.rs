//! From decisions to classic BPF, the language of seccomp filters (seccomp(2), linux/filter.h).
//!
//! ```text
//!        ld arch                     of struct seccomp_data
//!        jeq NATIVE ──► ld nr        one section an architecture, the native one first
//!        │              jge 200 ─┬─► jge 300 ─► …        a binary tree over the numbers; its leaves are
//!        │                       └─► jge 100 ─► …          ret ACTION
//!        │                                                 or the clauses of a call with conditions:
//!        │                                                 ld args[i] (upper half); jeq …
//!        │                                                 ld args[i] (lower half); jeq … ─► ret ACTION
//!        │                                                 … the next clause … ─► ret DEFAULT
//!        jeq OTHER ───► ld nr, …
//!        ret KILL_THREAD             an architecture that the profile does not list
//! ```
//!
//! The tree is balanced by weight: what a container calls all the time is nearer to the root than what it is refused.
//! A call without conditions is answered without a load of arguments, and so the kernel finds at installation that the
//! answer is always ALLOW, and does not run the filter for it at all (seccomp_cache_prepare in kernel/seccomp.c).
//!
//! Jumps go forward only, and a conditional one 255 instructions at most. So the program is written from its end to its
//! beginning: every target is there before the jump to it, and what is too far is repeated (a `ret`) or reached by way
//! of an unconditional jump.

use super::arch::Arch;
use super::decide::{Clause, Decision, Interval, Table, tables};
use super::profile::{Action, Condition, Operator, Profile};
use crate::error::{Result, hinted};
use crate::sys::seccomp::sock_filter;

/// Codes of instructions, those that a filter needs.
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
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// The kernel takes no longer program (`BPF_MAXINSNS`).
const LONGEST: usize = 4096;

/// Compiles a profile for a kernel of an architecture.
pub fn compile(profile: &Profile, native: Arch) -> Result<Vec<sock_filter>> {
    program(&tables(profile, native), profile.default, native)
}

/// Compiles what has been decided.
pub fn program(tables: &[Table], default: Action, native: Arch) -> Result<Vec<sock_filter>> {
    let mut writer = Writer {
        default,
        backwards: Vec::with_capacity(1024),
        is_little_endian: native.is_little_endian(),
        clauses: Vec::new(),
    };
    let mut sections = Vec::new();
    for table in tables.iter().rev() {
        let tree = writer.section(table);
        sections.push((table.audit, tree));
    }
    let mut next = To::Return(Action::KILL_THREAD);
    for (audit, section) in sections {
        next = writer.branch(JEQ, audit, section, next);
    }
    writer.load(ARCH, next);
    let mut program = writer.backwards;
    if program.len() > LONGEST {
        return Err(hinted(
            format!(
                "the filter has {} instructions, and the kernel takes {LONGEST}",
                program.len()
            ),
            "have fewer rules with args, or fewer architectures",
        ));
    }
    program.reverse();
    Ok(program)
}

/// Where a jump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Return(Action),
    /// The instruction at this place, counted from the end of the program.
    Place(usize),
}

struct Writer {
    default: Action,
    /// The program, its last instruction first.
    backwards: Vec<sock_filter>,
    is_little_endian: bool,
    /// Clauses that have been written in this section, for calls that have the same.
    clauses: Vec<(Vec<Clause>, bool, To)>,
}

/// Numbers that are treated alike, and how often they may be expected.
struct Leaf<'a> {
    first: u32,
    decision: &'a Decision,
    /// How many numbers there are.
    count: u64,
    weight: u64,
}

impl Leaf<'_> {
    fn action(&self) -> Option<Action> {
        match self.decision {
            Decision::Always(action, _) => Some(*action),
            Decision::First(..) => None,
        }
    }
}

/// Neighbours with the same answer become one. Numbers that are not in use count like few.
fn leaves(intervals: &[Interval]) -> Vec<Leaf<'_>> {
    let mut leaves: Vec<Leaf> = Vec::with_capacity(intervals.len());
    for (index, interval) in intervals.iter().enumerate() {
        let end = intervals.get(index + 1).map_or(1 << 32, |next| u64::from(next.first));
        let count = end - u64::from(interval.first);
        let weight = match &interval.decision {
            Decision::Always(action, _) if action.is_permissive() => 8 * count.min(8),
            Decision::Always(..) => 1,
            Decision::First(..) => 8,
        };
        let leaf = Leaf {
            first: interval.first,
            decision: &interval.decision,
            count,
            weight,
        };
        match leaves.last_mut() {
            Some(last) if last.action().is_some() && last.action() == leaf.action() => {
                last.count += count;
                last.weight += weight;
            }
            _ => leaves.push(leaf),
        }
    }
    leaves
}

impl Writer {
    fn section(&mut self, table: &Table) -> To {
        self.clauses.clear();
        let leaves = leaves(&table.intervals);
        let tree = self.tree(&leaves);
        self.load(NR, tree)
    }

    /// The tree over some leaves; it expects the number in the accumulator.
    fn tree(&mut self, leaves: &[Leaf]) -> To {
        match leaves {
            [] => To::Return(self.default),
            [only] => self.leaf(only),
            // A hole of one number takes one comparison, not two.
            [left, hole, right] if hole.count == 1 && left.action().is_some() && left.action() == right.action() => {
                let around = self.leaf(right);
                let inside = self.leaf(hole);
                self.branch(JEQ, hole.first, inside, around)
            }
            _ => {
                let middle = middle(leaves);
                let (left, right) = leaves.split_at(middle);
                let first = right.first().map_or(0, |leaf| leaf.first);
                let above = self.tree(right);
                let below = self.tree(left);
                self.branch(JGE, first, above, below)
            }
        }
    }

    fn leaf(&mut self, leaf: &Leaf) -> To {
        match leaf.decision {
            Decision::Always(action, _) => To::Return(*action),
            Decision::First(clauses, arch) => {
                let wide = arch.is_64_bit();
                let same = |(other, width, _): &&(Vec<Clause>, bool, To)| other == clauses && *width == wide;
                if let Some((_, _, place)) = self.clauses.iter().find(same) {
                    return *place;
                }
                let mut next = To::Return(self.default);
                for clause in clauses.iter().rev() {
                    let mut inside = To::Return(clause.action);
                    for condition in clause.conditions.iter().rev() {
                        inside = self.condition(condition, wide, inside, next);
                    }
                    next = inside;
                }
                self.clauses.push((clauses.clone(), wide, next));
                next
            }
        }
    }

    /// Compares an argument, half by half, and goes on at `yes` or `no`.
    fn condition(&mut self, condition: &Condition, wide: bool, yes: To, no: To) -> To {
        if yes == no {
            return yes;
        }
        let (low, high) = (condition.value as u32, (condition.value >> 32) as u32);
        let (low_mask, high_mask) = (condition.mask as u32, (condition.mask >> 32) as u32);
        let place = ARGS + 8 * u32::from(condition.argument);
        let (at_low, at_high) = if self.is_little_endian {
            (place, place + 4)
        } else {
            (place + 4, place)
        };
        match condition.operator {
            Operator::Eq | Operator::MaskedEq => {
                let mut next = self.masked(at_low, low_mask, low, yes, no);
                if wide {
                    next = self.masked(at_high, high_mask, high, next, no);
                }
                next
            }
            Operator::Ne => {
                let mut next = self.masked(at_low, u32::MAX, low, no, yes);
                if wide {
                    next = self.masked(at_high, u32::MAX, high, next, yes);
                }
                next
            }
            Operator::Gt => self.above(JGT, (at_low, low), (at_high, high), wide, yes, no),
            Operator::Ge => self.above(JGE, (at_low, low), (at_high, high), wide, yes, no),
            Operator::Le => self.above(JGT, (at_low, low), (at_high, high), wide, no, yes),
            Operator::Lt => self.above(JGE, (at_low, low), (at_high, high), wide, no, yes),
        }
    }

    /// Whether the bits of a mask in one half are those of a value.
    fn masked(&mut self, at: u32, mask: u32, value: u32, yes: To, no: To) -> To {
        match (mask, value) {
            (0, _) => yes,
            (u32::MAX, _) => {
                let test = self.branch(JEQ, value, yes, no);
                self.load(at, test)
            }
            (_, 0) => {
                let test = self.branch(JSET, mask, no, yes);
                self.load(at, test)
            }
            _ => {
                self.branch(JEQ, value, yes, no);
                let mask = self.put(AND, mask);
                self.load(at, mask)
            }
        }
    }

    /// Whether an argument is above (JGT) a value, or not below it (JGE).
    fn above(&mut self, jump: u16, low: (u32, u32), high: (u32, u32), wide: bool, yes: To, no: To) -> To {
        let test = self.branch(jump, low.1, yes, no);
        let lower = self.load(low.0, test);
        if !wide {
            return lower;
        }
        let equal = self.branch(JEQ, high.1, lower, no);
        let upper = self.branch(JGT, high.1, yes, equal);
        self.load(high.0, upper)
    }

    /// A conditional jump. A jump to where both ways are the same is none.
    fn branch(&mut self, code: u16, value: u32, yes: To, no: To) -> To {
        if yes == no {
            return yes;
        }
        // Making the second reachable may take one more instruction, over which the first must reach too.
        let no = self.reach(no, 254);
        let yes = self.reach(yes, 255);
        let distance = |place: usize| (self.backwards.len() - place - 1) as u8;
        let (jt, jf) = (distance(yes), distance(no));
        self.backwards.push(sock_filter { code, jt, jf, k: value });
        To::Place(self.backwards.len() - 1)
    }

    /// The place of a target that a jump written next can reach.
    fn reach(&mut self, to: To, furthest: usize) -> usize {
        let now = self.backwards.len();
        match to {
            To::Place(place) if now - place - 1 <= furthest => place,
            To::Place(place) => {
                let distance = now - place - 1;
                self.put(JA, distance as u32);
                now
            }
            To::Return(action) => {
                let near = self.backwards.iter().rev().take(furthest + 1);
                let same = |insn: &sock_filter| insn.code == RET && insn.k == action.0;
                match near.into_iter().position(same) {
                    Some(distance) => now - distance - 1,
                    None => {
                        self.put(RET, action.0);
                        now
                    }
                }
            }
        }
    }

    /// A load, after which the program goes on at a target.
    fn load(&mut self, offset: u32, next: To) -> To {
        self.fall_into(next);
        self.put(LD, offset)
    }

    /// Has the next instruction followed by a target.
    fn fall_into(&mut self, next: To) {
        match next {
            To::Place(place) if place + 1 == self.backwards.len() => {}
            To::Place(place) => {
                let distance = self.backwards.len() - place - 1;
                self.put(JA, distance as u32);
            }
            To::Return(action) => {
                self.put(RET, action.0);
            }
        }
    }

    fn put(&mut self, code: u16, k: u32) -> To {
        self.backwards.push(sock_filter { code, jt: 0, jf: 0, k });
        To::Place(self.backwards.len() - 1)
    }
}

/// Where to part leaves so that both sides weigh about the same.
fn middle(leaves: &[Leaf]) -> usize {
    let total: u64 = leaves.iter().map(|leaf| leaf.weight).sum();
    let mut before = 0u64;
    let mut best = (u64::MAX, 1);
    for (index, leaf) in leaves.iter().enumerate() {
        if index > 0 {
            best = best.min((before.abs_diff(total - before), index));
        }
        before += leaf.weight;
    }
    best.1
}
