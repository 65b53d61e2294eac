//! All that is wrong with a document: a list of findings, each with its place in the file.

use serde::{Deserialize, Serialize};

/// A place in a text file. Lines and characters are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// One mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The file, unless the document comes from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The path inside the document: `mounts[3].options`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(flatten)]
    pub position: Option<Position>,
    pub msg: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// The message with the place before it: `config.json:12:7: process.args: missing or empty`.
    pub fn text(&self) -> String {
        match (&self.file, self.position) {
            (Some(file), Some(Position { line, column })) => format!("{file}:{line}:{column}: {}", self.msg),
            (Some(file), None) => format!("{file}: {}", self.msg),
            (None, Some(Position { line, column })) => format!("line {line} column {column}: {}", self.msg),
            (None, None) => self.msg.clone(),
        }
    }
}
