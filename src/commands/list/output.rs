//! The output of `list`: a table for people, JSON for programs, IDs for shell loops.
//!
//! Scripts cut the table into columns and engines parse the JSON, so both have the format of runc: the table as Go's
//! text/tabwriter aligns it (columns at least 12 wide, 3 spaces between them, the last one ragged), the JSON on one line,
//! and `null` if there are no containers.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const MIN_WIDTH: usize = 12;
const GAP: usize = 3;
const HEADER: [&str; 6] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

/// One container.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// `ociVersion` of the container's configuration.
    pub oci_version: String,
    pub id: String,
    /// 0 if the container is stopped.
    pub pid: i32,
    /// `created`, `running`, `paused`, `stopped`.
    pub status: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// Absolute path of the root file system.
    pub rootfs: String,
    /// RFC 3339 with nanoseconds, in UTC.
    pub created: String,
    /// Annotations of the configuration; left out of the JSON if there are none.
    pub annotations: BTreeMap<String, String>,
    /// The step that a running create has reached; only in the JSON.
    pub step: Option<String>,
    /// Name of the user who owns the container, or `#` and the UID if it has no name.
    pub owner: String,
}

/// The table with its header; every line ends with a newline.
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

/// The containers as one line of JSON: an array of states, or `null` if there are none.
pub fn json(rows: &[Row]) -> String {
    let document = if rows.is_empty() {
        Value::Null
    } else {
        rows.iter().map(state).collect()
    };
    format!("{document}\n")
}

/// Only the IDs, one per line.
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

/// A cell must stay a single cell on a single line, and the path of a bundle must not control the terminal.
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
