//! Real containers: run as root inside `integration/pure-v2`; `make integration` does both.
//!
//! One folder a subject, one idea a file. What the tests share is in `harness/`; what runs inside the containers is in `probe/`.
#![deny(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

mod budgets;
mod cgroup;
mod checkpoint;
mod docs;
mod engines;
mod exec;
mod faults;
mod guest;
mod harness;
mod lifecycle;
mod mounts;
mod namespaces;
mod process;
mod seccomp;
mod security;
mod timings;
