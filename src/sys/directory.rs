//! What a directory contains.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Arg, SysResult, check, fs};

/// The entries of a directory except `.` and `..`, by the directory's own descriptor: no further one is needed, as for
/// readdir(3), and there is none whose closing could fail (where std ends the program).
pub fn entries(directory: BorrowedFd) -> SysResult<Vec<Entry>> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::lseek(directory.as_raw_fd(), 0, libc::SEEK_SET) },
        Lseek,
        directory,
        0,
        Arg::word("SEEK_SET")
    )?;
    let mut entries = Vec::new();
    // A record has at most 280 bytes.
    let mut buffer = [0u8; 4096];
    loop {
        let length = check!(
            // SAFETY: the buffer is valid for its length.
            unsafe {
                libc::syscall(
                    libc::SYS_getdents64,
                    directory.as_raw_fd(),
                    buffer.as_mut_ptr(),
                    buffer.len(),
                )
            },
            Getdents64,
            directory
        )?;
        if length == 0 {
            return Ok(entries);
        }
        let mut rest = buffer.get(..length as usize).unwrap_or_default();
        // struct linux_dirent64: inode and offset of 8 bytes each, the record's length of 2, the type of 1, then the name.
        while let Some((record, following)) = record_of(rest) {
            rest = following;
            let name = record.get(19..).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            if name != b"." && name != b".." {
                entries.push(Entry {
                    name: OsStr::from_bytes(name).into(),
                    kind: record.get(18).copied().unwrap_or(libc::DT_UNKNOWN),
                });
            }
        }
    }
}

/// The first record of what getdents64 has written, and the rest.
fn record_of(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = records.get(16..18)?;
    let length = usize::from(u16::from_ne_bytes(length.try_into().ok()?));
    records.split_at_checked(length.max(1))
}

/// An entry of a directory.
#[derive(Debug)]
pub struct Entry {
    pub name: OsString,
    /// `DT_*`; a file system may leave it at `DT_UNKNOWN`.
    kind: u8,
}

impl Entry {
    /// Whether it is a directory; `within` is the one that it is in.
    pub fn is_directory(&self, within: BorrowedFd) -> bool {
        match self.kind {
            libc::DT_UNKNOWN => fs::lstatat(within, Path::new(&self.name))
                .is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR),
            kind => kind == libc::DT_DIR,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn all_entries_are_listed_each_time() {
        let root = tempfile::tempdir().unwrap();
        let mut expected = BTreeSet::new();
        for number in 0..2000 {
            let name = format!("{number}-{}", "x".repeat(number % 200));
            if number % 3 == 0 {
                std::fs::create_dir(root.path().join(&name)).unwrap();
            } else {
                std::fs::File::create(root.path().join(&name)).unwrap();
            }
            expected.insert((OsString::from(name), number % 3 == 0));
        }
        let directory = fs::open(root.path(), libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
        for _ in 0..2 {
            let listed = entries(directory.as_fd()).unwrap();
            let listed = listed
                .into_iter()
                .map(|entry| (entry.name.clone(), entry.is_directory(directory.as_fd())));
            assert_eq!(listed.collect::<BTreeSet<_>>(), expected);
        }
        let file = fs::open(Path::new("/proc/self/stat"), libc::O_RDONLY).unwrap();
        assert_eq!(entries(file.as_fd()).unwrap_err().errno, nix::errno::Errno::ENOTDIR);
    }
}
