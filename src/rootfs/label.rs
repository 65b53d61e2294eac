//! `linux.mountLabel`: the SELinux label of everything in a new file system. Run by init, before the root is changed. The
//! validation of the config has checked that the kernel supports SELinux.

use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::plan::{FsOption, MountOptions};
use crate::sys::attributes;

/// How the label is set for a type of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelMethod {
    /// As the mount option `context`.
    Option,
    /// As an extended attribute of its root: mqueue does not support the option, but its queues inherit the label.
    Attribute,
    /// Not at all: the policy determines the labels of all files in proc and sysfs.
    None,
}

pub fn method(kind: &str) -> LabelMethod {
    match kind {
        "proc" | "sysfs" => LabelMethod::None,
        "mqueue" => LabelMethod::Attribute,
        _ => LabelMethod::Option,
    }
}

/// The mount option with the label for a new file system, unless its options contain one.
pub fn option(kind: &str, options: &MountOptions, label: &str) -> Option<FsOption> {
    let labelled = options
        .data
        .iter()
        .any(|option| matches!(option, FsOption::String(key, _) if key == "context"));
    (method(kind) == LabelMethod::Option && !labelled).then(|| FsOption::String("context".into(), label.into()))
}

/// Sets the label on the root of a new file system, if its type needs that.
pub fn set_on_root(tree: BorrowedFd, kind: &str, label: &str) -> Result<()> {
    if method(kind) == LabelMethod::Attribute {
        attributes::set_attribute(tree, c"security.selinux", label.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_system_type_has_a_label_method() {
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
