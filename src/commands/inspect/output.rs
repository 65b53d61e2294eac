//! The two forms of the answer: text for people, JSON for programs. The JSON is described in docs/inspect.md.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::entry::{Entry, Section, Verdict};
use crate::log::shown;

/// The format of the JSON. It changes when a program that reads it would have to.
const VERSION: u32 = 1;

/// Names in the text that are longer than this do not widen the column.
const WIDEST: usize = 28;

/// Everything about one container.
#[derive(Debug)]
pub struct Report {
    pub id: String,
    pub status: &'static str,
    /// Why what was asked for is not known.
    pub problem: Option<String>,
    pub sections: Vec<Section>,
}

impl Report {
    /// The names of all entries that differ, each after its section.
    fn differences(&self) -> Vec<String> {
        let of = |section: &Section| -> Vec<String> {
            let different = section
                .entries
                .iter()
                .filter(|entry| entry.verdict.difference().is_some());
            different
                .map(|entry| format!("{}: {}", section.key, entry.name))
                .collect()
        };
        self.sections.iter().flat_map(of).collect()
    }

    /// Leaves out everything that does not differ.
    pub fn only_differences(&mut self) {
        for section in &mut self.sections {
            section.entries.retain(|entry| entry.verdict.difference().is_some());
        }
        self.sections.retain(|section| !section.entries.is_empty());
    }

    pub fn json(&self) -> String {
        let sections: Map<String, Value> = self
            .sections
            .iter()
            .map(|section| (section.key.into(), section.document()))
            .collect();
        let document = json!({
            "version": VERSION,
            "id": self.id,
            "status": self.status,
            "problem": self.problem,
            "differences": self.differences(),
            "sections": sections,
        });
        format!("{document:#}\n")
    }

    pub fn text(&self) -> String {
        let count = match self.differences().len() {
            0 => "no differences".to_string(),
            1 => "1 difference".to_string(),
            many => format!("{many} differences"),
        };
        let mut text = format!("{}: {}, {count}\n", safe(&self.id), self.status);
        if let Some(problem) = &self.problem {
            let _ = writeln!(text, "What was asked for is not known: {}", safe(problem));
        }
        for section in self.sections.iter().filter(|section| !section.entries.is_empty()) {
            let _ = writeln!(text, "\n{}", section.title);
            let widths = section.entries.iter().map(|entry| safe(&entry.name).chars().count());
            let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
            for entry in &section.entries {
                let line = line(entry, width);
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
        text
    }
}

fn line(entry: &Entry, width: usize) -> String {
    let (asked, found) = (plain(&entry.asked), plain(&entry.found));
    let (mark, rest) = match &entry.verdict {
        Verdict::NotAsked if entry.found.is_null() => (' ', asked),
        Verdict::NotAsked | Verdict::Equal => (' ', found),
        Verdict::Differs => ('!', format!("differs: {found} (asked: {asked})")),
        Verdict::Missing => ('!', format!("missing: asked: {asked}")),
        Verdict::Additional => ('!', format!("additional: {found}")),
        Verdict::Unknown(reason) if entry.asked.is_null() => (' ', format!("unknown: {}", safe(reason))),
        Verdict::Unknown(reason) => (' ', format!("unknown: {} (asked: {asked})", safe(reason))),
    };
    format!("{mark} {:width$}  {rest}", safe(&entry.name))
}

/// A value on one line: without quotes, and with the values of an object after each other.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) if text.is_empty() => "\"\"".into(),
        Value::String(text) => safe(text),
        Value::Array(list) if list.is_empty() => "none".into(),
        Value::Array(list) => {
            let words: Vec<String> = list.iter().map(plain).collect();
            words.join(" ")
        }
        Value::Object(object) => {
            let words = object
                .iter()
                .filter(|(_, value)| !value.is_null() && **value != json!([]));
            let words: Vec<String> = words.map(|(key, value)| format!("{key}={}", list(value))).collect();
            words.join(" ")
        }
        other => other.to_string(),
    }
}

/// A value in an object: a list is one word.
fn list(value: &Value) -> String {
    match value {
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        other => plain(other),
    }
}

/// A text on one line that cannot control the terminal.
fn safe(text: &str) -> String {
    shown(&text.replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let entries = vec![
            Entry::found("pid", 7),
            Entry::compared("name", "a", "a"),
            Entry::compared("limit", "1", "2"),
            Entry::new(
                "/tmp",
                json!({ "type": "tmpfs", "options": ["ro", "nodev"] }),
                Value::Null,
                Verdict::Missing,
            ),
            Entry::new(
                "/x\x1b[2J\n    y",
                Value::Null,
                json!(["a", "b\nc"]),
                Verdict::Additional,
            ),
            Entry::unknown("key", "k", "no\x1b"),
            Entry::asked("hook", json!([])),
        ];
        Report {
            id: "web".into(),
            status: "running",
            problem: None,
            sections: vec![Section {
                key: "all",
                title: "All",
                entries,
            }],
        }
    }

    #[test]
    fn the_text_marks_differences_and_controls_no_terminal() {
        let text = report().text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "web: running, 3 differences",
                "",
                "All",
                "  pid               7",
                "  name              a",
                "! limit             differs: 2 (asked: 1)",
                "! /tmp              missing: asked: type=tmpfs options=ro,nodev",
                "! /x\\x1b[2J\\n    y  additional: a b\\nc",
                "  key               unknown: no\\x1b (asked: k)",
                "  hook              none",
            ]
        );
    }

    #[test]
    fn the_json_has_every_entry() {
        let mut report = report();
        let document: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(document["version"], 1);
        assert_eq!(
            document["differences"],
            json!(["all: limit", "all: /tmp", "all: /x\x1b[2J\n    y"])
        );
        let entries = document["sections"]["all"].as_array().unwrap();
        let equal: Vec<&Value> = entries.iter().map(|entry| &entry["equal"]).collect();
        assert_eq!(json!(equal), json!([null, true, false, false, false, null, null]));
        assert_eq!(entries[3]["difference"], "missing");
        assert_eq!(entries[5]["unknown"], "no\x1b");
        report.only_differences();
        let document: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(document["sections"]["all"].as_array().unwrap().len(), 3);
    }
}
