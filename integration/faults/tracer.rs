//! Runs commands under ptrace(2), records the system calls of the runtime's processes, and disturbs one of them.
//!
//! A process is traced until it executes another program: what a hook or the container's program does is not the runtime's.
//! Once the disturbance has happened, every process is released at its next stop, so that what follows runs undisturbed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::errno::Errno;
use orlop::security::seccomp::arch::Arch;

use crate::harness::host::kill;
use crate::harness::{Cmd, runtime};

/// A command that takes longer than this hangs.
pub const LIMIT: Duration = Duration::from_secs(5);

/// One call: of which process, in order of birth and beginning with the runtime, and which of its calls of that name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    pub process: usize,
    pub call: &'static str,
    pub nth: usize,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.process, self.call, self.nth)
    }
}

impl FromStr for Site {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split(':').collect();
        let [process, call, nth] = parts[..] else {
            return Err(());
        };
        let known = names().iter().find(|name| **name == call);
        Ok(Site {
            process: process.parse().map_err(|_| ())?,
            call: known.ok_or(())?,
            nth: nth.parse().map_err(|_| ())?,
        })
    }
}

/// What happens at a site, instead of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The call fails. A close(2) closes the descriptor all the same, as the kernel does it.
    Fail(Errno),
    /// SIGKILL to the process that makes the call.
    Kill,
    /// SIGKILL to the runtime and to every other traced process.
    KillAll,
    /// The same, and afterwards only the files of the state root are left, in this condition.
    PowerLoss(Files),
}

/// What a crash of the machine leaves of the files that were not synced: ext4 and XFS may keep a name and lose the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    Whole,
    Torn,
    Empty,
}

impl Files {
    pub const ALL: [Files; 3] = [Files::Whole, Files::Torn, Files::Empty];

    fn name(self) -> &'static str {
        match self {
            Files::Whole => "LOSS",
            Files::Torn => "TORN",
            Files::Empty => "EMPTY",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Fail(errno) => write!(f, "{errno:?}"),
            Action::Kill => f.write_str("KILL"),
            Action::KillAll => f.write_str("KILLALL"),
            Action::PowerLoss(files) => f.write_str(files.name()),
        }
    }
}

impl FromStr for Action {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "KILL" => Ok(Action::Kill),
            "KILLALL" => Ok(Action::KillAll),
            name => {
                let files = Files::ALL.into_iter().find(|files| files.name() == name);
                let errno = (1..134).map(Errno::from_raw).find(|errno| format!("{errno:?}") == name);
                files.map(Action::PowerLoss).or(errno.map(Action::Fail)).ok_or(())
            }
        }
    }
}

#[derive(Debug, Clone)]
pub struct Fault {
    pub site: Site,
    pub action: Action,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.site, self.action)
    }
}

impl FromStr for Fault {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (site, action) = text.rsplit_once(':').ok_or(())?;
        Ok(Fault {
            site: site.parse()?,
            action: action.parse()?,
        })
    }
}

/// What a traced command did.
#[derive(Debug, Default)]
pub struct Report {
    /// Every call, as long as nothing was disturbed.
    pub sites: Vec<Site>,
    /// Whether the site was reached.
    pub hit: bool,
    /// It did not end in time, and was killed.
    pub hung: bool,
    /// As with [`crate::harness::Output`].
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The names of system calls by number; empty where there is none.
fn names() -> &'static [&'static str] {
    static NAMES: OnceLock<Vec<&'static str>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let name = |number| Arch::NATIVE.call(number).map_or("", |call| call.name());
        (0..480).map(name).collect()
    })
}

/// Runs commands, one after the other. Their processes are traced, those of earlier commands included, but only what happens
/// while the last one runs counts.
pub fn run(commands: Vec<Cmd>, fault: Option<&Fault>) -> Report {
    // The kernel detaches what is still traced when the thread ends.
    std::thread::scope(|scope| {
        let tracer = scope.spawn(|| Tracer::new(fault).run(commands));
        tracer.join().expect("the thread that traces")
    })
}

#[derive(Default)]
struct Tracee {
    index: usize,
    counts: HashMap<&'static str, usize>,
    /// The call that it is in is to fail so.
    fails: Option<Errno>,
    /// It has not been stopped yet.
    fresh: bool,
}

struct Tracer<'a> {
    fault: Option<&'a Fault>,
    tracees: BTreeMap<i32, Tracee>,
    /// Those whose first stop came before their parent's stop at the clone.
    early: BTreeSet<i32>,
    born: usize,
    runtime: i32,
    /// The size of the runtime's binary, by which a process is known to run it.
    size: u64,
    counting: bool,
    released: bool,
    report: Report,
}

/// ptrace(2) with a value as its last argument. A process that was killed meanwhile is no error.
fn ptrace(request: libc::c_uint, pid: i32, data: u64) -> bool {
    // SAFETY: the requests used with this function read no memory of ours.
    unsafe { libc::ptrace(request, pid, 0_usize, data as usize) >= 0 }
}

fn registers(pid: i32) -> Option<libc::user_regs_struct> {
    // SAFETY: plain data for which zeroes are valid.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one struct, which outlives the call.
    let result = unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0_usize, &mut registers) };
    (result >= 0).then_some(registers)
}

fn set_registers(pid: i32, registers: &libc::user_regs_struct) {
    // SAFETY: the kernel reads one struct, which outlives the call.
    unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, 0_usize, registers) };
}

/// PTRACE_SYSCALL_INFO_ENTRY of linux/ptrace.h.
const ENTRY: u8 = 1;

/// Whether a process is at the entry of a call, rather than at its exit.
fn is_at_entry(pid: i32) -> bool {
    let mut info = [0_u8; 128];
    // SAFETY: the kernel writes as many bytes as it is told at most.
    let result = unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, info.len(), info.as_mut_ptr()) };
    result > 0 && info[0] == ENTRY
}

fn event_message(pid: i32) -> i32 {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one number, which outlives the call.
    unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0_usize, &mut message) };
    message as i32
}

/// Kills the process if no word comes in time. Returns whether it did.
fn watchdog(pid: i32, done: &Receiver<()>) -> bool {
    let late = done.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
    if late {
        kill(pid);
    }
    late
}

impl<'a> Tracer<'a> {
    fn new(fault: Option<&'a Fault>) -> Self {
        Tracer {
            fault,
            tracees: BTreeMap::new(),
            early: BTreeSet::new(),
            born: 0,
            runtime: 0,
            size: fs::metadata(runtime()).expect("the runtime").size(),
            counting: false,
            released: false,
            report: Report::default(),
        }
    }

    fn run(mut self, commands: Vec<Cmd>) -> Report {
        let last = commands.len() - 1;
        for (at, command) in commands.into_iter().enumerate() {
            self.counting = at == last;
            self.command(command);
        }
        // A child that is attached from birth has a SIGSTOP pending, which would stop it for good.
        self.released = true;
        while self.tracees.values().any(|tracee| tracee.fresh) && self.next().is_some() {}
        self.report
    }

    fn command(&mut self, command: Cmd) {
        let command = command.before_exec(|| {
            // SAFETY: the request takes no argument.
            match unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0_usize, 0_usize) } {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
        let running = command.spawn();
        self.runtime = running.pid() as i32;
        // The runtime is the first process of each command; those that an earlier one has left follow.
        let mut left: Vec<&mut Tracee> = self.tracees.values_mut().collect();
        left.sort_by_key(|tracee| tracee.index);
        for (at, tracee) in left.into_iter().enumerate() {
            tracee.index = at + 1;
        }
        self.born = self.tracees.len();
        self.bear(self.runtime);
        let (done, wait) = channel();
        let pid = self.runtime;
        let watch = std::thread::spawn(move || watchdog(pid, &wait));
        let status = self.until_the_runtime_ends();
        let _ = done.send(());
        self.report.hung |= watch.join().expect("the watchdog");
        self.report.code = if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            128 + libc::WTERMSIG(status)
        };
        self.report.stdout = running.stdout();
        self.report.stderr = running.stderr();
    }

    fn until_the_runtime_ends(&mut self) -> i32 {
        loop {
            let (pid, status) = self.next().expect("the runtime is a child");
            if pid == self.runtime && !libc::WIFSTOPPED(status) {
                return status;
            }
        }
    }

    /// Waits for the next stop or end of a process and handles it; none if there are no processes.
    fn next(&mut self) -> Option<(i32, i32)> {
        let mut status = 0;
        let pid = loop {
            // SAFETY: the kernel writes one number. The flag keeps it to the children and tracees of this thread.
            match unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) } {
                -1 if Errno::last() == Errno::EINTR => {}
                -1 => return None,
                pid => break pid,
            }
        };
        if libc::WIFSTOPPED(status) {
            self.stopped(pid, libc::WSTOPSIG(status), status >> 16);
        } else {
            self.tracees.remove(&pid);
        }
        Some((pid, status))
    }

    fn stopped(&mut self, pid: i32, signal: i32, event: i32) {
        if !self.tracees.contains_key(&pid) {
            self.bear(pid);
            self.early.insert(pid);
        }
        let fresh = self.tracees.get_mut(&pid).map(|tracee| &mut tracee.fresh);
        let first = fresh.is_some_and(std::mem::take);
        if first && pid == self.runtime {
            let options = libc::PTRACE_O_TRACESYSGOOD
                | libc::PTRACE_O_TRACEFORK
                | libc::PTRACE_O_TRACEVFORK
                | libc::PTRACE_O_TRACECLONE
                | libc::PTRACE_O_TRACEEXEC
                | libc::PTRACE_O_TRACEEXIT;
            ptrace(libc::PTRACE_SETOPTIONS, pid, options as u64);
        }
        let is_call = signal == libc::SIGTRAP | 0x80;
        // The stops of ptrace(2) itself deliver nothing.
        let deliver = if is_call || event != 0 || first { 0 } else { signal };
        if is_call && !self.released {
            self.call(pid);
        }
        let leaves = event == libc::PTRACE_EVENT_EXIT || event == libc::PTRACE_EVENT_EXEC && !self.is_ours(pid);
        if matches!(
            event,
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE
        ) {
            let child = event_message(pid);
            // An early one may have been released already, and does not stop again.
            if !self.early.remove(&child) {
                self.bear(child);
            }
        }
        if self.released || leaves {
            ptrace(libc::PTRACE_DETACH, pid, deliver as u64);
            if pid != self.runtime {
                self.tracees.remove(&pid);
            }
        } else {
            ptrace(libc::PTRACE_SYSCALL, pid, deliver as u64);
        }
    }

    fn bear(&mut self, pid: i32) {
        let tracee = Tracee {
            index: self.born,
            fresh: true,
            ..Tracee::default()
        };
        self.tracees.insert(pid, tracee);
        self.born += 1;
    }

    /// Whether a process still runs the runtime's program, be it a copy.
    fn is_ours(&self, pid: i32) -> bool {
        pid == self.runtime || fs::metadata(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.size() == self.size)
    }

    fn call(&mut self, pid: i32) {
        let Some(tracee) = self.tracees.get_mut(&pid) else {
            return;
        };
        if let Some(errno) = tracee.fails.take() {
            if let Some(mut registers) = registers(pid) {
                registers.rax = (-i64::from(errno as i32)) as u64;
                set_registers(pid, &registers);
            }
            self.released = true;
            return;
        }
        if !self.counting || !is_at_entry(pid) {
            return;
        }
        let Some(mut registers) = registers(pid) else { return };
        let call = names().get(registers.orig_rax as usize).copied().unwrap_or("");
        let count = tracee.counts.entry(call).or_default();
        *count += 1;
        let site = Site {
            process: tracee.index,
            call,
            nth: *count,
        };
        if let Some(fault) = self.fault.filter(|fault| fault.site == site) {
            self.report.hit = true;
            match fault.action {
                Action::Fail(errno) => {
                    tracee.fails = Some(errno);
                    if call != "close" {
                        registers.orig_rax = u64::MAX;
                        set_registers(pid, &registers);
                    }
                }
                Action::Kill => {
                    self.released = true;
                    kill(pid);
                }
                Action::KillAll | Action::PowerLoss(_) => {
                    self.released = true;
                    self.tracees.keys().for_each(|pid| kill(*pid));
                }
            }
        }
        self.report.sites.push(site);
    }
}
