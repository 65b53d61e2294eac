//! `exec`: another process in a container that exists.

mod cgroup;
mod containment;
mod debug;
mod end;
mod identity;
mod observed;
mod process;
mod process_object;
mod terminal;
mod user_namespace;
