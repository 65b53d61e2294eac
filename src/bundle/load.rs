//! Reading `config.json`, and the file of a process.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::capabilities;
use super::document::{self, ProcessOnly, Spec};
use super::plan::Plan;
use super::text::read_as;
use super::unchecked::Config;
use super::validate::{self, Choices};
use crate::error::{Context, Error, Result, bail, cured, hinted};
use crate::sys::{SysError, fs};

/// A config larger than this is refused: it would be a mistake, or an attack.
const MAXIMUM: u64 = 16 << 20;

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
                "a bundle has config.json in it; name its directory with --bundle",
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
