//! The root file system: mounts and their options, their order, propagation and mapped owners, `/dev` and the masks, the
//! change of the root, and the verb that mounts into a container that exists.

mod bind_flags;
mod cgroup_mount;
mod devices;
mod flags;
mod growth;
mod host_mounts;
pub mod idmapped;
mod legacy;
mod links;
mod listed;
mod mount_namespace;
mod options;
mod order;
mod points;
mod proc_and_sys;
mod propagation;
mod root_change;
mod tmpcopyup;
mod user_namespace;
mod verb;
