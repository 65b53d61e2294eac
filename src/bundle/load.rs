//! Reading `config.json`, and the file of a process.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use oci_spec::runtime::LinuxDeviceType;

use super::capabilities;
use super::document::{self, ProcessOnly, Spec};
use super::raw::Config;
use super::reader::{self, Notes, Step};
use super::text::{read_all, read_as};
use super::validate::{self, RuntimeOptions};
use crate::error::{At, Context, Error, Result, bail, call_with_hint, with_hint};
use crate::plan::Plan;
use crate::sys::{SysError, Syscall, fs, process};

/// A config larger than this is refused: it would be a mistake, or an attack.
const MAXIMUM: u64 = 16 << 20;

/// Reads and checks the config of a bundle, or the other file that is named for it. Nothing is done yet.
pub fn plan(bundle: &Path, file: Option<&Path>, options: &RuntimeOptions) -> Result<Plan> {
    let path = file.map_or_else(|| bundle.join("config.json"), Path::to_path_buf);
    let config = read(bundle, &path)?;
    validate::plan(config, options).with_context(|| path.display().to_string())
}

fn read(bundle: &Path, path: &Path) -> Result<Config> {
    let text = read_text(bundle, path)?;
    let absolute = std::path::absolute(bundle).with_context(|| format!("bundle {bundle:?}"))?;
    let bundle = std::fs::canonicalize(&absolute).unwrap_or(absolute);
    parse(bundle, text).with_context(|| format!("{}", path.display()))
}

fn read_text(bundle: &Path, path: &Path) -> Result<Vec<u8>> {
    // A pipe that nobody writes to would otherwise be waited for here.
    let file = match std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !bundle.exists() => {
            return Err(with_hint(
                format!("bundle {bundle:?}: no such directory"),
                "a bundle has config.json in it; name its directory with --bundle",
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.parent() == Some(bundle) => {
            return Err(with_hint(
                format!("bundle {bundle:?}: JSON specification file config.json not found"),
                "`orlop spec` writes a config.json to start from; --bundle names another directory",
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            let call = SysError::from_io(Syscall::Open.of(path), &error);
            return Err(call_with_hint(
                call,
                format!("bundle {bundle:?}: not a directory"),
                "--bundle names the directory that holds config.json, not the file",
            ));
        }
        Err(error) => {
            let call = SysError::from_io(Syscall::Open.of(path), &error);
            return Err(match call.errno {
                Errno::EACCES => closed(call, path),
                _ => call.into(),
            });
        }
    };
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file());
    let Some(metadata) = metadata else {
        return Err(with_hint(
            format!("{}: not a regular file", path.display()),
            "config.json must be a file; --bundle names the directory that holds it",
        ));
    };
    // Room for all of it and the end, or it would be read in many small steps.
    let length = metadata.len().min(MAXIMUM);
    let mut text = Vec::with_capacity(length as usize + 64);
    file.take(MAXIMUM + 1)
        .read_to_end(&mut text)
        .map_err(|error| SysError::from_io(Syscall::Read.of(path), &error))?;
    if text.len() as u64 > MAXIMUM {
        bail!("{}: larger than {} MiB", path.display(), MAXIMUM >> 20);
    }
    Ok(text)
}

/// Whom a config that may not be read is closed to, and where.
fn closed(call: SysError, path: &Path) -> Error {
    let user = process::effective_uid();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    // From the root on, so that it is the first which is closed.
    let directories: Vec<&Path> = absolute.ancestors().skip(1).collect();
    let closed = directories
        .iter()
        .rev()
        .find(|place| fs::access(place, libc::X_OK).is_err());
    match closed {
        Some(place) => call_with_hint(
            call,
            format!("directory {place:?} may not be searched by user {user}"),
            format!(
                "open it (`chmod o+x {}`), put the bundle elsewhere, or run as its owner",
                place.display()
            ),
        ),
        None => call_with_hint(
            call,
            format!("config.json may not be read by user {user}"),
            format!("`chmod o+r {}`, or run as its owner", absolute.display()),
        ),
    }
}

/// From text to the types of the spec.
pub fn parse(bundle: PathBuf, text: Vec<u8>) -> Result<Config> {
    if text.trim_ascii().is_empty() {
        return Err(with_hint(
            "the file is empty",
            "`orlop spec` writes a config.json to start from",
        ));
    }
    let (mut spec, notes) = read_all::<Spec>(&text)?;
    if notes.missing.iter().any(|path| is_pids_limit(path)) {
        spec.remove_pids();
    }
    let is_fifo = |index: usize| {
        let devices = spec.linux().as_ref().and_then(|linux| linux.devices().as_ref());
        let device = devices.and_then(|devices| devices.get(index));
        device.is_some_and(|device| device.typ() == LinuxDeviceType::P)
    };
    let mut warnings = heed(notes, &is_fifo)?;
    if let Some(process) = spec.process() {
        of_windows(process, &mut warnings);
    }
    let names = spec
        .process()
        .as_ref()
        .and_then(|process| process.capabilities().as_ref());
    let capabilities = names.map_or_else(Default::default, |names| capabilities::bits(names, &mut warnings));
    Ok(Config {
        bundle,
        text,
        spec,
        capabilities,
        warnings,
    })
}

/// What a container's config says of its processes, and nothing else of it.
pub fn processes_of_config(text: &[u8]) -> Result<ProcessOnly> {
    read_as(text)
}

/// What a file of the command line holds.
pub fn text_of_file(path: &Path) -> Result<Vec<u8>> {
    let file = fs::open(path, libc::O_RDONLY | libc::O_NOCTTY)?;
    Ok(fs::read_all(file.as_fd(), MAXIMUM as usize)?)
}

/// The process object that a file holds alone (`exec --process`), and what is to be warned of.
pub fn process_of_file(path: &Path) -> Result<(document::Process, Vec<String>)> {
    let read = || {
        let text = text_of_file(path)?;
        let (process, mut notes) = read_all(&text)?;
        // Named as in config.json, like all else that is wrong with it.
        let unknown = notes.unknown.iter_mut().map(|(path, _)| path);
        for path in unknown.chain(&mut notes.missing) {
            path.insert(0, Step::Key("process".into()));
        }
        let mut warnings = heed(notes, &|_| false)?;
        of_windows(&process, &mut warnings);
        Ok((process, warnings))
    };
    read().map_err(|error: Error| error.context(format!("--process {path:?}")))
}

/// What a document says in vain is warned of: the spec wants unknown keys ignored. What it must say and does not is an
/// error. `is_fifo` tells of an entry of `linux.devices` whether it is one.
fn heed(notes: Notes, is_fifo: &dyn Fn(usize) -> bool) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for path in notes.missing {
        match &*path {
            [Step::Key(_), Step::Key(list), Step::Index(index), Step::Key(key)]
                if list == "devices" && key != "path" && is_fifo(*index) => {}
            path if is_pids_limit(path) => {}
            // The text of the spec requires what is in it, and its schema not even that.
            [Step::Key(_), Step::Key(user)] if user == "user" => {
                warnings.push("process.user is missing: the process runs as root (uid 0, gid 0)".into());
            }
            [.., Step::Key(key)] => {
                let text = "missing, but required by the runtime-spec";
                return Err(with_hint(text, cure_of_missing(key))).context(At::new(reader::text(&path)));
            }
            _ => {}
        }
    }
    for (path, advice) in notes.unknown {
        // Others may be an extension of somebody's.
        let Some(advice) = advice else { continue };
        let path = reader::text(&path);
        warnings.push(format!("unknown key {} is ignored: {advice}", path.escape_debug()));
    }
    Ok(warnings)
}

/// `linux.resources.pids.limit`. A section without it sets no limit.
fn is_pids_limit(path: &[Step]) -> bool {
    matches!(path, [.., Step::Key(section), Step::Key(key)] if section == "pids" && key == "limit")
}

/// A key that the type knows and that nothing here uses; who writes it believes in another user than root.
fn of_windows(process: &document::Process, warnings: &mut Vec<String>) {
    if process.user().username().is_some() {
        warnings.push(
            "process.user.username is ignored: it is for Windows, and here uid and gid say who the process is".into(),
        );
    }
}

/// What to write where a required key is missing.
fn cure_of_missing(key: &str) -> &'static str {
    match key {
        "uid" | "gid" => "write the number; 0 is root",
        "soft" | "hard" => "write both limits; 18446744073709551615 stands for unlimited",
        "allow" => "write true to allow the access, false to deny it",
        "major" | "minor" => "write both numbers of the device, as `ls -l /dev` shows them",
        "containerID" | "hostID" | "size" => {
            "a mapping has the first id in the container, the first on the host, and how many follow: \
             {\"containerID\": 0, \"hostID\": 100000, \"size\": 65536}"
        }
        _ => "add it to the object",
    }
}
