//! `linux.mountLabel`: the SELinux label of everything in a new file system. Run by init, before the root is changed. That
//! the kernel has SELinux was checked with the config.

use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::plan::{FsOption, MountOptions};
use crate::sys::attributes;

/// How the label reaches a type of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelMethod {
    /// As the mount option `context`.
    Option,
    /// As an attribute of its root: mqueue takes no such option, but gives the label to its queues.
    Attribute,
    /// Not at all: the policy labels every object of proc and sysfs itself.
    None,
}

pub fn method(kind: &str) -> LabelMethod {
    match kind {
        "proc" | "sysfs" => LabelMethod::None,
        "mqueue" => LabelMethod::Attribute,
        _ => LabelMethod::Option,
    }
}

/// The option that labels a file system being made, unless one of its own does.
pub fn option(kind: &str, options: &MountOptions, label: &str) -> Option<FsOption> {
    let labelled = options
        .data
        .iter()
        .any(|option| matches!(option, FsOption::String(key, _) if key == "context"));
    (method(kind) == LabelMethod::Option && !labelled).then(|| FsOption::String("context".into(), label.into()))
}

/// Sets the label of a file system that has been made.
pub fn after(tree: BorrowedFd, kind: &str, label: &str) -> Result<()> {
    if method(kind) == LabelMethod::Attribute {
        attributes::set_attribute(tree, c"security.selinux", label.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_way() {
        for (kind, expected) in [
            ("tmpfs", LabelMethod::Option),
            ("devpts", LabelMethod::Option),
            ("overlay", LabelMethod::Option),
            ("mqueue", LabelMethod::Attribute),
            ("proc", LabelMethod::None),
            ("sysfs", LabelMethod::None),
        ] {
            assert_eq!(method(kind), expected, "{kind}");
        }
    }
}
