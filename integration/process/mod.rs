//! The container's process: its identity and capabilities, limits and scheduling, terminal, streams and descriptors.

mod activation;
mod identity;
mod limits;
mod notify;
mod scheduler;
mod streams;
mod terminal;
