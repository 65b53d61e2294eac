//! Profiles with arbitrary content, from bytes to programs: each is accepted or rejected, and an error has a path.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::classic_bpf::{self, Data};
use crate::config::places;
use orlop::bundle::text::read_as;
use orlop::error::{Report, Result};
use orlop::security::seccomp::arch::{Arch, Call};
use orlop::security::seccomp::compile::compile;
use orlop::security::seccomp::decide::{evaluate, tables};
use orlop::security::seccomp::profile::{self, Profile};
use orlop::security::seccomp::text;

/// Reads a profile like `explain` and `dump`, and like `linux.seccomp` in config.json.
fn parse(bytes: &[u8]) -> Result<Profile> {
    profile::read(&read_as(bytes)?, Arch::X86_64, "linux.seccomp")
}

/// Checks an accepted profile: its program passes the kernel's checks, and does what `explain` says.
fn check_compiled(profile: &Profile, nr: u32, args: [u64; 6]) {
    let program = match compile(profile, Arch::X86_64) {
        Ok(program) => program,
        Err(error) => return assert!(error.to_string().contains("4096"), "{error}"),
    };
    classic_bpf::check(&program);
    assert_eq!(text::program(&program, Arch::X86_64).lines().count(), program.len());
    let tables = tables(profile, Arch::X86_64);
    for arch in [Arch::X86_64, Arch::X86, Arch::Aarch64] {
        let data = Data {
            nr,
            arch: arch.audit(),
            args,
        };
        let (result, _) = classic_bpf::run(&program, &data, true);
        let (decided, reason) = evaluate(&tables, profile.default, data.arch, nr, &args);
        assert_eq!(decided.0, result, "{data:x?} {reason:?}");
        assert!(!text::reason(reason).is_empty() && !text::action(decided).is_empty());
    }
}

/// Checks the error of a rejected profile: it has a path in the document, unless it is about the JSON syntax.
fn check_error(error: &orlop::error::Error, is_json: bool) {
    const FIELDS: [&str; 7] = [
        "defaultAction",
        "defaultErrnoRet",
        "architectures",
        "flags",
        "listenerPath",
        "listenerMetadata",
        "syscalls",
    ];
    let report = Report::of(error);
    assert!(!report.msg.is_empty());
    match report.path {
        Some(path) => {
            let field = path.strip_prefix("linux.seccomp.").unwrap_or(&path);
            assert!(FIELDS.iter().any(|name| field.starts_with(name)), "{path}");
        }
        // The profile itself has no path in the document.
        None => {
            let lacks = report.msg.starts_with("missing field `defaultAction`");
            assert!(!is_json || lacks, "no path: {}", report.msg);
        }
    }
}

#[test]
fn an_error_about_the_whole_profile_has_no_path() {
    let report = Report::of(&parse(b"{}").unwrap_err());
    assert_eq!(
        (report.msg.as_str(), report.path),
        ("missing field `defaultAction`", None)
    );
}

fn docker() -> Value {
    serde_json::from_str(include_str!("../../profiles/docker-default.json")).unwrap()
}

fn any_profile() -> impl Strategy<Value = Value> {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::sample::select;
    let action = || select(profile::ACTIONS);
    let names = || {
        let known: Vec<String> = Call::all().map(|call| call.name().to_string()).collect();
        vec(
            prop_oneof![9 => select(known), 1 => "[a-z_]{0,9}".prop_map(String::from)],
            0..6,
        )
    };
    let arg = (0usize..8, any::<u64>(), of(any::<u64>()), select(profile::OPERATORS))
        .prop_map(|(index, value, two, op)| json!({ "index": index, "value": value, "valueTwo": two, "op": op }));
    let rule = (names(), action(), of(0u32..5000), vec(arg, 0..8)).prop_map(
        |(names, action, errno, args)| json!({ "names": names, "action": action, "errnoRet": errno, "args": args }),
    );
    let archs: Vec<&str> = Arch::all().map(Arch::name).collect();
    (
        action(),
        of(0u32..5000),
        of(vec(select(archs), 0..5)),
        of(vec(select(profile::FLAGS), 0..3)),
        of(prop_oneof![Just(""), Just("/run/agent"), Just("agent")]),
        of(prop_oneof![Just(""), Just("words")]),
        of(vec(rule, 0..30)),
    )
        .prop_map(|(default, errno, archs, flags, path, metadata, rules)| {
            json!({ "defaultAction": default, "defaultErrnoRet": errno, "architectures": archs, "flags": flags,
                    "listenerPath": path, "listenerMetadata": metadata, "syscalls": rules })
        })
}

/// A profile with valid rules, so that nearly every profile is accepted and its program checked.
fn valid_profile() -> impl Strategy<Value = Value> {
    use proptest::collection::vec;
    use proptest::sample::{select, subsequence};
    let known: Vec<String> = Call::all().map(|call| call.name().to_string()).collect();
    let action = || select(profile::ACTIONS);
    let value = || {
        prop_oneof![
            0u64..4,
            any::<u64>(),
            select(vec![u64::MAX, 1 << 32, (1 << 32) - 1, 1 << 63])
        ]
    };
    let arg = (0usize..6, value(), value(), select(profile::OPERATORS))
        .prop_map(|(index, value, two, op)| json!({ "index": index, "value": value, "valueTwo": two, "op": op }));
    let rule = (vec(select(known), 1..9), action(), vec(arg, 0..4))
        .prop_map(|(names, action, args)| json!({ "names": names, "action": action, "args": args }));
    let archs = vec!["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_S390X"];
    (action(), subsequence(archs, 0..4), vec(rule, 0..30)).prop_map(|(default, archs, rules)| {
        json!({ "defaultAction": default, "architectures": archs, "syscalls": rules, "listenerPath": "/run/agent" })
    })
}

/// A value that replaces another one in a profile.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "SCMP_ACT_NOTIFY",
            "SCMP_ACT_TRACE",
            "SCMP_ARCH_NATIVE",
            "SCMP_CMP_NE",
            "clone"
        ])
        .prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, {}, "socket"])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Random bytes, and a real profile in which some bytes are changed or missing.
    #[test]
    fn invalid_bytes_are_rejected(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        if let Err(error) = parse(&noise) {
            check_error(&error, false);
        }
        let mut bytes = docker().to_string().into_bytes();
        if cut.index(3) == 0 {
            bytes.truncate(cut.index(bytes.len()));
        }
        for (place, byte) in &changes {
            let length = bytes.len();
            if let Some(at) = bytes.get_mut(place.index(length.max(1))) {
                *at = *byte;
            }
        }
        match parse(&bytes) {
            Ok(profile) => check_compiled(&profile, 39, [0; 6]),
            Err(error) => check_error(&error, false),
        }
    }

    /// A real profile in which some values are replaced.
    #[test]
    fn a_profile_with_replaced_values_is_accepted_or_rejected(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_value()), 1..4),
    ) {
        let mut document = docker();
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&document, String::new(), &mut all);
            if let Some(found) = document.pointer_mut(&all[place.index(all.len())]) {
                *found = value;
            }
        }
        match parse(document.to_string().as_bytes()) {
            Ok(profile) => check_compiled(&profile, 135, [8; 6]),
            Err(error) => check_error(&error, document.is_object()),
        }
    }

    /// Arbitrary combinations of known and unknown names: every accepted profile compiles to a valid program.
    #[test]
    fn any_profile_is_accepted_or_rejected(document in any_profile(), nr in 0u32..500, args in any::<[u64; 6]>()) {
        match parse(document.to_string().as_bytes()) {
            Ok(profile) => check_compiled(&profile, nr, args),
            Err(error) => check_error(&error, true),
        }
    }

    #[test]
    fn the_program_does_what_explain_says(document in valid_profile(), nr in 0u32..500, args in any::<[u64; 6]>()) {
        let profile = parse(document.to_string().as_bytes()).unwrap();
        check_compiled(&profile, nr, args);
    }
}
