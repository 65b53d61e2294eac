//! Device nodes and the symbolic links in /dev. Run by init, before the root is changed, with umask 0. The runtime runs
//! [`prepare`] before the clone.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{Root, diagnose};
use crate::error::{At, Context, Error, Result, call_with_hint, errno, with_hint};
use crate::plan::{Device, IdMapping, IdMaps, Rootfs};
use crate::sys::fs_context::FsContext;
use crate::sys::{SysError, SysResult, Syscall, attributes, fs, mount};

const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// Adds the device to an error. The spec's default devices have no path in config.json.
trait WithDevice<T> {
    fn with_device(self, device: &Device) -> Result<T>;
}

impl<T, E: Into<Error>> WithDevice<T> for std::result::Result<T, E> {
    fn with_device(self, device: &Device) -> Result<T> {
        match device.index {
            Some(index) => self.with_context(|| At::object(format!("linux.devices[{index}]"), device.path.display())),
            None => self.with_context(|| format!("default device {:?}", device.path)),
        }
    }
}

/// In a user namespace mknod(2) is not permitted, and nodes in a file system that belongs to a user namespace cannot be
/// opened as devices. So the runtime creates the nodes in a tmpfs of the host's user namespace, each named by its index in
/// the plan, and init bind mounts them one by one. They belong to the container's users. None if the runtime itself is not
/// permitted to create devices.
pub fn prepare(plan: &Rootfs, maps: &IdMaps) -> Result<Option<OwnedFd>> {
    if !plan.devices.iter().any(is_bindable) {
        return Ok(None);
    }
    let not_permitted = |error: &SysError| error.errno == Errno::EPERM;
    let tree = match nodes_directory() {
        Err(error) if not_permitted(&error) => return Ok(None),
        other => other?,
    };
    for (number, device) in plan
        .devices
        .iter()
        .enumerate()
        .filter(|(_, device)| is_bindable(device))
    {
        let name = PathBuf::from(number.to_string());
        let make = || -> SysResult<()> {
            fs::mknodat(tree.as_fd(), &name, device.kind | device.mode, device.number)?;
            // The caller's umask is still in effect here.
            attributes::chmodat(tree.as_fd(), &name, device.mode)?;
            let (uid, gid) = (host_id(&maps.uid, device.uid), host_id(&maps.gid, device.gid));
            attributes::chownat(tree.as_fd(), &name, uid, gid)
        };
        match make() {
            Err(error) if not_permitted(&error) => return Ok(None),
            other => other.with_device(device)?,
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

/// The host's ID for an ID of the container. For an unmapped ID, the value that leaves an owner unchanged.
fn host_id(maps: &[IdMapping], id: u32) -> u32 {
    maps.iter().find_map(|map| map.to_host(id)).unwrap_or(u32::MAX)
}

/// Whether the device is bind mounted in a user namespace; a FIFO can be created there.
fn is_bindable(device: &Device) -> bool {
    device.kind != libc::S_IFIFO && !device.expected
}

/// Creates the nodes of the plan. In a user namespace, bind mounts those that the runtime has prepared, or the host's.
pub fn apply(root: &Root, plan: &Rootfs, user_namespace: bool, prepared: Option<OwnedFd>) -> Result<()> {
    let mut trees = match prepared {
        Some(directory) => node_mounts(root, plan, &directory)?.into_iter(),
        None => Vec::new().into_iter(),
    };
    let foreign = ForeignDev::detect(root, plan)?;
    let explain = |error: Error, device: &Device| diagnose::of_space(error, root, &device.path);
    // Nearly all devices are in one directory, which is opened only once.
    let mut directory: Option<(PathBuf, OwnedFd)> = None;
    for device in &plan.devices {
        if device.expected {
            expect_node(root, device).with_device(device)?;
            continue;
        }
        if user_namespace && is_bindable(device) {
            bind(root, device, trees.next())
                .map_err(|error| explain(error, device))
                .with_device(device)?;
            continue;
        }
        let parent = device.path.parent().unwrap_or(Path::new("/"));
        let directory = match &directory {
            Some((path, fd)) if path == parent => fd,
            _ => {
                let parent_fd = root.make_directory(parent);
                let fd = parent_fd
                    .map_err(|error| explain(error.into(), device))
                    .with_device(device)?;
                &directory.insert((parent.to_path_buf(), fd)).1
            }
        };
        if foreign.contains(directory)? {
            expect_node(root, device).with_device(device)?;
            continue;
        }
        match create_node(root, directory, device) {
            // A rootless engine may run the runtime in a user namespace that the config does not mention.
            Err(error) if is_bindable(device) && errno(&error) == Some(Errno::EPERM) => bind(root, device, None),
            other => other,
        }
        .map_err(|error| explain(error, device))
        .with_device(device)?;
    }
    Ok(())
}

/// The file system of a bind-mounted /dev, in which nothing may be created; none if it is the one of the image. A symbolic
/// link in the image may lead there too.
struct ForeignDev(Option<u64>);

impl ForeignDev {
    fn detect(root: &Root, plan: &Rootfs) -> Result<Self> {
        if plan.fill_dev || plan.devices.is_empty() {
            return Ok(ForeignDev(None));
        }
        let dev = root.open(Path::new("/dev"), libc::O_PATH | libc::O_DIRECTORY)?;
        let (dev, image) = (fs::fstat(dev.as_fd())?.st_dev, fs::fstat(root.fd())?.st_dev);
        Ok(ForeignDev((dev != image).then_some(dev)))
    }

    fn contains(&self, directory: &OwnedFd) -> Result<bool> {
        match self.0 {
            Some(device) => Ok(fs::fstat(directory.as_fd())?.st_dev == device),
            None => Ok(false),
        }
    }
}

/// Makes a separate mount of each prepared node. For this their directory must be attached in the mount namespace (before
/// Linux 6.15 a part of a detached tree cannot be cloned). It is attached over the root, which always exists; the handle on
/// the root refers to the mount below.
fn node_mounts(root: &Root, plan: &Rootfs, directory: &OwnedFd) -> Result<Vec<OwnedFd>> {
    mount::attach(directory.as_fd(), root.fd())?;
    let mut trees = Vec::new();
    for (number, device) in plan
        .devices
        .iter()
        .enumerate()
        .filter(|(_, device)| is_bindable(device))
    {
        let name = PathBuf::from(number.to_string());
        trees.push(mount::clone_tree(directory.as_fd(), &name, false).with_device(device)?);
    }
    mount::detach_behind(directory.as_fd())?;
    Ok(trees)
}

fn create_node(root: &Root, directory: &OwnedFd, device: &Device) -> Result<()> {
    let name = Path::new(device.path.file_name().unwrap_or_default());
    match fs::mknodat(directory.as_fd(), name, device.kind | device.mode, device.number) {
        Ok(()) if (device.uid, device.gid) == (0, 0) => Ok(()),
        Ok(()) => {
            // By descriptor, never through a symbolic link.
            let node = fs::openat(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
            Ok(fs::fchown(node.as_fd(), device.uid, device.gid)?)
        }
        Err(error) if error.errno == Errno::EEXIST => {
            let node = fs::openat(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
            use_existing(root, &node, device)
        }
        Err(error) => Err(error.into()),
    }
}

/// Accepts an existing node at a device's path. If it belongs to the image, it gets the owner and mode of the config. If it
/// belongs to another mount, these are not changed.
fn use_existing(root: &Root, node: &OwnedFd, device: &Device) -> Result<()> {
    let found = fs::fstat(node.as_fd())?;
    if !is_same(&found, device) {
        return if is_replaced(node, device)? {
            Ok(())
        } else {
            Err(path_in_use(node, device))
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

/// Whether the config mounts something over a default device that it does not list, such as /dev/urandom on /dev/random.
fn is_replaced(found: &OwnedFd, device: &Device) -> Result<bool> {
    Ok(device.index.is_none() && fs::is_mount_root(found.as_fd())?)
}

fn is_same(found: &libc::stat, device: &Device) -> bool {
    found.st_mode & libc::S_IFMT == device.kind && (device.kind == libc::S_IFIFO || found.st_rdev == device.number)
}

fn path_in_use(found: &OwnedFd, device: &Device) -> Error {
    let hint = match fs::is_mount_root(found.as_fd()) {
        Ok(true) => "it is a mount point: remove the device from linux.devices, or the mount from mounts",
        _ if device.index.is_none() => {
            "every container gets this device: remove the existing file from the image, or mount a tmpfs on /dev"
        }
        _ => "remove it from the image, or choose another path",
    };
    with_hint("another file already exists at this path", hint)
}

fn bind(root: &Root, device: &Device, prepared: Option<OwnedFd>) -> Result<()> {
    let tree = match prepared {
        Some(tree) => tree,
        None => clone_host_device(device)?,
    };
    match mount_point(root, device)? {
        Some(target) => Ok(mount::attach(tree.as_fd(), target.as_fd())?),
        None => Ok(()),
    }
}

/// A mount of the host's device node. Its owner cannot be changed from a user namespace.
fn clone_host_device(device: &Device) -> Result<OwnedFd> {
    let (text, hint) = (
        "the host has no such device at this path, and devices cannot be created in a user namespace",
        "use the path of the device on the host",
    );
    let tree = mount::clone_tree(fs::CWD, &device.path, false).map_err(|error| match error.errno {
        Errno::ENOENT => call_with_hint(error, text, hint),
        _ => error.into(),
    })?;
    let found = fs::fstat(tree.as_fd())?;
    if !is_same(&found, device) {
        return Err(with_hint(text, hint));
    }
    // 0 is what configs contain if the owner does not matter.
    let accepts = |wanted: u32, found: u32| wanted == 0 || wanted == found;
    if !accepts(device.uid, found.st_uid) || !accepts(device.gid, found.st_gid) {
        return Err(with_hint(
            format!(
                "the host's device belongs to {}:{} here, and an unprivileged user cannot change that to {}:{}",
                found.st_uid, found.st_gid, device.uid, device.gid
            ),
            "remove uid and gid, or run as root",
        ));
    }
    mount::set_attributes(tree.as_fd(), NOSUID | NOEXEC, 0, 0, false)?;
    Ok(tree)
}

/// The mount point for a device: an empty file, which is created if missing and never through a symbolic link. It may exist
/// from an earlier container, or be the same device already. None if the config mounts something else there.
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
        return Err(path_in_use(&target, device));
    }
    Ok(Some(target))
}

/// Checks that a device exists in a directory in which nothing may be created.
fn expect_node(root: &Root, device: &Device) -> Result<()> {
    let missing = |text| {
        with_hint(
            text,
            "/dev is a bind mount, in which the runtime creates nothing; remove the device from the config",
        )
    };
    let parent = device.path.parent().unwrap_or(Path::new("/"));
    let name = Path::new(device.path.file_name().unwrap_or_default());
    let found = root
        .open(parent, libc::O_PATH | libc::O_DIRECTORY)
        .and_then(|directory| fs::lstatat(directory.as_fd(), name));
    match found {
        Err(error) if error.errno == Errno::ENOENT => Err(missing("the bind-mounted /dev has no such device")),
        Err(error) => Err(error.into()),
        Ok(found) if is_same(&found, device) => Ok(()),
        Ok(_) => Err(missing("the bind-mounted /dev has another file at this path")),
    }
}

/// config-linux.md, "Dev symbolic links". /dev/ptmx, which must lead to the container's own devpts, comes last.
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Creates the symbolic links in /dev, unless /dev is a bind mount.
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

/// config-linux.md requires /dev/ptmx in every container, even without a devpts, which a hook may mount later. An existing
/// file of the image is replaced, because the ptys of another multiplexer would not be the container's.
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
    // The kernel refuses to remove a mount point only in the mount namespace of the caller. Elsewhere the mount would go too.
    let existing = fs::openat(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let removed = match fs::is_mount_root(existing.as_fd())? {
        true => Err(SysError::new(Syscall::Unlink.of(name), Errno::EBUSY)),
        false => fs::unlinkat(directory.as_fd(), name, false),
    };
    match removed {
        Ok(()) => Ok(link()?),
        // A mount point, or on a read-only disk: without a devpts it can stay.
        Err(error) if matches!(error.errno, Errno::EBUSY | Errno::EROFS) && !has_devpts(root) => Ok(()),
        Err(error) if error.errno == Errno::EBUSY => Err(call_with_hint(
            error,
            "/dev/ptmx must be the one of the container's devpts, but something else is mounted there",
            "remove the mount on /dev/ptmx",
        )),
        Err(error) => Err(error.into()),
    }
}

fn has_devpts(root: &Root) -> bool {
    root.open(Path::new("/dev/pts/ptmx"), libc::O_PATH).is_ok()
}
