//! What the filter of a container in the foreground has refused, gathered from the kernel's log while it runs
//! (`run --seccomp-log`). Run by the runtime.
//!
//! A record tells the pid of the process that called, but when we read it that process may be gone, and its number have
//! been given on. So the runtime begins an audit session before it makes the container, as a login does: all that comes
//! of it carries the session's number, and nothing else in the system does.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::bundle::Plan;
use crate::error::{Context, Result};
use crate::log;
use crate::security::seccomp::Seccomp;
use crate::security::seccomp::decide::Table;
use crate::security::seccomp::profile::{Action, Logging};
use crate::security::seccomp::records::{KIND, Record, Tally};
use crate::sys::{SysError, SysResult, audit, fs};

const ACTIONS_LOGGED: &str = "/proc/sys/kernel/seccomp/actions_logged";

/// For so many milliseconds nothing must have come before it is believed that nothing will: a thread of the kernel passes records on
/// in its own time, and has no way to say that it is done.
const QUIET: i32 = 100;

/// No longer than this, in all: somebody else may have a lot to log.
const LIMIT: Duration = Duration::from_secs(2);

pub struct Denials {
    /// None when it has failed.
    source: Option<Source>,
    session: u32,
    tally: Tally,
    /// Some came faster than they could be kept.
    lost: bool,
    tables: Rc<Vec<Table>>,
    logging: Logging,
}

enum Source {
    /// All records, in time.
    Audit(OwnedFd),
    /// The ring buffer, where the kernel writes only some when many come at once.
    Kmsg(OwnedFd),
}

impl Denials {
    /// Listens, before there is a container, if that is wanted. Where it cannot, this is said, and the container runs.
    pub fn watch(plan: &Plan) -> Option<Self> {
        let filter = plan.process.as_ref()?.seccomp.as_ref()?;
        let (logging, tables) = filter.logged.clone()?;
        unlogged(filter);
        let open = || -> Result<Self> {
            let source = open()?;
            Ok(Denials {
                source: Some(source),
                session: begin_session().context("no audit session of its own")?,
                tally: Tally::default(),
                lost: false,
                tables,
                logging,
            })
        };
        match open() {
            Ok(denials) => Some(denials),
            Err(error) => {
                log::warning(&format!(
                    "--seccomp-log: refused calls are logged but cannot be named here: {error:#}; the system's log has \
                     them (journalctl -k, dmesg, or ausearch -m SECCOMP)"
                ));
                None
            }
        }
    }

    /// Readable when something has come; none if nothing will any more.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(match self.source.as_ref()? {
            Source::Audit(fd) | Source::Kmsg(fd) => fd.as_fd(),
        })
    }

    /// Takes in what has come. That the container is watched must not be what ends it, so a failure is kept for the end.
    pub fn collect(&mut self) {
        let mut buffer = [0u8; 9000];
        loop {
            match self.source.as_ref().map(|source| source.next(&mut buffer)) {
                None | Some(Ok(Next::Nothing)) => return,
                Some(Ok(Next::Another)) => {}
                Some(Ok(Next::Record(record))) if record.session != self.session => {}
                Some(Ok(Next::Record(record))) => self.tally.add(record),
                Some(Err(error)) => {
                    self.lost = true;
                    // The kernel's ways to say that it had to drop some; what follows can be read.
                    if !matches!(error.errno, Errno::ENOBUFS | Errno::EPIPE) {
                        self.source = None;
                        return;
                    }
                }
            }
        }
    }

    /// Waits for the last records, and names all calls.
    pub fn report(mut self) -> Result<()> {
        let end = Instant::now() + LIMIT;
        loop {
            self.collect();
            let Some(fd) = self.fd() else { break };
            let events = fs::poll(&[(fd, libc::POLLIN)], QUIET)?;
            if events.iter().all(|events| *events == 0) || Instant::now() > end {
                break;
            }
        }
        let mut text = match (self.tally.is_empty(), self.logging) {
            (true, Logging::Deny) => "seccomp has refused nothing of this container".to_string(),
            (true, Logging::Allow) => "seccomp would have refused nothing of this container".into(),
            (false, Logging::Deny) => "seccomp has refused or logged these calls of this container:".into(),
            (false, Logging::Allow) => {
                "seccomp has let these calls of this container pass, and would have answered:".into()
            }
        };
        text += &self.tally.tell(&self.tables);
        if self.lost {
            text += "\n    and more: records were lost, as they came faster than they were read";
        } else if matches!(self.source, Some(Source::Kmsg(_))) {
            text += "\n    maybe more: without CAP_AUDIT_READ only the kernel's ring buffer can be read, which takes few at once \
                     (kernel.printk_ratelimit)";
        }
        log::warning(&text);
        Ok(())
    }
}

/// What comes next in the kernel's log.
enum Next {
    Nothing,
    Record(Record),
    /// Something that is not about a filter.
    Another,
}

impl Source {
    fn next(&self, buffer: &mut [u8]) -> SysResult<Next> {
        let record = match self {
            Source::Audit(socket) => match audit::next(socket.as_fd(), buffer)? {
                None => return Ok(Next::Nothing),
                Some((KIND, text)) => Record::parse(&String::from_utf8_lossy(text)),
                Some(_) => None,
            },
            Source::Kmsg(file) => match fs::read(file.as_fd(), buffer) {
                Ok(length) => {
                    let line = buffer.get(..length).unwrap_or_default();
                    Record::parse_kmsg(&String::from_utf8_lossy(line))
                }
                Err(error) if error.errno == Errno::EAGAIN => return Ok(Next::Nothing),
                Err(error) => return Err(error),
            },
        };
        Ok(record.map_or(Next::Another, Next::Record))
    }
}

fn open() -> Result<Source> {
    let refused = match audit::open() {
        Ok(socket) => return Ok(Source::Audit(socket)),
        Err(error) => error,
    };
    let path = Path::new("/dev/kmsg");
    let file = fs::open(path, libc::O_RDONLY | libc::O_NONBLOCK).and_then(|file| {
        fs::seek_to_end(file.as_fd())?;
        Ok(file)
    });
    file.map(Source::Kmsg).with_context(|| refused.to_string())
}

/// Begins an audit session and returns its number. Who is logged in stays who it is; where nobody is, as in services, it
/// becomes who runs us. The kernel allows that to everybody once, and then to CAP_AUDIT_CONTROL.
fn begin_session() -> Result<u32> {
    let read = |path: &str| -> Result<u32> {
        let text =
            std::fs::read_to_string(path).map_err(|error| SysError::from_io(format!("read({path:?})"), &error))?;
        text.trim().parse().with_context(|| format!("{path}: {text:?}"))
    };
    let path = "/proc/self/loginuid";
    let user = match read(path)? {
        u32::MAX => nix::unistd::getuid().as_raw(),
        user => user,
    };
    let file = fs::open(Path::new(path), libc::O_WRONLY)?;
    fs::write(file.as_fd(), user.to_string().as_bytes()).with_context(|| format!("{path} \"{user}\""))?;
    read("/proc/self/sessionid")
}

/// Tells of actions that this system logs in no case.
fn unlogged(filter: &Seccomp) {
    let Ok(logged) = std::fs::read_to_string(ACTIONS_LOGGED) else {
        return;
    };
    let mut missing: Vec<&str> = Vec::new();
    for insn in &filter.program {
        // What a filter answers stands in its returns; no other instruction has this code.
        let Some(name) = (insn.code == 0x06).then(|| Action(insn.k).logged_as()).flatten() else {
            continue;
        };
        if !missing.contains(&name) && !logged.split_ascii_whitespace().any(|word| word == name) {
            missing.push(name);
        }
    }
    if !missing.is_empty() {
        log::warning(&format!(
            "--seccomp-log: the kernel is told not to log {}: add it to {ACTIONS_LOGGED}",
            missing.join(" and ")
        ));
    }
}
