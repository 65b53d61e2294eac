//! `exec`: another process in a container that exists.

mod cgroup;
pub mod containment;
mod end;
pub mod identity;
mod process;
mod terminal;
