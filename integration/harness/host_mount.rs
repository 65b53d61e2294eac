//! Mounts on the host's side of a test, in the mount namespace that only the tests share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::mount::{MntFlags, MsFlags, umount2};

/// The current mount points of the tests, which are not leaks of the runtime.
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// All mount points so far: the mount namespaces of containers that other tests are creating have copies for a while.
static EVER: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn locked(list: &Mutex<Vec<PathBuf>>) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mount_point(line: &str) -> &Path {
    Path::new(line.split(' ').nth(4).unwrap_or_default())
}

/// Whether a line of mountinfo is about one of these mounts.
pub fn is_live(line: &str) -> bool {
    locked(&LIVE).iter().any(|path| path == mount_point(line))
}

/// Whether it is about a copy of one, or of something below it. A test that prepares a directory for chroot(2) has copies below
/// that directory.
pub fn is_copy(line: &str) -> bool {
    let point = mount_point(line).to_string_lossy();
    locked(&EVER)
        .iter()
        .any(|path| point.contains(&*path.to_string_lossy()))
}

/// A mount that is removed, with all mounts below it, when it is dropped.
pub struct HostMount {
    pub path: PathBuf,
}

#[track_caller]
fn mount(source: Option<&Path>, path: &Path, kind: &str, flags: libc::c_ulong) {
    let source = source.unwrap_or(Path::new("tmpfs"));
    let done = nix::mount::mount(
        Some(source),
        path,
        Some(kind),
        MsFlags::from_bits_retain(flags),
        None::<&str>,
    );
    done.unwrap_or_else(|error| panic!("mount on {}: {error}", path.display()));
}

impl HostMount {
    /// An existing mount.
    pub fn at(path: &Path) -> Self {
        for list in [&LIVE, &EVER] {
            locked(list).push(path.to_owned());
        }
        Self { path: path.to_owned() }
    }

    /// A private tmpfs with `MS_*` flags of its mount, on a directory that is created for it.
    pub fn tmpfs(path: &Path, flags: libc::c_ulong) -> Self {
        fs::create_dir_all(path).expect("make the mount point");
        let this = Self::at(path);
        mount(None, path, "tmpfs", 0);
        this.propagation(libc::MS_PRIVATE);
        if flags != 0 {
            this.flags(flags);
        }
        this
    }

    /// A directory bound on itself.
    pub fn itself(path: &Path) -> Self {
        let this = Self::at(path);
        mount(Some(path), path, "none", libc::MS_BIND);
        this.propagation(libc::MS_PRIVATE);
        this
    }

    /// Gives the mount these flags and no others.
    pub fn flags(&self, flags: libc::c_ulong) {
        mount(None, &self.path, "none", libc::MS_REMOUNT | libc::MS_BIND | flags);
    }

    pub fn propagation(&self, propagation: libc::c_ulong) {
        mount(None, &self.path, "none", propagation);
    }

    pub fn shared(self) -> Self {
        self.propagation(libc::MS_SHARED);
        self
    }

    pub fn as_str(&self) -> &str {
        self.path.to_str().expect("a UTF-8 path")
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        locked(&LIVE).retain(|path| *path != self.path);
    }
}
