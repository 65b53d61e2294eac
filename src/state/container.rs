//! The directory of one container: its lock, its state, and the files next to it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::Deserialize;

use super::file::{self, Broken, is_broken};
use super::foreign::{self, Foreign};
use super::record::{Format, Phase, State};
use crate::called_as::CalledAs;
use crate::error::{Cleanup, Context, Error, Hint, Result, anyhow, bail, call_with_hint};
use crate::progress;
use crate::sys::fs::FsType;
use crate::sys::memory::Window;
use crate::sys::{SysError, SysResult, Syscall, directory, fs};

pub const STATE: &str = "state.json";
pub const START_SOCKET: &str = "start.sock";
/// The state file while it is being written.
const NEXT_STATE: &str = ".state.json.tmp";
const CONFIG: &str = "config.json";
/// Exists once a `delete --force` has killed the processes of a container that was being created.
const DELETED: &str = "deleted";
const NOTIFY: &str = "notify";
/// The socket in that directory; the container sees both.
const NOTIFY_SOCKET: &str = "notify.sock";

/// The directory of a container.
#[derive(Debug)]
pub struct Container {
    pub id: String,
    pub path: PathBuf,
    fd: OwnedFd,
}

impl Container {
    pub(super) fn new(id: &str, path: PathBuf, fd: OwnedFd) -> Self {
        Container {
            id: id.into(),
            path,
            fd,
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Locks the container for changes, until this process ends. If another process holds the lock, waits for up to
    /// `timeout`.
    pub fn lock(&self, timeout: Duration) -> Result<()> {
        let begin = Instant::now();
        let end = begin + timeout;
        loop {
            match fs::flock(self.fd()) {
                Err(error) if error.errno == Errno::EWOULDBLOCK => {}
                // The kernel has no memory for the lock, perhaps only for a moment.
                Err(error) if error.errno == Errno::ENOLCK && begin.elapsed() < Duration::from_millis(50) => {}
                other => return Ok(other?),
            }
            if Instant::now() >= end {
                bail!("another command is working on this container");
            }
            // No system call waits for a lock with a timeout. Only a second command on the same container gets here.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// [`Self::lock`] for a command that deletes the container: false if the lock is still held after `timeout`. If the
    /// holder has removed the container meanwhile, no lock is needed.
    pub fn lock_or_gone(&self, timeout: Duration) -> Result<bool> {
        let end = Instant::now() + timeout;
        loop {
            if !self.is_locked()? || self.is_gone()? {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Tells the creator that the container is being deleted, and that this is the cause of errors from now on.
    pub fn mark_deleted(&self) -> Result<()> {
        self.write_file(Path::new(DELETED), b"").map(drop)
    }

    /// Whether [`Self::mark_deleted`] was called.
    pub fn is_deleted(&self) -> bool {
        self.has(DELETED).unwrap_or(false)
    }

    /// Releases the lock.
    pub fn unlock(&self) -> Result<()> {
        Ok(fs::unlock(self.fd())?)
    }

    /// Whether another process holds the lock. If not, takes it.
    pub fn is_locked(&self) -> SysResult<bool> {
        match fs::flock(self.fd()) {
            Err(error) if error.errno == Errno::EWOULDBLOCK => Ok(true),
            other => other.map(|()| false),
        }
    }

    /// Whether the directory has been removed since it was opened.
    pub fn is_gone(&self) -> SysResult<bool> {
        Ok(fs::fstat(self.fd())?.st_nlink == 0)
    }

    /// Whether the directory contains a file with this name.
    pub(super) fn has(&self, name: &str) -> SysResult<bool> {
        match fs::lstatat(self.fd(), Path::new(name)) {
            Err(error) if error.errno == Errno::ENOENT => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// Whether the directory contains anything that is created after the first state.
    fn has_content(&self) -> SysResult<bool> {
        let entries = directory::entries(self.fd())?;
        Ok(entries.iter().any(|entry| entry.name != NEXT_STATE))
    }

    /// The stored state; `None` between the claim of an ID and the first write. [`Broken`] if the content is invalid.
    pub fn read(&self) -> Result<Option<State>> {
        let broken = |error: Error, hint: String| {
            let file = self.path.join(STATE).display().to_string();
            error.context(Hint { message: file, hint })
        };
        let remove = || self.remove_by_force();
        let text = match self.file(STATE) {
            Ok(None) => return Ok(None),
            Ok(Some(text)) => text,
            Err(error) if is_broken(&error) => return Err(broken(error, remove())),
            Err(error) => return Err(error),
        };
        let parsed = serde_json::from_slice::<State>(&text);
        if parsed.is_err()
            && let Some(foreign) = Foreign::of_runc(&text)
        {
            return Err(match foreign.error() {
                error if is_broken(&error) => broken(error, remove()),
                error => error,
            });
        }
        // A later version may have other fields, so the version is read even if the rest cannot be parsed.
        let version = match &parsed {
            Ok(state) => state.version,
            Err(_) => serde_json::from_slice::<Format>(&text).map_or(State::VERSION, |format| format.version),
        };
        if version != State::VERSION {
            let unknown = Broken(format!("unknown version {version}"));
            let hint = "another version of orlop created the container; delete it with that version";
            return Err(broken(unknown.into(), hint.into()));
        }
        parsed
            .map(Some)
            .map_err(|error| broken(Broken(error.to_string()).into(), remove()))
    }

    /// Why a container without a state cannot be used; none if there is nothing in its directory. [`Broken`] unless another runtime
    /// created it.
    pub fn missing_state(&self) -> Result<Option<Error>> {
        if !self.has_content()? {
            return Ok(None);
        }
        let text = self.file(foreign::CRUN_STATUS).ok().flatten().unwrap_or_default();
        let error = match Foreign::of_crun(&text) {
            Some(foreign) => foreign.error(),
            None => Broken("it is missing".into()).into(),
        };
        if !is_broken(&error) {
            return Ok(Some(error));
        }
        let message = self.path.join(STATE).display().to_string();
        let hint = self.remove_by_force();
        Ok(Some(error.context(Hint { message, hint })))
    }

    fn remove_by_force(&self) -> String {
        let name = CalledAs::own().name();
        format!("remove the container with `{name} delete --force {}`", self.id)
    }

    /// The pid and start time of init that its creator recorded in the state that is not published yet.
    pub fn recorded_init(&self) -> Result<Option<(i32, u64)>> {
        let text = match self.file(NEXT_STATE) {
            Err(error) if !is_broken(&error) => return Err(error),
            other => other.ok().flatten().unwrap_or_default(),
        };
        // It may be incomplete.
        let state = serde_json::from_slice::<State>(&text).ok();
        Ok(state
            .filter(|state| state.phase == Phase::Created && state.pid > 0)
            .map(|state| (state.pid, state.start_time)))
    }

    fn file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        file::read(self.fd(), name, &path)
    }

    /// `linux.resources` of the config that the container was created from.
    pub fn configured_resources(&self) -> Result<serde_json::Value> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Config {
            linux: Option<Linux>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Linux {
            resources: serde_json::Value,
        }
        let text = self.read_config()?;
        let config: Config = serde_json::from_slice(&text).with_context(|| format!("{:?}", self.path.join(CONFIG)))?;
        Ok(config.linux.unwrap_or_default().resources)
    }

    /// The fields of the state that can be parsed, if [`Self::read`] returns [`Broken`].
    pub fn readable_fields(&self) -> Result<serde_json::Value> {
        match self.file(STATE) {
            Ok(text) => Ok(serde_json::from_slice(&text.unwrap_or_default()).unwrap_or_default()),
            Err(error) if is_broken(&error) => Ok(serde_json::Value::Null),
            Err(error) => Err(error),
        }
    }

    /// Writes the state atomically: a reader sees the whole old state or the whole new one.
    pub fn write(&self, state: &State) -> Result<()> {
        self.prepare(state).and_then(|()| self.publish()).inspect_err(|_| {
            // The old state still holds. The error is the one to report.
            let _ = fs::unlinkat(self.fd(), Path::new(NEXT_STATE), false);
        })
    }

    /// Writes the state of a container that is being created, with a field that shows the current step.
    pub fn write_first(&self, state: &mut State) -> Result<()> {
        state.step = Some(" ".repeat(progress::SLOTS));
        let (file, text) = self.write_next(state)?;
        self.publish()?;
        state.step = None;
        // On other file systems a write to a mapped file may fail for lack of space. The step is only informative.
        if fs::type_of(file.as_fd()) == Ok(FsType::TMPFS)
            && let Some(offset) = offset_of_step(&text)
            && let Ok(window) = Window::open(file.as_fd(), offset, progress::SLOTS)
        {
            progress::share(window);
        }
        Ok(())
    }

    fn write_next(&self, state: &State) -> Result<(OwnedFd, Vec<u8>)> {
        let text = serde_json::to_vec(state).context("state.json")?;
        Ok((self.write_file(Path::new(NEXT_STATE), &text)?, text))
    }

    /// The first half of [`Self::write`]: writes the new state, which is not visible yet.
    pub fn prepare(&self, state: &State) -> Result<()> {
        self.write_next(state).map(drop)
    }

    /// The second half: makes the new state visible.
    pub fn publish(&self) -> Result<()> {
        Ok(fs::renameat(self.fd(), Path::new(NEXT_STATE), Path::new(STATE))?)
    }

    /// Stores a copy of the config.
    pub fn write_config(&self, text: &[u8]) -> Result<()> {
        self.write_file(Path::new(CONFIG), text).map(drop)
    }

    /// The config as it was at create.
    pub fn read_config(&self) -> Result<Vec<u8>> {
        let path = || self.path.join(CONFIG).display().to_string();
        let text = self.file(CONFIG).with_context(path)?;
        text.ok_or_else(|| anyhow!("it is missing")).with_context(path)
    }

    fn write_file(&self, name: &Path, text: &[u8]) -> Result<OwnedFd> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_NOFOLLOW;
        let file = fs::openat(self.fd(), name, flags, 0o600).map_err(|error| self.explain_space(error))?;
        // An error shows the name of the file instead of its content.
        fs::write_all(file.as_fd(), text).map_err(|error| {
            let call = Syscall::Write.of(&*self.path.join(name));
            self.explain_space(SysError::new(call, error.errno))
        })?;
        Ok(file)
    }

    /// A failed call; if it failed for lack of space, with the file system that is full.
    fn explain_space(&self, error: SysError) -> Error {
        let lacks = match error.errno {
            Errno::ENOSPC => "is full or has no free inodes",
            Errno::EDQUOT => "has no quota left for this user",
            _ => return error.into(),
        };
        call_with_hint(
            error,
            format!("the file system of the state directory {:?} {lacks}", self.path),
            "free some space there, or choose another directory with --root",
        )
    }

    /// The path of the start socket, short enough for a socket address even if the state root's path is long.
    pub fn start_socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{START_SOCKET}", self.fd.as_raw_fd()))
    }

    /// Creates the directory that the container will see, for the socket to which it sends sd_notify(3) messages. Returns
    /// its path.
    pub fn make_notify_directory(&self) -> Result<PathBuf> {
        match fs::mkdirat(self.fd(), Path::new(NOTIFY), 0o755) {
            // Created by an earlier attempt.
            Err(error) if error.errno != Errno::EEXIST => Err(error.into()),
            _ => Ok(self.path.join(NOTIFY)),
        }
    }

    /// The path for binding that socket, after removing an earlier socket; none if the container has no such directory.
    pub fn notify_socket(&self) -> Result<Option<PathBuf>> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let directory = match fs::openat(self.fd(), Path::new(NOTIFY), flags, 0) {
            Err(error) if error.errno == Errno::ENOENT => return Ok(None),
            other => other?,
        };
        match fs::unlinkat(directory.as_fd(), Path::new(NOTIFY_SOCKET), false) {
            Err(error) if error.errno != Errno::ENOENT => return Err(error.into()),
            _ => {}
        }
        let fd = self.fd.as_raw_fd();
        Ok(Some(PathBuf::from(format!(
            "/proc/self/fd/{fd}/{NOTIFY}/{NOTIFY_SOCKET}"
        ))))
    }

    pub fn has_start_socket(&self) -> SysResult<bool> {
        self.has(START_SOCKET)
    }

    /// Ends the status `created`.
    pub fn remove_start_socket(&self) -> Result<()> {
        match fs::unlinkat(self.fd(), Path::new(START_SOCKET), false) {
            Err(error) if error.errno != Errno::ENOENT => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Releases the ID. state.json is removed last, after all other files, so that an interrupted removal can be repeated.
    /// `all`: also removes directories that this runtime did not create.
    pub fn remove(&self, all: bool) -> Result<()> {
        // The name may belong to another container by now.
        if self.is_gone()? {
            return Ok(());
        }
        let mut cleanup = Cleanup::default();
        for entry in directory::entries(self.fd())? {
            let name = Path::new(&entry.name);
            if name != Path::new(STATE) {
                cleanup.step(remove_entry(self.fd(), name, all || name == Path::new(NOTIFY)));
            }
        }
        if cleanup.is_complete() {
            cleanup.step(remove_entry(self.fd(), Path::new(STATE), all));
        }
        if cleanup.is_complete() {
            cleanup.step(match fs::unlinkat(fs::CWD, &self.path, true) {
                Err(error) if error.errno != Errno::ENOENT => Err(error.into()),
                _ => Ok(()),
            });
        }
        cleanup.end()
    }
}

/// Where the slots of [`progress`] begin in a serialized state.
fn offset_of_step(text: &[u8]) -> Option<usize> {
    let end = text.strip_suffix(b"\"}")?;
    let offset = end.len().checked_sub(progress::SLOTS)?;
    end.get(offset..)?.iter().all(|byte| *byte == b' ').then_some(offset)
}

/// Removes a file, or with `all` also a directory and its content. Does not follow symbolic links.
fn remove_entry(directory: BorrowedFd, name: &Path, all: bool) -> Result<()> {
    match fs::unlinkat(directory, name, false) {
        Err(error) if error.errno == Errno::EISDIR && all => {}
        Err(error) if error.errno != Errno::ENOENT => return Err(error.into()),
        _ => return Ok(()),
    }
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let subdirectory = fs::openat(directory, name, flags, 0)?;
    for entry in directory::entries(subdirectory.as_fd())? {
        remove_entry(subdirectory.as_fd(), Path::new(&entry.name), all)?;
    }
    Ok(fs::unlinkat(directory, name, true)?)
}
