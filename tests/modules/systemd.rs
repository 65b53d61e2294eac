//! The exchange with systemd: messages as bytes, limits as properties, values of annotations.

use proptest::prelude::*;

use orlop::cgroup::resources::{convert, read_unified};
use orlop::cgroup::systemd::gvariant;
use orlop::cgroup::systemd::properties::{self, Property};
use orlop::dbus::Value;
use orlop::dbus::wire::{Kind, Message, decode, encode, length, signature};
use orlop::plan::limits::{BlockDevice, Limit, Limits, Max, Rates, Raw, RdmaLimits, Setting, Weight};
use orlop::state::record::UnitBefore;

fn hello() -> Message {
    Message {
        path: Some("/org/freedesktop/DBus".into()),
        interface: Some("org.freedesktop.DBus".into()),
        member: Some("Hello".into()),
        destination: Some("org.freedesktop.DBus".into()),
        ..Message::new(Kind::Call, 1)
    }
}

/// Encoded by hand according to the specification.
#[test]
fn a_call_is_encoded_as_the_specification_says() {
    let mut expected: Vec<u8> = vec![b'l', 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0x6d, 0, 0, 0];
    for (code, kind, text) in [
        (1u8, b'o', "/org/freedesktop/DBus"),
        (2, b's', "org.freedesktop.DBus"),
        (3, b's', "Hello"),
        (6, b's', "org.freedesktop.DBus"),
    ] {
        expected.resize(expected.len().next_multiple_of(8), 0);
        expected.extend([code, 1, kind, 0]);
        expected.extend((text.len() as u32).to_le_bytes());
        expected.extend(text.as_bytes());
        expected.push(0);
    }
    expected.resize(expected.len().next_multiple_of(8), 0);
    assert_eq!(encode(&hello()), expected);
    assert_eq!(decode(&expected).unwrap(), hello());
}

/// The answer to a call for a property, sent by a machine with the other byte order.
#[test]
fn messages_in_the_other_byte_order_are_read() {
    let mut bytes: Vec<u8> = vec![b'B', 2, 0, 1, 0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0, 15];
    bytes.extend([5, 1, b'u', 0, 0, 0, 0, 3, 8, 1, b'g', 0, 1, b'v', 0, 0]);
    bytes.extend([1, b's', 0, 0, 0, 0, 0, 3, b'2', b'5', b'2', 0]);
    let message = decode(&bytes).unwrap();
    assert_eq!(
        (message.kind, message.serial, message.answers),
        (Kind::Return, 9, Some(3))
    );
    assert_eq!(message.body, [Value::variant(Value::text("252"))]);
}

#[test]
fn an_incomplete_message_is_not_decoded() {
    let bytes = encode(&hello());
    for cut in 0..bytes.len() {
        assert!(decode(&bytes[..cut]).is_err(), "{cut}");
        assert_eq!(length(&bytes[..cut]).unwrap(), (cut >= 16).then_some(bytes.len()));
    }
    let mut long = bytes.clone();
    long.push(0);
    assert!(decode(&long).is_err());
    for (at, byte) in [(0, b'x'), (1, 0), (1, 5), (3, 2), (4, 255), (15, 255), (12, 0)] {
        let mut wrong = bytes.clone();
        wrong[at] = byte;
        assert!(length(&wrong).is_err() || decode(&wrong).is_err(), "{at} {byte}");
    }
}

/// Any value that has a signature.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u8>().prop_map(Value::Byte),
        any::<bool>().prop_map(Value::Bool),
        any::<i16>().prop_map(Value::Int16),
        any::<u16>().prop_map(Value::Uint16),
        any::<i32>().prop_map(Value::Int32),
        any::<u32>().prop_map(Value::Uint32),
        any::<i64>().prop_map(Value::Int64),
        any::<u64>().prop_map(Value::Uint64),
        (-1e9..1e9f64).prop_map(Value::Double),
        "[ -~é日]{0,20}".prop_map(Value::Text),
        "/[a-z_/]{0,20}".prop_map(Value::Path),
        "[ybnqiuxtdsogv]{0,5}".prop_map(Value::Signature),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(Value::variant),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
            (inner.clone(), 0..4usize).prop_map(|(value, count)| {
                Value::Array(signature(std::slice::from_ref(&value)), vec![value; count])
            }),
            (any::<u32>(), inner).prop_map(|(key, value)| {
                let entry = Value::Entry(Box::new((Value::Uint32(key), value)));
                Value::Array(signature(std::slice::from_ref(&entry)), vec![entry])
            }),
        ]
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let kind = prop_oneof![
        Just(Kind::Call),
        Just(Kind::Return),
        Just(Kind::Error),
        Just(Kind::Signal)
    ];
    let name = || prop::option::of("[a-z.]{1,30}");
    let names = (
        prop::option::of("/[a-z/]{0,20}"),
        name(),
        name(),
        name(),
        name(),
        name(),
    );
    let body = prop::collection::vec(any_value(), 0..4);
    (kind, 1..u32::MAX, names, prop::option::of(any::<u32>()), body)
        .prop_map(|(kind, serial, names, answers, body)| {
            let (path, interface, member, error, destination, sender) = names;
            Message {
                path,
                interface,
                member,
                error,
                answers,
                destination,
                sender,
                body,
                ..Message::new(kind, serial)
            }
        })
        // A signature has one byte for its length.
        .prop_filter("too many types", |message| signature(&message.body).len() < 200)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_is_decoded_as_it_was_encoded(message in any_message()) {
        let bytes = encode(&message);
        prop_assert_eq!(length(&bytes).unwrap(), Some(bytes.len()));
        prop_assert_eq!(decode(&bytes).unwrap(), message);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = length(&bytes);
        let _ = decode(&bytes);
    }

    #[test]
    fn a_message_with_wrong_bytes_is_a_message_or_an_error(
        message in any_message(),
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = encode(&message);
        for (at, byte) in wrong {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = length(&bytes);
        let _ = decode(&bytes);
    }

    #[test]
    fn an_annotation_is_read_as_the_value_that_it_writes((text, value) in any_annotation()) {
        prop_assert_eq!(gvariant::parse(&text).unwrap(), value.clone(), "{}", text);
        // Nothing may be missing or left over.
        prop_assert!(gvariant::parse(&format!("{text} 1")).is_err(), "{}", text);
        for open in ["[", "("] {
            prop_assert!(gvariant::parse(&format!("{open}{text}")).is_err(), "{}", text);
        }
        for close in ["]", ")"] {
            prop_assert!(gvariant::parse(&format!("{text}{close}")).is_err(), "{}", text);
        }
    }

    #[test]
    fn any_text_of_an_annotation_is_a_value_or_an_error(text in "[ '\"\\\\\\[\\](){}<>@,:a-z0-9+.é-]{0,40}") {
        if let Ok(value) = gvariant::parse(&text) {
            // It can be sent and received.
            let message = Message { body: vec![Value::variant(value)], ..Message::new(Kind::Call, 1) };
            let back = decode(&encode(&message)).unwrap();
            prop_assert_eq!(signature(&back.body), "v");
        }
    }
}

/// Any value that an annotation can set, with its text.
fn any_annotation() -> impl Strategy<Value = (String, Value)> {
    let number = prop_oneof![
        any::<u8>().prop_map(|n| (format!("byte {n}"), Value::Byte(n))),
        any::<u8>().prop_map(|n| (format!("byte 0x{n:x}"), Value::Byte(n))),
        any::<i16>().prop_map(|n| (format!("int16 {n}"), Value::Int16(n))),
        any::<u16>().prop_map(|n| (format!("@q {n}"), Value::Uint16(n))),
        any::<i32>().prop_map(|n| (n.to_string(), Value::Int32(n))),
        any::<u32>().prop_map(|n| (format!("uint32 {n}"), Value::Uint32(n))),
        any::<i64>().prop_map(|n| (format!("int64 {n}"), Value::Int64(n))),
        any::<u64>().prop_map(|n| (format!("uint64 +{n}"), Value::Uint64(n))),
        (-1e9..1e9f64).prop_map(|n| (format!("{n:?}"), Value::Double(n))),
        (-1000..1000i32).prop_map(|n| (format!("double {n}"), Value::Double(n.into()))),
    ];
    let string = ("[ -~é日\n\t]{0,12}", prop::sample::select(vec!['\'', '"'])).prop_map(|(text, quote)| {
        let mut written = String::from(quote);
        for character in text.chars() {
            match character {
                '\n' => written += "\\n",
                'é' => written += "\\u00e9",
                '日' => written += "\\U000065e5",
                '\\' | '\'' | '"' => written.extend(['\\', character]),
                other => written.push(other),
            }
        }
        written.push(quote);
        (written, Value::Text(text))
    });
    let flat = prop_oneof![
        any::<bool>().prop_map(|on| (on.to_string(), Value::Bool(on))),
        number,
        string,
    ];
    flat.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|fields| {
                let (texts, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
                let end = if texts.len() == 1 { ",)" } else { ")" };
                (format!("({}{end}", texts.join(" , ")), Value::Struct(values))
            }),
            (inner, 0..4usize).prop_map(|((text, value), count)| {
                let kind = signature(std::slice::from_ref(&value));
                let texts = vec![text; count].join(", ");
                (format!("@a{kind} [{texts}]"), Value::Array(kind, vec![value; count]))
            }),
        ]
    })
}

fn limits(resources: serde_json::Value) -> Limits {
    convert(&serde_json::from_value(resources).unwrap(), "1.3.0").unwrap()
}

fn node(device: BlockDevice) -> Option<String> {
    (device == BlockDevice { major: 8, minor: 0 }).then(|| "/dev/sda".into())
}

fn known(resources: serde_json::Value, version: u32) -> Vec<Property> {
    let mut limits = limits(resources);
    properties::round_cpu_quota(&mut limits.settings);
    properties::of(&limits.settings, version, node)
}

fn number(name: &str, value: u64) -> Property {
    (name.into(), Value::Uint64(value))
}

fn bits(name: &str, bytes: &[u8]) -> Property {
    (
        name.into(),
        Value::Array("y".into(), bytes.iter().copied().map(Value::Byte).collect()),
    )
}

fn devices(name: &str, list: &[(&str, u64)]) -> Property {
    let entry = |(node, value): &(&str, u64)| Value::Struct(vec![Value::text(*node), Value::Uint64(*value)]);
    (
        name.into(),
        Value::Array("(st)".into(), list.iter().map(entry).collect()),
    )
}

#[test]
fn limits_become_properties() {
    let none = u64::MAX;
    let table: &[(serde_json::Value, &[Property])] = &[
        (serde_json::json!({}), &[]),
        (
            serde_json::json!({ "memory": { "limit": 64 << 20, "reservation": 16 << 20, "swap": 96 << 20 } }),
            &[
                number("MemorySwapMax", 32 << 20),
                number("MemoryMax", 64 << 20),
                number("MemoryLow", 16 << 20),
            ],
        ),
        (
            serde_json::json!({ "memory": { "limit": -1 } }),
            &[number("MemorySwapMax", none), number("MemoryMax", none)],
        ),
        (
            serde_json::json!({ "unified": {
                "memory.high": "48M", "memory.min": "max", "memory.zswap.max": "0", "memory.max": "0", "memory.oom.group": "1"
            } }),
            &[
                number("MemoryHigh", 48 << 20),
                number("MemoryMin", none),
                number("MemoryZSwapMax", 0),
            ],
        ),
        (serde_json::json!({ "pids": { "limit": 5 } }), &[number("TasksMax", 5)]),
        (serde_json::json!({ "pids": { "limit": 0 } }), &[number("TasksMax", 1)]),
        (
            serde_json::json!({ "pids": { "limit": -1 } }),
            &[number("TasksMax", none)],
        ),
        (
            serde_json::json!({ "cpu": { "shares": 1024 } }),
            &[number("CPUWeight", 100)],
        ),
        (
            serde_json::json!({ "cpu": { "shares": 1024, "idle": 1 } }),
            &[number("CPUWeight", 0)],
        ),
        (
            serde_json::json!({ "cpu": { "shares": 1024, "idle": 0 } }),
            &[number("CPUWeight", 100)],
        ),
        (
            serde_json::json!({ "cpu": { "idle": 0 } }),
            &[number("CPUWeight", none)],
        ),
        (
            serde_json::json!({ "cpu": { "quota": 5000, "period": 10000 } }),
            &[
                number("CPUQuotaPeriodUSec", 10_000),
                number("CPUQuotaPerSecUSec", 500_000),
            ],
        ),
        // Unit files cannot hold less than one percent.
        (
            serde_json::json!({ "cpu": { "quota": 1001, "period": 1000000 } }),
            &[
                number("CPUQuotaPeriodUSec", 1_000_000),
                number("CPUQuotaPerSecUSec", 10_000),
            ],
        ),
        (
            serde_json::json!({ "cpu": { "period": 20000 } }),
            &[number("CPUQuotaPeriodUSec", 20_000), number("CPUQuotaPerSecUSec", none)],
        ),
        (
            serde_json::json!({ "cpu": { "cpus": "0-2,9", "mems": "0" } }),
            &[bits("AllowedCPUs", &[7, 2]), bits("AllowedMemoryNodes", &[1])],
        ),
        (
            serde_json::json!({ "unified": { "cpuset.cpus": "" } }),
            &[bits("AllowedCPUs", &[])],
        ),
        // Only the kernel may understand this list.
        (serde_json::json!({ "unified": { "cpuset.cpus": "0-31:2/4" } }), &[]),
        (
            serde_json::json!({ "blockIO": { "weight": 500, "weightDevice": [{ "major": 8, "minor": 0, "weight": 10 }] } }),
            &[number("IOWeight", 4950), devices("IODeviceWeight", &[("/dev/sda", 1)])],
        ),
        (
            serde_json::json!({ "unified": { "io.weight": "default 50" } }),
            &[number("IOWeight", 50)],
        ),
        (
            serde_json::json!({ "blockIO": {
                "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 7 }, { "major": 8, "minor": 1, "rate": 9 }],
                "throttleWriteBpsDevice": [{ "major": 8, "minor": 0, "rate": 1 }, { "major": 8, "minor": 0, "rate": 2 }],
                "throttleReadIOPSDevice": [{ "major": 8, "minor": 0, "rate": 3 }],
                "throttleWriteIOPSDevice": [{ "major": 8, "minor": 0, "rate": 0 }]
            } }),
            &[
                devices("IOReadBandwidthMax", &[("/dev/sda", 7)]),
                devices("IOWriteBandwidthMax", &[("/dev/sda", 2)]),
                devices("IOReadIOPSMax", &[("/dev/sda", 3)]),
                devices("IOWriteIOPSMax", &[("/dev/sda", none)]),
            ],
        ),
        // Unified overrides.
        (
            serde_json::json!({ "memory": { "limit": 64 << 20 }, "unified": { "memory.max": "1G" } }),
            &[number("MemoryMax", 1 << 30)],
        ),
        // systemd has no properties for these.
        (
            serde_json::json!({
                "hugepageLimits": [{ "pageSize": "2MB", "limit": 0 }], "rdma": { "a": { "hcaHandles": 1 } },
                "cpu": { "burst": 5 }, "unified": { "misc.max": "a 1", "memory.oom.group": "0" }
            }),
            &[],
        ),
    ];
    for (resources, expected) in table {
        assert_eq!(known(resources.clone(), 255), *expected, "{resources}");
    }
}

#[test]
fn an_older_systemd_gets_only_properties_it_knows() {
    let zswap = serde_json::json!({ "unified": { "memory.zswap.max": "5" } });
    assert_eq!(known(zswap.clone(), 252), []);
    assert_eq!(known(zswap, 253), [number("MemoryZSwapMax", 5)]);
    let idle = serde_json::json!({ "cpu": { "idle": 1 } });
    assert_eq!(known(idle.clone(), 251), []);
    assert_eq!(known(idle, 252), [number("CPUWeight", 0)]);
    let group = |value: &str| limits(serde_json::json!({ "unified": { "memory.oom.group": value } })).settings;
    assert_eq!(properties::of_start(&group("1"), 252), []);
    assert_eq!(
        properties::of_start(&group("1"), 253),
        [("OOMPolicy".to_string(), Value::text("kill"))]
    );
    assert_eq!(
        properties::of_start(&group("0"), 253),
        [("OOMPolicy".to_string(), Value::text("continue"))]
    );
    assert_eq!(properties::of_start(&[], 253), []);
}

#[test]
fn a_quota_is_rounded_up_to_whole_percents() {
    for (quota, period, expected) in [
        (5000, 10000, "5000 10000"),
        (5500, 100_000, "6000 100000"),
        (1001, 1_000_000, "10000 1000000"),
        (-1, 50_000, "max 50000"),
        (100_000, 30_000, "100200 30000"),
    ] {
        let mut limits = limits(serde_json::json!({ "cpu": { "quota": quota, "period": period } }));
        properties::round_cpu_quota(&mut limits.settings);
        let texts: Vec<String> = limits.settings.iter().map(|setting| setting.limit.text()).collect();
        assert_eq!(texts, [expected]);
        // A line of unified is rounded too, for systemd and for the file.
        let line = format!("{} {period}", if quota < 0 { "max".into() } else { quota.to_string() });
        let mut limits = self::limits(serde_json::json!({ "unified": { "cpu.max": line } }));
        properties::round_cpu_quota(&mut limits.settings);
        let texts: Vec<String> = limits.settings.iter().map(|setting| setting.limit.text()).collect();
        assert_eq!(texts, [expected]);
    }
}

#[test]
fn every_limit_can_be_lifted() {
    let limits = limits(serde_json::json!({
        "memory": { "limit": 5, "reservation": 3 }, "pids": { "limit": 3 },
        "cpu": { "shares": 5, "quota": 5000, "cpus": "0", "mems": "0" },
        "blockIO": {
            "weight": 10, "weightDevice": [{ "major": 8, "minor": 0, "weight": 10 }],
            "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 7 }]
        }
    }));
    let before = UnitBefore {
        lift: limits.settings.into_iter().map(|setting| setting.limit).collect(),
        set: vec![Limit::PidsMax(Max::At(9))],
    };
    let none = u64::MAX;
    assert_eq!(
        properties::restoring(&before, 255, node),
        [
            number("TasksMax", 9),
            number("MemoryMax", none),
            number("MemoryLow", 0),
            number("CPUWeight", none),
            number("CPUQuotaPeriodUSec", 100_000),
            number("CPUQuotaPerSecUSec", none),
            bits("AllowedCPUs", &[]),
            bits("AllowedMemoryNodes", &[]),
            number("IOWeight", none),
            devices("IODeviceWeight", &[("/dev/sda", none)]),
            devices("IOReadBandwidthMax", &[("/dev/sda", none)]),
            devices("IOWriteBandwidthMax", &[("/dev/sda", none)]),
            devices("IOReadIOPSMax", &[("/dev/sda", none)]),
            devices("IOWriteIOPSMax", &[("/dev/sda", none)]),
        ]
    );
}

fn any_max() -> impl Strategy<Value = Max> {
    prop_oneof![Just(Max::Unlimited), (0..u64::MAX).prop_map(Max::At)]
}

fn any_device() -> impl Strategy<Value = BlockDevice> {
    (7..9u32, 0..2u32).prop_map(|(major, minor)| BlockDevice { major, minor })
}

/// Any limit that `unified` can set too.
fn any_limit() -> impl Strategy<Value = Limit> {
    let rate = || prop::option::of(any_max());
    let rates = (rate(), rate(), rate(), rate()).prop_filter_map("no rate", |(read, write, reads, writes)| {
        let rates = Rates {
            read_bytes: read,
            write_bytes: write,
            read_operations: reads,
            write_operations: writes,
        };
        (rates != Rates::default()).then_some(rates)
    });
    let weight = || prop_oneof![Just(Weight::Default), (1..10_000u64).prop_map(Weight::Of)];
    let device = || prop::option::of(any_device());
    prop_oneof![
        any_max().prop_map(Limit::PidsMax),
        any_max().prop_map(Limit::MemoryMax),
        any_max().prop_map(Limit::MemoryHigh),
        any_max().prop_map(Limit::MemoryLow),
        any_max().prop_map(Limit::MemoryMin),
        any_max().prop_map(Limit::MemorySwapMax),
        any_max().prop_map(Limit::MemoryZswapMax),
        any::<bool>().prop_map(Limit::MemoryOomGroup),
        any::<bool>().prop_map(Limit::CpuIdle),
        (1..10_000u64).prop_map(Limit::CpuWeight),
        (any_max(), 1000..1_000_000u64).prop_map(|(quota, period)| Limit::CpuMax { quota, period }),
        any::<u64>().prop_map(Limit::CpuMaxBurst),
        "[0-9]{1,2}(,[0-9]{1,2}){0,2}".prop_map(Limit::CpusetCpus),
        "[0-9]{1,2}(,[0-9]{1,2}){0,2}".prop_map(Limit::CpusetMems),
        (device(), weight()).prop_map(|(device, weight)| Limit::IoBfqWeight { device, weight }),
        (device(), weight()).prop_map(|(device, weight)| Limit::IoWeight { device, weight }),
        (any_device(), rates).prop_map(|(device, rates)| Limit::IoMax { device, rates }),
        ("[a-z0-9_]{1,8}", any_max(), rate()).prop_map(|(device, handles, objects)| Limit::RdmaMax {
            device,
            limits: RdmaLimits {
                handles: Some(handles),
                objects
            },
        }),
    ]
}

fn settings(limits: &[Limit]) -> Vec<Setting> {
    limits.iter().cloned().map(|limit| Setting::new("x", limit)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_limit_and_its_text_give_the_same_properties(
        limits in prop::collection::vec(any_limit(), 0..6),
        version in 250..256u32,
    ) {
        let raw: Vec<Limit> = limits
            .iter()
            .map(|limit| {
                let (file, line) = (limit.file().into_owned(), limit.text());
                let known = read_unified(&file, &line).map(Box::new);
                Limit::Raw(Raw { file, line, known })
            })
            .collect();
        for (raw, limit) in raw.iter().zip(&limits) {
            prop_assert_eq!(raw.known(), limit);
            prop_assert_eq!(raw.controller(), limit.controller_of_file());
        }
        let (mut typed, mut raw) = (settings(&limits), settings(&raw));
        prop_assert_eq!(properties::of(&typed, version, node), properties::of(&raw, version, node));
        prop_assert_eq!(properties::of_start(&typed, version), properties::of_start(&raw, version));
        properties::round_cpu_quota(&mut typed);
        properties::round_cpu_quota(&mut raw);
        let texts = |settings: &[Setting]| -> Vec<String> { settings.iter().map(|one| one.limit.text()).collect() };
        prop_assert_eq!(texts(&typed), texts(&raw));
        prop_assert_eq!(properties::of(&typed, version, node), properties::of(&raw, version, node));
        // state.json preserves the limits.
        let before = UnitBefore { lift: limits, set: raw.into_iter().map(|one| one.limit).collect() };
        let text = serde_json::to_string(&before).unwrap();
        prop_assert_eq!(serde_json::from_str::<UnitBefore>(&text).unwrap(), before);
    }

    #[test]
    fn any_line_of_unified_is_known_or_raw(
        file in prop::sample::select(vec![
            "pids.max", "memory.max", "cpu.max", "cpu.weight", "io.max", "io.weight", "rdma.max", "cpuset.cpus",
        ]),
        line in "(max|default|[0-9]{0,21}|[kmgtpe]|8:0|rbps=|hca_handle=|:| |=|-|\n|é){0,8}",
    ) {
        let known = read_unified(file, &line);
        let limit = Limit::Raw(Raw { file: file.into(), line: line.clone(), known: known.map(Box::new) });
        prop_assert_eq!(limit.text(), line);
        let _ = properties::of(&settings(&[limit]), 255, node);
    }
}
