//! Descriptors that tell of events: eventfd, epoll, signalfd, inotify.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Part, sys};

/// What epoll returns with the eventfd.
const MARK: u64 = 0x1234_5678_9abc;

pub struct Watches {
    eventfd: OwnedFd,
    epoll: OwnedFd,
    signalfd: OwnedFd,
    inotify: OwnedFd,
    watched: PathBuf,
    events: u64,
}

impl Watches {
    pub fn new(dir: &Path) -> Self {
        // SAFETY: the call takes no pointer.
        let eventfd = sys::owned(unsafe { libc::eventfd(42, libc::EFD_NONBLOCK) });
        // SAFETY: the call takes no pointer.
        let epoll = sys::owned(unsafe { libc::epoll_create1(0) });
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: MARK,
        };
        let (add, fd) = (libc::EPOLL_CTL_ADD, eventfd.as_raw_fd());
        // SAFETY: the kernel reads one struct, which outlives the call.
        sys::done(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), add, fd, &mut event) });
        // SAFETY: plain data for which zeroes are valid.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: a set of ours, which outlives the calls.
        let signalfd = unsafe {
            libc::sigaddset(&mut set, libc::SIGWINCH);
            libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            sys::owned(libc::signalfd(-1, &set, libc::SFD_NONBLOCK))
        };
        // SAFETY: the call takes no pointer.
        let inotify = sys::owned(unsafe { libc::inotify_init1(libc::IN_NONBLOCK) });
        let watched = dir.join("watched");
        fs::create_dir(&watched).expect("make a directory");
        let name = crate::facts::c_path(&watched.to_string_lossy());
        let events = libc::IN_CREATE | libc::IN_DELETE;
        // SAFETY: a string that ends with a NUL.
        sys::done(unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), name.as_ptr(), events) });
        Watches {
            eventfd,
            epoll,
            signalfd,
            inotify,
            watched,
            events: 0,
        }
    }

    /// A signal to this process arrives at the signalfd.
    fn signal(&self) -> Result<(), String> {
        // SAFETY: the call takes no pointer.
        unsafe { libc::kill(libc::getpid(), libc::SIGWINCH) };
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        let count = sys::read(self.signalfd.as_raw_fd(), &mut info);
        // The number comes first.
        if count != info.len() as isize || i32::from(info[0]) != libc::SIGWINCH {
            return Err(format!("signalfd: {count} bytes, signal {}", info[0]));
        }
        Ok(())
    }
}

impl Part for Watches {
    fn check(&mut self) -> Result<(), String> {
        // What happens between the change and the read may be a checkpoint, which does not keep unread events.
        let file = self.watched.join("file");
        File::create(&file).map_err(|e| e.to_string())?;
        fs::remove_file(&file).map_err(|e| e.to_string())?;
        let mut bytes = [0; 512];
        if sys::read(self.inotify.as_raw_fd(), &mut bytes) > 0 {
            self.events += 1;
        }
        self.signal()
    }

    fn same(&mut self) -> Value {
        // SAFETY: plain data for which zeroes are valid.
        let mut event: libc::epoll_event = unsafe { std::mem::zeroed() };
        // SAFETY: room for one event.
        let ready = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), &mut event, 1, 0) };
        let mark = event.u64;
        json!({
            "eventfd": sys::fdinfo(self.eventfd.as_raw_fd(), &["eventfd-count", "flags"]),
            "epoll": [ready as u64, mark],
            "signalfd": sys::fdinfo(self.signalfd.as_raw_fd(), &["sigmask", "flags"]),
            "inotify": sys::fdinfo(self.inotify.as_raw_fd(), &["flags"]),
        })
    }

    fn grows(&mut self) -> Value {
        json!({ "events": self.events })
    }
}
