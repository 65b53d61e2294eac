//! All containers of a state directory, each with its status and, if wanted, with what its cgroup uses.

use std::os::fd::AsFd;
use std::thread;

use crate::cgroup::directory::{own_directory, read};
use crate::cgroup::members;
use crate::cgroup::usage::Usage;
use crate::error::{Cleanup, Context, Result};
use crate::state::record::CgroupState;
use crate::state::store::Listing;
use crate::state::{State, Store};
use crate::status::{self, Snapshot, Status};

/// With fewer containers another thread is not worth its cost.
const LEAST_SHARE: usize = 100;

/// More threads would only wait for each other in the kernel.
const MOST_THREADS: usize = 4;

/// One container.
pub struct Listed {
    pub state: State,
    pub status: Status,
    /// 0 if there is no process.
    pub pid: i32,
    /// None if that was not asked for, or if the container has no cgroup.
    pub measured: Option<Box<Measured>>,
}

/// What the cgroup of a container uses.
pub struct Measured {
    pub usage: Usage,
    /// Processes in the cgroup and below it. None in a cgroup that has just been removed.
    pub processes: Option<u64>,
}

/// The containers of a listing in its order, without those that have disappeared since. A container that cannot be read must
/// not hide the others: its error is returned beside them.
pub fn containers(store: &Store, listing: &Listing, measure: bool) -> (Vec<Listed>, Cleanup) {
    let mut containers = Vec::with_capacity(listing.ids.len());
    let mut unread = Cleanup::default();
    for (id, quick) in listing.ids.iter().zip(quickly(listing, measure)) {
        if let Some(container) = quick {
            containers.push(container);
            continue;
        }
        let seen = unread.step(look(store, id).with_context(|| format!("{id:?}")));
        if let Some(seen) = seen.flatten() {
            let pid = seen.document().pid;
            containers.push(listed(seen.state, seen.status, pid, measure));
        }
    }
    (containers, unread)
}

/// Each container, or nothing where that takes a closer look. Many containers are divided among threads: nearly all of the
/// time is spent in short system calls.
fn quickly(listing: &Listing, measure: bool) -> Vec<Option<Listed>> {
    let ids = listing.ids.as_slice();
    let one = |id: &String| {
        let (state, status) = status::quick_status(listing, id)?;
        let pid = if status == Status::Stopped { 0 } else { state.pid };
        Some(listed(state, status, pid, measure))
    };
    let look = |ids: &[String]| -> Vec<_> { ids.iter().map(one).collect() };
    let threads = match ids.len() / LEAST_SHARE {
        0 | 1 => 1,
        worth => thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_THREADS).min(worth)),
    };
    let (own, others) = ids.split_at(ids.len().div_ceil(threads));
    thread::scope(|scope| {
        let others: Vec<_> = others
            .chunks(own.len().max(1))
            .map(|share| (share, thread::Builder::new().spawn_scoped(scope, move || look(share))))
            .collect();
        let mut found = look(own);
        for (share, begun) in others {
            // If a thread could not be created, this one does its share.
            let looked = begun.ok().and_then(|thread| thread.join().ok());
            found.extend(looked.unwrap_or_else(|| look(share)));
        }
        found
    })
}

/// A container with its status; none if it has disappeared since the IDs were read.
fn look(store: &Store, id: &str) -> Result<Option<Snapshot>> {
    let Some(container) = store.find(id)? else {
        return Ok(None);
    };
    match status::inspect(&container) {
        Err(_) if container.is_gone() == Ok(true) => Ok(None),
        other => other.map(Some),
    }
}

fn listed(state: State, status: Status, pid: i32, measure: bool) -> Listed {
    let cgroup = state.cgroup.as_ref().filter(|_| measure);
    Listed {
        measured: cgroup.and_then(measured).map(Box::new),
        state,
        status,
        pid,
    }
}

fn measured(cgroup: &CgroupState) -> Option<Measured> {
    let leaf = own_directory(cgroup).ok()??;
    Some(Measured {
        usage: Usage::read(&|file| read(leaf.as_fd(), file).ok()),
        processes: members::below(&cgroup.path).ok().map(|pids| pids.len() as u64),
    })
}
