//! What CRIU finds in its mount namespace when it restores: the root file system with its mount points, and the sources of the
//! mounts that come from outside. Run in the process that becomes CRIU, whose mount namespace is new and private: whatever
//! happens, nothing of this is left on the host.
//!
//! CRIU needs a root that is a mount point, and sources that have paths, which the root of the container's user namespace must
//! be permitted to search. Both are attached in a tmpfs that covers /sys/fs/cgroup: CRIU has mounts of its own of the cgroup
//! tree, and a mount there does not keep a user namespace from mounting a new sysfs, as others in /proc or /sys would.
//!
//! ```text
//! /sys/fs/cgroup/           tmpfs
//! ├── root                  the root file system
//! ├── mounts/N              the source of mounts[N], with its owners mapped and its flags set, as `create` does
//! ├── devices/N             device nodes for a user namespace
//! ├── images/               the images for a user namespace
//! ├── cgroup                the cgroup of the container
//! ├── empty                 a directory for what crun masks
//! └── notify                the directory with the socket for sd_notify(3)
//! ```

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::error::{At, Context, Result, Step};
use crate::plan::{IdMaps, Mount, MountKind, Plan};
use crate::rootfs::sources::{Sources, create_user_namespace};
use crate::rootfs::{Root, devices, notify, points};
use crate::sys::fs_context::FsContext;
use crate::sys::{SysResult, directory, fs, mount};

/// The directory that is covered.
const TOP: &str = "/sys/fs/cgroup";

/// The paths, which the runtime tells CRIU.
pub struct Staging;

/// What is in it.
const MOUNTS: &str = "mounts";
const DEVICES: &str = "devices";
const IMAGES: &str = "images";
const NOTIFY: &str = "notify";
const ROOT: &str = "root";
const CGROUP: &str = "cgroup";
const EMPTY: &str = "empty";

/// The images that are read before the user namespace has ID maps begin with this, and are short.
const EARLY: &str = "timens-";
const LONGEST_EARLY: usize = 1 << 16;

/// The link to the images of an earlier dump.
const PARENT: &str = "parent";

impl Staging {
    pub fn root() -> String {
        format!("{TOP}/{ROOT}")
    }

    pub fn mount(index: usize) -> String {
        format!("{TOP}/{MOUNTS}/{index}")
    }

    pub fn device(number: usize) -> String {
        format!("{TOP}/{DEVICES}/{number}")
    }

    pub fn notify() -> String {
        format!("{TOP}/{NOTIFY}")
    }

    pub fn empty() -> String {
        format!("{TOP}/{EMPTY}")
    }

    pub fn cgroup() -> String {
        format!("{TOP}/{CGROUP}")
    }

    /// Whether a path of the host cannot be reached from there.
    pub fn covers(path: &Path) -> bool {
        path.starts_with(TOP)
    }

    /// Prepares all of it. `notify_directory`: the directory on the host, if the container has one.
    pub fn prepare(plan: &Plan, cgroup: Option<&Path>, notify_directory: Option<&Path>) -> Result<()> {
        let slash = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
        mount::set_attributes(slash.as_fd(), 0, 0, libc::MS_SLAVE, true)?;
        // The sources are opened before they are covered.
        let mut sources = Sources::for_running(plan).context(Step::Mounts)?;
        let root = mount::clone_tree(fs::CWD, &plan.rootfs.path, true).context(At::new("root.path"))?;
        let notify = notify_directory.map(notify::detached).transpose()?;
        let devices = match &plan.id_maps {
            Some(maps) => devices::prepare(&plan.rootfs, maps).context(Step::Devices)?,
            None => None,
        };
        let cgroup = cgroup.map(|path| mount::clone_tree(fs::CWD, path, false)).transpose()?;
        let top = cover()?;
        attach(&top, ROOT, &root)?;
        fs::mkdirat(top.as_fd(), Path::new(MOUNTS), 0o755)?;
        fs::mkdirat(top.as_fd(), Path::new(EMPTY), 0o755)?;
        let mounts = fs::openat(top.as_fd(), Path::new(MOUNTS), libc::O_PATH | libc::O_DIRECTORY, 0)?;
        for entry in &plan.rootfs.mounts {
            if let Some(tree) = sources.take_tree(entry.index) {
                attach(&mounts, entry.index.to_string(), &tree)?;
            }
        }
        if let Some(devices) = devices {
            attach(&top, DEVICES, &devices)?;
        }
        if let Some(cgroup) = cgroup {
            attach(&top, CGROUP, &cgroup)?;
        }
        if let Some(notify) = notify {
            attach(&top, NOTIFY, &notify)?;
        }
        let root = Root::new(root);
        Self::make_points(&root, plan).context(Step::Mounts)?;
        if notify_directory.is_some() && !is_covered(Path::new(notify::PATH), &plan.rootfs.mounts) {
            root.make_directory(Path::new(notify::PATH))?;
        }
        if plan.rootfs.fill_dev && !is_covered(Path::new("/dev/null"), &plan.rootfs.mounts) {
            devices::apply(&root, &plan.rootfs, plan.id_maps.is_some(), None).context(Step::Devices)?;
        }
        Ok(())
    }

    /// Makes the images of a directory accessible to the root of the container's user namespace, who reads them, and returns a
    /// directory with them. Called after `prepare`.
    pub fn images(path: &Path, maps: &IdMaps) -> Result<OwnedFd> {
        let namespace = create_user_namespace(maps, "--image-path")?;
        let top = fs::open(Path::new(TOP), libc::O_PATH | libc::O_DIRECTORY)?;
        stage_images(&open_directory(fs::CWD, path)?, &top, IMAGES, namespace.as_fd())?;
        Ok(open_directory(top.as_fd(), Path::new(IMAGES))?)
    }

    /// Creates the mount points that a fresh root file system lacks, as `create` does. Those in a file system that CRIU
    /// restores come with its content.
    fn make_points(root: &Root, plan: &Plan) -> Result<()> {
        let mounts = &plan.rootfs.mounts;
        let mut attached = Vec::new();
        let mut make = || -> Result<()> {
            for (position, entry) in mounts.iter().enumerate() {
                if is_covered(&entry.destination, mounts.get(..position).unwrap_or_default()) {
                    continue;
                }
                let at = || entry.at();
                match &entry.kind {
                    MountKind::Bind { inside: None, .. } => {
                        let source =
                            mount::clone_tree(fs::CWD, Path::new(&Self::mount(entry.index)), true).with_context(at)?;
                        let target = points::open(root, entry, &source).with_context(at)?;
                        let later = mounts.get(position + 1..).unwrap_or_default();
                        if later
                            .iter()
                            .any(|later| later.destination.starts_with(&entry.destination))
                        {
                            // Mount points of other entries are in it.
                            mount::attach(source.as_fd(), target.as_fd()).with_context(at)?;
                            attached.push(source);
                        }
                    }
                    MountKind::New { .. } | MountKind::Cgroup => {
                        root.make_directory(&entry.destination).with_context(at)?;
                    }
                    MountKind::Bind { .. } | MountKind::Link(_) | MountKind::Remount => {}
                }
            }
            Ok(())
        };
        let made = make();
        for source in attached.iter().rev() {
            mount::detach_behind(source.as_fd())?;
        }
        made
    }
}

fn open_directory(within: BorrowedFd, path: &Path) -> SysResult<OwnedFd> {
    fs::openat(within, path, libc::O_RDONLY | libc::O_DIRECTORY, 0)
}

/// Attaches each image with its owners mapped, in a directory that everybody can search. An ID-mapped mount of the directory would
/// not do: the first process has no access to anything that belongs to the root of its namespace before that has ID maps,
/// and opens images both before and after.
fn stage_images(from: &OwnedFd, to: &OwnedFd, name: &str, namespace: BorrowedFd) -> SysResult<()> {
    fs::mkdirat(to.as_fd(), Path::new(name), 0o755)?;
    let to = open_directory(to.as_fd(), Path::new(name))?;
    for entry in directory::entries(from.as_fd())? {
        let file = Path::new(&entry.name);
        match fs::lstatat(from.as_fd(), file)?.st_mode & libc::S_IFMT {
            libc::S_IFREG if starts_with(&entry.name, EARLY) => copy(from, &to, file)?,
            libc::S_IFREG => {
                let image = mount::clone_tree(from.as_fd(), file, false)?;
                match mount::map_ids(image.as_fd(), namespace, false) {
                    // This file system has no ID-mapped mounts. The file may be accessible nevertheless.
                    Err(error) if error.errno == Errno::EINVAL => {}
                    other => other?,
                }
                attach(&to, &entry.name, &image)?;
            }
            // The images that these are based on.
            libc::S_IFLNK if entry.name == PARENT => {
                stage_images(&open_directory(from.as_fd(), file)?, &to, PARENT, namespace)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn starts_with(name: &OsStr, start: &str) -> bool {
    name.as_encoded_bytes().starts_with(start.as_bytes())
}

/// Copies a small image, readable for everybody: nobody else is in this mount namespace.
fn copy(from: &OwnedFd, to: &OwnedFd, name: &Path) -> SysResult<()> {
    let file = fs::openat(from.as_fd(), name, libc::O_RDONLY | libc::O_NOFOLLOW, 0)?;
    let text = fs::read_all(file.as_fd(), LONGEST_EARLY)?;
    fs::mknodat(to.as_fd(), name, libc::S_IFREG | 0o644, 0)?;
    let copy = fs::openat(to.as_fd(), name, libc::O_WRONLY, 0)?;
    fs::write_all(copy.as_fd(), &text)
}

/// Covers the directory with a tmpfs.
fn cover() -> Result<OwnedFd> {
    let tmpfs = FsContext::new("tmpfs")?;
    tmpfs.set("source", "tmpfs")?;
    tmpfs.set("mode", "0755")?;
    let tree = tmpfs.mount(libc::MOUNT_ATTR_NOSUID)?;
    let target = fs::open(Path::new(TOP), libc::O_PATH | libc::O_DIRECTORY)?;
    mount::attach(tree.as_fd(), target.as_fd())?;
    Ok(tree)
}

/// Whether a path is inside a new file system of one of these entries.
fn is_covered(path: &Path, mounts: &[Mount]) -> bool {
    let last = mounts
        .iter()
        .rfind(|entry| path != entry.destination && path.starts_with(&entry.destination));
    last.is_some_and(|entry| matches!(entry.kind, MountKind::New { .. } | MountKind::Cgroup))
}

/// Creates a file or directory of this name, like the root of the tree, and attaches the tree there.
fn attach(directory: &OwnedFd, name: impl AsRef<Path>, tree: &OwnedFd) -> SysResult<()> {
    let name = name.as_ref();
    if fs::fstat(tree.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFDIR {
        fs::mkdirat(directory.as_fd(), name, 0o755)?;
    } else {
        fs::mknodat(directory.as_fd(), name, libc::S_IFREG | 0o644, 0)?;
    }
    let target = fs::openat(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    mount::attach(tree.as_fd(), target.as_fd())
}
