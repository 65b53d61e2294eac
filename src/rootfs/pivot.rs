//! The change of the root. Run by init when all mounts stand; afterwards the host's files are out of reach.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{Root, mask};
use crate::error::{Context, Result};
use crate::plan::{RootMode, Rootfs};
use crate::sys::mount::MOUNT_ATTR_RDONLY;
use crate::sys::{fs, mount};

pub fn change_root(root: &Root, plan: &Rootfs) -> Result<()> {
    if plan.root_mode == RootMode::Chroot {
        fs::fchdir(root.fd())?;
        fs::chroot(Path::new("."))?;
        return Ok(fs::chdir(Path::new("/"))?);
    }
    if plan.no_pivot {
        // For a root on the initial ramfs, which pivot_root(2) refuses. The old root stays mounted below, out of reach
        // only for processes that cannot leave a chroot: hence no default.
        hide_host_instances(&plan.path)?;
        let slash = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
        match mount::attach(root.fd(), slash.as_fd()) {
            // It lies there already, because the way to its own place is closed.
            Err(error) if error.errno == Errno::ELOOP => {}
            other => other?,
        }
        fs::fchdir(root.fd())?;
        fs::chroot(Path::new("."))?;
    } else {
        let old = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
        fs::fchdir(root.fd())?;
        mount::pivot_root_here()?;
        // The old root now lies over the new one at ".". What is unmounted here must not be unmounted on the host.
        mount::set_attributes(old.as_fd(), 0, 0, libc::MS_SLAVE, true)?;
        mount::detach(Path::new("."))?;
    }
    Ok(fs::chdir(Path::new("/"))?)
}

/// Takes the host's procfs and sysfs out of a mount namespace in which the old root stays. In a user namespace the kernel
/// allows a new instance of these only where another is to be seen in full, and the masks of a container would count
/// for nothing if that were the host's, lying below.
fn hide_host_instances(root: &Path) -> Result<()> {
    let mounts = std::fs::read("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    for place in whole_instances(&mounts) {
        if place.starts_with(root) {
            continue;
        }
        let target = match fs::open(&place, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW) {
            // What it was mounted in has gone already.
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => continue,
            other => other?,
        };
        match mount::set_attributes(target.as_fd(), 0, 0, libc::MS_SLAVE, true).and_then(|()| mount::detach(&place)) {
            // Locked, by a mount namespace with more privilege: covered instead.
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EPERM) => {
                mount::attach(mask::empty_directory()?.as_fd(), target.as_fd())?;
            }
            other => other?,
        }
    }
    Ok(())
}

/// Where mountinfo (proc_pid_mountinfo(5)) has a procfs or sysfs whose own root is mounted.
fn whole_instances(mounts: &[u8]) -> Vec<PathBuf> {
    let lines = mounts.split(|byte| *byte == b'\n');
    let place = |line: &[u8]| {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let dash = words.iter().position(|word| *word == b"-")?;
        let whole = words.get(3) == Some(&b"/".as_slice());
        let kind = words.get(dash + 1)?;
        (whole && (*kind == b"proc" || *kind == b"sysfs")).then(|| words.get(4).map(|path| unescaped(path)))?
    };
    lines.filter_map(place).collect()
}

/// The kernel writes space, tab, line feed and backslash as three octal digits after a backslash.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

/// The root mount's own last flags.
pub fn finish(root: &Root, plan: &Rootfs) -> Result<()> {
    if let Some(propagation) = plan.final_propagation {
        let recursive = propagation & libc::MS_REC != 0;
        mount::set_attributes(root.fd(), 0, 0, propagation & !libc::MS_REC, recursive)?;
    }
    if plan.readonly {
        mount::set_attributes(root.fd(), MOUNT_ATTR_RDONLY, 0, 0, false)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_the_host_are_found() {
        let text = b"21 1 0:20 / /proc rw - proc proc rw\n\
            22 1 0:21 /self /half rw - proc proc rw\n\
            23 1 0:22 / /a\\040b\\134 rw shared:3 - sysfs sysfs rw\n\
            24 1 0:23 / /tmp rw - tmpfs proc rw\n";
        assert_eq!(whole_instances(text), [Path::new("/proc"), Path::new("/a b\\")]);
    }

    proptest::proptest! {
        #[test]
        fn no_mountinfo_makes_it_panic(text in "([0-9]{0,3}| |/|-|proc|sysfs|\\\\[0-9]{0,4}|\n|é){0,40}") {
            assert!(whole_instances(text.as_bytes()).len() <= text.lines().count());
        }
    }
}
