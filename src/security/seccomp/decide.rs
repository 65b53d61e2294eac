//! From the rules of a profile to what is answered for every number: the meaning of a profile, which `compile` turns
//! into instructions and `orlop seccomp explain` reads directly.
//!
//! For one system call on one architecture:
//! 1. A rule whose action is the default one says nothing.
//! 2. A rule without conditions decides, whatever others say; the first of several. So it is with libseccomp, and engines
//!    rely on it: Docker adds `clone` without conditions for a privileged container after the `clone` with them.
//! 3. Otherwise the first rule in the profile's order whose conditions hold.
//! 4. Otherwise the default action; but a call that is newer than the newest one in the profile gets ENOSYS, as if the
//!    kernel did not have it either: the profile's author cannot have meant it, and C libraries fall back to an older
//!    call on ENOSYS only.
//!
//! What comes from an architecture that the profile does not list kills the thread.
//!
//! Some architectures can make calls by way of socketcall(2) and ipc(2), which say in their first argument which one is
//! meant. A rule about the call covers that way too. The call's own arguments lie in memory there, out of a filter's
//! reach: of a rule with conditions we assume the worse, so that it refuses by that way always and allows never.

use super::arch::{ARM_PRIVATE, Arch, Call, X32_BIT};
use super::profile::{Profile, Rule};
use crate::plan::seccomp::{Action, Clause, Condition, Decision, Interval, Reason, Table};

/// A rule as it applies to one call or number.
#[derive(Clone)]
struct Entry<'a> {
    rule: &'a Rule,
    /// Set if it applies by way of a bundling call.
    bundled: Option<Condition>,
}

impl Entry<'_> {
    fn is_unconditional(&self) -> bool {
        self.bundled.is_none() && self.rule.alternatives.iter().any(|alternative| alternative.is_empty())
    }
}

/// The tables of a profile, the native architecture's first. Architectures of the other byte order are left out: no
/// kernel can run programs of both.
pub fn tables(profile: &Profile, native: Arch) -> Vec<Table> {
    let mut calls: Vec<(Call, &Rule)> = Vec::with_capacity(512);
    for rule in &profile.rules {
        if rule.action != profile.default {
            calls.extend(rule.calls.iter().map(|call| (*call, rule)));
        }
    }
    // Stable, so that rules about one call stay in their order.
    calls.sort_by_key(|(call, _)| *call);
    let mut tables: Vec<Table> = Vec::new();
    let possible = |arch: &&Arch| arch.is_little_endian() == native.is_little_endian();
    for arch in profile.architectures.iter().filter(possible) {
        if tables.iter().any(|table| table.audit == arch.audit()) {
            continue;
        }
        let mut intervals = Vec::with_capacity(512);
        let listed = |other: Arch| *arch == other || profile.architectures.contains(&other);
        if [Arch::X86_64, Arch::X32].contains(arch) {
            if listed(Arch::X86_64) {
                fill(&mut intervals, profile, &calls, Arch::X86_64, 0, X32_BIT - 1);
            } else {
                intervals.push(foreign(0));
            }
            if listed(Arch::X32) {
                fill(&mut intervals, profile, &calls, Arch::X32, X32_BIT, u32::MAX);
            } else {
                intervals.push(foreign(X32_BIT));
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

fn foreign(first: u32) -> Interval {
    Interval {
        first,
        decision: Decision::Always(Action::KILL_THREAD, Reason::Foreign),
    }
}

fn default(profile: &Profile, first: u32) -> Interval {
    Interval {
        first,
        decision: Decision::Always(profile.default, Reason::Default),
    }
}

/// Adds the intervals of one architecture, which has the numbers from `low` to `high`.
fn fill(intervals: &mut Vec<Interval>, profile: &Profile, calls: &[(Call, &Rule)], arch: Arch, low: u32, high: u32) {
    let newest = newest(profile, arch);
    // From `next` up to but not including `end` there is nothing in the profile.
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
        let unknown = || Decision::Always(Action::errno(libc::ENOSYS as u32), Reason::Newer(newest));
        let mut next = next;
        if next == 0 && matches!(arch, Arch::S390 | Arch::S390x) {
            // The kernel leaves the number 0 where a number that came in a register is unknown to it.
            put(0, unknown());
            next = 1;
        }
        if next <= newest {
            put(next, by_default());
        }
        let after = next.max(newest + 1);
        if arch == Arch::Arm {
            if after < ARM_PRIVATE {
                put(after, unknown());
            }
            return put(after.max(ARM_PRIVATE), by_default());
        }
        // With the number -1 a tracer has a call skipped; that is no new call.
        if after < u32::MAX {
            put(after, unknown());
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

/// The number of the newest call of the profile, if what is newer shall get ENOSYS.
fn newest(profile: &Profile, arch: Arch) -> Option<u32> {
    // Who lets unknown calls pass, or decides about each, does not want them to be unknown.
    let wanted = profile.default.is_refusal() && profile.default != Action::errno(libc::ENOSYS as u32);
    if !wanted {
        return None;
    }
    let numbers = profile.rules.iter().flat_map(|rule| &rule.calls);
    numbers
        .filter_map(|call| arch.number(*call))
        .filter(|number| arch != Arch::Arm || *number < ARM_PRIVATE)
        .max()
}

/// What is decided about the numbers that the profile is about, in their order.
fn decisions(calls: &[(Call, &Rule)], arch: Arch) -> Vec<(u32, Decision)> {
    let mut entries: Vec<(u32, Entry)> = Vec::with_capacity(calls.len() + 32);
    for group in calls.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((call, _)) = group.first() else { continue };
        let list: Vec<Entry> = group.iter().map(|(_, rule)| Entry { rule, bundled: None }).collect();
        let list = effective(&list);
        if arch.has_bundles()
            && let Some((bundle, which)) = call.bundle()
            && let Some(number) = bundle.number(arch)
        {
            for entry in list {
                if entry.is_unconditional() || !entry.rule.action.is_permissive() {
                    let bundled = Some(Condition::masked(0, bundle.mask(), which.into()));
                    entries.push((number, Entry { bundled, ..*entry }));
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
        match entry.bundled {
            Some(condition) => clauses.push(clause(vec![condition])),
            None => clauses.extend(entry.rule.alternatives.iter().cloned().map(clause)),
        }
    }
    Decision::First {
        clauses,
        wide: arch.is_64_bit(),
    }
}

/// Allows a call of one architecture under conditions, whatever else is decided about it.
pub fn allow(tables: &mut [Table], arch: Arch, number: u32, conditions: Vec<Condition>) {
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
        // None of the profile's.
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
    let this = Interval {
        first: number,
        decision: Decision::First {
            clauses,
            wide: arch.is_64_bit(),
        },
    };
    // The next number may begin an interval already.
    let next = table.intervals.get(after).map(|interval| interval.first);
    let rest = (next != Some(number + 1)).then(|| Interval {
        first: number + 1,
        decision,
    });
    let instead = before.into_iter().chain([this]).chain(rest);
    table.intervals.splice(index..after, instead);
}

/// What is answered to a number whatever its arguments are.
pub fn always(tables: &[Table], audit: u32, number: u32) -> Option<Action> {
    match find(tables, audit, number)? {
        Decision::Always(action, _) => Some(*action),
        Decision::First { .. } => None,
    }
}

/// What is decided about a number; none for an architecture that the profile does not list.
pub fn find(tables: &[Table], audit: u32, number: u32) -> Option<&Decision> {
    let table = tables.iter().find(|table| table.audit == audit)?;
    let after = table.intervals.partition_point(|interval| interval.first <= number);
    let interval = table.intervals.get(after.wrapping_sub(1));
    interval.map(|interval| &interval.decision)
}

/// What is answered to a call, and why.
pub fn look_up(tables: &[Table], default: Action, audit: u32, number: u32, arguments: &[u64; 6]) -> (Action, Reason) {
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
        // No table has a gap.
        None => (Action::KILL_THREAD, Reason::Foreign),
    }
}
