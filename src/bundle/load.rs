//! Reading `config.json`: text → JSON → the types of the spec, each failure with the place it is about.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::{self, LinuxOfProcess, ProcessOnly, Spec};
use super::plan::{Capabilities, Plan};
use super::validate::{self, Choices};
use super::{capabilities, locate};
use crate::error::{At, Context, Error, Result, anyhow, bail, cured, hinted};
use crate::sys::{SysError, fs};

/// A config larger than this is refused: it would be a mistake, or an attack.
const MAXIMUM: u64 = 16 << 20;

/// A config as it was read, before it is checked.
pub struct Config {
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The file, byte for byte.
    pub text: Vec<u8>,
    pub spec: Spec,
    /// `process.capabilities`, and those of them that are in the caller's bounding set.
    pub capabilities: (Capabilities, u64),
    pub warnings: Vec<String>,
}

/// Reads and checks the config of a bundle. Nothing is done yet.
pub fn plan(bundle: &Path, choices: &Choices) -> Result<Plan> {
    let config = read(bundle)?;
    validate::plan(config, choices).with_context(|| bundle.join("config.json").display().to_string())
}

fn read(bundle: &Path) -> Result<Config> {
    let path = bundle.join("config.json");
    let text = read_text(bundle, &path)?;
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
            return Err(hinted(
                format!("bundle {bundle:?}: no such directory"),
                "a bundle is a directory that holds config.json; name it with --bundle",
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(hinted(
                format!("bundle {bundle:?}: JSON specification file config.json not found"),
                "`orlop spec` writes a config.json to start from; --bundle names another directory",
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            let call = SysError::from_io(format!("open({path:?})"), &error);
            return Err(cured(
                call,
                format!("bundle {bundle:?}: not a directory"),
                "--bundle names the directory that holds config.json, not the file",
            ));
        }
        Err(error) => return Err(SysError::from_io(format!("open({path:?})"), &error).into()),
    };
    let metadata = file.metadata().ok().filter(|metadata| metadata.is_file());
    let Some(metadata) = metadata else {
        return Err(hinted(
            format!("{}: not a regular file", path.display()),
            "config.json must be a file; --bundle names the directory that holds it",
        ));
    };
    // Room for all of it and the end, or it would be read in many small steps.
    let length = metadata.len().min(MAXIMUM);
    let mut text = Vec::with_capacity(length as usize + 64);
    file.take(MAXIMUM + 1)
        .read_to_end(&mut text)
        .map_err(|error| SysError::from_io(format!("read({path:?})"), &error))?;
    if text.len() as u64 > MAXIMUM {
        bail!("{}: larger than {} MiB", path.display(), MAXIMUM >> 20);
    }
    Ok(text)
}

/// From text to the types of the spec.
pub fn parse(bundle: PathBuf, text: Vec<u8>) -> Result<Config> {
    if text.trim_ascii().is_empty() {
        return Err(hinted(
            "the file is empty",
            "`orlop spec` writes a config.json to start from",
        ));
    }
    let spec: Spec = read_as(&text)?;
    let mut warnings = Vec::new();
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

/// From text to a type; the error tells the place in the text, or the path in the document.
pub fn read_as<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    // A type that has fields can also be read from a list of their values; the spec knows no such thing.
    if text.trim_ascii_start().first() == Some(&b'[') {
        serde_json::from_slice::<Value>(text).map_err(|error| broken(text, &error))?;
        bail!("not a JSON object");
    }
    let read = match std::str::from_utf8(text) {
        Ok(text) => serde_json::from_str(text),
        Err(error) => {
            let line = text
                .iter()
                .take(error.valid_up_to())
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            bail!("line {line}: not valid UTF-8, which JSON is written in");
        }
    };
    read.map_err(|error| {
        let document = match serde_json::from_slice::<Value>(text) {
            Ok(document) => document,
            Err(error) => return broken(text, &error),
        };
        if !document.is_object() {
            return anyhow!("not a JSON object");
        }
        match locate::mistake::<T>(&document) {
            // The document itself, which lacks something.
            Some((path, reason)) if path.is_empty() => anyhow!("{reason}"),
            Some((path, reason)) => match known_as(&path) {
                Some(name) => anyhow!("{name}: {reason}").context(At::new(path)),
                None => anyhow!("{reason}").context(At::new(path)),
            },
            // What is written twice is only seen in the text.
            None => broken(text, &error),
        }
    })
}

/// What runc's users know a mistake at this place as.
fn known_as(path: &str) -> Option<&'static str> {
    match path.strip_prefix("linux.memoryPolicy")? {
        "" | ".mode" => Some("invalid memory policy mode"),
        flags if flags.starts_with(".flags") => Some("invalid memory policy flag"),
        _ => None,
    }
}

/// A process object as it was read, before it is checked.
pub struct LooseProcess {
    pub process: document::Process,
    /// What the container's config says of all its processes.
    pub linux: LinuxOfProcess,
    /// Those that the process asks for, and those of them that are in the caller's bounding set.
    pub capabilities: (Capabilities, u64),
    pub warnings: Vec<String>,
}

/// What a container's config says of its processes, and nothing else of it.
pub fn processes_of_config(text: &[u8]) -> Result<ProcessOnly> {
    read_as(text)
}

/// The process object that a file holds alone (`exec --process`).
pub fn process_of_file(path: &Path) -> Result<document::Process> {
    fs::open(path, libc::O_RDONLY | libc::O_NOCTTY)
        .and_then(|file| fs::read_all(file.as_fd(), MAXIMUM as usize))
        .map_err(Error::from)
        .and_then(|text| read_as(&text))
        .with_context(|| format!("--process {path:?}"))
}

impl LooseProcess {
    pub fn new(process: document::Process, linux: LinuxOfProcess) -> Self {
        let mut warnings = Vec::new();
        let names = process.capabilities().as_ref();
        let capabilities = names.map_or_else(Default::default, |names| capabilities::bits(names, &mut warnings));
        LooseProcess {
            process,
            linux,
            capabilities,
            warnings,
        }
    }
}

/// Broken JSON: line, column, and the line itself with a mark under the place.
fn broken(text: &[u8], error: &serde_json::Error) -> crate::error::Error {
    let line = text
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    // The column counts bytes, a reader characters. None of them may move the cursor or talk to the terminal.
    let before = line.get(..error.column().saturating_sub(1)).unwrap_or(line);
    let shape = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(char::is_control, " ");
    let (line, before) = (shape(line), shape(before));
    let mut shown = String::new();
    if line.len() <= 160 && !line.trim().is_empty() {
        let column = before.trim_start().chars().count();
        shown = format!("\n    {}\n    {}^", line.trim(), " ".repeat(column));
    }
    anyhow!("{error}{shown}")
}
