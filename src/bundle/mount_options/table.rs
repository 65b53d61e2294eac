//! The table of the options that have a meaning of their own.

use crate::plan::{PropagationKind, Reach};

// Values of include/uapi/linux/mount.h.
pub const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
pub const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
pub const NODIRATIME: u64 = libc::MOUNT_ATTR_NODIRATIME;
pub const NOSYMFOLLOW: u64 = libc::MOUNT_ATTR_NOSYMFOLLOW;
/// The access time mode is a number in these bits, not a set of flags: 0 is relatime.
pub const ATIME_MASK: u64 = libc::MOUNT_ATTR__ATIME;
pub const RELATIME: u64 = libc::MOUNT_ATTR_RELATIME;
pub const NOATIME: u64 = libc::MOUNT_ATTR_NOATIME;
pub const STRICTATIME: u64 = libc::MOUNT_ATTR_STRICTATIME;

/// Every option with a meaning of its own, sorted: `mountOptions` of `features`.
pub const NAMES: &[&str] = &names();

/// What one option does.
#[derive(Clone, Copy)]
pub enum Effect {
    Nothing,
    Bind(Reach),
    Remount,
    TmpCopyUp,
    Idmap(Reach),
    Propagation(PropagationKind, Reach),
    /// Set or clear one bit of the mount.
    Set(Reach, u64),
    Clear(Reach, u64),
    /// Ask for an access time mode, or take it back.
    Atime(Reach, u64),
    NotAtime(Reach, u64),
    ReadOnly,
    ReadWrite,
    /// Set a flag of the superblock. The word that clears it.
    Super(Carrier, &'static str),
    /// Clear a flag of the superblock. The word that sets it.
    NotSuper(Carrier, &'static str),
}

impl Effect {
    /// Whether mount(2) has a flag for it, of the mount or of the superblock.
    pub fn is_plain_flag(self) -> bool {
        match self {
            Nothing | Bind(_) | Remount | TmpCopyUp | Idmap(_) | Propagate(..) => false,
            Set(reach, _) | Clear(reach, _) | Atime(reach, _) | NotAtime(reach, _) => reach == Plain,
            ReadOnly | ReadWrite | Super(..) | NotSuper(..) => true,
        }
    }

    /// Whether it takes a power from the container.
    pub fn confines(self) -> bool {
        const CONFINING: u64 = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW;
        match self {
            ReadOnly => true,
            Set(_, bit) => bit & CONFINING != 0,
            _ => false,
        }
    }
}

/// How a flag of the superblock reaches the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A word that the VFS takes out of fsconfig for any file system (common_set_sb_flag in fs/fs_context.c).
    Fsconfig,
    /// Only this bit of mount(2). As a word it would reach the file system, which fails with EINVAL.
    Mount2(u64),
}

use Carrier::{Fsconfig, Mount2};
use Effect::{
    Atime, Bind, Clear, Idmap, NotAtime, NotSuper, Nothing, Propagation as Propagate, ReadOnly, ReadWrite, Remount,
    Set, Super, TmpCopyUp,
};
use PropagationKind::{Private, Shared, Slave, Unbindable};
use Reach::{Plain, Recursive};

/// The table of "Linux mount options" in the specification's `config.md`, sorted by name.
const TABLE: [(&str, Effect); 62] = [
    ("async", NotSuper(Fsconfig, "sync")),
    ("atime", NotAtime(Plain, NOATIME)),
    ("bind", Bind(Plain)),
    ("defaults", Nothing),
    ("dev", Clear(Plain, NODEV)),
    ("diratime", Clear(Plain, NODIRATIME)),
    ("dirsync", Super(Fsconfig, "")),
    ("exec", Clear(Plain, NOEXEC)),
    ("idmap", Idmap(Plain)),
    ("iversion", Super(Mount2(libc::MS_I_VERSION), "noiversion")),
    ("lazytime", Super(Fsconfig, "nolazytime")),
    ("loud", NotSuper(Mount2(libc::MS_SILENT), "silent")),
    ("mand", Super(Fsconfig, "nomand")),
    ("noatime", Atime(Plain, NOATIME)),
    ("nodev", Set(Plain, NODEV)),
    ("nodiratime", Set(Plain, NODIRATIME)),
    ("noexec", Set(Plain, NOEXEC)),
    ("noiversion", NotSuper(Mount2(libc::MS_I_VERSION), "iversion")),
    ("nolazytime", NotSuper(Fsconfig, "lazytime")),
    ("nomand", NotSuper(Fsconfig, "mand")),
    ("norelatime", NotAtime(Plain, RELATIME)),
    ("nostrictatime", NotAtime(Plain, STRICTATIME)),
    ("nosuid", Set(Plain, NOSUID)),
    ("nosymfollow", Set(Plain, NOSYMFOLLOW)),
    ("private", Propagate(Private, Plain)),
    ("ratime", NotAtime(Recursive, NOATIME)),
    ("rbind", Bind(Recursive)),
    ("rdev", Clear(Recursive, NODEV)),
    ("rdiratime", Clear(Recursive, NODIRATIME)),
    ("relatime", Atime(Plain, RELATIME)),
    ("remount", Remount),
    ("rexec", Clear(Recursive, NOEXEC)),
    ("ridmap", Idmap(Recursive)),
    ("rnoatime", Atime(Recursive, NOATIME)),
    ("rnodev", Set(Recursive, NODEV)),
    ("rnodiratime", Set(Recursive, NODIRATIME)),
    ("rnoexec", Set(Recursive, NOEXEC)),
    ("rnorelatime", NotAtime(Recursive, RELATIME)),
    ("rnostrictatime", NotAtime(Recursive, STRICTATIME)),
    ("rnosuid", Set(Recursive, NOSUID)),
    ("rnosymfollow", Set(Recursive, NOSYMFOLLOW)),
    ("ro", ReadOnly),
    ("rprivate", Propagate(Private, Recursive)),
    ("rrelatime", Atime(Recursive, RELATIME)),
    ("rro", Set(Recursive, RDONLY)),
    ("rrw", Clear(Recursive, RDONLY)),
    ("rshared", Propagate(Shared, Recursive)),
    ("rslave", Propagate(Slave, Recursive)),
    ("rstrictatime", Atime(Recursive, STRICTATIME)),
    ("rsuid", Clear(Recursive, NOSUID)),
    ("rsymfollow", Clear(Recursive, NOSYMFOLLOW)),
    ("runbindable", Propagate(Unbindable, Recursive)),
    ("rw", ReadWrite),
    ("shared", Propagate(Shared, Plain)),
    ("silent", Super(Mount2(libc::MS_SILENT), "loud")),
    ("slave", Propagate(Slave, Plain)),
    ("strictatime", Atime(Plain, STRICTATIME)),
    ("suid", Clear(Plain, NOSUID)),
    ("symfollow", Clear(Plain, NOSYMFOLLOW)),
    ("sync", Super(Fsconfig, "async")),
    ("tmpcopyup", TmpCopyUp),
    ("unbindable", Propagate(Unbindable, Plain)),
];

const fn names() -> [&'static str; TABLE.len()] {
    let mut names = [""; TABLE.len()];
    let (mut slots, mut rows): (&mut [&str], &[(&'static str, Effect)]) = (&mut names, &TABLE);
    while let ([slot, later @ ..], [(name, _), more @ ..]) = (slots, rows) {
        *slot = *name;
        (slots, rows) = (later, more);
    }
    names
}

/// The name as the table has it, and its effect. `None` for an option of the file system.
pub fn look_up(option: &str) -> Option<(&'static str, Effect)> {
    let row = TABLE.binary_search_by(|(name, _)| (*name).cmp(option)).ok()?;
    TABLE.get(row).copied()
}
