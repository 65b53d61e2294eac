//! `restore`: makes a container from image files of `checkpoint`, and waits until it exits.

use std::rc::Rc;

use super::foreground_container::{self, Guarded};
use super::new_container::{bundle, cgroups, plan};
use crate::checkpoint::restore::{self, Restored};
use crate::cli::{Global, Restore};
use crate::error::{Context, Result, Step, with_cleanup};
use crate::foreground;
use crate::foreground::notify::Proxy;
use crate::interrupt::Interrupts;
use crate::launch::start;
use crate::log;
use crate::state::Store;
use crate::state::store::check_id;
use crate::sys::process;
use crate::{progress, timings};

pub fn run(store: &Store, arguments: &Restore, global: &Global) -> Result<u8> {
    restore(store, arguments, global).with_context(|| format!("restore {:?}", arguments.id))
}

fn restore(store: &Store, arguments: &Restore, global: &Global) -> Result<u8> {
    check_id(&arguments.id)?;
    timings::open(&arguments.common.timed.timings, "restore", &arguments.id)?;
    let images = restore::images(arguments)?;
    let cgroup = cgroups(global, &arguments.id);
    let common = &arguments.common;
    let plan = plan(common, bundle(common), arguments.detach, false, None, cgroup)?;
    progress::step(Step::Claim);
    let signals = match arguments.detach {
        true => None,
        false => Some(foreground::catch_signals()?),
    };
    let interrupts = Rc::new(Interrupts::watch()?);
    let container = store.claim(&arguments.id)?;
    let restored = restore::restore(container, &plan, arguments, &images, &interrupts)?;
    // Orphans of CRIU were to be adopted in any case.
    if arguments.no_subreaper
        && let Err(error) = process::set_child_subreaper(false)
    {
        log::warning(&format!("--no-subreaper: {error}"));
    }
    let notify = ready(&restored, arguments.detach)?;
    // The container runs: from here on `restore` does not fail. With --detach the lock is released when the runtime exits.
    if let Err(error) = restored.container.unlock()
        && !arguments.detach
    {
        log::warning(&format!("other commands will wait until the container exits: {error}"));
    }
    match signals {
        None => {
            // A signal that comes now is too late: the caller would take the container for undone.
            std::mem::forget(interrupts);
            Ok(crate::exit_code::SUCCESS)
        }
        Some(signals) => {
            let guarded = Guarded {
                container: restored.container,
                state: restored.state,
                init: restored.init,
                keep: false,
            };
            foreground_container::stay(&guarded, restored.master, &signals, notify.as_ref(), None)
        }
    }
}

/// The proxy for the notifications of the container, which has been ready since before the checkpoint, and the size of its
/// terminal.
fn ready(restored: &Restored, detach: bool) -> Result<Option<Proxy>> {
    let ready = || -> Result<Option<Proxy>> {
        let notify = Proxy::open(&restored.container, &restored.state, !detach)?;
        restored.master.as_ref().map_or(Ok(()), foreground::fit)?;
        if let Some(notify) = &notify {
            notify.tell_ready()?;
        }
        Ok(notify)
    };
    ready().map_err(|error| {
        let cleanup = start::destroy(&restored.container, &restored.state, &restored.init.pidfd);
        with_cleanup(error, cleanup)
    })
}
