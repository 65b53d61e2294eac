//! The sd_notify(3) proxy between a container and the service manager: messages from the container's processes are forwarded
//! if they are about the state of the service, with their process ids translated to those of the host.
//!
//! ```text
//!   container                        runtime                          systemd
//!   /run/notify/notify.sock ───────► notify/notify.sock
//!                                    MAINPID=5 → MAINPID=4711 ───────► NOTIFY_SOCKET of the runtime's environment
//! ```
//!
//! `run` in the foreground forwards messages during the container's life. `start` and `run --detach` wait for READY=1, so
//! that their caller knows that the service is up; before they exit they name the container's init as the main process.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::cgroup::members;
use crate::error::{Context, Result};
use crate::log;
use crate::state::{Container, State};
use crate::sys::{datagram, descriptor, fs, process, socket};

const VARIABLE: &str = "NOTIFY_SOCKET";
/// The longest message that systemd accepts (NOTIFY_BUFFER_MAX), and one more byte to detect longer ones.
const LONGEST: usize = 4096 + 1;
/// The assignments that a container may send about its service. The others would give it power over the manager: to store
/// descriptors there, to let other processes speak for the service, to change its watchdog. runc and crun forward only READY.
const PASSED_ON: [&[u8]; 11] = [
    b"READY",
    b"RELOADING",
    b"MONOTONIC_USEC",
    b"STOPPING",
    b"STATUS",
    b"ERRNO",
    b"BUSERROR",
    b"EXIT_STATUS",
    b"WATCHDOG",
    b"EXTEND_TIMEOUT_USEC",
    b"BARRIER",
];
/// The only message with a descriptor, which the manager closes; it must be sent alone.
const BARRIER: &[u8] = b"BARRIER=1";
/// How long the manager may take to confirm that it has read all messages.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the caller has a service manager to notify. Warns about an unsupported kind of address.
pub fn wanted() -> bool {
    let Some(name) = value() else { return false };
    let is_known = is_unix(&name);
    if !is_known {
        // Such as vsock:, with which systemd in a virtual machine reports to the host.
        log::warning(&format!(
            "{VARIABLE}={name:?} is not a unix socket (an absolute path, or @ and an abstract name): ignored"
        ));
    }
    is_known
}

fn value() -> Option<OsString> {
    std::env::var_os(VARIABLE).filter(|name| !name.is_empty())
}

fn is_unix(name: &OsStr) -> bool {
    matches!(name.as_bytes().first(), Some(b'/' | b'@'))
}

/// The two sockets of the proxy.
pub struct Proxy {
    ours: OwnedFd,
    manager: OwnedFd,
    /// The container's init.
    init: i32,
    /// The main process of the service, unless the container names another.
    main: i32,
    cgroup: Option<PathBuf>,
}

impl Proxy {
    /// Opens the proxy for a container that is about to start. `stays`: the runtime stays in the foreground as its parent. None
    /// if there is no manager to notify, or the container was created without a socket.
    pub fn open(container: &Container, state: &State, stays: bool) -> Result<Option<Self>> {
        let Some(name) = value().filter(|name| is_unix(name)) else {
            return Ok(None);
        };
        let Some(path) = container.notify_socket()? else {
            log::warning(&format!(
                "{VARIABLE} is set for `start`, but was not for `create`: the container has no socket to send to"
            ));
            return Ok(None);
        };
        let manager = socket::unix(libc::SOCK_DGRAM)?;
        if let Err(error) = datagram::connect(manager.as_fd(), Path::new(&name)) {
            // Often inherited from a service whose manager cannot be reached; no reason to refuse the container.
            log::warning(&format!(
                "{VARIABLE}: {error}: nothing is listening on it, so the container's notifications are discarded"
            ));
            return Ok(None);
        }
        // A manager that stops reading must not block the container.
        socket::limit_sending(manager.as_fd(), 10)?;
        let ours = socket::unix(libc::SOCK_DGRAM)?;
        datagram::bind(ours.as_fd(), &path).context("the container's end of NOTIFY_SOCKET")?;
        Ok(Some(Proxy {
            ours,
            manager,
            init: state.pid,
            main: if stays { process::pid() } else { state.pid },
            cgroup: state.cgroup.as_ref().map(|cgroup| cgroup.path.clone()),
        }))
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }

    /// Forwards all pending messages. Returns whether READY=1 was among them.
    pub fn forward(&self) -> Result<bool> {
        let mut ready = false;
        let mut buffer = vec![0u8; LONGEST];
        while let Some((length, fds)) = datagram::receive(self.ours.as_fd(), &mut buffer)? {
            if length == LONGEST {
                log::warning("dropped a message for NOTIFY_SOCKET that is longer than the allowed 4096 bytes");
                continue;
            }
            let text = buffer.get(..length).unwrap_or_default();
            let translated = translate(text, self.main, |pid| self.pid_on_host(pid));
            if translated.text.is_empty() {
                continue;
            }
            let barrier = translated.text == BARRIER;
            let fds: Vec<BorrowedFd> = fds.iter().filter(|_| barrier).map(|fd| fd.as_fd()).collect();
            match datagram::send(self.manager.as_fd(), &translated.text, &fds) {
                // The service is running; this is no reason to end it.
                Err(error) => log::warning(&format!("{VARIABLE}: {error}")),
                Ok(()) => ready |= translated.ready,
            }
        }
        Ok(ready)
    }

    /// Tells the manager that the service is ready, for a container that has told so before it was checkpointed.
    pub fn tell_ready(&self) -> Result<()> {
        let message = translate(b"READY=1", self.main, |_| None);
        if let Err(error) = datagram::send(self.manager.as_fd(), &message.text, &[]) {
            log::warning(&format!("{VARIABLE}: {error}"));
        }
        Ok(())
    }

    /// Like `until_ready`, but only warns on errors, because the container is running.
    pub fn until_ready_or_warned(&self, init: &OwnedFd) {
        if let Err(error) = self.until_ready(init) {
            log::warning(&format!(
                "{VARIABLE}: the container is running, but waiting for READY=1 failed: {error:#}"
            ));
        }
    }

    /// Waits until the container has sent READY=1 and the manager has read it, or the container has ended.
    fn until_ready(&self, init: &OwnedFd) -> Result<()> {
        loop {
            let events = descriptor::poll(&[(self.fd(), libc::POLLIN), (init.as_fd(), libc::POLLIN)], -1)?;
            if self.forward()? {
                return self.barrier();
            }
            if events.get(1).is_some_and(|events| *events != 0) {
                return Ok(());
            }
        }
    }

    /// sd_notify_barrier(3): the manager closes the descriptor when it has read all earlier messages. Messages of the container
    /// are still forwarded meanwhile.
    fn barrier(&self) -> Result<()> {
        let (ours, theirs) = descriptor::pipe()?;
        if let Err(error) = datagram::send(self.manager.as_fd(), BARRIER, &[theirs.as_fd()]) {
            log::warning(&format!("{VARIABLE}: {error}"));
            return Ok(());
        }
        drop(theirs);
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now()).as_millis() as i32;
            let events = descriptor::poll(&[(self.fd(), libc::POLLIN), (ours.as_fd(), libc::POLLIN)], left)?;
            self.forward()?;
            if events.get(1).is_some_and(|events| *events != 0) {
                return Ok(());
            }
            if left == 0 {
                log::warning(&format!(
                    "{VARIABLE}: the manager did not answer BARRIER=1; not waiting any longer"
                ));
                return Ok(());
            }
        }
    }

    /// The pid on the host of a process with this pid in the container; none if there is no such process.
    fn pid_on_host(&self, pid: i32) -> Option<i32> {
        let namespace = fs::open(Path::new(&format!("/proc/{}/ns/pid", self.init)), libc::O_RDONLY).ok()?;
        match process::pid_from_namespace(namespace.as_fd(), pid) {
            Err(error) if error.errno != Errno::ESRCH => self.pid_in_cgroup(pid),
            found => found.ok(),
        }
    }

    /// For kernels before 6.11, which have no call for it: searches the processes of the container's cgroup.
    fn pid_in_cgroup(&self, pid: i32) -> Option<i32> {
        let list = members::below(self.cgroup.as_ref()?).ok()?;
        list.into_iter().find_map(|host| {
            let status = std::fs::read_to_string(format!("/proc/{host}/status")).ok()?;
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            let innermost: i32 = numbers.split_whitespace().next_back()?.parse().ok()?;
            (innermost == pid).then_some(host)
        })
    }
}

/// A message to be forwarded.
#[derive(Debug, PartialEq, Eq)]
pub struct Translated {
    pub text: Vec<u8>,
    /// Whether it contains READY=1.
    pub ready: bool,
}

/// Drops assignments that the container may not make, translates process ids to those of the host, and adds the main process
/// when a service becomes ready. A MAINPID that no process has is dropped: on the host it might be another process.
pub fn translate(message: &[u8], main: i32, on_host: impl Fn(i32) -> Option<i32>) -> Translated {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let (mut ready, mut main_named) = (false, false);
    for line in message.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        ready |= line == b"READY=1";
        let end = line.iter().position(|byte| *byte == b'=');
        let name = end.and_then(|end| line.get(..end)).unwrap_or_default();
        match line.strip_prefix(b"MAINPID=") {
            None if PASSED_ON.contains(&name) => lines.push(line.to_vec()),
            None => {}
            Some(number) => {
                let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
                if let Some(pid) = number.and_then(&on_host) {
                    main_named = true;
                    lines.push(format!("MAINPID={pid}").into_bytes());
                }
            }
        }
    }
    if ready && !main_named {
        lines.push(format!("MAINPID={main}").into_bytes());
    }
    Translated {
        text: lines.join(&b'\n'),
        ready,
    }
}
