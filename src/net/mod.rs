//! Network devices of the host that move into a container's network namespace, by rtnetlink(7). Run by the runtime.

pub mod devices;
mod rtnetlink;
