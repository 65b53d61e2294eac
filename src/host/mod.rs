//! Facts about the host that a config is checked against, gathered in one place.
//!
//! [`bundle`](crate::bundle) asks [`Questions`], which depend on what the config contains, so that a plain config costs only
//! the few calls that it needs. Checking the config against the [`Facts`] makes no system call, and a test can check it
//! against facts that it makes up.

pub mod idmapped;
pub mod kernel;
mod user_namespace;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::mountinfo;
use crate::plan::IdMaps;
use crate::sys::process::{self, NAMESPACES};
use crate::sys::{SysError, SysResult, Syscall, capabilities, fs};

pub use crate::sys::capabilities::CapabilitySets;

/// What a config needs to know.
#[derive(Debug, Default)]
pub struct Questions {
    /// The effective user ID.
    pub user: bool,
    /// The effective group ID.
    pub group: bool,
    /// Whether the runtime is root in the first user namespace.
    pub root_of_host: bool,
    /// The runtime's own capability sets.
    pub capability_sets: bool,
    /// Whether these capabilities are in the runtime's bounding set; one bit each.
    pub capabilities: u64,
    pub apparmor: bool,
    pub selinux: bool,
    /// Paths of namespaces with their `CLONE_NEW*` flags: is one of them the runtime's own? Of another user namespace the
    /// maps are read.
    pub namespaces: Vec<(u64, PathBuf)>,
    /// The root file system's directory.
    pub root: Option<PathBuf>,
    /// Whether that directory has the host's /dev in it.
    pub hosts_dev: bool,
    /// Where links lead that may be copied into the container.
    pub links: Vec<PathBuf>,
    /// The runtime's mounts.
    pub mounts: bool,
}

/// What was found. A fact that was not asked for is absent.
#[derive(Debug, Default)]
pub struct Facts {
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub root_of_host: bool,
    pub capability_sets: Option<CapabilitySets>,
    pub bounding: Bounding,
    pub apparmor: bool,
    pub selinux: Selinux,
    /// Those of the namespaces that are the runtime's own.
    pub own_namespaces: Vec<(u64, PathBuf)>,
    /// The maps of a user namespace that is not the runtime's, or why they could not be read.
    pub user_namespace: Option<Result<IdMaps>>,
    /// The root file system's directory, or why it cannot be reached.
    pub root: Option<SysResult<Directory>>,
    /// `dev` of that directory is the host's own /dev, bound there by the bundle's maker. A link does not count: inside the
    /// container it leads elsewhere.
    pub has_hosts_dev: bool,
    /// The links that exist, and where they lead.
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// `/proc/self/mountinfo`
    pub mounts: Option<Vec<u8>>,
}

/// What the kernel says of the capabilities that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounding {
    /// Those that it knows.
    pub known: u64,
    /// Those in the runtime's bounding set.
    pub held: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Selinux {
    #[default]
    Disabled,
    /// The kernel has it, but no policy is loaded, so that every label is accepted and none has a meaning.
    WithoutPolicy,
    Enabled,
}

/// A path of the host, with no symbolic link left in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    pub path: PathBuf,
    /// False if something else is there.
    pub is_directory: bool,
}

impl Facts {
    /// Answers the questions, and reads nothing else.
    pub fn gather(questions: Questions) -> Result<Facts> {
        let mut facts = Facts {
            user: questions.user.then(process::effective_uid),
            group: questions.group.then(process::effective_gid),
            root_of_host: questions.root_of_host && process::is_root_of_host(),
            bounding: bounding(questions.capabilities),
            apparmor: questions.apparmor && has_apparmor(),
            ..Facts::default()
        };
        if questions.capability_sets {
            facts.capability_sets = Some(capabilities::capget()?);
        }
        if questions.selinux {
            facts.selinux = selinux();
        }
        for (flag, path) in questions.namespaces {
            if is_own_namespace(flag, &path) {
                facts.own_namespaces.push((flag, path));
            } else if flag == libc::CLONE_NEWUSER as u64 {
                facts.user_namespace = Some(user_namespace::maps(&path));
            }
        }
        facts.root = questions.root.map(|path| directory(&path));
        if questions.hosts_dev
            && let Some(Ok(root)) = &facts.root
        {
            facts.has_hosts_dev = is_hosts_dev(&root.path.join("dev"));
        }
        for path in questions.links {
            if let Ok(target) = std::fs::read_link(&path) {
                facts.links.insert(path, target);
            }
        }
        if questions.mounts {
            facts.mounts = Some(mountinfo::read()?);
        }
        Ok(facts)
    }

    /// Whether the effective user ID is 0.
    pub fn is_root(&self) -> bool {
        self.user == Some(0)
    }
}

fn bounding(asked: u64) -> Bounding {
    let mut bounding = Bounding::default();
    for number in (0..64).filter(|number| asked & 1 << number != 0) {
        if let Some(held) = capabilities::in_bounding(number) {
            bounding.known |= 1 << number;
            bounding.held |= u64::from(held) << number;
        }
    }
    bounding
}

/// Whether the kernel enforces AppArmor profiles.
pub fn has_apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

/// Whether SELinux is in use, by the two signs of is_selinux_enabled(3): its file system is mounted, and a policy is loaded.
pub fn selinux() -> Selinux {
    let mounted = fs::open(Path::new("/sys/fs/selinux"), libc::O_PATH | libc::O_DIRECTORY)
        .and_then(|fd| fs::type_of(fd.as_fd()))
        .is_ok_and(|found| found == fs::FsType::SELINUX);
    if !mounted {
        return Selinux::Disabled;
    }
    match std::fs::read("/proc/self/attr/current") {
        Ok(label) if !matches!(&*label, b"kernel" | b"kernel\0" | b"") => Selinux::Enabled,
        _ => Selinux::WithoutPolicy,
    }
}

/// Whether a path names the namespace that the runtime is in: the same inode of the same file system.
fn is_own_namespace(flag: u64, path: &Path) -> bool {
    let Some(kind) = NAMESPACES.iter().find(|kind| kind.flag == flag) else {
        return false;
    };
    let inode = |path: &Path| {
        std::fs::metadata(path)
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .ok()
    };
    let own = inode(&Path::new("/proc/self/ns").join(kind.file.to_str().unwrap_or_default()));
    own.is_some() && own == inode(path)
}

fn directory(wanted: &Path) -> SysResult<Directory> {
    let path =
        std::fs::canonicalize(wanted).map_err(|error| SysError::from_io(Syscall::Realpath.of(wanted), &error))?;
    let found = std::fs::metadata(&path).map_err(|error| SysError::from_io(Syscall::Statx.of(&*path), &error))?;
    Ok(Directory {
        is_directory: found.is_dir(),
        path,
    })
}

fn is_hosts_dev(path: &Path) -> bool {
    let same = |a: std::fs::Metadata, b: std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    match (std::fs::symlink_metadata(path), std::fs::symlink_metadata("/dev")) {
        (Ok(one), Ok(other)) => same(one, other),
        _ => false,
    }
}
