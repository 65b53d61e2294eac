//! Compares our filters with those of the seccompiler crate, for the profiles that it can express: one architecture, one
//! action for all rules, and rules that are alternatives.

use std::collections::BTreeMap;

use ::seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::classic_bpf::{self, Data};
use super::differential::profile;
use orlop::plan::seccomp::{Action, Condition, Operator};
use orlop::security::seccomp::arch::{Arch, Call};
use orlop::security::seccomp::compile::compile;
use orlop::security::seccomp::profile::{Profile, Rule};

const ARCHITECTURES: [(Arch, TargetArch); 3] = [
    (Arch::X86_64, TargetArch::x86_64),
    (Arch::Aarch64, TargetArch::aarch64),
    (Arch::Riscv64, TargetArch::riscv64),
];

/// Default actions. Those that refuse calls are not used, except ENOSYS: with them, we give ENOSYS to newer calls.
const DEFAULTS: [Action; 4] = [
    Action::ALLOW,
    Action::LOG,
    Action(Action::TRACE.0 | 7),
    Action::errno(38),
];

const ACTIONS: [Action; 8] = [
    Action::ALLOW,
    Action::LOG,
    Action(Action::TRACE.0 | 9),
    Action::errno(1),
    Action::errno(4095),
    Action::TRAP,
    Action::KILL_PROCESS,
    Action::KILL_THREAD,
];

fn action(action: Action) -> SeccompAction {
    let data = action.data().unwrap_or_default();
    match action.kind() {
        Action::ALLOW => SeccompAction::Allow,
        Action::LOG => SeccompAction::Log,
        Action::TRACE => SeccompAction::Trace(data),
        Action::ERRNO => SeccompAction::Errno(data),
        Action::TRAP => SeccompAction::Trap,
        Action::KILL_PROCESS => SeccompAction::KillProcess,
        Action::KILL_THREAD => SeccompAction::KillThread,
        other => panic!("{other:?}"),
    }
}

fn condition(condition: &Condition) -> SeccompCondition {
    let operator = match condition.operator {
        Operator::Ne => SeccompCmpOp::Ne,
        Operator::Lt => SeccompCmpOp::Lt,
        Operator::Le => SeccompCmpOp::Le,
        Operator::Eq => SeccompCmpOp::Eq,
        Operator::Ge => SeccompCmpOp::Ge,
        Operator::Gt => SeccompCmpOp::Gt,
        Operator::MaskedEq => SeccompCmpOp::MaskedEq(condition.mask),
    };
    SeccompCondition::new(condition.argument, SeccompCmpArgLen::Qword, operator, condition.value).unwrap()
}

/// The same filter, compiled by seccompiler. `matched` is the action of all rules.
fn reference(profile: &Profile, matched: Action, arch: Arch, target: TargetArch) -> BpfProgram {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut unconditional = Vec::new();
    for rule in &profile.rules {
        for number in rule.calls.iter().filter_map(|call| arch.number(*call)) {
            let alternatives = rules.entry(number.into()).or_default();
            for conditions in &rule.alternatives {
                match conditions.as_slice() {
                    [] => unconditional.push(i64::from(number)),
                    conditions => {
                        let conditions = conditions.iter().map(condition).collect();
                        alternatives.push(SeccompRule::new(conditions).unwrap());
                    }
                }
            }
        }
    }
    // seccompiler expresses a rule without conditions as an empty list.
    for number in unconditional {
        rules.insert(number, Vec::new());
    }
    let filter = SeccompFilter::new(rules, action(profile.default), action(matched), target).unwrap();
    filter.try_into().unwrap()
}

/// Values near the boundaries of comparisons.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..4,
        any::<u64>(),
        select(vec![u64::MAX, 1 << 32, (1 << 32) - 1, (1 << 32) + 1, 1 << 63, 1 << 31])
    ]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    use Operator::{Eq, Ge, Gt, Le, Lt, MaskedEq, Ne};
    let operator = select(vec![Ne, Lt, Le, Eq, Ge, Gt, MaskedEq]);
    (0u8..6, operator, value(), value()).prop_map(|(argument, operator, value, mask)| match operator {
        MaskedEq => Condition::masked(argument, mask, value),
        operator => Condition {
            argument,
            operator,
            value,
            mask: u64::MAX,
        },
    })
}

/// Calls and alternatives of a rule.
fn any_rule() -> impl Strategy<Value = (Vec<Call>, Vec<Vec<Condition>>)> {
    let calls: Vec<Call> = Call::all().collect();
    let alternative = prop::collection::vec(any_condition(), 0..4);
    // Few calls, so that several rules are about the same one.
    let few = select(calls.iter().copied().step_by(40).collect::<Vec<_>>());
    let call = prop_oneof![select(calls), few];
    (
        prop::collection::vec(call, 1..5),
        prop::collection::vec(alternative, 1..4),
    )
}

/// An argument vector that is near the conditions of a rule.
fn near(conditions: &[Condition], mut args: [u64; 6], offset: u64) -> [u64; 6] {
    for condition in conditions {
        if let Some(argument) = args.get_mut(usize::from(condition.argument)) {
            *argument = condition.value.wrapping_add(offset);
        }
    }
    args
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn filters_return_the_same_actions_as_seccompilers(
        (arch, target) in select(ARCHITECTURES.to_vec()),
        default in select(DEFAULTS.to_vec()),
        matched in select(ACTIONS.to_vec()),
        rules in prop::collection::vec(any_rule(), 0..12),
        numbers in prop::collection::vec(0u32..600, 0..10),
        args in any::<[u64; 6]>(),
        pick in any::<Index>(),
    ) {
        // seccompiler rejects a filter whose two actions are the same.
        prop_assume!(default != matched);
        let rules = rules.into_iter().enumerate().map(|(index, (calls, alternatives))| Rule {
            index,
            action: matched,
            calls,
            alternatives,
        });
        let profile = profile(default, &[arch], rules.collect());
        let ours = compile(&profile, arch).unwrap();
        classic_bpf::check(&ours);
        let theirs = reference(&profile, matched, arch, target);
        let mut points: Vec<(u32, [u64; 6])> = numbers.iter().map(|number| (*number, args)).collect();
        for rule in &profile.rules {
            for number in rule.calls.iter().filter_map(|call| arch.number(*call)) {
                points.push((number, args));
                for conditions in &rule.alternatives {
                    let offset = [0, 1, u64::MAX, 1 << 32][pick.index(4)];
                    points.extend([(number, near(conditions, args, 0)), (number, near(conditions, args, offset))]);
                }
            }
        }
        for (nr, args) in points {
            let data = Data { nr, arch: arch.audit(), args };
            let (result, _) = classic_bpf::run(&ours, &data, true);
            let (expected, _) = classic_bpf::run(&theirs, &data, true);
            prop_assert_eq!(result, expected, "{:x?} {:#x?}", data, profile);
        }
    }
}
