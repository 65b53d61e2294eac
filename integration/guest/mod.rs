//! Tests that need a separate kernel, which the scripts beside these files start: one with every controller for
//! `make guest-test`, one booted by systemd for `make guest-full`.

mod booted;
mod controllers;
mod cpu;
mod dumpable;
mod inspect;
mod io;
mod little_memory;
mod memory;
mod metrics;
mod pids;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Bundle, Container, Output};

fn name(controller: &str) -> String {
    format!("cgroup controller {controller}")
}

fn with(section: &str, value: Value) -> Bundle {
    Bundle::new().edit(|c| c["linux"]["resources"][section] = value)
}

/// Its leaf, on the host.
fn leaf(bundle: &Bundle) -> PathBuf {
    let name = format!("/{}-leaf", bundle.fresh_id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(name));
    PathBuf::from(format!("/sys/fs/cgroup{name}"))
}

fn update(c: &Container, flags: &[&str]) -> Output {
    c.bundle.orlop([&["update"], flags, &[c.id.as_str()]].concat()).run()
}

fn update_by(c: &Container, resources: Value) -> Output {
    let update = c.bundle.orlop(["update", "--resources", "-", &c.id]);
    update.stdin(&resources.to_string()).run()
}

/// Lets a script continue that waits with `while [ ! -e /tmp/go ]; do sleep 0.05; done`.
fn go(bundle: &Bundle) {
    fs::File::create(bundle.inside("/tmp/go")).expect("make /tmp/go");
}

const WAIT: &str = "echo waiting; while [ ! -e /tmp/go ]; do sleep 0.05; done;";

const MIB: i64 = 1 << 20;
