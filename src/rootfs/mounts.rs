//! The mount of the root file system, and `mounts` in the order of the config. Run by init, before the root is changed.
//!
//! Every mount is created detached, gets its attributes while no other process can see it, and is then moved onto a
//! descriptor that the [`Root`] handle has opened. So no path is resolved twice, and no mount is ever visible without its
//! restrictions.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::bind::{Owners, Source, UnnamedFlags, at_source, bind, map_ids, set_flags};
use super::place::{AttachedRoot, DetachedRoot, HostMounts, Place};
use super::sources::Sources;
use super::{Root, diagnose, instances, label, legacy_mount, points};
use crate::error::{Cleanup, Context, Hint, Result, bail, errno, with_cleanup, with_hint};
use crate::plan::{FsOption, Mount, MountKind, MountOptions, Propagation, Reach, RootMode, Rootfs};
use crate::progress;
use crate::protocol::Channel;
use crate::rootfs::copy_up;
use crate::sys::fs_context::FsContext;
use crate::sys::mount::MOUNT_ATTR_RDONLY;
use crate::sys::{SysResult, attributes, fs, mount, process};

/// What remains to be done for a mount after everything has been created in it and the root's propagation is set.
pub struct Pending {
    mount: OwnedFd,
    read_only: bool,
    propagation: Vec<Propagation>,
}

impl Pending {
    fn is_pending(&self) -> bool {
        self.read_only || !self.propagation.is_empty()
    }
}

/// The environment in which mounts are created.
pub struct MountContext<'a> {
    /// Whether the cgroup namespace is the container's.
    pub own_cgroup_namespace: bool,
    /// A read-only cgroup mount shows the whole tree.
    pub whole_cgroup_tree: bool,
    /// The container's cgroup directory on the host.
    pub cgroup: Option<&'a Path>,
    /// The PID namespace of the container applies only to children of this process, not to the process itself.
    pub pid_namespace_of_children: bool,
    /// Ensures that the network namespace is the container's.
    pub network: &'a dyn Fn() -> Result<()>,
    /// The channel to a runtime with more privileges than init; none without a user namespace.
    pub runtime: Option<&'a Channel>,
    /// The mounts of the host, from which sources are copied.
    pub host: HostMounts,
}

/// File systems whose content does not depend on the network namespace in which they are mounted. (/proc/net depends on the
/// reading process.)
const NETWORK_INDEPENDENT: [&str; 5] = ["proc", "tmpfs", "devpts", "mqueue", "overlay"];

/// Copies the root file system to a separate tree, which is not attached.
pub fn prepare_detached(plan: &Rootfs, host: HostMounts) -> Result<DetachedRoot> {
    Ok(DetachedRoot::copy(&plan.path, &host)?)
}

/// Makes the root file system a separate mount and returns the handle on it. First stops propagation from this namespace to
/// the host. `tree` is a copy made by the runtime, for the case that the root of a user namespace cannot access the path.
pub fn prepare(plan: &Rootfs, tree: Option<OwnedFd>) -> Result<AttachedRoot> {
    if plan.root_mode == RootMode::Chroot {
        return Ok(AttachedRoot::new(fs::open(
            &plan.path,
            libc::O_PATH | libc::O_DIRECTORY,
        )?));
    }
    let slash = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
    set_propagation(slash.as_fd(), plan.propagation)?;
    let every_mount = plan.propagation & libc::MS_REC != 0;
    let unshare = !every_mount || plan.propagation & libc::MS_SHARED != 0;
    let target = match (fs::open(&plan.path, libc::O_PATH | libc::O_DIRECTORY), tree) {
        (Err(error), Some(tree)) if error.errno == Errno::EACCES => {
            if unshare {
                unshare_parent(Path::new("/"), plan.propagation & libc::MS_SLAVE)?;
            }
            // It is already a slave; a shared mount could not become the root.
            if plan.propagation & libc::MS_PRIVATE != 0 {
                set_propagation(tree.as_fd(), plan.propagation)?;
            }
            // It is attached over /, the only directory that every process can access.
            mount::attach(tree.as_fd(), slash.as_fd())?;
            return Ok(AttachedRoot::new(tree));
        }
        (target, _) => target?,
    };
    if unshare {
        unshare_parent(&plan.path, plan.propagation & libc::MS_SLAVE)?;
    }
    let tree = mount::clone_tree(target.as_fd(), Path::new(""), true)?;
    mount::attach(tree.as_fd(), target.as_fd())?;
    Ok(AttachedRoot::new(tree))
}

fn set_propagation(fd: BorrowedFd, propagation: u64) -> Result<()> {
    let recursive = propagation & libc::MS_REC != 0;
    Ok(mount::set_attributes(fd, 0, 0, propagation & !libc::MS_REC, recursive)?)
}

fn set_propagations(fd: BorrowedFd, list: &[Propagation]) -> Result<()> {
    for propagation in list {
        mount::set_attributes(fd, 0, 0, propagation.kind.flag(), propagation.reach == Reach::Recursive)?;
    }
    Ok(())
}

/// Makes the mount that contains the root file system private, or a slave. If it were shared, the container's root mount
/// would propagate to the host, and pivot_root(2) fails if the parent mount is shared.
fn unshare_parent(path: &Path, slave: u64) -> Result<()> {
    let propagation = if slave != 0 { slave } else { libc::MS_PRIVATE };
    for ancestor in path.ancestors() {
        let fd = fs::open(ancestor, libc::O_PATH | libc::O_DIRECTORY)?;
        // Only the root of a mount can be changed; the call fails with EINVAL for directories below it.
        match mount::set_attributes(fd.as_fd(), 0, 0, propagation, false) {
            Err(error) if error.errno == Errno::EINVAL => continue,
            other => return Ok(other?),
        }
    }
    Ok(())
}

/// Creates all mounts of the config.
pub fn apply(root: Place, plan: &Rootfs, context: &MountContext, sources: &mut Sources) -> Result<Vec<Pending>> {
    let mut pending = Vec::new();
    mount_all(root, plan, context, sources, |mount| {
        if mount.is_pending() {
            pending.push(mount);
        }
    })?;
    Ok(pending)
}

/// Adds all mounts to an existing container, or none of them if one fails. `descriptors` is the host's `/proc/self/fd`.
pub fn add(
    root: &AttachedRoot,
    plan: &Rootfs,
    context: &MountContext,
    sources: &mut Sources,
    descriptors: BorrowedFd,
) -> Result<()> {
    let mut attached = Vec::new();
    let place = Place::Attached(root);
    let result = mount_all(place, plan, context, sources, |mount| attached.push(mount));
    let result = result.and_then(|()| attached.iter().try_for_each(finish_one));
    result.map_err(|error| {
        let mut cleanup = Cleanup::default();
        for pending in attached.iter().rev() {
            cleanup.step(mount::detach_at(descriptors, pending.mount.as_fd()).map_err(Into::into));
        }
        with_cleanup(error, cleanup.end())
    })
}

/// Calls `on_attached` with every mount once it is attached.
fn mount_all(
    root: Place,
    plan: &Rootfs,
    context: &MountContext,
    sources: &mut Sources,
    mut on_attached: impl FnMut(Pending),
) -> Result<()> {
    for entry in &plan.mounts {
        progress::at(format_args!("mounts[{}] {:?}", entry.index, entry.destination));
        if let MountKind::New { kind, .. } = &entry.kind
            && !NETWORK_INDEPENDENT.contains(&kind.as_str())
        {
            (context.network)()?;
        }
        mount_one(root, plan, entry, context, sources, &mut on_attached)
            .map_err(|error| diagnose::of_space(error, &root, &entry.destination))
            .with_context(|| entry.at())?;
    }
    Ok(())
}

/// Completes the mounts of [`apply`]: makes them read-only, now that everything in them exists, and sets their propagation,
/// which takes precedence over the one of the whole root.
pub fn finish(pending: Vec<Pending>) -> Result<()> {
    pending.iter().try_for_each(finish_one)
}

fn finish_one(pending: &Pending) -> Result<()> {
    if pending.read_only {
        mount::set_attributes(pending.mount.as_fd(), MOUNT_ATTR_RDONLY, 0, 0, false)?;
    }
    set_propagations(pending.mount.as_fd(), &pending.propagation)
}

fn mount_one(
    root: Place,
    plan: &Rootfs,
    entry: &Mount,
    context: &MountContext,
    sources: &mut Sources,
    on_attached: &mut impl FnMut(Pending),
) -> Result<()> {
    let options = &entry.options;
    let mut read_only = false;
    let tree = match &entry.kind {
        MountKind::Remount => return remount(&root, entry),
        MountKind::Link(target) => return copy_link(&root, entry, target),
        MountKind::Bind { source, inside } => match (sources.take_tree(entry.index), inside) {
            (Some(tree), _) => tree,
            (None, inside) => bind_entry(root, entry, (source, inside.as_deref()), context, sources)?,
        },
        MountKind::Cgroup => cgroup_tree(context, options)?,
        MountKind::New { kind, source, fallback } => {
            let mut attributes = options.attributes_of_new();
            if entry.is_made_read_only_later() {
                attributes &= !MOUNT_ATTR_RDONLY;
                read_only = true;
            }
            let new = new_mount(root, plan, entry, context, kind, source.as_deref(), attributes);
            let tree = match (new, fallback) {
                (Err(error), Some(place)) if diagnose::is_about_power(&error) => {
                    instances::clone_host_instance(kind, place, attributes, error)?
                }
                (new, _) => new?,
            };
            if let Some(mapping) = sources.take_mapping(entry.index) {
                map_ids(&tree, entry, &mapping)?;
            }
            if options.tmpcopyup {
                copy_up(&root, entry, &tree).map_err(|error| match errno(&error) {
                    Some(Errno::ENOSPC) => error.context(Hint {
                        message: "the new tmpfs is too small for the files that tmpcopyup copies".into(),
                        hint: "increase its size= (and nr_inodes=), or remove tmpcopyup".into(),
                    }),
                    _ => error,
                })?;
            }
            tree
        }
    };
    let target = points::open(&root, entry, &tree)?;
    points::check_proc(entry, target.as_fd(), tree.as_fd())?;
    if let Place::Detached(_) = root {
        // A mount in a detached tree cannot be changed any more, except for its root.
        set_propagations(tree.as_fd(), &options.propagation)?;
        return Ok(mount::attach(tree.as_fd(), target.as_fd())?);
    }
    mount::attach(tree.as_fd(), target.as_fd())?;
    let propagated = set_propagations(tree.as_fd(), &options.propagation);
    let whole_root = plan.final_propagation.is_some_and(|value| value & libc::MS_REC != 0);
    let propagation = if whole_root {
        options.propagation.clone()
    } else {
        Vec::new()
    };
    on_attached(Pending {
        mount: tree,
        read_only,
        propagation,
    });
    propagated
}

/// The tree of a bind mount that init creates: of a path on the host, or of one inside the container.
fn bind_entry(
    root: Place,
    entry: &Mount,
    (source, inside): (&Path, Option<&Path>),
    context: &MountContext,
    sources: &mut Sources,
) -> Result<OwnedFd> {
    let from = match inside {
        Some(path) => {
            let link = if entry.nofollow.source { libc::O_NOFOLLOW } else { 0 };
            let opened = root.open(path, libc::O_PATH | link);
            Source::Opened(opened.with_context(|| at_source(entry, path))?)
        }
        None => Source::Path(source),
    };
    let mapping = sources.take_mapping(entry.index);
    let owners = match (&mapping, &entry.id_map, context.runtime) {
        (Some(mapping), ..) => Owners::Mapped(mapping),
        (None, Some(_), Some(runtime)) => Owners::MappedBy(runtime),
        _ => Owners::Unmapped,
    };
    let tree = bind(from, entry, owners, UnnamedFlags::Clear, context.host)?;
    if matches!(root, Place::Detached(_)) {
        refuse_mount_namespace(&tree)?;
    }
    Ok(tree)
}

/// The file of a mount namespace cannot be mounted in a namespace that is newer, because the two could contain each other. In
/// a detached tree it can, but it would be missing, without an error, in the namespace that is made of the tree.
fn refuse_mount_namespace(tree: &OwnedFd) -> Result<()> {
    let stat = fs::fstat(tree.as_fd())?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFREG
        && fs::type_of(tree.as_fd())? == fs::FsType::NSFS
        && process::kind_of_namespace(attributes::reopen(tree.as_fd(), libc::O_RDONLY)?.as_fd())? == libc::CLONE_NEWNS
    {
        return Err(mount::attach_error(Errno::ELOOP).into());
    }
    Ok(())
}

/// A new, detached file system.
fn new_mount(
    root: Place,
    plan: &Rootfs,
    entry: &Mount,
    context: &MountContext,
    kind: &str,
    source: Option<&str>,
    attributes: u64,
) -> Result<OwnedFd> {
    let options = &entry.options;
    let device = source.is_some_and(|source| source.starts_with('/'));
    let mode = if kind == "tmpfs" && !has_value(options, "mode") {
        // By default, a tmpfs has the mode of the directory that it covers (/tmp keeps 1777).
        match root.open(&entry.destination, libc::O_PATH | libc::O_DIRECTORY) {
            Ok(covered) => {
                let mode = format!("{:o}", fs::fstat(covered.as_fd())?.st_mode & 0o7777);
                Some(FsOption::String("mode".into(), mode))
            }
            Err(_) => None,
        }
    } else {
        None
    };
    let label = plan.label.as_ref().and_then(|text| label::option(kind, options, text));
    // Usually only the mount is read-only. But a file system on a device must be read-only itself, or it would write to the
    // device.
    let superblock = options
        .superblock
        .iter()
        .filter(|option| device || **option != FsOption::ReadOnly);
    let data = options.data.iter().chain(&mode).chain(&label);
    let tree = if options.needs_mount2() {
        let Place::Attached(root) = root else {
            bail!("mount(2) needs a mount namespace");
        };
        legacy_mount::make(root, kind, source, options.mount2, superblock, data, attributes)?
    } else {
        let new = FsContext::new(kind)?;
        if let Some(source) = source {
            new.set("source", source)?;
        }
        if kind == "proc" && context.pid_namespace_of_children {
            new.show_pid_namespace_for_children()?;
        }
        set_options(&new, superblock.chain(data))?;
        new.mount(attributes)?
    };
    if let Some(text) = &plan.label {
        label::set_on_root(tree.as_fd(), kind, text)?;
    }
    Ok(tree)
}

fn set_options<'a>(context: &FsContext, options: impl Iterator<Item = &'a FsOption>) -> SysResult<()> {
    for option in options {
        match option.value() {
            None => context.set_flag(option.key())?,
            Some(value) => context.set(option.key(), value)?,
        }
    }
    Ok(())
}

/// Whether the file system's options contain a value for this key.
fn has_value(options: &MountOptions, key: &str) -> bool {
    let is = |option: &FsOption| matches!(option, FsOption::String(name, _) if name == key);
    options.data.iter().any(is)
}

/// Copies the directory that a new tmpfs will cover into it.
fn copy_up(root: &Root, entry: &Mount, tree: &OwnedFd) -> Result<()> {
    let covered = match root.open(&entry.destination, libc::O_PATH | libc::O_DIRECTORY) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(()),
        other => other?,
    };
    let explicit = copy_up::ExplicitOptions {
        mode: has_value(&entry.options, "mode"),
        uid: has_value(&entry.options, "uid"),
        gid: has_value(&entry.options, "gid"),
    };
    copy_up::copy(covered.as_fd(), tree, explicit)
}

/// The container's view of the cgroup tree. In a new cgroup namespace, a new mount shows the container's part.
/// Without one, /proc/self/cgroup starts at the root of the caller's tree, and programs join that path and /sys/fs/cgroup; so
/// a read-only mount shows the whole tree. A writable one never does, nor does any mount in a user namespace
/// (CVE-2023-25809): the container's cgroup directory is bind mounted instead. The same happens if cgroup2 cannot be mounted
/// in the user namespace. A container without a cgroup gets an empty directory.
fn cgroup_tree(context: &MountContext, options: &MountOptions) -> Result<OwnedFd> {
    if context.own_cgroup_namespace || context.whole_cgroup_tree && options.is_read_only() {
        let new = FsContext::new("cgroup2").and_then(|new| {
            new.set("source", "cgroup")?;
            new.mount(options.attributes_of_new())
        });
        match new {
            Err(error) if matches!(error.errno, Errno::EPERM | Errno::EBUSY) => {}
            tree => return Ok(tree?),
        }
    }
    let Some(directory) = context.cgroup else {
        return super::mask::empty_directory();
    };
    let tree = context.host.clone_tree(fs::CWD, directory, false)?;
    set_flags(tree.as_fd(), options)?;
    Ok(tree)
}

/// Creates a symbolic link at the destination. The same link may exist from an earlier container with this image.
fn copy_link(root: &Root, entry: &Mount, target: &Path) -> Result<()> {
    let (directory, name) = root.make_parent(&entry.destination)?;
    let name = Path::new(&name);
    match fs::symlinkat(target, directory.as_fd(), name) {
        Err(error) if error.errno == Errno::EEXIST => {}
        other => return Ok(other?),
    }
    let found = fs::openat(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let is_link = fs::fstat(found.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFLNK;
    if is_link && fs::readlinkat(found.as_fd(), c"")? == target.as_os_str().as_bytes() {
        return Ok(());
    }
    Err(with_hint(
        "the source is a symbolic link, and the destination exists and is not the same link",
        "remove the destination from the image, or remove \"copy-symlink\"",
    ))
}

/// Changes the flags and options of an existing mount.
fn remount(root: &Root, entry: &Mount) -> Result<()> {
    let options = &entry.options;
    let target = root.open(&entry.destination, libc::O_PATH)?;
    if !fs::is_mount_root(target.as_fd())? {
        return Err(with_hint(
            "nothing is mounted at this path, so it cannot be remounted",
            "\"remount\" changes the mount of an earlier entry of mounts; remove the option to create a new mount",
        ));
    }
    set_flags(target.as_fd(), options)?;
    let fs_options: Vec<&FsOption> = options.superblock.iter().chain(&options.data).collect();
    if options.bind.is_none() && !fs_options.is_empty() {
        let existing = FsContext::of_mount(target.as_fd())?;
        set_options(&existing, fs_options.into_iter())?;
        existing.reconfigure()?;
    }
    set_propagations(target.as_fd(), &options.propagation)
}
