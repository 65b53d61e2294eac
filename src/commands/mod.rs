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

use crate::error::{Context, Result};

/// What to do about a container without a cgroup.
const NO_CGROUP: &str =
    "an unprivileged user can create cgroups where they are delegated: systemd-run --user --scope -p Delegate=yes";

/// Writes the output of a verb to standard output.
fn answer(text: &str) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("standard output")?;
    Ok(crate::exit_code::SUCCESS)
}

/// `--version`, in the format of runc, which engines parse.
pub fn version() -> Result<u8> {
    answer(&format!(
        "orlop version {}\ncommit: {}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("ORLOP_COMMIT"),
        crate::plan::OCI_VERSION
    ))
}
