//! Open files: positions, files without a name, appending, locks, shared positions, flags.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Part, sys};

pub struct Files {
    dir: PathBuf,
    positioned: File,
    /// Shares its position with the one above.
    duplicate: OwnedFd,
    append: File,
    deleted: File,
    /// Deleted while it is also mapped.
    mapped: &'static mut [u8],
    on_tmpfs: File,
    directory: File,
    locked: File,
    flocked: File,
    appended: u64,
}

impl Files {
    pub fn new(dir: &Path) -> Self {
        let open = |name: &str| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true);
            options.open(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        let mut positioned = open("positioned");
        positioned.write_all(&sys::pattern(1000, 17)).expect("write");
        positioned.seek(SeekFrom::Start(123)).expect("seek");
        // SAFETY: the call takes no pointer.
        let duplicate = sys::owned(unsafe { libc::dup(positioned.as_raw_fd()) });
        let mut options = OpenOptions::new();
        let append = options.append(true).create(true).open(dir.join("log")).expect("open");
        let mut deleted = open("deleted");
        deleted.write_all(&sys::pattern(5000, 19)).expect("write");
        fs::remove_file(dir.join("deleted")).expect("remove");
        let to_map = open("mapped");
        to_map.set_len(8192).expect("ftruncate");
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let mapped = sys::map(8192, both, libc::MAP_SHARED, to_map.as_raw_fd());
        mapped.copy_from_slice(&sys::pattern(8192, 23));
        fs::remove_file(dir.join("mapped")).expect("remove");
        let mut on_tmpfs = File::create_new("/dev/shm/file").expect("a file on tmpfs");
        on_tmpfs.write_all(&sys::pattern(3000, 29)).expect("write");
        fs::set_permissions("/dev/shm/file", std::os::unix::fs::PermissionsExt::from_mode(0o4751)).expect("chmod");
        let locked = open("locked");
        // SAFETY: plain data for which zeroes are valid.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as i16;
        (lock.l_start, lock.l_len) = (10, 20);
        // SAFETY: the kernel reads one struct, which outlives the call.
        sys::done(unsafe { libc::fcntl(locked.as_raw_fd(), libc::F_SETLK, &lock) });
        let flocked = open("flocked");
        // SAFETY: the call takes no pointer.
        sys::done(unsafe { libc::flock(flocked.as_raw_fd(), libc::LOCK_EX) });
        Files {
            dir: dir.to_owned(),
            positioned,
            duplicate,
            append,
            deleted,
            mapped,
            on_tmpfs,
            directory: File::open("/dev/shm").expect("open a directory"),
            locked,
            flocked,
            appended: 0,
        }
    }

    /// How another process finds the record lock: its range and whether it is this process's.
    fn record_lock(&self) -> Value {
        // SAFETY: plain data for which zeroes are valid.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as i16;
        let file = OpenOptions::new().write(true).open(self.dir.join("locked"));
        let file = file.expect("open the locked file");
        // An open file description is another owner.
        // SAFETY: the kernel reads and writes one struct, which outlives the call.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) };
        let found = sys::outcome(result);
        // A close(2) of any descriptor of the file would release the lock.
        std::mem::forget(file);
        json!([found, lock.l_type, lock.l_start, lock.l_len, lock.l_pid])
    }
}

fn position(file: &impl AsRawFd) -> i64 {
    // SAFETY: the call takes no pointer.
    unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_CUR) }
}

fn content(file: &File) -> String {
    let mut bytes = vec![0; file.metadata().map_or(0, |metadata| metadata.len() as usize)];
    let _ = std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0);
    sys::hash(&bytes)
}

impl Part for Files {
    fn check(&mut self) -> Result<(), String> {
        let line = [b'x'; 8];
        self.append.write_all(&line).map_err(|e| format!("append: {e}"))?;
        self.appended += 8;
        let length = self.append.metadata().map_or(0, |metadata| metadata.len());
        if length != self.appended || position(&self.append) != length as i64 {
            return Err(format!("the log has {length} bytes instead of {}", self.appended));
        }
        Ok(())
    }

    fn same(&mut self) -> Value {
        let again = File::open(self.dir.join("flocked")).expect("open");
        // SAFETY: the call takes no pointer.
        let flock = sys::outcome(unsafe { libc::flock(again.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) });
        // The descriptor that shares the position moves it, too.
        // SAFETY: the call takes no pointer.
        unsafe { libc::lseek(self.duplicate.as_raw_fd(), 1, libc::SEEK_CUR) };
        let moved = position(&self.positioned);
        let mut next = [0; 4];
        let read = self.positioned.read(&mut next).unwrap_or(0);
        let _ = self.positioned.seek(SeekFrom::Start(123));
        let mode = |file: &File| file.metadata().map_or(0, |metadata| metadata.mode());
        let links = |file: &File| file.metadata().map_or(9, |metadata| metadata.nlink());
        json!({
            "positioned": [json!(moved), json!(&next[..read]), json!(content(&self.positioned))],
            "deleted": [json!(content(&self.deleted)), json!(position(&self.deleted)), json!(links(&self.deleted))],
            "mapped": sys::hash(self.mapped),
            "on tmpfs": [
                json!(position(&self.on_tmpfs)),
                json!(mode(&self.on_tmpfs)),
                json!(sys::hash(&fs::read("/dev/shm/file").unwrap_or_default())),
            ],
            "directory": fs::read_link(format!("/proc/self/fd/{}", self.directory.as_raw_fd())).unwrap_or_default(),
            "record lock": self.record_lock(),
            "flock": [flock, sys::fdinfo(self.flocked.as_raw_fd(), &["flags"]).concat()],
            "descriptor of the lock": self.locked.as_raw_fd(),
        })
    }

    fn grows(&mut self) -> Value {
        json!({ "appended": self.appended })
    }
}
