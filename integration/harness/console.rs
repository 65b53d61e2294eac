//! The engine's end of `--console-socket`: a Unix socket on which the runtime hands over the terminal's master side.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::received::receive_with_descriptor;
use super::{Bundle, Facts};

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
        let (_, master) = receive_with_descriptor(&stream);
        Terminal {
            master: File::from(master),
            unread: String::new(),
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
    /// Creates a container that has a terminal, and starts it when the terminal has come.
    #[track_caller]
    pub fn of_started(bundle: &Bundle) -> Self {
        let socket = ConsoleSocket::new(bundle);
        let id = bundle.fresh_id();
        bundle.create_cmd(&id, &["--console-socket", socket.path()]).run().ok();
        let terminal = socket.terminal();
        bundle.orlop(["start", &id]).run().ok();
        terminal
    }

    /// What the probe inside reports before it ends.
    #[track_caller]
    pub fn facts(&mut self) -> Facts {
        Facts(serde_json::from_str(&self.until_closed()).expect("the probe's report"))
    }

    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("write to the terminal");
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.master, rows, columns);
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

/// Both ends of a new pseudo-terminal, for a runtime in the foreground.
pub fn pty() -> (File, OwnedFd) {
    let (mut master, mut slave): (RawFd, RawFd) = (-1, -1);
    let none = std::ptr::null_mut::<libc::c_char>();
    let done = unsafe { libc::openpty(&mut master, &mut slave, none, none.cast(), none.cast()) };
    assert_eq!(done, 0, "openpty: {}", std::io::Error::last_os_error());
    for fd in [master, slave] {
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}

/// The size of a terminal's window.
pub fn set_size(terminal: &impl AsRawFd, rows: u16, columns: u16) {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) };
    assert_eq!(done, 0, "TIOCSWINSZ: {}", std::io::Error::last_os_error());
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
