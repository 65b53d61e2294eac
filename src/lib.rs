//! orlop, an OCI container runtime: everything but the program's entry, which is `main.rs`.
//!
//! The modules follow the walk of a container; read them in this order to see one start:
//!
//! | | module | who runs it | what happens |
//! |---|---|---|---|
//! | 1 | [`commands`] | runtime | one verb, which calls the next chapters |
//! | 2 | [`bundle`] | runtime | config.json → a validated [`plan`]; nothing is done yet |
//! | 3 | [`state`] | runtime | the container's directory and what is remembered in it |
//! | 4 | [`cgroup`] | runtime | the cgroup leaf and its rules |
//! | 5 | [`launch`] | runtime | the clone, and the conversation with init |
//! | 6 | [`rootfs`] | init | mounts, devices, masks, the new root |
//! | 7 | [`init`] | init | the steps in their order, and waiting for `start` |
//! | 8 | [`security`] | init | capabilities and the rest of the confinement |
//! | 9 | [`init`]`::exec` | init | execve, or why not |
//!
//! `exec` goes a shorter way, by [`bundle`]`::exec`, [`launch`]`::exec` and [`init`]`::join`, to the same steps 7 to 9.
//!
//! Beside the walk: the [`protocol`] between the runtime and init, the maps of user namespaces ([`idmap`]), [`hooks`], other
//! programs of the host ([`host_program`]), signals that interrupt the runtime ([`interrupt`]), how far it has come
//! ([`progress`]), children with a socket to them ([`child`]), the files [`mountinfo`] and [`passwd`], the kernel's lists of numbers ([`cpu_list`]), the [`error`] model, the [`log`], the [`cli`], [`program`], which
//! calls the verb that is asked for, and [`sys`], the only home of unsafe code besides the entry.
#![deny(unsafe_code, clippy::disallowed_methods)]
#![deny(rustdoc::broken_intra_doc_links, rustdoc::private_intra_doc_links)]

#[cfg(not(target_os = "linux"))]
compile_error!("orlop is made of Linux's system calls: build it for a target whose name contains -linux-");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("orlop needs a 64-bit target: flags of mounts and times are taken to have 64 bits");

pub mod cli;
pub mod program;

pub mod bundle;
pub mod cgroup;
pub mod commands;
pub mod init;
pub mod launch;
pub mod plan;
pub mod rootfs;
pub mod security;
pub mod state;
pub mod status;

pub mod child;
pub mod cpu_list;
pub mod dbus;
pub mod error;
pub mod exit_code;
pub mod foreground;
pub mod hooks;
pub mod host_program;
pub mod idmap;
pub mod interrupt;
pub mod log;
pub mod mountinfo;
pub mod net;
pub mod passwd;
pub mod progress;
pub mod protocol;
pub mod rfc3339;
pub mod sys;
