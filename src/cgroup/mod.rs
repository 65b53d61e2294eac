//! Chapter 4, on the runtime's side: the container's cgroup, version 2 only, and its class of service.

pub mod devices;
pub mod resctrl;
pub mod tree;
