//! Profiles with many rules about one call, each with another condition.

use serde_json::{Value, json};

use super::classic_bpf::{self, Data};
use super::{NO_ARGS, read};
use orlop::security::seccomp::arch::{Arch, Call};
use orlop::security::seccomp::compile::compile;
use orlop::security::seccomp::decide::{evaluate, tables};
use orlop::security::seccomp::profile::Profile;

const ARCHITECTURES: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

/// A profile of `count` rules about ioctl, with the conditions of `args`.
fn many(count: u64, action: impl Fn(u64) -> Value, args: impl Fn(u64) -> Value) -> Profile {
    let rules: Vec<Value> = (0..count)
        .map(|index| {
            let mut rule = json!({ "names": ["ioctl"], "args": args(index) });
            let action = action(index);
            rule.as_object_mut()
                .unwrap()
                .extend(action.as_object().unwrap().clone());
            rule
        })
        .collect();
    read(json!({ "defaultAction": "SCMP_ACT_ERRNO", "architectures": ARCHITECTURES, "syscalls": rules })).unwrap()
}

fn allow(_: u64) -> Value {
    json!({ "action": "SCMP_ACT_ALLOW" })
}

/// For the comparison with libseccomp.
pub fn three_hundred() -> Profile {
    many(300, errno, |index| json!([argument(1, scattered(index), "EQ")]))
}

fn errno(index: u64) -> Value {
    json!({ "action": "SCMP_ACT_ERRNO", "errnoRet": 2 + index % 4000 })
}

fn argument(index: u64, value: u64, operator: &str) -> Value {
    json!({ "index": index, "value": value, "op": format!("SCMP_CMP_{operator}") })
}

/// Values of which no two are consecutive.
fn scattered(index: u64) -> u64 {
    0x5401 + index * 7
}

/// Checks the program with values near those of the conditions, on all architectures. Returns its length and the maximum
/// number of executed instructions.
fn check(profile: &Profile) -> (usize, usize) {
    let program = compile(profile, Arch::X86_64).unwrap();
    classic_bpf::check(&program);
    let decided = tables(profile, Arch::X86_64);
    let mut values: Vec<[u64; 6]> = vec![NO_ARGS, [u64::MAX; 6]];
    // About a hundred rules, including the last one.
    let step = profile.rules.len() / 100 + 1;
    for rule in profile.rules.iter().rev().step_by(step) {
        for conditions in &rule.alternatives {
            let mut matching = NO_ARGS;
            for condition in conditions {
                matching[usize::from(condition.argument)] = condition.value;
            }
            values.push(matching);
            for condition in conditions {
                let index = usize::from(condition.argument);
                for other in [
                    condition.value.wrapping_add(1),
                    condition.value.wrapping_sub(1),
                    condition.value ^ (1 << 32),
                    condition.value | !condition.mask,
                ] {
                    let mut near = matching;
                    near[index] = other;
                    values.push(near);
                }
            }
        }
    }
    let call = Call::by_name("ioctl").unwrap();
    let mut most = 0;
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        let (nr, audit) = (arch.number(call).unwrap(), arch.audit());
        for args in &values {
            let data = Data {
                nr,
                arch: audit,
                args: *args,
            };
            let (result, steps) = classic_bpf::run(&program, &data, true);
            let (decision, reason) = evaluate(&decided, profile.default, audit, nr, args);
            assert_eq!(decision.0, result, "{arch:?} {args:x?} {reason:?}");
            most = most.max(steps);
        }
    }
    (program.len(), most)
}

/// crun, which uses libseccomp, accepts as many.
#[test]
fn two_thousand_rules_about_one_call_fit() {
    let eq = |index| json!([argument(1, scattered(index), "EQ")]);
    for (count, profile) in [
        (1000, many(1000, allow, eq)),
        (2000, many(2000, allow, eq)),
        (3000, many(3000, allow, eq)),
        (3900, many(3900, allow, eq)),
        (1000, many(1000, errno, eq)),
        // Two conditions about one argument are alternatives.
        (
            2000,
            many(1000, allow, |index| {
                json!([
                    argument(1, scattered(index), "EQ"),
                    argument(1, scattered(index) + 3, "EQ")
                ])
            }),
        ),
        // Values with an upper half.
        (
            2000,
            many(2000, allow, |index| {
                json!([argument(1, (7 << 32) + scattered(index), "EQ")])
            }),
        ),
        (
            800,
            many(800, allow, |index| {
                json!([argument(1, (index << 32) + scattered(index), "EQ")])
            }),
        ),
        // One of two conditions is the same in all rules, either the first or the second.
        (
            2000,
            many(2000, allow, |index| {
                json!([argument(0, 3, "EQ"), argument(1, scattered(index), "EQ")])
            }),
        ),
        (
            2000,
            many(2000, allow, |index| {
                json!([argument(1, scattered(index), "EQ"), argument(2, 3, "EQ")])
            }),
        ),
        (
            2000,
            many(2000, allow, |index| {
                json!([{ "index": 1, "value": 0xffff_00ffu64, "valueTwo": scattered(index) & 0xffff_00ff,
                         "op": "SCMP_CMP_MASKED_EQ" }])
            }),
        ),
        // Each with another mask, so that they are checked one by one.
        (
            1000,
            many(
                1000,
                allow,
                |index| json!([{ "index": 1, "value": (index + 1) << 4, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ" }]),
            ),
        ),
        (
            1000,
            many(1000, errno, |index| json!([argument(1, 10 * (1000 - index), "GE")])),
        ),
        (1000, many(1000, errno, |index| json!([argument(1, 10 * index, "LT")]))),
        (1000, many(1000, allow, |index| json!([argument(1, 10 * index, "GT")]))),
        (
            500,
            many(500, errno, |index| json!([argument(1, (1 << 40) + 10 * index, "LE")])),
        ),
    ] {
        let (length, most) = check(&profile);
        eprintln!("{count} conditions: {length} instructions, at most {most} executed");
        assert!(length <= 4096, "{count}: {length}");
        assert!(length > 2900 || most <= 30, "{count}: {most} instructions executed");
    }
}

/// Consecutive values with the same action take only one or two comparisons.
#[test]
fn a_range_of_values_takes_few_comparisons() {
    let (length, _) = check(&many(2000, allow, |index| json!([argument(1, 0x5401 + index, "EQ")])));
    assert!(length < 60, "{length}");
}

/// Overlapping rules with all operators and the same few values, in any order: the first one that matches decides.
#[test]
fn the_first_of_overlapping_rules_decides() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33
    };
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    for round in 0..400 {
        let count = 4 + random() % 12;
        let rules: Vec<Value> = (0..count)
            .map(|index| {
                let mut args = Vec::new();
                for argument in 0..2u64 {
                    if argument == 1 && random() % 3 > 0 {
                        continue;
                    }
                    let values = [0, 1, 2, 5, 0xffff_ffff, 1 << 32, (1 << 32) + 5, 5 << 32, u64::MAX];
                    let value = values[random() as usize % values.len()];
                    // Mostly one operator, so that there are runs.
                    let operator = match random() % 3 {
                        0 => operators[random() as usize % operators.len()],
                        _ => operators[round % operators.len()],
                    };
                    let mask = [u64::MAX, 0xff, 0xff << 32, 5][random() as usize % 4];
                    args.push(match operator {
                        "MASKED_EQ" => json!({ "index": argument, "value": mask, "valueTwo": value & mask,
                                               "op": "SCMP_CMP_MASKED_EQ" }),
                        _ => json!({ "index": argument, "value": value, "op": format!("SCMP_CMP_{operator}") }),
                    });
                }
                json!({ "names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2 + index % 5, "args": args })
            })
            .collect();
        let document = json!({ "defaultAction": "SCMP_ACT_ERRNO", "architectures": ARCHITECTURES, "syscalls": rules });
        check(&read(document).unwrap());
    }
}

#[test]
fn a_program_longer_than_the_kernels_limit_is_an_error() {
    let profile = many(6000, allow, |index| json!([argument(1, scattered(index), "EQ")]));
    let error = orlop::error::Report::of(&compile(&profile, Arch::X86_64).unwrap_err());
    assert!(error.msg.contains("limit is 4096"), "{}", error.msg);
    assert!(error.hint.is_some());
}
