//! Collects the system calls that the filter of a foreground container denies, from the kernel's log while it runs
//! (`run --seccomp-log`). Runs in the runtime.
//!
//! A record contains the pid of the calling process, but by the time it is read that process may be gone and its pid reused.
//! Therefore the runtime starts an audit session before it creates the container, as a login does: all its descendants carry
//! the number of the session, and no other process does.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::{Context, Result, anyhow};
use crate::log;
use crate::plan::Plan;
use crate::plan::seccomp::{Action, Logging, Seccomp, Table};
use crate::security::seccomp::assemble::{JEQ, LD, NR, RET};
use crate::security::seccomp::records::{AUDIT_SECCOMP, Record, Tally};
use crate::sys::clone::{self, Cloned, Relation};
use crate::sys::process;
use crate::sys::seccomp::sock_filter;
use crate::sys::{SysError, SysResult, Syscall, audit, descriptor, fs, seccomp};

const ACTIONS_LOGGED: &str = "/proc/sys/kernel/seccomp/actions_logged";

/// How long to wait for a record that we triggered: the kernel delivers records asynchronously, but soon.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct SeccompAudit {
    /// None after it has failed.
    source: Option<Source>,
    session: u32,
    tally: Tally,
    /// Whether records arrived faster than they could be stored.
    lost: bool,
    /// Whether the record that we triggered has arrived.
    own_came: bool,
    tables: Rc<Vec<Table>>,
    logging: Logging,
}

enum Source {
    /// All records, in order.
    Audit(OwnedFd),
    /// The kernel's ring buffer, which is rate-limited.
    Kmsg(OwnedFd),
}

/// The next entry of the kernel's log.
enum Next {
    Nothing,
    Record(Record),
    /// An entry that is not about a filter.
    Another,
}

impl SeccompAudit {
    /// Starts listening before the container exists, if requested. If that fails it warns, and the container runs anyway.
    pub fn watch(plan: &Plan) -> Option<Self> {
        let filter = plan.process.as_ref()?.seccomp.as_ref()?;
        let (logging, tables) = filter.logged.clone()?;
        unlogged(filter);
        let mut reasons = Vec::new();
        match begin_session() {
            Err(error) => reasons.push(format!("cannot start an audit session: {error:#}")),
            Ok(session) => {
                for open in [Source::audit, Source::kmsg] {
                    let denials = |source| SeccompAudit {
                        source: Some(source),
                        session,
                        tally: Tally::default(),
                        lost: false,
                        own_came: false,
                        tables: tables.clone(),
                        logging,
                    };
                    match open().map(denials).and_then(SeccompAudit::tried) {
                        Ok(denials) => return Some(denials),
                        Err(error) => reasons.push(format!("{error:#}")),
                    }
                }
            }
        }
        log::warning(&format!(
            "--seccomp-log: cannot list denied system calls: {}; the system's log may have them (journalctl -k, dmesg, or \
             ausearch -m SECCOMP)",
            reasons.join("; ")
        ));
        None
    }

    /// Verifies that a source delivers records. It may exist and stay silent: a kernel without audit writes nothing, and one
    /// with audit reports only to the initial network namespace. Silence must not be mistaken for "nothing was denied".
    fn tried(mut self) -> Result<Self> {
        match self.until_own_record()? {
            true => Ok(self),
            false => Err(anyhow!(
                "{}: a test record did not arrive",
                self.source.as_ref().map_or("the log", Source::name)
            )),
        }
    }

    /// Triggers a record, and collects records until it arrives. Returns whether it did.
    fn until_own_record(&mut self) -> Result<bool> {
        self.own_came = false;
        make_record()?;
        let end = Instant::now() + PATIENCE;
        loop {
            self.collect();
            let left = end.saturating_duration_since(Instant::now()).as_millis() as i32;
            match self.fd() {
                Some(fd) if !self.own_came && left > 0 => drop(descriptor::poll(&[(fd, libc::POLLIN)], left)?),
                _ => return Ok(self.own_came),
            }
        }
    }

    /// Readable when records are pending; none if no more will arrive.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(match self.source.as_ref()? {
            Source::Audit(fd) | Source::Kmsg(fd) => fd.as_fd(),
        })
    }

    /// Collects pending records. Watching a container must not end it, so a failure is reported at the end.
    pub fn collect(&mut self) {
        let mut buffer = [0u8; 9000];
        loop {
            match self.source.as_ref().map(|source| source.next(&mut buffer)) {
                None | Some(Ok(Next::Nothing)) => return,
                Some(Ok(Next::Another)) => {}
                Some(Ok(Next::Record(record))) if record.session != self.session => {}
                Some(Ok(Next::Record(record))) if record.number == own_call() => self.own_came = true,
                Some(Ok(Next::Record(record))) => self.tally.add(record),
                Some(Err(error)) => {
                    self.lost = true;
                    // With these errnos the kernel reports that it dropped records; later ones can be read.
                    if !matches!(error.errno, Errno::ENOBUFS | Errno::EPIPE) {
                        self.source = None;
                        return;
                    }
                }
            }
        }
    }

    /// Reports all calls. Records arrive in order, so when one triggered now arrives, all of the container's have arrived.
    pub fn report(mut self) -> Result<()> {
        self.lost |= !self.until_own_record()?;
        let mut text = match (self.tally.is_empty(), self.logging) {
            (true, Logging::Deny) => "seccomp denied no system call of this container".to_string(),
            (true, Logging::Allow) => "seccomp would have denied no system call of this container".into(),
            (false, Logging::Deny) => "seccomp denied or logged these system calls of this container:".into(),
            (false, Logging::Allow) => {
                "seccomp allowed these system calls of this container, and would have returned:".into()
            }
        };
        text += &self.tally.format(&self.tables);
        if matches!(self.source, Some(Source::Kmsg(_))) {
            // Also if records are known to be missing: this is the reason.
            text += "\n    and possibly more: only the kernel's ring buffer could be read, which is rate-limited \
                     (kernel.printk_ratelimit)";
        } else if self.lost {
            text += "\n    and possibly more: records were lost, or arrived faster than they were read";
        }
        log::warning(&text);
        Ok(())
    }
}

impl Source {
    fn name(&self) -> &'static str {
        match self {
            Source::Audit(_) => "the audit socket",
            Source::Kmsg(_) => "/dev/kmsg",
        }
    }

    fn audit() -> Result<Self> {
        Ok(Source::Audit(audit::open()?))
    }

    fn kmsg() -> Result<Self> {
        let file = fs::open(Path::new("/dev/kmsg"), libc::O_RDONLY | libc::O_NONBLOCK)?;
        fs::seek_to_end(file.as_fd())?;
        Ok(Source::Kmsg(file))
    }

    fn next(&self, buffer: &mut [u8]) -> SysResult<Next> {
        let record = match self {
            Source::Audit(socket) => match audit::next(socket.as_fd(), buffer)? {
                None => return Ok(Next::Nothing),
                Some((AUDIT_SECCOMP, text)) => Record::parse(&String::from_utf8_lossy(text)),
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

/// A system call number that no kernel implements, different for each running runtime.
fn own_call() -> u32 {
    seccomp::FIRST_UNKNOWN_CALL + u32::from(own_offset())
}

fn own_offset() -> u16 {
    (std::process::id() & 0xffff) as u16
}

/// Makes the kernel log a call of ours: a child calls a nonexistent system call under a filter that logs it.
fn make_record() -> Result<()> {
    // Taken here, because the child has another pid.
    let offset = own_offset();
    let number = own_call();
    let insn = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let program = [
        insn(LD, 0, 0, NR),
        insn(JEQ, 0, 1, number),
        insn(RET, 0, 0, Action::LOG.0),
        insn(RET, 0, 0, Action::ALLOW.0),
    ];
    match clone::clone3(0, Relation::Child, None)? {
        Cloned::Child => {
            let confined = process::set_undumpable()
                .and_then(|()| process::set_no_new_privileges())
                .and_then(|()| seccomp::set_filter(0, &program));
            if confined.is_ok() {
                seccomp::make_unknown_call(offset);
            }
            process::exit_now(0)
        }
        Cloned::Parent { pidfd, .. } => {
            process::wait_pidfd(pidfd.as_fd(), true)?;
            Ok(())
        }
    }
}

/// Starts an audit session and returns its number. The login uid stays as it is; if there is none, as in services, it
/// becomes the uid of the runtime. The kernel allows this once to every process, and later only with CAP_AUDIT_CONTROL.
fn begin_session() -> Result<u32> {
    let read = |path: &str| -> Result<u32> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| SysError::from_io(Syscall::Read.of(Path::new(path)), &error))?;
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

/// Warns about actions that this system is configured not to log.
fn unlogged(filter: &Seccomp) {
    let Ok(logged) = std::fs::read_to_string(ACTIONS_LOGGED) else {
        return;
    };
    let mut missing: Vec<&str> = Vec::new();
    for insn in &filter.program {
        let Some(name) = (insn.code == RET).then(|| Action(insn.k).logged_as()).flatten() else {
            continue;
        };
        if !missing.contains(&name) && !logged.split_ascii_whitespace().any(|word| word == name) {
            missing.push(name);
        }
    }
    if !missing.is_empty() {
        log::warning(&format!(
            "--seccomp-log: the kernel is configured not to log {}: add it to {ACTIONS_LOGGED}",
            missing.join(" and ")
        ));
    }
}
