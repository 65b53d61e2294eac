//! The container's process: its identity and capabilities, limits and scheduling, terminal, streams and descriptors.

mod activation;
mod capabilities;
mod cwd;
mod environment;
mod identity;
mod keyring;
mod memory_policy;
mod notify;
mod oom_score;
mod rlimits;
mod scheduler;
mod streams;
mod terminal;
