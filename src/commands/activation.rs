//! Socket activation: descriptors that systemd hands to the runtime, meant for the container's process, see
//! sd_listen_fds(3).

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

use crate::error::{Result, anyhow, with_hint};
use crate::plan::Activation;
use crate::sys::process;

/// So many descriptors may be passed on, by each of the two ways.
pub const MOST_DESCRIPTORS: u32 = 65536;

/// What the environment says was handed over. Meant for another process than this one, it means nothing here.
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
            format!("LISTEN_FDS={count:?}: not a number of descriptors"),
            "it says how many sockets are handed over, beginning with descriptor 3; unset it to run without",
        )),
        Some(0) => Ok(None),
        Some(count) => Ok(Some(Activation {
            count,
            names: variable("LISTEN_FDNAMES")
                .map(|names| CString::new(names.into_vec()).map_err(|_| anyhow!("LISTEN_FDNAMES holds a NUL byte")))
                .transpose()?,
        })),
    }
}
