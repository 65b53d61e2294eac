//! The terminal as standard input, output and error. Runs in the process that uses it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::context::ProcessContext;
use crate::error::Result;
use crate::plan::{DevConsole, Process};
use crate::protocol::Message;
use crate::rootfs::{Root, console};
use crate::sys::descriptor::Stream;
use crate::sys::{descriptor, fs, terminal};

/// Opens the pty, binds it on /dev/console as planned, and sends its master end to the runtime.
pub fn open(context: &mut ProcessContext, plan: &Process, root: &Root, place: DevConsole) -> Result<()> {
    if !plan.terminal {
        return Ok(());
    }
    let console = console::open(root, plan.console_size)?;
    console::bind(root, &console, place)?;
    context
        .channel
        .send_with(&Message::Console, Some(console.master.as_fd()))?;
    context.console = Some(console);
    Ok(())
}

/// Reopens the pty in the final root of the process, after the root has been changed once more.
pub fn follow(context: &mut ProcessContext, root: &Root) -> Result<()> {
    if let Some(console) = &mut context.console
        && let Some(slave) = console::reopen_slave(root, &console.slave)?
    {
        console.slave = slave;
    }
    Ok(())
}

/// Makes the process's user the owner of the standard streams, or of the pty that replaces them.
pub fn give(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    if let Some(console) = &context.console {
        let slave = console.slave.as_fd();
        return own(slave, &fs::fstat(slave)?, plan.uid, true);
    }
    let mut null = None;
    for stream in Stream::ALL {
        let stat = match fs::fstat(stream.as_fd()) {
            // The caller closed it; it stays closed.
            Err(error) if error.errno == Errno::EBADF => continue,
            other => other?,
        };
        match is_null(&stat) {
            true => reopen_null(stream, &mut null)?,
            false => own(stream.as_fd(), &stat, plan.uid, false)?,
        }
    }
    Ok(())
}

fn is_null(stat: &libc::stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == libc::makedev(1, 3)
}

/// Replaces the null device of the host by that of the container, as other runtimes do: the process has no file of the host
/// open, which CRIU could not find in the container. If the container has none, nothing changes. `null`: it, once it is open.
fn reopen_null(stream: Stream, null: &mut Option<OwnedFd>) -> Result<()> {
    const PATH: &str = "/dev/null";
    if null.is_none() {
        let found = fs::lstatat(fs::CWD, Path::new(PATH));
        if !found.is_ok_and(|stat| is_null(&stat)) {
            return Ok(());
        }
        // Something else may have been put there meanwhile: that must not be waited for.
        let flags = libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
        *null = fs::open(Path::new(PATH), flags)
            .ok()
            .filter(|fd| fs::fstat(fd.as_fd()).is_ok_and(|stat| is_null(&stat)));
        null.as_ref().map_or(Ok(()), descriptor::set_blocking)?;
    }
    match null {
        Some(null) => Ok(stream.replace(null.as_fd())?),
        // The rules for devices may forbid it.
        None => Ok(()),
    }
}

/// Makes the pty the controlling terminal and the standard streams.
pub fn take(context: &mut ProcessContext, _: &Process) -> Result<()> {
    if let Some(console) = context.console.take() {
        terminal::make_controlling(console.slave.as_fd())?;
        for stream in Stream::ALL {
            stream.replace(console.slave.as_fd())?;
        }
    }
    Ok(())
}

/// A program that runs as another user must still be able to reopen /dev/stdout: pipes, sockets, files and our own terminal
/// change their owner to that user, as with other runtimes. Devices do not: their nodes belong to the host, and an owner may
/// change the mode for everyone. The change is by descriptor, so that no link in the image is followed (CVE-2026-88265).
fn own(stream: BorrowedFd, stat: &libc::stat, uid: u32, console: bool) -> Result<()> {
    let given = match stat.st_mode & libc::S_IFMT {
        libc::S_IFCHR => console,
        libc::S_IFBLK => false,
        _ => true,
    };
    if !given || stat.st_uid == uid {
        return Ok(());
    }
    // The group stays: on a terminal it is that of the devpts mount, for programs such as write(1).
    match fs::fchown(stream, uid, stat.st_gid) {
        // The file of another user, an unmapped id, a read-only file system: the stream still works, but cannot be
        // reopened.
        Err(error) if matches!(error.errno, Errno::EPERM | Errno::EINVAL | Errno::EROFS) => Ok(()),
        other => Ok(other?),
    }
}
