//! A client of a D-Bus message bus, limited to what calls to systemd need. It knows nothing about containers and could be a
//! separate crate.

mod bus;
mod value;
pub mod wire;

pub use bus::{ADD_MATCH, BUS, Bus, DbusError, Method, address, try_connect};
pub use value::Value;
