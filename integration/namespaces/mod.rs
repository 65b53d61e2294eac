//! Namespaces, new and joined; what is set inside them; user namespaces, and containers of unprivileged users.

mod joined;
pub mod net_devices;
mod network;
mod rootless;
mod settings;
mod user;
