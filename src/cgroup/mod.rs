//! Chapter 4, on the runtime's side: the container's cgroup, version 2 only, and its class of service.

pub mod apply;
pub mod controllers;
pub mod delegation;
pub mod devices;
pub mod directory;
pub mod events;
pub mod freeze;
pub mod lost;
pub mod members;
pub mod mount;
pub mod mount_options;
pub mod oom;
pub mod owner;
pub mod removal;
pub mod resctrl;
pub mod resources;
pub mod stats;
pub mod subtree_control;
pub mod systemd;
pub mod threads;
pub mod tree;
pub mod unfinished;
pub mod update;
pub mod usage;
