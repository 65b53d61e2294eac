//! What was read and is not checked yet.

use std::collections::HashMap;
use std::path::PathBuf;

use super::document::{self, LinuxOfProcess, Spec};
use super::reader::Step;
use super::text::Mistake;
use crate::plan::Warning;

/// A config as it was read, before it is checked.
pub struct Config {
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The file's name in messages.
    pub file: Option<String>,
    /// The file, byte for byte.
    pub text: Vec<u8>,
    pub spec: Spec,
    pub faults: Faults,
    pub warnings: Vec<Warning>,
}

/// A process object as it was read, before it is checked.
pub struct RawProcess {
    pub process: document::Process,
    /// What the container's config says about all its processes.
    pub linux: LinuxOfProcess,
    pub annotations: Option<HashMap<String, String>>,
    /// Capabilities that are added to those of the process object, one bit each.
    pub added_capabilities: u64,
    /// Groups that are added to those of the process object.
    pub added_groups: Vec<u32>,
    /// The file that holds the process object, if it does not come from the container's config.
    pub file: Option<ProcessFile>,
    pub faults: Faults,
    pub warnings: Vec<Warning>,
}

/// The file of `exec --process`.
pub struct ProcessFile {
    /// Its name in messages.
    pub name: String,
    pub text: Vec<u8>,
}

/// What is wrong with a document, as far as reading it could tell.
#[derive(Default)]
pub struct Faults {
    pub mistakes: Vec<Mistake>,
    /// The values that could not be read, or that lack something. What depends on them is not checked.
    pub unreadable: Vec<Vec<Step>>,
    /// The places of keys that are unknown and look like no known one.
    pub unknown: Vec<String>,
}
