//! One CRIU process and the talk with it.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use protobuf::{Message as _, MessageField};

use super::failure;
use super::rpc::{Criu_features, Criu_opts, Criu_req, Criu_req_type, Criu_resp};
use crate::child::{self, Spawned};
use crate::error::{Context, Error, Result, Step, bail, call_with_hint};
use crate::host_program;
use crate::interrupt::Interrupts;
use crate::log;
use crate::protocol::{Channel, Message, Received, out_of_order};
use crate::spawn;
use crate::sys::descriptor::Stream;
use crate::sys::process::Exit;
use crate::sys::{SysError, Syscall, descriptor, fs, memfd, process, signal, socket};

const NAME: &str = "criu";

/// The oldest version whose RPC has everything that is asked for here. A field that CRIU does not know would be ignored.
const OLDEST: (i32, i32) = (3, 16);

/// How long CRIU may go on after a signal before it is killed. It is asked to stop at its next notification, at which it can
/// still let the processes go on unharmed; when it is killed, it cannot.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long CRIU may go on after the end of a process that it restores: it usually notices by itself.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// The longest response, in bytes.
const LONGEST: usize = 1 << 20;

/// Signals at which CRIU must not end in the middle of its work: those of the terminal, which are for the runtime, and the one
/// for writing to a runtime that has been killed. It undoes what it has done if the write fails instead.
const IGNORED: &[i32] = &[libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTSTP, libc::SIGPIPE];

/// The surroundings of CRIU.
pub struct Start<'a> {
    /// The container has the terminal of the caller, which CRIU finds as its standard input, and stays in the caller's process
    /// group. Otherwise CRIU has a process group of its own, so that a signal to that of the runtime does not end it.
    pub shell_job: bool,
    /// Descriptors that it inherits under the same numbers.
    pub passed: Vec<BorrowedFd<'a>>,
    /// New namespaces for it (`CLONE_NEW*`).
    pub namespaces: u64,
    /// Where it writes its log: see [`Session::run`].
    pub log: PathBuf,
    pub interrupts: &'a Interrupts,
}

/// A CRIU process that waits for a request. It ends when this is dropped.
pub struct Session<'a> {
    socket: OwnedFd,
    pidfd: OwnedFd,
    /// What it writes to standard output and standard error, which is something only before it has opened its log.
    output: OwnedFd,
    log: PathBuf,
    interrupts: &'a Interrupts,
    ended: bool,
    /// See [`Session::depends_on`].
    needed: RefCell<Option<OwnedFd>>,
}

/// What CRIU has come to, by the names of its action scripts, criu(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// The images are complete; afterwards the processes are killed, unless they are to go on.
    PostDump,
    /// The namespaces of the first process exist, and nothing is in them yet.
    SetupNamespaces,
    /// All processes are restored, and wait to go on.
    PostRestore,
    /// The master end of a new terminal comes with it.
    OrphanPtsMaster,
    /// The page server for lazy pages is ready.
    StatusReady,
    /// One that the runtime has nothing to do for.
    Other,
}

impl Script {
    fn of(name: &str) -> Self {
        match name {
            "post-dump" => Script::PostDump,
            "setup-namespaces" => Script::SetupNamespaces,
            "post-restore" => Script::PostRestore,
            "orphan-pts-master" => Script::OrphanPtsMaster,
            "status-ready" => Script::StatusReady,
            _ => Script::Other,
        }
    }
}

pub struct Notification {
    pub script: Script,
    /// The pid of the first process, as this process sees it; 0 if the script is not about it.
    pub pid: i32,
    pub fd: Option<OwnedFd>,
}

impl<'a> Session<'a> {
    /// Starts CRIU. `prepare` is run in its process before.
    pub fn start(start: Start<'a>, prepare: impl FnOnce() -> Result<()>) -> Result<Self> {
        // The children of a CRIU that is killed are left to this process: see `end_children`.
        process::set_child_subreaper(true)?;
        let output = memfd::create(c"output", false, false)?;
        // A log of an earlier run would be taken for that of this one.
        match fs::unlinkat(fs::CWD, &start.log, false) {
            Err(error) if error.errno != Errno::ENOENT => {
                return Err(error).with_context(|| format!("{:?}", start.log));
            }
            _ => {}
        }
        let child = match child::spawn(start.namespaces, None).context(Step::Clone)? {
            Spawned::Child(report) => {
                let channel = Channel::new(report);
                let become_criu = || -> Result<()> {
                    prepare()?;
                    if !start.shell_job {
                        process::lead_process_group()?;
                    }
                    // CRIU finds descriptors in the process that has made the socket: /proc/PID/fd/N. With this process it is CRIU
                    // itself, so that these may be directories of its own mount namespace.
                    let (ours, theirs) = socket::pair()?;
                    channel.send_with(&Message::Ready, Some(ours.as_fd()))?;
                    drop(ours);
                    let arguments = ["swrk".to_string(), theirs.as_raw_fd().to_string()];
                    let program = host_program::program(NAME, &arguments)?;
                    let passed: Vec<BorrowedFd> = start.passed.iter().copied().chain([theirs.as_fd()]).collect();
                    let null = fs::open(Path::new("/dev/null"), libc::O_RDWR)?;
                    let input = if start.shell_job {
                        Stream::Input.as_fd()
                    } else {
                        null.as_fd()
                    };
                    let streams = [input, output.as_fd(), output.as_fd()];
                    let failed = spawn::become_program(&program, streams, || {
                        signal::ignore(IGNORED);
                        for fd in passed {
                            // Otherwise CRIU finds that it is closed.
                            let _ = descriptor::keep_on_exec(fd);
                        }
                    });
                    Err(not_executed(failed))
                };
                if let Err(error) = become_criu() {
                    channel.send_failure(&error);
                }
                process::exit_now(1)
            }
            Spawned::Parent(child) => child,
        };
        let channel = Channel::new(child.socket);
        let socket = hear(&channel, &child.pidfd);
        let socket = socket.inspect_err(|_| {
            // It has said why, and exits.
            let _ = process::wait_pidfd(child.pidfd.as_fd(), true);
        })?;
        let session = Session {
            socket,
            pidfd: child.pidfd,
            output,
            log: start.log,
            interrupts: start.interrupts,
            ended: false,
            needed: RefCell::new(None),
        };
        session.check_version()?;
        Ok(session)
    }

    fn check_version(&self) -> Result<()> {
        let mut request = request(Criu_req_type::VERSION);
        request.set_keep_open(true);
        let response = self.ask(&request).context("asking for the version")?;
        let found = (response.version.major_number(), response.version.minor_number());
        log::debug(|| format!("criu {}.{}", found.0, found.1));
        if found < OLDEST {
            bail!(
                "criu {}.{} is too old: at least {}.{} is required",
                found.0,
                found.1,
                OLDEST.0,
                OLDEST.1
            );
        }
        Ok(())
    }

    /// What the kernel and this version of CRIU support.
    pub fn features(&self) -> Result<Criu_features> {
        let mut request = request(Criu_req_type::FEATURE_CHECK);
        let mut wanted = Criu_features::new();
        wanted.set_mem_track(true);
        wanted.set_lazy_pages(true);
        request.features = MessageField::some(wanted);
        request.set_keep_open(true);
        let mut response = self.ask(&request).context("asking for the features")?;
        Ok(response.features.take().unwrap_or_default())
    }

    /// A request that CRIU answers at once.
    fn ask(&self, request: &Criu_req) -> Result<Criu_resp> {
        self.send(request)?;
        self.wait(true)?;
        let (response, _) = self.receive()?;
        match response.success() {
            true => Ok(response),
            false => Err(failure::of(&response, None, &self.output)),
        }
    }

    /// Dumps or restores, and calls `notified` for every notification. If that fails, or a signal interrupts before
    /// `is_final` holds for a notification that was answered, CRIU is told to undo what it has done.
    pub fn run(
        &self,
        what: Criu_req_type,
        options: Criu_opts,
        is_final: impl Fn(Script) -> bool,
        mut notified: impl FnMut(Notification) -> Result<()>,
    ) -> Result<Criu_resp> {
        let mut request = request(what);
        request.opts = MessageField::some(options);
        self.send(&request)?;
        let mut refused: Option<Error> = None;
        let mut is_over = false;
        loop {
            if refused.is_none() {
                refused = self.wait(!is_over).err();
            }
            let received = match &refused {
                Some(_) => self.wait_after_refusal().and_then(|()| self.receive()),
                None => self.receive(),
            };
            let (response, fd) = match (received, refused.take()) {
                // It has ended, perhaps because it was killed.
                (Err(_), Some(error)) => return Err(error),
                (received, error) => {
                    refused = error;
                    received?
                }
            };
            if response.type_() != Criu_req_type::NOTIFY {
                return match (refused, response.success()) {
                    (Some(error), _) => Err(error),
                    (None, true) => Ok(response),
                    (None, false) => Err(failure::of(&response, Some(&self.log), &self.output)),
                };
            }
            let script = Script::of(response.notify.script());
            log::debug(|| format!("criu: {}", response.notify.script()));
            let done = match &refused {
                Some(_) => false,
                None => {
                    let notification = Notification {
                        script,
                        pid: response.notify.pid(),
                        fd,
                    };
                    notified(notification).map_err(|error| refused = Some(error)).is_ok()
                }
            };
            is_over |= done && is_final(script);
            let mut answer = self::request(Criu_req_type::NOTIFY);
            answer.set_notify_success(done);
            self.send(&answer)?;
        }
    }

    /// From now on the end of this process means that the request cannot succeed. CRIU may not notice it, and wait for ever.
    pub fn depends_on(&self, pidfd: OwnedFd) {
        self.needed.replace(Some(pidfd));
    }

    /// Waits for a packet; an error if CRIU ends, or if a signal interrupts (unless it is too late for that).
    fn wait(&self, interruptible: bool) -> Result<()> {
        self.wait_until(None, interruptible)
    }

    /// Waits for a packet of a CRIU that has been or will be told to stop.
    fn wait_after_refusal(&self) -> Result<()> {
        self.wait_until(Some(Instant::now() + PATIENCE), false)
    }

    /// After `end` CRIU is killed.
    fn wait_until(&self, mut end: Option<Instant>, interruptible: bool) -> Result<()> {
        loop {
            let needed = self.needed.borrow();
            let mut watched = vec![(self.socket.as_fd(), libc::POLLIN), (self.pidfd.as_fd(), libc::POLLIN)];
            // A descriptor that is not asked about has no events.
            watched.push((self.interrupts.fd(), if interruptible { libc::POLLIN } else { 0 }));
            watched.extend(needed.as_ref().map(|fd| (fd.as_fd(), libc::POLLIN)));
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let timeout = left.map_or(-1, |left| left.as_millis() as i32);
            let events = descriptor::poll(&watched, timeout)?;
            let ready = |index: usize| events.get(index).is_some_and(|events| *events != 0);
            if ready(0) {
                return Ok(());
            }
            if ready(1) {
                return self.last_packet();
            }
            if ready(3) {
                drop(watched);
                drop(needed);
                self.needed.replace(None);
                log::debug(|| "the first process of the container has ended".into());
                end = Some(Instant::now() + SHORT_PATIENCE);
                continue;
            }
            if interruptible {
                self.interrupts.check()?;
            }
            if left.is_some_and(|left| left.is_zero()) {
                log::warning("criu does not stop, and is killed");
                process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL)?;
                return self.last_packet();
            }
        }
    }

    /// After the end of CRIU. Its children may still have its end of the socket, so that there is no end of file.
    fn last_packet(&self) -> Result<()> {
        match descriptor::poll(&[(self.socket.as_fd(), libc::POLLIN)], 0)?.first() {
            Some(events) if *events != 0 => Ok(()),
            _ => Err(self.gone()),
        }
    }

    fn send(&self, request: &Criu_req) -> Result<()> {
        let bytes = request.write_to_bytes().context("the request to criu")?;
        match socket::send(self.socket.as_fd(), &bytes, None) {
            Err(error) if matches!(error.errno, Errno::EPIPE | Errno::ECONNRESET) => Err(self.gone()),
            other => Ok(other?),
        }
    }

    fn receive(&self) -> Result<(Criu_resp, Option<OwnedFd>)> {
        let length = match socket::next_length(self.socket.as_fd()) {
            Ok(0) => return Err(self.gone()),
            Err(error) if error.errno == Errno::ECONNRESET => return Err(self.gone()),
            other => other?.min(LONGEST),
        };
        let mut buffer = vec![0; length];
        let (length, fd) = socket::receive(self.socket.as_fd(), &mut buffer)?;
        let response = Criu_resp::parse_from_bytes(buffer.get(..length).unwrap_or_default());
        Ok((response.context("the response of criu")?, fd))
    }

    /// The error for a CRIU that has ended in the middle.
    fn gone(&self) -> Error {
        let how = match process::wait_pidfd(self.pidfd.as_fd(), true) {
            Ok(Some(Exit::Signal(number))) => format!("criu was killed by signal {number}"),
            Ok(Some(Exit::Code(code))) => format!("criu ended with exit status {code}"),
            _ => "criu has ended".into(),
        };
        failure::of_ended(&how, &self.log, &self.output)
    }

    /// Closes the socket and waits for CRIU to end.
    pub fn end(mut self) -> Result<()> {
        self.close()
    }

    fn close(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        socket::shutdown(self.socket.as_fd())?;
        if descriptor::poll(&[(self.pidfd.as_fd(), libc::POLLIN)], PATIENCE.as_millis() as i32)? == [0] {
            log::warning("criu does not end, and is killed");
            process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL)?;
        }
        process::wait_pidfd(self.pidfd.as_fd(), true)?;
        Ok(())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // An error is on its way, or nothing depends on the end.
        let _ = self.close();
    }
}

/// Kills all children of this process, for a CRIU that has failed: if it was killed, it has left its own behind.
pub fn end_children() -> Result<()> {
    // The end of one may leave its children to this process.
    loop {
        let children = process::children()?;
        if children.is_empty() {
            return Ok(());
        }
        for pid in children {
            let pidfd = process::pidfd_open(pid)?;
            process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL)?;
            if descriptor::poll(&[(pidfd.as_fd(), libc::POLLIN)], PATIENCE.as_millis() as i32)? == [0] {
                bail!("process {pid}, which criu has left, does not end although it was killed");
            }
            process::wait_pidfd(pidfd.as_fd(), false)?;
        }
    }
}

/// Waits until the child has executed CRIU. Returns the socket to it.
fn hear(channel: &Channel, pidfd: &OwnedFd) -> Result<OwnedFd> {
    let socket = match channel.next_from(pidfd.as_fd())? {
        Received::Message(Message::Ready, Some(socket)) => socket,
        Received::Message(other, _) => return Err(out_of_order(&other)),
        Received::End => bail!("the process that was to execute criu ended before it did"),
    };
    // The execve closes the channel.
    match channel.next_from(pidfd.as_fd())? {
        Received::Message(other, _) => Err(out_of_order(&other)),
        Received::End => Ok(socket),
    }
}

fn request(kind: Criu_req_type) -> Criu_req {
    let mut request = Criu_req::new();
    request.set_type(kind);
    request
}

fn not_executed(error: SysError) -> Error {
    match (error.call.name, error.errno) {
        (Syscall::Execve, Errno::ENOENT) => call_with_hint(
            SysError::new(Syscall::Execve.of(NAME), error.errno),
            "criu, which does the work, is not in PATH",
            "install CRIU (the package criu; see https://criu.org/Packages), or add its directory to the PATH of the caller",
        ),
        (Syscall::Execve, errno) => SysError::new(Syscall::Execve.of(NAME), errno).into(),
        _ => error.into(),
    }
}
