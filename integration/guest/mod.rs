//! Tests that need a kernel of their own, which the scripts beside these files start: one with every controller for
//! `make guest-test`, one booted by systemd for `make guest-full`.

mod booted;
mod little_memory;
mod resources;
