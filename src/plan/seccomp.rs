//! The seccomp filter of a process.

use std::path::PathBuf;
use std::rc::Rc;

use crate::security::seccomp::decide::Table;
use crate::sys::seccomp::sock_filter;

/// A filter as it will be installed.
#[derive(Debug, Clone)]
pub struct Seccomp {
    pub program: Vec<sock_filter>,
    /// Flags of seccomp(2).
    pub flags: u32,
    /// Present exactly when the filter notifies.
    pub listener: Option<Listener>,
    /// With `run --seccomp-log`: how, and what the profile says, by which the calls are explained afterwards.
    pub logged: Option<(Logging, Rc<Vec<Table>>)>,
}

/// Who is to get the descriptor over which notifications come.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Listener {
    pub path: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

/// What `run --seccomp-log` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Logging {
    /// What is refused stays refused, and is logged
    Deny,
    /// What would be refused is let pass, and logged
    Allow,
}
