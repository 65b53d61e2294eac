//! A new file system with mount(2), for options that fsconfig(2) does not support: flags without a name there, and values
//! of more than 255 bytes (the `lowerdir` of an overlay). Run by init, before the root is changed.
//!
//! mount(2) attaches the new mount at a path. So it is mounted in a private directory that no other process can see, and
//! a detached copy is then treated like all other mounts.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::place::AttachedRoot;
use crate::error::Result;
use crate::plan::FsOption;
use crate::sys::fs_context::FsContext;
use crate::sys::{fs, mount};

/// The flags of mount(2) for options of the VFS that fsconfig(2) identifies by their names.
const FLAGS: &[(&str, u64)] = &[
    ("sync", libc::MS_SYNCHRONOUS),
    ("dirsync", libc::MS_DIRSYNC),
    ("lazytime", libc::MS_LAZYTIME),
    ("mand", libc::MS_MANDLOCK),
];

/// Creates the file system and returns a detached mount of it, with these `MOUNT_ATTR_*` attributes.
pub fn make<'a>(
    root: &AttachedRoot,
    kind: &str,
    source: Option<&str>,
    flags: u64,
    superblock: impl Iterator<Item = &'a FsOption>,
    data: impl Iterator<Item = &'a FsOption>,
    attributes: u64,
) -> Result<OwnedFd> {
    let flags = superblock.fold(flags, |flags, option| flags | flag(option));
    let data: Vec<String> = data.map(as_data).collect();
    let directory = private_directory(root)?;
    let name = Path::new("mount");
    let mount_and_clone = || -> Result<OwnedFd> {
        fs::mkdirat(directory.as_fd(), name, 0o700)?;
        mount::mount2(
            source.unwrap_or("none"),
            directory.as_fd(),
            name,
            kind,
            flags,
            &data.join(","),
        )?;
        let tree = mount::clone_tree(directory.as_fd(), name, false)?;
        mount::set_attributes(tree.as_fd(), attributes, libc::MOUNT_ATTR__ATIME, 0, false)?;
        Ok(tree)
    };
    let result = mount_and_clone();
    // With everything mounted in it.
    mount::detach_behind(directory.as_fd())?;
    result
}

fn flag(option: &FsOption) -> u64 {
    match option {
        FsOption::ReadOnly => libc::MS_RDONLY,
        FsOption::Flag(name) => FLAGS
            .iter()
            .find(|(known, _)| known == name)
            .map_or(0, |(_, flag)| *flag),
        FsOption::String(..) => 0,
    }
}

/// An empty directory that is attached in the mount namespace, as mount(2) requires. It is attached over the root, which
/// always exists; the handle on the root refers to the mount below.
fn private_directory(root: &AttachedRoot) -> Result<OwnedFd> {
    let tmpfs = FsContext::new("tmpfs")?;
    tmpfs.set("mode", "0700")?;
    let directory = tmpfs.mount(0)?;
    mount::attach(directory.as_fd(), root.fd())?;
    Ok(directory)
}

/// An option in the data string of mount(2). A label with commas (between its categories) is quoted.
fn as_data(option: &FsOption) -> String {
    match option {
        FsOption::String(key, value) if value.contains(',') && key.ends_with("context") => format!("{key}=\"{value}\""),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_with_commas_are_quoted() {
        let string = |key: &str, value: &str| as_data(&FsOption::String(key.into(), value.into()));
        assert_eq!(string("context", "a:b:c:s0:c1,c2"), "context=\"a:b:c:s0:c1,c2\"");
        assert_eq!(string("context", "a:b:c:s0"), "context=a:b:c:s0");
        assert_eq!(string("lowerdir", "/a\\,b:/c"), "lowerdir=/a\\,b:/c");
        assert_eq!(as_data(&FsOption::Flag("volatile".into())), "volatile");
    }
}
