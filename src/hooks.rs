//! Hooks: programs of the config that run at the points of the lifecycle, with the container's state on standard input
//! (runtime.md, "Lifecycle"; config.md, "POSIX-platform Hooks").
//!
//! The same code runs them on both sides: in the runtime's namespaces by the runtime, in the container's by init.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use oci_spec::runtime::Hook;

use crate::error::{At, Context, Error, Result, Step, anyhow, bail, call_with_hint};
use crate::interrupt::Interrupts;
use crate::plan::HookPoint;
use crate::progress;
use crate::security::seccomp::install::HookFilter;
use crate::spawn::{self, Program};
use crate::status::Document;
use crate::sys::process::Exit;
use crate::sys::{Arg, SysError, Syscall, c_path, descriptor, fs, memfd, process};
use crate::timings::Peer;

/// How much of a hook's output is kept for the error, in bytes.
const KEPT: usize = 16 << 10;

/// What the hooks of one point get, besides the state.
#[derive(Default)]
pub struct Surroundings<'a> {
    /// Signals for the runtime, which also end a hook.
    pub interrupts: Option<&'a Interrupts>,
    /// A pidfd of init. If init ends, the hook has no purpose any more and is ended too.
    pub init: Option<BorrowedFd<'a>>,
    /// The environment of a hook that lists none. The specification does not define it; the caller's is not passed on.
    pub environment: Vec<CString>,
    /// The working directory, if not the caller's.
    pub directory: Option<OwnedFd>,
    /// The umask, if not that of the process that runs the hooks.
    pub umask: Option<u32>,
    /// The seccomp filter of the container's programs.
    pub filter: Option<Arc<HookFilter>>,
    /// Where to write their output.
    pub output: Output<'a>,
}

/// crun's annotations that name files of the host for the output of hooks.
pub const STDOUT: &str = "run.oci.hooks.stdout";
pub const STDERR: &str = "run.oci.hooks.stderr";

/// Files to which the output of hooks is appended, besides being kept for the error.
#[derive(Default)]
pub enum Output<'a> {
    #[default]
    Nowhere,
    /// To the files that the annotations of the state name, which are opened when a hook is run.
    Annotated,
    Files(&'a Files),
}

#[derive(Default)]
pub struct Files {
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

impl Files {
    /// Opens the files that annotations name, and creates missing ones. A relative path starts at the bundle, as hooks do.
    pub fn open(annotations: &BTreeMap<String, String>, bundle: &Path) -> Result<Self> {
        let open = |key: &str| -> Result<Option<OwnedFd>> {
            let Some(path) = annotations.get(key).filter(|path| !path.is_empty()) else {
                return Ok(None);
            };
            // Nothing waits for a reader of a FIFO, now or later; output that it does not read is lost.
            let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_NONBLOCK | libc::O_NOCTTY;
            fs::openat(fs::CWD, &bundle.join(path), flags, 0o600)
                .map(Some)
                .with_context(|| At::object(format!("annotations.{key}"), path))
        };
        Ok(Files {
            stdout: open(STDOUT)?,
            stderr: open(STDERR)?,
        })
    }

    /// The numbers of the descriptors, to be kept when all others are closed.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> {
        self.stdout.iter().chain(&self.stderr).map(AsRawFd::as_raw_fd)
    }
}

impl Surroundings<'_> {
    /// For hooks that the runtime runs. They start in the bundle, as with other runtimes, because their arguments may contain paths
    /// relative to it; if the bundle is gone, as it may be before `delete`, they start in the caller's directory.
    pub fn in_bundle(state: &Document) -> Self {
        Surroundings {
            directory: fs::open(state.bundle, libc::O_PATH | libc::O_DIRECTORY).ok(),
            output: Output::Annotated,
            ..Default::default()
        }
    }

    fn files<'b>(&'b self, opened: &'b Files) -> &'b Files {
        match self.output {
            Output::Files(files) => files,
            _ => opened,
        }
    }
}

/// Runs the hooks of one point in their order, up to the first failure.
pub fn run(point: HookPoint, hooks: &[Hook], state: &Document, around: &Surroundings) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let opened = opened(state, around)?;
    let files = around.files(&opened);
    for (index, hook) in hooks.iter().enumerate() {
        let at = || place(point, index, hook);
        progress::at(format_args!("{}", at()));
        one(point, hook, state, around, files)
            .with_context(at)
            .with_context(|| format!("error running {} hook #{index}", point.name()))?;
    }
    Ok(())
}

/// The place of a hook in the config, and its program.
pub fn place(point: HookPoint, index: usize, hook: &Hook) -> At {
    At::object(format!("hooks.{}[{index}]", point.name()), hook.path().display())
}

/// Runs all hooks of one point. Failures are only logged.
pub fn run_all(point: HookPoint, hooks: &[Hook], state: &Document) {
    if hooks.is_empty() {
        return;
    }
    let around = Surroundings::in_bundle(state);
    let opened = opened(state, &around).unwrap_or_else(|error| {
        crate::log::warning(&format!("{error:#}"));
        Files::default()
    });
    progress::step(Step::PoststopHooks);
    for (index, hook) in hooks.iter().enumerate() {
        progress::at(format_args!("{}", place(point, index, hook)));
        if let Err(error) = one(point, hook, state, &around, &opened) {
            crate::log::warning(&format!("hooks.{}[{index}] {:?}: {error:#}", point.name(), hook.path()));
        }
    }
}

fn opened(state: &Document, around: &Surroundings) -> Result<Files> {
    match &around.output {
        Output::Annotated => Files::open(state.annotations, state.bundle),
        _ => Ok(Files::default()),
    }
}

fn one(point: HookPoint, hook: &Hook, state: &Document, around: &Surroundings, files: &Files) -> Result<()> {
    let text = serde_json::to_vec(state)?;
    let input = memfd::create(c"state", false, false)?;
    // An error shows what was written instead of its content.
    fs::write_all(input.as_fd(), &text)
        .map_err(|error| SysError::new(Syscall::Write.of(Arg::word("state")), error.errno))?;
    fs::seek_to_start(input.as_fd())?;
    // One pipe keeps the order of the output; output to different files takes two.
    let (reader, writer) = descriptor::pipe()?;
    let mut said = Said::default();
    said.listen(reader, &files.stderr)?;
    let stdout = if files.stdout.is_none() && files.stderr.is_none() {
        descriptor::copy(writer.as_raw_fd())?
    } else {
        let (reader, writer) = descriptor::pipe()?;
        said.listen(reader, &files.stdout)?;
        writer
    };

    let program = c_path(hook.path())?;
    let strings = |list: &[String]| {
        list.iter()
            .map(|text| CString::new(&**text))
            .collect::<Result<Vec<_>, _>>()
    };
    let arguments = match hook.args().as_deref() {
        Some(arguments @ [_, ..]) => strings(arguments)?,
        _ => vec![program.clone()],
    };
    // Exactly the environment that it lists, without that of the caller.
    let environment = match hook.env() {
        Some(listed) => strings(listed)?,
        None => around.environment.clone(),
    };

    let program = Program {
        paths: vec![program],
        arguments,
        environment,
    };
    let running = spawn::spawn(
        &program,
        [input.as_fd(), stdout.as_fd(), writer.as_fd()],
        || match prepare(around) {
            Ok(()) => {}
            Err(error) => not_prepared(&error),
        },
    )
    .map_err(|error| not_run(point, error))?;
    // From here on only the hook holds these, so end of file is the end of its output.
    drop((input, stdout, writer));

    let waiting = progress::wait_for(Peer::Hook);
    let ended = wait(running.pidfd(), &mut said, hook.timeout(), around);
    let exit = match ended {
        Ok(()) => running.wait()?,
        Err(_) => running.kill()?,
    };
    drop(waiting);
    ended?;
    match exit {
        Exit::Code(0) => Ok(()),
        Exit::Signal(libc::SIGSYS) => Err(anyhow!(
            "{exit} (bad system call: linux.seccomp forbids one that it makes){}",
            said.text()
        )),
        _ => Err(anyhow!("{exit}{}", said.text())),
    }
}

/// Runs in the process that becomes the hook.
fn prepare(around: &Surroundings) -> Result<()> {
    if let Some(directory) = &around.directory {
        fs::fchdir(directory.as_fd())?;
    }
    if let Some(umask) = around.umask {
        fs::umask(umask);
    }
    match &around.filter {
        Some(filter) => filter.install(),
        None => Ok(()),
    }
}

/// Writes to the hook's output why it cannot be run.
fn not_prepared(error: &Error) -> ! {
    let _ = std::io::stderr().write_all(format!("{error:#}").as_bytes());
    process::exit_now(126)
}

/// The error of a hook that cannot be executed, with a hint if the errno suggests one.
pub fn not_run(point: HookPoint, call: SysError) -> Error {
    let cure = match call.errno {
        Errno::ENOENT if point == HookPoint::StartContainer => {
            "there is no such program in the container's root file system, or its interpreter is missing there"
        }
        Errno::ENOENT => "there is no such program on the host, or its interpreter is missing there",
        Errno::EACCES => "the path must name a file that may be executed: see its mode, and noexec of its mount",
        Errno::ENOEXEC => "the file is not a program for this machine; a script begins with a line such as #!/bin/sh",
        _ => return Error::new(call).context("cannot be run"),
    };
    call_with_hint(call, "cannot be run", cure)
}

/// The output of a hook, while it runs and after it has ended.
#[derive(Default)]
struct Said<'a> {
    /// The beginning of the output.
    kept: Vec<u8>,
    streams: Vec<Stream<'a>>,
}

struct Stream<'a> {
    reader: OwnedFd,
    file: &'a Option<OwnedFd>,
    open: bool,
}

impl<'a> Said<'a> {
    fn listen(&mut self, reader: OwnedFd, file: &'a Option<OwnedFd>) -> Result<()> {
        descriptor::set_nonblocking(&reader)?;
        self.streams.push(Stream {
            reader,
            file,
            open: true,
        });
        Ok(())
    }

    fn open(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let open = self.streams.iter().filter(|stream| stream.open);
        open.map(|stream| stream.reader.as_fd())
    }

    fn drain(&mut self) {
        for stream in self.streams.iter_mut().filter(|stream| stream.open) {
            stream.open = stream.drain(&mut self.kept);
        }
    }

    /// For the end of an error's text.
    fn text(&self) -> String {
        match String::from_utf8_lossy(&self.kept).trim() {
            "" => String::new(),
            text => format!(", output: {text}"),
        }
    }
}

impl Stream<'_> {
    /// Reads what is available, at most the content of a full pipe: a hook that writes without end must not delay its timeout.
    /// `false` at the end of the output.
    fn drain(&self, kept: &mut Vec<u8>) -> bool {
        let mut chunk = [0u8; 4096];
        for _ in 0..16 {
            match fs::read(self.reader.as_fd(), &mut chunk) {
                Ok(0) => return false,
                Ok(length) => {
                    let read = chunk.get(..length).unwrap_or_default();
                    let room = KEPT.saturating_sub(kept.len());
                    kept.extend(read.get(..room).unwrap_or(read));
                    if let Some(file) = self.file {
                        // A failure does not concern the hook.
                        let _ = fs::write(file.as_fd(), read);
                    }
                }
                Err(_) => return true,
            }
        }
        true
    }
}

/// Waits for the end of a hook and reads its output. A timeout is an error.
fn wait(hook: BorrowedFd, said: &mut Said, timeout: Option<i64>, around: &Surroundings) -> Result<()> {
    let end = timeout.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds.try_into().ok()?)));
    loop {
        let left = match end {
            None => -1,
            Some(end) => {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    bail!(
                        "did not end within its timeout of {} s{}",
                        timeout.unwrap_or_default(),
                        said.text()
                    );
                }
                // Rounded up, so that the last wait is not a busy one.
                left.as_millis().saturating_add(1).min(i32::MAX as u128) as i32
            }
        };
        let mut watched = vec![(hook, libc::POLLIN)];
        watched.extend(said.open().map(|reader| (reader, libc::POLLIN)));
        watched.extend(around.interrupts.map(|interrupts| (interrupts.fd(), libc::POLLIN)));
        // The last entry, because it is looked up by that below.
        watched.extend(around.init.map(|init| (init, libc::POLLIN)));
        let events = descriptor::poll(&watched, left)?;
        around.interrupts.map_or(Ok(()), Interrupts::check)?;
        said.drain();
        if events.first().is_some_and(|events| *events != 0) {
            return Ok(());
        }
        if around.init.is_some() && events.last().is_some_and(|events| *events != 0) {
            bail!(
                "was killed, because the container was killed while it ran{}",
                said.text()
            );
        }
    }
}
