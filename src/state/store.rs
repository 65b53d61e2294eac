//! The state root, with one directory for each container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use super::container::{Container, STATE};
use super::file;
use super::foreign::CRUN_EMPTY_DIRECTORY;
use crate::called_as::CalledAs;
use crate::error::{Context, Error, Result, Step, anyhow, bail, with_cleanup, with_hint};
use crate::sys::{SysError, Syscall, directory, fs};

/// The state root: `--root`, by default `/run/orlop`, or `$XDG_RUNTIME_DIR/orlop` for an unprivileged user, in both cases with the
/// name that the program is called by. Such a user may be root in a user namespace, as under rootless Podman.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Whether it comes from `--root`.
    explicit: bool,
}

/// Whether the effective uid 0 is the root of a rootless user's namespace, by the rule that engines use: there is a runtime
/// directory, $USER is not root, and the IDs are not the host's.
fn is_rootless_root() -> bool {
    std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| !dir.is_empty())
        && std::env::var_os("USER").is_none_or(|user| user != "root")
        && !crate::sys::process::is_root_of_host()
}

impl Store {
    pub fn new(root: Option<&Path>, called_as: CalledAs) -> Result<Self> {
        let explicit = root.is_some();
        let root = match root {
            Some(root) if root.as_os_str().is_empty() => bail!("--root must not be empty"),
            Some(root) => std::path::absolute(root).with_context(|| format!("--root {root:?}"))?,
            None if crate::sys::process::effective_uid() == 0 && !is_rootless_root() => {
                Path::new("/run").join(called_as.name())
            }
            None => match std::env::var_os("XDG_RUNTIME_DIR") {
                Some(dir) if !dir.is_empty() => PathBuf::from(dir).join(called_as.name()),
                _ => {
                    return Err(with_hint(
                        "no directory for the state of containers: XDG_RUNTIME_DIR is not set",
                        "set it (usually /run/user/UID), or give a directory with --root",
                    ));
                }
            },
        };
        Ok(Store { root, explicit })
    }

    /// The path of the state root.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Claims an ID: creates its directory and locks it. If several processes try at once, mkdir(2) decides.
    pub fn claim(&self, id: &str) -> Result<Container> {
        check_id(id)?;
        self.create_directory(id).context(Step::State)
    }

    fn create_directory(&self, id: &str) -> Result<Container> {
        let path = self.root.join(id);
        match fs::mkdirat(fs::CWD, &path, 0o700) {
            Ok(()) => {}
            Err(error) if error.errno == Errno::ENOENT => {
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&self.root)
                    .map_err(|error| SysError::from_io(Syscall::Mkdirat.of(&*self.root), &error))?;
                fs::mkdirat(fs::CWD, &path, 0o700).map_err(|error| explain_existing(id, error))?;
            }
            Err(error) => return Err(explain_existing(id, error)),
        }
        let deleted = || anyhow!("the container was deleted while it was being created");
        let fd = match fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT => return Err(deleted()),
            other => other.inspect_err(|_| {
                // The empty directory would keep the ID in use.
                let _ = fs::unlinkat(fs::CWD, &path, true);
            })?,
        };
        let container = Container::new(id, path, fd);
        // No other process knows the directory yet, except a `delete` of the same ID. If that was faster, another `create`
        // may have claimed the ID since, and its directory was opened here.
        let lock_and_check = || -> Result<(bool, bool)> {
            container.lock(Duration::from_secs(10))?;
            Ok((container.is_gone()?, container.has(STATE)?))
        };
        match lock_and_check() {
            Ok((true, _)) => Err(deleted()),
            Ok((false, false)) => Ok(container),
            Ok((false, true)) => {
                let call = SysError::new(Syscall::Mkdirat.of(&*container.path), Errno::EEXIST);
                Err(explain_existing(id, call))
            }
            Err(error) => {
                // This removes the directory only if it is empty.
                let removed = match fs::unlinkat(fs::CWD, &container.path, true) {
                    Err(error) if !matches!(error.errno, Errno::ENOENT | Errno::ENOTEMPTY) => Err(error.into()),
                    _ => Ok(()),
                };
                Err(with_cleanup(error, removed))
            }
        }
    }

    /// The directory of a container; none if the ID is not in use.
    pub fn find(&self, id: &str) -> Result<Option<Container>> {
        check_id(id)?;
        let path = self.root.join(id);
        let open = || -> Result<Option<OwnedFd>> {
            let fd = match fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW) {
                Err(error) if error.errno == Errno::ENOENT => return Ok(None),
                other => other?,
            };
            file::check_owner(&fs::fstat(fd.as_fd())?, &path)?;
            Ok(Some(fd))
        };
        let fd = open().context(Step::State)?;
        Ok(fd.map(|fd| Container::new(id, path, fd)))
    }

    /// The directory of an existing container.
    pub fn container(&self, id: &str) -> Result<Container> {
        self.find(id)?.ok_or_else(|| {
            let path = self.root.join(id);
            with_hint(
                "container does not exist",
                format!("{path:?} does not exist: was it deleted, or created with another --root or by another user?"),
            )
        })
    }

    /// Whether an ID is in use.
    pub fn has(&self, id: &str) -> bool {
        self.root.join(id).exists()
    }

    /// The IDs of all containers, sorted.
    pub fn ids(&self) -> Result<Vec<String>> {
        Ok(self.listing()?.ids)
    }

    /// All containers. A root given with `--root` must exist; the default one is created with the first container.
    pub fn listing(&self) -> Result<Listing<'_>> {
        let root = match fs::open(&self.root, libc::O_RDONLY | libc::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT && !self.explicit => None,
            other => Some(other.context(Step::State)?),
        };
        let mut ids = Vec::new();
        if let Some(root) = &root {
            let entries = directory::entries(root.as_fd())
                .with_context(|| format!("state root {:?}", self.root))
                .context(Step::State)?;
            for entry in entries {
                if entry.is_directory(root.as_fd())
                    && let Ok(name) = entry.name.into_string()
                    && name != CRUN_EMPTY_DIRECTORY
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

fn explain_existing(id: &str, error: SysError) -> Error {
    if error.errno == Errno::EEXIST {
        with_hint(
            "container with given ID already exists",
            format!(
                "choose another ID, or remove the old container with `{} delete --force {id}`",
                CalledAs::own().name()
            ),
        )
    } else {
        error.into()
    }
}

/// Checks an ID: letters, digits and `_ + - .`, not `.` or `..`, at most 255 bytes, the maximum length of a file name.
pub fn check_id(id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    if id.is_empty() {
        bail!("container id cannot be empty");
    }
    if id == "." || id == ".." || id.len() > 255 || !id.chars().all(allowed) {
        return Err(with_hint(
            "invalid container id format",
            "an ID consists of 1 to 255 letters, digits and characters of \"_+-.\", and is not \".\" or \"..\"",
        ));
    }
    Ok(())
}
