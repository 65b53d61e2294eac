//! One command of the runtime: how it is started, waited for and checked.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, setgroups};
use serde_json::Value;

use super::golden::own_texts;
use super::runtime;

/// How long a single command of the runtime may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The result of a command.
#[derive(Debug)]
pub struct Output {
    /// Exit code; 128+n when signal n ended the runtime itself.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// The arguments, to be shown when an assertion fails.
    pub args: Vec<String>,
    /// The processor time of the runtime and of the children that it waited for.
    pub processor_time: Duration,
}

impl Output {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// The command failed with an error message, not by a signal or a panic.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(
            self.code != 0 && self.code < 128 || self.code == 255,
            "should have been refused: {self:#?}"
        );
        assert!(!self.stderr.trim().is_empty(), "failed without a message: {self:#?}");
        self
    }

    #[track_caller]
    pub fn fails_with(self, text: &str) -> Self {
        let this = self.fails();
        assert!(
            this.stderr.to_lowercase().contains(&text.to_lowercase()),
            "no `{text}` in the message: {this:#?}"
        );
        this
    }

    /// The command failed for this reason. Only orlop is expected to state it in these words.
    #[track_caller]
    pub fn fails_for(self, reason: &str) -> Self {
        if own_texts() {
            self.fails_with(reason)
        } else {
            self.fails()
        }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

/// A command of the runtime before it is started; [`Cmd::run`] runs it.
pub struct Cmd {
    command: Command,
    stdin: Option<Vec<u8>>,
    out: PathBuf,
    args: Vec<String>,
    limit: Duration,
    /// Descriptors to appear in the child under the given numbers.
    pass: Vec<(OwnedFd, RawFd)>,
}

impl Cmd {
    /// `out` with other extensions receives the output; `mark` in the environment identifies the bundle.
    pub fn new(out: PathBuf, args: Vec<String>, mark: &str) -> Self {
        let mut command = Command::new(runtime());
        // A fixed, small environment.
        command
            .args(&args)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("ORLOP_TEST", mark).current_dir("/");
        Self {
            command,
            stdin: None,
            out,
            args,
            limit: LIMIT,
            pass: Vec::new(),
        }
    }

    /// Another program instead of the runtime. To be called before anything else is set.
    pub fn program(mut self, path: &Path) -> Self {
        self.replace(path, &[]);
        self
    }

    /// Runs a shell command first, in the process that becomes the runtime (`$$` is the runtime's PID). To be called before
    /// anything else is set.
    pub fn through_shell(mut self, script: &str) -> Self {
        let script = format!("{script}; exec \"$0\" \"$@\"");
        self.replace(
            Path::new("/bin/sh"),
            &["-c".as_ref(), script.as_ref(), runtime().as_os_str()],
        );
        self
    }

    fn replace(&mut self, program: &Path, first: &[&OsStr]) {
        let mut command = Command::new(program);
        command.args(first).args(&self.args).env_clear().current_dir("/");
        command.envs(self.command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        self.command = command;
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    pub fn cwd(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// A time limit for work that takes longer than that of most commands.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub fn stdin(mut self, bytes: &str) -> Self {
        self.stdin = Some(bytes.as_bytes().to_vec());
        self
    }

    /// Lets `fd` survive into the runtime as number `as_fd`, as a careless engine would.
    pub fn pass_fd(mut self, fd: impl Into<OwnedFd>, as_fd: RawFd) -> Self {
        // First to a high number: one descriptor may have the number that another is to get.
        let high = fcntl(fd.into(), FcntlArg::F_DUPFD_CLOEXEC(1100)).expect("F_DUPFD_CLOEXEC");
        // SAFETY: the descriptor is new, so nothing else owns it.
        self.pass.push((unsafe { OwnedFd::from_raw_fd(high) }, as_fd));
        self
    }

    pub fn umask(self, mask: libc::mode_t) -> Self {
        self.before_exec(move || {
            umask(Mode::from_bits_truncate(mask));
            Ok(())
        })
    }

    /// Runs the runtime with these supplementary groups.
    pub fn groups(self, groups: &[libc::gid_t]) -> Self {
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        self.before_exec(move || Ok(setgroups(&groups)?))
    }

    /// Anything else to do in the child before it becomes the runtime: system calls, and no lock that another thread may
    /// hold.
    pub fn before_exec(mut self, f: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        // SAFETY: the functions of the tests make system calls and allocate at most, which the C library allows after a fork.
        unsafe { self.command.pre_exec(f) };
        self
    }

    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Output goes to files, not pipes, so that a container that keeps them open cannot block the test.
    pub fn spawn(mut self) -> Running {
        let pass: Vec<(RawFd, RawFd)> = self.pass.iter().map(|(fd, number)| (fd.as_raw_fd(), *number)).collect();
        self = self.before_exec(move || {
            // What the caller of the tests has left open is not to reach the runtime.
            // SAFETY: the call takes no pointer; the flag matters at execve(2) alone.
            let result = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
            if result < 0 {
                return Err(std::io::Error::last_os_error());
            }
            for (fd, number) in &pass {
                // SAFETY: dup2(2) and fcntl(2) take no pointer, and nothing in this process uses the number before execve(2).
                let result = unsafe { libc::dup2(*fd, *number) };
                if result < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                // dup2 onto itself keeps the flag.
                // SAFETY: as above.
                unsafe { libc::fcntl(*number, libc::F_SETFD, 0) };
            }
            Ok(())
        });
        let stdout = File::create(self.out.with_extension("out")).expect("stdout file");
        let stderr = File::create(self.out.with_extension("err")).expect("stderr file");
        let stdin = if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        self.command.stdin(stdin).stdout(stdout).stderr(stderr);
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", runtime().display()));
        if let Some(bytes) = self.stdin {
            let _ = child.stdin.take().expect("piped stdin").write_all(&bytes);
        }
        Running {
            child,
            out: self.out,
            args: self.args,
            deadline: Instant::now() + self.limit,
        }
    }
}

/// A command of the runtime that is still running.
pub struct Running {
    child: Child,
    out: PathBuf,
    args: Vec<String>,
    deadline: Instant,
}

impl Running {
    pub fn signal(&self, signal: i32) {
        let signal = Signal::try_from(signal).expect("a signal");
        let _ = nix::sys::signal::kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(self.out.with_extension("out")).unwrap_or_default()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.out.with_extension("err")).unwrap_or_default()).into_owned()
    }

    /// Waits until stdout contains `text`.
    #[track_caller]
    pub fn until(&mut self, text: &str) {
        while !self.stdout().contains(text) {
            if let Some(status) = self.child.try_wait().expect("wait") {
                let stderr = self.stderr();
                // It may have written between the two checks.
                assert!(
                    self.stdout().contains(text),
                    "{:?} ended ({status}) without `{text}`: {stderr}",
                    self.args
                );
            }
            assert!(
                Instant::now() < self.deadline,
                "{:?}: no `{text}` in time: {:?}",
                self.args,
                self.stdout()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_some()
    }

    pub fn wait(mut self) -> Output {
        // Not of orlop::sys, which is under test.
        // SAFETY: the call takes no pointer.
        let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, self.child.id(), 0) } as RawFd;
        assert!(pidfd >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
        // SAFETY: the descriptor is new, so nothing else owns it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let ready = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout);
        if ready == Ok(0) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            panic!("{:?} did not end in time; stdout {:?}", self.args, self.stdout());
        }
        let processor_time = processor_time(self.child.id());
        let status = self.child.wait().expect("wait");
        let text = |extension| {
            String::from_utf8_lossy(&fs::read(self.out.with_extension(extension)).unwrap_or_default()).into_owned()
        };
        Output {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: text("out"),
            stderr: text("err"),
            args: std::mem::take(&mut self.args),
            processor_time,
        }
    }
}

/// Of a child that has ended and has not been reaped. The fifth argument of waitid(2) is not available in the C library.
fn processor_time(pid: u32) -> Duration {
    // SAFETY: both are plain data for which zeroes are valid.
    let (mut usage, mut info): (libc::rusage, libc::siginfo_t) = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to these two, which outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PID,
            pid,
            &mut info,
            libc::WEXITED | libc::WNOWAIT,
            &mut usage,
        )
    };
    assert_eq!(result, 0, "waitid: {}", std::io::Error::last_os_error());
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Running {
    /// For cleaning up: does not panic if the command hangs.
    pub fn wait_quietly(mut self) {
        while Instant::now() < self.deadline && !self.has_ended() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
