//! A look at one of many containers, for `list`: what [`look`](super::look) tells of a container that has been created, by half the
//! calls. It holds nothing open, so it is for telling and not for acting.

use std::os::fd::BorrowedFd;
use std::path::Path;

use super::{Status, frozen};
use crate::state::identity::lives;
use crate::state::reading::{self, check_owner};
use crate::state::store::{Listing, START_SOCKET, STATE};
use crate::state::{Phase, State};
use crate::sys::fs;

/// The state and the status of a listed container. None if one of them cannot be told like this: because its creation is
/// under way, or something is wrong, or its first thread has ended.
pub fn glance(listing: &Listing, id: &str) -> Option<(State, Status)> {
    let (root, path) = (listing.root()?, listing.path());
    let directory = fs::lstatat(root, Path::new(id)).ok()?;
    check_owner(&directory, path).ok()?;
    let text = reading::file(root, &format!("{id}/{STATE}"), path).ok()??;
    let state = serde_json::from_slice::<State>(&text).ok()?;
    if state.version != State::VERSION || state.phase != Phase::Created {
        return None;
    }
    let status = if !lives(&state.init())? {
        Status::Stopped
    } else if has_start_socket(root, id)? {
        Status::Created
    } else if frozen(&state).ok()? {
        Status::Paused
    } else {
        Status::Running
    };
    Some((state, status))
}

fn has_start_socket(root: BorrowedFd, id: &str) -> Option<bool> {
    let socket = format!("{id}/{}", START_SOCKET);
    match fs::lstatat(root, Path::new(&socket)) {
        Ok(_) => Some(true),
        Err(error) if error.errno == nix::errno::Errno::ENOENT => Some(false),
        Err(_) => None,
    }
}
