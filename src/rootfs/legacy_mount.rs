//! A new file system by mount(2), for what its successors do not take: flags that have no word in fsconfig(2), and values
//! of more than 255 bytes (the `lowerdir` of an overlay). Run by init, before the root is changed.
//!
//! mount(2) attaches what it makes, at a path. So it is made in a directory of our own, out of everybody's sight, and a
//! detached copy of it goes the way of all other mounts from there.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::Root;
use crate::error::Result;
use crate::plan::FsOption;
use crate::sys::fs_context::FsContext;
use crate::sys::{fs, mount};

/// The words of the VFS's own, which mount(2) has bits for.
const FLAGS: &[(&str, u64)] = &[
    ("ro", libc::MS_RDONLY),
    ("sync", libc::MS_SYNCHRONOUS),
    ("dirsync", libc::MS_DIRSYNC),
    ("lazytime", libc::MS_LAZYTIME),
    ("mand", libc::MS_MANDLOCK),
];

/// Makes the file system and returns it detached, with these `MOUNT_ATTR_*` attributes.
pub fn make<'a>(
    root: &Root,
    kind: &str,
    source: Option<&str>,
    mut flags: u64,
    superblock: impl Iterator<Item = &'a FsOption>,
    data: impl Iterator<Item = &'a FsOption>,
    attributes: u64,
) -> Result<OwnedFd> {
    for option in superblock {
        let word = option.to_string();
        flags |= FLAGS
            .iter()
            .find(|(name, _)| *name == word)
            .map_or(0, |(_, flag)| *flag);
    }
    let data: Vec<String> = data.map(as_data).collect();
    let place = directory(root)?;
    let name = Path::new("mount");
    let make = || -> Result<OwnedFd> {
        fs::mkdirat(place.as_fd(), name, 0o700)?;
        mount::mount2(
            source.unwrap_or("none"),
            place.as_fd(),
            name,
            kind,
            flags,
            &data.join(","),
        )?;
        let tree = mount::clone_tree(place.as_fd(), name, false)?;
        mount::set_attributes(tree.as_fd(), attributes, libc::MOUNT_ATTR__ATIME, 0, false)?;
        Ok(tree)
    };
    let made = make();
    // With all that is mounted in it.
    mount::detach_behind(place.as_fd())?;
    made
}

/// A directory that is attached in our mount namespace, as mount(2) wants it: over the root, where there is always room,
/// for our handle on that stands below.
fn directory(root: &Root) -> Result<OwnedFd> {
    let tmpfs = FsContext::new("tmpfs")?;
    tmpfs.set("mode", "0700")?;
    let place = tmpfs.mount(0)?;
    mount::attach(place.as_fd(), root.fd())?;
    Ok(place)
}

/// As it stands in the string of mount(2): a label with commas (its categories) in quotes.
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
    fn labels_are_quoted_for_their_commas() {
        let string = |key: &str, value: &str| as_data(&FsOption::String(key.into(), value.into()));
        assert_eq!(string("context", "a:b:c:s0:c1,c2"), "context=\"a:b:c:s0:c1,c2\"");
        assert_eq!(string("context", "a:b:c:s0"), "context=a:b:c:s0");
        assert_eq!(string("lowerdir", "/a\\,b:/c"), "lowerdir=/a\\,b:/c");
        assert_eq!(as_data(&FsOption::Flag("volatile".into())), "volatile");
    }
}
