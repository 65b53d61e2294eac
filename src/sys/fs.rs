//! Files and directories by descriptor.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::{Arg, SysError, SysResult, Syscall, c_path, c_string, check, own, uninterrupted};

/// `openat2(2)` with the given `RESOLVE_*` flags, retried when interrupted. `O_CLOEXEC` is always added.
pub fn openat2(dir: BorrowedFd, path: &Path, flags: i32, mode: u32, resolve: u64) -> SysResult<OwnedFd> {
    let c = c_path(path)?;
    // SAFETY: open_how is plain data for which all zeroes is valid; the kernel wants unknown fields zero.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = u64::from(mode);
    how.resolve = resolve;
    uninterrupted(|| {
        check!(
            // SAFETY: path and how outlive the call; the size is that of how.
            unsafe {
                libc::syscall(
                    libc::SYS_openat2,
                    dir.as_raw_fd(),
                    c.as_ptr(),
                    &how,
                    std::mem::size_of::<libc::open_how>(),
                )
            },
            Openat2,
            path,
            Arg::OpenFlags(flags)
        )
    })
    .map(own)
}

/// `openat(2)`, retried when interrupted; a path of the host's side only. `O_CLOEXEC` is always added.
pub fn openat(dir: BorrowedFd, path: &Path, flags: i32, mode: u32) -> SysResult<OwnedFd> {
    let c = c_path(path)?;
    uninterrupted(|| {
        check!(
            // SAFETY: the path outlives the call.
            unsafe { libc::openat(dir.as_raw_fd(), c.as_ptr(), flags | libc::O_CLOEXEC, mode) },
            Openat,
            path,
            Arg::OpenFlags(flags)
        )
    })
    .map(own)
}

/// `open(2)` relative to the working directory; a path of the host's side only.
pub fn open(path: &Path, flags: i32) -> SysResult<OwnedFd> {
    openat(CWD, path, flags, 0)
}

/// Opens what is to be a namespace. Whether it is one `setns(2)` tells; a pipe in its place must not be waited for, and a
/// terminal must not become ours.
pub fn open_namespace(path: &Path) -> SysResult<OwnedFd> {
    open(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)
}

/// The working directory as a directory descriptor (`AT_FDCWD`).
// SAFETY: AT_FDCWD is a constant that the *at calls understand; it is never closed.
pub const CWD: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };

/// `fstat(2)`; works on `O_PATH` descriptors too.
pub fn fstat(fd: BorrowedFd) -> SysResult<libc::stat> {
    // SAFETY: stat is plain data, filled by the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: stat is valid for writes during the call.
    check!(unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) }, Fstat, fd)?;
    Ok(stat)
}

/// `fstatat(2)` without following a final symbolic link.
pub fn lstatat(dir: BorrowedFd, name: &Path) -> SysResult<libc::stat> {
    let c = c_path(name)?;
    // SAFETY: stat is plain data, filled by the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    check!(
        // SAFETY: path and stat outlive the call.
        unsafe { libc::fstatat(dir.as_raw_fd(), c.as_ptr(), &mut stat, libc::AT_SYMLINK_NOFOLLOW) },
        Fstatat,
        name
    )?;
    Ok(stat)
}

/// The type of a file system by its magic number (statfs(2), `f_type`). The kernel's numbers have 32 bits, and every C
/// library holds them in another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsType(pub u32);

impl FsType {
    pub const CGROUP2: FsType = FsType(0x6367_7270);
    pub const DEVPTS: FsType = FsType(0x1cd1);
    pub const MQUEUE: FsType = FsType(0x1980_0202);
    pub const NSFS: FsType = FsType(0x6e73_6673);
    pub const PIDFS: FsType = FsType(0x5049_4446);
    pub const PROC: FsType = FsType(0x9fa0);
    pub const SELINUX: FsType = FsType(0xf97c_ff8c);
    pub const TMPFS: FsType = FsType(0x0102_1994);
    pub const SYSFS: FsType = FsType(0x6265_6572);
}

/// The type of the file system that an open file lies on (`fstatfs(2)`).
pub fn type_of(fd: BorrowedFd) -> SysResult<FsType> {
    // SAFETY: statfs is plain data, filled by the call.
    let mut statfs: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: statfs is valid for writes during the call.
    check!(unsafe { libc::fstatfs(fd.as_raw_fd(), &mut statfs) }, Fstatfs, fd)?;
    Ok(FsType(statfs.f_type as u32))
}

/// Whether the file is seen through a read-only mount, or lies on a read-only file system (`fstatvfs(3)`).
pub fn is_on_read_only_mount(fd: BorrowedFd) -> SysResult<bool> {
    Ok(mount_flags(fd)? & libc::ST_RDONLY != 0)
}

/// The flags of the mount through which the file is seen, and of its file system (`fstatvfs(3)`): `ST_*`.
pub fn mount_flags(fd: BorrowedFd) -> SysResult<u64> {
    // SAFETY: statvfs is plain data, filled by the call.
    let mut statvfs: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: statvfs is valid for writes during the call.
    check!(unsafe { libc::fstatvfs(fd.as_raw_fd(), &mut statvfs) }, Fstatvfs, fd)?;
    Ok(statvfs.f_flag)
}

/// Whether the object behind the descriptor is the root of a mount (`statx(2)`, `STATX_ATTR_MOUNT_ROOT`, Linux 5.8).
pub fn is_mount_root(fd: BorrowedFd) -> SysResult<bool> {
    Ok(statx(fd, 0)?.stx_attributes & libc::STATX_ATTR_MOUNT_ROOT as u64 != 0)
}

/// The mount that the object behind the descriptor was found on (`statx(2)`, `STATX_MNT_ID`, Linux 5.8).
pub fn mount_id(fd: BorrowedFd) -> SysResult<u64> {
    Ok(statx(fd, libc::STATX_MNT_ID)?.stx_mnt_id)
}

fn statx(fd: BorrowedFd, mask: u32) -> SysResult<libc::statx> {
    // SAFETY: statx is plain data, filled by the call.
    let mut statx: libc::statx = unsafe { std::mem::zeroed() };
    check!(
        // SAFETY: the empty string is a static C string, and statx is valid for writes during the call.
        unsafe {
            libc::syscall(
                libc::SYS_statx,
                fd.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH,
                mask,
                &mut statx,
            )
        },
        Statx,
        fd
    )?;
    Ok(statx)
}

/// The type of the file system that a path lies on (`statfs(2)`).
pub fn type_at(path: &Path) -> SysResult<FsType> {
    let c = c_path(path)?;
    // SAFETY: statfs is plain data, filled by the call.
    let mut statfs: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: path and statfs outlive the call.
    check!(unsafe { libc::statfs(c.as_ptr(), &mut statfs) }, Statfs, path)?;
    Ok(FsType(statfs.f_type as u32))
}

/// `mkdirat(2)`.
pub fn mkdirat(dir: BorrowedFd, name: &Path, mode: u32) -> SysResult<()> {
    let c = c_path(name)?;
    check!(
        // SAFETY: the path outlives the call.
        unsafe { libc::mkdirat(dir.as_raw_fd(), c.as_ptr(), mode) },
        Mkdirat,
        name,
        Arg::Mode(mode)
    )
    .map(drop)
}

/// `mknodat(2)`; `mode` holds the type, `dev` is `makedev(major, minor)`.
pub fn mknodat(dir: BorrowedFd, name: &Path, mode: u32, dev: u64) -> SysResult<()> {
    let c = c_path(name)?;
    check!(
        // SAFETY: the path outlives the call.
        unsafe { libc::mknodat(dir.as_raw_fd(), c.as_ptr(), mode, dev) },
        Mknodat,
        name,
        Arg::Mode(mode),
        Arg::Device(libc::major(dev), libc::minor(dev))
    )
    .map(drop)
}

/// `symlinkat(2)`.
pub fn symlinkat(target: &Path, dir: BorrowedFd, name: &Path) -> SysResult<()> {
    let (t, n) = (c_path(target)?, c_path(name)?);
    check!(
        // SAFETY: both paths outlive the call.
        unsafe { libc::symlinkat(t.as_ptr(), dir.as_raw_fd(), n.as_ptr()) },
        Symlinkat,
        target,
        name
    )
    .map(drop)
}

/// `readlinkat(2)` of a name below `dir`, or of `dir` itself (an `O_PATH|O_NOFOLLOW` link) with an empty name.
pub fn readlinkat(dir: BorrowedFd, name: &CStr) -> SysResult<Vec<u8>> {
    let mut buffer = vec![0u8; libc::PATH_MAX as usize];
    let length = check!(
        // SAFETY: name and buffer outlive the call; the length is the buffer's.
        unsafe { libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) },
        Readlinkat,
        name
    )?;
    buffer.truncate(length as usize);
    Ok(buffer)
}

/// `unlinkat(2)`; `directory` removes an empty directory.
pub fn unlinkat(dir: BorrowedFd, name: &Path, directory: bool) -> SysResult<()> {
    let c = c_path(name)?;
    let flags = if directory { libc::AT_REMOVEDIR } else { 0 };
    // SAFETY: the path outlives the call.
    let result = unsafe { libc::unlinkat(dir.as_raw_fd(), c.as_ptr(), flags) };
    match directory {
        true => check!(result, Rmdir, name),
        false => check!(result, Unlink, name),
    }
    .map(drop)
}

/// Gives an open file a name: `linkat(2)` by way of /proc, for which no capability is needed.
pub fn link(file: BorrowedFd, path: &Path) -> SysResult<()> {
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    let (f, t) = (c_string(&from)?, c_path(path)?);
    check!(
        // SAFETY: both paths outlive the call.
        unsafe {
            libc::linkat(
                libc::AT_FDCWD,
                f.as_ptr(),
                libc::AT_FDCWD,
                t.as_ptr(),
                libc::AT_SYMLINK_FOLLOW,
            )
        },
        Linkat,
        &*from,
        path
    )
    .map(drop)
}

/// `renameat(2)` within one directory.
pub fn renameat(dir: BorrowedFd, from: &Path, to: &Path) -> SysResult<()> {
    let (f, t) = (c_path(from)?, c_path(to)?);
    let fd = dir.as_raw_fd();
    check!(
        // SAFETY: both paths outlive the call.
        unsafe { libc::renameat(fd, f.as_ptr(), fd, t.as_ptr()) },
        Renameat,
        from,
        to
    )
    .map(drop)
}

/// `fchownat(2)` with `AT_EMPTY_PATH`: the object behind the descriptor, `O_PATH` included.
pub fn fchown(fd: BorrowedFd, uid: u32, gid: u32) -> SysResult<()> {
    check!(
        // SAFETY: the empty string is a static C string.
        unsafe { libc::fchownat(fd.as_raw_fd(), c"".as_ptr(), uid, gid, libc::AT_EMPTY_PATH) },
        Fchown,
        Arg::Owner(uid, gid)
    )
    .map(drop)
}

/// `fchdir(2)`.
pub fn fchdir(fd: BorrowedFd) -> SysResult<()> {
    // SAFETY: no memory is passed.
    check!(unsafe { libc::fchdir(fd.as_raw_fd()) }, Fchdir, fd).map(drop)
}

/// `chdir(2)`.
pub fn chdir(path: &Path) -> SysResult<()> {
    let c = c_path(path)?;
    // SAFETY: the path outlives the call.
    check!(unsafe { libc::chdir(c.as_ptr()) }, Chdir, path).map(drop)
}

/// `chroot(2)`.
pub fn chroot(path: &Path) -> SysResult<()> {
    let c = c_path(path)?;
    // SAFETY: the path outlives the call.
    check!(unsafe { libc::chroot(c.as_ptr()) }, Chroot, path).map(drop)
}

/// The raw `getcwd(2)` system call, whose answer begins with `(unreachable)` outside the root (the C library's hides it).
pub fn getcwd() -> SysResult<Vec<u8>> {
    let mut buffer = vec![0u8; libc::PATH_MAX as usize];
    let length = check!(
        // SAFETY: the buffer is valid for its length.
        unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) },
        Getcwd
    )?;
    buffer.truncate((length as usize).saturating_sub(1));
    Ok(buffer)
}

/// `faccessat(2)` with the effective ids (`AT_EACCESS`).
pub fn access(path: &Path, mode: i32) -> SysResult<()> {
    let c = c_path(path)?;
    check!(
        // SAFETY: the path outlives the call.
        unsafe { libc::faccessat(libc::AT_FDCWD, c.as_ptr(), mode, libc::AT_EACCESS) },
        Faccessat,
        path,
        Arg::word(match mode {
            libc::F_OK => "F_OK",
            libc::X_OK => "X_OK",
            libc::W_OK => "W_OK",
            _ => "W_OK|X_OK",
        })
    )
    .map(drop)
}

/// `umask(2)`: sets the mask and returns the one before. Never fails.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: no memory is passed.
    unsafe { libc::umask(mask) }
}

/// `write(2)` of a whole small buffer in one call, as kernel files want it; retried when interrupted.
pub fn write(fd: BorrowedFd, bytes: &[u8]) -> SysResult<usize> {
    let written = uninterrupted(|| {
        check!(
            // SAFETY: the buffer is valid for its length.
            unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) },
            Write,
            &*String::from_utf8_lossy(bytes.get(..80).unwrap_or(bytes))
        )
    })?;
    Ok(written as usize)
}

/// [`write()`] until everything is written.
pub fn write_all(fd: BorrowedFd, mut bytes: &[u8]) -> SysResult<()> {
    while !bytes.is_empty() {
        let written = write(fd, bytes)?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// `read(2)` once.
pub fn read(fd: BorrowedFd, buffer: &mut [u8]) -> SysResult<usize> {
    let length = check!(
        // SAFETY: the buffer is valid for its length.
        unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) },
        Read,
        fd
    )?;
    Ok(length as usize)
}

/// `read(2)` once, repeated if a signal interrupts it.
pub fn read_uninterrupted(fd: BorrowedFd, buffer: &mut [u8]) -> SysResult<usize> {
    uninterrupted(|| read(fd, buffer))
}

/// `pread(2)` from the file's beginning.
pub fn pread(fd: BorrowedFd, buffer: &mut [u8]) -> SysResult<usize> {
    let length = check!(
        // SAFETY: the buffer is valid for its length.
        unsafe { libc::pread(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) },
        Pread,
        fd
    )?;
    Ok(length as usize)
}

/// `lseek(fd, 0, SEEK_END)`.
pub fn seek_to_end(fd: BorrowedFd) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_END) },
        Lseek,
        0,
        Arg::word("SEEK_END")
    )
    .map(drop)
}

/// `lseek(fd, 0, SEEK_SET)`.
pub fn seek_to_start(fd: BorrowedFd) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_SET) },
        Lseek,
        0,
        Arg::word("SEEK_SET")
    )
    .map(drop)
}

/// Reads a whole file, retrying interrupted reads, up to `limit` bytes; more is an `EFBIG`.
pub fn read_all(fd: BorrowedFd, limit: usize) -> SysResult<Vec<u8>> {
    let mut content = Vec::new();
    let mut chunk = [0u8; 8192];
    loop {
        let length = uninterrupted(|| read(fd, &mut chunk))?;
        if length == 0 {
            return Ok(content);
        }
        content.extend_from_slice(chunk.get(..length).unwrap_or_default());
        if content.len() > limit {
            return Err(SysError::new(Syscall::Read, nix::errno::Errno::EFBIG));
        }
    }
}

/// `flock(2)`, exclusive; a lock that another holds is `EWOULDBLOCK`.
pub fn flock(fd: BorrowedFd) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) },
        Flock,
        Arg::word("LOCK_EX")
    )
    .map(drop)
}

/// `flock(LOCK_UN)`.
pub fn unlock(fd: BorrowedFd) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_UN) },
        Flock,
        Arg::word("LOCK_UN")
    )
    .map(drop)
}

/// `sendfile(2)` of up to `length` bytes from the source's position.
pub fn sendfile(to: BorrowedFd, from: BorrowedFd, length: usize) -> SysResult<usize> {
    let sent = check!(
        // SAFETY: a null offset means "use and move the file's own position".
        unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), std::ptr::null_mut(), length) },
        Sendfile,
        Arg::Count(length, "bytes")
    )?;
    Ok(sent as usize)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    extern "C" fn nothing(_: libc::c_int) {}

    #[test]
    fn an_interrupted_read_goes_on() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        // SAFETY: the handler does nothing; without SA_RESTART the signal makes a read return.
        let thread = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut());
            libc::pthread_self()
        };
        let thread = thread as usize;
        let other = std::thread::spawn(move || {
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(5));
                // SAFETY: the thread waits for us, so it lives.
                unsafe { libc::pthread_kill(thread as libc::pthread_t, libc::SIGUSR2) };
            }
            writer.write_all(b"text").unwrap();
        });
        assert_eq!(read_all(reader.as_fd(), 100).unwrap(), b"text");
        other.join().unwrap();
    }
}
