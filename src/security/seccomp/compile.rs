//! Compiles decisions to classic BPF (seccomp(2)).
//!
//! ```text
//!        ld arch                     of struct seccomp_data
//!        jeq NATIVE ──► ld nr        one section for each architecture, the native one first
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
//! Many rules that compare the same argument are not checked one by one: the argument is looked up in a table, see `lookup`.
//!
//! The tree is balanced by weight: calls that containers make often are closer to the root than refused ones. A call without
//! conditions is decided without loading arguments. So the kernel can determine at installation that the result is always
//! ALLOW, and then does not run the filter for this call at all (seccomp_cache_prepare in kernel/seccomp.c).

use super::arch::Arch;
use super::assemble::{AND, ARCH, Assembler, JEQ, JGE, JGT, Label, NR};
use super::decide::tables;
use super::lookup::{self, Entry, Key, Target};
use super::profile::Profile;
use crate::error::{Result, with_hint};
use crate::plan::seccomp::{Action, Clause, Condition, Decision, Interval, Operator, Table};
use crate::sys::seccomp::sock_filter;

/// The maximum length of a program (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;

/// The maximum number of values in a table that are compared one by one, before the table is split. The second one is used if
/// the program would otherwise be too long.
const LINEAR_FAST: usize = 4;
const LINEAR_SHORT: usize = 64;

/// Compiles a profile for a kernel of an architecture.
pub fn compile(profile: &Profile, native: Arch) -> Result<Vec<sock_filter>> {
    program(&tables(profile, native), profile.default, native)
}

/// Compiles the decisions of a profile.
pub fn program(tables: &[Table], default: Action, native: Arch) -> Result<Vec<sock_filter>> {
    let fast = generate(tables, default, native, LINEAR_FAST);
    let program = if fast.len() > MAX_INSTRUCTIONS {
        generate(tables, default, native, LINEAR_SHORT)
    } else {
        fast
    };
    if program.len() > MAX_INSTRUCTIONS {
        return Err(with_hint(
            format!(
                "the filter has {} instructions, but the kernel's limit is {MAX_INSTRUCTIONS}",
                program.len()
            ),
            "use fewer rules with args, or fewer architectures",
        ));
    }
    Ok(program)
}

fn generate(tables: &[Table], default: Action, native: Arch, linear_max: usize) -> Vec<sock_filter> {
    let mut compiler = Compiler {
        default,
        assembler: Assembler::new(native.is_little_endian()),
        clauses: Vec::new(),
        tables: Vec::new(),
        linear_max,
    };
    let mut sections = Vec::new();
    for table in tables.iter().rev() {
        let section = compiler.section(table);
        sections.push((table.audit, section));
    }
    let mut next = Label::Return(Action::KILL_THREAD);
    for (audit, section) in sections {
        next = compiler.assembler.branch(JEQ, audit, section, next);
    }
    compiler.assembler.load(ARCH, next);
    compiler.assembler.finish()
}

struct Compiler {
    default: Action,
    assembler: Assembler,
    /// Lists of clauses that are already in the program, for calls with the same clauses: those of this section, and long
    /// ones of any section.
    clauses: Vec<WrittenClauses>,
    /// Tables that are already in the program, in any section.
    tables: Vec<WrittenTable>,
    /// The maximum number of values that are compared one by one.
    linear_max: usize,
}

struct WrittenClauses {
    clauses: Vec<Clause>,
    /// Whether arguments have 64 bits; none if the code is the same for 32 bits.
    wide: Option<bool>,
    start: Label,
}

struct WrittenTable {
    kind: TableKind,
    entries: Vec<Entry>,
    start: Label,
}

#[derive(PartialEq)]
struct TableKind {
    key: Key,
    /// Whether the table is about the upper half of the argument.
    upper: bool,
    /// Whether arguments have 64 bits; none if the code is the same for 32 bits.
    wide: Option<bool>,
    /// Where the program continues at values without an entry.
    otherwise: Label,
}

/// A part of a list of clauses.
enum Part<'a> {
    Clause(&'a Clause),
    Table(Key, Vec<Entry>),
}

/// Consecutive numbers with the same decision.
struct Leaf<'a> {
    first: u32,
    decision: &'a Decision,
    /// The count of numbers.
    count: u64,
    /// How often these calls are expected.
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

/// The leaves of the tree. Adjacent intervals with the same action are merged. The weight of a large interval is limited,
/// because most of its numbers are unused.
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

impl Compiler {
    fn section(&mut self, table: &Table) -> Label {
        // Reusing code of another section takes an additional jump, which is worthwhile only for long lists.
        self.clauses.retain(|written| written.clauses.len() > 16);
        let leaves = leaves(&table.intervals);
        let tree = self.tree(&leaves);
        self.assembler.load(NR, tree)
    }

    /// The tree over some leaves. It expects the number in the accumulator.
    fn tree(&mut self, leaves: &[Leaf]) -> Label {
        match leaves {
            [] => Label::Return(self.default),
            [only] => self.leaf(only),
            // A single number between two equal leaves takes one comparison instead of two.
            [left, single, right]
                if single.count == 1 && left.action().is_some() && left.action() == right.action() =>
            {
                let outside = self.leaf(right);
                let inside = self.leaf(single);
                self.assembler.branch(JEQ, single.first, inside, outside)
            }
            _ => {
                let (left, right) = leaves.split_at(balanced_split(leaves));
                let first = right.first().map_or(0, |leaf| leaf.first);
                let above = self.tree(right);
                let below = self.tree(left);
                self.assembler.branch(JGE, first, above, below)
            }
        }
    }

    fn leaf(&mut self, leaf: &Leaf) -> Label {
        match leaf.decision {
            Decision::Always(action, _) => Label::Return(*action),
            Decision::First { clauses, wide } => {
                let is_narrow =
                    |condition: &Condition| condition.operator == Operator::MaskedEq && condition.mask >> 32 == 0;
                let is_same_code = clauses.iter().all(|clause| clause.conditions.iter().all(is_narrow));
                let width = (!is_same_code).then_some(*wide);
                let is_same = |written: &&WrittenClauses| written.wide == width && written.clauses == *clauses;
                if let Some(written) = self.clauses.iter().find(is_same) {
                    return written.start;
                }
                let start = self.first_clause(clauses, *wide, Label::Return(self.default));
                self.clauses.push(WrittenClauses {
                    clauses: clauses.clone(),
                    wide: width,
                    start,
                });
                start
            }
        }
    }

    /// Continues with the action of the first clause whose conditions hold, or at `otherwise`.
    fn first_clause(&mut self, clauses: &[Clause], wide: bool, otherwise: Label) -> Label {
        let mut parts = Vec::new();
        let mut remaining = clauses;
        while let [clause, after @ ..] = remaining {
            let run = lookup::find_run(remaining).and_then(|(length, key)| {
                let (run, after) = remaining.split_at_checked(length)?;
                Some((key, lookup::table(run, key, wide)?, after))
            });
            match run {
                Some((key, table, after)) => {
                    parts.push(Part::Table(key, table));
                    remaining = after;
                }
                None => {
                    parts.push(Part::Clause(clause));
                    remaining = after;
                }
            }
        }
        let mut next = otherwise;
        for part in parts.into_iter().rev() {
            next = match part {
                Part::Clause(clause) => {
                    let mut label = Label::Return(clause.action);
                    for condition in clause.conditions.iter().rev() {
                        label = self.assembler.condition(condition, wide, label, next);
                    }
                    label
                }
                Part::Table(key, table) => self.table(key, table, wide, wide, next),
            };
        }
        next
    }

    /// Looks up half an argument in a table. Sections of several architectures may share the code.
    fn table(&mut self, key: Key, entries: Vec<Entry>, upper: bool, wide: bool, otherwise: Label) -> Label {
        let mask = if upper { key.mask >> 32 } else { key.mask } as u32;
        if mask == 0 {
            // The masked value is always 0.
            return match entries.into_iter().find(|entry| entry.first == 0) {
                Some(entry) => self.target(key, &entry.target, wide, otherwise),
                None => otherwise,
            };
        }
        // Remaining conditions may be compared differently on another architecture.
        let kind = TableKind {
            key,
            upper,
            wide: (!entries.iter().all(Entry::returns)).then_some(wide),
            otherwise,
        };
        let is_same = |written: &&WrittenTable| written.kind == kind && written.entries == entries;
        if let Some(written) = self.tables.iter().find(is_same) {
            return written.start;
        }
        let mut search = self.search(key, &entries, (0, u32::MAX), wide, otherwise);
        if mask != u32::MAX {
            self.assembler.fall_through_to(search);
            search = self.assembler.emit(AND, mask);
        }
        let offset = self.assembler.half_offset(key.argument, upper);
        let start = self.assembler.load(offset, search);
        self.tables.push(WrittenTable { kind, entries, start });
        start
    }

    /// Searches for the value in the accumulator, which is in the range from `min` to `max`. The entries are split until few are
    /// left, which are compared one by one: that takes the fewest instructions.
    fn search(&mut self, key: Key, entries: &[Entry], (min, max): (u32, u32), wide: bool, otherwise: Label) -> Label {
        if entries.len() > self.linear_max {
            let (left, right) = entries.split_at(entries.len() / 2);
            if let Some(Entry { first, .. }) = right.first() {
                let above = self.search(key, right, (*first, max), wide, otherwise);
                let below = self.search(key, left, (min, first.saturating_sub(1)), wide, otherwise);
                return self.assembler.branch(JGE, *first, above, below);
            }
        }
        // The targets are written first, so that they are close.
        let targets: Vec<Label> = entries
            .iter()
            .rev()
            .map(|entry| self.target(key, &entry.target, wide, otherwise))
            .collect();
        let mut next = otherwise;
        for (entry, target) in entries.iter().rev().zip(targets) {
            next = if entry.first == entry.last {
                self.assembler.branch(JEQ, entry.first, target, next)
            } else {
                let not_below = match entry.first == min {
                    true => target,
                    false => self.assembler.branch(JGE, entry.first, target, next),
                };
                match entry.last == max {
                    true => not_below,
                    false => self.assembler.branch(JGT, entry.last, next, not_below),
                }
            };
        }
        next
    }

    fn target(&mut self, key: Key, target: &Target, wide: bool, otherwise: Label) -> Label {
        match target {
            Target::Return(action) => Label::Return(*action),
            Target::Clauses(clauses) => self.first_clause(clauses, wide, otherwise),
            Target::Low(entries) => self.table(key, entries.clone(), false, wide, otherwise),
        }
    }
}

/// The index at which to split leaves so that both sides have similar weights.
fn balanced_split(leaves: &[Leaf]) -> usize {
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
