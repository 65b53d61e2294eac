//! The options of a mount, sorted by the kernel call that carries them.

use std::fmt;

/// fsconfig(2) copies keys and values of at most this many bytes (strndup_user(…, 256) in fs/fsopen.c).
const FSCONFIG_MAX: usize = 255;

/// What the options of one mount ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// A bind mount: clone the source instead of making a file system.
    pub bind: Option<Reach>,
    /// Change the mount that is there.
    pub remount: bool,
    /// MOUNT_ATTR_* of mount_setattr(2) for this mount. Also right for fsmount(2), where `attr_clear` is not needed.
    /// Where an access time mode is asked for, `attr_clear` has all of MOUNT_ATTR__ATIME, as the kernel demands.
    pub attr_set: u64,
    pub attr_clear: u64,
    /// The same for this mount and all below it; to be applied before `attr_*`.
    pub rec_attr_set: u64,
    pub rec_attr_clear: u64,
    /// What a bind mount does not take over from its source, because its options name other flags: to be cleared with
    /// `attr_clear`, but for what is locked. Zero for everything else.
    pub attr_unnamed: u64,
    /// Flags of the superblock. On a remount also the words that take a flag away. Empty on a bind mount.
    pub superblock: Vec<FsOption>,
    /// What is not ours to understand: options of the file system, in order. Empty on a bind mount.
    pub data: Vec<FsOption>,
    /// Propagation types in order, to be applied one after the other.
    pub propagation: Vec<Propagation>,
    /// Start the tmpfs with what the directory below it contains.
    pub tmpcopyup: bool,
    /// Map the owners of the mount; `uidMappings` and `gidMappings` beside the options say how.
    pub idmap: Option<Reach>,
    /// The option, with its place, that has mappings of its own after the word (`idmap=uids=0-1-10;gids=0-1-10`), as Podman
    /// and crun write them. Where there are `uidMappings` and `gidMappings`, these count.
    pub idmap_written_out: Option<(usize, String)>,
    /// MS_* of mount(2) that no other call carries, for a new file system. Empty on a bind mount and on a remount.
    pub mount2: u64,
    /// Options that are accepted because the specification demands it, but that no call can carry here; for the log.
    pub without_effect: Vec<&'static str>,
    /// Options of a file system on a bind mount, with their places. mount(2) takes them and does nothing, for the file
    /// system is mounted already with options of its own; so do we, but for the log.
    pub ignored_on_bind: Vec<(usize, String)>,
}

/// One mount, or it and all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Plain,
    Recursive,
}

/// One parameter of fsconfig(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FsOption {
    /// The flag `ro`, which a mount has as an attribute, too.
    ReadOnly,
    /// FSCONFIG_SET_FLAG: a word without value.
    Flag(String),
    /// FSCONFIG_SET_STRING: key and value; the value may be empty.
    String(String, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    pub kind: PropagationKind,
    pub reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropagationKind {
    Private,
    Shared,
    Slave,
    Unbindable,
}

impl MountOptions {
    /// What of `attr_unnamed` no user namespace locks.
    pub fn unnamed_unlockable(&self) -> u64 {
        self.attr_unnamed & libc::MOUNT_ATTR_NOSYMFOLLOW
    }

    /// The attributes of a new mount. It has nothing below it, so recursive ones are its own.
    pub fn attributes_of_new(&self) -> u64 {
        self.attr_set | self.rec_attr_set & !self.attr_clear
    }

    /// Whether a new mount is read-only: by `ro` or `rro`, unless a later option clears it.
    pub fn is_read_only(&self) -> bool {
        self.attributes_of_new() & libc::MOUNT_ATTR_RDONLY != 0
    }

    /// All that goes to the file system.
    pub fn file_system_options(&self) -> impl Iterator<Item = &FsOption> {
        self.superblock.iter().chain(&self.data)
    }

    /// Whether only mount(2) can make this file system: it takes flags that fsopen(2) has no word for, and longer values.
    pub fn needs_mount2(&self) -> bool {
        let mut all = self.superblock.iter().chain(&self.data);
        self.mount2 != 0 || all.any(|option| !option.fits_fsconfig())
    }

    /// What goes to the file system, as the last argument of mount(2) would show it.
    pub fn data_string(&self) -> String {
        let words: Vec<_> = self
            .superblock
            .iter()
            .chain(&self.data)
            .map(FsOption::to_string)
            .collect();
        words.join(",")
    }
}

impl FsOption {
    /// A word without value.
    pub fn flag(word: &str) -> Self {
        match word {
            "ro" => Self::ReadOnly,
            word => Self::Flag(word.to_string()),
        }
    }

    /// The parameter's name.
    pub fn key(&self) -> &str {
        match self {
            Self::ReadOnly => "ro",
            Self::Flag(key) | Self::String(key, _) => key,
        }
    }

    /// Its value, if it is not a flag.
    pub fn value(&self) -> Option<&str> {
        match self {
            Self::ReadOnly | Self::Flag(_) => None,
            Self::String(_, value) => Some(value),
        }
    }

    /// Whether fsconfig(2) takes it. It refuses longer ones with EINVAL and no word about the cause.
    pub fn fits_fsconfig(&self) -> bool {
        self.key().len() <= FSCONFIG_MAX && self.value().is_none_or(|value| value.len() <= FSCONFIG_MAX)
    }
}

impl fmt::Display for FsOption {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(self.key())?;
        self.value().map_or(Ok(()), |value| write!(out, "={value}"))
    }
}

impl PropagationKind {
    /// The MS_* value for the `propagation` field of struct mount_attr.
    pub fn flag(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}
