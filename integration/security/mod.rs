//! Attempts to get out. A file of the host stands beside each container as a canary and must come out untouched.

mod console;
mod containment;
mod cwd;
mod descriptors;
mod hooks;
mod injected;
mod joined_mounts;
mod labels;
mod races;
mod self_protect;
mod state;
mod values;
