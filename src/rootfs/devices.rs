//! Device nodes and the links of /dev. Run by init, before the root is changed, with umask 0; [`prepare`] by the runtime,
//! before the clone.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{Root, diagnose};
use crate::error::{At, Context, Error, Result, call_with_hint, errno, with_hint};
use crate::plan::{Device, IdMapping, IdMaps, Rootfs};
use crate::sys::fs_context::FsContext;
use crate::sys::{SysError, SysResult, attributes, fs, mount};

const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// An error with the device that it is about. The spec's default devices have no place in the config.
trait OfDevice<T> {
    fn of(self, device: &Device) -> Result<T>;
}

impl<T, E: Into<Error>> OfDevice<T> for std::result::Result<T, E> {
    fn of(self, device: &Device) -> Result<T> {
        match device.index {
            Some(index) => self.with_context(|| At::object(format!("linux.devices[{index}]"), device.path.display())),
            None => self.with_context(|| format!("default device {:?}", device.path)),
        }
    }
}

/// In a user namespace mknod(2) is forbidden, and a node of a file system that belongs to one opens no device. So the
/// runtime makes the nodes, each named by its number in the plan, in a tmpfs of the host's user namespace, and init binds
/// them one by one. Their owners are the container's. None where the runtime may not make devices itself.
pub fn prepare(plan: &Rootfs, maps: &IdMaps) -> Result<Option<OwnedFd>> {
    if !plan.devices.iter().any(is_bound) {
        return Ok(None);
    }
    let refused = |error: &SysError| error.errno == Errno::EPERM;
    let tree = match nodes_directory() {
        Err(error) if refused(&error) => return Ok(None),
        other => other?,
    };
    for (number, device) in plan.devices.iter().enumerate().filter(|(_, device)| is_bound(device)) {
        let name = PathBuf::from(number.to_string());
        let make = || -> SysResult<()> {
            fs::mknodat(tree.as_fd(), &name, device.kind | device.mode, device.number)?;
            // The caller's umask still counts here.
            attributes::chmodat(tree.as_fd(), &name, device.mode)?;
            let (uid, gid) = (on_host(&maps.uid, device.uid), on_host(&maps.gid, device.gid));
            attributes::chownat(tree.as_fd(), &name, uid, gid)
        };
        match make() {
            Err(error) if refused(&error) => return Ok(None),
            other => other.of(device)?,
        }
    }
    Ok(Some(tree))
}

fn nodes_directory() -> SysResult<OwnedFd> {
    let tmpfs = FsContext::new("tmpfs")?;
    tmpfs.set("source", "devices")?;
    tmpfs.set("mode", "0755")?;
    tmpfs.mount(NOSUID | NOEXEC)
}

/// The host's id for one of the container's; for one that is not mapped the value that leaves an owner as it is.
fn on_host(maps: &[IdMapping], id: u32) -> u32 {
    maps.iter()
        .find_map(|map| {
            let offset = id.checked_sub(map.container).filter(|offset| *offset < map.size)?;
            map.host.checked_add(offset)
        })
        .unwrap_or(u32::MAX)
}

fn is_bound(device: &Device) -> bool {
    device.kind != libc::S_IFIFO && !device.expected
}

/// Makes the nodes of the plan, or, in a user namespace, binds those that the runtime has made, or else the host's.
pub fn apply(root: &Root, plan: &Rootfs, user_namespace: bool, made: Option<OwnedFd>) -> Result<()> {
    let mut trees = match made {
        Some(directory) => trees(root, plan, &directory)?.into_iter(),
        None => Vec::new().into_iter(),
    };
    let foreign = Foreign::of(root, plan)?;
    let explain = |error: Error, device: &Device| diagnose::of_space(error, root, &device.path);
    // Nearly all devices share one directory; it is opened once.
    let mut directory: Option<(PathBuf, OwnedFd)> = None;
    for device in &plan.devices {
        if device.expected {
            expect(root, device).of(device)?;
            continue;
        }
        if user_namespace && is_bound(device) {
            bind(root, device, trees.next())
                .map_err(|error| explain(error, device))
                .of(device)?;
            continue;
        }
        let parent = device.path.parent().unwrap_or(Path::new("/"));
        let directory = match &directory {
            Some((path, fd)) if path == parent => fd,
            _ => {
                let made = root.make_directory(parent);
                let fd = made.map_err(|error| explain(error.into(), device)).of(device)?;
                &directory.insert((parent.to_path_buf(), fd)).1
            }
        };
        if foreign.holds(directory)? {
            expect(root, device).of(device)?;
            continue;
        }
        match make(root, directory, device) {
            // All this may run in a user namespace that the config knows nothing of, under an engine of a plain user's.
            Err(error) if is_bound(device) && is_refused(&error) => bind(root, device, None),
            other => other,
        }
        .map_err(|error| explain(error, device))
        .of(device)?;
    }
    Ok(())
}

/// The file system of a /dev that is not the container's to fill, where it is not that of the image. A link of the image
/// may lead there too.
struct Foreign(Option<u64>);

impl Foreign {
    fn of(root: &Root, plan: &Rootfs) -> Result<Self> {
        if plan.fill_dev || plan.devices.is_empty() {
            return Ok(Foreign(None));
        }
        let dev = root.open(Path::new("/dev"), libc::O_PATH | libc::O_DIRECTORY)?;
        let (dev, image) = (fs::fstat(dev.as_fd())?.st_dev, fs::fstat(root.fd())?.st_dev);
        Ok(Foreign((dev != image).then_some(dev)))
    }

    fn holds(&self, directory: &OwnedFd) -> Result<bool> {
        match self.0 {
            Some(device) => Ok(fs::fstat(directory.as_fd())?.st_dev == device),
            None => Ok(false),
        }
    }
}

/// Takes the nodes apart into mounts of their own. For that their directory has to be attached somewhere in our mount
/// namespace (kernels before 6.15 copy no part of a detached tree), and the root itself is the place that is always
/// there: our handle on it stands below.
fn trees(root: &Root, plan: &Rootfs, directory: &OwnedFd) -> Result<Vec<OwnedFd>> {
    mount::attach(directory.as_fd(), root.fd())?;
    let mut trees = Vec::new();
    for (number, device) in plan.devices.iter().enumerate().filter(|(_, device)| is_bound(device)) {
        let name = PathBuf::from(number.to_string());
        trees.push(mount::clone_tree(directory.as_fd(), &name, false).of(device)?);
    }
    mount::detach_behind(directory.as_fd())?;
    Ok(trees)
}

fn make(root: &Root, directory: &OwnedFd, device: &Device) -> Result<()> {
    let name = Path::new(device.path.file_name().unwrap_or_default());
    match fs::mknodat(directory.as_fd(), name, device.kind | device.mode, device.number) {
        Ok(()) if (device.uid, device.gid) == (0, 0) => Ok(()),
        Ok(()) => {
            // By descriptor, and never through a link.
            let node = fs::openat(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
            Ok(fs::fchown(node.as_fd(), device.uid, device.gid)?)
        }
        Err(error) if error.errno == Errno::EEXIST => {
            let node = fs::openat(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
            keep(root, &node, device)
        }
        Err(error) => Err(error.into()),
    }
}

/// What stands at a device's path already. A node of the image becomes what the config says of it. One that came with a
/// mount is another's, whose owner and mode are not ours to change.
fn keep(root: &Root, node: &OwnedFd, device: &Device) -> Result<()> {
    let found = fs::fstat(node.as_fd())?;
    if !is_same(&found, device) {
        return if is_replaced(node, device)? {
            Ok(())
        } else {
            Err(taken(node, device))
        };
    }
    if device.index.is_some() && fs::mount_id(node.as_fd())? == fs::mount_id(root.fd())? {
        if (found.st_uid, found.st_gid) != (device.uid, device.gid) {
            fs::fchown(node.as_fd(), device.uid, device.gid)?;
        }
        if found.st_mode & 0o7777 != device.mode {
            attributes::chmod(node.as_fd(), device.mode)?;
        }
    }
    Ok(())
}

/// Whether the config mounts something of its own in the place of a default device (/dev/urandom on /dev/random, for
/// example), which it does not list.
fn is_replaced(found: &OwnedFd, device: &Device) -> Result<bool> {
    Ok(device.index.is_none() && fs::is_mount_root(found.as_fd())?)
}

fn is_refused(error: &Error) -> bool {
    errno(error) == Some(Errno::EPERM)
}

fn is_same(found: &libc::stat, device: &Device) -> bool {
    found.st_mode & libc::S_IFMT == device.kind && (device.kind == libc::S_IFIFO || found.st_rdev == device.number)
}

fn taken(found: &OwnedFd, device: &Device) -> Error {
    let cure = match fs::is_mount_root(found.as_fd()) {
        Ok(true) => "it is mounted there: leave the device out of linux.devices, or the mount out of mounts",
        _ if device.index.is_none() => {
            "every container gets this device: remove what the image has at its path, or mount a tmpfs on /dev"
        }
        _ => "remove it from the image, or choose another path",
    };
    with_hint("something else exists at this path already", cure)
}

fn bind(root: &Root, device: &Device, made: Option<OwnedFd>) -> Result<()> {
    let tree = match made {
        Some(tree) => tree,
        None => of_host(device)?,
    };
    match mount_point(root, device)? {
        Some(target) => Ok(mount::attach(tree.as_fd(), target.as_fd())?),
        None => Ok(()),
    }
}

/// The host's own node, whose owner nobody here can change.
fn of_host(device: &Device) -> Result<OwnedFd> {
    let (text, cure) = (
        "the host has no such device at this path, and a user namespace cannot make one",
        "use the path that the device has on the host",
    );
    let tree = mount::clone_tree(fs::CWD, &device.path, false).map_err(|error| match error.errno {
        Errno::ENOENT => call_with_hint(error, text, cure),
        _ => error.into(),
    })?;
    let found = fs::fstat(tree.as_fd())?;
    if !is_same(&found, device) {
        return Err(with_hint(text, cure));
    }
    // Root is what a config names that does not care.
    let wanted = |id: u32, found: u32| id == 0 || id == found;
    if !wanted(device.uid, found.st_uid) || !wanted(device.gid, found.st_gid) {
        return Err(with_hint(
            format!(
                "the host's device belongs to {}:{} here, and a plain user cannot give it to {}:{}",
                found.st_uid, found.st_gid, device.uid, device.gid
            ),
            "leave uid and gid out, or run as root",
        ));
    }
    mount::set_attributes(tree.as_fd(), NOSUID | NOEXEC, 0, 0, false)?;
    Ok(tree)
}

/// What a device is bound on: an empty file, made where missing and never behind a link. An earlier container may have
/// left one; and what is that very device already may be covered by it. None where the config has put something in its
/// place.
fn mount_point(root: &Root, device: &Device) -> Result<Option<OwnedFd>> {
    let (directory, name) = root.make_parent(&device.path)?;
    let name = Path::new(&name);
    match fs::mknodat(directory.as_fd(), name, libc::S_IFREG | 0o600, 0) {
        Err(error) if error.errno != Errno::EEXIST => return Err(error.into()),
        _ => {}
    }
    let target = fs::openat(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let found = fs::fstat(target.as_fd())?;
    let empty_file = found.st_mode & libc::S_IFMT == libc::S_IFREG && found.st_size == 0;
    if is_replaced(&target, device)? && !is_same(&found, device) {
        return Ok(None);
    }
    if !empty_file && !is_same(&found, device) {
        return Err(taken(&target, device));
    }
    Ok(Some(target))
}

/// Looks for a device in a directory that is not the container's to fill.
fn expect(root: &Root, device: &Device) -> Result<()> {
    let missing = |text| {
        with_hint(
            text,
            "what is bound on /dev is another's, and nothing is made in it; leave the device out",
        )
    };
    let parent = device.path.parent().unwrap_or(Path::new("/"));
    let name = Path::new(device.path.file_name().unwrap_or_default());
    let found = root
        .open(parent, libc::O_PATH | libc::O_DIRECTORY)
        .and_then(|directory| fs::lstatat(directory.as_fd(), name));
    match found {
        Err(error) if error.errno == Errno::ENOENT => Err(missing("the bound /dev has no such device")),
        Err(error) => Err(error.into()),
        Ok(found) if is_same(&found, device) => Ok(()),
        Ok(_) => Err(missing("the bound /dev has something else at this path")),
    }
}

/// config-linux.md, "Dev symbolic links", and /dev/ptmx, which must be the container's own devpts.
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes the links of /dev, unless the whole directory is the host's.
pub fn link(root: &Root, plan: &Rootfs) -> Result<()> {
    if !plan.fill_dev {
        return Ok(());
    }
    let directory = root.make_directory(Path::new("/dev"))?;
    let link = |name: &str, target: &str| match fs::symlinkat(Path::new(target), directory.as_fd(), Path::new(name)) {
        // What the image brought itself is kept.
        Err(error) if error.errno == Errno::EEXIST => Ok(()),
        other => other,
    };
    for (name, target) in LINKS {
        link(name, target)?;
    }
    if root.open(Path::new("/proc/kcore"), libc::O_PATH).is_ok() {
        link("core", "/proc/kcore")?;
    }
    link_multiplexer(root, &directory)
}

/// config-linux.md wants /dev/ptmx in every container, with or without a devpts: a hook may bring that. What the image has
/// there is replaced, because the ptys of another multiplexer would not be the container's.
fn link_multiplexer(root: &Root, directory: &OwnedFd) -> Result<()> {
    const TARGET: &str = "pts/ptmx";
    let name = Path::new("ptmx");
    let link = || fs::symlinkat(Path::new(TARGET), directory.as_fd(), name);
    match link() {
        Err(error) if error.errno == Errno::EEXIST => {}
        other => return Ok(other?),
    }
    if fs::readlinkat(directory.as_fd(), c"ptmx").is_ok_and(|target| target == TARGET.as_bytes()) {
        return Ok(());
    }
    match fs::unlinkat(directory.as_fd(), name, false) {
        Ok(()) => Ok(link()?),
        // Mounted there, or on a read-only disk: without a devpts it may as well stay.
        Err(error) if matches!(error.errno, Errno::EBUSY | Errno::EROFS) && !has_devpts(root) => Ok(()),
        Err(error) if error.errno == Errno::EBUSY => Err(call_with_hint(
            error,
            "/dev/ptmx must be that of the container's own devpts, and something else is mounted there",
            "leave the mount on /dev/ptmx out",
        )),
        Err(error) => Err(error.into()),
    }
}

fn has_devpts(root: &Root) -> bool {
    root.open(Path::new("/dev/pts/ptmx"), libc::O_PATH).is_ok()
}
