//! `spec`: a config.json to start from.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::spec_document;
use crate::cli::Spec;
use crate::error::{Context, Error, Result, hinted};
use crate::sys::{SysError, process};

pub fn run(arguments: &Spec) -> Result<u8> {
    let document = if arguments.rootless {
        spec_document::rootless_spec(process::effective_uid(), process::effective_gid())
    } else {
        spec_document::default_spec()
    };
    let path = arguments
        .bundle
        .as_deref()
        .unwrap_or(Path::new("."))
        .join("config.json");
    let write = || -> Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => hinted(
                    "File config.json exists. Remove it first",
                    "a config is never overwritten; --bundle names another directory",
                ),
                _ => Error::new(SysError::from_io("open(O_CREAT|O_EXCL)", &error)),
            })?;
        Ok(file.write_all(spec_document::to_text(&document).as_bytes())?)
    };
    write().with_context(|| format!("spec {path:?}"))?;
    Ok(crate::SUCCESS)
}
