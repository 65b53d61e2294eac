//! Reading `config.json`, and the file of a process.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use oci_spec::runtime::LinuxDeviceType;

use super::checks::{self, Source};
use super::document::{self, ProcessOnly, Spec};
use super::questions;
use super::raw::{Config, Faults, ProcessFile};
use super::reader::{self, Notes, Step};
use super::text::{Mistake, Reading, read_as, read_despite_mistakes};
use super::validate::{self, RuntimeOptions};
use crate::error::{At, Context, Error, Result, bail, call_with_hint, with_hint};
use crate::host::Facts;
use crate::plan::{Plan, Warning};
use crate::sys::{SysError, Syscall, fs, process};

/// A config larger than this is refused: it would be a mistake, or an attack.
pub const MAXIMUM: u64 = 16 << 20;

/// Reads and checks the config of a bundle, or the other file that is named for it. Nothing is done yet.
pub fn plan(bundle: &Path, file: Option<&Path>, options: &RuntimeOptions) -> Result<Plan> {
    let config = config(bundle, file)?;
    let facts = Facts::gather(questions::of_container(&config, options))?;
    validate::plan(config, options, facts)
}

/// Reads the config of a bundle, or the other file that is named for it. It is not checked yet.
pub fn config(bundle: &Path, file: Option<&Path>) -> Result<Config> {
    let path = file.map_or_else(|| bundle.join("config.json"), Path::to_path_buf);
    let text = read_text(bundle, &path)?;
    parse(absolute(bundle)?, text, Some(path.display().to_string()))
}

/// The bundle's absolute path, without symbolic links if it exists.
pub fn absolute(bundle: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(bundle).with_context(|| format!("bundle {bundle:?}"))?;
    Ok(std::fs::canonicalize(&absolute).unwrap_or(absolute))
}

fn read_text(bundle: &Path, path: &Path) -> Result<Vec<u8>> {
    // Without O_NONBLOCK this would wait for a writer if the file is a pipe.
    let file = match std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !bundle.exists() => {
            return Err(with_hint(
                format!("bundle {bundle:?}: no such directory"),
                "a bundle contains config.json; name its directory with --bundle",
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
                "--bundle names the directory that contains config.json, not the file",
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
    let metadata = file
        .metadata()
        .map_err(|error| SysError::from_io(Syscall::Statx.of(path), &error))?;
    if !metadata.is_file() {
        return Err(with_hint(
            format!("{}: not a regular file", path.display()),
            "config.json must be a file; --bundle names the directory that contains it",
        ));
    }
    // Room for the whole file and its end. Otherwise it would be read in many small steps.
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

/// Which directory or file denies access to a config.
fn closed(call: SysError, path: &Path) -> Error {
    let user = process::effective_uid();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    // From the root on, to find the first one that is closed.
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

/// From text to the types of the spec. Mistakes in parts of the text are noted in the config; it is an error if nothing can
/// be read. `file`: its name in messages.
pub fn parse(bundle: PathBuf, text: Vec<u8>, file: Option<String>) -> Result<Config> {
    let source = Source {
        text: &text,
        file: file.as_deref(),
        within: "",
    };
    if text.trim_ascii().is_empty() {
        let error = with_hint("the file is empty", "`orlop spec` writes a config.json to start from");
        return Err(checks::error_of(vec![Mistake { error, position: None }], Some(&source)));
    }
    let Reading {
        value,
        notes,
        mistakes,
        left_out,
    } = read_despite_mistakes::<Spec>(&text);
    let Some(mut spec) = value else {
        return Err(checks::error_of(mistakes, Some(&source)));
    };
    if notes.missing.iter().any(|path| is_pids_limit(path)) {
        spec.remove_pids();
    }
    let mut faults = Faults {
        mistakes,
        unreadable: left_out,
        unknown: Vec::new(),
    };
    let is_fifo = |index: usize| {
        let devices = spec.linux().as_ref().and_then(|linux| linux.devices().as_ref());
        let device = devices.and_then(|devices| devices.get(index));
        device.is_some_and(|device| device.typ() == LinuxDeviceType::P)
    };
    let mut warnings = heed(notes, &is_fifo, &mut faults);
    if let Some(process) = spec.process() {
        of_windows(process, &mut warnings);
    }
    Ok(Config {
        bundle,
        file,
        text,
        spec,
        faults,
        warnings,
    })
}

/// What a container's config says about its processes.
pub fn processes_of_config(text: &[u8]) -> Result<ProcessOnly> {
    read_as(text)
}

/// The contents of a file that the command line names.
pub fn text_of_file(path: &Path) -> Result<Vec<u8>> {
    let file = fs::open(path, libc::O_RDONLY | libc::O_NOCTTY)?;
    Ok(fs::read_all(file.as_fd(), MAXIMUM as usize)?)
}

/// The process object of `exec --process`, as far as it can be read, and the warnings about it.
pub struct ReadProcess {
    pub process: document::Process,
    pub file: ProcessFile,
    pub faults: Faults,
    pub warnings: Vec<Warning>,
}

/// Reads a file that holds a process object alone (`exec --process`).
pub fn process_of_file(path: &Path) -> Result<ReadProcess> {
    let text = text_of_file(path).with_context(|| format!("--process {path:?}"))?;
    process_of_text(ProcessFile {
        name: format!("--process {path:?}"),
        text,
    })
}

/// Reads the text of such a file.
pub fn process_of_text(file: ProcessFile) -> Result<ReadProcess> {
    let Reading {
        value,
        mut notes,
        mut mistakes,
        mut left_out,
    } = read_despite_mistakes::<document::Process>(&file.text);
    let Some(process) = value else {
        return Err(checks::error_of(mistakes, Some(&file.source())));
    };
    // Values are named as in config.json, like all else that is wrong with them.
    let unknown = notes.unknown.iter_mut().map(|(path, _)| path);
    for path in unknown.chain(&mut notes.missing).chain(&mut left_out) {
        path.insert(0, Step::Key("process".into()));
    }
    for mistake in &mut mistakes {
        mistake.below("process");
    }
    let mut faults = Faults {
        mistakes,
        unreadable: left_out,
        unknown: Vec::new(),
    };
    let mut warnings = heed(notes, &|_| false, &mut faults);
    of_windows(&process, &mut warnings);
    Ok(ReadProcess {
        process,
        file,
        faults,
        warnings,
    })
}

impl ProcessFile {
    pub fn source(&self) -> Source<'_> {
        Source {
            text: &self.text,
            file: Some(&self.name),
            within: "process",
        }
    }
}

/// Unknown keys cause a warning: the spec wants them ignored. Missing keys that the spec requires are mistakes. `is_fifo`
/// says whether an entry of `linux.devices` is a FIFO.
fn heed(notes: Notes, is_fifo: &dyn Fn(usize) -> bool, faults: &mut Faults) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for path in notes.missing {
        match &*path {
            [Step::Key(_), Step::Key(list), Step::Index(index), Step::Key(key)]
                if list == "devices" && key != "path" && is_fifo(*index) => {}
            path if is_pids_limit(path) => {}
            // The text of the spec requires what is inside `user`; its schema does not require even `user`.
            [Step::Key(_), Step::Key(user)] if user == "user" => {
                let text = "process.user is missing: the process runs as root (uid 0, gid 0)";
                warnings.push(Warning::new("process.user", text));
            }
            [.., Step::Key(key)] => {
                let text = "missing, but required by the runtime-spec";
                let error = with_hint(text, hint_for_missing(key)).context(At::new(reader::text(&path)));
                faults.mistakes.push(Mistake { error, position: None });
                faults.unreadable.push(path);
            }
            _ => {}
        }
    }
    warnings.extend(warnings_about(notes.unknown, &mut faults.unknown));
    warnings
}

/// `linux.resources.pids.limit`. A section without it sets no limit.
fn is_pids_limit(path: &[Step]) -> bool {
    matches!(path, [.., Step::Key(section), Step::Key(key)] if section == "pids" && key == "limit")
}

/// Warnings about unknown keys that look like a known one. Any other may be an extension of an engine: its place is added to
/// `others`.
pub fn warnings_about(unknown: Vec<(Vec<Step>, Option<String>)>, others: &mut Vec<String>) -> Vec<Warning> {
    let warning = |(path, advice): (Vec<Step>, Option<String>)| {
        let mount = match path.as_slice() {
            [Step::Key(list), Step::Index(index), ..] if list == "mounts" => Some(*index),
            _ => None,
        };
        let path = reader::text(&path);
        let Some(advice) = advice else {
            others.push(path);
            return None;
        };
        let text = format!("unknown key {} is ignored: {advice}", path.escape_debug());
        Some(Warning {
            mount,
            misspelt: true,
            ..Warning::new(path, text)
        })
    };
    unknown.into_iter().filter_map(warning).collect()
}

/// A key that the type knows and that nothing here uses. Its author expects another user than root.
fn of_windows(process: &document::Process, warnings: &mut Vec<Warning>) {
    if process.user().username().is_some() {
        let text = "process.user.username is ignored: it is for Windows; on Linux uid and gid name the user";
        warnings.push(Warning::new("process.user.username", text));
    }
}

/// What to write where a required key is missing.
fn hint_for_missing(key: &str) -> &'static str {
    match key {
        "uid" | "gid" => "write the number; 0 is root",
        "soft" | "hard" => "write both limits; 18446744073709551615 means unlimited",
        "allow" => "write true to allow the access, false to deny it",
        "major" | "minor" => "write both numbers of the device, as `ls -l /dev` shows them",
        "containerID" | "hostID" | "size" => {
            "a mapping has the first ID in the container, the first on the host, and a count: \
             {\"containerID\": 0, \"hostID\": 100000, \"size\": 65536}"
        }
        _ => "add it to the object",
    }
}
