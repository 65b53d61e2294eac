// Comparing what the runtime says about a mistake with the text agreed on, in `tests/golden/errors/NAME.txt`: the
// command, all of standard error, the exit code, and the facts of the JSON log. `UPDATE_GOLDEN=1` writes the files;
// read the difference before committing it.
//
// What changes from run to run stands in capitals: `DIR` the directory of the test, `ID` a container's id.

use std::path::PathBuf;

use serde_json::{Map, Value};

/// The words that make an engine's error of ours 126 or 127, or add advice about mounts.
const ENGINES_WORDS: &[&str] = &[
    "executable file not found",
    "no such file or directory",
    "not a directory",
    "is a directory",
    "permission denied",
    "operation not permitted",
];

/// What one command said.
pub struct Said<'a> {
    /// The command as a person would type it.
    pub command: String,
    pub code: i32,
    pub stderr: String,
    /// All lines written to `--log` in the form `json`.
    pub log: String,
    /// (volatile text, placeholder), applied in this order.
    pub placeholders: &'a [(&'a str, &'a str)],
}

/// The file in which another runtime's words are recorded, for `docs/errors.md`; `integration/errors/record` sets it.
pub fn record_file() -> Option<PathBuf> {
    std::env::var_os("RECORD_ERRORS").map(PathBuf::from)
}

/// Appends what another runtime said about the same mistake: one line of JSON.
pub fn record(file: &std::path::Path, name: &str, said: &Said) {
    use std::io::Write;

    let is_error = |line: &Map<String, Value>| line.get("level").is_some_and(|level| level == "error");
    let log: Vec<Map<String, Value>> = said.log.lines().flat_map(serde_json::from_str).collect();
    let errors: Vec<&str> = log.iter().filter(|line| is_error(line)).filter_map(|line| line["msg"].as_str()).collect();
    let mut words = match errors.is_empty() {
        true => without_times(&said.stderr),
        false => errors.join("\n"),
    };
    for (volatile, placeholder) in said.placeholders {
        words = words.replace(volatile, placeholder);
    }
    let line = serde_json::json!({ "name": name, "code": said.code, "words": words.trim() });
    let mut file = std::fs::File::options().append(true).create(true).open(file).expect("open the record");
    // In one call, because tests run side by side.
    file.write_all(format!("{line}\n").as_bytes()).expect("write the record");
}

/// The messages of runc and crun on standard error begin with a time, or are JSON.
fn without_times(text: &str) -> String {
    let message = |line: &str| {
        if let Ok(line) = serde_json::from_str::<Map<String, Value>>(line)
            && let Some(message) = line.get("msg").and_then(Value::as_str)
        {
            return message.to_string();
        }
        match line.split_once(" level=") {
            Some((time, rest)) if time.starts_with("time=") => rest.to_string(),
            _ => line.to_string(),
        }
    };
    text.lines().map(message).collect::<Vec<_>>().join("\n")
}

/// Compares with the golden file, and checks what holds for every message.
#[track_caller]
pub fn check(name: &str, said: &Said) {
    let log: Vec<Map<String, Value>> = said.log.lines().map(line).collect();
    if let Some(last) = log.iter().rfind(|line| line["level"] == "error") {
        // Warnings come before; what a container or a hook says itself goes to the same stream.
        let errors = said_by(last, name);
        assert!(
            said.stderr.ends_with(&errors),
            "{name}: stderr and the log differ\n{}\n{errors}",
            said.stderr
        );
        assert_ne!(said.code, 0, "{name}: an error in the log, and success");
    }
    let mut found = render(said, &log);
    for (volatile, placeholder) in said.placeholders {
        found = found.replace(volatile, placeholder);
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/errors/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).expect("write the golden file");
        return;
    }
    let wanted = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error} (UPDATE_GOLDEN=1 writes it)\n{found}", path.display()));
    assert!(
        found == wanted,
        "{name}: not the golden text (UPDATE_GOLDEN=1 accepts it)\n--- wanted\n{wanted}--- found\n{found}---"
    );
}

/// What stderr must show for an error in the log: a line for each finding, or for the one message, and the hints.
#[track_caller]
fn said_by(error: &Map<String, Value>, name: &str) -> String {
    let hint = error.get("hint").map(text);
    let mut errors = String::new();
    let mut add = |message: &str, hint: Option<&str>| {
        errors += &format!("orlop: error: {message}\n");
        if let Some(hint) = hint {
            // What Docker and Podman look for in a message, whatever it is about, to tell what has failed.
            for words in ENGINES_WORDS {
                assert!(
                    !hint.to_lowercase().contains(words),
                    "{name}: an engine reads {words:?} in the hint {hint:?}"
                );
            }
            errors += &format!("hint: {hint}\n");
        }
    };
    let whole = text(&error["msg"]);
    let findings = error.get("findings").and_then(Value::as_array);
    let others = findings.map_or(&[][..], |findings| findings.get(1..).unwrap_or_default());
    // Engines show their users `msg` and nothing else, so it holds the hints too, and all on one line.
    let end: String = others.iter().map(|finding| format!("; {}", in_line(finding))).collect();
    let first = whole.strip_suffix(&end).expect("a message with all findings");
    let first = match hint {
        Some(hint) => first
            .strip_suffix(&format!(" (hint: {hint})"))
            .expect("a message with its hint"),
        None => first,
    };
    add(first, hint);
    for finding in others {
        add(&placed(finding), finding.get("hint").map(text));
    }
    errors
}

/// The text of a finding with its place.
fn placed(finding: &Value) -> String {
    let file = text(&finding["file"]);
    match (finding.get("line"), finding.get("column")) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}: {}", text(&finding["msg"])),
        _ => format!("{file}: {}", text(&finding["msg"])),
    }
}

fn in_line(finding: &Value) -> String {
    match finding.get("hint") {
        Some(hint) => format!("{} (hint: {})", placed(finding), text(hint)),
        None => placed(finding),
    }
}

/// Message and hint stand in the golden file once, as on stderr; of the log only what it says besides.
fn render(said: &Said, log: &[Map<String, Value>]) -> String {
    let mut found = format!("$ {}\n{}exit code {}\n", said.command, said.stderr, said.code);
    for line in log {
        found += &format!("log: {}", text(&line["level"]));
        for name in ["step", "path", "errno"] {
            if let Some(value) = line.get(name) {
                found += &format!(" {name}={}", text(value));
            }
        }
        if let Some(Value::Array(findings)) = line.get("findings").filter(|_| line["level"] == "error")
            && findings.len() > 1
        {
            found += &format!(" findings={}", findings.len());
        }
        if line["level"] != "error" {
            found += &format!(" msg={}", text(&line["msg"]));
        }
        found.push('\n');
    }
    if log.is_empty() {
        found.push_str("log: nothing\n");
    }
    found
}

/// One line of the log: the three fields that engines read, and of ours only the known.
#[track_caller]
fn line(json: &str) -> Map<String, Value> {
    let line: Map<String, Value> = serde_json::from_str(json).unwrap_or_else(|error| panic!("log: {error}: {json}"));
    for (name, value) in &line {
        let known = ["level", "msg", "time", "step", "path", "errno", "hint"].contains(&name.as_str());
        let is_known = known && value.is_string() || name == "findings" && value.is_array();
        assert!(is_known, "log: field {name} of {json}");
    }
    assert!(["debug", "warning", "error"].contains(&text(&line["level"])), "{json}");
    let shape: String = text(&line["time"])
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert!(
        shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z'),
        "log: time of {json}"
    );
    assert!(!text(&line["msg"]).is_empty(), "{json}");
    line
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}
