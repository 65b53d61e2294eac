//! A client of a D-Bus message bus, as far as talking to systemd takes one. It knows nothing of containers and could be a
//! crate of its own.

mod bus;
mod value;
pub mod wire;

pub use bus::{ADD_MATCH, BUS, Bus, DbusError, Method, address};
pub use value::Value;
