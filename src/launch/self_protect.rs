//! Our own binary must not be writable through a container.
//!
//! Init is a copy of the runtime, so until execve its `/proc/PID/exe` is the host's binary, and an image can make init
//! execute it once more inside (`#!/proc/self/exe`). Whoever keeps a handle on that file in the container can write to
//! it when the last user has gone, and the host's next container runs the attacker's code as root (CVE-2019-5736).
//!
//! So the verbs that put a process into a container run from an object that cannot be written to: a private read-only
//! mount of the binary, attached nowhere. Opening `/proc/PID/exe` for writing is then `EROFS` for everybody, and since
//! the mount is in no namespace, nobody can make it writable again. It costs one execve at the start and copies
//! nothing. Where mounting is not permitted (a plain user) the binary is copied into a sealed memfd.
//!
//! No other mount will do, not even a read-only one: an upgrade of the host remounts /usr, and a handle from before is then a
//! way to write.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::error::{Context, Result, bail};
use crate::log;
use crate::sys::mount::MOUNT_ATTR_RDONLY;
use crate::sys::{fs, mount, process};

/// The verbs that put a process of ours into a container, as words of the command line.
pub const VERBS: [&CStr; 4] = [c"create", c"exec", c"mounts", c"run"];

/// Whether a command line calls one of [`VERBS`], or merely has such a word, as an id perhaps: it is asked before anything
/// is understood, and one start too many does no harm. The kernel's entry (`sys::entry`) asks the same of the same words.
pub fn is_called_for(words: impl IntoIterator<Item = OsString>) -> bool {
    let is_one = |word: &OsString| VERBS.iter().any(|verb| verb.to_bytes() == word.as_encoded_bytes());
    words.into_iter().any(|word| is_one(&word))
}

/// What the kernel calls a file that is itself the root of a mount in no namespace. In a namespace it has a path, and only a
/// directory can have this one.
const DETACHED: &[u8] = b"/";
/// And one of [`sealed_copy`], followed by " (deleted)".
const MEMFD: &[u8] = b"/memfd:orlop";

/// Goes on as the protected binary; returns when this process already is. Called first of all, when nothing is open
/// and nothing is done that a second start would do twice.
pub fn protect() -> Result<()> {
    let own = fs::open(Path::new("/proc/self/exe"), libc::O_RDONLY)?;
    let path = fs::readlinkat(fs::CWD, c"/proc/self/exe")?;
    let copied = path.starts_with(MEMFD);
    if path == DETACHED && fs::is_on_read_only_mount(own.as_fd())? || copied && fs::is_sealed(own.as_fd()) {
        process::set_name(c"orlop");
        return Ok(());
    }
    // A copy, and yet not protected: another one would not be either.
    if path == DETACHED || copied {
        bail!("the protected copy of the binary is writable");
    }
    let copy = read_only_mount(&own).or_else(|error| {
        log::debug(|| format!("no private mount of the own binary ({error:#}); copying it"));
        sealed_copy(own)
    })?;
    let arguments: Vec<CString> = std::env::args_os()
        .map(|argument| CString::new(argument.into_vec()))
        .collect::<Result<_, _>>()?;
    match process::execve_fd(copy.as_fd(), &arguments).context("executing the protected copy of the own binary")? {}
}

fn read_only_mount(own: &OwnedFd) -> Result<OwnedFd> {
    let copy = mount::clone_tree(own.as_fd(), Path::new(""), false)?;
    mount::set_attributes(copy.as_fd(), MOUNT_ATTR_RDONLY, 0, libc::MS_PRIVATE, false)?;
    Ok(copy)
}

fn sealed_copy(own: OwnedFd) -> Result<OwnedFd> {
    let copy = fs::memfd(c"orlop", true, true)?;
    while fs::sendfile(copy.as_fd(), own.as_fd(), 1 << 30)? > 0 {}
    fs::seal(copy.as_fd())?;
    Ok(copy)
}
