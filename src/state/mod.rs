//! Chapter 3, on the runtime's side: what is remembered of a container between two calls.
//!
//! ```text
//! ROOT/ID/              mode 0700; its existence is the claim on the id; flock(2)ed by whoever changes the container
//!         state.json    what `State` holds, written to a temporary name and renamed
//!         config.json   the config as it was at create; later edits in the bundle have no effect
//!         start.sock    exists from the end of create to start: the way to tell init to go on
//!         deleted       written by a `delete --force` that meets the creator at work
//!         notify/       what the container sees on /run/notify, if its creator was told of a NOTIFY_SOCKET
//! ```

pub mod holder;
pub mod identity;
pub mod reading;
pub mod record;
pub mod store;

pub use record::{Phase, State};
pub use store::{Container, Store};
