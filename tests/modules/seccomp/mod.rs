//! The seccomp compiler: its tables, its decisions and its programs.

mod any;
mod classic_bpf;
mod differential;
mod many_rules;
mod oracle;
mod seccompiler;
mod tables;

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use classic_bpf::Data;
use orlop::error::Result;
use orlop::plan::seccomp::{Action, Logging, Reason};
use orlop::security::seccomp::arch::{Arch, Call};
use orlop::security::seccomp::compile::{compile, program};
use orlop::security::seccomp::decide::{evaluate, tables};
use orlop::security::seccomp::notify::allow_sleep;
use orlop::security::seccomp::profile::{self, Profile};

fn read(document: Value) -> Result<Profile> {
    let seccomp: LinuxSeccomp = serde_json::from_value(document)?;
    profile::read(&seccomp, Arch::X86_64, "linux.seccomp")
}

/// The profile that Docker writes to config.json by default.
fn docker() -> Profile {
    read(serde_json::from_str(include_str!("../../profiles/docker-default.json")).unwrap()).unwrap()
}

/// The profile that Podman writes. Its template contains ENOSYS for newer calls.
fn podman() -> Profile {
    read(serde_json::from_str(include_str!("../../profiles/podman-default.json")).unwrap()).unwrap()
}

fn deny_list() -> Profile {
    let names = [
        "mount",
        "umount2",
        "ptrace",
        "kexec_load",
        "bpf",
        "shmat",
        "connect",
        "reboot",
        "keyctl",
    ];
    read(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            { "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
            { "names": ["swapon", "swapoff", "iopl"], "action": "SCMP_ACT_KILL_PROCESS" },
            { "names": ["socket"], "action": "SCMP_ACT_LOG",
              "args": [{ "index": 0, "value": 16, "op": "SCMP_CMP_EQ" }] },
        ]
    }))
    .unwrap()
}

fn argument_heavy() -> Profile {
    let mut rules = Vec::new();
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let names = [
        "ioctl",
        "fcntl",
        "prctl",
        "futex",
        "openat",
        "mmap",
        "mprotect",
        "madvise",
        "sendto",
        "clone",
        "wait4",
        "setsockopt",
        "lseek",
        "kill",
    ];
    for (index, name) in names.iter().enumerate() {
        let operator = operators[index % operators.len()];
        let value: u64 = [3, 0x1_0000_0002, 0xffff_ffff, 0x7e02_0000, u64::MAX - 1][index % 5];
        let mut args = vec![
            json!({ "index": index % 6, "value": value, "valueTwo": value & 0x20000, "op": format!("SCMP_CMP_{operator}") }),
        ];
        if index % 2 == 0 {
            args.push(json!({ "index": (index + 1) % 6, "value": value / 2, "op": "SCMP_CMP_GT" }));
        }
        if index % 3 == 0 {
            args.push(json!({ "index": (index + 2) % 6, "value": value ^ 5, "op": "SCMP_CMP_NE" }));
        }
        rules.push(json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": args }));
    }
    read(json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": rules
    }))
    .unwrap()
}

fn run(profile: &Profile, arch: Arch, name: &str, args: [u64; 6]) -> Action {
    let program = compile(profile, Arch::X86_64).unwrap();
    classic_bpf::check(&program);
    let nr = arch.number(Call::by_name(name).unwrap()).unwrap();
    let audit = arch.audit();
    let (result, _) = classic_bpf::run(&program, &Data { nr, arch: audit, args }, true);
    let (decided, _) = evaluate(&tables(profile, Arch::X86_64), profile.default, audit, nr, &args);
    assert_eq!(decided.0, result);
    Action(result)
}

fn profile_of(default: &str, rules: Value) -> Profile {
    read(json!({
        "defaultAction": default,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules
    }))
    .unwrap()
}

const NO_ARGS: [u64; 6] = [0; 6];

#[test]
fn every_action_has_the_kernels_number() {
    // linux/seccomp.h.
    for (name, errno, number) in [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x8000_0000),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_ERRNO", None, 0x0005_0001),
        ("SCMP_ACT_ERRNO", Some(0), 0x0005_0000),
        ("SCMP_ACT_ERRNO", Some(4095), 0x0005_0fff),
        ("SCMP_ACT_TRACE", None, 0x7ff0_0001),
        ("SCMP_ACT_TRACE", Some(65535), 0x7ff0_ffff),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
    ] {
        let mut rule = json!({ "names": ["mkdir"], "action": name });
        if let Some(errno) = errno {
            rule["errnoRet"] = json!(errno);
        }
        let profile = profile_of("SCMP_ACT_ALLOW", json!([rule]));
        assert_eq!(
            run(&profile, Arch::X86_64, "mkdir", NO_ARGS),
            Action(number),
            "{name} {errno:?}"
        );
        assert_eq!(run(&profile, Arch::X86_64, "rmdir", NO_ARGS), Action::ALLOW);
    }
    for name in profile::ACTIONS {
        let listener = if *name == "SCMP_ACT_NOTIFY" {
            json!("/run/agent")
        } else {
            Value::Null
        };
        assert!(
            read(json!({ "defaultAction": name, "listenerPath": listener })).is_ok(),
            "{name}"
        );
    }
    for flag in profile::FLAGS {
        let profile = json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x", "flags": [flag] });
        assert!(read(profile).is_ok(), "{flag}");
    }
}

#[test]
fn every_operator_compares_all_64_bits() {
    let big = 0x1_0000_0002u64;
    for (operator, two, matching, others) in [
        ("NE", 0, vec![0, 2, big + 1, 1 << 32], vec![big]),
        (
            "LT",
            0,
            vec![0, 2, u64::from(u32::MAX), big - 1],
            vec![big, big + 1, u64::MAX],
        ),
        ("LE", 0, vec![0, 2, big], vec![big + 1, 2 << 32]),
        ("EQ", 0, vec![big], vec![2, 1 << 32, big + 1]),
        (
            "GE",
            0,
            vec![big, big + 1, 2 << 32],
            vec![big - 1, 5, u64::from(u32::MAX)],
        ),
        ("GT", 0, vec![big + 1, 2 << 32], vec![big, 3, u64::from(u32::MAX)]),
        ("MASKED_EQ", 2, vec![2, 3, 0xf002], vec![0, big, 1 << 32]),
        ("MASKED_EQ", 0, vec![0, 1, 2 << 32], vec![2, 1 << 32]),
    ] {
        let args = json!([{ "index": 5, "value": big, "valueTwo": two, "op": format!("SCMP_CMP_{operator}") }]);
        let rule = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": args }]);
        let profile = profile_of("SCMP_ACT_ALLOW", rule);
        for (values, expected) in [(matching, Action::errno(1)), (others, Action::ALLOW)] {
            for value in values {
                let got = run(&profile, Arch::X86_64, "mkdir", [0, 0, 0, 0, 0, value]);
                assert_eq!(got, expected, "{value:#x} {operator} {big:#x}");
            }
        }
    }
}

/// Matrix: "same index twice → separate (OR) rules".
#[test]
fn conditions_on_one_argument_are_alternatives_and_others_must_all_hold() {
    let condition = |index: u8, value: u64| json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" });
    let rule = |args: Value| {
        profile_of(
            "SCMP_ACT_ERRNO",
            json!([{ "names": ["mkdir"], "action": "SCMP_ACT_ALLOW", "args": args }]),
        )
    };
    let both = rule(json!([condition(0, 1), condition(1, 2)]));
    let either = rule(json!([condition(0, 1), condition(0, 5), condition(1, 2)]));
    for (args, with_both, with_either) in [
        ([1, 2, 0, 0, 0, 0], true, true),
        ([1, 0, 0, 0, 0, 0], false, true),
        ([5, 0, 0, 0, 0, 0], false, true),
        ([0, 2, 0, 0, 0, 0], false, true),
        ([0, 0, 0, 0, 0, 0], false, false),
    ] {
        assert_eq!(
            run(&both, Arch::X86_64, "mkdir", args) == Action::ALLOW,
            with_both,
            "{args:?}"
        );
        assert_eq!(
            run(&either, Arch::X86_64, "mkdir", args) == Action::ALLOW,
            with_either,
            "{args:?}"
        );
    }
}

#[test]
fn a_rule_without_conditions_comes_first_then_the_first_that_matches() {
    let equal = json!([{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }]);
    let below = json!([{ "index": 0, "value": 9, "op": "SCMP_CMP_LT" }]);
    let profile = profile_of(
        "SCMP_ACT_ERRNO",
        json!([
            { "names": ["mkdir", "rmdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7, "args": equal },
            { "names": ["mkdir", "rmdir"], "action": "SCMP_ACT_ALLOW", "args": below },
            { "names": ["rmdir"], "action": "SCMP_ACT_LOG" },
            { "names": ["rmdir"], "action": "SCMP_ACT_KILL" },
        ]),
    );
    let action = |name, value| run(&profile, Arch::X86_64, name, [value, 0, 0, 0, 0, 0]);
    assert_eq!(action("mkdir", 1), Action::errno(7));
    assert_eq!(action("mkdir", 2), Action::ALLOW);
    assert_eq!(action("mkdir", 9), Action::errno(1));
    for value in [1, 2, 9] {
        assert_eq!(action("rmdir", value), Action::LOG);
    }
}

/// Matrix: "unknown-newer syscall → ENOSYS instead of default EPERM".
#[test]
fn calls_newer_than_the_profile_get_enosys() {
    for (default, newer) in [
        ("SCMP_ACT_ERRNO", Action::errno(38)),
        ("SCMP_ACT_KILL_PROCESS", Action::errno(38)),
        ("SCMP_ACT_TRAP", Action::errno(38)),
        ("SCMP_ACT_ALLOW", Action::ALLOW),
        ("SCMP_ACT_LOG", Action::LOG),
        ("SCMP_ACT_TRACE", Action(Action::TRACE.0 | 1)),
    ] {
        let profile = profile_of(
            default,
            json!([{ "names": ["mkdir", "openat2"], "action": "SCMP_ACT_ALLOW" }]),
        );
        assert_eq!(run(&profile, Arch::X86_64, "faccessat2", NO_ARGS), newer, "{default}");
        assert_eq!(run(&profile, Arch::X86, "faccessat2", NO_ARGS), newer, "{default}");
        assert_eq!(run(&profile, Arch::X32, "faccessat2", NO_ARGS), newer, "{default}");
        // The author of the profile has considered older calls.
        assert_eq!(run(&profile, Arch::X86_64, "mount", NO_ARGS), profile.default);
        // A call that a tracer skips is not a new call.
        let data = Data {
            nr: u32::MAX,
            arch: Arch::X86_64.audit(),
            args: NO_ARGS,
        };
        let program = compile(&profile, Arch::X86_64).unwrap();
        assert_eq!(classic_bpf::run(&program, &data, true).0, profile.default.0);
    }
    let explicit = read(json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
                           "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ALLOW" }] }));
    assert_eq!(
        run(&explicit.unwrap(), Arch::X86_64, "mount", NO_ARGS),
        Action::errno(38)
    );
}

#[test]
fn only_listed_architectures_and_the_native_one_are_allowed() {
    let profile = read(json!({ "defaultAction": "SCMP_ACT_ALLOW" })).unwrap();
    assert_eq!(run(&profile, Arch::X86_64, "read", NO_ARGS), Action::ALLOW);
    for arch in [Arch::X86, Arch::X32, Arch::Aarch64] {
        assert_eq!(run(&profile, arch, "read", NO_ARGS), Action::KILL_THREAD, "{arch:?}");
    }
    // An architecture with the other byte order is ignored.
    let mixed = read(json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"] })).unwrap();
    assert_eq!(
        compile(&mixed, Arch::X86_64).unwrap(),
        compile(&profile, Arch::X86_64).unwrap()
    );
    for arch in Arch::all() {
        let all = profile_of(
            "SCMP_ACT_ERRNO",
            json!([{ "names": ["read"], "action": "SCMP_ACT_ALLOW" }]),
        );
        let all = Profile {
            architectures: vec![arch],
            ..all
        };
        let program = compile(&all, arch).unwrap();
        classic_bpf::check(&program);
        let number = arch.number(Call::by_name("read").unwrap()).unwrap();
        let data = Data {
            nr: number,
            arch: arch.audit(),
            args: NO_ARGS,
        };
        assert_eq!(
            classic_bpf::run(&program, &data, arch.is_little_endian()).0,
            Action::ALLOW.0,
            "{arch:?}"
        );
    }
}

/// Rules also apply to calls through socketcall(2) and ipc(2).
#[test]
fn rules_apply_to_multiplexed_calls() {
    let profile = profile_of(
        "SCMP_ACT_ALLOW",
        json!([{ "names": ["socket", "shmat"], "action": "SCMP_ACT_ERRNO" }]),
    );
    let action = |name, first| run(&profile, Arch::X86, name, [first, 0, 0, 0, 0, 0]);
    assert_eq!(action("socketcall", 1), Action::errno(1));
    assert_eq!(action("socketcall", 2), Action::ALLOW);
    assert_eq!(action("ipc", 21), Action::errno(1));
    assert_eq!(
        action("ipc", 21 | 1 << 16),
        Action::errno(1),
        "the rule does not depend on the version"
    );
    assert_eq!(action("ipc", 22), Action::ALLOW);
    // A filter cannot read the arguments: a refusal always applies, a permission never.
    let family = json!([{ "index": 0, "value": 16, "op": "SCMP_CMP_EQ" }]);
    for (default, action, multiplexed) in [
        ("SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS", Action::KILL_PROCESS),
        ("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", Action::errno(1)),
    ] {
        let profile = profile_of(
            default,
            json!([{ "names": ["socket"], "action": action, "args": family }]),
        );
        assert_eq!(run(&profile, Arch::X86, "socketcall", [1, 0, 0, 0, 0, 0]), multiplexed);
    }
}

/// The kernel does not run the filter for calls that it knows to be always allowed.
#[test]
fn calls_that_docker_allows_are_in_the_kernels_cache() {
    let profile = docker();
    let program = compile(&profile, Arch::X86_64).unwrap();
    let mut cached = 0;
    for arch in [Arch::X86_64, Arch::X86] {
        for nr in 0..460 {
            let (args, audit) = (NO_ARGS, arch.audit());
            let (action, reason) = evaluate(&tables(&profile, Arch::X86_64), profile.default, audit, nr, &args);
            let unconditional = match reason {
                Reason::Rule(index) => profile.rules[index].alternatives == [[]],
                _ => false,
            };
            let expected = action == Action::ALLOW && unconditional;
            assert_eq!(
                classic_bpf::is_always_allowed(&program, nr, audit),
                expected,
                "{arch:?} {nr}"
            );
            cached += u32::from(expected);
        }
    }
    assert!(cached > 600, "{cached}");
}

#[test]
fn a_decision_takes_few_instructions() {
    let profile = docker();
    let program = compile(&profile, Arch::X86_64).unwrap();
    let longest = (0..500)
        .map(|nr| {
            classic_bpf::run(
                &program,
                &Data {
                    nr,
                    arch: Arch::X86_64.audit(),
                    args: NO_ARGS,
                },
                true,
            )
            .1
        })
        .max();
    // Load and compare the architecture, load the number, a tree of about 50 leaves, return; and conditions.
    assert!(longest <= Some(24), "{longest:?}");
    assert!(program.len() < 600, "{}", program.len());
}

/// Jumps over more than 255 instructions have the right targets.
#[test]
fn a_long_program_is_correct() {
    let calls: Vec<&str> = Call::all().map(Call::name).collect();
    let rules = |each: usize| -> Vec<Value> {
        calls
            .iter()
            .enumerate()
            .flat_map(|(index, name)| {
                (0..each).map(move |again| {
                    let args = json!([{ "index": 0, "value": index * 100 + again, "op": "SCMP_CMP_EQ" }]);
                    json!({ "names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 + index % 4000, "args": args })
                })
            })
            .collect()
    };
    let profile = read(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules(1) })).unwrap();
    let program = compile(&profile, Arch::X86_64).unwrap();
    assert!(program.len() > 1500, "{}", program.len());
    for (index, name) in calls.iter().enumerate() {
        if Arch::X86_64.number(Call::by_name(name).unwrap()).is_some() {
            let first = index as u64 * 100;
            let action = |first| run(&profile, Arch::X86_64, name, [first, 0, 0, 0, 0, 0]);
            assert_eq!(action(first), Action::errno(1 + index as u32 % 4000), "{name}");
            assert_eq!(action(first + 1), Action::ALLOW, "{name}");
        }
    }
}

/// The best of many runs, because other processes may slow down some of them.
#[test]
fn compiling_dockers_profile_is_fast() {
    let seccomp: LinuxSeccomp = serde_json::from_str(include_str!("../../profiles/docker-default.json")).unwrap();
    let best = (0..200)
        .map(|_| {
            let start = std::time::Instant::now();
            let profile = profile::read(&seccomp, Arch::X86_64, "").unwrap();
            assert!(!compile(&profile, Arch::X86_64).unwrap().is_empty());
            start.elapsed()
        })
        .min()
        .unwrap();
    eprintln!("read and compiled in {} µs", best.as_micros());
    let limit = if cfg!(debug_assertions) { 20_000 } else { 300 };
    assert!(best.as_micros() < limit, "{} µs", best.as_micros());
}

/// Matrix: "flags", and the default flags. The numbers are those of linux/seccomp.h.
#[test]
fn flags_have_the_kernels_numbers_and_the_default_is_spec_allow() {
    let flags = |names: Value| {
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": names });
        read(profile).unwrap().flags
    };
    let notifying = |names: Value| {
        let profile = json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x", "flags": names });
        read(profile).unwrap().flags
    };
    assert_eq!(flags(Value::Null), 4);
    assert_eq!(flags(json!([])), 0);
    // The process has only one thread when it installs the filter.
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_TSYNC"])), 0);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_LOG"])), 2);
    assert_eq!(
        flags(json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_LOG"])),
        6
    );
    assert_eq!(notifying(json!([])), 8);
    assert_eq!(
        notifying(json!([
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
            "SECCOMP_FILTER_FLAG_TSYNC"
        ])),
        8 | 32
    );
}

/// Matrix: ">6 args": none is ignored. The seventh is the second one about an argument, so each is an alternative.
#[test]
fn more_than_six_conditions_are_all_used() {
    let args: Vec<Value> = (0..7)
        .map(|n| json!({ "index": n % 6, "value": 100 + n, "op": "SCMP_CMP_EQ" }))
        .collect();
    let rule = json!([{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": args }]);
    let profile = profile_of("SCMP_ACT_ALLOW", rule);
    for n in 0..7u64 {
        let mut words = NO_ARGS;
        words[n as usize % 6] = 100 + n;
        assert_eq!(
            run(&profile, Arch::X86_64, "mkdir", words),
            Action::errno(1),
            "args[{n}]"
        );
    }
    assert_eq!(run(&profile, Arch::X86_64, "mkdir", NO_ARGS), Action::ALLOW);
}

/// `--seccomp-log=allow`: calls that would be refused are logged and executed, and nothing else changes.
#[test]
fn logging_allows_only_calls_that_would_be_refused() {
    let rule = |name: &str, action: &str| json!({ "names": [name], "action": action });
    let rules = json!([
        rule("mkdir", "SCMP_ACT_ERRNO"),
        rule("rmdir", "SCMP_ACT_KILL"),
        rule("chdir", "SCMP_ACT_TRAP"),
        rule("chmod", "SCMP_ACT_TRACE"),
        rule("chown", "SCMP_ACT_NOTIFY"),
        rule("read", "SCMP_ACT_ALLOW"),
    ]);
    let profile = json!({ "defaultAction": "SCMP_ACT_KILL_PROCESS", "listenerPath": "/x", "syscalls": rules });
    for (logging, refused) in [(Logging::Deny, None), (Logging::Allow, Some(Action::LOG))] {
        let mut profile = read(profile.clone()).unwrap();
        profile.enable_logging(logging);
        assert_eq!(profile.flags & 2, 2);
        for (name, action) in [
            ("mkdir", refused.unwrap_or(Action::errno(1))),
            ("rmdir", refused.unwrap_or(Action::KILL_THREAD)),
            ("chdir", refused.unwrap_or(Action::TRAP)),
            ("chmod", Action(Action::TRACE.0 | 1)),
            ("chown", Action::NOTIFY),
            ("read", Action::ALLOW),
            ("getpid", refused.unwrap_or(Action::KILL_PROCESS)),
            // Newer than the profile: also logged.
            ("listns", refused.unwrap_or(Action::errno(38))),
        ] {
            assert_eq!(run(&profile, Arch::X86_64, name, NO_ARGS), action, "{logging:?} {name}");
        }
    }
}

/// The thread that waits for `start` must be able to sleep, with a futex call that does nothing else, even if the profile
/// does not allow futex.
#[test]
fn the_filtered_thread_may_sleep_and_nothing_else_changes() {
    let sleep = [0x1000, 128, 0x6f72_6c70, 0, 0, 0];
    for rules in [
        json!([{ "names": ["read"], "action": "SCMP_ACT_ALLOW" }]),
        json!([{ "names": ["futex", "gettid"], "action": "SCMP_ACT_TRAP" }]),
        json!([{ "names": ["futex"], "action": "SCMP_ACT_ALLOW",
                 "args": [{ "index": 1, "value": 1, "op": "SCMP_CMP_EQ" }] }]),
        json!([{ "names": ["futex"], "action": "SCMP_ACT_ALLOW" }]),
    ] {
        let profile = profile_of("SCMP_ACT_ERRNO", rules);
        let before = tables(&profile, Arch::X86_64);
        let mut after = tables(&profile, Arch::X86_64);
        allow_sleep(&mut after, Arch::X86_64);
        let program = program(&after, profile.default, Arch::X86_64).unwrap();
        classic_bpf::check(&program);
        let mut differ = Vec::new();
        for arch in [Arch::X86_64.audit(), Arch::X86.audit()] {
            for nr in 0..500 {
                for args in [
                    sleep,
                    NO_ARGS,
                    [0x1000, 1, 1, 0, 0, 0],
                    [0x1000, 128, 0x6f72_6c70, 1, 0, 0],
                ] {
                    let (result, _) = classic_bpf::run(&program, &Data { nr, arch, args }, true);
                    let (decided, _) = evaluate(&before, profile.default, arch, nr, &args);
                    if decided.0 != result {
                        differ.push((nr, args, result));
                    }
                }
            }
        }
        let allowed = evaluate(&before, profile.default, Arch::X86_64.audit(), 202, &sleep).0 == Action::ALLOW;
        let expected = if allowed {
            vec![]
        } else {
            vec![(202, sleep, Action::ALLOW.0)]
        };
        assert_eq!(differ, expected);
    }
}
