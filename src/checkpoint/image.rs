//! The directory with the images of CRIU, and the files beside them that restore needs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::external::External;
use super::root::Staging;
use super::streams;
use crate::cli::CriuArgs;
use crate::error::{Context, Result, anyhow, bail, call_with_hint};
use crate::plan::IdMaps;
use crate::sys::{SysError, Syscall, descriptor, fs};

/// What only orlop stores. An image without it, made by another runtime, is restored as far as config.json tells.
const RECORD: &str = "orlop.json";
/// The names of the standard streams, as runc and crun store them.
const STREAMS: &str = "descriptors.json";

/// The longest of these files, in bytes.
const LONGEST: usize = 16 << 20;

/// The directories of one checkpoint, and the name of the log.
pub struct Image {
    pub path: PathBuf,
    pub directory: OwnedFd,
    /// The directory of the log, which may be the same.
    pub work: OwnedFd,
    pub log: PathBuf,
}

/// How the network namespace of the container is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Not at all: it is made anew, with nothing but a loopback interface, for hooks to fill; or it is joined.
    #[default]
    Empty,
    /// With its interfaces, addresses and routes.
    Full,
}

/// What CRIU does not store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub version: u32,
    /// When the container was created, in RFC 3339.
    pub created: String,
    pub network: Network,
    /// Mounts whose source is outside of the container.
    pub external: Vec<External>,
}

impl Record {
    pub const VERSION: u32 = 1;
}

impl Image {
    /// For a checkpoint: the directories are created if they are missing, accessible only to their owner.
    pub fn create(arguments: &CriuArgs, log: &str) -> Result<Self> {
        make(&arguments.image_path).with_context(|| format!("--image-path {:?}", arguments.image_path))?;
        Self::of(arguments, log)
    }

    /// For a restore: the images must exist.
    pub fn open(arguments: &CriuArgs, log: &str) -> Result<Self> {
        let image = Self::of(arguments, log)?;
        match fs::lstatat(image.directory.as_fd(), Path::new("inventory.img")) {
            Err(error) if error.errno == Errno::ENOENT => Err(call_with_hint(
                error,
                format!("the directory {:?} has no complete checkpoint", image.path),
                "give the directory that `orlop checkpoint --image-path` has written",
            )),
            other => other.map(|_| image).map_err(Into::into),
        }
    }

    fn of(arguments: &CriuArgs, log: &str) -> Result<Self> {
        let open = |path: &Path, option: &str| -> Result<(PathBuf, OwnedFd)> {
            let open = || -> Result<(PathBuf, OwnedFd)> {
                let directory = fs::open(path, libc::O_RDONLY | libc::O_DIRECTORY)?;
                let absolute = std::fs::canonicalize(path)
                    .map_err(|error| SysError::from_io(Syscall::Realpath.of(path), &error))?;
                Ok((absolute, directory))
            };
            open().with_context(|| format!("{option} {path:?}"))
        };
        let (path, directory) = open(&arguments.image_path, "--image-path")?;
        let (log, work) = match &arguments.work_path {
            None => (path.join(log), fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY)?),
            Some(work) => {
                make(work).with_context(|| format!("--work-path {work:?}"))?;
                let (path, directory) = open(work, "--work-path")?;
                (path.join(log), directory)
            }
        };
        Ok(Image {
            path,
            directory,
            work,
            log,
        })
    }

    /// The directories, which CRIU inherits.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [self.directory.as_fd(), self.work.as_fd()].into_iter()
    }

    /// Opens the directories again in the mount namespace of this process: CRIU mounts in them. The root of the container's
    /// user namespace, whose ID maps are given, reads the images, which need not be accessible for it otherwise.
    pub fn reopen(&self, maps: Option<&IdMaps>) -> Result<()> {
        let open = |path: &Path| fs::open(path, libc::O_RDONLY | libc::O_DIRECTORY);
        let work = open(self.work_path())?;
        let images = match maps {
            None => open(&self.path)?,
            Some(maps) => Staging::images(&self.path, maps)?,
        };
        descriptor::replace(self.directory.as_fd(), images.as_fd())?;
        descriptor::replace(self.work.as_fd(), work.as_fd())?;
        Ok(())
    }

    /// The directory of the log and the statistics.
    pub fn work_path(&self) -> &Path {
        self.log.parent().unwrap_or(&self.path)
    }

    /// Checks `--parent-path`: a directory, relative to the images.
    pub fn check_parent(&self, parent: &Path) -> Result<()> {
        let check = || -> Result<()> {
            if parent.is_absolute() {
                bail!("the path must be relative to the directory of the images");
            }
            fs::openat(self.directory.as_fd(), parent, libc::O_PATH | libc::O_DIRECTORY, 0)?;
            Ok(())
        };
        check().with_context(|| format!("--parent-path {parent:?}"))
    }

    pub fn write_record(&self, record: &Record) -> Result<()> {
        self.write(RECORD, &serde_json::to_vec(record)?)
    }

    /// None if another runtime has made the checkpoint.
    pub fn read_record(&self) -> Result<Option<Record>> {
        let Some(text) = self.read(RECORD)? else {
            return Ok(None);
        };
        let parse = || -> Result<Record> {
            let record: Record = serde_json::from_slice(&text)?;
            if record.version != Record::VERSION {
                bail!("unknown version {}", record.version);
            }
            Ok(record)
        };
        parse()
            .map(Some)
            .with_context(|| self.path.join(RECORD).display().to_string())
    }

    /// Stores the keys of the streams; nothing for those that are not connected again.
    pub fn write_streams(&self, keys: &[Option<String>]) -> Result<()> {
        // The other runtimes expect three or more.
        let padded = keys.iter().map(Option::as_deref).chain([None; 3]);
        let names: Vec<&str> = padded
            .take(keys.len().max(3))
            .map(|key| key.unwrap_or("/dev/null"))
            .collect();
        self.write(STREAMS, &serde_json::to_vec(&names)?)
    }

    pub fn read_streams(&self) -> Result<Vec<Option<String>>> {
        let parse = || -> Result<Vec<Option<String>>> {
            let text = self.read(STREAMS)?.ok_or_else(|| anyhow!("it is missing"))?;
            let names: Vec<String> = serde_json::from_slice(&text)?;
            Ok(names
                .into_iter()
                .map(|name| streams::is_key(&name).then_some(name))
                .collect())
        };
        parse().with_context(|| self.path.join(STREAMS).display().to_string())
    }

    fn write(&self, name: &str, text: &[u8]) -> Result<()> {
        self.write_file(name, text)
            .with_context(|| format!("--image-path {:?}", self.path))
    }

    fn write_file(&self, name: &str, text: &[u8]) -> Result<()> {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_NOFOLLOW;
        let file = fs::openat(self.directory.as_fd(), Path::new(name), flags, 0o600)?;
        Ok(fs::write_all(file.as_fd(), text)?)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        match fs::openat(self.directory.as_fd(), Path::new(name), flags, 0) {
            Err(error) if error.errno == Errno::ENOENT => Ok(None),
            other => Ok(Some(fs::read_all(other?.as_fd(), LONGEST)?)),
        }
    }
}

fn make(path: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    Ok(made.map_err(|error| SysError::from_io(Syscall::Mkdirat.of(path), &error))?)
}
