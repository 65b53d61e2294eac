//! The kinds of namespaces.

use std::ffi::CStr;

/// One kind of Linux namespace, see namespaces(7).
#[derive(Debug, PartialEq, Eq)]
pub struct NamespaceKind {
    /// Its name in the runtime-spec.
    pub name: &'static str,
    /// Its name below /proc/PID/ns.
    pub file: &'static CStr,
    /// Its `CLONE_NEW*` flag.
    pub flag: u64,
    /// The flag's name.
    pub clone_flag: &'static str,
}

/// All eight kinds. The order is the one in which several can be joined: the user namespace comes first, because it
/// gives the privilege for the others, and the mount namespace last, because it takes away the paths.
pub const NAMESPACES: [NamespaceKind; 8] = [
    NamespaceKind {
        name: "user",
        file: c"user",
        flag: libc::CLONE_NEWUSER as u64,
        clone_flag: "CLONE_NEWUSER",
    },
    NamespaceKind {
        name: "pid",
        file: c"pid",
        flag: libc::CLONE_NEWPID as u64,
        clone_flag: "CLONE_NEWPID",
    },
    NamespaceKind {
        name: "network",
        file: c"net",
        flag: libc::CLONE_NEWNET as u64,
        clone_flag: "CLONE_NEWNET",
    },
    NamespaceKind {
        name: "ipc",
        file: c"ipc",
        flag: libc::CLONE_NEWIPC as u64,
        clone_flag: "CLONE_NEWIPC",
    },
    NamespaceKind {
        name: "uts",
        file: c"uts",
        flag: libc::CLONE_NEWUTS as u64,
        clone_flag: "CLONE_NEWUTS",
    },
    NamespaceKind {
        name: "cgroup",
        file: c"cgroup",
        flag: libc::CLONE_NEWCGROUP as u64,
        clone_flag: "CLONE_NEWCGROUP",
    },
    NamespaceKind {
        name: "time",
        file: c"time",
        flag: libc::CLONE_NEWTIME as u64,
        clone_flag: "CLONE_NEWTIME",
    },
    NamespaceKind {
        name: "mount",
        file: c"mnt",
        flag: libc::CLONE_NEWNS as u64,
        clone_flag: "CLONE_NEWNS",
    },
];
