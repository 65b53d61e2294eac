//! Socket activation: file descriptors that systemd passes to the runtime for the program of the container, see
//! sd_listen_fds(3).

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

use crate::error::{Result, anyhow, with_hint};
use crate::plan::Activation;
use crate::sys::process;

/// The maximum number of file descriptors that are passed on, by socket activation and by --preserve-fds each.
pub const MOST_DESCRIPTORS: u32 = 65536;

/// The descriptors that the environment announces. They are ignored if LISTEN_PID names another process.
pub fn inherited() -> Result<Option<Activation>> {
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
