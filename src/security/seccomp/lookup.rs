//! Many rules that compare the same argument are turned into a table of the argument's values. A few comparisons then decide
//! about all of them; separate rules would take four instructions each.
//!
//! The rules can only change from true to false at the values that they mention. So the values fall into intervals, and for
//! each interval only a short list of other conditions remains to be checked; none, if the first matching rule has no other
//! condition.

use crate::plan::seccomp::{Action, Clause, Condition, Operator};
use std::collections::{BTreeMap, BTreeSet};

/// The minimum number of consecutive rules for a table.
const MIN_RULES: usize = 4;

/// The operand of a comparison: an argument and a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub argument: u8,
    pub mask: u64,
}

/// Where the program continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Return(Action),
    /// With the remaining conditions of these clauses, and then with the rules after the run.
    Clauses(Vec<Clause>),
    /// With the lower half of the argument.
    Low(Vec<Entry>),
}

/// The values from `first` to `last` of one half of an argument. For values without an entry, the program continues with the
/// rules after the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub first: u32,
    pub last: u32,
    pub target: Target,
}

impl Entry {
    /// Whether the program always returns, without further conditions.
    pub fn returns(&self) -> bool {
        match &self.target {
            Target::Return(_) => true,
            Target::Clauses(_) => false,
            Target::Low(entries) => entries.iter().all(Entry::returns),
        }
    }
}

/// Finds the longest run of clauses at the start of a list that all compare the same operand, if a table is worthwhile. Returns
/// its length and the operand.
pub fn find_run(clauses: &[Clause]) -> Option<(usize, Key)> {
    let first = clauses.first()?;
    let candidates = first.conditions.iter().filter_map(|condition| {
        let key = key(condition)?;
        let length = clauses
            .iter()
            .take_while(|clause| condition_on(clause, key).is_some())
            .count();
        // Of several runs with the same length, the one with the fewest values is best, because its comparisons come first.
        let values: BTreeSet<u64> = clauses
            .iter()
            .take(length)
            .filter_map(|clause| condition_on(clause, key))
            .map(|condition| condition.value)
            .collect();
        Some((length, std::cmp::Reverse(values.len()), key))
    });
    let (length, _, key) = candidates.max_by_key(|(length, values, _)| (*length, *values))?;
    (length >= MIN_RULES).then_some((length, key))
}

fn key(condition: &Condition) -> Option<Key> {
    // A masked value is only ever compared for equality.
    let mask = match condition.operator {
        Operator::MaskedEq => condition.mask,
        _ => u64::MAX,
    };
    (mask != 0).then_some(Key {
        argument: condition.argument,
        mask,
    })
}

/// The condition of a clause on this operand.
fn condition_on(clause: &Clause, wanted: Key) -> Option<&Condition> {
    let mut conditions = clause.conditions.iter();
    conditions.find(|condition| key(condition) == Some(wanted))
}

/// The table of a run: of the values of the upper half, or, for arguments of 32 bits, of the lower half. None if the rules
/// overlap so much that the table would be longer than the rules.
pub fn table(clauses: &[Clause], key: Key, wide: bool) -> Option<Vec<Entry>> {
    let intervals = intervals(clauses, key, wide)?;
    Some(if wide {
        upper_table(intervals)
    } else {
        lower_table(intervals)
    })
}

/// The intervals of values that match a clause, in ascending order.
fn intervals(clauses: &[Clause], key: Key, wide: bool) -> Option<Vec<(u64, u64, Target)>> {
    let largest = if wide { u64::MAX } else { u32::MAX.into() };
    // At each value, the clauses that start to match and those that stop matching.
    let mut changes: BTreeMap<u64, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (index, clause) in clauses.iter().enumerate() {
        for (first, last) in matching_values(condition_on(clause, key)?, largest)
            .into_iter()
            .flatten()
        {
            changes.entry(first).or_default().0.push(index);
            if last < largest {
                changes.entry(last + 1).or_default().1.push(index);
            }
        }
    }
    let mut budget = 4 * clauses.len();
    let mut matching: BTreeSet<usize> = BTreeSet::new();
    let mut intervals: Vec<(u64, u64, Target)> = Vec::new();
    let mut values = changes.iter().peekable();
    while let Some((first, (begin, end))) = values.next() {
        for index in end {
            matching.remove(index);
        }
        matching.extend(begin);
        let last = values.peek().map_or(largest, |(next, _)| **next - 1);
        let mut remaining = Vec::new();
        for clause in matching.iter().filter_map(|index| clauses.get(*index)) {
            budget = budget.checked_sub(1)?;
            let clause = without_condition_on(clause, key);
            let decides = clause.conditions.is_empty();
            remaining.push(clause);
            if decides {
                break;
            }
        }
        let target = match remaining.as_slice() {
            [] => continue,
            [only, ..] if only.conditions.is_empty() => Target::Return(only.action),
            _ => Target::Clauses(remaining),
        };
        match intervals.last_mut() {
            Some((_, end, same)) if *end + 1 == *first && *same == target => *end = last,
            _ => intervals.push((*first, last, target)),
        }
    }
    Some(intervals)
}

/// The ranges of values that satisfy a condition.
fn matching_values(condition: &Condition, largest: u64) -> [Option<(u64, u64)>; 2] {
    let value = condition.value & largest;
    let below = value.checked_sub(1).map(|last| (0, last));
    let above = (value < largest).then(|| (value + 1, largest));
    match condition.operator {
        Operator::Eq | Operator::MaskedEq => [Some((value, value)), None],
        Operator::Ne => [below, above],
        Operator::Lt => [below, None],
        Operator::Le => [Some((0, value)), None],
        Operator::Gt => [above, None],
        Operator::Ge => [Some((value, largest)), None],
    }
}

fn without_condition_on(clause: &Clause, key: Key) -> Clause {
    let mut rest = clause.clone();
    if let Some(index) = rest
        .conditions
        .iter()
        .position(|condition| self::key(condition) == Some(key))
    {
        rest.conditions.remove(index);
    }
    rest
}

fn lower_table(intervals: Vec<(u64, u64, Target)>) -> Vec<Entry> {
    let entry = |(first, last, target)| Entry {
        first: first as u32,
        last: last as u32,
        target,
    };
    intervals.into_iter().map(entry).collect()
}

/// Splits each interval where the upper half changes.
fn upper_table(intervals: Vec<(u64, u64, Target)>) -> Vec<Entry> {
    let mut high: Vec<Entry> = Vec::new();
    let mut inside = |half: u32, first: u32, last: u32, target: Target| {
        let entry = Entry { first, last, target };
        match high.last_mut() {
            Some(Entry {
                first: same,
                target: Target::Low(entries),
                ..
            }) if *same == half => entries.push(entry),
            _ => high.push(Entry {
                first: half,
                last: half,
                target: if (entry.first, entry.last) == (0, u32::MAX) {
                    entry.target
                } else {
                    Target::Low(vec![entry])
                },
            }),
        }
    };
    let mut whole = Vec::new();
    for (first, last, target) in intervals {
        let (mut from, mut to) = ((first >> 32) as u32, (last >> 32) as u32);
        let (begin, end) = (first as u32, last as u32);
        if from == to {
            inside(from, begin, end, target);
            continue;
        }
        if begin != 0 {
            inside(from, begin, u32::MAX, target.clone());
            from += 1;
        }
        if end != u32::MAX {
            to -= 1;
        }
        if from <= to {
            whole.push(Entry {
                first: from,
                last: to,
                target: target.clone(),
            });
        }
        if end != u32::MAX {
            inside(to + 1, 0, end, target);
        }
    }
    high.extend(whole);
    high.sort_by_key(|entry| entry.first);
    high
}
