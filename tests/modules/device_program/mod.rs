//! Device rules and their programs: the answers of a program are compared with those of the rules.

mod any;
mod bpf;

use bpf::{Fault, Insn};
use orlop::cgroup::devices::{MKNOD, READ, RuleError, WRITE, compile, default_rules};
use orlop::plan::{DeviceKind, DeviceRule};

const RW: u8 = READ | WRITE;
const RWM: u8 = READ | WRITE | MKNOD;

/// A request of the kernel. `kind` is BPF_DEVCG_DEV_BLOCK (1) or BPF_DEVCG_DEV_CHAR (2).
#[derive(Debug, Clone, Copy)]
struct Request {
    kind: u32,
    major: u32,
    minor: u32,
    access: u8,
}

/// The answer of the rules, computed in the simplest way.
fn reference(rules: &[DeviceRule], request: Request) -> bool {
    if request.access == 0 {
        return reference_without_access(rules, request);
    }
    let mut allowed = true;
    for bit in [MKNOD, READ, WRITE] {
        if request.access & bit != 0 {
            let mut answer = false;
            for rule in rules {
                if is_about(rule, request) && rule.access & bit != 0 {
                    answer = rule.allow;
                }
            }
            allowed = allowed && answer;
        }
    }
    allowed
}

/// The answer if no bit is requested, see the top of devices.rs.
fn reference_without_access(rules: &[DeviceRule], request: Request) -> bool {
    let mut answer = false;
    for rule in rules {
        if is_about(rule, request) && (rule.allow || rule.access == RWM) {
            answer = rule.allow;
        }
    }
    answer
}

fn is_about(rule: &DeviceRule, request: Request) -> bool {
    let kind = match rule.kind {
        DeviceKind::All => true,
        DeviceKind::Block => request.kind == 1,
        DeviceKind::Character => request.kind == 2,
    };
    let major = rule.major.is_none() || rule.major == Some(request.major);
    let minor = rule.minor.is_none() || rule.minor == Some(request.minor);
    kind && major && minor
}

fn program(rules: &[DeviceRule]) -> Vec<Insn> {
    let program: Vec<Insn> = compile(rules)
        .into_iter()
        .map(|insn| Insn::from_bytes(insn.to_ne_bytes()))
        .collect();
    bpf::verify(&program).unwrap_or_else(|fault| panic!("{fault:?}: {rules:#?} {program:#x?}"));
    program
}

/// The kernel keeps twelve bits of a major number and twenty of a minor.
const MAJORS: u32 = 1 << 12;
const MINORS: u32 = 1 << 20;

fn ask(program: &[Insn], request: Request) -> bool {
    assert!(request.major < MAJORS && request.minor < MINORS, "{request:?}");
    let context = [
        u32::from(request.access) << 16 | request.kind,
        request.major,
        request.minor,
    ];
    bpf::run(program, context).unwrap_or_else(|fault| panic!("{fault:?}: {request:?} {program:#x?}"))
}

/// `"+ c 1:3 rw"`: a rule in the notation of the devices controller, `+` or `-` before it.
fn rule(text: &str) -> DeviceRule {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [sign, kind, numbers, access] = words[..] else {
        panic!("{text:?}")
    };
    let (major, minor) = numbers.split_once(':').unwrap();
    let number = |text: &str| if text == "*" { -1 } else { text.parse().unwrap() };
    DeviceRule::from_spec(
        sign == "+",
        Some(kind),
        Some(number(major)),
        Some(number(minor)),
        Some(access),
    )
    .unwrap()
}

fn rules(texts: &[&str]) -> Vec<DeviceRule> {
    texts.iter().map(|text| rule(text)).collect()
}

/// `"c 1:3 rw"`: a request; `-` for no access bit.
fn request(text: &str) -> Request {
    let without_access = text.ends_with(" -");
    let rule = rule(&format!("+ {}", text.replace(" -", " r")));
    Request {
        kind: match rule.kind {
            DeviceKind::Block => 1,
            DeviceKind::Character => 2,
            DeviceKind::All => panic!("{text:?}"),
        },
        major: rule.major.unwrap(),
        minor: rule.minor.unwrap(),
        access: if without_access { 0 } else { rule.access },
    }
}

/// Asks the program and the reference, which must agree.
fn check(list: &[DeviceRule], allowed: &[&str], denied: &[&str]) {
    let program = program(list);
    for (texts, expected) in [(allowed, true), (denied, false)] {
        for text in texts {
            assert_eq!(ask(&program, request(text)), expected, "the program, {text}: {list:#?}");
            assert_eq!(
                reference(list, request(text)),
                expected,
                "the reference, {text}: {list:#?}"
            );
        }
    }
}

#[test]
fn without_rules_nothing_is_allowed() {
    check(&[], &[], &["c 1:3 r", "b 8:0 w", "c 0:0 m", "c 1:3 -"]);
    assert_eq!(program(&[]).len(), 11);
}

#[test]
fn the_rules_that_engines_send() {
    // Docker and Podman deny everything and list what is allowed. What every container needs is added.
    let list = [rules(&["- a *:* rwm"]), default_rules()].concat();
    check(
        &list,
        &[
            "c 1:3 rwm",
            "c 1:5 rw",
            "c 1:7 rw",
            "c 1:8 r",
            "c 1:9 r",
            "c 5:0 rw",
            "c 5:1 rw",
            "c 5:2 rw",
            "c 136:0 rw",
            "c 136:1048575 rw",
            "c 10:200 m",
            "b 8:0 m",
            "b 0:0 m",
        ],
        &[
            "c 1:1 r",
            "c 1:4 rw",
            "c 10:200 rw",
            "c 10:200 rm",
            "b 8:0 r",
            "b 8:0 w",
            "b 1:3 r",
            "b 136:0 r",
            "c 137:0 r",
            "c 5:3 w",
        ],
    );
    let list = [rules(&["- a *:* rwm", "+ c 10:200 rwm", "+ b 8:* r"]), default_rules()].concat();
    check(
        &list,
        &["c 10:200 rwm", "b 8:0 r", "b 8:17 rm", "c 1:3 rw"],
        &["b 8:0 w", "b 8:0 rw", "c 10:201 r", "b 9:0 r"],
    );
}

#[test]
fn a_privileged_container_may_use_everything() {
    let list = [rules(&["+ a *:* rwm"]), default_rules()].concat();
    check(&list, &["c 1:1 rw", "b 8:0 rwm", "b 4095:1048575 rwm", "c 0:0 -"], &[]);
}

#[test]
fn the_last_matching_rule_decides() {
    check(
        &rules(&["+ c 1:3 rw", "- c 1:3 w"]),
        &["c 1:3 r"],
        &["c 1:3 w", "c 1:3 rw"],
    );
    check(
        &rules(&["- c 1:3 w", "+ c 1:3 rw"]),
        &["c 1:3 r", "c 1:3 w", "c 1:3 rw"],
        &["c 1:3 m"],
    );
    check(
        &rules(&["+ a *:* rwm", "- b *:* rwm", "+ b 8:0 r"]),
        &["c 4:4 rwm", "b 8:0 r"],
        &["b 8:0 w", "b 8:1 r"],
    );
    check(
        &rules(&["+ c 1:3 rwm", "- a *:* rwm", "+ b 8:0 r"]),
        &["b 8:0 r"],
        &["c 1:3 r"],
    );
    check(&rules(&["- b 8:0 rwm", "+ a *:* rwm"]), &["b 8:0 rwm"], &[]);
}

#[test]
fn each_access_bit_is_decided_separately() {
    // An open for both needs both bits, which different rules may allow. (runc wants one rule that covers all.)
    check(
        &rules(&["+ c *:* r", "+ c 1:3 w"]),
        &["c 1:3 rw", "c 1:3 r", "c 9:9 r"],
        &["c 9:9 rw", "c 1:3 rm", "c 1:3 rwm"],
    );
    // A denied bit denies the whole access. (runc's program lets "rw" past a rule that denies "w".)
    check(
        &rules(&["+ a *:* rwm", "- c 1:3 w"]),
        &["c 1:3 r", "c 1:3 m", "c 1:3 rm"],
        &["c 1:3 w", "c 1:3 rw", "c 1:3 rwm"],
    );
    // All eight combinations of rules by all eight requests.
    for given in 1..8u8 {
        for wanted in 1..8u8 {
            let allow = DeviceRule {
                allow: true,
                kind: DeviceKind::Character,
                major: Some(1),
                minor: Some(3),
                access: given,
            };
            let request = Request {
                kind: 2,
                major: 1,
                minor: 3,
                access: wanted,
            };
            assert_eq!(
                ask(&program(&[allow]), request),
                wanted & !given == 0,
                "allow {given}, want {wanted}"
            );
            let deny = DeviceRule { allow: false, ..allow };
            let list = [rule("+ a *:* rwm"), deny];
            assert_eq!(
                ask(&program(&list), request),
                wanted & given == 0,
                "deny {given}, want {wanted}"
            );
        }
    }
}

#[test]
fn a_missing_number_matches_any_device() {
    check(
        &rules(&["+ c 1:* r"]),
        &["c 1:0 r", "c 1:1048575 r"],
        &["c 2:0 r", "b 1:0 r"],
    );
    check(
        &rules(&["+ c *:7 r"]),
        &["c 0:7 r", "c 4095:7 r"],
        &["c 1:8 r", "b 1:7 r"],
    );
    check(&rules(&["+ b *:* r"]), &["b 0:0 r"], &["c 0:0 r"]);
    check(
        &rules(&["+ c 4095:1048575 r"]),
        &["c 4095:1048575 r"],
        &["c 4095:0 r", "c 0:1048575 r"],
    );
}

#[test]
fn a_rule_for_an_impossible_number_matches_nothing() {
    for number in [
        "4096:0",
        "0:1048576",
        "4294967295:4294967295",
        "4097:1048577",
        "1:1048576",
        "4096:*",
        "*:1048576",
    ] {
        let list = rules(&[&format!("+ c {number} rw"), &format!("+ c {number} rwm")]);
        check(
            &list,
            &[],
            &["c 0:0 r", "c 1:0 w", "c 1:1 m", "c 4095:1048575 r", "c 2:0 rw"],
        );
    }
}

/// Jumps are short, but a list may have far more rules than one jump can span.
#[test]
fn a_list_may_be_longer_than_a_jump() {
    let mut list = Vec::new();
    for number in 0..12_000u32 {
        list.push(DeviceRule {
            allow: number % 3 > 0,
            kind: if number / 5000 % 2 == 0 {
                DeviceKind::Character
            } else {
                DeviceKind::All
            },
            major: Some(number % MAJORS),
            minor: Some(number),
            access: if number % 2 == 0 { RWM } else { READ },
        });
    }
    let program = program(&list);
    for number in (0..12_000).step_by(101) {
        for access in [0, READ, WRITE, RWM] {
            let request = Request {
                kind: 2,
                major: number % MAJORS,
                minor: number,
                access,
            };
            assert_eq!(ask(&program, request), reference(&list, request), "{request:?}");
        }
    }
}

#[test]
fn type_a_with_numbers_matches_both_types() {
    check(
        &rules(&["+ a 8:0 rw"]),
        &["b 8:0 rw", "c 8:0 rw"],
        &["b 8:1 r", "c 8:0 m"],
    );
    check(
        &rules(&["+ a *:* rwm", "- a 8:* w"]),
        &["b 8:0 r", "b 9:0 w"],
        &["b 8:0 w", "c 8:5 rw"],
    );
    check(
        &rules(&["+ a *:* rm"]),
        &["b 8:0 r", "c 8:0 rm"],
        &["b 8:0 w", "c 1:3 rw"],
    );
}

#[test]
fn a_request_without_an_access_bit() {
    // The default mknod rule matches every device.
    for head in [vec![], rules(&["- a *:* rwm"]), rules(&["+ a *:* rwm", "- b 8:0 rwm"])] {
        check(
            &[head, default_rules()].concat(),
            &["b 8:0 -", "c 1:3 -", "c 77:77 -"],
            &[],
        );
    }
    check(&rules(&["+ c 1:3 r"]), &["c 1:3 -"], &["c 1:5 -", "b 1:3 -"]);
    check(&rules(&["+ a *:* rwm", "- c 1:3 w"]), &["c 1:3 -"], &[]);
    check(&rules(&["+ a *:* rwm", "- c 1:3 rwm"]), &["c 1:5 -"], &["c 1:3 -"]);
}

#[test]
fn rules_without_effect_are_left_out() {
    let short = rules(&["+ c 1:3 rw"]);
    let long = rules(&[
        "+ c 7:7 rwm",
        "- b 1:1 r",
        "+ a *:* rwm",
        "- a *:* rwm",
        "- c 5:5 w",
        "- b *:* rwm",
        "+ c 1:3 rw",
    ]);
    assert_eq!(program(&long), program(&short));
    assert_eq!(program(&rules(&["- a *:* rwm", "- c 1:3 r"])), program(&[]));
    // After a rule for everything no final answer is needed: it would be unreachable.
    assert_eq!(program(&rules(&["- b 1:1 r", "+ a *:* rwm"])).len(), 11);
}

#[test]
fn an_instruction_has_the_layout_of_struct_bpf_insn() {
    let bytes: Vec<[u8; 8]> = compile(&rules(&["+ c 1:3 rw"]))
        .into_iter()
        .map(u64::to_ne_bytes)
        .collect();
    let expected: Vec<[u8; 8]> = vec![
        [0x61, 0x12, 0, 0, 0, 0, 0, 0],       // r2 = *(u32 *)(r1 + 0)
        [0xbc, 0x23, 0, 0, 0, 0, 0, 0],       // w3 = w2
        [0x74, 0x03, 0, 0, 16, 0, 0, 0],      // w3 >>= 16
        [0x54, 0x02, 0, 0, 0xff, 0xff, 0, 0], // w2 &= 0xffff
        [0x61, 0x14, 4, 0, 0, 0, 0, 0],       // r4 = *(u32 *)(r1 + 4)
        [0x61, 0x15, 8, 0, 0, 0, 0, 0],       // r5 = *(u32 *)(r1 + 8)
        [0xbc, 0x46, 0, 0, 0, 0, 0, 0],       // w6 = w4
        [0x64, 0x06, 0, 0, 20, 0, 0, 0],      // w6 <<= 20
        [0x4c, 0x56, 0, 0, 0, 0, 0, 0],       // w6 |= w5
        [0x56, 0x02, 5, 0, 2, 0, 0, 0],       // if w2 != 2 goto +5
        [0xbc, 0x60, 0, 0, 0, 0, 0, 0],       // w0 = w6
        [0xa4, 0x00, 0, 0, 3, 0, 0x10, 0],    // w0 ^= 0x100003
        [0x56, 0x00, 2, 0, 0, 0, 0, 0],       // if w0 != 0 goto +2
        [0x54, 0x03, 0, 0, 1, 0, 0, 0],       // w3 &= 1
        [0x16, 0x03, 2, 0, 0, 0, 0, 0],       // if w3 == 0 goto +2
        [0xb4, 0x00, 0, 0, 0, 0, 0, 0],       // w0 = 0
        [0x95, 0x00, 0, 0, 0, 0, 0, 0],       // exit
        [0xb4, 0x00, 0, 0, 1, 0, 0, 0],       // w0 = 1
        [0x95, 0x00, 0, 0, 0, 0, 0, 0],       // exit
    ];
    assert_eq!(bytes, expected);
}

/// Otherwise the verifier follows every fact to the end of the program, and rejects some long lists.
#[test]
fn no_conditional_jump_lets_the_verifier_learn_a_number() {
    let list = [
        rules(&["+ a *:* rwm", "- b 8:* w", "- c 10:200 rwm", "+ a 7:7 r"]),
        default_rules(),
    ]
    .concat();
    let program = program(&list);
    let is_answer = |at: usize| program[at].code == 0xb4 && program[at + 1].code == 0x95;
    let (mut equal, mut other) = (0, 0);
    for (at, insn) in program
        .iter()
        .enumerate()
        .filter(|(_, insn)| [4, 5, 6].contains(&insn.dst))
    {
        match insn.code {
            // Equal: an answer.
            0x16 => {
                assert!(is_answer(at + 1 + insn.off as usize), "{program:#x?}");
                equal += 1;
            }
            0x56 | 0x46 => other += 1,
            _ => {}
        }
    }
    // The nine devices of every container, and 10:200.
    assert_eq!((equal, other), (10, 0), "{program:#x?}");
    assert!(program.len() <= 37, "{}", program.len());
}

#[test]
fn the_interpreter_is_strict() {
    let insn = |code, dst, src, off, imm| Insn {
        code,
        dst,
        src,
        off,
        imm,
    };
    let (yes, exit) = (insn(0xb4, 0, 0, 0, 1), insn(0x95, 0, 0, 0, 0));
    let fault = |program: &[Insn]| bpf::run(program, [2, 1, 3]).unwrap_err();
    assert_eq!(bpf::run(&[yes, exit], [0; 3]), Ok(true));
    assert_eq!(fault(&[]), Fault::FellOffTheEnd);
    assert_eq!(fault(&[yes]), Fault::FellOffTheEnd);
    assert_eq!(fault(&[exit]), Fault::Uninitialised(0));
    assert_eq!(fault(&[insn(0xb4, 0, 0, 0, 2), exit]), Fault::Answer(2));
    assert_eq!(fault(&[insn(0xb7, 0, 0, 0, 1), exit]), Fault::UnknownOpcode(0xb7));
    assert_eq!(fault(&[insn(0xb4, 0, 1, 0, 1), exit]), Fault::ReservedField);
    assert_eq!(fault(&[insn(0x74, 1, 0, 0, 32), exit]), Fault::ReservedField);
    assert_eq!(fault(&[insn(0xb4, 11, 0, 0, 1), exit]), Fault::NoSuchRegister(11));
    assert_eq!(fault(&[insn(0xb4, 10, 0, 0, 1), exit]), Fault::ReadOnlyRegister);
    assert_eq!(fault(&[insn(0x54, 1, 0, 0, 1), exit]), Fault::PointerArithmetic);
    assert_eq!(fault(&[insn(0x56, 3, 0, 0, 1), exit]), Fault::Uninitialised(3));
    assert_eq!(fault(&[insn(0x61, 2, 3, 0, 0), exit]), Fault::Uninitialised(3));
    assert_eq!(fault(&[yes, insn(0x61, 2, 0, 0, 0), exit]), Fault::NotAPointer);
    for offset in [-4, 1, 2, 12, 16] {
        assert_eq!(fault(&[insn(0x61, 2, 1, offset, 0), exit]), Fault::OutOfContext(offset));
    }
    assert_eq!(fault(&[insn(0x05, 0, 0, 1, 0), exit]), Fault::JumpOutOfBounds);
    assert_eq!(fault(&[insn(0x05, 0, 0, -1, 0), exit]), Fault::BackwardJump);
    assert_eq!(bpf::verify(&[yes, exit, yes, exit]), Err(Fault::Unreachable(2)));
    assert_eq!(bpf::verify(&[yes]), Err(Fault::FellOffTheEnd));
    assert_eq!(bpf::verify(&[yes, exit]), Ok(()));
}

#[test]
fn rules_are_read_from_the_config() {
    let all = DeviceRule {
        allow: false,
        kind: DeviceKind::All,
        major: None,
        minor: None,
        access: RWM,
    };
    assert_eq!(DeviceRule::from_spec(false, None, None, None, None), Ok(all));
    assert_eq!(
        DeviceRule::from_spec(false, Some("a"), Some(-1), Some(-1), Some("rwm")),
        Ok(all)
    );
    assert_eq!(
        DeviceRule::from_spec(false, Some(""), None, Some(-1), Some("mwr")),
        Ok(all)
    );
    let kind = |kind| DeviceRule::from_spec(true, Some(kind), Some(1), Some(3), Some("wr"));
    let expected = DeviceRule {
        allow: true,
        kind: DeviceKind::Character,
        major: Some(1),
        minor: Some(3),
        access: RW,
    };
    assert_eq!((kind("c"), kind("u")), (Ok(expected), Ok(expected)));
    assert_eq!(
        kind("b"),
        Ok(DeviceRule {
            kind: DeviceKind::Block,
            ..expected
        })
    );
    for other in ["p", "C", "ab", "char", " c", "é"] {
        assert_eq!(kind(other), Err(RuleError::Kind(other.into())));
    }
    let number = |number| DeviceRule::from_spec(true, Some("c"), Some(number), None, Some("r")).map(|rule| rule.major);
    assert_eq!(
        [number(0), number(0xffff_ffff), number(-1)],
        [Ok(Some(0)), Ok(Some(0xffff_ffff)), Ok(None)]
    );
    for other in [-2, 0x1_0000_0000, i64::MIN, i64::MAX] {
        assert_eq!(number(other), Err(RuleError::Number("major", other)));
        let minor = DeviceRule::from_spec(true, Some("c"), None, Some(other), Some("r"));
        assert_eq!(minor, Err(RuleError::Number("minor", other)));
    }
    let access = |access| DeviceRule::from_spec(true, None, None, None, Some(access)).map(|rule| rule.access);
    assert_eq!(
        [access("r"), access("w"), access("m"), access("rrr")],
        [Ok(READ), Ok(WRITE), Ok(MKNOD), Ok(READ)]
    );
    for other in ["", "x", "rx", "R", "r w", "rwmé"] {
        assert_eq!(access(other), Err(RuleError::Access(other.into())));
    }
}

#[test]
fn an_invalid_rule_is_reported_by_field() {
    let text = |error: RuleError| error.to_string();
    assert_eq!(text(RuleError::Kind("p".into())), r#"type "p" must be a, b or c"#);
    assert_eq!(
        text(RuleError::Number("minor", -2)),
        "minor -2 is neither a device number nor -1 for any"
    );
    assert_eq!(
        text(RuleError::Access("x".into())),
        r#"access "x" must consist of r, w and m"#
    );
}
