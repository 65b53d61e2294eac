//! What can be wrong with an option.

use std::fmt;

/// An option that is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionError {
    /// The option contains a NUL byte, where the kernel would end it.
    Nul { index: usize, option: String },
    /// `=value`, or nothing but commas.
    NoKey { index: usize, option: String },
    /// An option that is unknown because it is misspelt, or several options in one string. `words`: what to write.
    Meant {
        index: usize,
        option: String,
        words: Vec<String>,
    },
}

impl OptionError {
    /// The option's place in the list.
    pub fn index(&self) -> usize {
        match self {
            Self::Nul { index, .. } | Self::NoKey { index, .. } | Self::Meant { index, .. } => *index,
        }
    }

    /// The option as it was written.
    pub fn option(&self) -> &str {
        match self {
            Self::Nul { option, .. } | Self::NoKey { option, .. } | Self::Meant { option, .. } => option,
        }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Nul { .. } => out.write_str("contains a NUL byte"),
            Self::NoKey { .. } => out.write_str("has no name"),
            Self::Meant { .. } => out.write_str("unknown option"),
        }
    }
}

impl std::error::Error for OptionError {}
