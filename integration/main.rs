//! Real containers: run as root inside `integration/pure-v2`; `make integration` does both.
//!
//! One module a subject. What they share is `harness.rs`; what runs inside the containers is `probe/`.

mod activation;
mod broken_state;
mod cgroup_killed;
mod cgroup_leaf;
mod cgroup_verbs;
mod conformance_rows;
mod containment;
mod create;
mod default_spec;
mod devices;
mod errors;
mod exec;
mod exec_containment;
mod exec_process;
mod harness;
mod hooks;
mod idmapped;
mod interrupted;
mod labels;
mod lifecycle;
mod limits;
mod links;
mod mount2;
mod mount_words;
mod mounts;
mod namespaces;
mod net_devices;
mod notify;
mod process;
mod propagation;
mod refused;
mod resources;
mod root_change;
mod rootless;
mod scheduler;
mod seccomp;
mod stress;
mod seccomp_log;
mod terminal;
mod tmpcopyup;
mod user_namespace;
