//! orlop, an OCI container runtime. This is all of it except the entry of the program, which is `main.rs`.
//!
//! # One start, from the command line to the program
//!
//! Two processes do the work: the *runtime*, which the caller started, and *init*, a copy of it that becomes the first process
//! of the container. Everything is decided before anything is changed: the runtime turns config.json into a [`plan`], and both
//! processes only carry it out.
//!
//! | | module | process | what happens |
//! |---|---|---|---|
//! | 1 | [`program`] | runtime | reads the command line ([`cli`]) and calls the verb |
//! | 2 | [`commands`] | runtime | one verb, which calls the chapters that follow |
//! | 3 | [`bundle`] | runtime | config.json is read and validated, and becomes a [`plan`]; nothing is changed yet |
//! | 4 | [`state`] | runtime | the ID is claimed; the directory of the container stores what later calls need |
//! | 5 | [`cgroup`] | runtime | the cgroup is created and gets its limits |
//! | 6 | [`launch`] | runtime | clones init into its namespaces, and helps it where only the host can |
//! | 7 | [`init`] | init | carries out its steps in their order, waits for `start`, and executes the program |
//! | 8 | [`rootfs`] | init | mounts, devices, masked paths, the change of the root |
//! | 9 | [`security`] | init | capabilities, labels, the seccomp filter |
//! | 10 | [`foreground`] | runtime | stays with the container, if `run` was called without `--detach` |
//!
//! The two processes talk over a socket; the [`protocol`] lists every message. `create` ends when init is ready, and `start`
//! tells it to go on.
//!
//! `exec` starts a process in a container that exists: [`bundle::exec`] plans it, [`launch::exec`] creates it, [`init::join`]
//! enters the container, and then the same steps about the process follow as in init. `checkpoint` and `restore` leave the processes to
//! CRIU, a separate program ([`criu`]), and do themselves what CRIU cannot know about ([`checkpoint`]). The other verbs ask for the [`status`] of
//! a container, which is never stored, and act on what the stored state names.
//!
//! # The modules in order
//!
//! Each module uses only modules that come before it in this list; `tests/module_order.rs` checks that.
//!
//! * System calls: [`sys`], the only home of unsafe code besides the entry.
//! * What every part uses: the [`error`] model, [`rfc3339`] times, [`exit_code`], lists of CPUs and memory nodes ([`cpu_list`]),
//!   children with a socket ([`child`]), programs that are executed ([`spawn`], [`host_program`]), the way back from another
//!   namespace ([`own_namespace`]), the files [`mountinfo`] and [`passwd`], signals
//!   that [`interrupt`] the runtime, the [`trace`] of the caller, the [`log`], the protection of the runtime's binary
//!   ([`self_protect`]), the [`timings`] of the steps, the [`progress`] of a create, the [`protocol`], [`dbus`], and [`criu`].
//! * Data: the [`plan`]. The name that the program is called by: [`called_as`].
//! * Facts about the host that a config is checked against: [`host`]. Facts about a process: [`process_facts`].
//! * Parts of a container: its ID maps ([`idmap`]), network devices ([`net`]), [`security`], [`state`], [`cgroup`] and [`status`].
//! * From the caller to the plan: [`bundle`], and what the caller leaves open ([`inherited`]).
//! * Doing it: [`foreground`], [`hooks`], [`rootfs`], [`init`], [`launch`].
//! * The command line: [`cli`], [`checkpoint`] and restore, [`commands`], [`program`].
#![deny(unsafe_code, clippy::disallowed_methods)]
#![deny(rustdoc::broken_intra_doc_links, rustdoc::private_intra_doc_links)]

#[cfg(not(target_os = "linux"))]
compile_error!("orlop is made of Linux's system calls: build it for a target whose name contains -linux-");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("orlop needs a 64-bit target: flags of mounts and times are taken to have 64 bits");

pub mod bundle;
pub mod called_as;
pub mod cgroup;
pub mod checkpoint;
pub mod child;
pub mod cli;
pub mod commands;
pub mod cpu_list;
pub mod criu;
pub mod dbus;
pub mod error;
pub mod exit_code;
pub mod foreground;
pub mod hooks;
pub mod host;
pub mod host_program;
pub mod idmap;
pub mod inherited;
pub mod init;
pub mod interrupt;
pub mod launch;
pub mod log;
pub mod mountinfo;
pub mod net;
pub mod own_namespace;
pub mod passwd;
pub mod plan;
pub mod process_facts;
pub mod program;
pub mod progress;
pub mod protocol;
pub mod rfc3339;
pub mod rootfs;
pub mod security;
pub mod self_protect;
pub mod spawn;
pub mod state;
pub mod status;
pub mod sys;
pub mod timings;
pub mod trace;
