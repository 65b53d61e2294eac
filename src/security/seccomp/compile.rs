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
//! Many rules that compare one argument are not asked one after the other: the argument is looked up, see `lookup`.
//!
//! The tree is balanced by weight: what a container calls all the time is nearer to the root than what it is refused.
//! A call without conditions is answered without a load of arguments, and so the kernel finds at installation that the
//! answer is always ALLOW, and does not run the filter for it at all (seccomp_cache_prepare in kernel/seccomp.c).
//!
//! Jumps go forward only, and a conditional one 255 instructions at most. So the program is written from its end to its
//! beginning: every target is there before the jump to it, and what is too far is repeated (a `ret`) or reached by way
//! of an unconditional jump.

use super::arch::Arch;
use super::decide::tables;
use super::lookup::{self, Entry, Key, Target};
use super::profile::Profile;
use crate::error::{Result, with_hint};
use crate::plan::seccomp::{Action, Clause, Condition, Decision, Interval, Operator, Table};
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
    let quick = write(tables, default, native, TRIED);
    let mut program = if quick.len() > LONGEST {
        write(tables, default, native, TRIED_AT_MOST)
    } else {
        quick
    };
    if program.len() > LONGEST {
        return Err(with_hint(
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

/// The program, its last instruction first.
fn write(tables: &[Table], default: Action, native: Arch, tried: usize) -> Vec<sock_filter> {
    let mut writer = Writer {
        default,
        backwards: Vec::with_capacity(1024),
        is_little_endian: native.is_little_endian(),
        clauses: Vec::new(),
        tables: Vec::new(),
        tried,
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
    writer.backwards
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
    /// Clauses that have been written in this section, or many of them in another, for calls that have the same; whether they
    /// are those of a 64-bit architecture, where that makes a difference.
    clauses: Vec<(Vec<Clause>, Option<bool>, To)>,
    /// Tables that have been written in any section.
    tables: Vec<Written>,
    /// So many values are compared one after the other.
    tried: usize,
}

/// A table in the program: whose it is, that of the upper half or the lower, on 64-bit architectures alone or not or on all, and
/// where it goes on at other values; what is in it; and its beginning.
struct Written {
    what: (Key, bool, Option<bool>, To),
    entries: Vec<Entry>,
    place: To,
}

/// A part of a list of clauses.
enum Part<'a> {
    One(&'a Clause),
    Table(Key, Vec<Entry>),
}

/// How many values are compared one after the other, before a table is parted; and where the program would be too long.
const TRIED: usize = 4;
const TRIED_AT_MOST: usize = 64;

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
            Decision::First { .. } => None,
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
            Decision::First { .. } => 8,
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
        // To reach what is far takes one more instruction.
        self.clauses.retain(|(clauses, ..)| clauses.len() > 16);
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
            Decision::First { clauses, wide } => {
                let wide = *wide;
                let narrow =
                    |condition: &Condition| condition.operator == Operator::MaskedEq && condition.mask >> 32 == 0;
                let same_on_all = clauses.iter().all(|clause| clause.conditions.iter().all(narrow));
                let of = (!same_on_all).then_some(wide);
                let same = |(other, width, _): &&(Vec<Clause>, Option<bool>, To)| *width == of && other == clauses;
                if let Some((_, _, place)) = self.clauses.iter().find(same) {
                    return *place;
                }
                let place = self.first(clauses, wide, To::Return(self.default));
                self.clauses.push((clauses.clone(), of, place));
                place
            }
        }
    }

    /// Goes on at the first clause that holds, or at `otherwise`.
    fn first(&mut self, clauses: &[Clause], wide: bool, otherwise: To) -> To {
        let mut parts = Vec::new();
        let mut left = clauses;
        while let [clause, after @ ..] = left {
            let run = lookup::run(left).and_then(|(length, key)| {
                let (run, after) = left.split_at_checked(length)?;
                Some((key, lookup::table(run, key, wide)?, after))
            });
            match run {
                Some((key, table, after)) => {
                    parts.push(Part::Table(key, table));
                    left = after;
                }
                None => {
                    parts.push(Part::One(clause));
                    left = after;
                }
            }
        }
        let mut next = otherwise;
        for part in parts.into_iter().rev() {
            next = match part {
                Part::One(clause) => {
                    let mut inside = To::Return(clause.action);
                    for condition in clause.conditions.iter().rev() {
                        inside = self.condition(condition, wide, inside, next);
                    }
                    inside
                }
                Part::Table(key, table) => self.table(key, table, wide, wide, next),
            };
        }
        next
    }

    /// Looks half an argument up in a table. Sections of other architectures may have the same.
    fn table(&mut self, key: Key, entries: Vec<Entry>, high: bool, wide: bool, otherwise: To) -> To {
        let mask = if high { key.mask >> 32 } else { key.mask } as u32;
        if mask == 0 {
            // It is seen as 0, whatever it is.
            return match entries.into_iter().find(|entry| entry.first == 0) {
                Some(entry) => self.target(key, &entry.target, wide, otherwise),
                None => otherwise,
            };
        }
        // What else is asked may be compared otherwise on another architecture.
        let wide_only = (!entries.iter().all(Entry::returns)).then_some(wide);
        let what = (key, high, wide_only, otherwise);
        if let Some(same) = self
            .tables
            .iter()
            .find(|table| table.what == what && table.entries == entries)
        {
            return same.place;
        }
        let mut place = self.search(key, &entries, (0, u32::MAX), wide, otherwise);
        if mask != u32::MAX {
            self.fall_into(place);
            place = self.put(AND, mask);
        }
        let place = self.load(self.half(key.argument, high), place);
        self.tables.push(Written { what, entries, place });
        place
    }

    /// Looks the value in the accumulator up, which lies between two others. It is parted until few entries are left, which are
    /// tried one after the other: that takes the fewest instructions.
    fn search(&mut self, key: Key, entries: &[Entry], (least, most): (u32, u32), wide: bool, otherwise: To) -> To {
        if entries.len() > self.tried {
            let (left, right) = entries.split_at(entries.len() / 2);
            if let Some(Entry { first, .. }) = right.first() {
                let above = self.search(key, right, (*first, most), wide, otherwise);
                let below = self.search(key, left, (least, first.saturating_sub(1)), wide, otherwise);
                return self.branch(JGE, *first, above, below);
            }
        }
        // Where they lead comes first, to be near.
        let targets: Vec<To> = entries
            .iter()
            .rev()
            .map(|entry| self.target(key, &entry.target, wide, otherwise))
            .collect();
        let mut next = otherwise;
        for (entry, to) in entries.iter().rev().zip(targets) {
            next = if entry.first == entry.last {
                self.branch(JEQ, entry.first, to, next)
            } else {
                let from = match entry.first == least {
                    true => to,
                    false => self.branch(JGE, entry.first, to, next),
                };
                match entry.last == most {
                    true => from,
                    false => self.branch(JGT, entry.last, next, from),
                }
            };
        }
        next
    }

    fn target(&mut self, key: Key, target: &Target, wide: bool, otherwise: To) -> To {
        match target {
            Target::Return(action) => To::Return(*action),
            Target::Clauses(clauses) => self.first(clauses, wide, otherwise),
            Target::Low(entries) => self.table(key, entries.clone(), false, wide, otherwise),
        }
    }

    /// Where half an argument stands in struct seccomp_data.
    fn half(&self, argument: u8, high: bool) -> u32 {
        let second = high == self.is_little_endian;
        ARGS + 8 * u32::from(argument) + if second { 4 } else { 0 }
    }

    /// Compares an argument, half by half, and goes on at `yes` or `no`.
    fn condition(&mut self, condition: &Condition, wide: bool, yes: To, no: To) -> To {
        if yes == no {
            return yes;
        }
        let (low, high) = (condition.value as u32, (condition.value >> 32) as u32);
        let (low_mask, high_mask) = (condition.mask as u32, (condition.mask >> 32) as u32);
        let [at_low, at_high] = [false, true].map(|high| self.half(condition.argument, high));
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
        // CreateArgs the second reachable may take one more instruction, over which the first must reach too.
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
            To::Place(place) => match self.jump_to(place, furthest) {
                Some(jump) => jump,
                None => {
                    self.put(JA, (now - place - 1) as u32);
                    now
                }
            },
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

    /// A jump to a place that the next instruction can reach.
    fn jump_to(&self, place: usize, furthest: usize) -> Option<usize> {
        let nearest = self.backwards.iter().enumerate().rev().take(furthest + 1);
        let leads = |(index, insn): &(usize, &sock_filter)| insn.code == JA && index - 1 - insn.k as usize == place;
        nearest
            .filter(|(index, _)| *index > place)
            .find(leads)
            .map(|(index, _)| index)
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
