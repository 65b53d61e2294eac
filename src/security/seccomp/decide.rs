//! Decides from the rules of a profile which action each system call number gets: the meaning of a profile, which `compile`
//! turns into instructions and `orlop seccomp explain` prints.
//!
//! For one system call on one architecture:
//! 1. A rule whose action is the default action is ignored.
//! 2. A rule without conditions takes precedence over all others; if there are several, the first one. libseccomp does the
//!    same, and engines rely on it: for a privileged container Docker adds `clone` without conditions after the `clone` with
//!    conditions.
//! 3. Otherwise the first rule, in the profile's order, whose conditions hold.
//! 4. Otherwise the default action. But a call that is newer than the newest one in the profile gets ENOSYS, as if the kernel
//!    did not have it: the profile's author cannot have considered it, and C libraries fall back to an older call only on
//!    ENOSYS.
//!
//! A call of an architecture that the profile does not list kills the thread.
//!
//! On some architectures, calls can also be made through the multiplexers socketcall(2) and ipc(2), whose first argument
//! selects the call. A rule about the call applies to that way too. The call's arguments are then in memory, where a filter
//! cannot read them. So a rule with conditions is treated as strictly as possible: if it refuses the call, it always refuses
//! it through a multiplexer; if it allows the call, it never does so through a multiplexer.

use super::arch::{ARM_PRIVATE, Arch, Call, X32_BIT};
use super::profile::{Profile, Rule};
use crate::plan::seccomp::{Action, Clause, Condition, Decision, Interval, Reason, Table};

/// A rule as it applies to one call or number.
#[derive(Clone)]
struct Entry<'a> {
    rule: &'a Rule,
    /// Set if it applies to the call through a multiplexer: the condition on the first argument.
    multiplexed: Option<Condition>,
}

impl Entry<'_> {
    fn is_unconditional(&self) -> bool {
        self.multiplexed.is_none() && self.rule.alternatives.iter().any(|alternative| alternative.is_empty())
    }
}

/// The tables of a profile, starting with the native architecture. Architectures with the other byte order are omitted: no
/// kernel can run programs of both.
pub fn tables(profile: &Profile, native: Arch) -> Vec<Table> {
    let mut calls: Vec<(Call, &Rule)> = Vec::with_capacity(512);
    for rule in &profile.rules {
        if rule.action != profile.default {
            calls.extend(rule.calls.iter().map(|call| (*call, rule)));
        }
    }
    // The sort is stable, so the rules about one call stay in order.
    calls.sort_by_key(|(call, _)| *call);
    let mut tables: Vec<Table> = Vec::new();
    let same_byte_order = |arch: &&Arch| arch.is_little_endian() == native.is_little_endian();
    for arch in profile.architectures.iter().filter(same_byte_order) {
        if tables.iter().any(|table| table.audit == arch.audit()) {
            continue;
        }
        let mut intervals = Vec::with_capacity(512);
        let listed = |other: Arch| *arch == other || profile.architectures.contains(&other);
        if [Arch::X86_64, Arch::X32].contains(arch) {
            if listed(Arch::X86_64) {
                fill(&mut intervals, profile, &calls, Arch::X86_64, 0, X32_BIT - 1);
            } else {
                intervals.push(unlisted(0));
            }
            if listed(Arch::X32) {
                fill(&mut intervals, profile, &calls, Arch::X32, X32_BIT, u32::MAX);
            } else {
                intervals.push(unlisted(X32_BIT));
                intervals.push(default(profile, u32::MAX));
            }
        } else {
            fill(&mut intervals, profile, &calls, *arch, 0, u32::MAX);
        }
        tables.push(Table {
            audit: arch.audit(),
            intervals,
        });
    }
    tables
}

fn unlisted(first: u32) -> Interval {
    Interval {
        first,
        decision: Decision::Always(Action::KILL_THREAD, Reason::UnlistedArch),
    }
}

fn default(profile: &Profile, first: u32) -> Interval {
    Interval {
        first,
        decision: Decision::Always(profile.default, Reason::Default),
    }
}

/// Adds the intervals of one architecture, whose numbers range from `low` to `high`.
fn fill(intervals: &mut Vec<Interval>, profile: &Profile, calls: &[(Call, &Rule)], arch: Arch, low: u32, high: u32) {
    let newest = newest(profile, arch);
    // The profile has no rules for the numbers from `next` up to but not including `end`.
    let gap = |intervals: &mut Vec<Interval>, next: u32, end: u64| {
        let mut put = |first: u32, decision: Decision| {
            if u64::from(first) < end {
                intervals.push(Interval { first, decision });
            }
        };
        let by_default = || Decision::Always(profile.default, Reason::Default);
        let Some(newest) = newest else {
            return put(next, by_default());
        };
        let enosys = || Decision::Always(Action::errno(libc::ENOSYS as u32), Reason::Newer(newest));
        let mut next = next;
        if next == 0 && matches!(arch, Arch::S390 | Arch::S390x) {
            // The kernel replaces an unknown number that was passed in a register with 0.
            put(0, enosys());
            next = 1;
        }
        if next <= newest {
            put(next, by_default());
        }
        let after = next.max(newest + 1);
        if arch == Arch::Arm {
            if after < ARM_PRIVATE {
                put(after, enosys());
            }
            return put(after.max(ARM_PRIVATE), by_default());
        }
        // A tracer sets the number to -1 to skip a call, so this is not a new call.
        if after < u32::MAX {
            put(after, enosys());
        }
        put(u32::MAX, by_default());
    };
    let mut next = u64::from(low);
    for (number, decision) in decisions(calls, arch) {
        if next < u64::from(number) {
            gap(intervals, next as u32, number.into());
        }
        intervals.push(Interval {
            first: number,
            decision,
        });
        next = u64::from(number) + 1;
    }
    gap(intervals, next as u32, u64::from(high) + 1);
}

/// The number of the newest call in the profile, if newer ones must get ENOSYS.
fn newest(profile: &Profile, arch: Arch) -> Option<u32> {
    // If the default action allows calls or notifies an agent, it applies to newer calls too.
    let applies = profile.default.is_refusal() && profile.default != Action::errno(libc::ENOSYS as u32);
    if !applies {
        return None;
    }
    let numbers = profile.rules.iter().flat_map(|rule| &rule.calls);
    numbers
        .filter_map(|call| arch.number(*call))
        .filter(|number| arch != Arch::Arm || *number < ARM_PRIVATE)
        .max()
}

/// The decisions for all numbers that rules are about, in ascending order.
fn decisions(calls: &[(Call, &Rule)], arch: Arch) -> Vec<(u32, Decision)> {
    let mut entries: Vec<(u32, Entry)> = Vec::with_capacity(calls.len() + 32);
    for group in calls.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((call, _)) = group.first() else { continue };
        let list: Vec<Entry> = group
            .iter()
            .map(|(_, rule)| Entry {
                rule,
                multiplexed: None,
            })
            .collect();
        let list = effective(&list);
        if arch.has_multiplexers()
            && let Some((multiplexer, selector)) = call.multiplexer()
            && let Some(number) = multiplexer.number(arch)
        {
            for entry in list {
                if entry.is_unconditional() || !entry.rule.action.is_permissive() {
                    let multiplexed = Some(Condition::masked(0, multiplexer.mask(), selector.into()));
                    entries.push((number, Entry { multiplexed, ..*entry }));
                }
            }
        }
        if let Some(number) = arch.number(*call) {
            entries.extend(list.iter().map(|entry| (number, entry.clone())));
        }
    }
    entries.sort_by_key(|(number, entry)| (*number, entry.rule.index));
    let mut decisions = Vec::with_capacity(entries.len());
    for group in entries.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((number, first)) = group.first() else { continue };
        if group.len() == 1 && first.is_unconditional() {
            let always = Decision::Always(first.rule.action, Reason::Rule(first.rule.index));
            decisions.push((*number, always));
            continue;
        }
        let list: Vec<Entry> = group.iter().map(|(_, entry)| entry.clone()).collect();
        decisions.push((*number, decision(effective(&list), arch)));
    }
    decisions
}

/// Only the first rule without conditions, if there is one.
fn effective<'a, 'b>(list: &'b [Entry<'a>]) -> &'b [Entry<'a>] {
    match list.iter().position(Entry::is_unconditional) {
        Some(index) => list.get(index..=index).unwrap_or_default(),
        None => list,
    }
}

fn decision(list: &[Entry], arch: Arch) -> Decision {
    if let [only] = list
        && only.is_unconditional()
    {
        return Decision::Always(only.rule.action, Reason::Rule(only.rule.index));
    }
    let mut clauses = Vec::new();
    for entry in list {
        let clause = |conditions: Vec<Condition>| Clause {
            conditions,
            action: entry.rule.action,
            rule: entry.rule.index,
        };
        match entry.multiplexed {
            Some(condition) => clauses.push(clause(vec![condition])),
            None => clauses.extend(entry.rule.alternatives.iter().cloned().map(clause)),
        }
    }
    Decision::First {
        clauses,
        wide: arch.is_64_bit(),
    }
}

/// Allows a call of one architecture if the conditions hold, before all other decisions about it.
pub fn allow_if(tables: &mut [Table], arch: Arch, number: u32, conditions: Vec<Condition>) {
    let Some(table) = tables.iter_mut().find(|table| table.audit == arch.audit()) else {
        return;
    };
    let after = table.intervals.partition_point(|interval| interval.first <= number);
    let Some(index) = after.checked_sub(1) else { return };
    let Some(found) = table.intervals.get(index) else {
        return;
    };
    let (first, decision) = (found.first, found.decision.clone());
    let clause = |conditions, action| Clause {
        conditions,
        action,
        // Not a rule of the profile.
        rule: usize::MAX,
    };
    let mut clauses = vec![clause(conditions, Action::ALLOW)];
    match &decision {
        Decision::Always(action, _) => clauses.push(clause(Vec::new(), *action)),
        Decision::First { clauses: others, .. } => clauses.extend(others.iter().cloned()),
    }
    let before = (first < number).then(|| Interval {
        first,
        decision: decision.clone(),
    });
    let single = Interval {
        first: number,
        decision: Decision::First {
            clauses,
            wide: arch.is_64_bit(),
        },
    };
    // The next number may already be the start of an interval.
    let next = table.intervals.get(after).map(|interval| interval.first);
    let rest = (next != Some(number + 1)).then(|| Interval {
        first: number + 1,
        decision,
    });
    let replacement = before.into_iter().chain([single]).chain(rest);
    table.intervals.splice(index..after, replacement);
}

/// The action for a number, if it does not depend on the arguments.
pub fn unconditional_action(tables: &[Table], audit: u32, number: u32) -> Option<Action> {
    match find(tables, audit, number)? {
        Decision::Always(action, _) => Some(*action),
        Decision::First { .. } => None,
    }
}

/// The decision about a number; none for an architecture that the profile does not list.
pub fn find(tables: &[Table], audit: u32, number: u32) -> Option<&Decision> {
    let table = tables.iter().find(|table| table.audit == audit)?;
    let after = table.intervals.partition_point(|interval| interval.first <= number);
    let interval = table.intervals.get(after.wrapping_sub(1));
    interval.map(|interval| &interval.decision)
}

/// The action for a call with these arguments, and the reason.
pub fn evaluate(tables: &[Table], default: Action, audit: u32, number: u32, arguments: &[u64; 6]) -> (Action, Reason) {
    match find(tables, audit, number) {
        Some(Decision::Always(action, reason)) => (*action, *reason),
        Some(Decision::First { clauses, wide }) => clauses
            .iter()
            .find(|clause| {
                let mut conditions = clause.conditions.iter();
                conditions.all(|condition| condition.holds(arguments, *wide))
            })
            .map_or((default, Reason::Default), |clause| {
                (clause.action, Reason::Rule(clause.rule))
            }),
        // Tables have no gaps, so the architecture is not listed.
        None => (Action::KILL_THREAD, Reason::UnlistedArch),
    }
}
