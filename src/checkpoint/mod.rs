//! Checkpoint and restore. [CRIU](crate::criu) dumps and restores the processes with everything that they have; here is what
//! it has to be told: which mounts, namespaces and streams come from outside of the container (`external`, `namespaces`),
//! and what is known beforehand not to work (`obstacles`).
//!
//! A container is not lost: a [`dump`] that fails leaves it as it was, and a [`restore`] that fails leaves nothing. What
//! restore needs besides the images of CRIU is stored with them (`image`), in the form that runc has where it has one.

mod config;
pub mod dump;
mod external;
mod image;
mod namespaces;
mod obstacles;
mod options;
pub mod restore;
mod root;
mod streams;
