//! A filter that must stay in force, and objects that no checkpoint can keep.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use super::{Part, sys};

/// munlockall(2) is refused by the container's seccomp profile.
pub struct Filtered;

impl Part for Filtered {
    fn check(&mut self) -> Result<(), String> {
        // SAFETY: the call takes no pointer.
        match sys::outcome(unsafe { libc::munlockall() }) {
            refused if refused == "EPERM" => Ok(()),
            other => Err(format!("munlockall: {other}")),
        }
    }

    fn same(&mut self) -> Value {
        Value::Null
    }
}

pub struct IoUring(OwnedFd);

impl IoUring {
    pub fn new() -> Self {
        // struct io_uring_params.
        let mut params = [0_u32; 30];
        // SAFETY: the kernel reads and writes one struct of 120 bytes, which outlives the call.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
        IoUring(sys::owned(fd))
    }
}

impl Part for IoUring {
    fn same(&mut self) -> Value {
        json!(self.0.as_raw_fd())
    }
}

/// A connection to a socket of the host that sends back what it gets.
pub struct Outside(UnixStream);

impl Outside {
    pub fn new(dir: &Path) -> Self {
        Outside(UnixStream::connect(dir.join("outside")).expect("connect"))
    }
}

impl Part for Outside {
    fn check(&mut self) -> Result<(), String> {
        let mut bytes = [0; 4];
        self.0.write_all(b"ping").map_err(|e| format!("send: {e}"))?;
        self.0.read_exact(&mut bytes).map_err(|e| format!("receive: {e}"))
    }

    fn same(&mut self) -> Value {
        Value::Null
    }
}
