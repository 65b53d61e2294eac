//! A second thread, and sleeping until it wakes this one (futex(2)).

use std::sync::atomic::AtomicU32;

use super::{Arg, SysError, Syscall};

/// Enough for everything that a confined process does before it executes its program.
const STACK: usize = 256 << 10;

/// A value that only one thread uses, although another thread has created it.
struct Handed<W>(W);

// SAFETY: see `go_on_beside`, which is the only function that creates one.
unsafe impl<W> Send for Handed<W> {}

impl<W: FnOnce()> Handed<W> {
    fn work(self) {
        (self.0)();
    }
}

/// Continues with `work` on a new thread, while this one does `meanwhile` and never returns to its caller. Returns only if no
/// thread can be created.
pub fn go_on_beside<W, M>(work: W, meanwhile: M) -> SysError
where
    W: FnOnce(),
    M: FnOnce() + Send,
{
    let work = Handed(work);
    // SAFETY: what `work` holds or borrows lives in frames of this thread that it never returns to, so it outlives the new
    // thread. Nor does this thread use any of it again: it only runs `meanwhile`, which is Send, and so shares nothing
    // with `work` that two threads may not share.
    let spawned = unsafe {
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_unchecked(move || work.work())
    };
    match spawned {
        Ok(thread) => {
            // Dropping it may make a system call.
            std::mem::forget(thread);
            meanwhile();
            loop {
                std::thread::park();
            }
        }
        Err(error) => SysError::from_io(Syscall::Clone.of(Arg::word("CLONE_THREAD")), &error),
    }
}

/// The operation of [`sleep_while`].
pub const FUTEX_WAIT_PRIVATE: i32 = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;

/// Sleeps while the word has this value, but may wake up earlier. Makes only one system call,
/// `futex(word, FUTEX_WAIT_PRIVATE, value, NULL)`.
pub fn sleep_while(word: &AtomicU32, value: u32) {
    let none: *const libc::timespec = std::ptr::null();
    // SAFETY: the word lives for the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), FUTEX_WAIT_PRIVATE, value, none) };
}

/// Wakes the thread that sleeps on the word.
pub fn wake(word: &AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word lives for the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 1) };
}
