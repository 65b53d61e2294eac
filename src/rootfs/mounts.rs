//! The root's own mount and the config's `mounts`, in their order. Run by init, before the root is changed.
//!
//! Every mount is made detached, gets its attributes while nobody can see it, and is then moved onto a descriptor that
//! the [`Root`] handle opened. So there is no moment at which a path is resolved again, and none at which a mount is
//! visible without its restrictions.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::Root;
use super::options::{FsOption, Propagation, Reach};
use crate::bundle::plan::{Mount, MountKind, Rootfs};
use crate::error::{At, Context, Result, hinted};
use crate::sys::mount::MOUNT_ATTR_RDONLY;
use crate::sys::{fs, mount};

/// A mount that turns read-only only when everything has been put into it.
pub struct Pending(OwnedFd);

/// Makes the root file system a mount of its own and returns the handle on it. Mounts of the host stop propagating out
/// of this namespace first.
pub fn prepare(plan: &Rootfs) -> Result<Root> {
    let slash = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
    set_propagation(slash.as_fd(), plan.propagation)?;
    if plan.propagation & libc::MS_SHARED != 0 {
        unshare_parent(&plan.path)?;
    }
    let tree = mount::clone_tree(fs::CWD, &plan.path, true)?;
    let target = fs::open(&plan.path, libc::O_PATH | libc::O_DIRECTORY)?;
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

/// Makes the mount that holds the root file system private: with shared propagation our mount on it would appear on
/// the host, and pivot_root(2) refuses a shared parent.
fn unshare_parent(path: &Path) -> Result<()> {
    for ancestor in path.ancestors() {
        let fd = fs::open(ancestor, libc::O_PATH | libc::O_DIRECTORY)?;
        // Only the root of a mount can be changed; anything below it answers EINVAL.
        match mount::set_attributes(fd.as_fd(), 0, 0, libc::MS_PRIVATE, false) {
            Err(error) if error.errno == Errno::EINVAL => continue,
            other => return Ok(other?),
        }
    }
    Ok(())
}

/// Makes all mounts of the config. `cgroup` is the container's own cgroup directory on the host.
pub fn apply(root: &Root, plan: &Rootfs, own_cgroup_namespace: bool, cgroup: Option<&Path>) -> Result<Vec<Pending>> {
    let mut pending = Vec::new();
    for entry in &plan.mounts {
        one(root, entry, own_cgroup_namespace, cgroup, &mut pending)
            .with_context(|| At::object(format!("mounts[{}]", entry.index), entry.destination.display()))?;
    }
    Ok(pending)
}

/// Applies what [`apply`] put off: nothing more is to be written into these mounts.
pub fn finish(pending: Vec<Pending>) -> Result<()> {
    for Pending(fd) in pending {
        mount::set_attributes(fd.as_fd(), MOUNT_ATTR_RDONLY, 0, 0, false)?;
    }
    Ok(())
}

fn one(
    root: &Root,
    entry: &Mount,
    own_cgroup_namespace: bool,
    cgroup: Option<&Path>,
    pending: &mut Vec<Pending>,
) -> Result<()> {
    let options = &entry.options;
    // A new mount has nothing below it, so recursive flags are its own.
    let wanted = options.attr_set | options.rec_attr_set & !options.attr_clear;
    let mut attributes = wanted;
    let tree = match &entry.kind {
        MountKind::Remount => return remount(root, entry),
        MountKind::Bind { source } => bind(source, entry)?,
        MountKind::Cgroup => own_cgroup(own_cgroup_namespace, cgroup, attributes)?,
        MountKind::New { kind, source } => {
            if kind == "tmpfs" && attributes & MOUNT_ATTR_RDONLY != 0 {
                // Mount points and devices have yet to be made inside.
                attributes &= !MOUNT_ATTR_RDONLY;
            }
            let context = new_file_system(root, entry, kind, source.as_deref())?;
            mount::fsmount(context.as_fd(), attributes)?
        }
    };
    let target = target(root, entry, &tree)?;
    refuse_in_proc(entry, target.as_fd(), tree.as_fd())?;
    mount::attach(tree.as_fd(), target.as_fd())?;
    propagate(tree.as_fd(), &options.propagation)?;
    if attributes != wanted {
        pending.push(Pending(tree));
    }
    Ok(())
}

/// A detached copy of the source, with its flags set and cleared as the options say.
fn bind(source: &Path, entry: &Mount) -> Result<OwnedFd> {
    let options = &entry.options;
    let tree = mount::clone_tree(fs::CWD, source, options.bind == Some(Reach::Recursive))
        .with_context(|| At::object(format!("mounts[{}].source", entry.index), source.display()))?;
    // The recursive ones first: what is said of this mount alone then holds for it.
    if options.rec_attr_set | options.rec_attr_clear != 0 {
        mount::set_attributes(tree.as_fd(), options.rec_attr_set, options.rec_attr_clear, 0, true)?;
    }
    if options.attr_set | options.attr_clear != 0 {
        mount::set_attributes(tree.as_fd(), options.attr_set, options.attr_clear, 0, false)?;
    }
    Ok(tree)
}

/// A configured superblock, ready for fsmount(2).
fn new_file_system(root: &Root, entry: &Mount, kind: &str, source: Option<&str>) -> Result<OwnedFd> {
    let options = &entry.options;
    let context = mount::fsopen(kind)?;
    let device = source.is_some_and(|source| source.starts_with('/'));
    if let Some(source) = source {
        mount::fsconfig(context.as_fd(), "source", Some(source))?;
    }
    for option in options.superblock.iter().chain(&options.data) {
        match option {
            // Read-only is this mount's affair. Only a file system on a device must be told, or it would write to it.
            FsOption::Flag(key) if key == "ro" && !device => {}
            FsOption::Flag(key) => mount::fsconfig(context.as_fd(), key, None)?,
            FsOption::String(key, value) => mount::fsconfig(context.as_fd(), key, Some(value))?,
        }
    }
    if kind == "tmpfs"
        && !options
            .data
            .iter()
            .any(|o| matches!(o, FsOption::String(key, _) if key == "mode"))
    {
        // Unless told otherwise, a tmpfs looks like the directory that it covers (/tmp stays 1777).
        if let Ok(covered) = root.open(&entry.destination, libc::O_PATH | libc::O_DIRECTORY) {
            let mode = format!("{:o}", fs::fstat(covered.as_fd())?.st_mode & 0o7777);
            mount::fsconfig(context.as_fd(), "mode", Some(&mode))?;
        }
    }
    mount::fsconfig_create(context.as_fd())?;
    Ok(context)
}

/// The container's own part of the cgroup tree: a new mount shows just that in a new cgroup namespace; without one, or
/// where a user namespace may not mount it, the container's cgroup directory is bound.
fn own_cgroup(own_namespace: bool, directory: Option<&Path>, attributes: u64) -> Result<OwnedFd> {
    if own_namespace {
        let made = mount::fsopen("cgroup2").and_then(|context| {
            mount::fsconfig(context.as_fd(), "source", Some("cgroup"))?;
            mount::fsconfig_create(context.as_fd())?;
            mount::fsmount(context.as_fd(), attributes)
        });
        match (made, directory) {
            (Err(error), Some(_)) if matches!(error.errno, Errno::EPERM | Errno::EBUSY) => {}
            (made, _) => return Ok(made?),
        }
    }
    let directory = directory.ok_or_else(|| {
        hinted(
            "the container has no cgroup of its own to show",
            "remove this mount, or let orlop make a cgroup",
        )
    })?;
    let tree = mount::clone_tree(fs::CWD, directory, false)?;
    mount::set_attributes(tree.as_fd(), attributes, 0, 0, false)?;
    Ok(tree)
}

/// Changes flags and options of the mount that is already there.
fn remount(root: &Root, entry: &Mount) -> Result<()> {
    let options = &entry.options;
    let target = root.open(&entry.destination, libc::O_PATH)?;
    mount::set_attributes(target.as_fd(), options.attr_set, options.attr_clear, 0, false)?;
    let flags: Vec<&FsOption> = options.superblock.iter().chain(&options.data).collect();
    if options.bind.is_none() && !flags.is_empty() {
        let context = mount::fspick(target.as_fd())?;
        for option in flags {
            match option {
                FsOption::Flag(key) => mount::fsconfig(context.as_fd(), key, None)?,
                FsOption::String(key, value) => mount::fsconfig(context.as_fd(), key, Some(value))?,
            }
        }
        mount::fsconfig_reconfigure(context.as_fd())?;
    }
    propagate(target.as_fd(), &options.propagation)
}

/// The mount point: made where missing, a file for a file and a directory for a directory.
fn target(root: &Root, entry: &Mount, tree: &OwnedFd) -> Result<OwnedFd> {
    if let MountKind::New { kind, .. } = &entry.kind
        && (kind == "proc" || kind == "sysfs")
    {
        // A link here would put the real one elsewhere, and leave the image's fake at the place that everybody
        // trusts, security labels' files included.
        return match root.open_without_links(&entry.destination, libc::O_PATH | libc::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT => Ok(root.make_directory(&entry.destination)?),
            Err(error) if matches!(error.errno, Errno::ELOOP | Errno::ENOTDIR) => Err(hinted(
                format!("{kind} must be mounted on an ordinary directory, and the image has a link or file there"),
                "fix the image: /proc and /sys must be directories",
            )),
            other => Ok(other?),
        };
    }
    let directory = fs::fstat(tree.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    Ok(if directory {
        root.make_directory(&entry.destination)?
    } else {
        root.make_file(&entry.destination)?
    })
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
    let is_proc = |fd| fs::fstatfs(fd).map(|statfs| statfs.f_type == libc::PROC_SUPER_MAGIC);
    let named_proc = entry.destination == Path::new("/proc");
    if named_proc && !is_proc(tree)? {
        return Err(hinted("only a procfs can be mounted on /proc", "use type \"proc\""));
    }
    if !named_proc && is_proc(target)? && !COVERABLE.iter().any(|file| entry.destination == Path::new(file)) {
        return Err(hinted(
            "cannot be mounted because it is inside /proc",
            "only these may be covered there: cpuinfo diskstats loadavg meminfo net/dev slabinfo stat swaps uptime",
        ));
    }
    Ok(())
}
