//! Chapter 1, on the runtime's side: one file a verb. Each reads like prose and calls the chapters that follow.

pub mod activation;
pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod features;
pub mod freezing;
pub mod kill;
pub mod list;
pub mod mounts;
pub mod ps;
pub mod run;
pub mod seccomp;
mod several;
pub mod spec;
pub mod start;
pub mod state;
pub mod update;
pub mod update_document;

use std::io::Write;
use std::os::fd::IntoRawFd;
use std::path::Path;

use crate::error::{Context, Result};
use crate::sys::{descriptor, fs};

/// Puts the null device in the place of a standard stream that the caller has closed. The next file that is opened would
/// take its number otherwise, be read or written in its place, and be inherited by the container.
pub fn fill_standard_streams() -> Result<()> {
    for number in 0..3 {
        if !descriptor::is_open(number) {
            // It gets the lowest free number, which this is: those below are open.
            let stream = fs::open(Path::new("/dev/null"), libc::O_RDWR)?;
            descriptor::keep_on_exec(stream.into_raw_fd())?;
        }
    }
    Ok(())
}

/// Writes a whole answer to standard output.
fn answer(text: &str) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("standard output")?;
    Ok(crate::exit_code::SUCCESS)
}

/// `--version`, in the lines that engines read from runc.
pub fn version() -> Result<u8> {
    answer(&format!(
        "orlop version {}\ncommit: {}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("ORLOP_COMMIT"),
        crate::plan::OCI_VERSION
    ))
}
