//! Real containers: run as root inside `integration/pure-v2`; `make integration` does both.
//!
//! One module a subject. What they share is `harness.rs`; what runs inside the containers is `probe/`.

/// As in the program, for the modules of it that tests share.
mod error {
    pub use anyhow::{Result, anyhow, bail};
}

mod activation;
mod annotations;
mod as_runc;
mod bind_flags;
mod booted;
mod broken_state;
mod cgroup_killed;
mod cgroup_leaf;
mod cgroup_verbs;
mod command_line;
mod conformance_rows;
mod containment;
mod containment_values;
mod create;
mod default_spec;
mod devices;
mod errors;
mod exec;
mod exec_cgroup;
mod exec_containment;
mod exec_end;
mod exec_process;
mod exec_terminal;
mod faults;
mod golden;
mod growth;
mod hanging;
mod harness;
mod hook_surroundings;
mod hooks;
mod host_mounts;
mod idmapped;
mod interrupted;
mod killed_update;
mod labels;
mod lifecycle;
mod limits;
mod links;
mod list_many;
mod little_memory;
mod lost_words;
mod mount2;
mod mount_order;
mod mount_points;
mod mount_words;
mod mounts;
mod mounts_verb;
mod namespace_settings;
mod namespaces;
mod net_devices;
mod network_namespace;
mod notify;
mod odd_streams;
mod own_binary;
mod process;
mod propagation;
mod resctrl;
mod resources;
mod root_change;
mod rootless;
mod scheduler;
mod seccomp;
mod seccomp_log;
mod seccomp_rows;
mod stress;
mod systemd;
mod terminal;
mod threaded;
mod tmpcopyup;
mod user_namespace;
mod without_cgroup;
