//! Profiles with many rules about one call, each with a condition of its own.

use serde_json::{Value, json};

use super::classic_bpf::{self, Data};
use super::{NO_ARGS, read};
use orlop::security::seccomp::arch::{Arch, Call};
use orlop::security::seccomp::compile::compile;
use orlop::security::seccomp::decide::{evaluate, tables};
use orlop::security::seccomp::profile::Profile;

const ARCHITECTURES: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];

/// A profile of `count` rules about ioctl, whose conditions are made by `args`.
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

/// Scattered, so that no two are neighbours.
fn scattered(index: u64) -> u64 {
    0x5401 + index * 7
}

/// Asks about values around which something turns, on all architectures. Returns the program's length and the most
/// instructions that an answer took.
fn ask(profile: &Profile) -> (usize, usize) {
    let program = compile(profile, Arch::X86_64).unwrap();
    classic_bpf::check(&program);
    let decided = tables(profile, Arch::X86_64);
    let mut values: Vec<[u64; 6]> = vec![NO_ARGS, [u64::MAX; 6]];
    // Some hundred of them, the last one too.
    let step = profile.rules.len() / 100 + 1;
    for rule in profile.rules.iter().rev().step_by(step) {
        for conditions in &rule.alternatives {
            let mut met = NO_ARGS;
            for condition in conditions {
                met[usize::from(condition.argument)] = condition.value;
            }
            values.push(met);
            for condition in conditions {
                let place = usize::from(condition.argument);
                for other in [
                    condition.value.wrapping_add(1),
                    condition.value.wrapping_sub(1),
                    condition.value ^ (1 << 32),
                    condition.value | !condition.mask,
                ] {
                    let mut missed = met;
                    missed[place] = other;
                    values.push(missed);
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
            let (answer, took) = classic_bpf::run(&program, &data, true);
            let (said, reason) = evaluate(&decided, profile.default, audit, nr, args);
            assert_eq!(said.0, answer, "{arch:?} {args:x?} {reason:?}");
            most = most.max(took);
        }
    }
    (program.len(), most)
}

/// What crun, by way of libseccomp, takes as well.
#[test]
fn two_thousand_rules_about_one_call_fit() {
    let eq = |index| json!([argument(1, scattered(index), "EQ")]);
    for (count, profile) in [
        (1000, many(1000, allow, eq)),
        (2000, many(2000, allow, eq)),
        (3000, many(3000, allow, eq)),
        (3900, many(3900, allow, eq)),
        (1000, many(1000, errno, eq)),
        // Two values about one argument are alternatives.
        (
            2000,
            many(1000, allow, |index| {
                json!([
                    argument(1, scattered(index), "EQ"),
                    argument(1, scattered(index) + 3, "EQ")
                ])
            }),
        ),
        // Above the lower half.
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
        // One of two conditions is the same for all, whichever comes first.
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
        // Each with a mask of its own, so that they are asked one after the other.
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
        let (length, most) = ask(&profile);
        eprintln!("{count} conditions: {length} instructions, {most} at most for an answer");
        assert!(length <= 4096, "{count}: {length}");
        assert!(
            length > 2900 || most <= 30,
            "{count}: {most} instructions for an answer"
        );
    }
}

/// All that is next to each other and gets the same answer is one comparison or two.
#[test]
fn a_range_of_values_is_no_list() {
    let (length, _) = ask(&many(2000, allow, |index| json!([argument(1, 0x5401 + index, "EQ")])));
    assert!(length < 60, "{length}");
}

/// Rules of all operators about the same few values, in any order and overlapping: the first that holds decides.
#[test]
fn overlapping_rules_are_answered_by_the_first() {
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
        ask(&read(document).unwrap());
    }
}

/// What is refused for its length is told so.
#[test]
fn more_than_the_kernel_takes_is_refused() {
    let profile = many(6000, allow, |index| json!([argument(1, scattered(index), "EQ")]));
    let error = orlop::error::Report::of(&compile(&profile, Arch::X86_64).unwrap_err());
    assert!(error.msg.contains("limit is 4096"), "{}", error.msg);
    assert!(error.hint.is_some());
}
