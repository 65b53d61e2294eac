//! What `info` prints: facts in sections, as text and as JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::log::shown;

/// What a fact means for containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing is refused because of it.
    Ok,
    /// Some configurations are refused, or work less well.
    Limited,
    /// No container can be created.
    Missing,
    /// It cannot be found out by this user.
    Unknown,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Limited => "limited",
            Status::Missing => "missing",
            Status::Unknown => "unknown",
        }
    }
}

/// Something about the host. Its key is the same in the text and in the JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub key: String,
    pub value: Value,
    pub status: Status,
    /// What it means for containers; empty if the value says it all.
    pub meaning: String,
    /// What to do about it.
    pub cure: Option<String>,
}

/// A fact that means no harm.
pub fn ok(key: &str, value: impl Into<Value>, meaning: impl Into<String>) -> Fact {
    Fact {
        key: key.into(),
        value: value.into(),
        status: Status::Ok,
        meaning: meaning.into(),
        cure: None,
    }
}

impl Fact {
    /// The same fact with another status, meaning and cure.
    pub fn but(mut self, status: Status, meaning: impl Into<String>, cure: impl Into<String>) -> Fact {
        self.status = status;
        self.meaning = meaning.into();
        self.cure = Some(cure.into()).filter(|cure| !cure.is_empty());
        self
    }

    /// The same fact, changed only if something does not hold.
    pub fn unless(self, holds: bool, status: Status, meaning: impl Into<String>, cure: impl Into<String>) -> Fact {
        if holds { self } else { self.but(status, meaning, cure) }
    }
}

/// Facts that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    pub key: &'static str,
    pub facts: Vec<Fact>,
}

/// For people: a line for each fact, and its cure on the next.
pub fn text(sections: &[Section]) -> String {
    let all = || sections.iter().flat_map(|section| &section.facts);
    let width = all().map(|fact| fact.key.len()).max().unwrap_or(0);
    let mut text = String::new();
    for section in sections {
        let _ = writeln!(text, "{}", section.key);
        for fact in &section.facts {
            let mut line = value(&fact.value);
            if !fact.meaning.is_empty() {
                line = format!("{line}: {}", fact.meaning);
            }
            let _ = writeln!(
                text,
                "  {:width$}  {:7}  {}",
                fact.key,
                fact.status.name(),
                shown(&line)
            );
            if let Some(cure) = &fact.cure {
                let _ = writeln!(text, "  {:width$}  {:7}  cure: {}", "", "", shown(cure));
            }
        }
    }
    text
}

/// A value in words.
fn value(of: &Value) -> String {
    match of {
        Value::Null => "none".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => text.clone(),
        Value::Array(all) if all.is_empty() => "none".into(),
        Value::Array(all) => all.iter().map(value).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// For programs: an object for each section, with an object for each fact.
pub fn document(sections: &[Section]) -> Value {
    let mut document = Map::new();
    for section in sections {
        let mut facts = Map::new();
        for fact in &section.facts {
            let mut entry = Map::new();
            entry.insert("value".into(), fact.value.clone());
            entry.insert("status".into(), json!(fact.status.name()));
            entry.insert("meaning".into(), json!(fact.meaning));
            if let Some(cure) = &fact.cure {
                entry.insert("cure".into(), json!(cure));
            }
            facts.insert(fact.key.clone(), Value::Object(entry));
        }
        document.insert(section.key.into(), Value::Object(facts));
    }
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections() -> Vec<Section> {
        vec![
            Section {
                key: "kernel",
                facts: vec![
                    ok("version", "6.1", "new enough"),
                    ok("resctrl", Value::Null, "").but(Status::Limited, "refused", "mount it"),
                ],
            },
            Section {
                key: "state",
                facts: vec![
                    ok("directory", "/run/a\u{1b}[2J\nb", ""),
                    ok("exists", true, "").unless(false, Status::Unknown, "not seen", ""),
                    ok("users", json!(["a", "b"]), "").unless(true, Status::Missing, "never", "never"),
                ],
            },
        ]
    }

    #[test]
    fn each_fact_is_a_line_that_cannot_control_the_terminal() {
        assert_eq!(
            text(&sections()),
            "kernel\n  \
             version    ok       6.1: new enough\n  \
             resctrl    limited  none: refused\n                      \
             cure: mount it\n\
             state\n  \
             directory  ok       /run/a\\x1b[2J\\nb\n  \
             exists     unknown  yes: not seen\n  \
             users      ok       a, b\n"
        );
    }

    #[test]
    fn the_document_has_the_same_keys() {
        assert_eq!(
            document(&sections()),
            json!({
                "kernel": {
                    "version": { "value": "6.1", "status": "ok", "meaning": "new enough" },
                    "resctrl": { "value": null, "status": "limited", "meaning": "refused", "cure": "mount it" }
                },
                "state": {
                    "directory": { "value": "/run/a\u{1b}[2J\nb", "status": "ok", "meaning": "" },
                    "exists": { "value": true, "status": "unknown", "meaning": "not seen" },
                    "users": { "value": ["a", "b"], "status": "ok", "meaning": "" }
                }
            })
        );
    }
}
