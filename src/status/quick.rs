//! The status of one container among many, for `list`: the same answer as [`inspect`](super::inspect) gives for a container
//! that has been created, with half the system calls. It keeps no descriptor open, so it is only good for reporting, not for
//! acting.

use std::os::fd::BorrowedFd;
use std::path::Path;

use super::{Status, is_frozen};
use crate::state::container::{START_SOCKET, STATE};
use crate::state::file::{self, check_owner};
use crate::state::identity::is_alive;
use crate::state::store::Listing;
use crate::state::{Phase, State};
use crate::sys::fs;

/// The state and the status of a listed container. None if this cannot determine one of them: the container is being
/// created, its first thread has ended, or something is wrong.
pub fn quick_status(listing: &Listing, id: &str) -> Option<(State, Status)> {
    let (root, path) = (listing.root()?, listing.path());
    let directory = fs::lstatat(root, Path::new(id)).ok()?;
    check_owner(&directory, path).ok()?;
    let text = file::read(root, &format!("{id}/{STATE}"), path).ok()??;
    let state = serde_json::from_slice::<State>(&text).ok()?;
    if state.version != State::VERSION || state.phase != Phase::Created {
        return None;
    }
    let status = if !is_alive(&state.init())? {
        Status::Stopped
    } else if has_start_socket(root, id)? {
        Status::Created
    } else if is_frozen(&state).ok()? {
        Status::Paused
    } else {
        Status::Running
    };
    Some((state, status))
}

fn has_start_socket(root: BorrowedFd, id: &str) -> Option<bool> {
    let socket = format!("{id}/{START_SOCKET}");
    match fs::lstatat(root, Path::new(&socket)) {
        Ok(_) => Some(true),
        Err(error) if error.errno == nix::errno::Errno::ENOENT => Some(false),
        Err(_) => None,
    }
}
