//! Chapter 9: the last steps. The process looks up its program, closes descriptors that must not leak, and executes it or
//! explains why it cannot. Runs as the container's user, confined.

use std::convert::Infallible;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::context::ProcessContext;
use super::step::take;
use super::{environment, limits, obstacle};
use crate::error::{At, Context, Error, Result, Step, bail, with_hint};
use crate::plan::Process;
use crate::protocol::{Channel, Message};
use crate::security;
use crate::security::seccomp::notify;
use crate::sys::execve::Image;
use crate::sys::{SysError, Syscall, c_path, descriptor, fs, process, signal};

/// The search path of execvp(3) if PATH is not set (confstr(3), _CS_PATH).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Looks up the program while `create` can still report that it does not exist.
pub fn find(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    context.program = Some(search(plan).with_context(program_at)?);
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
        None => search(plan).with_context(program_at)?,
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

/// The place in the config that names the program.
fn program_at() -> At {
    At::new("process.args[0]")
}

fn os(text: &CStr) -> &OsStr {
    OsStr::from_bytes(text.to_bytes())
}

/// The program's path, by the rules of execvp(3) with the PATH of the container's environment.
fn search(plan: &Process) -> Result<PathBuf> {
    let Some(name) = plan.args.first() else {
        bail!("process.args is empty")
    };
    let text = name.to_string_lossy();
    if name.to_bytes().contains(&b'/') {
        let path = PathBuf::from(os(name));
        return match check(&path) {
            Ok(()) => Ok(path),
            Err(error) if error.errno == Errno::ENOENT => Err(obstacle::not_there(plan, &text, &path, error)),
            Err(error) => Err(obstacle::refused(&text, &path, error)),
        };
    }
    let set = plan
        .env
        .iter()
        .find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let path = set.unwrap_or(DEFAULT_PATH.as_bytes());
    let mut denied = None;
    for directory in path.split(|byte| *byte == b':') {
        // An empty entry means the working directory.
        let directory = if directory.is_empty() {
            Path::new(".")
        } else {
            Path::new(OsStr::from_bytes(directory))
        };
        let candidate = directory.join(os(name));
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(error) => denied = denied.or(Some((candidate, error))),
        }
    }
    match denied {
        Some((candidate, error)) => Err(obstacle::refused(&text, &candidate, error)),
        None => {
            let shown = String::from_utf8_lossy(path);
            let searched = match set {
                Some(_) => format!("the container's PATH is {shown:?}"),
                None => format!("process.env has no PATH, so {shown:?} was searched"),
            };
            let cure = obstacle::whole_command(plan)
                .unwrap_or_else(|| format!("{searched}; install the program in the image, or give its full path"));
            Err(with_hint(
                format!("exec: {text:?}: executable file not found in $PATH"),
                cure,
            ))
        }
    }
}

/// Checks whether execve(2) would accept a path, as far as that can be known in advance.
fn check(path: &Path) -> Result<(), SysError> {
    let fd = fs::open(path, libc::O_PATH)?;
    if fs::fstat(fd.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(SysError::new(Syscall::Execve.of(path), Errno::EISDIR));
    }
    fs::access(path, libc::X_OK)
}

/// The error for a program that execve(2) rejected.
fn refusal(plan: &Process, image: &Image, errno: Errno) -> Error {
    let program = Path::new(os(image.program()));
    let error = SysError::new(Syscall::Execve.of(program), errno);
    obstacle::explain(plan, program, error)
        .context(program_at())
        .context(Step::Execve)
}
