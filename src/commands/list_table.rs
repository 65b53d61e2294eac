//! What `list` prints: a table for people, JSON for programs, bare ids for shell loops.
//!
//! Scripts cut the table by its columns and engines parse the JSON, so both have the shape that runc gave them: the
//! table as Go's text/tabwriter aligns it (columns at least 12 wide, 3 blanks between, the last one ragged), the JSON
//! on one line, `null` where there is no container.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const MIN_WIDTH: usize = 12;
const GAP: usize = 3;
const HEADER: [&str; 6] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

/// One container as `list` shows it.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// `ociVersion` of the container's configuration.
    pub oci_version: String,
    pub id: String,
    /// 0 once the container is stopped.
    pub pid: i32,
    /// `created`, `running`, `paused`, `stopped`.
    pub status: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    /// Annotations of the configuration; left out of the JSON when there are none.
    pub annotations: BTreeMap<String, String>,
    /// What a create is at, in the JSON alone.
    pub step: Option<String>,
    /// Name of the user who owns the container, or `#` and the number where the number has no name.
    pub owner: String,
}

/// The table, header included, each line ended.
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEADER.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        [
            printable(&row.id),
            row.pid.to_string(),
            printable(&row.status),
            printable(&row.bundle),
            printable(&row.created),
            printable(&row.owner),
        ]
    }));

    let mut widths = [MIN_WIDTH; HEADER.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count() + GAP);
        }
    }

    let mut text = String::new();
    for [columns @ .., last] in &lines {
        for (cell, width) in columns.iter().zip(widths) {
            text.push_str(&format!("{cell:width$}"));
        }
        text.push_str(last);
        text.push('\n');
    }
    text
}

/// The containers as one line of JSON: an array of states, or `null` when there is none.
pub fn json(rows: &[Row]) -> String {
    let document = if rows.is_empty() {
        Value::Null
    } else {
        rows.iter().map(state).collect()
    };
    format!("{document}\n")
}

/// The ids alone, one a line.
pub fn quiet(ids: &[String]) -> String {
    ids.iter().map(|id| format!("{id}\n")).collect()
}

fn state(row: &Row) -> Value {
    let mut state = Map::new();
    state.insert("ociVersion".into(), json!(row.oci_version));
    state.insert("id".into(), json!(row.id));
    state.insert("pid".into(), json!(row.pid));
    state.insert("status".into(), json!(row.status));
    state.insert("bundle".into(), json!(row.bundle));
    state.insert("rootfs".into(), json!(row.rootfs));
    state.insert("created".into(), json!(row.created));
    if !row.annotations.is_empty() {
        state.insert("annotations".into(), json!(row.annotations));
    }
    state.insert("owner".into(), json!(row.owner));
    if let Some(step) = &row.step {
        state.insert("step".into(), json!(step));
    }
    Value::Object(state)
}

/// A cell must stay one cell on one line, and a bundle's path must not talk to the terminal.
fn printable(cell: &str) -> String {
    if !cell.contains(char::is_control) {
        return cell.to_owned();
    }
    let mut clean = String::new();
    for c in cell.chars() {
        if c.is_control() {
            clean.extend(c.escape_default())
        } else {
            clean.push(c)
        }
    }
    clean
}
