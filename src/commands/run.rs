//! `run`: creates and starts a container, and waits until it exits.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::foreground_container::{self, Guarded};
use super::new_container::{bundle, cgroups, plan};
use crate::cli::{Global, Run};
use crate::error::{Context, Error, Result, Step, with_cleanup};
use crate::foreground;
use crate::foreground::notify::Proxy;
use crate::foreground::seccomp_audit::SeccompAudit;
use crate::interrupt::Interrupts;
use crate::launch::create::{self, CreateOptions, Ready};
use crate::launch::start;
use crate::log;
use crate::state::store::check_id;
use crate::state::{Container, Store};
use crate::sys::process;
use crate::{progress, timings};

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
    timings::open(&arguments.common.timed.timings, "run", &id)?;
    let bundle = if by_bundle { target } else { bundle(&arguments.common) };
    let plan = plan(
        &arguments.common,
        bundle,
        arguments.detach,
        arguments.no_new_keyring,
        arguments.seccomp_log,
        cgroups(global, &id),
    )?;
    progress::step(Step::Claim);
    // Everything that can fail without a container comes before the ID is claimed. From here on signals are caught, so that a
    // signal for the container is not lost if it arrives during create; signals that interrupt undo the create.
    let signals = if arguments.detach {
        None
    } else {
        Some(foreground::catch_signals()?)
    };
    if !arguments.detach && !arguments.no_subreaper {
        process::set_child_subreaper(true)?;
    }
    // This starts an audit session that the container must be part of, so it comes before the create.
    let denials = SeccompAudit::watch(&plan);
    let interrupts = Rc::new(Interrupts::watch()?);
    let container = if by_bundle {
        claim_unique(store, &id)?
    } else {
        store.claim(&id)?
    };
    timings::named(&container.id);
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
        start::tell(&ready.container, &ready.state, &ready.channel, &ready.init.pidfd)?;
        Ok(notify)
    });
    let notify = started.map_err(|error| undo(error, &ready, options.pid_file))?;
    // The program runs: from here on `run` does not fail. With --detach the lock is released when the runtime exits.
    if let Err(error) = ready.container.unlock()
        && !arguments.detach
    {
        log::warning(&format!("other commands will wait until the container exits: {error}"));
    }
    match signals {
        Some(signals) => {
            let guarded = Guarded {
                container: ready.container,
                state: ready.state,
                init: ready.init,
                keep: arguments.keep,
            };
            foreground_container::stay(&guarded, ready.master, &signals, notify.as_ref(), denials)
        }
        None => {
            if let Some(notify) = notify {
                // The container runs, so from here on a signal only ends the wait.
                drop((options, ready.channel));
                notify.until_ready_or_warned(&ready.init.pidfd);
            }
            Ok(crate::exit_code::SUCCESS)
        }
    }
}

/// After a failed start: the caller has not seen this container yet, so nothing of it is left.
fn undo(error: Error, ready: &Ready, pid_file: Option<&Path>) -> Error {
    if let Some(path) = pid_file {
        // It may have been removed already.
        let _ = std::fs::remove_file(path);
    }
    let cleanup = match ready.container.is_gone() {
        Ok(true) => Ok(()),
        _ => start::destroy(&ready.container, &ready.state, &ready.init.pidfd),
    };
    with_cleanup(error, cleanup)
}

/// `run BUNDLE`: a path with a slash, or a directory that contains a config.json.
fn is_bundle(target: &Path) -> bool {
    target.as_os_str().as_encoded_bytes().contains(&b'/') || target.join("config.json").is_file()
}

/// Claims the name as ID, or the name with the first number that is free.
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

/// For `run BUNDLE`: the ID, derived from the name of the bundle directory.
fn id_of(bundle: &Path) -> String {
    let absolute: PathBuf = std::fs::canonicalize(bundle).unwrap_or_else(|_| bundle.to_path_buf());
    let name = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let id: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_+-.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(200)
        .collect();
    if id.trim_matches('.').is_empty() {
        "container".into()
    } else {
        id
    }
}
