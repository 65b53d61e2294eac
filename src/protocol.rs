//! The messages between the runtime and init.
//!
//! ```text
//!    runtime                                         init
//!  ─ clone3 ─────────────────────────────────────────►
//!    ◄────────────────────────────────────── Unshared                (only with time offsets)
//!    writes ID maps, clocks, class of service;        waits          (only if there are any of these)
//!    moves network devices
//!  1 Helped ─────────────────────────────────────────►
//!                                                     namespaces, mounts
//!    Network + namespace ────────────────────────────►               (only if the runtime creates it meanwhile)
//!                                                     more mounts, devices, masks
//!    ◄──────────────────────── MapOwners + detached mount            (only in a user namespace, for a mount of mounts)
//!    OwnersMapped ───────────────────────────────────►
//!  2 ◄──────────────────────────────────────── Mounted               (only with prestart or createRuntime hooks)
//!    prestart, createRuntime hooks
//!    HooksDone ──────────────────────────────────────►
//!    ◄────────────────────────────────────────── Hooks               (only with createContainer hooks)
//!                                                     createContainer hooks, pivot, identity, confinement
//!    ◄────────────────────────── Entered + pidfd, exits              (only from the parent of an init that is cloned late;
//!                                                                     it may arrive after the next message of init)
//!  3 ◄──────────────────────────────── Console + master end          (only with a terminal)
//!    ◄─────────────────────────────── Listener + seccomp fd          (only with a filter that notifies)
//!    sends it to the agent
//!    ListenerTaken ──────────────────────────────────►
//!    ◄────────────────────────────────────────── Ready
//!    state.json: created; pid file
//!    Commit ─────────────────────────────────────────►               (create; `run` continues with Start at once)
//!    create exits                                     waits on start.sock
//!    ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄
//!    start connects to start.sock
//!  4 Start ──────────────────────────────────────────►
//!                                                     startContainer hooks
//!    ◄────────────────────────────────────── Executing
//!    end of file: execve closed the socket            execve
//! ```
//!
//! `exec` talks to two processes over one channel: the exec parent, which enters the container, and its child, which
//! becomes the program.
//!
//! ```text
//!    runtime                                         exec parent        process
//!  ─ clone3 ─────────────────────────────────────────►
//!                                                     limits, namespaces, root
//!                                                    ─ clone3 ───────────►
//!  5 ◄──────────────────────────── Entered + pidfd    exits
//!                                                                        identity, confinement
//!    ◄──────────────────────────────────────────────── Console + master end  (only with a terminal)
//!    Listener and ListenerTaken, as above
//!  6 ◄────────────────────────────────────────────────────────────── Ready
//!    pidfd and console sockets, pid file
//!    Start ──────────────────────────────────────────────────────────────►
//!    ◄──────────────────────────────────────────────────────────── Executing
//!    end of file: execve closed the socket                               execve
//! ```
//!
//! At any time init may send `Log` and `Timings`, and `Failed` as its last message. `StartTimed` stands for the `Start` of a created
//! container if timings are wanted. An end of file before `Executing` means that init
//! died. If the runtime dies, init finds its socket closed at the next sync point and exits. A message that the table
//! does not have at this point is an error.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Report, Result, anyhow, bail, errno};
use crate::interrupt::Interrupts;
use crate::log;
use crate::progress;
use crate::sys::{SysResult, descriptor, socket};
use crate::timings::{self, Peer, Span, SpanParts};

/// How long to wait without sleeping for an answer that is expected at once.
const LINGER: Duration = Duration::from_micros(200);

/// One packet. The longest is the report of an error.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// The last message of an intermediate process and not of init, see `launch::intermediate`. Comes with init's pidfd.
    Born(i32),
    Unshared,
    Helped,
    /// Comes with the network namespace.
    Network,
    /// The index in `mounts` of the mount that comes with it.
    MapOwners(usize),
    OwnersMapped,
    Mounted,
    HooksDone,
    /// Untrusted programs run from here on, so init is not cloned a second time if it is killed.
    Hooks,
    Console,
    Ready,
    Commit,
    Start,
    Executing,
    /// Comes with a descriptor for the seccomp agent.
    Listener,
    ListenerTaken,
    /// The pid of the new process, as the exec parent sees it. Comes with its pidfd.
    Entered(i32),
    /// What the sender has done so far, and whether it is the process that was cloned at the end.
    Timings(bool, Vec<SpanParts>),
    /// `Start` of a runtime that wants timings, with its clocks.
    StartTimed(u64, u64),
    /// A line for the runtime's log, and its time.
    Log(log::Level, SystemTime, String),
    Failed(Report),
}

impl Message {
    fn is_same_kind(&self, other: &Message) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    fn name(&self) -> &'static str {
        match self {
            Message::Born(_) => "Born",
            Message::Unshared => "Unshared",
            Message::Helped => "Helped",
            Message::Network => "Network",
            Message::MapOwners(_) => "MapOwners",
            Message::OwnersMapped => "OwnersMapped",
            Message::Mounted => "Mounted",
            Message::HooksDone => "HooksDone",
            Message::Hooks => "Hooks",
            Message::Console => "Console",
            Message::Ready => "Ready",
            Message::Commit => "Commit",
            Message::Start => "Start",
            Message::Executing => "Executing",
            Message::Listener => "Listener",
            Message::ListenerTaken => "ListenerTaken",
            Message::Entered(_) => "Entered",
            Message::Timings(..) => "Timings",
            Message::StartTimed(..) => "StartTimed",
            Message::Log(..) => "Log",
            Message::Failed(_) => "Failed",
        }
    }
}

/// How many spans fit into one packet, whatever is in them.
const SPANS: usize = 16;

/// The longest packet to send, in bytes. A longer text is cut.
const LONGEST: usize = 60_000;

/// A report, cut so that it always fits into one packet.
fn fitting(mut report: Report) -> Report {
    // Init reads no document.
    report.findings.clear();
    cut(&mut report.msg, 40_000);
    let rest = [(&mut report.hint, 10_000), (&mut report.path, 5_000)];
    for (field, room) in rest {
        if let Some(text) = field {
            cut(text, room);
        }
    }
    report
}

/// Cuts a text to a number of bytes in JSON, where a control character takes six.
fn cut(text: &mut String, room: usize) {
    const MARK: &str = "…";
    let mut length = 0;
    let mut last = 0;
    for (index, c) in text.char_indices() {
        if length + MARK.len() <= room {
            last = index;
        }
        length += match c {
            '"' | '\\' | '\u{8}' | '\u{c}' | '\n' | '\r' | '\t' => 2,
            c if c < ' ' => 6,
            c => c.len_utf8(),
        };
        if length > room {
            text.truncate(last);
            text.push_str(MARK);
            return;
        }
    }
}

/// One end of the connection; closed by drop and by execve.
pub struct Channel {
    socket: OwnedFd,
    /// The signals that interrupt waiting for a message.
    interrupts: Option<Rc<Interrupts>>,
}

/// The result of waiting for a message.
pub enum Received {
    Message(Message, Option<OwnedFd>),
    /// The other side has closed its end or has exited.
    End,
}

impl Channel {
    pub fn new(socket: OwnedFd) -> Self {
        Channel {
            socket,
            interrupts: None,
        }
    }

    /// An end for which waiting fails once a signal has arrived.
    pub fn interruptible(socket: OwnedFd, interrupts: Rc<Interrupts>) -> Self {
        Channel {
            socket,
            interrupts: Some(interrupts),
        }
    }

    /// The socket, to be used for something else.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    pub fn interrupts(&self) -> Option<&Interrupts> {
        self.interrupts.as_deref()
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub fn send(&self, message: &Message) -> Result<()> {
        self.send_with(message, None)
    }

    /// [`Self::send`] to a child. If it has already failed, the error is the one that it reported before it ended.
    pub fn send_to(&self, message: &Message, child: BorrowedFd) -> Result<()> {
        let Err(unsent) = self.send(message) else { return Ok(()) };
        match errno(&unsent) {
            Some(Errno::EPIPE | Errno::ECONNRESET) => Err(self.last_word(child).unwrap_or(unsent)),
            _ => Err(unsent),
        }
    }

    /// The failure that a child has reported before it ended or closed its end. What it has sent before is skipped.
    pub fn last_word(&self, child: BorrowedFd) -> Option<Error> {
        loop {
            match self.next_from(child) {
                Ok(Received::Message(..)) => {}
                Err(reported) if reported.downcast_ref::<Report>().is_some() => return Some(reported),
                Ok(Received::End) | Err(_) => return None,
            }
        }
    }

    pub fn send_with(&self, message: &Message, fd: Option<BorrowedFd>) -> Result<()> {
        let bytes = serde_json::to_vec(message)?;
        Ok(socket::send(self.fd(), &bytes, fd)?)
    }

    /// Sends what this process has done so far, if timings are wanted. The runtime may no longer be listening.
    pub fn send_timings(&self) {
        let Some((born, spans)) = timings::take() else { return };
        for part in spans.chunks(SPANS) {
            let _ = self.send(&Message::Timings(born, part.iter().map(Span::to_parts).collect()));
        }
    }

    /// Sends the last message of a failing init. The runtime may no longer be listening.
    pub fn send_failure(&self, error: &Error) {
        self.send_timings();
        let _ = self.send(&Message::Failed(fitting(Report::of(error))));
    }

    /// Waits until there is something to read. Returns false if `child` exited without another message: a child that is
    /// killed may leave its end of the channel open in one of its own children.
    fn wait(&self, child: Option<BorrowedFd>) -> Result<bool> {
        let signals = self.interrupts.as_ref().map(|interrupts| interrupts.fd());
        let watched: Vec<_> = [Some(self.fd()), signals, child]
            .into_iter()
            .flatten()
            .map(|fd| (fd, libc::POLLIN))
            .collect();
        if watched.len() == 1 {
            return Ok(true);
        }
        loop {
            let events = descriptor::poll(&watched, -1).context(Unheard)?;
            let ready = |index: usize| events.get(index).is_some_and(|events| *events != 0);
            // A message comes first: once the program is executed, a signal is meant for the program.
            if ready(0) {
                return Ok(true);
            }
            self.interrupts
                .as_ref()
                .map_or(Ok(()), |interrupts| interrupts.check())?;
            if child.is_some() && ready(watched.len() - 1) {
                // Its last message may have arrived while poll(2) looked at the descriptors.
                let events = descriptor::poll(&[(self.fd(), libc::POLLIN)], 0).context(Unheard)?;
                return Ok(events.first().is_some_and(|events| *events != 0));
            }
        }
    }

    fn hear(&self, child: Option<BorrowedFd>) -> Result<Received> {
        if !self.wait(child)? {
            return Ok(Received::End);
        }
        let packet = || -> SysResult<_> {
            let mut buffer = vec![0u8; socket::next_length(self.fd())?];
            let (length, fd) = socket::receive(self.fd(), &mut buffer)?;
            buffer.truncate(length);
            Ok((buffer, fd))
        };
        // Again after a failure: the other side has closed its end before it read everything, and its own messages come next; or
        // the kernel had no memory for a moment, and the packet is still there.
        let (bytes, fd) = match packet().or_else(|_| packet()) {
            Err(error) if error.errno == Errno::ECONNRESET => return Ok(Received::End),
            other => other.context(Unheard)?,
        };
        if bytes.is_empty() {
            return Ok(Received::End);
        }
        let message = serde_json::from_slice(&bytes)?;
        Ok(Received::Message(message, fd))
    }

    /// Waits in the runtime for a child's next message. Log lines are logged, and the child's failure is the error. `child`
    /// is a pidfd; after the child has exited no message comes.
    pub fn next_from(&self, child: BorrowedFd) -> Result<Received> {
        let _waiting = progress::wait_for(Peer::Child);
        loop {
            match self.hear(Some(child))? {
                Received::Message(Message::Timings(born, spans), _) => timings::receive(born, spans),
                Received::Message(Message::Log(level, time, text), _) => log::write_of(time, level, &text),
                Received::Message(Message::Failed(report), _) => return Err(Error::new(report)),
                other => return Ok(other),
            }
        }
    }

    /// From here on `--debug` lines of this process go to the runtime over the channel.
    pub fn divert_log(&self) {
        log::divert(self.fd(), log_over);
    }

    /// Waits a moment without sleeping for an answer that is expected at once: sleeping and waking up take longer than the
    /// runtime needs to answer. Other processes get the processor meanwhile.
    pub fn linger(&self, peer: Peer) {
        let _waiting = progress::wait_for(peer);
        let end = Instant::now() + LINGER;
        while Instant::now() < end {
            if !matches!(descriptor::poll(&[(self.socket.as_fd(), libc::POLLIN)], 0), Ok(ready) if ready == [0]) {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Waits in init for the runtime, for one of the messages expected at this point. If the runtime has gone, there is no
    /// reason to continue.
    pub fn expect_from_runtime(&self, expected: &[Message]) -> Result<Message> {
        Ok(self.expect_with_fd(expected)?.0)
    }

    /// The same for a message that comes with a descriptor.
    pub fn expect_with_fd(&self, expected: &[Message]) -> Result<(Message, Option<OwnedFd>)> {
        let start = expected.iter().any(|message| matches!(message, Message::Start));
        let _waiting = progress::wait_for(if start { Peer::Start } else { Peer::Runtime });
        match self.hear(None)? {
            Received::Message(message, fd) if expected.iter().any(|one| message.is_same_kind(one)) => Ok((message, fd)),
            Received::Message(other, _) => Err(out_of_order(&other)),
            Received::End => bail!("the runtime ended before the container was complete"),
        }
    }
}

/// Sends a line for the runtime's log over a channel's descriptor. The runtime may no longer be listening.
fn log_over(channel: BorrowedFd, level: log::Level, mut text: String) {
    cut(&mut text, LONGEST - 1000);
    if let Ok(bytes) = serde_json::to_vec(&Message::Log(level, SystemTime::now(), text)) {
        let _ = socket::send(channel, &bytes, None);
    }
}

/// Context: a message could not be received, so the state of the other side is unknown.
#[derive(Debug)]
pub struct Unheard;

impl fmt::Display for Unheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("receiving a message")
    }
}

/// The error for a message that does not belong at this point of the table.
pub fn out_of_order(message: &Message) -> Error {
    anyhow!("protocol error: {} is out of order", message.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::with_hint;
    use crate::sys::process;

    fn channels() -> (Channel, Channel) {
        let (one, other) = socket::pair().unwrap();
        (Channel::new(one), Channel::new(other))
    }

    fn hostile() -> [String; 5] {
        ["a", "\u{1}", "\"", "\n", "🛳"].map(|unit| unit.repeat(100_000))
    }

    #[test]
    fn a_failure_arrives_however_long_its_text_is_in_json() {
        for text in hostile() {
            let (init, runtime) = channels();
            init.send_failure(&with_hint(format!("begin{text}"), format!("cure{text}")));
            let own = process::pidfd_open(process::pid()).unwrap();
            let error = runtime.next_from(own.as_fd()).err().expect("the failure");
            let report = Report::of(&error);
            assert!(report.msg.starts_with("begin"), "{:.40}", report.msg);
            assert!(report.msg.contains('…'));
            assert!(report.hint.unwrap().starts_with("cure"));
        }
    }

    #[test]
    fn a_log_line_arrives_however_long_it_is() {
        for text in hostile() {
            let (init, runtime) = channels();
            log_over(init.fd(), log::Level::Debug, text.clone());
            let Received::Message(Message::Log(_, _, line), _) = runtime.hear(None).unwrap() else {
                panic!("no line came");
            };
            assert!(line.len() > 5_000);
            assert!(text.starts_with(line.strip_suffix('…').expect("the mark of the cut")));
        }
    }

    #[test]
    fn what_fits_is_not_cut() {
        for (text, room) in [("", 0), ("abc", 3), ("\n\n", 4), ("\u{1}", 6), ("🛳", 4)] {
            let mut kept = text.to_string();
            cut(&mut kept, room);
            assert_eq!(kept, text);
        }
        let mut text = "abcdefgh".to_string();
        cut(&mut text, 7);
        assert_eq!(text, "abcd…");
    }
}
