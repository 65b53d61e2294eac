//! Chapter 2, on the runtime's side: from the bundle's `config.json` to a [`Plan`](crate::plan::Plan).
//!
//! Everything is parsed, checked and decided here, and nothing is done yet: a config that this chapter refuses has
//! left no trace. `init` later only follows the plan; it never parses.

pub mod capabilities;
pub mod checks;
pub mod document;
pub mod exec;
mod keys;
pub mod load;
pub mod mount_options;
mod position;
pub mod questions;
pub mod raw;
pub mod reader;
pub mod scheduling;
pub mod sysctl;
pub mod text;
pub mod validate;
