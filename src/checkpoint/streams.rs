//! The descriptors that a container has from its caller: its standard streams, and those of `--preserve-fds` after them. What is
//! behind them is not in the images; `restore` connects them to its own.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use crate::criu::rpc::{Criu_opts, Inherit_fd};
use crate::error::{Context, Result, with_hint};
use crate::mountinfo;
use crate::state::State;
use crate::state::record::Stream;
use crate::sys::descriptor;

/// The beginnings of the keys by which CRIU knows such a descriptor, see `--inherit-fd` in criu(8).
const KEYS: [&str; 4] = ["pipe:[", "socket:[", "file[", "tty["];

/// The majors of terminals, of linux/major.h: virtual consoles, /dev/tty and /dev/console, and those of devpts.
const TERMINALS: [u32; 10] = [4, 5, 136, 137, 138, 139, 140, 141, 142, 143];

/// Whether this name of a stream is a key.
pub fn is_key(name: &str) -> bool {
    KEYS.iter().any(|key| name.starts_with(key))
}

/// Tells a dump which files of init are outside of its mount namespace. Returns the keys of all streams.
pub fn for_dump(options: &mut Criu_opts, state: &State) -> Result<Vec<Option<String>>> {
    let text = mountinfo::read_of(state.pid)?;
    let mounts: HashSet<u64> = mountinfo::mounts(&text).map(|mount| mount.id).collect();
    let mut keys = Vec::new();
    for number in 0..state.streams.len().max(3) {
        let recorded = state.streams.get(number).copied().unwrap_or(Stream::Other).name();
        keys.push(match recorded {
            // By its inode number, so it does not matter what the program has done with the descriptor.
            Some(name) => Some(name),
            None => {
                let key = outside(state.pid, number, &mounts)?;
                options.external.extend(key.clone());
                key
            }
        });
    }
    Ok(keys)
}

/// The key of a file that no mount of the container contains; none for all others.
fn outside(pid: i32, number: usize, mounts: &HashSet<u64>) -> Result<Option<String>> {
    let link = format!("/proc/{pid}/fd/{number}");
    // The program may have closed it. A pipe or socket of its own has no path.
    if !std::fs::read_link(&link).is_ok_and(|file| file.is_absolute()) {
        return Ok(None);
    }
    let Ok(info) = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")) else {
        return Ok(None);
    };
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let mount: Option<u64> = mount.and_then(|id| id.trim().parse().ok());
    let Some(mount) = mount.filter(|id| !mounts.contains(id)) else {
        return Ok(None);
    };
    let file = std::fs::metadata(&link).with_context(|| link)?;
    if file.file_type().is_char_device() && TERMINALS.contains(&libc::major(file.rdev())) {
        return Ok(Some(format!("tty[{:x}:{:x}]", file.rdev(), file.dev())));
    }
    Ok(Some(format!("file[{mount:x}:{:x}]", file.ino())))
}

/// Connects the streams of the images to those of this process. Returns copies that have to be passed to CRIU, because the
/// numbers of the streams themselves are its own. `known`: how many descriptors the caller has passed.
pub fn for_restore(options: &mut Criu_opts, keys: Vec<Option<String>>, known: usize) -> Result<Vec<OwnedFd>> {
    let mut copies = Vec::new();
    let mut connected = HashSet::new();
    for (number, key) in keys.into_iter().enumerate().take(known) {
        let Some(key) = key else { continue };
        // Two streams may have been the same pipe.
        if !connected.insert(key.clone()) {
            continue;
        }
        if key.starts_with("file[") && cannot_seek(&descriptor::stat(number as i32)?) {
            return Err(with_hint(
                format!("file descriptor {number} was a file at the checkpoint, and is a pipe, socket or terminal now"),
                "CRIU sets the position in it: redirect it to a file, or to /dev/null",
            ));
        }
        let copy = descriptor::copy(number as i32)?;
        let mut inherit = Inherit_fd::new();
        inherit.set_key(key);
        inherit.set_fd(copy.as_raw_fd());
        options.inherit_fd.push(inherit);
        copies.push(copy);
    }
    Ok(copies)
}

/// Whether `lseek(2)` fails with ESPIPE.
fn cannot_seek(stat: &libc::stat) -> bool {
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFIFO | libc::S_IFSOCK => true,
        libc::S_IFCHR => TERMINALS.contains(&libc::major(stat.st_rdev)),
        _ => false,
    }
}
