//! Mounts on the host's side of a test, in the mount namespace that all tests share with nobody else.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What is mounted at the moment, which is the tests' own and no leak of the runtime's.
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Whether a line of mountinfo is about one of these mounts.
pub fn is_live(line: &str) -> bool {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    line.split(' ')
        .nth(4)
        .is_some_and(|path| live.iter().any(|own| own == Path::new(path)))
}

/// A mount that is taken away, with all below it, when it is dropped.
pub struct HostMount {
    pub path: PathBuf,
}

fn c(path: &Path) -> CString {
    CString::new(path.to_str().expect("a UTF-8 path")).expect("no NUL")
}

#[track_caller]
fn mount(source: Option<&Path>, path: &Path, kind: &std::ffi::CStr, flags: libc::c_ulong) {
    let source = source.map_or(c"tmpfs".to_owned(), c);
    let path = c(path);
    let done = unsafe { libc::mount(source.as_ptr(), path.as_ptr(), kind.as_ptr(), flags, std::ptr::null()) };
    assert_eq!(done, 0, "mount on {path:?}: {}", std::io::Error::last_os_error());
}

impl HostMount {
    /// What is mounted there already.
    pub fn at(path: &Path) -> Self {
        LIVE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(path.to_owned());
        Self { path: path.to_owned() }
    }

    /// A tmpfs with `MS_*` flags of its mount, in a directory that is made for it; private, whatever is around it.
    pub fn tmpfs(path: &Path, flags: libc::c_ulong) -> Self {
        fs::create_dir_all(path).expect("make the mount point");
        mount(None, path, c"tmpfs", 0);
        let this = Self::at(path);
        this.propagation(libc::MS_PRIVATE);
        if flags != 0 {
            this.flags(flags);
        }
        this
    }

    /// A directory bound on itself.
    pub fn itself(path: &Path) -> Self {
        mount(Some(path), path, c"none", libc::MS_BIND);
        let this = Self::at(path);
        this.propagation(libc::MS_PRIVATE);
        this
    }

    /// Gives the mount these flags and no others.
    pub fn flags(&self, flags: libc::c_ulong) {
        mount(None, &self.path, c"none", libc::MS_REMOUNT | libc::MS_BIND | flags);
    }

    pub fn propagation(&self, propagation: libc::c_ulong) {
        mount(None, &self.path, c"none", propagation);
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
        unsafe { libc::umount2(c(&self.path).as_ptr(), libc::MNT_DETACH) };
        LIVE.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|path| *path != self.path);
    }
}
