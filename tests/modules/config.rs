//! Reading config.json: broken text is shown at its place, and nothing makes the reader panic.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use orlop::bundle::capabilities;
use orlop::bundle::checks::{self, Source};
use orlop::bundle::load::parse;
use orlop::bundle::questions;
use orlop::bundle::raw::Config;
use orlop::bundle::validate::{self, RuntimeOptions};
use orlop::commands::spec::default_spec;
use orlop::error::{Report, Result};
use orlop::host::{Bounding, Facts};
use orlop::plan::Plan;

pub fn read(text: impl AsRef<[u8]>) -> Result<Config> {
    let mut config = parse("/bundle".into(), text.as_ref().to_vec(), None)?;
    let mistakes = std::mem::take(&mut config.faults.mistakes);
    if mistakes.is_empty() {
        return Ok(config);
    }
    let source = Source {
        text: &config.text,
        file: None,
        within: "",
    };
    Err(checks::error_of(mistakes, Some(&source)))
}

fn message(text: impl AsRef<[u8]>) -> String {
    format!("{:#}", read(text).err().unwrap())
}

/// The character above the mark, and what stands before it on its line.
fn marked(text: impl AsRef<[u8]>) -> (String, char) {
    let message = message(text);
    let lines: Vec<&str> = message.lines().collect();
    let [.., line, mark] = lines[..] else {
        panic!("{message:?}")
    };
    assert_eq!(mark.trim_start(), "^", "{message:?}");
    let column = mark.chars().count() - 1;
    let before: String = line.chars().take(column).collect();
    (before.trim_start().into(), line.chars().nth(column).unwrap_or('\n'))
}

#[test]
fn a_mark_stands_under_the_place() {
    let expected = ("{\"a\": 1, ".to_string(), '}');
    assert_eq!(marked("{\"a\": 1, }"), expected);
    assert_eq!(marked("    {\"a\": 1, }"), expected);
    assert_eq!(marked("{\n  \"b\": 2,\n  \"a\": x\n}"), ("\"a\": ".into(), 'x'));
    assert_eq!(marked("{\n\t\"b\": 2,\n\t\t\"a\": x\n}"), ("\"a\": ".into(), 'x'));
    assert_eq!(marked("{\"a\":\t\tx}"), ("{\"a\":  ".into(), 'x'));
    assert_eq!(marked("{\r\n  \"a\": x\r\n}\r\n"), ("\"a\": ".into(), 'x'));
}

#[test]
fn characters_of_several_bytes_do_not_move_the_mark() {
    assert_eq!(marked("{\"ä\": \"日本\", x}"), ("{\"ä\": \"日本\", ".into(), 'x'));
    assert_eq!(marked("{\n\t\"ключ\": \"é\" x\n}"), ("\"ключ\": \"é\" ".into(), 'x'));
    // An indent that is wider in bytes than in characters; JSON does not take it for white space.
    assert_eq!(marked("{\n\u{a0}\u{a0}\"a\": 1}").1, '"');
}

#[test]
fn broken_text_of_any_kind_is_an_error() {
    for text in [
        "",
        " ",
        "\n",
        "null",
        "[]",
        "1",
        "\"x\"",
        "{",
        "{}}",
        "{\"a\":}",
        "\u{feff}{}",
        "nul",
    ] {
        assert!(read(text).is_err(), "{text:?}");
    }
    assert!(read(b"{\"a\": \"\xff\"}").is_err());
    assert!(read("[".repeat(1 << 20)).is_err());
    assert!(read("{\"a\":".repeat(1 << 18)).is_err());
    // What a terminal would obey is not shown.
    assert!(!message("{\"a\": \"\x1b[2J\u{9b}\", x}").contains(['\x1b', '\u{9b}']));
    // Too long to be shown: only line and column.
    let long = message(format!("{{\"a\": \"{}\", x}}", "y".repeat(400)));
    assert_eq!(long.lines().count(), 1, "{long}");
}

#[test]
fn a_wrong_type_is_told_with_its_path() {
    let report = Report::of(
        &read(r#"{"ociVersion": "1.0.0", "process": {"cwd": 7, "user": {"uid": 0, "gid": 0}}}"#)
            .err()
            .unwrap(),
    );
    assert_eq!(report.path.as_deref(), Some("process.cwd"), "{}", report.msg);
    let report = Report::of(
        &read(r#"{"process": {"capabilities": {"bounding": [1]}}}"#)
            .err()
            .unwrap(),
    );
    assert_eq!(
        report.path.as_deref(),
        Some("process.capabilities.bounding[0]"),
        "{}",
        report.msg
    );
    let report = Report::of(
        &read(r#"{"process": {"capabilities": {"bounding": {}}}}"#)
            .err()
            .unwrap(),
    );
    assert_eq!(
        report.path.as_deref(),
        Some("process.capabilities.bounding"),
        "{}",
        report.msg
    );
}

/// A value of a wrong type at any place of the default config, or a field missing there, is told by just that place.
#[test]
fn a_mistake_is_found_wherever_it_is() {
    let mut all = Vec::new();
    places(&default_spec(), String::new(), &mut all);
    let (mut wrong_types, mut missing) = (0, 0);
    for place in all.iter().filter(|place| !place.is_empty()) {
        let path = place
            .split('/')
            .skip(1)
            .fold(String::new(), |path, part| match part.parse::<usize>() {
                Ok(index) => format!("{path}[{index}]"),
                Err(_) if path.is_empty() => part.into(),
                Err(_) => format!("{path}.{part}"),
            });
        let mut config = default_spec();
        // No type of the spec is a list of lists.
        *config.pointer_mut(place).unwrap() = json!([[1]]);
        let report = Report::of(&read(config.to_string()).err().expect(place));
        assert!(report.path.as_ref().unwrap().starts_with(&path), "{path}: {report:?}");
        wrong_types += 1;

        let (above, key) = place.rsplit_once('/').unwrap();
        let mut config = default_spec();
        if let Some(Value::Object(map)) = config.pointer_mut(above) {
            map.remove(key);
            if let Err(error) = read(config.to_string()) {
                let report = Report::of(&error);
                let above = path.rsplit_once('.').map(|(above, _)| above);
                if report.path.as_deref() == above {
                    assert!(report.msg.contains(&format!("missing field `{key}`")), "{report:?}");
                } else {
                    // The type has a default for it, the spec has none.
                    assert_eq!(report.path.as_deref(), Some(&*path), "{report:?}");
                    assert!(
                        report.msg.ends_with("missing, but required by the runtime-spec"),
                        "{report:?}"
                    );
                }
                missing += 1;
            }
        }
    }
    assert!(wrong_types > 100 && missing > 10, "{wrong_types} {missing}");
}

#[test]
fn what_is_written_twice_is_refused() {
    let report = message(
        r#"{"ociVersion": "1.0.0",
 "hostname": "a", "hostname": "b"}"#,
    );
    assert!(
        report.starts_with("line 2 column ") && report.contains("duplicate field `hostname`"),
        "{report}"
    );
}

#[test]
fn text_that_is_not_utf8_is_told_by_its_line() {
    let report = Report::of(&read(b"{\n\"unknown\": \"\xff\"}").err().unwrap());
    assert!(report.msg.contains("line 2: not valid UTF-8"), "{}", report.msg);
}

#[test]
fn an_object_is_not_a_list_of_its_values() {
    for (place, list) in [
        ("/root", json!(["rootfs"])),
        ("/process/consoleSize", json!([1, 2])),
        ("/linux", json!([])),
    ] {
        let mut config = default_spec();
        let (above, key) = place.rsplit_once('/').unwrap();
        config.pointer_mut(above).unwrap()[key] = list;
        let report = Report::of(&read(config.to_string()).err().expect(place));
        assert_eq!(
            report.path.as_deref(),
            Some(place[1..].replace('/', ".").as_str()),
            "{}",
            report.msg
        );
    }
}

#[test]
fn capabilities_are_sets_by_name() {
    for wrong in [json!("CAP_CHOWN"), json!(["CAP_CHOWN"]), json!(true), json!(0)] {
        let report = Report::of(
            &read(json!({"process": {"capabilities": wrong}}).to_string())
                .err()
                .unwrap(),
        );
        assert_eq!(report.path.as_deref(), Some("process.capabilities"), "{}", report.msg);
    }
    let config = |capabilities: Value| {
        let mut spec = default_spec();
        spec["process"]["capabilities"] = capabilities;
        read(spec.to_string()).unwrap()
    };
    assert!(
        config(Value::Null)
            .spec
            .process()
            .as_ref()
            .unwrap()
            .capabilities()
            .is_none()
    );
    let config = config(json!({"bounding": ["CAP_CHOWN", "mounts[0]", "cap_kill", ""], "ambient": null}));
    let names = config.spec.process().as_ref().unwrap().capabilities().as_ref().unwrap();
    let bounding = Bounding { known: 1, held: 1 };
    let mut warnings = Vec::new();
    let sets = capabilities::bits(names, bounding, &mut warnings);
    assert_eq!((sets.bounding, sets.ambient), (1, 0));
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    // What a warning quotes does not make it one about a mount.
    assert!(warnings.iter().all(|warning| warning.mount.is_none()), "{warnings:?}");
}

#[test]
fn only_a_plain_file_is_a_config() {
    let bundle = tempfile::tempdir().unwrap();
    let path = bundle.path().join("config.json");
    let choices = RuntimeOptions::default();
    let refusal = || {
        format!(
            "{:#}",
            orlop::bundle::load::plan(bundle.path(), None, &choices).unwrap_err()
        )
    };
    assert!(refusal().contains("not found"));
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refusal().contains("not a regular file"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(refusal().contains("not a regular file"));
}

#[test]
fn the_version_is_one_of_the_first_edition() {
    let version = |version: &str| {
        let text = json!({"ociVersion": version, "root": {"path": "/"}}).to_string();
        Report::of(&plan("/bundle".as_ref(), text.into_bytes()).err().unwrap())
    };
    for right in [
        "1.0.0",
        "1.3.0",
        "1.0.2-dev",
        "1.0.0-rc1",
        "1.99.0+build.5",
        "1.2.3-rc.1+b-x",
        "1.10.20",
    ] {
        // Something else is wrong with the rest.
        assert_ne!(version(right).path.as_deref(), Some("ociVersion"), "{right}");
    }
    for wrong in [
        "", "1", "1.0", "1.0.0.0", "v1.0.0", "2.0.0", "0.9.0", "01.0.0", "1.00.0", "1.0.-1", "1.0.0 ", " 1.0.0",
        "1..0", "1.0.x", "-1.0.0", "+1.0.0", "1.0.", "11.0.0", "1.٣.0", "1.0.0\0", "latest",
    ] {
        let report = version(wrong);
        assert_eq!(report.path.as_deref(), Some("ociVersion"), "{wrong:?}: {}", report.msg);
        assert!(report.hint.is_some());
    }
}

#[test]
fn an_empty_name_is_none() {
    let mut config = default_spec();
    config["root"]["path"] = json!("/proc");
    let kinds = config["linux"]["namespaces"].as_array_mut().unwrap();
    kinds.retain(|kind| kind["type"] != "uts");
    config["hostname"] = json!("");
    config["domainname"] = json!("");
    let plan = plan("/".as_ref(), config.to_string().into_bytes()).unwrap();
    assert_eq!((plan.hostname, plan.domainname), (None, None));
}

/// Reads and validates.
pub fn plan(bundle: &Path, text: Vec<u8>) -> Result<Plan> {
    let options = RuntimeOptions::default();
    let config = parse(bundle.into(), text, None)?;
    let facts = Facts::gather(questions::of_container(&config, &options))?;
    validate::plan(config, &options, facts)
}

pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "a",
            "/",
            "/dev/x",
            "..",
            "CAP_CHOWN",
            "pid",
            "c",
            "rwm",
            "bind",
            "RLIMIT_CORE",
            "\0"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let key = prop_oneof![
            ".{0,6}",
            prop::sample::select(vec![
                "ociVersion",
                "process",
                "root",
                "path",
                "linux",
                "mounts",
                "hooks",
                "args",
                "cwd",
                "type",
                "options",
                "capabilities",
                "bounding",
                "rlimits",
                "soft",
                "hard",
                "resources",
                "devices",
                "major",
                "minor",
                "access",
                "allow",
                "sysctl",
                "namespaces",
                "uidMappings",
                "size",
                "user",
                "uid",
                "consoleSize",
                "height",
            ])
            .prop_map(String::from),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// Every place of a document, as JSON pointers.
pub fn places(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| places(value, format!("{at}/{key}"), all)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(i, value)| places(value, format!("{at}/{i}"), all)),
        _ => {}
    }
    all.push(at);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(bytes);
    }

    #[test]
    fn text_that_looks_like_json_never_panics(text in "[ \t\r\n{}\\[\\]\":,0-9a-eé日\\\\.-]{0,80}") {
        let _ = read(text);
    }

    #[test]
    fn json_never_panics(value in any_json()) {
        let _ = read(value.to_string());
    }

    /// The default config with anything at any place of it is a plan or an error.
    #[test]
    fn a_config_with_anything_in_it_is_a_plan_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..4),
    ) {
        let bundle = tempfile::tempdir().unwrap();
        std::fs::create_dir(bundle.path().join("rootfs")).unwrap();
        let mut config = default_spec();
        let _ = plan(bundle.path(), config.to_string().into_bytes()).unwrap();
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&config, String::new(), &mut all);
            if let Some(found) = config.pointer_mut(&all[place.index(all.len())]) {
                *found = value;
            }
        }
        if let Err(error) = plan(bundle.path(), config.to_string().into_bytes()) {
            let report = Report::of(&error);
            prop_assert!(report.path.is_some() || !config.is_object(), "no place: {}\n{config}", report.msg);
        }
    }

    /// A foreign character put anywhere outside strings is the one that is marked.
    #[test]
    fn the_mark_is_under_the_foreign_character(indent in "[ \t]{0,6}", key in "[a-zé日]{1,8}", gap in "[ \t]{0,3}", end in "\r?\n") {
        let text = format!("{{{end}{indent}\"{key}\":{gap}?{end}}}");
        prop_assert_eq!(marked(&text).1, '?', "{:?}", message(&text));
    }
}
