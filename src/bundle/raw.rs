//! What was read and is not checked yet.

use std::collections::HashMap;
use std::path::PathBuf;

use super::capabilities;
use super::document::{self, LinuxOfProcess, Spec};
use crate::plan::Capabilities;

/// A config as it was read, before it is checked.
pub struct Config {
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The file, byte for byte.
    pub text: Vec<u8>,
    pub spec: Spec,
    /// `process.capabilities`, and those of them that are in the caller's bounding set.
    pub capabilities: (Capabilities, u64),
    pub warnings: Vec<String>,
}

/// A process object as it was read, before it is checked.
pub struct RawProcess {
    pub process: document::Process,
    /// What the container's config says of all its processes.
    pub linux: LinuxOfProcess,
    pub annotations: Option<HashMap<String, String>>,
    /// Those that the process asks for, and those of them that are in the caller's bounding set.
    pub capabilities: (Capabilities, u64),
    pub warnings: Vec<String>,
}

impl RawProcess {
    pub fn new(
        process: document::Process,
        linux: LinuxOfProcess,
        annotations: Option<HashMap<String, String>>,
    ) -> Self {
        let mut warnings = Vec::new();
        let names = process.capabilities().as_ref();
        let capabilities = names.map_or_else(Default::default, |names| capabilities::bits(names, &mut warnings));
        RawProcess {
            process,
            linux,
            annotations,
            capabilities,
            warnings,
        }
    }
}
