//! Files on the host that no container may touch.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::leaks::entries;
use super::temp_dir;

/// A file or directory on the host that no container may touch; dropping it checks that none did.
pub struct Canary {
    pub path: PathBuf,
    before: Vec<(PathBuf, String)>,
}

impl Canary {
    /// A file with a secret, in a separate directory.
    pub fn file() -> Self {
        let dir = temp_dir("canary");
        let path = dir.join("file");
        fs::write(&path, "canary\n").expect("write the canary");
        Self {
            before: snapshot(&dir),
            path,
        }
    }

    /// A directory with one file in it.
    pub fn dir() -> Self {
        let path = temp_dir("canary").join("dir");
        fs::create_dir(&path).expect("make the canary directory");
        fs::write(path.join("file"), "canary\n").expect("write the canary");
        Self {
            before: snapshot(path.parent().expect("a parent")),
            path,
        }
    }

    /// As [`Canary::dir`], writable for everyone.
    pub fn open_dir() -> Self {
        let path = temp_dir("canary").join("dir");
        fs::create_dir(&path).expect("make the canary directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("chmod");
        fs::write(path.join("file"), "canary\n").expect("write the canary");
        Self {
            before: snapshot(path.parent().expect("a parent")),
            path,
        }
    }

    pub fn as_str(&self) -> &str {
        self.path.to_str().expect("a UTF-8 path")
    }

    #[track_caller]
    pub fn assert_untouched(&self) {
        let parent = self.path.parent().expect("a parent");
        assert_eq!(snapshot(parent), self.before, "the host was touched");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert!(
            !mounts.contains(parent.to_str().expect("UTF-8")),
            "something is mounted over the host's file: {mounts}"
        );
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_untouched();
            let _ = fs::remove_dir_all(self.path.parent().expect("a parent"));
        }
    }
}

/// Type, inode, owner, mode, times and content of everything below a directory (access time excepted).
fn snapshot(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    let mut queue = vec![dir.to_owned()];
    while let Some(path) = queue.pop() {
        let meta = fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let content = if meta.is_file() {
            fs::read(&path).unwrap_or_default()
        } else {
            Vec::new()
        };
        let facts = format!(
            "ino {} mode {:o} owner {}:{} mtime {}.{} ctime {}.{} links {} content {:?}",
            meta.ino(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
            meta.nlink(),
            String::from_utf8_lossy(&content)
        );
        all.push((path.clone(), facts));
        if meta.is_dir() {
            queue.extend(entries(&path));
        }
    }
    all
}
