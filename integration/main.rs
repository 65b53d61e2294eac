//! Real containers: run as root inside `integration/pure-v2`; `make integration` does both.
//!
//! One module a subject. What they share is `harness.rs`; what runs inside the containers is `probe/`.

mod containment;
mod create;
mod default_spec;
mod errors;
mod harness;
mod hooks;
mod lifecycle;
mod process;
mod terminal;
mod user_namespace;
