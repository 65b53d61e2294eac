//! Chapter 9: the last steps. The process looks up its program, closes descriptors that must not leak, and executes it or
//! explains why it cannot. Runs as the container's user, confined.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::context::ProcessContext;
use super::files::Own;
use super::step::take;
use super::{environment, limits, lookup, obstacle};
use crate::error::{At, Context, Error, Result, Step};
use crate::plan::Process;
use crate::protocol::{Channel, Message};
use crate::security;
use crate::security::seccomp::notify;
use crate::sys::execve::Image;
use crate::sys::{SysError, Syscall, c_path, descriptor, process, signal};

/// Looks up the program while `create` can still report that it does not exist.
pub fn find(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    context.program = Some(lookup::search(plan, &Own).with_context(lookup::program_at)?);
    Ok(())
}

/// Runs `rest`, which is everything between the confinement and the program, and executes the program. The channel is
/// close-on-exec: its end tells the runtime that execve succeeded. A filter that notifies is installed before `rest`,
/// because the agent receives the listener while the container is being created.
pub fn execute<'a, W: AsMut<ProcessContext<'a>>>(
    walker: &mut W,
    plan: &Process,
    rest: impl FnOnce(&mut W) -> Result<()>,
) -> Result<Infallible> {
    let Some(filter) = plan.seccomp.as_ref().filter(|filter| filter.listener.is_some()) else {
        rest(walker)?;
        let image = prepare(walker.as_mut(), plan)?;
        // None of our system calls comes after it, so the profile need not allow any of them.
        security::seccomp::install::install(plan)?;
        let errno = image.execute();
        return Err(refusal(plan, &image, errno));
    };
    let error = notify::install(plan, filter, |filtered| {
        let go_on = || -> Result<Infallible> {
            let listener = filtered
                .listener()
                .context(At::new("linux.seccomp"))
                .context(Step::Seccomp)?;
            hand_over(&walker.as_mut().channel, listener).context(Step::Seccomp)?;
            rest(walker)?;
            let image = prepare(walker.as_mut(), plan)?;
            let (image, errno) = filtered
                .execute(image)
                .context(At::new("linux.seccomp"))
                .context(Step::Seccomp)?;
            Err(refusal(plan, image, errno))
        };
        let error = match go_on() {
            Ok(never) => match never {},
            Err(error) => error,
        };
        walker.as_mut().channel.send_failure(&error);
        process::exit_now(1)
    });
    Err(error.context(At::new("linux.seccomp")).context(Step::Seccomp))
}

/// Sends the listener to the runtime, and waits until the agent has it.
fn hand_over(channel: &Channel, listener: OwnedFd) -> Result<()> {
    channel.send_with(&Message::Listener, Some(listener.as_fd()))?;
    channel.expect_from_runtime(&[Message::ListenerTaken])?;
    // Only the agent's descriptor stays open, so that the listener ends when the agent closes it.
    drop(listener);
    Ok(())
}

/// The last preparations for execve(2) that need not run under the filter.
fn prepare(context: &mut ProcessContext, plan: &Process) -> Result<Image> {
    take(context, Step::Execve, |context| image(context, plan))
}

fn image(context: &mut ProcessContext, plan: &Process) -> Result<Image> {
    let program = match context.program.take() {
        Some(program) => program,
        None => lookup::search(plan, &Own).with_context(lookup::program_at)?,
    };
    let image = Image::new(c_path(&program)?, plan.args.clone(), environment::variables(plan));
    // Descriptors inherited by mistake are closed by execve; the requested ones stay open.
    descriptor::close_on_exec_from(3)?;
    descriptor::keep_inherited_on_exec(plan.preserve_fds, &plan.closed_fds)?;
    limits::tighten(context, plan)?;
    signal::reset_last();
    context.channel.send_timings();
    context.channel.send(&Message::Executing)?;
    Ok(image)
}

/// The error for a program that execve(2) rejected.
fn refusal(plan: &Process, image: &Image, errno: Errno) -> Error {
    let program = Path::new(OsStr::from_bytes(image.program().to_bytes()));
    let error = SysError::new(Syscall::Execve.of(program), errno);
    obstacle::explain(plan, program, error, &Own)
        .context(lookup::program_at())
        .context(Step::Execve)
}
