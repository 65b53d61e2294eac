//! Chapter 1, in the runtime: one file per verb. Each calls the chapters that follow.

pub mod check;
pub mod checkpoint;
mod console_socket;
pub mod create;
pub mod debug;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
mod foreground_container;
pub mod freezing;
pub mod info;
pub mod inspect;
pub mod kill;
pub mod list;
mod listed;
pub mod metrics;
pub mod mounts;
mod new_container;
pub mod ps;
pub mod restore;
pub mod run;
pub mod seccomp;
mod several;
pub mod spec;
pub mod start;
pub mod state;
pub mod timings;
pub mod top;
pub mod update;
pub mod update_document;

use std::io::Write;

use crate::called_as::CalledAs;
use crate::error::{Context, Result};
use crate::state::Store;
use crate::sys::{SysError, Syscall};

/// What to do about a container without a cgroup.
const NO_CGROUP: &str =
    "an unprivileged user can create cgroups where they are delegated: systemd-run --user --scope -p Delegate=yes";

/// Writes the output of a verb to standard output.
fn answer(text: &str) -> Result<u8> {
    print(text)?;
    Ok(crate::exit_code::SUCCESS)
}

/// Writes to standard output at once.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| SysError::from_io(Syscall::Write, &error))
        .context("standard output")
}

/// `--version`, in the format of the runtime that the program is called as, which engines parse. `store` is the state directory, or
/// why there is none.
pub fn version(called_as: CalledAs, store: &Result<Store>) -> Result<u8> {
    let root = store.as_ref().ok().map(Store::path);
    answer(&called_as.version(root))
}
