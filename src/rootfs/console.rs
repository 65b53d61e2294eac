//! The container's terminal: a pty of its own devpts, and /dev/console. Run by init, before the root is changed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::Root;
use crate::error::{At, Context, Result, bail, cured};
use crate::sys::{SysError, fs, mount, terminal};

/// Both ends of a pseudo-terminal.
pub struct Console {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// Opens a new pty in the container's devpts, so that its name is valid inside.
pub fn open(root: &Root, size: Option<(u16, u16)>) -> Result<Console> {
    let master = root
        .open(Path::new("/dev/pts/ptmx"), libc::O_RDWR | libc::O_NOCTTY)
        .map_err(|error| match error.errno {
            Errno::ENOENT => cured(
                error,
                "needs a devpts at /dev/pts in the container",
                "add a mount of type \"devpts\" with the option \"newinstance\" at /dev/pts",
            ),
            _ => error.into(),
        })
        .context(At::new("process.terminal"))?;
    let stat = fs::fstat(master.as_fd())?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFCHR || stat.st_rdev != libc::makedev(5, 2) {
        bail!("/dev/pts/ptmx of the container is not the pty multiplexer");
    }
    terminal::unlock(master.as_fd())?;
    // By descriptor: the path /dev/pts/N could have been swapped by somebody who shares the mount.
    let slave = terminal::peer(master.as_fd())?;
    if let Some((rows, columns)) = size {
        terminal::set_size(slave.as_fd(), rows, columns)?;
    }
    Ok(Console { master, slave })
}

/// Binds the terminal on /dev/console.
pub fn bind(root: &Root, console: &Console) -> Result<()> {
    let (directory, name) = root.make_parent(Path::new("/dev/console"))?;
    let name = Path::new(&name);
    // Never through a link of the image: made new, or opened as it is and refused if it is a link.
    match fs::mknodat(directory.as_fd(), name, libc::S_IFREG | 0o620, 0) {
        Err(error) if error.errno != Errno::EEXIST => return Err(error.into()),
        _ => {}
    }
    let target = fs::openat(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    if fs::fstat(target.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFLNK {
        return Err(SysError::new("openat(\"/dev/console\", O_NOFOLLOW)", Errno::ELOOP))
            .context("the image has a symbolic link at /dev/console");
    }
    let tree = mount::clone_tree(console.slave.as_fd(), Path::new(""), false)?;
    Ok(mount::attach(tree.as_fd(), target.as_fd())?)
}
