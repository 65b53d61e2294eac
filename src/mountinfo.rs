//! The mounts of this process's mount namespace, or of another's: /proc/PID/mountinfo, see proc_pid_mountinfo(5).
//!
//! Not by the `procfs` crate: it leaves the kernel's escapes in the paths, and fails on a path that is not UTF-8.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::error::{Context, Result};

/// A line of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Unique in the mount namespace.
    pub id: u64,
    /// The mount that it is on.
    pub parent: u64,
    /// `major:minor` of the file system.
    pub device: &'a [u8],
    /// What of the file system is mounted.
    root: &'a [u8],
    point: &'a [u8],
    /// The options of this mount alone, separated by commas.
    flags: &'a [u8],
    /// The type of the file system.
    kind: &'a [u8],
    /// What is mounted, in a form that depends on the file system; for many of them any word.
    source: &'a [u8],
    /// Those that all mounts of the file system share, separated by commas.
    options: &'a [u8],
}

/// The text of the file, for [`mounts`].
pub fn read() -> Result<Vec<u8>> {
    std::fs::read("/proc/self/mountinfo").context("/proc/self/mountinfo")
}

/// The text of the file of another process. The mount points are paths below the root of that process.
pub fn read_of(pid: i32) -> Result<Vec<u8>> {
    let path = format!("/proc/{pid}/mountinfo");
    std::fs::read(&path).context(path)
}

/// The mounts, in the order in which the kernel lists them. Lines that are cut off are skipped.
pub fn mounts(text: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(Mount::parse)
}

/// The first mount point of a file system type.
pub fn point_of(text: &[u8], kind: &str) -> Option<PathBuf> {
    mounts(text).find(|mount| mount.is(kind)).map(|mount| mount.point())
}

impl<'a> Mount<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
        let (id, parent, device) = (number(fields.next()?)?, number(fields.next()?)?, fields.next()?);
        let (root, point) = (fields.next()?, fields.next()?);
        let flags = fields.next()?;
        // Any number of optional fields, up to a hyphen.
        fields.find(|field| *field == b"-")?;
        let (kind, source, options) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Mount {
            id,
            parent,
            device,
            root,
            point,
            flags,
            kind,
            source,
            options,
        })
    }

    /// The options of this mount alone: `ro`, `nosuid` and so on.
    pub fn flags(&self) -> impl Iterator<Item = &str> {
        let flags = self.flags.split(|byte| *byte == b',');
        flags.filter_map(|flag| std::str::from_utf8(flag).ok())
    }

    /// The type of the file system.
    pub fn kind(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.kind)
    }

    /// What is mounted, in a form that depends on the file system.
    pub fn source(&self) -> PathBuf {
        unescaped(self.source)
    }

    /// What of the file system is mounted.
    pub fn root(&self) -> PathBuf {
        unescaped(self.root)
    }

    /// The options that all mounts of the file system share. (None of cgroup2 has a character that the kernel escapes.)
    pub fn options(&self) -> impl Iterator<Item = &str> {
        let options = self.options.split(|byte| *byte == b',');
        options.filter_map(|option| std::str::from_utf8(option).ok())
    }

    /// Whether the file system is of this type.
    pub fn is(&self, kind: &str) -> bool {
        self.kind == kind.as_bytes()
    }

    /// Whether the root of the file system is mounted, not a directory in it.
    pub fn is_whole(&self) -> bool {
        self.root == b"/"
    }

    /// Whether that is a file or directory of this name at the top of the file system.
    pub fn is_top(&self, name: &str) -> bool {
        self.root.strip_prefix(b"/") == Some(name.as_bytes())
    }

    /// Whether another mount shows a part of what this one shows.
    pub fn includes(&self, other: &Mount) -> bool {
        let below = other.root.strip_prefix(self.root);
        let is_below = |rest: &[u8]| rest.is_empty() || rest.starts_with(b"/") || self.root.ends_with(b"/");
        self.device == other.device && below.is_some_and(is_below)
    }

    pub fn point(&self) -> PathBuf {
        unescaped(self.point)
    }
}

/// The kernel writes space, tab, line feed and backslash as a backslash and three octal digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_found_by_type_and_unescaped() {
        let v1 = "35 25 0:30 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n";
        let table: [(&str, Option<&str>); 8] = [
            ("", None),
            (v1, None),
            (
                "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw",
                Some("/sys/fs/cgroup"),
            ),
            (
                "30 25 0:26 / /my\\040own\\011\\134tree rw - cgroup2 none rw",
                Some("/my own\t\\tree"),
            ),
            ("30 25 0:26 / /a\\012b rw - cgroup2 none rw", Some("/a\nb")),
            // Not escapes of the kernel.
            ("30 25 0:26 / /a\\04 rw - cgroup2 none rw", Some("/a\\04")),
            ("30 25 0:26 / /a\\400 rw - cgroup2 none rw", Some("/a\\400")),
            ("30 25 0:26 / /cgroup2 rw - tmpfs cgroup2 rw", None),
        ];
        for (text, expected) in table {
            assert_eq!(point_of(text.as_bytes(), "cgroup2"), expected.map(Into::into), "{text}");
            let both = format!("{v1}{text}\n");
            assert_eq!(point_of(both.as_bytes(), "cgroup2"), expected.map(Into::into), "{both}");
        }
    }

    #[test]
    fn what_is_mounted_and_how_is_read() {
        let text = b"30 25 8:1 /a\\040b /data ro,nosuid shared:4 - ext4 /dev/my\\040disk rw,errors=continue\n";
        let mount = mounts(text).next().unwrap();
        assert_eq!(mount.flags().collect::<Vec<_>>(), ["ro", "nosuid"]);
        assert_eq!(mount.options().collect::<Vec<_>>(), ["rw", "errors=continue"]);
        assert_eq!((mount.kind().as_ref(), mount.source()), ("ext4", "/dev/my disk".into()));
        assert_eq!(mount.root(), PathBuf::from("/a b"));
    }

    #[test]
    fn a_mount_of_a_directory_is_told_from_one_of_the_whole_file_system() {
        let text = b"21 1 0:20 / /proc rw - proc proc rw\n22 1 0:21 /self /half rw - proc proc rw\n23 1 0:2";
        let whole: Vec<bool> = mounts(text).map(|mount| mount.is_whole()).collect();
        assert_eq!(whole, [true, false]);
    }

    proptest::proptest! {
        #[test]
        fn no_mountinfo_makes_it_panic(text in "([0-9]{0,3}| |/|-|proc|sysfs|\\\\[0-9]{0,4}|\n|é){0,40}") {
            let points: Vec<_> = mounts(text.as_bytes()).map(|mount| mount.point()).collect();
            assert!(points.len() <= text.lines().count());
        }
    }
}
