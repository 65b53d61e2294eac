//! The root file system: mounts and their options, their order, propagation and mapped owners, `/dev` and the masks, the
//! change of the root, and the verb that mounts into a container that exists.

mod bind_flags;
mod devices;
pub mod flags;
mod growth;
mod host_mounts;
pub mod idmapped;
mod legacy;
mod links;
mod order;
mod points;
mod propagation;
pub mod root_change;
mod tmpcopyup;
mod verb;
mod words;
