//! Chapter 3, in the runtime process: the state of a container that is kept between two commands.
//!
//! ```text
//! ROOT/ID/              mode 0700; claims the ID by existing; locked with flock(2) by a command that changes the container
//!         state.json    the fields of `State`; written to a temporary file and renamed
//!         config.json   the config as it was at create; later edits in the bundle have no effect
//!         start.sock    exists from the end of create until start, which tells init over it to continue
//!         deleted       written by a `delete --force` while the container is still being created
//!         notify/       bound on /run/notify in the container, if NOTIFY_SOCKET was set at create
//! ```

pub mod container;
pub mod file;
pub mod foreign;
pub mod holder;
pub mod identity;
pub mod record;
pub mod store;

pub use container::Container;
pub use record::{Phase, State};
pub use store::Store;
