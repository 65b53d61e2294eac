//! Chapter 5: from a plan to a process, the container's first or one that joins. The runtime's side of it is here,
//! init's side is chapters 6 to 9.

mod clone_init;
pub mod commit;
pub mod create;
pub mod debug;
pub mod end;
pub mod exec;
pub mod fd_passing;
mod intermediate;
mod job;
pub mod kernel_parameters;
mod late;
mod limits;
mod listener;
pub mod memory;
mod mount_namespace;
pub mod mounts;
pub mod network;
mod parent_setup;
pub mod rollback;
pub mod start;
pub mod surroundings;
