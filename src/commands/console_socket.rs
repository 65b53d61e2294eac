//! Whether `--console-socket` fits the terminal that a process gets.

use std::path::Path;

pub const MISSING: &str = "cannot allocate a terminal if orlop will detach without setting console socket";
pub const USELESS: &str = "cannot use console socket if orlop will not detach or allocate a terminal";

/// Whether there is a terminal whose master side would have no owner.
pub fn is_missing(terminal: bool, detached: bool, socket: Option<&Path>) -> bool {
    terminal && detached && socket.is_none()
}

/// Whether a socket is given, but there is no terminal, or the runtime keeps its master side.
pub fn is_useless(terminal: bool, detached: bool, socket: Option<&Path>) -> bool {
    socket.is_some() && !(terminal && detached)
}
