//! Container directories below the state root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::Deserialize;

use super::reading::{self, Broken, is_broken};
use super::record::{Form, Phase, State};
use crate::error::{
    Cleanup, Context, Error, Hint, Result, Step, anyhow, bail, call_with_hint, with_cleanup, with_hint,
};
use crate::progress;
use crate::sys::fs::FsType;
use crate::sys::memory::Window;
use crate::sys::{SysError, SysResult, directory, fs};

pub const STATE: &str = "state.json";
/// The state that is being written.
const NEXT_STATE: &str = ".state.json.tmp";
pub const CONFIG: &str = "config.json";
/// There once a `delete --force` has killed what the creator was making.
const DELETED: &str = "deleted";
pub const START_SOCKET: &str = "start.sock";
const NOTIFY: &str = "notify";
/// The file in that directory; the container sees both.
pub const NOTIFY_SOCKET: &str = "notify.sock";

/// The state root: `--root`, by default `/run/orlop`, or `$XDG_RUNTIME_DIR/orlop` for a plain user, who may be root of a user
/// namespace of his own, as Podman is when it calls us for a plain user.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// It was named by the caller.
    named: bool,
}

/// Whether this root is that of a plain user's own namespace, by the rule that engines know: there is a runtime directory,
/// $USER is not root, and the ids are not the host's.
fn is_a_plain_users() -> bool {
    std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| !dir.is_empty())
        && std::env::var_os("USER").is_none_or(|user| user != "root")
        && !crate::sys::process::is_root_of_host()
}

impl Store {
    pub fn new(root: Option<&Path>) -> Result<Self> {
        let named = root.is_some();
        let root = match root {
            Some(root) if root.as_os_str().is_empty() => bail!("--root must not be empty"),
            Some(root) => std::path::absolute(root).with_context(|| format!("--root {root:?}"))?,
            None if crate::sys::process::effective_uid() == 0 && !is_a_plain_users() => PathBuf::from("/run/orlop"),
            None => match std::env::var_os("XDG_RUNTIME_DIR") {
                Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("orlop"),
                _ => {
                    return Err(with_hint(
                        "no directory for the state of containers: XDG_RUNTIME_DIR is not set",
                        "set it (usually /run/user/UID), or name a directory with --root",
                    ));
                }
            },
        };
        Ok(Store { root, named })
    }

    /// Claims an id: makes its directory, and takes the right to change it. mkdir(2) is the judge when several try at once.
    pub fn claim(&self, id: &str) -> Result<Container> {
        check_id(id)?;
        self.make(id).context(Step("state"))
    }

    fn make(&self, id: &str) -> Result<Container> {
        let path = self.root.join(id);
        match fs::mkdirat(fs::CWD, &path, 0o700) {
            Ok(()) => {}
            Err(error) if error.errno == Errno::ENOENT => {
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&self.root)
                    .map_err(|error| SysError::from_io(format!("mkdirat({:?})", self.root), &error))?;
                fs::mkdirat(fs::CWD, &path, 0o700).map_err(|error| taken(id, error))?;
            }
            Err(error) => return Err(taken(id, error)),
        }
        let gone = || anyhow!("the container was deleted while it was being created");
        let fd = match fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT => return Err(gone()),
            other => other.inspect_err(|_| {
                // Empty as it is, it would keep the id taken.
                let _ = fs::unlinkat(fs::CWD, &path, true);
            })?,
        };
        let container = Container {
            id: id.into(),
            path,
            fd,
        };
        // Nobody else knows the directory yet, except a `delete` of the same id; and if that was quicker, whoever claimed
        // the id after it, whose directory has been opened here.
        let look = || -> Result<(bool, bool)> {
            container.lock(Duration::from_secs(10))?;
            Ok((container.is_gone()?, container.has(STATE)?))
        };
        match look() {
            Ok((true, _)) => Err(gone()),
            Ok((false, false)) => Ok(container),
            Ok((false, true)) => {
                let call = SysError::new(format!("mkdirat({:?})", container.path), Errno::EEXIST);
                Err(taken(id, call))
            }
            Err(error) => {
                // Only an empty one goes by this.
                let undone = match fs::unlinkat(fs::CWD, &container.path, true) {
                    Err(error) if !matches!(error.errno, Errno::ENOENT | Errno::ENOTEMPTY) => Err(error.into()),
                    _ => Ok(()),
                };
                Err(with_cleanup(error, undone))
            }
        }
    }

    /// The directory of a container; none if the id is free.
    pub fn find(&self, id: &str) -> Result<Option<Container>> {
        check_id(id)?;
        let path = self.root.join(id);
        let open = || -> Result<Option<OwnedFd>> {
            let fd = match fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW) {
                Err(error) if error.errno == Errno::ENOENT => return Ok(None),
                other => other?,
            };
            reading::check_owner(&fs::fstat(fd.as_fd())?, &path)?;
            Ok(Some(fd))
        };
        let fd = open().context(Step("state"))?;
        Ok(fd.map(|fd| Container {
            id: id.into(),
            path,
            fd,
        }))
    }

    /// The directory of an existing container.
    pub fn container(&self, id: &str) -> Result<Container> {
        self.find(id)?.ok_or_else(|| {
            let path = self.root.join(id);
            with_hint(
                "container does not exist",
                format!("there is no {path:?}: was it deleted, or made with another --root or by another user?"),
            )
        })
    }

    /// Whether an id is taken.
    pub fn has(&self, id: &str) -> bool {
        self.root.join(id).exists()
    }

    /// The ids of all containers, sorted.
    pub fn ids(&self) -> Result<Vec<String>> {
        Ok(self.listing()?.ids)
    }

    /// All containers. A root that the caller names must exist; the default one is made by the first container.
    pub fn listing(&self) -> Result<Listing<'_>> {
        let root = match fs::open(&self.root, libc::O_RDONLY | libc::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT && !self.named => None,
            other => Some(other.context(Step("state"))?),
        };
        let mut ids = Vec::new();
        if let Some(root) = &root {
            let entries = directory::entries(root.as_fd())
                .with_context(|| format!("state root {:?}", self.root))
                .context(Step("state"))?;
            for entry in entries {
                if entry.is_directory(root.as_fd())
                    && let Ok(name) = entry.name.into_string()
                    && check_id(&name).is_ok()
                {
                    ids.push(name);
                }
            }
            ids.sort();
        }
        Ok(Listing { store: self, root, ids })
    }
}

/// The containers of a state root at one moment.
pub struct Listing<'a> {
    store: &'a Store,
    root: Option<OwnedFd>,
    /// Sorted.
    pub ids: Vec<String>,
}

impl Listing<'_> {
    /// The state root; none if it does not exist.
    pub fn root(&self) -> Option<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd)
    }

    /// The path of the state root.
    pub fn path(&self) -> &Path {
        &self.store.root
    }
}

fn taken(id: &str, error: SysError) -> Error {
    if error.errno == Errno::EEXIST {
        with_hint(
            "container with given ID already exists",
            format!("choose another id, or remove the old container with `orlop delete --force {id}`"),
        )
    } else {
        error.into()
    }
}

/// What an id may be: letters, digits and `_ + - .`, not `.` or `..`, at most 255 bytes, the longest file name.
pub fn check_id(id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    if id.is_empty() {
        bail!("container id cannot be empty");
    }
    if id == "." || id == ".." || id.len() > 255 || !id.chars().all(allowed) {
        return Err(with_hint(
            "invalid container id format",
            "an id has 1 to 255 letters, digits or any of _ + - . and is not \".\" or \"..\"",
        ));
    }
    Ok(())
}

/// One container's directory.
#[derive(Debug)]
pub struct Container {
    pub id: String,
    pub path: PathBuf,
    fd: OwnedFd,
}

impl Container {
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Takes the right to change the container; it goes with this process. Taken by another, it is waited for up to
    /// `patience`.
    pub fn lock(&self, patience: Duration) -> Result<()> {
        let begin = Instant::now();
        let end = begin + patience;
        loop {
            match fs::flock(self.fd()) {
                Err(error) if error.errno == Errno::EWOULDBLOCK => {}
                // The kernel has no memory for it, perhaps for a moment only.
                Err(error) if error.errno == Errno::ENOLCK && begin.elapsed() < Duration::from_millis(50) => {}
                other => return Ok(other?),
            }
            if Instant::now() >= end {
                bail!("another command is working on this container");
            }
            // No call waits for a lock with a limit; this is the path of two commands that meet, not of one.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// [`Self::lock`] for one who wants the container gone: false if the lock cannot be had within `patience`. That whoever has
    /// it has removed the container is as good as the lock.
    pub fn lock_or_gone(&self, patience: Duration) -> Result<bool> {
        let end = Instant::now() + patience;
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

    /// Lets the creator know that the container is not wanted any more, and that what fails now has not failed by itself.
    pub fn mark_deleted(&self) -> Result<()> {
        self.write_file(Path::new(DELETED), b"").map(drop)
    }

    /// Whether somebody has done so.
    pub fn is_deleted(&self) -> bool {
        self.has(DELETED).unwrap_or(false)
    }

    /// Lets others change the container again.
    pub fn unlock(&self) -> Result<()> {
        Ok(fs::unlock(self.fd())?)
    }

    /// Whether some other process holds the lock just now. Takes the lock if not.
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

    /// Whether there is a file of this name.
    fn has(&self, name: &str) -> SysResult<bool> {
        match fs::lstatat(self.fd(), Path::new(name)) {
            Err(error) if error.errno == Errno::ENOENT => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// Whether there is anything that is only there once a state has been written.
    pub fn has_content(&self) -> SysResult<bool> {
        let entries = directory::entries(self.fd())?;
        Ok(entries.iter().any(|entry| entry.name != NEXT_STATE))
    }

    /// What is remembered; `None` in the moment between the claim of an id and the first writing. [`Broken`] if it was
    /// read and makes no sense.
    pub fn read(&self) -> Result<Option<State>> {
        let broken = |error: Error, cure: String| {
            let file = self.path.join(STATE).display().to_string();
            error.context(Hint(cure, file))
        };
        let remove = || format!("remove the container with `orlop delete --force {}`", self.id);
        let text = match self.file(STATE) {
            Ok(None) => return Ok(None),
            Ok(Some(text)) => text,
            Err(error) if is_broken(&error) => return Err(broken(error, remove())),
            Err(error) => return Err(error),
        };
        let parsed = serde_json::from_slice::<State>(&text);
        // A later form may have other fields, so the version is looked for also where the whole cannot be read.
        let version = match &parsed {
            Ok(state) => state.version,
            Err(_) => serde_json::from_slice::<Form>(&text).map_or(State::VERSION, |form| form.version),
        };
        if version != State::VERSION {
            let unknown = Broken(format!("version {version} is not known to this orlop"));
            let cure = "another version of orlop made the container, and should delete it";
            return Err(broken(unknown.into(), cure.into()));
        }
        parsed
            .map(Some)
            .map_err(|error| broken(Broken(error.to_string()).into(), remove()))
    }

    /// Init, by pid and start time, as its creator has noted it in the state that is not published yet.
    pub fn noted_init(&self) -> Result<Option<(i32, u64)>> {
        let text = match self.file(NEXT_STATE) {
            Err(error) if !is_broken(&error) => return Err(error),
            other => other.ok().flatten().unwrap_or_default(),
        };
        // It may be half written.
        let state = serde_json::from_slice::<State>(&text).ok();
        Ok(state
            .filter(|state| state.phase == Phase::Created && state.pid > 0)
            .map(|state| (state.pid, state.start_time)))
    }

    fn file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        reading::file(self.fd(), name, &path)
    }

    /// `linux.resources` of the config that the container was made from.
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

    /// What is legible of the state, for one that [`Self::read`] finds to be broken.
    pub fn legible(&self) -> Result<serde_json::Value> {
        match self.file(STATE) {
            Ok(text) => Ok(serde_json::from_slice(&text.unwrap_or_default()).unwrap_or_default()),
            Err(error) if is_broken(&error) => Ok(serde_json::Value::Null),
            Err(error) => Err(error),
        }
    }

    /// Writes the state so that a reader sees the old one or the new one, whole.
    pub fn write(&self, state: &State) -> Result<()> {
        self.prepare(state)?;
        self.publish()
    }

    /// Writes the state of a container that is being created, and has it tell how far that is.
    pub fn write_first(&self, state: &mut State) -> Result<()> {
        state.step = Some(" ".repeat(progress::SLOTS));
        let (file, text) = self.write_next(state)?;
        self.publish()?;
        state.step = None;
        // Elsewhere a store into a mapped file may find no room. It would be nice to know, and nothing depends on it.
        if fs::type_of(file.as_fd()) == Ok(FsType::TMPFS)
            && let Some(place) = place_of_step(&text)
            && let Ok(window) = Window::open(file.as_fd(), place, progress::SLOTS)
        {
            progress::share(window);
        }
        Ok(())
    }

    fn write_next(&self, state: &State) -> Result<(OwnedFd, Vec<u8>)> {
        let text = serde_json::to_vec(state).context("state.json")?;
        Ok((self.write_file(Path::new(NEXT_STATE), &text)?, text))
    }

    /// The first half of [`Self::write`]: the new state is written, and nobody sees it.
    pub fn prepare(&self, state: &State) -> Result<()> {
        self.write_next(state).map(drop)
    }

    /// The second half: everybody sees it.
    pub fn publish(&self) -> Result<()> {
        Ok(fs::renameat(self.fd(), Path::new(NEXT_STATE), Path::new(STATE))?)
    }

    /// Keeps the config as it is now.
    pub fn write_config(&self, text: &[u8]) -> Result<()> {
        self.write_file(Path::new(CONFIG), text).map(drop)
    }

    /// The config as it was at create.
    pub fn read_config(&self) -> Result<Vec<u8>> {
        let path = || self.path.join(CONFIG).display().to_string();
        let text = self.file(CONFIG).with_context(path)?;
        text.ok_or_else(|| anyhow!("it is missing")).with_context(path)
    }

    fn write_file(&self, name: &Path, mut text: &[u8]) -> Result<OwnedFd> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_NOFOLLOW;
        let file = fs::openat(self.fd(), name, flags, 0o600).map_err(|error| self.without_space(error))?;
        while !text.is_empty() {
            // The name of the file says more than its content.
            let written = fs::write(file.as_fd(), text).map_err(|error| {
                let call = format!("write({:?})", self.path.join(name));
                self.without_space(SysError::new(call, error.errno))
            })?;
            text = text.get(written..).unwrap_or_default();
        }
        Ok(file)
    }

    /// A failed call; where there is no space, with the file system that has none.
    fn without_space(&self, error: SysError) -> Error {
        let lacks = match error.errno {
            Errno::ENOSPC => "is full, or has no inodes left",
            Errno::EDQUOT => "has no quota left for this user",
            _ => return error.into(),
        };
        call_with_hint(
            error,
            format!("the file system of the state directory {:?} {lacks}", self.path),
            "free some of it, or choose another directory with --root",
        )
    }

    /// The start socket by a path short enough for a socket address, whatever the state root's length.
    pub fn start_socket(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!("/proc/self/fd/{}/{START_SOCKET}", self.fd.as_raw_fd()))
    }

    /// Makes the directory that the container will see, for the socket to which it sends sd_notify(3) messages. Returns
    /// its path.
    pub fn make_notify_directory(&self) -> Result<PathBuf> {
        match fs::mkdirat(self.fd(), Path::new(NOTIFY), 0o755) {
            // Made by an attempt before.
            Err(error) if error.errno != Errno::EEXIST => Err(error.into()),
            _ => Ok(self.path.join(NOTIFY)),
        }
    }

    /// Where that socket is to be bound, with one from before out of the way; none if the container sees no directory.
    pub fn notify_socket(&self) -> Result<Option<PathBuf>> {
        use std::os::fd::AsRawFd;
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let directory = match fs::openat(self.fd(), Path::new(NOTIFY), flags, 0) {
            Err(error) if error.errno == Errno::ENOENT => return Ok(None),
            other => other?,
        };
        match fs::unlinkat(directory.as_fd(), Path::new(NOTIFY_SOCKET), false) {
            Err(error) if error.errno != Errno::ENOENT => return Err(error.into()),
            _ => {}
        }
        let own = self.fd.as_raw_fd();
        Ok(Some(PathBuf::from(format!(
            "/proc/self/fd/{own}/{NOTIFY}/{NOTIFY_SOCKET}"
        ))))
    }

    pub fn has_start_socket(&self) -> SysResult<bool> {
        self.has(START_SOCKET)
    }

    /// From here on the container is no longer `created`.
    pub fn remove_start_socket(&self) -> Result<()> {
        match fs::unlinkat(self.fd(), Path::new(START_SOCKET), false) {
            Err(error) if error.errno != Errno::ENOENT => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Releases the id. The state goes last of the files, and only when nothing else is left, so that a removal cut short
    /// can be done again. `all`: directories too that are in the place of files, or that nobody here has made.
    pub fn remove(&self, all: bool) -> Result<()> {
        // The name may be another container's by now.
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

/// Where the slots of [`progress`] begin in the text of a state.
fn place_of_step(text: &[u8]) -> Option<usize> {
    let end = text.strip_suffix(b"\"}")?;
    let place = end.len().checked_sub(progress::SLOTS)?;
    end.get(place..)?.iter().all(|byte| *byte == b' ').then_some(place)
}

/// Removes a file, or with `all` also a directory and what is in it. No link is followed.
fn remove_entry(directory: BorrowedFd, name: &Path, all: bool) -> Result<()> {
    match fs::unlinkat(directory, name, false) {
        Err(error) if error.errno == Errno::EISDIR && all => {}
        Err(error) if error.errno != Errno::ENOENT => return Err(error.into()),
        _ => return Ok(()),
    }
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let below = fs::openat(directory, name, flags, 0)?;
    for entry in directory::entries(below.as_fd())? {
        remove_entry(below.as_fd(), Path::new(&entry.name), all)?;
    }
    Ok(fs::unlinkat(directory, name, true)?)
}
