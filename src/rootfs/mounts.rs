//! The root's own mount and the config's `mounts`, in their order. Run by init, before the root is changed.
//!
//! Every mount is made detached, gets its attributes while nobody can see it, and is then moved onto a descriptor that
//! the [`Root`] handle opened. So there is no moment at which a path is resolved again, and none at which a mount is
//! visible without its restrictions.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::bind::{Owners, Source, Unnamed, bind, map_ids, of_source, set_flags};
use super::sources::Sources;
use super::{Root, diagnose, instances, label, legacy_mount};
use crate::error::{At, Cleanup, Context, Hint, Result, errno, with_cleanup, with_hint};
use crate::plan::{FsOption, Mount, MountKind, MountOptions, Propagation, Reach, RootMode, Rootfs};
use crate::progress;
use crate::protocol::Channel;
use crate::rootfs::copy_up;
use crate::sys::fs_context::FsContext;
use crate::sys::mount::MOUNT_ATTR_RDONLY;
use crate::sys::{SysResult, fs, mount};

/// What is left to do with a mount when everything has been put into it and the root has got its propagation.
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

/// What is around the mounts.
pub struct Surroundings<'a> {
    pub own_cgroup_namespace: bool,
    /// A read-only cgroup mount shows the whole tree.
    pub whole_cgroup_tree: bool,
    /// The container's own cgroup directory on the host.
    pub cgroup: Option<&'a Path>,
    /// The container's processes are in the pid namespace of our children, and we are not.
    pub pid_namespace_of_children: bool,
    /// Makes sure that the network namespace is the container's.
    pub network: &'a dyn Fn() -> Result<()>,
    /// To a runtime with more power than init has; none without a user namespace.
    pub runtime: Option<&'a Channel>,
}

/// File systems that show nothing of the network namespace in which they are mounted. (/proc/net is the reader's.)
const NOT_OF_THE_NETWORK: [&str; 5] = ["proc", "tmpfs", "devpts", "mqueue", "overlay"];

/// Makes the root file system a mount of its own and returns the handle on it. Mounts of the host stop propagating out
/// of this namespace first. `tree` is the runtime's copy, for where the way to the directory is closed to the root of a
/// user namespace.
pub fn prepare(plan: &Rootfs, tree: Option<OwnedFd>) -> Result<Root> {
    if plan.root_mode == RootMode::Chroot {
        return Ok(Root::new(fs::open(&plan.path, libc::O_PATH | libc::O_DIRECTORY)?));
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
            // A slave as it comes; a shared one could not become the root.
            if plan.propagation & libc::MS_PRIVATE != 0 {
                set_propagation(tree.as_fd(), plan.propagation)?;
            }
            // Over everything, then: the one place that is in reach of everybody.
            mount::attach(tree.as_fd(), slash.as_fd())?;
            return Ok(Root::new(tree));
        }
        (target, _) => target?,
    };
    if unshare {
        unshare_parent(&plan.path, plan.propagation & libc::MS_SLAVE)?;
    }
    let tree = mount::clone_tree(target.as_fd(), Path::new(""), true)?;
    mount::attach(tree.as_fd(), target.as_fd())?;
    Ok(Root::new(tree))
}

fn set_propagation(fd: BorrowedFd, propagation: u64) -> Result<()> {
    let recursive = propagation & libc::MS_REC != 0;
    Ok(mount::set_attributes(fd, 0, 0, propagation & !libc::MS_REC, recursive)?)
}

fn propagate(fd: BorrowedFd, list: &[Propagation]) -> Result<()> {
    for propagation in list {
        mount::set_attributes(fd, 0, 0, propagation.kind.flag(), propagation.reach == Reach::Recursive)?;
    }
    Ok(())
}

/// Makes the mount that holds the root file system private, or a slave: with shared propagation our mount on it would
/// appear on the host, and pivot_root(2) refuses a shared parent.
fn unshare_parent(path: &Path, slave: u64) -> Result<()> {
    let propagation = if slave != 0 { slave } else { libc::MS_PRIVATE };
    for ancestor in path.ancestors() {
        let fd = fs::open(ancestor, libc::O_PATH | libc::O_DIRECTORY)?;
        // Only the root of a mount can be changed; anything below it answers EINVAL.
        match mount::set_attributes(fd.as_fd(), 0, 0, propagation, false) {
            Err(error) if error.errno == Errno::EINVAL => continue,
            other => return Ok(other?),
        }
    }
    Ok(())
}

/// Makes all mounts of the config.
pub fn apply(root: &Root, plan: &Rootfs, around: &Surroundings, sources: &mut Sources) -> Result<Vec<Pending>> {
    let mut pending = Vec::new();
    each(root, plan, around, sources, |made| {
        if made.is_pending() {
            pending.push(made);
        }
    })?;
    Ok(pending)
}

/// Makes all mounts in a container that exists already, or none of them. `descriptors` is the host's `/proc/self/fd`.
pub fn add(
    root: &Root,
    plan: &Rootfs,
    around: &Surroundings,
    sources: &mut Sources,
    descriptors: BorrowedFd,
) -> Result<()> {
    let mut made = Vec::new();
    let done = each(root, plan, around, sources, |mount| made.push(mount));
    let done = done.and_then(|()| made.iter().try_for_each(finish_one));
    done.map_err(|error| {
        let mut cleanup = Cleanup::default();
        for pending in made.iter().rev() {
            cleanup.step(mount::detach_at(descriptors, pending.mount.as_fd()).map_err(Into::into));
        }
        with_cleanup(error, cleanup.end())
    })
}

/// `made` is given every mount when it is attached.
fn each(
    root: &Root,
    plan: &Rootfs,
    around: &Surroundings,
    sources: &mut Sources,
    mut made: impl FnMut(Pending),
) -> Result<()> {
    for entry in &plan.mounts {
        progress::at(format_args!("mounts[{}] {:?}", entry.index, entry.destination));
        if let MountKind::New { kind, .. } = &entry.kind
            && !NOT_OF_THE_NETWORK.contains(&kind.as_str())
        {
            (around.network)()?;
        }
        one(root, plan, entry, around, sources, &mut made)
            .map_err(|error| diagnose::of_space(error, root, &entry.destination))
            .with_context(|| At::object(format!("mounts[{}]", entry.index), entry.destination.display()))?;
    }
    Ok(())
}

/// Applies what [`apply`] put off: nothing more is to be written into these mounts, and a propagation that the config
/// gives to one mount stands above that of the whole root.
pub fn finish(pending: Vec<Pending>) -> Result<()> {
    pending.iter().try_for_each(finish_one)
}

fn finish_one(later: &Pending) -> Result<()> {
    if later.read_only {
        mount::set_attributes(later.mount.as_fd(), MOUNT_ATTR_RDONLY, 0, 0, false)?;
    }
    propagate(later.mount.as_fd(), &later.propagation)
}

fn one(
    root: &Root,
    plan: &Rootfs,
    entry: &Mount,
    around: &Surroundings,
    sources: &mut Sources,
    made: &mut impl FnMut(Pending),
) -> Result<()> {
    let options = &entry.options;
    let mut read_only = false;
    let tree = match &entry.kind {
        MountKind::Remount => return remount(root, entry),
        MountKind::Link(target) => return copy_link(root, entry, target),
        MountKind::Bind { source, inside } => match (sources.take_tree(entry.index), inside) {
            (Some(tree), _) => tree,
            (None, inside) => {
                let from = match inside {
                    Some(path) => {
                        let link = if entry.nofollow.source { libc::O_NOFOLLOW } else { 0 };
                        let opened = root.open(path, libc::O_PATH | link);
                        Source::Opened(opened.with_context(|| of_source(entry, path))?)
                    }
                    None => Source::Path(source),
                };
                let mapping = sources.take_mapping(entry.index);
                let owners = match (&mapping, &entry.id_map, around.runtime) {
                    (Some(mapping), ..) => Owners::Mapped(mapping),
                    (None, Some(_), Some(runtime)) => Owners::MappedBy(runtime),
                    _ => Owners::AsTheyAre,
                };
                bind(from, entry, owners, Unnamed::AsTheKernelAllows)?
            }
        },
        MountKind::Cgroup => cgroup_tree(around, options)?,
        MountKind::New { kind, source, fallback } => {
            let mut attributes = options.attributes_of_new();
            if attributes & MOUNT_ATTR_RDONLY != 0 && (kind == "tmpfs" || entry.destination == Path::new("/dev")) {
                // Mount points, devices and the copy of the image's files have yet to be made inside.
                attributes &= !MOUNT_ATTR_RDONLY;
                read_only = true;
            }
            let new = new_mount(root, plan, entry, around, kind, source.as_deref(), attributes);
            let tree = match (new, fallback) {
                (Err(error), Some(place)) if diagnose::is_about_power(&error) => {
                    instances::of_host(kind, place, attributes, error)?
                }
                (new, _) => new?,
            };
            if let Some(mapping) = sources.take_mapping(entry.index) {
                map_ids(&tree, entry, &mapping)?;
            }
            if options.tmpcopyup {
                copy_up(root, entry, &tree).map_err(|error| match errno(&error) {
                    Some(Errno::ENOSPC) => error.context(Hint(
                        "raise its size= (and nr_inodes=), or leave tmpcopyup out".into(),
                        "the new tmpfs is too small for what tmpcopyup copies into it".into(),
                    )),
                    _ => error,
                })?;
            }
            tree
        }
    };
    let target = target(root, entry, &tree)?;
    refuse_in_proc(entry, target.as_fd(), tree.as_fd())?;
    mount::attach(tree.as_fd(), target.as_fd())?;
    let first = propagate(tree.as_fd(), &options.propagation);
    let whole_root = plan.final_propagation.is_some_and(|value| value & libc::MS_REC != 0);
    let propagation = if whole_root {
        options.propagation.clone()
    } else {
        Vec::new()
    };
    made(Pending {
        mount: tree,
        read_only,
        propagation,
    });
    first
}

/// A new, detached file system.
fn new_mount(
    root: &Root,
    plan: &Rootfs,
    entry: &Mount,
    around: &Surroundings,
    kind: &str,
    source: Option<&str>,
    attributes: u64,
) -> Result<OwnedFd> {
    let options = &entry.options;
    let device = source.is_some_and(|source| source.starts_with('/'));
    let mode = if kind == "tmpfs" && !names(options, "mode") {
        // Unless told otherwise, a tmpfs looks like the directory that it covers (/tmp stays 1777).
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
    // Read-only is this mount's affair. Only a file system on a device must be told, or it would write to it.
    let superblock = options
        .superblock
        .iter()
        .filter(|option| device || !matches!(option, FsOption::Flag(key) if key == "ro"));
    let data = options.data.iter().chain(&mode).chain(&label);
    let tree = if options.needs_mount2() {
        legacy_mount::make(root, kind, source, options.mount2, superblock, data, attributes)?
    } else {
        let context = FsContext::new(kind)?;
        if let Some(source) = source {
            context.set("source", source)?;
        }
        if kind == "proc" && around.pid_namespace_of_children {
            context.show_pid_namespace_for_children()?;
        }
        set_options(&context, superblock.chain(data))?;
        context.mount(attributes)?
    };
    if let Some(text) = &plan.label {
        label::after(tree.as_fd(), kind, text)?;
    }
    Ok(tree)
}

fn set_options<'a>(context: &FsContext, options: impl Iterator<Item = &'a FsOption>) -> SysResult<()> {
    for option in options {
        match option {
            FsOption::Flag(key) => context.set_flag(key)?,
            FsOption::String(key, value) => context.set(key, value)?,
        }
    }
    Ok(())
}

/// Whether the options give the file system a value for this key.
fn names(options: &MountOptions, key: &str) -> bool {
    let is = |option: &FsOption| matches!(option, FsOption::String(name, _) if name == key);
    options.data.iter().any(is)
}

/// Fills a new tmpfs with what it will cover.
fn copy_up(root: &Root, entry: &Mount, tree: &OwnedFd) -> Result<()> {
    let covered = match root.open(&entry.destination, libc::O_PATH | libc::O_DIRECTORY) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(()),
        other => other?,
    };
    let asked = copy_up::Asked {
        mode: names(&entry.options, "mode"),
        uid: names(&entry.options, "uid"),
        gid: names(&entry.options, "gid"),
    };
    copy_up::copy(covered.as_fd(), tree, asked)
}

/// What the container sees of the cgroup tree. In a new cgroup namespace, a new mount shows the container's own part.
/// Without one, /proc/self/cgroup starts at the root of the caller's tree, and programs join that path and /sys/fs/cgroup; so
/// a read-only mount shows the whole tree. A writable one never does, nor does any mount in a user namespace
/// (CVE-2023-25809): the container's cgroup directory is bound instead, as it is where a user namespace may not mount
/// cgroup2. A container without a cgroup of its own sees an empty directory.
fn cgroup_tree(around: &Surroundings, options: &MountOptions) -> Result<OwnedFd> {
    if around.own_cgroup_namespace || around.whole_cgroup_tree && options.is_read_only() {
        let made = FsContext::new("cgroup2").and_then(|context| {
            context.set("source", "cgroup")?;
            context.mount(options.attributes_of_new())
        });
        match made {
            Err(error) if matches!(error.errno, Errno::EPERM | Errno::EBUSY) => {}
            made => return Ok(made?),
        }
    }
    let Some(directory) = around.cgroup else {
        return super::mask::empty_directory();
    };
    let tree = mount::clone_tree(fs::CWD, directory, false)?;
    set_flags(tree.as_fd(), options)?;
    Ok(tree)
}

/// Makes a link at the destination. What an earlier container of this image has left is the same.
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
        "the source is a symbolic link, and its copy cannot take the place of what is there",
        "remove that from the image, or leave \"copy-symlink\" out",
    ))
}

/// Changes flags and options of the mount that is already there.
fn remount(root: &Root, entry: &Mount) -> Result<()> {
    let options = &entry.options;
    let target = root.open(&entry.destination, libc::O_PATH)?;
    if !fs::is_mount_root(target.as_fd())? {
        return Err(with_hint(
            "nothing is mounted at this path, so nothing can be remounted",
            "\"remount\" changes a mount that an earlier entry of mounts made; to make one leave the option out",
        ));
    }
    set_flags(target.as_fd(), options)?;
    let flags: Vec<&FsOption> = options.superblock.iter().chain(&options.data).collect();
    if options.bind.is_none() && !flags.is_empty() {
        let context = FsContext::of_mount(target.as_fd())?;
        set_options(&context, flags.into_iter())?;
        context.reconfigure()?;
    }
    propagate(target.as_fd(), &options.propagation)
}

/// The mount point: made where missing, a file for a file and a directory for a directory.
fn target(root: &Root, entry: &Mount, tree: &OwnedFd) -> Result<OwnedFd> {
    let kind = match &entry.kind {
        MountKind::New { kind, .. } if kind == "proc" || kind == "sysfs" => Some(kind.as_str()),
        MountKind::Bind { .. } if entry.destination == Path::new("/proc") => Some("proc"),
        MountKind::Bind { .. } if entry.destination == Path::new("/sys") => Some("sysfs"),
        _ => None,
    };
    if let Some(kind) = kind {
        // A link here would put the real one elsewhere, and leave the image's fake at the place that everybody
        // trusts, security labels' files included.
        return match root.open_without_links(&entry.destination, libc::O_PATH | libc::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT => Ok(root.make_directory(&entry.destination)?),
            Err(error) if matches!(error.errno, Errno::ELOOP | Errno::ENOTDIR) => Err(with_hint(
                format!("{kind} must be mounted on ordinary directory, and the image has a link or file there"),
                "fix the image: /proc and /sys must be directories",
            )),
            other => Ok(other?),
        };
    }
    if entry.nofollow.destination {
        match root.open(&entry.destination, libc::O_PATH | libc::O_NOFOLLOW) {
            // What is missing is made, as for others.
            Err(error) if error.errno == Errno::ENOENT => {}
            target => return onto_link(target?, tree),
        }
    }
    if !is_directory(tree)? {
        let target = root.make_file(&entry.destination)?;
        if is_directory(&target)? {
            return Err(with_hint(
                // Docker gives advice of its own where it reads "not a directory".
                "the source is not a directory, and at the destination is one",
                "name the file itself as the destination, or a directory as the source",
            ));
        }
        return Ok(target);
    }
    let (target, straight) = root.make_directory_or_follow(&entry.destination)?;
    if !straight && fs::mount_id(target.as_fd())? == fs::mount_id(root.fd())? && fs::is_mount_root(target.as_fd())? {
        return Err(with_hint(
            "it leads to the root itself, which cannot be mounted over",
            "root.path names the root file system; for a volume fix the link in the image, or name another destination",
        ));
    }
    Ok(target)
}

/// A mount point that may be a symbolic link, on which the kernel mounts as on a file.
fn onto_link(target: OwnedFd, tree: &OwnedFd) -> Result<OwnedFd> {
    if is_directory(&target)? != is_directory(tree)? {
        return Err(with_hint(
            "a directory can only be mounted on a directory, and with dest-nofollow a link is none",
            "leave dest-nofollow out, or mount a file or, with src-nofollow, a link",
        ));
    }
    Ok(target)
}

fn is_directory(fd: &OwnedFd) -> Result<bool> {
    Ok(fs::fstat(fd.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// Files of procfs that lxcfs and its like may cover with their own.
const COVERABLE: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// A mount over procfs could replace the files through which labels and sysctls are set. So /proc itself must be a
/// procfs, and inside it only files known to be harmless may be covered. Decided by what the target really is, not by
/// its name.
fn refuse_in_proc(entry: &Mount, target: BorrowedFd, tree: BorrowedFd) -> Result<()> {
    let is_proc = |fd| fs::type_of(fd).map(|kind| kind == fs::FsType::PROC);
    let named_proc = entry.destination == Path::new("/proc");
    if named_proc && !is_proc(tree)? {
        return Err(with_hint("only a procfs can be mounted on /proc", "use type \"proc\""));
    }
    if !named_proc && is_proc(target)? && !COVERABLE.iter().any(|file| entry.destination == Path::new(file)) {
        return Err(with_hint(
            "cannot be mounted because it is inside /proc",
            "only these may be covered there: cpuinfo diskstats loadavg meminfo net/dev slabinfo stat swaps uptime",
        ));
    }
    Ok(())
}
