//! The features of the kernel that orlop uses: present, missing, or refused by what surrounds this process. Asking changes
//! nothing.

use std::path::Path;

use nix::errno::Errno;

use crate::child::{self, Spawned};
use crate::sys::probe::{self, Probe};
use crate::sys::process::{self, NAMESPACES, NamespaceKind};
use crate::sys::{SysResult, fs_context, seccomp};

/// The oldest release of Linux that orlop works on.
pub const OLDEST: Release = (5, 14);

/// A release of Linux: the major and the minor number.
pub type Release = (u32, u32);

/// Whether the kernel has a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    Present,
    Missing,
    /// The call is not permitted here: most often by the seccomp filter of a container around this process.
    Refused(Errno),
}

/// A feature, in the order in which `info` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    CloneIntoCgroup,
    Openat2,
    Pidfd,
    MountSetattr,
    OpenTreeAttr,
    /// A mount namespace of a tree of mounts: see `launch::mount_namespace`.
    OpenTreeNamespace,
    PidnsOfProc,
    MemoryPolicy,
    Keyring,
    Seccomp,
}

impl Feature {
    pub const ALL: [Feature; 10] = [
        Feature::CloneIntoCgroup,
        Feature::Openat2,
        Feature::Pidfd,
        Feature::MountSetattr,
        Feature::OpenTreeAttr,
        Feature::OpenTreeNamespace,
        Feature::PidnsOfProc,
        Feature::MemoryPolicy,
        Feature::Keyring,
        Feature::Seccomp,
    ];

    /// Asks the kernel.
    pub fn support(self) -> Support {
        let present = |yes: bool| if yes { Support::Present } else { Support::Missing };
        match self {
            Feature::CloneIntoCgroup => known_by(Probe::Clone3IntoCgroup, Some(Errno::EBADF)),
            Feature::Openat2 => known_by(Probe::Openat2, Some(Errno::EINVAL)),
            Feature::Pidfd => known_by(Probe::PidfdOpen, Some(Errno::EINVAL)),
            Feature::MountSetattr => known_by(Probe::MountSetattr, Some(Errno::EINVAL)),
            Feature::OpenTreeAttr => known_by(Probe::OpenTreeAttr, Some(Errno::EBADF)),
            Feature::OpenTreeNamespace => known_by(Probe::OpenTreeNamespace, Some(Errno::EBADF)),
            Feature::PidnsOfProc => present(fs_context::knows_pidns()),
            Feature::MemoryPolicy => known_by(Probe::GetMempolicy, None),
            Feature::Keyring => known_by(Probe::Keyctl, Some(Errno::ENOKEY)),
            Feature::Seccomp => present(seccomp::knows_flags(0)),
        }
    }
}

/// What the result of a call says. `expected` is that of a kernel that knows it.
fn known_by(probe: Probe, expected: Option<Errno>) -> Support {
    match probe::make(probe) {
        errno if errno == expected => Support::Present,
        None => Support::Present,
        Some(Errno::ENOSYS | Errno::EINVAL) => Support::Missing,
        Some(other) => Support::Refused(other),
    }
}

/// The kinds of namespaces that the kernel does not have.
pub fn missing_namespaces() -> Vec<&'static NamespaceKind> {
    let directory = Path::new("/proc/self/ns");
    let missing = |kind: &&NamespaceKind| !directory.join(kind.file.to_str().unwrap_or_default()).exists();
    NAMESPACES.iter().filter(missing).collect()
}

/// Creates a user namespace, which ends at once, and says whether this user may.
pub fn user_namespace() -> Support {
    let create = || -> SysResult<()> {
        match child::spawn(libc::CLONE_NEWUSER as u64, None)? {
            Spawned::Child(_) => process::exit_now(0),
            Spawned::Parent(child) => child.end(),
        }
    };
    match create().map_err(|error| error.errno) {
        Ok(()) => Support::Present,
        Err(Errno::EINVAL) => Support::Missing,
        Err(errno) => Support::Refused(errno),
    }
}

/// `uname -r` and `uname -m`, as the kernel gives them.
pub fn version() -> (String, String) {
    let Ok(names) = nix::sys::utsname::uname() else {
        return Default::default();
    };
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    (text(names.release()), text(names.machine()))
}

/// The major and the minor number of a release such as `6.1.0-13-amd64`.
pub fn number(release: &str) -> Option<Release> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_two_numbers() {
        let table = [
            ("6.1.0-13-amd64", Some((6, 1))),
            ("5.14-rc1", Some((5, 14))),
            ("7.0+", Some((7, 0))),
            ("six", None),
            ("", None),
        ];
        for (release, expected) in table {
            assert_eq!(number(release), expected, "{release}");
        }
    }

    /// Every kernel that these tests run on has them; a filter around the tests may refuse some.
    #[test]
    fn what_orlop_cannot_do_without_is_never_missing() {
        for feature in [
            Feature::CloneIntoCgroup,
            Feature::Openat2,
            Feature::Pidfd,
            Feature::MountSetattr,
        ] {
            assert_ne!(feature.support(), Support::Missing, "{feature:?}");
        }
    }

    #[test]
    fn asking_opens_no_descriptor() {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        for feature in Feature::ALL {
            feature.support();
        }
        // Other tests open and close files at the same time, but not always the same number.
        let same = (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            open() <= before
        });
        assert!(same, "{before} descriptors, then {}", open());
    }
}
