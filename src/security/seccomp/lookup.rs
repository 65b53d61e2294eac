//! Rules that compare one and the same argument, turned into a table of that argument's values: a few comparisons decide
//! about all of them, where one after the other each took four instructions.
//!
//! Which of the rules hold is the same for all values between two numbers that some rule names. So the values fall into
//! intervals, and for each there is a short list of what is left to be asked: nothing, where the first rule that holds has
//! no other condition.

use crate::plan::seccomp::{Action, Clause, Condition, Operator};
use std::collections::{BTreeMap, BTreeSet};

/// So many rules in a row are worth a table.
const WORTHWHILE: usize = 4;

/// What is compared: an argument, seen through a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub argument: u8,
    pub mask: u64,
}

/// Where the program goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Return(Action),
    /// To what else these ask, and then to the rules after the run.
    Clauses(Vec<Clause>),
    /// To the lower half of the argument.
    Low(Vec<Entry>),
}

/// The values from `first` to `last` of one half of an argument. What no entry has goes on to the rules after the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub first: u32,
    pub last: u32,
    pub target: Target,
}

impl Entry {
    /// Whether nothing else is asked.
    pub fn returns(&self) -> bool {
        match &self.target {
            Target::Return(_) => true,
            Target::Clauses(_) => false,
            Target::Low(entries) => entries.iter().all(Entry::returns),
        }
    }
}

/// The clauses at the beginning of a list that all compare the same, if they are many: their number, and what they compare.
pub fn run(clauses: &[Clause]) -> Option<(usize, Key)> {
    let first = clauses.first()?;
    let candidates = first.conditions.iter().filter_map(|condition| {
        let key = key(condition)?;
        let length = clauses.iter().take_while(|clause| about(clause, key).is_some()).count();
        // Of several as long the one that parts the fewest, for its comparisons stand before all others.
        let values: BTreeSet<u64> = clauses
            .iter()
            .take(length)
            .filter_map(|clause| about(clause, key))
            .map(|condition| condition.value)
            .collect();
        Some((length, std::cmp::Reverse(values.len()), key))
    });
    let (length, _, key) = candidates.max_by_key(|(length, values, _)| (*length, *values))?;
    (length >= WORTHWHILE).then_some((length, key))
}

fn key(condition: &Condition) -> Option<Key> {
    // Of a masked value only equality is ever asked.
    let mask = match condition.operator {
        Operator::MaskedEq => condition.mask,
        _ => u64::MAX,
    };
    (mask != 0).then_some(Key {
        argument: condition.argument,
        mask,
    })
}

/// A clause's condition about this.
fn about(clause: &Clause, wanted: Key) -> Option<&Condition> {
    let mut conditions = clause.conditions.iter();
    conditions.find(|condition| key(condition) == Some(wanted))
}

/// The table of a run: of the upper half's values, or of the lower half's where there is no other. None where the rules overlap
/// so much that it would be longer than they are.
pub fn table(clauses: &[Clause], key: Key, wide: bool) -> Option<Vec<Entry>> {
    let intervals = intervals(clauses, key, wide)?;
    Some(if wide { halves(intervals) } else { low(intervals) })
}

/// The intervals of values about which the clauses have something to say, in their order.
fn intervals(clauses: &[Clause], key: Key, wide: bool) -> Option<Vec<(u64, u64, Target)>> {
    let largest = if wide { u64::MAX } else { u32::MAX.into() };
    // At each place the clauses that begin to hold and those that cease to.
    let mut changes: BTreeMap<u64, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
    for (index, clause) in clauses.iter().enumerate() {
        for (first, last) in held(about(clause, key)?, largest).into_iter().flatten() {
            changes.entry(first).or_default().0.push(index);
            if last < largest {
                changes.entry(last + 1).or_default().1.push(index);
            }
        }
    }
    let mut budget = 4 * clauses.len();
    let mut holding: BTreeSet<usize> = BTreeSet::new();
    let mut intervals: Vec<(u64, u64, Target)> = Vec::new();
    let mut places = changes.iter().peekable();
    while let Some((first, (begin, end))) = places.next() {
        for index in end {
            holding.remove(index);
        }
        holding.extend(begin);
        let last = places.peek().map_or(largest, |(next, _)| **next - 1);
        let mut left = Vec::new();
        for clause in holding.iter().filter_map(|index| clauses.get(*index)) {
            budget = budget.checked_sub(1)?;
            let clause = without(clause, key);
            let decides = clause.conditions.is_empty();
            left.push(clause);
            if decides {
                break;
            }
        }
        let target = match left.as_slice() {
            [] => continue,
            [only, ..] if only.conditions.is_empty() => Target::Return(only.action),
            _ => Target::Clauses(left),
        };
        match intervals.last_mut() {
            Some((_, end, same)) if *end + 1 == *first && *same == target => *end = last,
            _ => intervals.push((*first, last, target)),
        }
    }
    Some(intervals)
}

/// The values that meet a condition.
fn held(condition: &Condition, largest: u64) -> [Option<(u64, u64)>; 2] {
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

fn without(clause: &Clause, key: Key) -> Clause {
    let mut rest = clause.clone();
    if let Some(place) = rest
        .conditions
        .iter()
        .position(|condition| self::key(condition) == Some(key))
    {
        rest.conditions.remove(place);
    }
    rest
}

fn low(intervals: Vec<(u64, u64, Target)>) -> Vec<Entry> {
    let entry = |(first, last, target)| Entry {
        first: first as u32,
        last: last as u32,
        target,
    };
    intervals.into_iter().map(entry).collect()
}

/// Parts each interval where the upper half changes.
fn halves(intervals: Vec<(u64, u64, Target)>) -> Vec<Entry> {
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
