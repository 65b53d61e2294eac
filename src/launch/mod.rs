//! Chapter 5: from a plan to a process, the container's first or one that joins. The runtime's side of it is here,
//! init's side is chapters 6 to 9.

mod between;
pub mod create;
pub mod denials;
pub mod exec;
pub mod foreground;
pub mod handover;
pub mod idmap;
pub mod interrupt;
mod listener;
pub mod memory;
mod net_devices;
pub mod network;
pub mod notify;
mod outside;
pub mod own_binary;
pub mod protocol;
pub mod refusal;
mod rtnetlink;
pub mod start;
pub mod subordinate;
