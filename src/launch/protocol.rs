//! Everything that runtime and init say to each other.
//!
//! ```text
//!    runtime                                         init
//!  ─ clone3 ─────────────────────────────────────────►
//!    writes the id maps, limits                       waits          (only with a new user namespace)
//!  1 Mapped ─────────────────────────────────────────►
//!                                                     namespaces, mounts, devices, masks
//!  2 ◄──────────────────────────────────────── Mounted               (only with hooks of the runtime's side)
//!    prestart, createRuntime hooks
//!    HooksDone ──────────────────────────────────────►
//!                                                     createContainer hooks, pivot, identity, confinement
//!  3 ◄──────────────────────────────── Console + master end          (only with a terminal)
//!    ◄────────────────────────────────────────── Ready
//!    state.json: created; pid file
//!    Commit ─────────────────────────────────────────►               (create; `run` goes on with Start at once)
//!    create ends                                      waits on start.sock
//!    ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄
//!    start connects to start.sock
//!  4 Start ──────────────────────────────────────────►
//!                                                     startContainer hooks
//!    ◄────────────────────────────────────── Executing
//!    end of file: execve closed the socket            execve
//! ```
//!
//! At any time init may send `Log`, and `Failed` as its last word. An end of file before `Executing` means that init
//! died. If the runtime dies, init finds its socket closed at the next sync point and ends. A message that the table
//! does not have at this point is an error.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Report, Result, anyhow, bail};
use crate::log;
use crate::sys::{SysResult, socket};

/// One packet. The longest is an error's report.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    Mapped,
    Mounted,
    HooksDone,
    Console,
    Ready,
    Commit,
    Start,
    Executing,
    Log(log::Level, String),
    Failed(Report),
}

impl Message {
    fn name(&self) -> &'static str {
        match self {
            Message::Mapped => "Mapped",
            Message::Mounted => "Mounted",
            Message::HooksDone => "HooksDone",
            Message::Console => "Console",
            Message::Ready => "Ready",
            Message::Commit => "Commit",
            Message::Start => "Start",
            Message::Executing => "Executing",
            Message::Log(..) => "Log",
            Message::Failed(_) => "Failed",
        }
    }
}

/// The longest packet that is sent; a longer text is cut.
const LONGEST: usize = 60_000;

/// One end of the conversation; closed by drop, and by execve.
pub struct Channel {
    socket: OwnedFd,
}

/// What came out of waiting for a message.
pub enum Heard {
    Message(Message, Option<OwnedFd>),
    /// The other side has closed its end.
    End,
}

impl Channel {
    pub fn new(socket: OwnedFd) -> Self {
        Channel { socket }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub fn send(&self, message: &Message) -> Result<()> {
        self.send_with(message, None)
    }

    pub fn send_with(&self, message: &Message, fd: Option<BorrowedFd>) -> Result<()> {
        let bytes = serde_json::to_vec(message)?;
        Ok(socket::send(self.fd(), &bytes, fd)?)
    }

    /// Sends the last word of a failing init. Nobody may be listening any more.
    pub fn send_failure(&self, error: &Error) {
        let mut report = Report::of(error);
        if report.msg.len() > LONGEST / 2 {
            let mut end = LONGEST / 2;
            while !report.msg.is_char_boundary(end) {
                end -= 1;
            }
            report.msg.truncate(end);
        }
        let _ = self.send(&Message::Failed(report));
    }

    fn hear(&self) -> Result<Heard> {
        let packet = || -> SysResult<_> {
            let mut buffer = vec![0u8; socket::next_length(self.fd())?];
            let (length, fd) = socket::receive(self.fd(), &mut buffer)?;
            buffer.truncate(length);
            Ok((buffer, fd))
        };
        let (bytes, fd) = match packet() {
            Err(error) if error.errno == Errno::ECONNRESET => return Ok(Heard::End),
            other => other?,
        };
        if bytes.is_empty() {
            return Ok(Heard::End);
        }
        let message = serde_json::from_slice(&bytes)?;
        Ok(Heard::Message(message, fd))
    }

    /// The runtime's way to wait for init's next word: log lines are passed on, init's failure is the error.
    pub fn next_from_init(&self) -> Result<Heard> {
        loop {
            match self.hear()? {
                Heard::Message(Message::Log(level, text), _) => log::write(level, &text),
                Heard::Message(Message::Failed(report), _) => return Err(Error::new(report)),
                other => return Ok(other),
            }
        }
    }

    /// Init's way to wait for the runtime at a sync point. If the runtime has gone, there is nothing to go on for.
    pub fn expect_from_runtime(&self, expected: &[&str]) -> Result<Message> {
        match self.hear()? {
            Heard::Message(message, _) if expected.contains(&message.name()) => Ok(message),
            Heard::Message(other, _) => Err(out_of_order(&other)),
            Heard::End => bail!("the runtime ended before the container was complete"),
        }
    }
}

/// The error for a message that does not belong at this point of the table.
pub fn out_of_order(message: &Message) -> Error {
    anyhow!("protocol error: {} is out of order", message.name())
}
