//! Chapter 6, run by init with full privileges over its mount namespace: the container's root file system.
//!
//! All of it happens before the root is changed, while the host's files are still accessible as sources, and through one
//! [`Root`] handle, so that no path in the image can lead outside. The order of the steps is in `init`. The runtime prepares
//! before the clone what init in a user namespace is not permitted to do: [`sources`]. The mounts of a container that shares
//! the runtime's mount namespace are described in [`shared_mntns`], and the two places in which a root can be prepared in
//! [`place`].

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
pub mod place;
pub mod points;
pub mod root;
pub mod shared_mntns;
pub mod sources;
pub mod unmount;

pub use root::Root;
