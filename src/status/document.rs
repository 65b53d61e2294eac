//! The state document of runtime.md.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::state::State;

/// The document that `state` prints and that hooks read from standard input, with the fields in the same order as runc's.
/// `rootfs`, `created` and `owner` are not in the schema of runtime.md, but engines read them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a> {
    pub oci_version: &'a str,
    pub id: &'a str,
    /// 0 if there is no process.
    pub pid: i32,
    pub status: &'static str,
    pub bundle: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'static str>,
    /// The current step of a `create`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

impl<'a> Document<'a> {
    /// The document for hooks: only the fields of runtime.md.
    pub fn for_hook(state: &'a State, pid: i32, status: &'static str) -> Self {
        Document {
            oci_version: &state.oci_version,
            id: &state.id,
            pid,
            status,
            bundle: &state.bundle,
            rootfs: None,
            created: None,
            annotations: &state.annotations,
            owner: None,
            step: None,
        }
    }
}
