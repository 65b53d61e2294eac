//! Chapter 5: from a plan to a process, the container's first or one that joins. The runtime's side of it is here,
//! init's side is chapters 6 to 9.

mod between;
pub mod create;
pub mod denials;
pub mod end;
pub mod exec;
pub mod foreground;
pub mod handover;
mod late;
mod listener;
mod made;
pub mod memory;
pub mod mounts;
mod net_devices;
pub mod network;
pub mod notify;
mod outside;
pub mod own_binary;
mod rtnetlink;
pub mod start;
