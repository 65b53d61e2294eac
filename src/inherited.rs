//! What the caller passes to the runtime besides the command line: its standard streams, and open file descriptors.

use std::ffi::CString;
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::OnceLock;

use crate::error::{Result, anyhow, bail, with_hint};
use crate::plan::Activation;
use crate::self_protect;
use crate::sys::{descriptor, fs, process};

/// The maximum number of file descriptors that are passed on, by socket activation and by --preserve-fds each.
pub const MOST_DESCRIPTORS: u32 = 65536;

/// See [`closed`].
static CLOSED: OnceLock<Vec<i32>> = OnceLock::new();

/// Those of the descriptors to be passed that the caller has left closed, see [`inherit_only`]. The process must not get them.
pub fn closed() -> &'static [i32] {
    CLOSED.get().map_or(&[], Vec::as_slice)
}

/// The sockets that systemd passes to the runtime for the program of the container, see sd_listen_fds(3), as the environment
/// announces them. They are ignored if LISTEN_PID names another process.
pub fn activation() -> Result<Option<Activation>> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let Some(count) = variable("LISTEN_FDS") else {
        return Ok(None);
    };
    let own = variable("LISTEN_PID").and_then(|pid| pid.to_str()?.parse().ok()) == Some(process::pid());
    if !own {
        return Ok(None);
    }
    let number = count.to_str().and_then(|count| count.parse().ok());
    match number.filter(|count| *count <= MOST_DESCRIPTORS) {
        None => Err(with_hint(
            format!("LISTEN_FDS={count:?}: expected a number of file descriptors"),
            "it gives the number of sockets that are passed, from file descriptor 3 on; unset it to pass none",
        )),
        Some(0) => Ok(None),
        Some(count) => Ok(Some(Activation {
            count,
            names: variable("LISTEN_FDNAMES")
                .map(|names| CString::new(names.into_vec()).map_err(|_| anyhow!("LISTEN_FDNAMES contains a NUL byte")))
                .transpose()?,
        })),
    }
}

/// Opens the null device for each standard stream that the caller has closed. Otherwise the next file that is opened would
/// get its number, be read or written instead of the stream, and be inherited by the container.
pub fn fill_standard_streams() -> Result<()> {
    for number in 0..3 {
        if !descriptor::is_open(number) {
            // open(2) returns the lowest free number, which is this one: those below are open.
            let stream = fs::open(Path::new("/dev/null"), libc::O_RDWR)?;
            descriptor::keep_on_exec(stream.as_fd())?;
            // It stays open for the life of the process.
            let _ = stream.into_raw_fd();
        }
    }
    Ok(())
}

/// Sets close-on-exec on all file descriptors but the standard streams. Descriptors that the caller left open by mistake must
/// reach neither a hook nor the container and its working directory (CVE-2024-21626); the init process closes them before
/// anything else. They are not closed here, because an argument may name one (`--process /dev/fd/63`, which a shell passes
/// for `<(…)`). Fails if a socket, or the last descriptor that is to be passed, is not open. Others may be closed: for
/// `--preserve-fd 5`, Podman passes descriptor 5 alone and says `--preserve-fds 3`.
pub fn inherit_only(activation: Option<&Activation>, preserved: u32) -> Result<()> {
    let handed = activation.map_or(0, |activation| activation.count);
    let end = 3 + (handed + preserved) as i32;
    self_protect::let_go_below(end);
    let closed: Vec<i32> = (3..end).filter(|fd| !descriptor::is_open(*fd)).collect();
    if let Some(fd) = closed.first() {
        if *fd < 3 + handed as i32 {
            bail!("LISTEN_FDS={handed}: file descriptor {fd} is not open");
        }
        if closed.last() == Some(&(end - 1)) {
            bail!("--preserve-fds {preserved}: file descriptor {fd} is not open");
        }
    }
    for _ in &closed {
        // The lowest free number is the next of these. While it is taken, no file of the runtime can get it and be passed on.
        let _ = fs::open(Path::new("/dev/null"), libc::O_RDWR)?.into_raw_fd();
    }
    CLOSED.get_or_init(|| closed);
    // Those to be passed as well: they are for the init process, not for hooks.
    descriptor::close_on_exec_from(3)?;
    Ok(())
}
