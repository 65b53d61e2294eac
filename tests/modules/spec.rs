//! The files that `spec` writes, byte for byte. The golden files are the output of runc 1.1.5 with the differences that
//! `src/commands/spec.rs` lists.

use orlop::commands::spec::{default_spec, rootless_spec, to_text};
use serde_json::Value;

#[test]
fn default_spec_is_pinned() {
    assert_eq!(to_text(&default_spec()), include_str!("../golden/spec.json"));
}

#[test]
fn rootless_spec_is_pinned() {
    assert_eq!(
        to_text(&rootless_spec(1000, 1001)),
        include_str!("../golden/spec-rootless.json")
    );
}

#[test]
fn the_text_parses_to_the_document() {
    for spec in [default_spec(), rootless_spec(0, u32::MAX)] {
        assert_eq!(serde_json::from_str::<Value>(&to_text(&spec)).unwrap(), spec);
    }
}

#[test]
fn only_indentation_becomes_tabs() {
    let value = serde_json::json!({ "a  b": ["  two\n  lines  ", {}, []] });
    assert_eq!(
        to_text(&value),
        "{\n\t\"a  b\": [\n\t\t\"  two\\n  lines  \",\n\t\t{},\n\t\t[]\n\t]\n}"
    );
}

#[test]
fn rootless_spec_requires_no_privileges() {
    let spec = rootless_spec(1000, 1000);
    assert_eq!(spec["linux"]["resources"], Value::Null);
    let text = to_text(&spec);
    for word in ["gid=", "\"network\"", "\"sysfs\""] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}
