//! `list`: all containers of a state directory.

pub mod output;

use std::thread;

use output::Row;

use super::answer;
use crate::cli::{List, ListFormat};
use crate::error::{Cleanup, Context, Result};
use crate::passwd;
use crate::state::store::Listing;
use crate::state::{State, Store};
use crate::status::{self, Snapshot, Status};

/// With fewer containers another thread is not worth its cost.
const LEAST_SHARE: usize = 100;

/// More threads would only wait for each other in the kernel.
const MOST_THREADS: usize = 4;

pub fn run(store: &Store, arguments: &List) -> Result<u8> {
    let listing = store.listing().context("list")?;
    if arguments.quiet {
        return answer(&output::quiet(&listing.ids));
    }
    // A name that is not UTF-8 must not hide the others.
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let mut rows = Vec::new();
    let mut unread = Cleanup::default();
    for (id, quick) in listing.ids.iter().zip(quick_statuses(&listing)) {
        if let Some((state, status)) = quick {
            let pid = if status == Status::Stopped { 0 } else { state.pid };
            rows.push(row(state, status, pid, &passwd));
            continue;
        }
        // A container that cannot be read must not hide the others ...
        let seen = unread.step(look(store, id).with_context(|| format!("{id:?}")));
        if let Some(seen) = seen.flatten() {
            let pid = seen.document().pid;
            rows.push(row(seen.state, seen.status, pid, &passwd));
        }
    }
    answer(&match arguments.format {
        ListFormat::Table => output::table(&rows),
        ListFormat::Json => output::json(&rows),
    })?;
    // ... and is reported, so that it does not pass for one that does not exist.
    unread.end().context("some containers cannot be read").context("list")?;
    Ok(crate::exit_code::SUCCESS)
}

/// The state and status of each container, in the order of the IDs, or nothing where that takes a closer look. Many
/// containers are divided among threads: nearly all of the time is spent in short system calls.
fn quick_statuses(listing: &Listing) -> Vec<Option<(State, Status)>> {
    let ids = listing.ids.as_slice();
    let look = |ids: &[String]| -> Vec<_> { ids.iter().map(|id| status::quick_status(listing, id)).collect() };
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

fn row(state: State, status: Status, pid: i32, passwd: &str) -> Row {
    Row {
        step: status::step(&state, status),
        oci_version: state.oci_version,
        id: state.id,
        pid,
        status: status.name().into(),
        bundle: state.bundle.display().to_string(),
        rootfs: state.rootfs.display().to_string(),
        created: state.created,
        annotations: state.annotations,
        owner: owner(state.owner, passwd),
    }
}

/// The name of a user, or `#` and the UID.
fn owner(uid: u32, passwd: &str) -> String {
    passwd::name_of(passwd, uid).map_or_else(|| format!("#{uid}"), str::to_string)
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn owners_have_their_names_in_passwd() {
        let passwd = String::from_utf8_lossy(b"m\xfcller:x:1000:1000::/:\nroot:x:0:0::/:\n");
        let table = [(0, "root"), (1000, "m\u{fffd}ller"), (7, "#7")];
        for (uid, name) in table {
            assert_eq!(owner(uid, &passwd), name);
        }
    }
}
