//! The terminal on standard input, output and error. Run by the process that gets it.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::context::ProcessContext;
use crate::error::Result;
use crate::plan::{DevConsole, Process};
use crate::protocol::Message;
use crate::rootfs::{Root, console};
use crate::sys::{descriptor, fs, terminal};

/// Makes the pty, binds it on /dev/console as that is to be, and hands its master end to the runtime.
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

/// Takes hold of the pty in the root that the process is to have, after that has been changed once more.
pub fn follow(context: &mut ProcessContext, root: &Root) -> Result<()> {
    if let Some(console) = &mut context.console
        && let Some(slave) = console::slave_in(root, &console.slave)?
    {
        console.slave = slave;
    }
    Ok(())
}

/// Gives the standard streams, or the pty that they will be, to the process's user.
pub fn give(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    if let Some(console) = &context.console {
        return own_stream(console.slave.as_fd(), plan.uid, true);
    }
    (0..3).try_for_each(|number| own_stream(descriptor::standard_stream(number), plan.uid, false))
}

/// Makes the pty the controlling terminal and the standard streams.
pub fn take(context: &mut ProcessContext, _: &Process) -> Result<()> {
    if let Some(console) = context.console.take() {
        terminal::make_controlling(console.slave.as_fd())?;
        for number in 0..3 {
            descriptor::dup2(console.slave.as_fd(), number)?;
        }
    }
    Ok(())
}

/// A program that changed its user must still be able to reopen /dev/stdout: pipes, sockets, files and the terminal of the
/// step before become the user's, as with other runtimes. Devices stay whose they are: their nodes are the host's, and their
/// owner may change their mode for everybody. By descriptor, so that no link of the image leads anywhere (CVE-2026-88265).
fn own_stream(stream: BorrowedFd, uid: u32, console: bool) -> Result<()> {
    let stat = match fs::fstat(stream) {
        // Closed by the caller; so it stays.
        Err(error) if error.errno == Errno::EBADF => return Ok(()),
        other => other?,
    };
    let given = match stat.st_mode & libc::S_IFMT {
        libc::S_IFCHR => console,
        libc::S_IFBLK => false,
        _ => true,
    };
    if !given || stat.st_uid == uid {
        return Ok(());
    }
    // The group stays: on a terminal it is the one of the devpts mount, for write(1) and its like.
    match fs::fchown(stream, uid, stat.st_gid) {
        // Another's file, an id that is not mapped, a read-only file system: the stream still works, only reopening
        // it will not.
        Err(error) if matches!(error.errno, Errno::EPERM | Errno::EINVAL | Errno::EROFS) => Ok(()),
        other => Ok(other?),
    }
}
