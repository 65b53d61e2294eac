//! The kernel parameters that a running container sees, for `inspect`.
//!
//! A file below /proc/sys shows the value of the namespaces that its reader is in, through any procfs. So a child enters the
//! container's namespaces, all but the mount namespace, and reads the files of the host's procfs: no file of the container is
//! opened. It does not enter the PID namespace, so the container's processes cannot see it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use crate::child::{self, Spawned};
use crate::error::{Result, anyhow, bail};
use crate::security::procfs::HostProc;
use crate::sys::process::Exit;
use crate::sys::{clone, fs, memfd, process};

/// The namespaces that have parameters.
const JOINED: u64 = (libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS) as u64;

/// The most that the child writes.
const LONGEST: usize = 16 << 20;

/// The value of each file, or why it cannot be read.
type Values = Vec<Result<String, String>>;

/// Reads files below /proc/sys. `init`: a pidfd; `namespaces`: the `CLONE_NEW*` flags of its namespaces that are not the
/// runtime's.
pub fn read(init: &OwnedFd, namespaces: u64, files: &[PathBuf]) -> Result<Values> {
    // The child enters the container's user namespace, whose root could otherwise look into it.
    process::set_undumpable()?;
    let output = memfd::create(c"values", false, false)?;
    let child = match child::spawn(0, None)? {
        Spawned::Child(_) => {
            let found = read_inside(init, namespaces, files).map_err(|error| format!("{error:#}"));
            let text = serde_json::to_vec(&found).unwrap_or_default();
            let written = fs::write_all(output.as_fd(), &text);
            process::exit_now(i32::from(written.is_err()))
        }
        Spawned::Parent(child) => child,
    };
    if process::wait_pidfd(child.pidfd.as_fd(), true)? != Some(Exit::Code(0)) {
        bail!("the process that was to read them ended");
    }
    fs::seek_to_start(output.as_fd())?;
    let found: Result<Values, String> = serde_json::from_slice(&fs::read_all(output.as_fd(), LONGEST)?)?;
    found.map_err(|error| anyhow!("{error}"))
}

/// Runs in the child.
fn read_inside(init: &OwnedFd, namespaces: u64, files: &[PathBuf]) -> Result<Values> {
    let proc = HostProc::open()?;
    let user = namespaces & libc::CLONE_NEWUSER as u64;
    if user != 0 && process::effective_uid() != 0 {
        // It gives the privilege to enter the others.
        clone::setns(init.as_fd(), user)?;
    }
    match namespaces & JOINED {
        0 => {}
        others => clone::setns(init.as_fd(), others)?,
    }
    let value = |file: &PathBuf| proc.read_sysctl(file).map_err(|error| error.to_string());
    Ok(files.iter().map(value).collect())
}
