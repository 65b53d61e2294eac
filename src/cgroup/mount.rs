//! Where the cgroup tree is mounted, and where in it a process is. See cgroups(7) and proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Context, Result, bail, with_hint};
use crate::sys::SysError;
use crate::sys::fs::{self, FsType};

/// Where cgroup2 is mounted.
pub fn mount_point() -> Result<PathBuf> {
    find()?.ok_or_else(|| {
        with_hint(
            "cgroup version 2 is not mounted",
            "mount it: `mount -t cgroup2 none /sys/fs/cgroup`; orlop does not use version 1",
        )
    })
}

/// Where cgroup2 is mounted, if it is. The usual places are asked first, because mountinfo can be long.
pub fn find() -> Result<Option<PathBuf>> {
    for usual in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        if fs::type_at(Path::new(usual)) == Ok(FsType::CGROUP2) {
            return Ok(Some(usual.into()));
        }
    }
    let mounts = std::fs::read("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    Ok(cgroup2_of(&mounts))
}

/// The mount point of cgroup2 in the text of a mountinfo file (proc_pid_mountinfo(5)), whose fields have blanks, line
/// breaks and backslashes as `\040` and the like.
fn cgroup2_of(mountinfo: &[u8]) -> Option<PathBuf> {
    let field = mountinfo.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let point = fields.nth(4)?;
        fields.find(|field| *field == b"-")?;
        (fields.next()? == b"cgroup2").then_some(point)
    })?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        (path, rest) = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                path.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                (path, tail)
            }
            _ => {
                path.push(*first);
                (path, tail)
            }
        };
    }
    Some(PathBuf::from(OsString::from_vec(path)))
}

/// The place of a process's cgroup below the root of our cgroup namespace: `0::/…` in /proc/PID/cgroup. `process` is a
/// pid or `self`. For a cgroup that has been removed the kernel says a place that is not there.
pub fn place_of(process: &str) -> Result<PathBuf> {
    let file = format!("/proc/{process}/cgroup");
    let text = std::fs::read_to_string(&file).map_err(|error| SysError::from_io(format!("open({file:?})"), &error))?;
    let path = text
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap_or_default();
    // The kernel's word for a cgroup outside our cgroup namespace.
    if path.starts_with("..") {
        bail!("{file}: a cgroup outside of this cgroup namespace: /{path}");
    }
    Ok(path.into())
}

/// Opens the cgroup that a process is in.
pub fn open_of(pid: i32) -> Result<OwnedFd> {
    let place = place_of(&pid.to_string())?;
    let path = mount_point()?.join(&place);
    match fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY) {
        // The kernel's word for one that has been removed.
        Err(error) if error.errno == Errno::ENOENT && place.as_os_str().as_encoded_bytes().ends_with(b" (deleted)") => {
            Err(SysError::new(format!("the cgroup of process {pid}"), Errno::ENOENT).into())
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::cgroup2_of;

    #[test]
    fn the_mount_point_is_found_with_its_blanks() {
        let v1 = "35 25 0:30 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n";
        let table: [(&str, Option<&str>); 7] = [
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
            // No escape of the kernel's.
            ("30 25 0:26 / /a\\04 rw - cgroup2 none rw", Some("/a\\04")),
            ("30 25 0:26 / /a\\400 rw - cgroup2 none rw", Some("/a\\400")),
            ("30 25 0:26 / /cgroup2 rw - tmpfs cgroup2 rw", None),
        ];
        for (text, expected) in table {
            assert_eq!(cgroup2_of(text.as_bytes()), expected.map(Into::into), "{text}");
            let both = format!("{v1}{text}\n");
            assert_eq!(cgroup2_of(both.as_bytes()), expected.map(Into::into), "{both}");
        }
    }
}
