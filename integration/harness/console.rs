//! The engine's end of `--console-socket`: a Unix socket on which the runtime hands over the terminal's master side.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::Bundle;

pub struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ConsoleSocket {
    pub fn new(bundle: &Bundle) -> Self {
        let path = bundle.path("console.sock");
        let listener = UnixListener::bind(&path).expect("bind the console socket");
        Self { listener, path }
    }

    pub fn path(&self) -> &str {
        self.path.to_str().expect("a UTF-8 path")
    }

    /// The terminal, once the runtime has returned: what it sent waits in the socket.
    #[track_caller]
    pub fn terminal(&self) -> Terminal {
        assert!(
            readable(self.listener.as_raw_fd()),
            "the runtime did not connect to the console socket"
        );
        let (stream, _) = self.listener.accept().expect("accept");
        assert!(readable(stream.as_raw_fd()), "the runtime sent nothing");
        let mut name = [0_u8; 4096];
        let mut control = [0_u64; 8];
        let mut part = libc::iovec {
            iov_base: name.as_mut_ptr().cast(),
            iov_len: name.len(),
        };
        unsafe {
            let mut message = std::mem::zeroed::<libc::msghdr>();
            message.msg_iov = &mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control);
            assert!(
                libc::recvmsg(stream.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) > 0,
                "no terminal came"
            );
            let header = libc::CMSG_FIRSTHDR(&message);
            assert!(
                !header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS,
                "a message without a descriptor"
            );
            let fd = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
            Terminal {
                master: File::from_raw_fd(fd),
                unread: String::new(),
            }
        }
    }
}

/// The master side of a container's terminal.
pub struct Terminal {
    master: File,
    /// Has arrived but was not asked for yet.
    unread: String,
}

impl Terminal {
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("write to the terminal");
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = libc::winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        assert_eq!(
            unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &size) },
            0
        );
    }

    /// Everything else the container writes until it hangs up.
    #[track_caller]
    pub fn until_closed(&mut self) -> String {
        while self.more() {}
        std::mem::take(&mut self.unread).replace("\r\n", "\n")
    }

    /// Waits for `text` and skips what came before it.
    #[track_caller]
    pub fn until(&mut self, text: &str) {
        while !self.unread.contains(text) {
            assert!(self.more(), "hung up before `{text}`: {}", self.unread);
        }
        let end = self.unread.find(text).expect("just found") + text.len();
        self.unread.drain(..end);
    }

    /// Waits for more to read; false when the last holder of the other side is gone, which reads as EIO.
    #[track_caller]
    fn more(&mut self) -> bool {
        assert!(
            readable(self.master.as_raw_fd()),
            "nothing more in time after: {}",
            self.unread
        );
        let mut bytes = [0_u8; 4096];
        let count = self.master.read(&mut bytes).unwrap_or(0);
        self.unread.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }
}

/// Waits five seconds at most.
fn readable(fd: RawFd) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    unsafe { libc::poll(&mut poll, 1, 5000) > 0 }
}
