//! System V shared memory, semaphores and message queues; POSIX shared memory; a memfd with a seal.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, OwnedFd};

use serde_json::{Value, json};

use super::{Part, sys};

const SIZE: usize = 16 << 10;
const KEY: i32 = 0x5eed;

pub struct Ipc {
    segment: (i32, &'static mut [u8]),
    semaphores: i32,
    queue: i32,
    posix: (OwnedFd, &'static mut [u8]),
    memfd: (OwnedFd, &'static mut [u8]),
}

/// struct msgbuf of msgop(2).
#[repr(C)]
struct Message {
    kind: libc::c_long,
    text: [u8; 16],
}

impl Ipc {
    pub fn new() -> Self {
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o640;
        // SAFETY: the call takes no pointer.
        let id = sys::done(unsafe { libc::shmget(KEY, SIZE, flags) }) as i32;
        // SAFETY: the kernel chooses the address.
        let start = unsafe { libc::shmat(id, std::ptr::null(), 0) };
        assert_ne!(start as isize, -1, "{}", std::io::Error::last_os_error());
        // SAFETY: the segment has this size and stays attached.
        let segment = unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>(), SIZE) };
        segment.copy_from_slice(&sys::pattern(SIZE, 11));

        // SAFETY: the call takes no pointer.
        let semaphores = sys::done(unsafe { libc::semget(KEY, 2, flags) }) as i32;
        for (number, value) in [(0, 5), (1, 9)] {
            // SAFETY: with SETVAL the last argument is a number.
            sys::done(unsafe { libc::semctl(semaphores, number, libc::SETVAL, value) });
        }
        // SAFETY: the call takes no pointer.
        let queue = sys::done(unsafe { libc::msgget(KEY, flags) }) as i32;
        let message = Message {
            kind: 4,
            text: *b"in a message que",
        };
        // SAFETY: a message whose text has this length.
        sys::done(unsafe { libc::msgsnd(queue, (&raw const message).cast::<c_void>(), 16, 0) });

        // SAFETY: a string that ends with a NUL.
        let posix =
            sys::owned(unsafe { libc::shm_open(c"/checkpointed".as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600) });
        // SAFETY: as above.
        let memfd = sys::owned(unsafe { libc::memfd_create(c"checkpointed".as_ptr(), libc::MFD_ALLOW_SEALING) });
        let [posix_bytes, memfd_bytes] = [&posix, &memfd].map(|fd| {
            // SAFETY: the call takes no pointer.
            sys::done(unsafe { libc::ftruncate(fd.as_raw_fd(), SIZE as i64) });
            let bytes = sys::map(
                SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
            );
            bytes.copy_from_slice(&sys::pattern(SIZE, 13));
            bytes
        });
        // SAFETY: the call takes no pointer.
        sys::done(unsafe { libc::fcntl(memfd.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) });
        Ipc {
            segment: (id, segment),
            semaphores,
            queue,
            posix: (posix, posix_bytes),
            memfd: (memfd, memfd_bytes),
        }
    }
}

impl Part for Ipc {
    fn same(&mut self) -> Value {
        // SAFETY: with GETVAL there is no further argument.
        let values = [0, 1].map(|number| unsafe { libc::semctl(self.semaphores, number, libc::GETVAL) });
        // SAFETY: plain data for which zeroes are valid.
        let mut queue: libc::msqid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one struct, which outlives the call.
        sys::done(unsafe { libc::msgctl(self.queue, libc::IPC_STAT, &mut queue) });
        // SAFETY: plain data for which zeroes are valid.
        let mut segment: libc::shmid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one struct, which outlives the call.
        sys::done(unsafe { libc::shmctl(self.segment.0, libc::IPC_STAT, &mut segment) });
        // SAFETY: the calls take no pointer.
        let found = unsafe { [libc::shmget(KEY, 0, 0), libc::semget(KEY, 0, 0), libc::msgget(KEY, 0)] };
        json!({
            "ids": [self.segment.0, self.semaphores, self.queue],
            "by key": found,
            "segment": [json!(sys::hash(self.segment.1)), json!(segment.shm_perm.mode & 0o777), json!(segment.shm_nattch)],
            "semaphores": values,
            "queue": [queue.msg_qnum as u64, queue.msg_perm.mode as u64],
            "posix": [sys::hash(self.posix.1), sys::hash(&std::fs::read("/dev/shm/checkpointed").unwrap_or_default())],
            "memfd": sys::hash(self.memfd.1),
            // SAFETY: the call takes no pointer.
            "seals": unsafe { libc::fcntl(self.memfd.0.as_raw_fd(), libc::F_GET_SEALS) },
            "descriptors": [self.posix.0.as_raw_fd(), self.memfd.0.as_raw_fd()],
        })
    }
}
