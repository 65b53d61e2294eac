//! `run`: create, start, and stay until the container ends.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use super::create::{bundle, cgroups, id_of, plan};
use crate::cgroup::oom;
use crate::cli::{Global, Run};
use crate::error::{Cleanup, Context, Result, with_cleanup};
use crate::interrupt::Interrupts;
use crate::launch::create::{self, CreateOptions, Ready};
use crate::launch::notify::Proxy;
use crate::launch::seccomp_audit::SeccompAudit;
use crate::launch::{foreground, start};
use crate::log;
use crate::state::store::check_id;
use crate::state::{Container, Store};
use crate::sys::process::{self, Exit};

pub fn run(store: &Store, arguments: &Run, global: &Global) -> Result<u8> {
    run_inner(store, arguments, global).with_context(|| format!("run {:?}", arguments.target))
}

fn run_inner(store: &Store, arguments: &Run, global: &Global) -> Result<u8> {
    let target = &arguments.target;
    let by_bundle = arguments.common.bundle.is_none() && is_bundle(target);
    let id = if by_bundle {
        id_of(target)
    } else {
        target.to_string_lossy().into_owned()
    };
    check_id(&id)?;
    let bundle = if by_bundle { target } else { bundle(&arguments.common) };
    let plan = plan(
        &arguments.common,
        bundle,
        arguments.detach,
        arguments.seccomp_log,
        cgroups(global, &id),
    )?;
    // All that can fail without a container comes before the id is claimed. Caught now, a signal for the container
    // also arrives if it comes while that is made; those that interrupt take it back.
    let signals = if arguments.detach {
        None
    } else {
        Some(foreground::catch_signals()?)
    };
    if !arguments.detach && !arguments.no_subreaper {
        process::set_child_subreaper()?;
    }
    // The session that it begins is the container's too, so it comes before that is made.
    let denials = SeccompAudit::watch(&plan);
    let interrupts = Rc::new(Interrupts::watch()?);
    let container = if by_bundle {
        claim_unique(store, &id)?
    } else {
        store.claim(&id)?
    };
    let options = CreateOptions {
        start_later: false,
        console_socket: arguments.common.console_socket.as_deref(),
        pidfd_socket: arguments.common.pidfd_socket.as_deref(),
        pid_file: arguments.common.pid_file.as_deref(),
        interrupts,
    };
    let ready = create::create(container, &plan, &options)?;
    let started = Proxy::open(&ready.container, &ready.state, !arguments.detach).and_then(|notify| {
        ready.master.as_ref().map_or(Ok(()), foreground::fit)?;
        start::tell(&ready.container, &ready.state, &ready.channel, &ready.pidfd)?;
        Ok(notify)
    });
    let notify = started.map_err(|error| {
        // Nobody has seen this container yet, so nothing of it stays.
        if let Some(path) = options.pid_file {
            // One that is gone already is as good.
            let _ = std::fs::remove_file(path);
        }
        let cleanup = match ready.container.is_gone() {
            Ok(true) => Ok(()),
            _ => start::destroy(&ready.container, &ready.state, &ready.pidfd),
        };
        with_cleanup(error, cleanup)
    })?;
    // The program runs: from here on that is the truth to be told, whatever fails. In the background the lock goes with us.
    if let Err(error) = ready.container.unlock()
        && !arguments.detach
    {
        log::warning(&format!("other commands wait for the container's end: {error}"));
    }
    match signals {
        Some(signals) => stay(ready, &signals, notify.as_ref(), denials, arguments.keep),
        None => {
            if let Some(notify) = notify {
                // The container runs, so from here on a signal ends the waiting and nothing else.
                drop((options, ready.channel));
                notify.until_ready_or_warned(&ready.pidfd);
            }
            Ok(crate::exit_code::SUCCESS)
        }
    }
}

fn stay(
    mut ready: Ready,
    signals: &OwnedFd,
    notify: Option<&Proxy>,
    mut denials: Option<SeccompAudit>,
    keep: bool,
) -> Result<u8> {
    let stayed = foreground::stay(&ready.pidfd, signals, ready.master.take(), notify, denials.as_mut());
    let exit = stayed.map_err(|error| {
        // Nobody would pass its signals and its output on, or learn how it ends.
        let mut cleanup = Cleanup::default();
        cleanup.step(start::end(&ready.pidfd));
        if !keep {
            cleanup.step(remove(&ready));
        }
        with_cleanup(
            error.context("the container was killed, because it cannot be stayed with"),
            cleanup.end(),
        )
    })?;
    if let Some(denials) = denials
        && let Err(error) = denials.report()
    {
        log::warning(&format!("{error:#}"));
    }
    if let (Exit::Signal(libc::SIGKILL), Some(cgroup)) = (exit, &ready.state.cgroup)
        && let Some(limit) = oom::ran_out_of_memory(cgroup)
    {
        // Whoever sits in front of it would otherwise only see an exit code.
        log::warning(&format!(
            "killed; the kernel has killed in this container for lack of memory: {limit}"
        ));
    }
    if !keep && let Err(error) = remove(&ready) {
        // The exit code is the container's, whatever becomes of the rest.
        log::warning(&format!("container {} was not removed: {error:#}", ready.container.id));
    }
    Ok(exit.code())
}

fn remove(ready: &Ready) -> Result<()> {
    ready.container.lock(std::time::Duration::from_secs(10))?;
    // Somebody else may have deleted it meanwhile.
    if ready.container.is_gone()? {
        return Ok(());
    }
    start::remove(&ready.container, &ready.state, Cleanup::default(), false)
}

/// `run DIR`: a path with a slash, or a directory that holds a config.
fn is_bundle(target: &Path) -> bool {
    target.as_os_str().as_encoded_bytes().contains(&b'/') || target.join("config.json").is_file()
}

/// Claims the name, or the name with the first number that is free.
fn claim_unique(store: &Store, name: &str) -> Result<Container> {
    let mut id = name.to_string();
    for number in 2.. {
        match store.claim(&id) {
            Err(_) if store.has(&id) => id = format!("{name}-{number}"),
            other => return other,
        }
    }
    store.claim(&id)
}
