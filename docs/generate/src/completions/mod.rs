//! Completions for bash, zsh and fish: verbs, options, their values, files, and the IDs of containers.
//!
//! The generators of clap_complete know nothing of containers, so each shell has one of ours. `words` decides once what
//! may stand where; the shells only write that down.

use clap::Command;
use clap_complete::{Generator, generate};
use orlop::cli;

use crate::File;

mod bash;
mod fish;
mod words;
mod zsh;

pub use bash::Bash;
pub use fish::Fish;
pub use zsh::Zsh;

/// The scripts, where the shells find them.
pub fn files() -> Vec<File> {
    vec![
        file(Bash, "share/bash-completion/completions"),
        file(Zsh, "share/zsh/site-functions"),
        file(Fish, "share/fish/vendor_completions.d"),
    ]
}

fn file(shell: impl Generator, directory: &str) -> File {
    let path = format!("{directory}/{}", shell.file_name("orlop"));
    let mut text = Vec::new();
    let mut command: Command = cli::command(&[]).expect("the program");
    generate(shell, &mut command, "orlop", &mut text);
    File {
        path,
        text: String::from_utf8(text).expect("scripts are UTF-8"),
    }
}
