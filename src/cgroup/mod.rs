//! Chapter 4, on the runtime's side: the container's cgroup, version 2 only.

pub mod devices;
pub mod tree;
