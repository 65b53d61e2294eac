//! Device nodes and the links of /dev. Run by init, before the root is changed, with umask 0.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Root;
use crate::bundle::plan::{Device, Rootfs};
use crate::error::{At, Context, Result, hinted};
use crate::sys::{fs, mount};

/// Makes the nodes of the plan. In a user namespace mknod(2) is forbidden, so the host's nodes are bound instead.
pub fn apply(root: &Root, plan: &Rootfs, user_namespace: bool) -> Result<()> {
    // Nearly all devices share one directory; it is opened once.
    let mut directory: Option<(PathBuf, OwnedFd)> = None;
    for device in &plan.devices {
        let at = || {
            let index = device.index.map_or("default".into(), |index| index.to_string());
            At::object(format!("linux.devices[{index}]"), device.path.display())
        };
        if user_namespace && device.kind != libc::S_IFIFO {
            bind(root, device).with_context(at)?;
            continue;
        }
        let parent = device.path.parent().unwrap_or(Path::new("/"));
        let directory = match &directory {
            Some((path, fd)) if path == parent => fd,
            _ => {
                let fd = root.make_directory(parent).with_context(at)?;
                &directory.insert((parent.to_path_buf(), fd)).1
            }
        };
        make(directory, device).with_context(at)?;
    }
    Ok(())
}

fn make(directory: &OwnedFd, device: &Device) -> Result<()> {
    let name = Path::new(device.path.file_name().unwrap_or_default());
    match fs::mknodat(directory.as_fd(), name, device.kind | device.mode, device.number) {
        Ok(()) => {}
        Err(error) if error.errno == Errno::EEXIST => {
            let found = fs::lstatat(directory.as_fd(), name)?;
            let same = found.st_mode & libc::S_IFMT == device.kind
                && (device.kind == libc::S_IFIFO || found.st_rdev == device.number);
            if !same {
                return Err(hinted(
                    "something else exists at this path already",
                    "remove it from the image, or choose another path",
                ));
            }
        }
        Err(error) => return Err(error.into()),
    }
    if (device.uid, device.gid) != (0, 0) {
        // By descriptor, and never through a link.
        let node = fs::openat(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        fs::fchown(node.as_fd(), device.uid, device.gid)?;
    }
    Ok(())
}

fn bind(root: &Root, device: &Device) -> Result<()> {
    let tree = mount::clone_tree(fs::CWD, &device.path, false)?;
    let found = fs::fstat(tree.as_fd())?;
    if found.st_mode & libc::S_IFMT != device.kind || found.st_rdev != device.number {
        return Err(hinted(
            "the host has no such device at this path, and a user namespace cannot make one",
            "use the path that the device has on the host",
        ));
    }
    let target = root.make_file(&device.path)?;
    Ok(mount::attach(tree.as_fd(), target.as_fd())?)
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
    if root.open(Path::new("/dev/pts/ptmx"), libc::O_PATH).is_ok() {
        match fs::unlinkat(directory.as_fd(), Path::new("ptmx"), false) {
            Err(error) if error.errno != Errno::ENOENT => return Err(error.into()),
            _ => link("ptmx", "pts/ptmx")?,
        }
    }
    Ok(())
}
