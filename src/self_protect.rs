//! Keeps the runtime's binary from being written to through a container.
//!
//! Init is a copy of the runtime, so until execve its `/proc/PID/exe` is the host's binary, and an image can make init
//! execute it again inside (`#!/proc/self/exe`). A process in the container that keeps a handle on that file can write to
//! it after the last user is gone, and the host's next container runs the attacker's code as root (CVE-2019-5736).
//!
//! Therefore the verbs that put a process into a container run from an object that cannot be written to: a private read-only
//! mount of the binary that is not attached anywhere. Opening `/proc/PID/exe` for writing then fails with `EROFS`, and because
//! the mount is in no namespace it cannot be made writable again. It costs one execve at the start and copies nothing. An
//! unprivileged user, who may not mount, gets a copy of the binary in a sealed memfd.
//!
//! No other mount is good enough, not even a read-only one: an upgrade of the host may remount /usr, and an earlier handle
//! then becomes writable.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Mutex;

use nix::errno::Errno;

use crate::error::{Context, Result, bail};
use crate::log;
use crate::sys::mount::MOUNT_ATTR_RDONLY;
use crate::sys::{descriptor, execve, fs, memfd, mount, process};

/// The verbs that put a process of ours into a container, as words of the command line.
pub const VERBS: [&CStr; 4] = [c"create", c"exec", c"mounts", c"run"];

/// Whether a word of the command line is one of the verbs that need protection. `byte` gives the bytes of the word, and a NUL
/// after the last one; nothing is read after that.
///
/// The kernel's entry (`entry.rs`) asks this before the C library works, so bytes are compared one by one: a comparison of
/// slices is a call of memcmp.
pub fn is_verb(byte: impl Fn(usize) -> u8) -> bool {
    VERBS.iter().any(|verb| {
        let mut bytes = verb.to_bytes_with_nul().iter().enumerate();
        bytes.all(|(index, expected)| byte(index) == *expected)
    })
}

/// Whether a command line calls one of these verbs, or only contains such a word, perhaps as an ID: this is asked before the
/// command line is parsed, and an unnecessary second start does no harm.
pub fn is_called_for(words: impl IntoIterator<Item = OsString>) -> bool {
    words.into_iter().any(|word| {
        let bytes = word.as_encoded_bytes();
        is_verb(|index| bytes.get(index).copied().unwrap_or(0))
    })
}

/// The path that the kernel shows for a file that is the root of a mount in no namespace. In a namespace only a directory can
/// have this path.
const DETACHED: &[u8] = b"/";
/// The path of a [`sealed_copy`], followed by " (deleted)".
const MEMFD: &[u8] = b"/memfd:orlop";
/// The descriptor of the mount, until [`let_go`].
static HELD: Mutex<Option<OwnedFd>> = Mutex::new(None);
/// Its least number: out of the way of descriptors that the caller passes.
const FROM: i32 = 512;
/// How often sealing is tried. It fails with EBUSY while the kernel itself holds pages of the file, for example to migrate
/// them; each time it waits up to 150 ms for them.
const ATTEMPTS_TO_SEAL: usize = 8;

/// Continues as the protected binary; returns if this process already is. Called first, before anything is opened or done that
/// a second start would repeat.
pub fn protect() -> Result<()> {
    let own = fs::open(Path::new("/proc/self/exe"), libc::O_RDONLY)?;
    let path = fs::readlinkat(fs::CWD, c"/proc/self/exe")?;
    let copied = path.starts_with(MEMFD);
    if path == DETACHED && fs::is_on_read_only_mount(own.as_fd())? || copied && memfd::is_sealed(own.as_fd()) {
        process::set_name(c"orlop");
        hold(&own)?;
        return Ok(());
    }
    // A copy that is not protected: another copy would not be either.
    if path == DETACHED || copied {
        bail!("the protected copy of the binary is writable");
    }
    let copy = read_only_mount(&own).or_else(|error| {
        log::debug(|| format!("cannot mount the binary read-only ({error:#}); copying it"));
        sealed_copy(own)
    })?;
    let arguments: Vec<CString> = std::env::args_os()
        .map(|argument| CString::new(argument.into_vec()))
        .collect::<Result<_, _>>()?;
    match execve::execve_fd(copy.as_fd(), &arguments).context("executing the protected copy of the binary")? {}
}

/// Keeps the descriptor by which the first start has executed the mount, if it is still open.
fn hold(own: &OwnedFd) -> Result<()> {
    let Some(number) = execve::program_descriptor() else {
        return Ok(());
    };
    // Closed, if this function's caller has executed the mount.
    let Ok(open) = descriptor::stat(number) else {
        return Ok(());
    };
    let program = fs::fstat(own.as_fd())?;
    // Not if the caller has executed us by this name.
    if (open.st_dev, open.st_ino) == (program.st_dev, program.st_ino)
        && let Ok(mut held) = HELD.lock()
    {
        // Without a higher number it is closed now.
        *held = descriptor::move_up(number, FROM).ok();
    }
    Ok(())
}

/// Closes the descriptor of the mount. As the last one of a mount in no namespace it makes the kernel wait until no processor can be
/// using the mount any more (for RCU): the verbs do this while they wait for another process anyway.
pub fn let_go() {
    if let Ok(mut held) = HELD.lock() {
        *held = None;
    }
}

/// The same if the descriptor could be taken for one of those below `end`, which the caller passes.
pub fn let_go_below(end: i32) {
    if end > FROM {
        let_go();
    }
}

/// How [`protect`] would protect the binary for this user; none if it could not. The attempt leaves nothing behind.
pub fn means() -> Option<&'static str> {
    let own = fs::open(Path::new("/proc/self/exe"), libc::O_RDONLY).ok()?;
    if read_only_mount(&own).is_ok() {
        return Some("read-only mount");
    }
    sealed_copy(own).is_ok().then_some("sealed copy in memory")
}

fn read_only_mount(own: &OwnedFd) -> Result<OwnedFd> {
    let copy = mount::clone_tree(own.as_fd(), Path::new(""), false)?;
    mount::set_attributes(copy.as_fd(), MOUNT_ATTR_RDONLY, 0, libc::MS_PRIVATE, false)?;
    Ok(copy)
}

fn sealed_copy(own: OwnedFd) -> Result<OwnedFd> {
    let copy = memfd::create(c"orlop", true, true)?;
    while fs::sendfile(copy.as_fd(), own.as_fd(), 1 << 30)? > 0 {}
    let mut sealed = memfd::seal(copy.as_fd());
    for _ in 1..ATTEMPTS_TO_SEAL {
        if !matches!(&sealed, Err(error) if error.errno == Errno::EBUSY) {
            break;
        }
        sealed = memfd::seal(copy.as_fd());
    }
    sealed?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_are_verbs_that_need_protection() {
        let table = [
            ("run", true),
            ("create", true),
            ("exec", true),
            ("mounts", true),
            ("", false),
            ("r", false),
            ("ru", false),
            ("runs", false),
            ("Run", false),
            ("state", false),
            ("--run", false),
        ];
        for (word, expected) in table {
            assert_eq!(is_called_for([word.into()]), expected, "{word:?}");
            assert_eq!(is_called_for(["state".into(), word.into()]), expected, "{word:?}");
            // As the kernel's entry asks, which must not read after the NUL.
            let with_nul = [word.as_bytes(), b"\0"].concat();
            assert_eq!(is_verb(|index| with_nul[index]), expected, "{word:?}");
        }
        assert!(!is_called_for([]));
    }
}
