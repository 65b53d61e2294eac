//! The cgroup of a container, as the host sees it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::Bundle;

/// A bundle whose containers all have the same leaf, and the leaf.
pub fn with_leaf(bundle: Bundle) -> (Bundle, PathBuf) {
    let name = format!("/{}-leaf", bundle.fresh_id());
    let leaf = PathBuf::from(format!("/sys/fs/cgroup{name}"));
    (bundle.edit(|c| c["linux"]["cgroupsPath"] = json!(name)), leaf)
}

pub fn content(directory: &Path, file: &str) -> String {
    let path = directory.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

pub fn has_controller(controller: &str) -> bool {
    let all = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    all.split_whitespace().any(|name| name == controller)
}
