//! Containers of runc and crun in a state root.
//!
//! A program that is called as runc uses the state directory that runc has used before, and engines pass the same `--root` to both. A
//! container that still runs there can only be handled by the runtime that created it: no verb takes it for one of ours, and
//! `delete --force`, which engines call to make sure that an ID is free, does not forget its processes.

use serde::Deserialize;

use super::file::Broken;
use super::identity::{self, Identity};
use crate::error::{Error, with_hint};

/// crun's state; it has no state.json.
pub const CRUN_STATUS: &str = "status";

/// A directory in crun's state root that is not a container.
pub const CRUN_EMPTY_DIRECTORY: &str = ".empty-directory";

/// What runc's state.json says of the container's first process.
#[derive(Deserialize)]
struct Runc {
    init_process_pid: i32,
    init_process_start: u64,
}

/// The same in crun's [`CRUN_STATUS`].
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Crun {
    pid: i32,
    process_start_time: u64,
}

/// A container of another runtime.
#[derive(Debug)]
pub struct Foreign {
    runtime: &'static str,
    init: Identity,
}

impl Foreign {
    /// By the content of a state.json, if runc has written it.
    pub fn of_runc(state: &[u8]) -> Option<Self> {
        let state: Runc = serde_json::from_slice(state).ok()?;
        Some(Self::of("runc", state.init_process_pid, state.init_process_start))
    }

    /// By the content of [`CRUN_STATUS`].
    pub fn of_crun(status: &[u8]) -> Option<Self> {
        let status: Crun = serde_json::from_slice(status).ok()?;
        Some(Self::of("crun", status.pid, status.process_start_time))
    }

    fn of(runtime: &'static str, pid: i32, start_time: u64) -> Self {
        let init = Identity {
            pid,
            start_time,
            pidfd_inode: None,
        };
        Foreign { runtime, init }
    }

    /// Why the container cannot be used. [`Broken`] if its first process has ended, so that it can be removed by force.
    pub fn error(&self) -> Error {
        let Foreign { runtime, init } = self;
        let message = format!("the container was created by {runtime}");
        // Unless this can be determined, it counts as running.
        if matches!(identity::open_if_alive(init), Ok(None)) {
            return Broken(message).into();
        }
        with_hint(
            format!("{message}, and its process {} is running", init.pid),
            format!("delete it with {runtime}, or end the process: then `delete --force` removes what is left"),
        )
    }
}
