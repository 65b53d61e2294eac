//! Programs that the runtime or init executes: hooks, and tools of the host.
//!
//! Not by `std::process::Command`: its spawn aborts the process if it cannot read from its own pipe, and it has a shell run a
//! file that the kernel does not accept as a program.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::child::{self, Child, Spawned};
use crate::sys::process::{self, Exit};
use crate::sys::{Arg, Call, SysError, SysResult, Syscall, descriptor, execve, fs, signal};

/// The exit code of a child that could not execute its program. Only seen if the reason cannot be told either.
const NOT_EXECUTED: i32 = 127;

/// What is executed.
pub struct Program {
    /// The first of these files that exists is executed.
    pub paths: Vec<CString>,
    pub arguments: Vec<CString>,
    pub environment: Vec<CString>,
}

/// A program at work. It must be reaped by [`Running::wait`] or [`Running::kill`].
pub struct Running {
    pidfd: OwnedFd,
}

/// Executes a program in a child with these standard streams, and waits until execve(2) has succeeded or failed. No other
/// descriptor is passed on. No signal is blocked, and none is ignored that was not ignored by the caller of the runtime.
///
/// `prepare` is called in the child as the last thing before the execve. A failure of execve names the last file that was
/// tried.
pub fn spawn(program: &Program, streams: [BorrowedFd; 3], prepare: impl FnOnce()) -> SysResult<Running> {
    match child::spawn(0, None)? {
        Spawned::Child(socket) => {
            let (step, errno) = execute(program, streams, prepare);
            let [a, b, c, d] = (errno as i32).to_ne_bytes();
            // By write(2), which even a strict filter of system calls permits.
            let _ = fs::write(socket.as_fd(), &[step as u8, a, b, c, d]);
            process::exit_now(NOT_EXECUTED)
        }
        Spawned::Parent(Child { pidfd, socket, .. }) => {
            let running = Running { pidfd };
            let mut answer = [0; 5];
            let failed = match fs::read_uninterrupted(socket.as_fd(), &mut answer) {
                // The execve has closed the socket. (Or the child was killed before; its exit tells.)
                Ok(0) => return Ok(running),
                Ok(_) => {
                    let [step, a, b, c, d] = answer;
                    failure(program, step, Errno::from_raw(i32::from_ne_bytes([a, b, c, d])))
                }
                Err(error) => error,
            };
            // Its end is not what failed.
            let _ = running.kill();
            Err(failed)
        }
    }
}

/// Executes a program in place of this process, which is a child made for that, as [`spawn`] does. Returns only if that
/// fails, with the reason.
pub fn become_program(program: &Program, streams: [BorrowedFd; 3], prepare: impl FnOnce()) -> SysError {
    let (step, errno) = execute(program, streams, prepare);
    failure(program, step as u8, errno)
}

/// What the child does in turn, as one byte.
#[derive(Clone, Copy)]
enum Step {
    Execve,
    CopyStreams,
    StandardStreams,
    CloseOnExec,
}

/// The error of a child that failed at a step.
fn failure(program: &Program, step: u8, errno: Errno) -> SysError {
    let call: Call = match step {
        step if step == Step::CopyStreams as u8 => Syscall::Fcntl.of(Arg::word("F_DUPFD_CLOEXEC")),
        step if step == Step::StandardStreams as u8 => Syscall::Dup2.into(),
        step if step == Step::CloseOnExec as u8 => Syscall::CloseRange.into(),
        _ => Syscall::Execve.of(program.paths.last().map_or(c"", |path| path.as_c_str())),
    };
    SysError::new(call, errno)
}

/// The child's part. Returns only if it fails.
fn execute(program: &Program, streams: [BorrowedFd; 3], prepare: impl FnOnce()) -> (Step, Errno) {
    if let Err(error) = descriptor::set_standard_streams(streams) {
        return match error.call.name {
            Syscall::Fcntl => (Step::CopyStreams, error.errno),
            _ => (Step::StandardStreams, error.errno),
        };
    }
    // What the caller of the runtime left open is not meant for this program.
    if let Err(error) = descriptor::close_on_exec_from(3) {
        return (Step::CloseOnExec, error.errno);
    }
    signal::reset_inherited();
    signal::reset_last();
    prepare();
    (Step::Execve, execute_first(program))
}

/// Tries the files in turn, as execvp(3) does.
fn execute_first(program: &Program) -> Errno {
    let mut forbidden = None;
    for path in &program.paths {
        let Err(error) = execve::execve(path, &program.arguments, &program.environment);
        match error.errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT => {}
            // Perhaps a later one can be executed.
            Errno::EACCES => forbidden = Some(Errno::EACCES),
            errno => return errno,
        }
    }
    forbidden.unwrap_or(Errno::ENOENT)
}

impl Running {
    /// Becomes readable when the program ends.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits for the end of the program.
    pub fn wait(self) -> SysResult<Exit> {
        let exit = process::wait_pidfd(self.pidfd(), true)?;
        exit.ok_or_else(|| SysError::new(Syscall::Waitid, Errno::ECHILD))
    }

    /// Kills the program and waits for its end.
    pub fn kill(self) -> SysResult<Exit> {
        let _ = process::pidfd_send_signal(self.pidfd(), libc::SIGKILL);
        self.wait()
    }
}
