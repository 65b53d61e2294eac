//! The container's terminal: a pty in the container's devpts, and /dev/console. Run by init, before the root is changed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::Root;
use crate::error::{At, Context, Result, call_with_hint, with_hint};
use crate::plan::DevConsole;
use crate::sys::{Arg, Call, SysError, Syscall, fs, mount, terminal};

/// Both ends of a pseudo-terminal.
pub struct Console {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// Opens a new pty in the container's devpts, so that its name is valid in the container.
pub fn open(root: &Root, size: Option<(u16, u16)>) -> Result<Console> {
    let master = open_multiplexer(root).context(At::new("process.terminal"))?;
    terminal::unlock(master.as_fd())?;
    // By descriptor: another process that shares the mount could replace the path /dev/pts/N.
    let slave = terminal::peer(master.as_fd())?;
    if let Some((rows, columns)) = size {
        terminal::set_size(slave.as_fd(), rows, columns)?;
    }
    Ok(Console { master, slave })
}

/// Opens `ptmx` only if it is the one of a devpts: merely opening another device of the image could have effects. It does
/// not use /proc/self/fd, because the container's procfs does not show processes outside of its pid namespace.
fn open_multiplexer(root: &Root) -> Result<OwnedFd> {
    let absent = |error: SysError| match error.errno {
        Errno::ENOENT => call_with_hint(
            error,
            "needs a devpts at /dev/pts in the container",
            "add a mount of type \"devpts\" with the option \"newinstance\" at /dev/pts",
        ),
        _ => error.into(),
    };
    let name = Path::new("ptmx");
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let directory = root.open(Path::new("/dev/pts"), flags).map_err(absent)?;
    if fs::type_of(directory.as_fd())? == fs::FsType::DEVPTS {
        let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_SYMLINKS;
        match fs::openat2(directory.as_fd(), name, libc::O_RDWR | libc::O_NOCTTY, 0, resolve) {
            // Something else is mounted on it.
            Err(error) if error.errno == Errno::EXDEV => {}
            other => return Ok(other?),
        }
    } else {
        fs::lstatat(directory.as_fd(), name).map_err(absent)?;
    }
    Err(with_hint(
        "/dev/pts/ptmx in the container is not the pseudo-terminal multiplexer of a devpts",
        "mount a devpts at /dev/pts in the container",
    ))
}

/// Opens the slave again through this root, so that its name is valid there. None if the root has no devpts at that path, or
/// another instance.
pub fn reopen_slave(root: &Root, slave: &OwnedFd) -> Result<Option<OwnedFd>> {
    let stat = fs::fstat(slave.as_fd())?;
    let Ok(directory) = root.open(Path::new("/dev/pts"), libc::O_PATH | libc::O_DIRECTORY) else {
        return Ok(None);
    };
    // In the same file system, the number can only be the name of the same pty.
    if fs::fstat(directory.as_fd())?.st_dev != stat.st_dev {
        return Ok(None);
    }
    let name = libc::minor(stat.st_rdev).to_string();
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_NOFOLLOW;
    Ok(Some(fs::openat(directory.as_fd(), Path::new(&name), flags, 0)?))
}

/// Binds the terminal on /dev/console.
pub fn bind(root: &Root, console: &Console, place: DevConsole) -> Result<()> {
    let dev = Path::new("/dev");
    let directory = match place {
        DevConsole::Create => root.make_directory(dev)?,
        DevConsole::Existing => root.open(dev, libc::O_PATH | libc::O_DIRECTORY)?,
        DevConsole::None => return Ok(()),
    };
    let name = Path::new("console");
    // Never through a symbolic link in the image: the file is created, or an existing one is opened unless it is a link.
    if place == DevConsole::Create {
        match fs::mknodat(directory.as_fd(), name, libc::S_IFREG | 0o620, 0) {
            Err(error) if error.errno != Errno::EEXIST => return Err(error.into()),
            _ => {}
        }
    }
    let target = match fs::openat(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0) {
        Err(error) if error.errno == Errno::ENOENT && place == DevConsole::Existing => return Ok(()),
        other => other?,
    };
    if fs::fstat(target.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFLNK {
        if place == DevConsole::Existing {
            return Ok(());
        }
        return Err(SysError::new(
            Call::new(
                Syscall::Openat,
                vec![name.into(), Arg::OpenFlags(libc::O_PATH | libc::O_NOFOLLOW)],
            ),
            Errno::ELOOP,
        ))
        .context("the image has a symbolic link at /dev/console");
    }
    let tree = mount::clone_tree(console.slave.as_fd(), Path::new(""), false)?;
    Ok(mount::attach(tree.as_fd(), target.as_fd())?)
}
