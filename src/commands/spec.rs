//! `spec`: a config.json to start from.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::spec_document;
use crate::cli::Spec;
use crate::error::{Context, Error, Result, with_hint};
use crate::sys::{SysError, process};

pub fn run(arguments: &Spec) -> Result<u8> {
    let document = if arguments.rootless {
        spec_document::rootless_spec(process::effective_uid(), process::effective_gid())
    } else {
        spec_document::default_spec()
    };
    let bundle = arguments.bundle.as_deref().unwrap_or(Path::new("."));
    // A file that is named is meant, even if it exists (or is a pipe); the usual one may be somebody's work.
    let named = arguments.file.as_deref();
    let path = bundle.join(named.unwrap_or(Path::new("config.json")));
    let write = || -> Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(named.is_some())
            .create_new(named.is_none())
            .open(&path)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => with_hint(
                    "File config.json exists. Remove it first",
                    "a config is never overwritten; --bundle names another directory",
                ),
                _ => Error::new(SysError::from_io(
                    if named.is_some() {
                        "open(O_CREAT|O_TRUNC)"
                    } else {
                        "open(O_CREAT|O_EXCL)"
                    },
                    &error,
                )),
            })?;
        Ok(file.write_all(spec_document::to_text(&document).as_bytes())?)
    };
    write().with_context(|| format!("spec {path:?}"))?;
    Ok(crate::exit_code::SUCCESS)
}
