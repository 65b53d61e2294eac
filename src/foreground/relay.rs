//! The terminal relay: bytes between our standard streams and the terminal of a foreground container.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::error::Result;
use crate::sys::descriptor::Stream;
use crate::sys::terminal::{self, Settings};
use crate::sys::{SysError, descriptor, fs};

/// The runtime's own terminal, restored when this is dropped.
struct RawTerminal {
    before: Option<Settings>,
}

impl RawTerminal {
    /// Raw mode on standard input, if that is a terminal.
    fn enter() -> Result<Self> {
        let stdin = Stream::Input.as_fd();
        let Ok(before) = terminal::settings(stdin) else {
            return Ok(RawTerminal { before: None });
        };
        terminal::apply(stdin, &before.raw())?;
        Ok(RawTerminal { before: Some(before) })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // The terminal may be gone; nothing can be done about that.
            let _ = terminal::apply(Stream::Input.as_fd(), before);
        }
    }
}

/// Adapts the container's terminal to ours before the program starts and inspects it.
///
/// If standard output is not a terminal but a pipe or file, lines must arrive there as the program wrote them: nothing
/// would remove the carriage return that a terminal inserts before each line feed.
pub fn fit(master: &OwnedFd) -> Result<()> {
    resize(master)?;
    if terminal::settings(Stream::Output.as_fd()).is_err() {
        let settings = terminal::settings(master.as_fd())?;
        terminal::apply(master.as_fd(), &settings.plain_line_ends())?;
    }
    Ok(())
}

/// Sets the size of the container's terminal to that of ours, if there is one.
fn resize(master: &OwnedFd) -> Result<()> {
    if let Ok((rows, columns)) = terminal::size(Stream::Input.as_fd()) {
        terminal::set_size(master.as_fd(), rows, columns)?;
    }
    Ok(())
}

/// Bytes between our standard streams and the container's terminal.
pub struct Relay {
    /// Dropped with the relay, on every path out.
    _raw: RawTerminal,
    master: OwnedFd,
    /// Input that the container has not read yet.
    typed: VecDeque<u8>,
    input_open: bool,
    /// Whether the last input did not end with a line feed.
    in_a_line: bool,
    /// Whether the container has closed its side, for now.
    pub hung_up: bool,
}

/// Ctrl-D.
const END_OF_FILE: u8 = 4;

/// How much input may be buffered before standard input is no longer read.
const TYPE_AHEAD: usize = 64 << 10;

/// More than the kernel buffers of terminal output: 8 KiB in the pty, a page in the line discipline, and what the writer was
/// writing.
const HELD: usize = 128 << 10;

impl Relay {
    pub fn new(master: OwnedFd) -> Result<Self> {
        // Only our end, so that a container that does not read can never block the runtime.
        descriptor::set_nonblocking(&master)?;
        let relay = Relay {
            _raw: RawTerminal::enter()?,
            master,
            typed: VecDeque::new(),
            input_open: true,
            in_a_line: false,
            hung_up: false,
        };
        // The size may have changed since the program started.
        relay.resize()?;
        Ok(relay)
    }

    pub fn resize(&self) -> Result<()> {
        resize(&self.master)
    }

    /// The master end, and standard input while it is open and the buffer has room.
    pub fn watched<'a>(&'a self, quiet: &'a OwnedFd) -> Vec<(BorrowedFd<'a>, i16)> {
        let wanted = libc::POLLIN | if self.typed.is_empty() { 0 } else { libc::POLLOUT };
        let mut watched = vec![if self.hung_up {
            (quiet.as_fd(), 0)
        } else {
            (self.master.as_fd(), wanted)
        }];
        if self.input_open && self.typed.len() < TYPE_AHEAD {
            watched.push((Stream::Input.as_fd(), libc::POLLIN));
        }
        watched
    }

    pub fn pump(&mut self, master: i16, input: i16) -> Result<()> {
        if input != 0 {
            let mut chunk = [0u8; 4096];
            match fs::read(Stream::Input.as_fd(), &mut chunk) {
                Ok(length @ 1..) => {
                    let bytes = chunk.get(..length).unwrap_or_default();
                    self.in_a_line = bytes.last().is_some_and(|last| *last != b'\n');
                    self.typed.extend(bytes);
                }
                Err(error) if matches!(error.errno, Errno::EAGAIN | Errno::EINTR) => {}
                // The end of a file or pipe is passed on as the end-of-file character. Within a line that character only
                // flushes the line; a second one means end of file.
                Ok(_) | Err(_) => {
                    self.input_open = false;
                    self.typed
                        .extend([END_OF_FILE].repeat(if self.in_a_line { 2 } else { 1 }));
                }
            }
        }
        if !self.typed.is_empty() {
            match fs::write(self.master.as_fd(), self.typed.make_contiguous()) {
                Ok(length) => drop(self.typed.drain(..length)),
                Err(error) if error.errno == Errno::EAGAIN => {}
                Err(_) => self.typed.clear(),
            }
        }
        if self.hung_up || master & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0 {
            self.hung_up = self.output()? == 0;
        }
        Ok(())
    }

    /// Relays one piece of output and returns its length; 0 if there is none.
    fn output(&mut self) -> Result<usize> {
        let mut chunk = [0u8; 16 << 10];
        match fs::read(self.master.as_fd(), &mut chunk) {
            Ok(length) => {
                let mut rest = chunk.get(..length).unwrap_or_default();
                while !rest.is_empty() {
                    match fs::write(Stream::Output.as_fd(), rest) {
                        Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                        Err(SysError {
                            errno: Errno::EINTR, ..
                        }) => {}
                        Err(SysError {
                            errno: Errno::EAGAIN, ..
                        }) => {
                            descriptor::poll(&[(Stream::Output.as_fd(), libc::POLLOUT)], -1)?;
                        }
                        // The reader is gone; the container continues.
                        Err(_) => return Ok(length),
                    }
                }
                Ok(length)
            }
            // EIO: the last process that had the terminal open has closed it, and may open it again.
            Err(_) => Ok(0),
        }
    }

    /// Relays output that was written before the end. Reads no more than a terminal can hold: in a shared pid namespace a
    /// process that outlives init may keep writing forever.
    pub fn drain(&mut self) {
        let mut passed = 0;
        while passed < HELD {
            match self.output() {
                Ok(length @ 1..) => passed += length,
                _ => return,
            }
        }
    }
}
