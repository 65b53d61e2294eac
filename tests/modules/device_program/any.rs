//! Random rules, and random values of their fields.

use proptest::prelude::*;

use super::{MAJORS, MINORS, RWM, Request, ask, program, reference};
use orlop::cgroup::devices::{MKNOD, READ, RuleError, WRITE, default_rules};
use orlop::plan::{DeviceKind, DeviceRule};

/// Few numbers, so that rules match requests, and the ends of the range.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        8 => 0..4u32,
        2 => prop::sample::select(vec![5, 8, 136, MAJORS - 1, MAJORS, MINORS - 1, MINORS, u32::MAX - 1, u32::MAX]),
        1 => any::<u32>(),
    ]
}

fn any_rule() -> impl Strategy<Value = DeviceRule> {
    let kind = prop::sample::select(vec![DeviceKind::All, DeviceKind::Block, DeviceKind::Character]);
    let access = prop_oneof![3 => 1..8u8, 1 => Just(RWM)];
    (
        any::<bool>(),
        kind,
        prop::option::of(number()),
        prop::option::of(number()),
        access,
    )
        .prop_map(|(allow, kind, major, minor, access)| DeviceRule {
            allow,
            kind,
            major,
            minor,
            access,
        })
}

/// Often with a rule for everything somewhere, as most lists have one.
fn any_rules() -> impl Strategy<Value = Vec<DeviceRule>> {
    let total = (any::<bool>(), any::<prop::sample::Index>());
    (
        prop::collection::vec(any_rule(), 0..12),
        prop::option::of(total),
        any::<bool>(),
    )
        .prop_map(|(mut list, total, defaults)| {
            if let Some((allow, place)) = total {
                let all = DeviceRule {
                    allow,
                    kind: DeviceKind::All,
                    major: None,
                    minor: None,
                    access: RWM,
                };
                list.insert(place.index(list.len() + 1), all);
            }
            if defaults {
                list.extend(default_rules());
            }
            list
        })
}

fn any_request() -> impl Strategy<Value = Request> {
    (1..3u32, number(), number(), 0..8u8).prop_map(|(kind, major, minor, access)| Request {
        kind,
        major: major % MAJORS,
        minor: minor % MINORS,
        access,
    })
}

/// Requests for the numbers of every rule and the numbers next to them, with every access.
fn boundary_requests(list: &[DeviceRule]) -> Vec<Request> {
    let near = |number: Option<u32>| {
        let number = number.unwrap_or(0);
        [number, number.wrapping_add(1), number.wrapping_sub(1)]
    };
    let mut requests = Vec::new();
    for rule in list {
        for major in near(rule.major) {
            for minor in near(rule.minor) {
                requests.extend((0..16).map(|n| Request {
                    kind: 1 + n / 8,
                    major: major % MAJORS,
                    minor: minor % MINORS,
                    access: (n % 8) as u8,
                }));
            }
        }
    }
    requests
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_program_decides_as_the_rules_do(list in any_rules(), random in prop::collection::vec(any_request(), 64)) {
        let program = program(&list);
        for request in random.into_iter().chain(boundary_requests(&list)) {
            prop_assert_eq!(ask(&program, request), reference(&list, request), "{:?}", request);
        }
    }

    #[test]
    fn any_values_are_a_rule_or_an_error_that_names_them(
        allow in any::<bool>(),
        kind in prop::option::of(prop_oneof!["[abcupx]{0,2}", ".{0,3}"]),
        major in prop::option::of(prop_oneof![-3..3i64, any::<i64>(), 0xffff_fff0..0x1_0000_0010i64]),
        minor in prop::option::of(prop_oneof![-3..3i64, any::<i64>()]),
        access in prop::option::of(prop_oneof!["[rwmx]{0,4}", ".{0,3}"]),
    ) {
        let letters = access.as_deref().unwrap_or("rwm");
        let right_kind = kind.as_deref().is_none_or(|kind| ["", "a", "b", "c", "u"].contains(&kind));
        let right_access = !letters.is_empty() && letters.chars().all(|letter| "rwm".contains(letter));
        let right_number = |number: Option<i64>| number.is_none_or(|n| (-1..=0xffff_ffff).contains(&n));
        match DeviceRule::from_spec(allow, kind.as_deref(), major, minor, access.as_deref()) {
            Ok(rule) => {
                prop_assert!(right_kind && right_access && right_number(major) && right_number(minor));
                prop_assert_eq!(rule.allow, allow);
                let number = |number: Option<u32>| number.map_or(-1, i64::from);
                prop_assert_eq!((number(rule.major), number(rule.minor)), (major.unwrap_or(-1), minor.unwrap_or(-1)));
                for (letter, bit) in [('r', READ), ('w', WRITE), ('m', MKNOD)] {
                    prop_assert_eq!(rule.access & bit != 0, letters.contains(letter));
                }
            }
            Err(RuleError::Kind(_)) => prop_assert!(!right_kind),
            Err(RuleError::Access(_)) => prop_assert!(!right_access),
            Err(RuleError::Number("major", _)) => prop_assert!(!right_number(major)),
            Err(RuleError::Number(_, _)) => prop_assert!(!right_number(minor)),
        }
    }
}
