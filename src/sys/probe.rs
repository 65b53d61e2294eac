//! System calls with arguments that every kernel refuses, made to learn whether this one knows the call. They have no effect.

use nix::errno::Errno;

use super::names::OPEN_TREE_NAMESPACE;

/// A call that tells of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `clone3(CLONE_INTO_CGROUP)` with a descriptor that is not open.
    Clone3IntoCgroup,
    /// `openat2` without its argument.
    Openat2,
    /// `pidfd_open` of no process.
    PidfdOpen,
    /// `mount_setattr` without its argument.
    MountSetattr,
    /// `open_tree_attr` of a descriptor that is not open.
    OpenTreeAttr,
    /// `open_tree(OPEN_TREE_NAMESPACE)` of a descriptor that is not open.
    OpenTreeNamespace,
    /// `get_mempolicy` that asks nothing.
    GetMempolicy,
    /// `keyctl` that looks for a keyring and does not create it.
    Keyctl,
}

/// No table of descriptors is that large.
const NOT_OPEN: libc::c_int = libc::c_int::MAX;

/// Makes the call, and returns its errno; none if it succeeded.
pub fn make(probe: Probe) -> Option<Errno> {
    let null = std::ptr::null::<u8>();
    // SAFETY: every pointer is null, a string that outlives the call, or an array of the size that is passed. The only call that
    // could create something is clone3, which fails for the descriptor.
    let result = unsafe {
        match probe {
            Probe::Clone3IntoCgroup => {
                // struct clone_args: flags come first, cgroup last.
                let mut args = [0u64; 11];
                args[0] = 0x2_0000_0000;
                args[10] = NOT_OPEN as u64;
                libc::syscall(libc::SYS_clone3, args.as_ptr(), std::mem::size_of_val(&args))
            }
            Probe::Openat2 => libc::syscall(libc::SYS_openat2, -1, c"".as_ptr(), null, 0),
            Probe::PidfdOpen => libc::syscall(libc::SYS_pidfd_open, 0, 0),
            Probe::MountSetattr => libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, null, 0),
            // The number is the same on all architectures (Linux 6.15).
            Probe::OpenTreeAttr => libc::syscall(467, NOT_OPEN, c"".as_ptr(), libc::AT_EMPTY_PATH, null, 0),
            // Flags that the kernel does not know are refused before the descriptor.
            Probe::OpenTreeNamespace => libc::syscall(
                libc::SYS_open_tree,
                NOT_OPEN,
                c"".as_ptr(),
                OPEN_TREE_NAMESPACE | (libc::O_CLOEXEC | libc::AT_EMPTY_PATH) as u32,
            ),
            Probe::GetMempolicy => libc::syscall(libc::SYS_get_mempolicy, null, null, 0, null, 0),
            // KEYCTL_GET_KEYRING_ID of KEY_SPEC_PROCESS_KEYRING
            Probe::Keyctl => libc::syscall(libc::SYS_keyctl, 0, -2, 0),
        }
    };
    (result < 0).then(Errno::last)
}
