//! Memory that is part of a file.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::{Arg, Call, SysError, SysResult, Syscall};

/// The page size of every machine, or a multiple of it on those with a smaller one.
const LARGEST_PAGE: usize = 64 << 10;

/// Some bytes of a file, shared with all who have or read it (`mmap(2)`, `MAP_SHARED`); children have them too.
pub struct Window {
    map: *mut libc::c_void,
    mapped: usize,
    /// Where the bytes begin in what is mapped.
    offset: usize,
    length: usize,
}

// SAFETY: the mapping is the process's, whichever thread has the one handle on it.
unsafe impl Send for Window {}

impl Window {
    /// `length` bytes of an open file from `at` on. They must exist, and go on existing: a store behind the end of a file
    /// raises SIGBUS, and so does one for which the file system has no room, which on a tmpfs cannot be.
    pub fn open(file: BorrowedFd, at: usize, length: usize) -> SysResult<Self> {
        let offset = at % LARGEST_PAGE;
        let (start, mapped) = (at - offset, offset + length);
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                start as libc::off_t,
            )
        };
        if map == libc::MAP_FAILED {
            let errno = Errno::last();
            let args = vec![Arg::Unsigned(mapped as u64), Arg::word("MAP_SHARED")];
            return Err(SysError::new(Call::new(Syscall::Mmap, args), errno));
        }
        Ok(Window {
            map,
            mapped,
            offset,
            length,
        })
    }

    /// Stores bytes from a place within the window on, as many as fit.
    pub fn store(&self, at: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate().take(self.length.saturating_sub(at)) {
            // SAFETY: inside of what is mapped and writable; nothing in this process has a reference to it.
            unsafe {
                self.map
                    .cast::<u8>()
                    .add(self.offset + at + index)
                    .write_volatile(*byte)
            };
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: no other value refers to the mapping.
        unsafe { libc::munmap(self.map, self.mapped) };
    }
}
