//! `orlop-manual DIR`: writes the man pages and the completions below DIR, as they are installed below PREFIX.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: orlop-manual DIR");
        return ExitCode::from(64);
    };
    for file in orlop_manual::files() {
        let path = directory.join(&file.path);
        let written = match path.parent() {
            Some(parent) => fs::create_dir_all(parent).and_then(|()| fs::write(&path, &file.text)),
            None => fs::write(&path, &file.text),
        };
        if let Err(error) = written {
            eprintln!("orlop-manual: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
