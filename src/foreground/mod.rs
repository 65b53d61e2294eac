//! What the runtime does while it stays with a container in the foreground: it forwards signals, relays the terminal and the
//! notifications of sd_notify(3), and collects what seccomp denies. It returns the exit code.

pub mod notify;
mod relay;
pub mod seccomp_audit;

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use crate::error::Result;
use crate::sys::process::{self, Exit};
use crate::sys::{descriptor, pressure, signal};

use notify::Proxy;
use relay::Relay;
use seccomp_audit::SeccompAudit;

pub use relay::fit;

/// The signals that are not forwarded: those that concern the runtime itself, and SIGURG, which runtimes never forward.
const OWN: &[i32] = &[libc::SIGCHLD, libc::SIGWINCH, libc::SIGURG, libc::SIGPIPE];

/// Catches all signals from now on. Called before the container starts, so that none is lost.
pub fn catch_signals() -> Result<OwnedFd> {
    Ok(signal::redirect_all()?)
}

/// Serves the container until its init ends.
pub fn stay(
    init: &OwnedFd,
    signals: &OwnedFd,
    master: Option<OwnedFd>,
    notify: Option<&Proxy>,
    mut denials: Option<&mut SeccompAudit>,
) -> Result<Exit> {
    pressure::end();
    signal::redirect_rest();
    let mut relay = master.map(Relay::new).transpose()?;
    loop {
        let mut watched = vec![(init.as_fd(), libc::POLLIN), (signals.as_fd(), libc::POLLIN)];
        if let Some(relay) = &relay {
            watched.extend(relay.watched(signals));
        }
        // Last, because the relay's entries are found by their position.
        let messages = watched.len();
        watched.extend(notify.map(|notify| (notify.fd(), libc::POLLIN)));
        let records = watched.len();
        let fd = denials.as_ref().and_then(|denials| denials.fd());
        watched.extend(fd.map(|fd| (fd, libc::POLLIN)));
        // A terminal that no process in the container has open reports POLLHUP continuously; it is polled again later.
        let hung_up = relay.as_ref().is_some_and(|relay| relay.hung_up);
        let events = descriptor::poll(&watched, if hung_up { 100 } else { -1 })?;
        let ready = |index: usize| events.get(index).is_some_and(|events| *events != 0);
        if let Some(relay) = &mut relay {
            let input = if messages > 3 { events.get(3).copied() } else { None };
            relay.pump(events.get(2).copied().unwrap_or(0), input.unwrap_or(0))?;
        }
        if let Some(notify) = notify
            && (ready(messages) || ready(0))
        {
            notify.forward()?;
        }
        if let Some(denials) = &mut denials
            && ready(records)
        {
            denials.collect();
        }
        if ready(1) {
            while let Some(number) = signal::next(signals.as_fd()) {
                pass_on(number, init, relay.as_ref())?;
            }
        }
        if ready(0)
            && let Some(exit) = process::wait_pidfd(init.as_fd(), false)?
        {
            if let Some(relay) = &mut relay {
                relay.drain();
            }
            return Ok(exit);
        }
    }
}

fn pass_on(number: i32, init: &OwnedFd, relay: Option<&Relay>) -> Result<()> {
    match number {
        // As a subreaper the runtime inherits the container's orphans; it waits for init itself by its pidfd.
        libc::SIGCHLD => process::reap_all_but(init.as_fd())?,
        libc::SIGWINCH => relay.map_or(Ok(()), Relay::resize)?,
        number if OWN.contains(&number) => {}
        number => match process::pidfd_send_signal(init.as_fd(), number) {
            Err(error) if error.errno != Errno::ESRCH => return Err(error.into()),
            _ => {}
        },
    }
    Ok(())
}
