//! The man pages and the completions of orlop. They are made from what the program itself is made of: the declarations of its
//! options, and the pages of its help. A new verb needs nothing here.
//!
//! This is a crate of its own so that the program contains none of it.

pub mod completions;
pub mod errors;
pub mod manual;
pub mod verbs;

/// A file, and where it is installed.
#[derive(Debug)]
pub struct File {
    /// Below PREFIX.
    pub path: String,
    pub text: String,
}

/// Everything that is installed besides the binary.
pub fn files() -> Vec<File> {
    let mut files = manual::files();
    files.extend(completions::files());
    files
}
