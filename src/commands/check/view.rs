//! The files that a container's process will see: the root file system with the bind mounts of the config over it. Nothing is
//! mounted for that, and no path leads out of the root file system or out of a mount.
//!
//! What a new file system will contain is not known. A look-up that leads into one, or where the caller may not look, only
//! leaves the mark that the answer is uncertain.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Step};
use crate::init::files::Files;
use crate::plan::{IdMaps, Mount, MountKind, Process};
use crate::rootfs::{Root, points};
use crate::sys::capabilities::DAC_OVERRIDE;
use crate::sys::{Arg, Call, SysError, SysResult, Syscall, fs, xattr};

/// As many symbolic links as the kernel follows (path_resolution(7)).
const MOST_LINKS: u32 = 40;

pub struct View<'a> {
    root: Root,
    layers: Vec<Layer>,
    process: &'a Process,
    maps: Option<&'a IdMaps>,
    uncertain: Cell<bool>,
    /// The errors of sources that cannot be mounted on what is at their destination.
    misfits: Vec<Error>,
}

/// A mount.
struct Layer {
    /// The mount point, without symbolic links.
    point: PathBuf,
    /// The source of a bind mount, which may be a file. None: what it contains is not known.
    tree: Option<Root>,
    noexec: bool,
    /// The owners of its files will be others.
    mapped: bool,
}

impl<'a> View<'a> {
    /// `root`: the directory of the root file system.
    pub fn new(root: &Path, mounts: &[Mount], process: &'a Process, maps: Option<&'a IdMaps>) -> SysResult<Self> {
        let mut view = View {
            root: Root::new(fs::open(root, libc::O_PATH | libc::O_DIRECTORY)?),
            layers: Vec::new(),
            process,
            maps,
            uncertain: Cell::new(false),
            misfits: Vec::new(),
        };
        for mount in mounts {
            if mount.kind == MountKind::Remount {
                continue;
            }
            let found = view.walk(&mount.destination, true, false).ok();
            let tree = match &mount.kind {
                MountKind::Bind { source, inside: None } => fs::open(source, libc::O_PATH).ok().map(Root::new),
                _ => None,
            };
            if let (Some((_, target)), Some(tree)) = (&found, &tree)
                && !mount.nofollow.source
                && !mount.nofollow.destination
                && let Err(error) = fits(mount, target.as_fd(), tree.fd())
            {
                view.misfits.push(error);
                continue;
            }
            // What is missing is created where its name says.
            let point = found.map_or_else(|| mount.destination.clone(), |(point, _)| point);
            view.layers.push(Layer {
                point,
                tree,
                noexec: (mount.options.attr_set | mount.options.rec_attr_set) & libc::MOUNT_ATTR_NOEXEC != 0,
                mapped: mount.id_map.is_some(),
            });
        }
        view.uncertain.set(false);
        Ok(view)
    }

    /// The errors of sources that cannot be mounted on what is at their destination.
    pub fn misfits(&self) -> &[Error] {
        &self.misfits
    }

    /// Whether some look-up could not be answered.
    pub fn is_uncertain(&self) -> bool {
        self.uncertain.get()
    }

    fn layer(&self, place: &Path) -> Option<&Layer> {
        self.layers.iter().rev().find(|layer| place.starts_with(&layer.point))
    }

    /// Opens a path without symbolic links, or with one at its end (`O_PATH`).
    fn place(&self, place: &Path) -> SysResult<OwnedFd> {
        let (root, rest) = match self.layer(place) {
            None => (Some(&self.root), place.strip_prefix("/").unwrap_or(place)),
            Some(layer) => (layer.tree.as_ref(), place.strip_prefix(&layer.point).unwrap_or(place)),
        };
        let Some(root) = root else {
            self.uncertain.set(true);
            return Err(refused(place, Errno::ENOENT));
        };
        let opened = if rest.as_os_str().is_empty() {
            root.open_itself()
        } else {
            root.open_without_links(rest, libc::O_PATH | libc::O_NOFOLLOW)
        };
        opened.inspect_err(|error| {
            // This is about the caller and not about the process.
            if matches!(error.errno, Errno::EACCES | Errno::EPERM) {
                self.uncertain.set(true);
            }
        })
    }

    /// Resolves a path as the kernel would. Returns the place without symbolic links, and the file (`O_PATH`). `last`: a
    /// symbolic link at the end is followed. `searching`: the process must be permitted to search the directories.
    fn walk(&self, path: &Path, last: bool, searching: bool) -> SysResult<(PathBuf, OwnedFd)> {
        let mut todo: Vec<OsString> = Vec::new();
        push(&mut todo, &self.process.cwd.join(path));
        let (mut here, mut links) = (PathBuf::from("/"), MOST_LINKS);
        let mut file = self.place(&here)?;
        while let Some(part) = todo.pop() {
            if part == ".." {
                here.pop();
                file = self.place(&here)?;
                continue;
            }
            let stat = fs::fstat(file.as_fd())?;
            if stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
                return Err(refused(path, Errno::ENOTDIR));
            }
            if searching && !self.permits(&here, &file, &stat) {
                return Err(refused(path, Errno::EACCES));
            }
            let next = here.join(&part);
            let found = self.place(&next).map_err(|error| refused(path, error.errno))?;
            let is_link = fs::fstat(found.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFLNK;
            if is_link && (last || !todo.is_empty()) {
                links = links.checked_sub(1).ok_or_else(|| refused(path, Errno::ELOOP))?;
                let target = PathBuf::from(OsStr::from_bytes(&fs::readlinkat(found.as_fd(), c"")?));
                if target.is_absolute() {
                    here = PathBuf::from("/");
                    file = self.place(&here)?;
                }
                push(&mut todo, &target);
                continue;
            }
            (here, file) = (next, found);
        }
        Ok((here, file))
    }

    /// Whether the process may execute a file, or search a directory, by its mode.
    fn permits(&self, place: &Path, file: &OwnedFd, stat: &libc::stat) -> bool {
        let is_directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let inside = |id: u32, users: bool| match self.maps {
            None => Some(id),
            Some(maps) => {
                let list = if users { &maps.uid } else { &maps.gid };
                let map = list.iter().find(|map| id.wrapping_sub(map.host) < map.size)?;
                Some(map.container + (id - map.host))
            }
        };
        let (owner, group) = (inside(stat.st_uid, true), inside(stat.st_gid, false));
        let overrides = self.process.uid == 0
            && self.process.capabilities.permitted & DAC_OVERRIDE != 0
            && owner.is_some()
            && group.is_some();
        let groups = &self.process.additional_gids;
        let bits = if overrides {
            if is_directory {
                1
            } else {
                stat.st_mode | stat.st_mode >> 3 | stat.st_mode >> 6
            }
        } else if owner == Some(self.process.uid) {
            stat.st_mode >> 6
        } else if group.is_some_and(|group| group == self.process.gid || groups.contains(&group)) {
            stat.st_mode >> 3
        } else {
            stat.st_mode
        };
        let may = bits & 1 != 0;
        if !may && (self.process.keep_groups || self.layer(place).is_some_and(|layer| layer.mapped) || has_list(file)) {
            self.uncertain.set(true);
        }
        may
    }

    fn is_noexec(&self, place: &Path, file: &OwnedFd) -> bool {
        let by_source = fs::mount_flags(file.as_fd()).is_ok_and(|flags| flags & libc::ST_NOEXEC != 0);
        self.layer(place).map_or(by_source, |layer| layer.noexec)
    }
}

impl Files for View<'_> {
    fn open(&self, path: &Path, flags: i32) -> SysResult<OwnedFd> {
        let (_, file) = self.walk(path, true, true)?;
        if flags & libc::O_PATH != 0 {
            return Ok(file);
        }
        // Opening anything else could have an effect.
        if fs::fstat(file.as_fd())?.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(refused(path, Errno::EINVAL));
        }
        reopened(&file, flags)
    }

    fn may_execute(&self, path: &Path) -> SysResult<()> {
        let (place, file) = self.walk(path, true, true)?;
        if self.permits(&place, &file, &fs::fstat(file.as_fd())?) && !self.is_noexec(&place, &file) {
            return Ok(());
        }
        let call = Call::new(Syscall::Faccessat, vec![path.into(), Arg::word("X_OK")]);
        Err(SysError::new(call, Errno::EACCES))
    }

    fn has_entry(&self, path: &Path) -> bool {
        self.walk(path, false, true).is_ok()
    }

    fn noexec(&self, path: &Path) -> Option<PathBuf> {
        let (place, file) = self.walk(path, true, true).ok()?;
        let point = self.layer(&place).map_or(Path::new("/"), |layer| &layer.point);
        self.is_noexec(&place, &file).then(|| point.to_path_buf())
    }
}

/// A directory can be mounted on a directory only, and a file on a file.
fn fits(mount: &Mount, target: BorrowedFd, tree: BorrowedFd) -> Result<()> {
    let is_directory =
        |file: BorrowedFd| -> SysResult<bool> { Ok(fs::fstat(file)?.st_mode & libc::S_IFMT == libc::S_IFDIR) };
    let refused = match (is_directory(tree)?, is_directory(target)?) {
        (false, true) => Err(points::file_on_directory()),
        (true, false) => {
            let flags = Arg::OpenFlags(libc::O_PATH | libc::O_DIRECTORY);
            let call = Call::new(Syscall::Openat2, vec![(&*mount.destination).into(), flags]);
            Err(SysError::new(call, Errno::ENOTDIR).into())
        }
        _ => Ok(()),
    };
    refused.context(mount.at()).context(Step::Mounts)
}

/// Opens what is open as `O_PATH` only.
fn reopened(file: &OwnedFd, flags: i32) -> SysResult<OwnedFd> {
    fs::open(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())), flags)
}

/// Whether a file or directory has an access control list, or may have one that the caller cannot read.
fn has_list(file: &OwnedFd) -> bool {
    let opened = reopened(file, libc::O_RDONLY | libc::O_NONBLOCK);
    opened.map_or(true, |file| {
        xattr::get(file.as_fd(), c"system.posix_acl_access").is_ok_and(|list| list.is_some())
    })
}

/// Puts the parts of a path on a stack, the first part on top.
fn push(todo: &mut Vec<OsString>, path: &Path) {
    let parts = path.components().rev();
    todo.extend(parts.filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    }));
}

/// The error of the process, which would open the path.
fn refused(path: &Path, errno: Errno) -> SysError {
    let call = Call::new(Syscall::Openat, vec![path.into(), Arg::OpenFlags(libc::O_PATH)]);
    SysError::new(call, errno)
}
