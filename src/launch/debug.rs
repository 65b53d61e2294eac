//! A program of the host in namespaces of a container.
//!
//! The runtime enters the namespaces and clones a child, which is the first of its processes in the container's PID namespace.
//! The child keeps the host's user namespace, so that the container's root has no power over it, and the host's mounts, in
//! a mount namespace of its own in which /proc is that of the container. It is not dumpable until execve. (The command has checked
//! that no process of the container may trace it afterwards.) The runtime stays, and returns the exit status.
//!
//! In the foreground of a terminal, the program is a job of its own: see `job.rs`. Otherwise both processes stay in the process
//! group of the caller, as those of a shell's pipeline do: what the terminal sends reaches both, and a stop stops both. So the
//! runtime passes on only signals that were sent to it alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::child::{self, Child, Spawned};
use crate::error::{Context, Result, Step, call_with_hint};
use crate::host_program;
use crate::init::identity;
use crate::launch::job::{self, Job};
use crate::protocol::{Channel, Received, out_of_order};
use crate::spawn;
use crate::sys::fs_context::FsContext;
use crate::sys::process::Exit;
use crate::sys::{clone, descriptor, fs, mount, process, signal, terminal};

/// What is passed on if it was sent to the runtime alone.
const PASSED_ON: [i32; 7] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
];

/// The program, and where it runs.
pub struct Session {
    /// A pidfd of the container's init.
    pub init: OwnedFd,
    /// The namespaces of init to enter (`CLONE_NEW*`).
    pub namespaces: u64,
    /// The program and its arguments.
    pub program: Vec<String>,
    /// The path of the container's root, for `ORLOP_ROOT`.
    pub root: String,
}

/// Runs the program to its end.
pub fn run(session: &Session) -> Result<Exit> {
    // The child is visible to the container's processes before it executes the program.
    process::set_undumpable()?;
    let (signals, _held) = signal::hold(&[&PASSED_ON[..], &[libc::SIGCHLD]].concat())?;
    let input = std::io::stdin();
    let in_foreground = matches!(terminal::foreground_group(input.as_fd()), Ok(Some(_)));
    enter(session).context(Step::Namespaces)?;
    let child = match child::spawn(0, None) {
        Ok(Spawned::Child(socket)) => {
            if in_foreground {
                job::lead(input.as_fd());
            }
            begin(session, &Channel::new(socket))
        }
        Ok(Spawned::Parent(child)) => child,
        // The first process of the PID namespace has ended.
        Err(error) if error.errno == Errno::ENOMEM => {
            return Err(call_with_hint(error, "container not running", "it has ended meanwhile"));
        }
        Err(error) => return Err(error).context(Step::Clone),
    };
    let Child { pid, pidfd, socket } = child;
    let mut job = in_foreground.then(|| Job::new(input.as_fd(), pid));
    let exit = match Channel::new(socket).next_from(pidfd.as_fd()) {
        Ok(Received::End) => stay(pidfd.as_fd(), signals.as_fd(), job.as_mut()),
        Ok(Received::Message(other, _)) => Err(out_of_order(&other)),
        Err(error) => {
            // It ends by itself.
            let _ = process::wait_pidfd(pidfd.as_fd(), true);
            Err(error)
        }
    };
    if let Some(job) = &mut job {
        job.take_back();
    }
    exit
}

fn enter(session: &Session) -> Result<()> {
    let user = session.namespaces & libc::CLONE_NEWUSER as u64;
    if user != 0 {
        clone::setns(session.init.as_fd(), user)?;
        identity::become_root_of_namespace()?;
        process::set_undumpable()?;
    }
    match session.namespaces & !user {
        0 => Ok(()),
        others => clone::setns(session.init.as_fd(), others).map_err(|error| match error.errno {
            Errno::EPERM => call_with_hint(error, "entering the namespaces of the container", "run it as root"),
            _ => error.into(),
        }),
    }
}

/// Becomes the program. Runs in the child.
fn begin(session: &Session, channel: &Channel) -> ! {
    let become_it = || -> Result<()> {
        if session.namespaces & libc::CLONE_NEWPID as u64 != 0 {
            show_processes().context("mounting /proc of the container's PID namespace")?;
        }
        let (name, arguments) = match session.program.split_first() {
            Some((name, arguments)) => (name.as_str(), arguments),
            None => ("/bin/sh", &[][..]),
        };
        let mut program = host_program::program(name, arguments)?;
        program
            .environment
            .push(crate::sys::c_string(&format!("ORLOP_ROOT={}", session.root))?);
        let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let streams = [input.as_fd(), output.as_fd(), error.as_fd()];
        let failed = spawn::become_program(&program, streams, || {});
        Err(match failed.errno {
            Errno::ENOENT => call_with_hint(
                failed,
                format!("{name:?}: executable file not found in $PATH"),
                "debug runs programs of the host; `orlop exec` runs those of the image",
            ),
            _ => failed.into(),
        })
    };
    if let Err(error) = become_it() {
        channel.send_failure(&error);
    }
    process::exit_now(i32::from(crate::exit_code::EXEC_FAILURE))
}

/// Mounts a procfs of this process's PID namespace on /proc, in a mount namespace of its own: mounts of the host still appear
/// in it, and its own appear nowhere else.
fn show_processes() -> Result<()> {
    clone::unshare(libc::CLONE_NEWNS as u64)?;
    let root = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
    mount::set_attributes(root.as_fd(), 0, 0, libc::MS_SLAVE, true)?;
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let proc = FsContext::new("proc")?.mount(attributes)?;
    let place = fs::open(Path::new("/proc"), libc::O_PATH | libc::O_DIRECTORY)?;
    Ok(mount::attach(proc.as_fd(), place.as_fd())?)
}

/// Passes signals on until the program ends, and stops with it.
fn stay(program: BorrowedFd, signals: BorrowedFd, mut job: Option<&mut Job>) -> Result<Exit> {
    loop {
        let events = descriptor::poll(&[(program, libc::POLLIN), (signals, libc::POLLIN)], -1)?;
        while let Some((number, sender)) = signal::next_with_sender(signals) {
            match (number, &mut job) {
                (libc::SIGCHLD, Some(job)) => job.follow(program)?,
                (libc::SIGCHLD, None) => {}
                _ if sender == signal::Sender::Process => {
                    // It may just have ended.
                    let _ = process::pidfd_send_signal(program, number);
                }
                _ => {}
            }
        }
        if events.first().is_some_and(|events| *events != 0)
            && let Some(exit) = process::wait_pidfd(program, false)?
        {
            return Ok(exit);
        }
    }
}
