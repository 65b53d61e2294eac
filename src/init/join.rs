//! A process that joins a container, in two parts.
//!
//! The usher is a copy of the runtime, born in the container's cgroup. It takes the process's limits while it is still
//! outside, joins all of the container's namespaces in one call, gives up all that the process is not to have, and makes one
//! child, which is born inside. Only that child can be seen by the container's processes, and those with CAP_SYS_PTRACE may
//! take hold of it: so it never has a way to the host or a power of the host's. No root or working directory outside, no
//! descriptor besides the channel and what was asked for, no capability that the container lacks (but for the one that a
//! filter without no_new_privs costs, see `security::seccomp::install`); undumpable until execve (CVE-2016-9962). It is the
//! runtime's child, not the usher's, and goes through the same lists as init.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use super::entrant::{self, Entrant};
use super::fds;
use super::process::{self as steps, ProcessStep, walk};
use super::{environment, exec, identity, scheduling, take, terminal};
use crate::bundle::plan::{DevConsole, Process};
use crate::error::{Result, anyhow};
use crate::log;
use crate::progress::{self, Walker};
use crate::protocol::{Channel, Message};
use crate::rootfs::Root;
use crate::security::procfs::HostProc;
use crate::sys::{fs, process, signal};

/// The way into a container.
pub struct Way {
    /// A pidfd of its init.
    pub init: OwnedFd,
    /// `CLONE_NEW*` flags of init's namespaces that are not the runtime's.
    pub namespaces: u64,
    /// Init's root directory, where it has no mount namespace of its own.
    pub root: Option<OwnedFd>,
}

/// Runs the usher; never returns to the caller's code.
pub fn run(id: &str, keyring: String, plan: &Process, way: Option<Way>, channel: Channel) -> ! {
    // `--env TOKEN=…`, and the caller's own: nothing for the container to read.
    process::hide_invocation(b"orlop exec");
    signal::reset_all();
    progress::become_walker(Walker::Exec);
    log::divert(channel.fd());
    let mut entrant = Entrant {
        id,
        channel,
        caller_umask: fs::umask(0),
        user_namespace: way.as_ref().map_or(0, |way| way.namespaces) & libc::CLONE_NEWUSER as u64 != 0,
        keyring,
        by_its_maker: true,
        host_proc: None,
        console: None,
        program: None,
        in_cwd: false,
    };
    let way = way.ok_or_else(|| anyhow!("the way into the container has been gone already"));
    let entered = way
        .and_then(|way| usher(&mut entrant, plan, way))
        .and_then(|()| enter(&mut entrant, plan));
    let error = match entered {
        Ok(never) => match never {},
        Err(error) => error,
    };
    entrant.channel.send_failure(&error);
    process::exit_now(1)
}

/// Leads the process in. Returns in that alone.
fn usher(entrant: &mut Entrant, plan: &Process, way: Way) -> Result<()> {
    take(entrant, "descriptors", |entrant| {
        let root = way.root.as_ref().map(|root| root.as_raw_fd());
        let channel = Some(entrant.channel.fd().as_raw_fd());
        let own = [channel, Some(way.init.as_raw_fd()), root, log::diverted()];
        fds::keep_only(plan.preserve_fds, &own.into_iter().flatten().collect::<Vec<_>>())
    })?;
    if plan.oom_score_adj.is_some() || plan.apparmor_profile.is_some() || plan.selinux_label.is_some() {
        take(entrant, "host files", |entrant| {
            entrant.host_proc = Some(HostProc::open()?);
            Ok(())
        })?;
    }
    // Before the user namespace, in which the right to lower the score is lost.
    walk(entrant, plan, steps::LIMITS)?;
    take(entrant, "namespaces", |_| {
        // The kernel takes the user namespace first, and takes all or none. A pidfd of a process that has ended joins
        // nothing, whoever has its number now.
        match way.namespaces {
            0 => Ok(()),
            namespaces => Ok(process::setns(way.init.as_fd(), namespaces)?),
        }
    })?;
    if entrant.user_namespace {
        take(entrant, "user namespace", |_| identity::become_root_of_namespace())?;
    }
    take(entrant, "root", |_| {
        // With the mount namespace came its root, and the working directory in it. A --no-pivot container's is the
        // mount on top, which the kernel follows to.
        if let Some(root) = &way.root {
            fs::fchdir(root.as_fd())?;
            fs::chroot(Path::new("."))?;
        }
        Ok(())
    })?;
    walk(entrant, plan, steps::KEYS)?;
    // The child is seen by the container, and must have nothing that leads out of it.
    entrant.host_proc = None;
    drop(way);
    walk(entrant, plan, SURROUNDINGS)?;
    walk(entrant, plan, steps::CONFINEMENT)?;
    entrant::bear(entrant)
}

/// What it takes power to reach, or to make.
const SURROUNDINGS: &[(&str, ProcessStep)] = &[
    ("console", |entrant, plan| {
        if !plan.terminal {
            return Ok(());
        }
        // The container has one /dev/console, and that is init's.
        terminal::open(entrant, plan, &root()?, DevConsole::Left)
    }),
    ("cwd", |entrant, plan| {
        // What cannot be found from here is looked for once more from inside: the container's /proc/self is none of ours.
        entrant.in_cwd = environment::enter_cwd(&root()?, plan).unwrap_or(false);
        Ok(())
    }),
];

fn root() -> Result<Root> {
    Ok(Root::new(fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?))
}

fn enter(entrant: &mut Entrant, plan: &Process) -> Result<Infallible> {
    // A session of its own, so that no signal of the caller's terminal reaches it.
    take(entrant, "session", |_| Ok(process::setsid()?))?;
    if entrant.user_namespace {
        // Elsewhere the runtime does it.
        take(entrant, "scheduler", |_| scheduling::own_scheduler(plan))?;
    }
    if !entrant.in_cwd {
        take(entrant, "cwd", |entrant| {
            entrant.in_cwd = environment::enter_cwd(&root()?, plan)?;
            Ok(())
        })?;
    }
    walk(entrant, plan, steps::ARRIVAL)?;
    exec::execute(entrant, plan, |entrant| {
        entrant.channel.send(&Message::Ready)?;
        // Only when the caller has all that it asked for does the program run.
        entrant.channel.expect_from_runtime(&["Start"]).map(drop)
    })
}
