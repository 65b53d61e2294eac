//! Chapter 6, run by init with full privilege over its new mount namespace: the container's root file system.
//!
//! All of it happens before the root is changed, while the host's files are still in reach as sources, and through one
//! [`Root`] handle, so that no path of the image can lead out. See `init::STEPS` for the order. What init in a user
//! namespace could not do itself is done by the runtime before the clone: [`sources`]. What a container has mounted that
//! shares the runtime's mount namespace is made [`shared_mntns`].

mod bind;
pub mod console;
mod copy_up;
pub mod devices;
mod diagnose;
mod instances;
mod label;
mod legacy_mount;
pub mod mask;
pub mod mounts;
pub mod notify;
pub mod pivot;
pub mod root;
pub mod running;
pub mod shared_mntns;
pub mod sources;

pub use root::Root;
