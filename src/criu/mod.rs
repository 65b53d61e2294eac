//! CRIU, a separate program that dumps processes into image files and restores them, by its RPC: requests and responses are
//! packets of protobuf on a socket, see `rpc.proto` of CRIU. The messages are those of the `rust-criu` crate.
//!
//! ```text
//!    runtime                                         criu swrk
//!  ─ clone3 ─────────────────────────────────────────►
//!                                                     prepares, execve
//!    VERSION, FEATURE_CHECK ─────────────────────────►
//!    ◄─────────────────────────────────────── responses
//!    DUMP, PRE_DUMP or RESTORE ──────────────────────►
//!    ◄────────────────────────────────── NOTIFY script                (any number; a NOTIFY that is refused ends the request,
//!    NOTIFY success or not ──────────────────────────►                and CRIU undoes what it has done)
//!    ◄──────────────────────────────────────── response
//!    closes the socket ──────────────────────────────►
//!                                                     exits
//! ```

mod failure;
mod session;
pub mod stats;

pub use rust_criu::rust_criu_protobuf::rpc;
pub use session::{Notification, Script, Session, Start, end_children};
