//! The engine's end of `--console-socket`: a Unix socket over which the runtime sends the master end of the terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::openpty;

use super::received::receive_with_descriptor;
use super::{Bundle, Cmd, Facts};

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

    /// The terminal, after the runtime has returned: the message waits in the socket.
    #[track_caller]
    pub fn terminal(&self) -> Terminal {
        assert!(
            readable(&self.listener),
            "the runtime did not connect to the console socket"
        );
        let (stream, _) = self.listener.accept().expect("accept");
        assert!(readable(&stream), "the runtime sent nothing");
        let (_, master) = receive_with_descriptor(&stream);
        Terminal::over(File::from(master))
    }
}

/// The master side of a container's terminal.
pub struct Terminal {
    master: File,
    /// Read, but not consumed yet.
    unread: String,
}

impl Terminal {
    pub fn over(master: File) -> Self {
        Terminal {
            master,
            unread: String::new(),
        }
    }

    /// Creates a container that has a terminal, and starts it once the terminal has arrived.
    #[track_caller]
    pub fn of_started(bundle: &Bundle) -> Self {
        let socket = ConsoleSocket::new(bundle);
        let id = bundle.fresh_id();
        bundle.create_cmd(&id, &["--console-socket", socket.path()]).run().ok();
        let terminal = socket.terminal();
        bundle.orlop(["start", &id]).run().ok();
        terminal
    }

    /// A terminal for a command of the runtime, and its other side.
    pub fn of_pair() -> (Self, OwnedFd) {
        let (master, slave) = pty();
        let unread = String::new();
        (Terminal { master, unread }, slave)
    }

    /// The report of the probe.
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

    /// The rest of the output, until all slave ends are closed.
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

    /// Waits for what is between two texts, and skips what came before it.
    #[track_caller]
    pub fn between(&mut self, first: &str, second: &str) -> String {
        self.until(first);
        while !self.unread.contains(second) {
            assert!(self.more(), "hung up before `{second}`: {}", self.unread);
        }
        let end = self.unread.find(second).expect("just found");
        self.unread.drain(..end).collect()
    }

    /// Waits for more to read; false once all slave ends are closed (EIO).
    #[track_caller]
    fn more(&mut self) -> bool {
        assert!(readable(&self.master), "nothing more in time after: {}", self.unread);
        let mut bytes = [0_u8; 4096];
        let count = self.master.read(&mut bytes).unwrap_or(0);
        self.unread.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }
}

/// Both ends of a new pseudo-terminal, for a runtime in the foreground.
pub fn pty() -> (File, OwnedFd) {
    let ends = openpty(None, None).expect("openpty");
    for fd in [&ends.master, &ends.slave] {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("FD_CLOEXEC");
    }
    (File::from(ends.master), ends.slave)
}

/// Makes a terminal the one that controls a command, which becomes a session of its own, and its standard streams.
pub fn controlled_by(cmd: Cmd, terminal: &OwnedFd) -> Cmd {
    let fd = terminal.as_raw_fd();
    let copy = || terminal.try_clone().expect("another descriptor of the terminal");
    cmd.pass_fd(copy(), 0)
        .pass_fd(copy(), 1)
        .pass_fd(copy(), 2)
        .before_exec(move || {
            nix::unistd::setsid()?;
            // SAFETY: no memory is passed.
            match unsafe { libc::ioctl(fd, libc::TIOCSCTTY, 0) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        })
}

/// The size of a terminal's window.
pub fn set_size(terminal: &impl AsRawFd, rows: u16, columns: u16) {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel reads one struct, which outlives the call.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) };
    assert_eq!(done, 0, "TIOCSWINSZ: {}", std::io::Error::last_os_error());
}

/// Waits five seconds at most.
fn readable(file: impl AsFd) -> bool {
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, 5000_u16).is_ok_and(|ready| ready > 0)
}
