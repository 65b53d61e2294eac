//! Processes, their identity and their limits.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;

use super::names::CLONE_INTO_CGROUP;
pub use super::names::Resource;
pub use super::namespace::{NAMESPACES, NamespaceKind};
use super::{Arg, SysError, SysResult, Syscall, check, fs, own, uninterrupted};

/// What [`clone3`] gave: in the parent the child's pid and a pidfd for it, in the child nothing.
pub enum Cloned {
    Parent { pid: i32, pidfd: OwnedFd },
    Child,
}

/// struct clone_args of linux/sched.h, version 2 (with `cgroup`).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `clone3(2)` in the manner of fork: the child goes on with a copy of this process, in the new namespaces of `flags`
/// (`CLONE_NEW*`) and, if given, inside the cgroup. With `CLONE_PARENT` it is a child of the caller's parent.
///
/// The caller must be single-threaded: the copy has only the calling thread, and a lock held by another would stay
/// held for ever.
///
/// With `CLONE_PARENT` in the flags the child is the caller's sibling: the child of its parent, which waits for it.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd>) -> SysResult<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        // A sibling's is the one that the caller itself was given.
        exit_signal: if flags & libc::CLONE_PARENT as u64 == 0 {
            libc::SIGCHLD as u64
        } else {
            0
        },
        ..CloneArgs::default()
    };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM this is fork: the child has its own copy of all memory. args and pidfd outlive the call.
    let pid = check!(
        unsafe { libc::syscall(libc::SYS_clone3, &args, std::mem::size_of::<CloneArgs>()) },
        Clone3,
        Arg::CloneFlags(args.flags)
    )?;
    if pid == 0 {
        Ok(Cloned::Child)
    } else {
        Ok(Cloned::Parent {
            pid: pid as i32,
            pidfd: own(pidfd),
        })
    }
}

/// `setns(2)` into the one namespace behind `fd`; `kind` is its `CLONE_NEW*` flag and must match. Behind a pidfd are all
/// of a process's namespaces, and `kind` names those to join (Linux 5.8).
pub fn setns(fd: BorrowedFd, kind: u64) -> SysResult<()> {
    // SAFETY: no memory is passed.
    check!(
        unsafe { libc::setns(fd.as_raw_fd(), kind as i32) },
        Setns,
        Arg::CloneFlags(kind)
    )
    .map(drop)
}

/// `unshare(2)` of namespaces (`CLONE_NEW*`).
pub fn unshare(flags: u64) -> SysResult<()> {
    // SAFETY: no memory is passed; CLONE_NEW* flags concern this process alone.
    check!(unsafe { libc::unshare(flags as i32) }, Unshare, Arg::CloneFlags(flags)).map(drop)
}

/// `pidfd_open(2)`.
pub fn pidfd_open(pid: i32) -> SysResult<OwnedFd> {
    // SAFETY: no memory is passed.
    check!(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }, PidfdOpen, pid).map(own)
}

/// The inode number of a pidfd, by which the kernel tells a process from all others until the next boot; none where pidfds are
/// no inodes of their own (pidfs, since Linux 6.9).
pub fn pidfd_inode(pidfd: BorrowedFd) -> SysResult<Option<u64>> {
    if fs::type_of(pidfd)? != fs::FsType::PIDFS {
        return Ok(None);
    }
    Ok(Some(fs::fstat(pidfd)?.st_ino))
}

/// `pidfd_send_signal(2)`.
pub fn pidfd_send_signal(pidfd: BorrowedFd, signal: i32) -> SysResult<()> {
    // SAFETY: a null siginfo means "as kill(2) would".
    check!(
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                pidfd.as_raw_fd(),
                signal,
                std::ptr::null::<u8>(),
                0,
            )
        },
        PidfdSendSignal,
        Arg::Signal(signal)
    )
    .map(drop)
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// `exit(2)` with this code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit status {code}"),
            Exit::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

impl Exit {
    /// The exit code a shell would give: the code itself, or 128 + the signal's number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Code(code) => code as u8,
            Exit::Signal(signal) => (128 + signal) as u8,
        }
    }
}

/// `waitid(2)` on a pidfd; blocks until the child has ended, unless `wait` is false and it has not (`None`).
pub fn wait_pidfd(pidfd: BorrowedFd, wait: bool) -> SysResult<Option<Exit>> {
    let options = libc::WEXITED | if wait { 0 } else { libc::WNOHANG };
    let mut info = empty_siginfo();
    uninterrupted(|| {
        // SAFETY: info is valid for writes during the call.
        check!(
            unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as u32, &mut info, options) },
            Waitid,
            Arg::word("P_PIDFD")
        )
    })?;
    // SAFETY: waitid filled the child's part of the union, or left the zeroes.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok(match (pid, info.si_code) {
        (0, _) => None,
        (_, libc::CLD_EXITED) => Some(Exit::Code(status)),
        _ => Some(Exit::Signal(status)),
    })
}

/// Reaps every ended child except the one behind `kept`, which somebody else waits for.
pub fn reap_all_but(kept: BorrowedFd) -> SysResult<()> {
    loop {
        let mut info = empty_siginfo();
        let look = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: info is valid for writes during the call.
        if unsafe { libc::waitid(libc::P_ALL, 0, &mut info, look) } < 0 {
            return Ok(());
        }
        // SAFETY: waitid filled the child's part of the union, or left the zeroes.
        let pid = unsafe { info.si_pid() };
        let mut own = empty_siginfo();
        // SAFETY: own is valid for writes during the call.
        unsafe { libc::waitid(libc::P_PIDFD, kept.as_raw_fd() as u32, &mut own, look) };
        // SAFETY: as above.
        let kept_pid = unsafe { own.si_pid() };
        if pid == 0 || pid == kept_pid {
            return Ok(());
        }
        // SAFETY: a null status is allowed.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
    }
}

fn empty_siginfo() -> libc::siginfo_t {
    // SAFETY: siginfo_t is plain data for which zeroes are valid.
    unsafe { std::mem::zeroed() }
}

/// `prctl(PR_SET_DUMPABLE, 0)`: nobody without CAP_SYS_PTRACE over our user namespace may look into this process.
pub fn set_undumpable() -> SysResult<()> {
    // SAFETY: no memory is passed.
    check!(
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) },
        Prctl,
        Arg::word("PR_SET_DUMPABLE"),
        0
    )
    .map(drop)
}

/// `prctl(PR_SET_NAME)`: the name that ps(1) shows.
pub fn set_name(name: &CStr) {
    // SAFETY: the name outlives the call. Failure is impossible for a valid pointer.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// `prctl(PR_SET_NO_NEW_PRIVS)`.
pub fn set_no_new_privileges() -> SysResult<()> {
    // SAFETY: no memory is passed.
    check!(
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
        Prctl,
        Arg::word("PR_SET_NO_NEW_PRIVS")
    )
    .map(drop)
}

/// `prctl(PR_SET_CHILD_SUBREAPER)`: orphans of the container become our children.
pub fn set_child_subreaper() -> SysResult<()> {
    // SAFETY: no memory is passed.
    check!(
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) },
        Prctl,
        Arg::word("PR_SET_CHILD_SUBREAPER")
    )
    .map(drop)
}

/// `setgroups(2)`, the raw call (the process has one thread).
pub fn setgroups(groups: &[u32]) -> SysResult<()> {
    // SAFETY: the list is valid for its length.
    check!(
        unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) },
        Setgroups,
        match groups {
            few if few.len() <= 32 => Arg::Word(format!("{few:?}").into()),
            many => Arg::Count(many.len(), "groups"),
        }
    )
    .map(drop)
}

/// `setresgid(2)`, the raw call.
pub fn setgid(gid: u32) -> SysResult<()> {
    // SAFETY: no memory is passed.
    check!(
        unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) },
        Setresgid,
        gid
    )
    .map(drop)
}

/// `setresuid(2)`, the raw call.
pub fn setuid(uid: u32) -> SysResult<()> {
    // SAFETY: no memory is passed.
    check!(
        unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) },
        Setresuid,
        uid
    )
    .map(drop)
}

/// `setsid(2)`.
pub fn setsid() -> SysResult<()> {
    // SAFETY: no memory is passed.
    check!(unsafe { libc::setsid() }, Setsid).map(drop)
}

/// `prlimit(2)` of one resource (`RLIMIT_*`) of a process; 0 is the caller.
pub fn setrlimit(pid: i32, resource: Resource, soft: u64, hard: u64) -> SysResult<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the limit outlives the call; the old one is not asked for.
    check!(
        unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, &limit, std::ptr::null::<u8>()) },
        Setrlimit,
        Arg::Resource(resource),
        Arg::named("soft", Arg::Limit(soft)),
        Arg::named("hard", Arg::Limit(hard))
    )
    .map(drop)
}

/// `prlimit(2)` of one resource of a process, to look: (soft, hard).
pub fn getrlimit(pid: i32, resource: Resource) -> SysResult<(u64, u64)> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is valid for writes during the call; no new one is given.
    check!(
        unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, std::ptr::null::<u8>(), &mut limit) },
        Getrlimit,
        Arg::Resource(resource)
    )?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// `sched_setaffinity(2)` to every processor that the cpuset allows.
pub fn reset_affinity() -> SysResult<()> {
    let every = [u8::MAX; 1024];
    // SAFETY: the mask is valid for its length; processors that do not exist are ignored.
    check!(
        unsafe { libc::sched_setaffinity(0, every.len(), every.as_ptr().cast()) },
        SchedSetaffinity,
        Arg::word("every processor")
    )
    .map(drop)
}

/// `sethostname(2)`.
pub fn sethostname(name: &str) -> SysResult<()> {
    // SAFETY: the bytes are valid for their length.
    check!(
        unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) },
        Sethostname,
        name
    )
    .map(drop)
}

/// `setdomainname(2)`.
pub fn setdomainname(name: &str) -> SysResult<()> {
    // SAFETY: the bytes are valid for their length.
    check!(
        unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) },
        Setdomainname,
        name
    )
    .map(drop)
}

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING)`: the session keyring of this name, new if there is none. Returns its serial
/// number.
pub fn join_session_keyring(name: &str) -> SysResult<i32> {
    const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;
    let c = super::c_string(name)?;
    // SAFETY: the name outlives the call.
    check!(
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, c.as_ptr()) },
        Keyctl,
        Arg::word("KEYCTL_JOIN_SESSION_KEYRING"),
        name
    )
    .map(|serial| serial as i32)
}

/// `getrandom(2)`: a number that nobody can guess.
pub fn unpredictable() -> SysResult<u128> {
    let mut bytes = [0u8; 16];
    // SAFETY: the buffer is valid for its length. So few bytes come at once, or none.
    check!(
        unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), 0) },
        Getrandom,
        16
    )?;
    Ok(u128::from_ne_bytes(bytes))
}

/// `keyctl(KEYCTL_SETPERM)`: who may do what with a key (`KEY_POS_*`, `KEY_USR_*`, `KEY_GRP_*`, `KEY_OTH_*`).
pub fn set_key_permissions(key: i32, permissions: u32) -> SysResult<()> {
    const KEYCTL_SETPERM: u32 = 5;
    // SAFETY: no memory is passed.
    check!(
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, key, permissions) },
        Keyctl,
        Arg::word("KEYCTL_SETPERM"),
        key,
        Arg::Hex(permissions.into())
    )
    .map(drop)
}

/// A program with its arguments and environment, ready to be executed: nothing is allocated any more.
pub struct Image {
    program: CString,
    _strings: (Vec<CString>, Vec<CString>),
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
}

// SAFETY: the pointers are to the strings of the same value, which nobody changes.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

impl Image {
    pub fn new(program: CString, arguments: Vec<CString>, environment: Vec<CString>) -> Self {
        let (argv, envp) = (pointers(&arguments), pointers(&environment));
        Image {
            program,
            _strings: (arguments, environment),
            argv,
            envp,
        }
    }

    /// `execve(2)`, and no other call. Returns only if it fails.
    pub fn execute(&self) -> Errno {
        // SAFETY: both lists end with a null pointer; their strings, which are on the heap, live as long as this value.
        unsafe { libc::execve(self.program.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        Errno::last()
    }

    /// Its path.
    pub fn program(&self) -> &CStr {
        &self.program
    }
}

/// A list of strings as execve(2) takes it.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// `execve(2)`. Returns only on failure.
pub fn execve(program: &CStr, arguments: &[CString], environment: &[CString]) -> SysResult<Infallible> {
    let (argv, envp) = (pointers(arguments), pointers(environment));
    // SAFETY: both lists end with a null pointer and, with their strings, outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    let errno = Errno::last();
    Err(SysError::new(Syscall::Execve.of(program), errno))
}

/// `execveat(2)` of the program behind a descriptor, with this process's own arguments and environment.
pub fn execve_fd(program: BorrowedFd, arguments: &[CString]) -> SysResult<Infallible> {
    let argv: Vec<*const libc::c_char> = arguments.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    // SAFETY: argv ends with a null pointer and outlives the call; environ is the C library's own list.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            environ,
            libc::AT_EMPTY_PATH,
        )
    };
    let errno = Errno::last();
    Err(SysError::new(
        Syscall::Execveat.of(Arg::word("the runtime's binary")),
        errno,
    ))
}

/// Overwrites this process's arguments and environment, as /proc/PID/cmdline and /proc/PID/environ show them, with a title.
/// Nothing of them can be had by `std::env` any more.
pub fn hide_invocation(title: &[u8]) {
    unsafe extern "C" {
        static environ: *const *mut u8;
    }
    // SAFETY: nothing in this program changes its environment, so `environ` is what the kernel has laid out: before the
    // first variable a null, before that the arguments, before these their number, which no pointer equals. All strings
    // are on the stack's end, writable, and borrowed by nobody: std makes copies. The process has one thread.
    unsafe {
        if environ.is_null() {
            return;
        }
        let mut count = 0;
        let mut at = environ.sub(2);
        while at.read() as usize != count {
            count += 1;
            at = at.sub(1);
        }
        if count == 0 {
            return;
        }
        let length = |string: *mut u8| libc::strlen(string.cast());
        let (first, last) = (at.add(1).read(), at.add(count).read());
        let room = (last as usize - first as usize) + length(last);
        for list in [at.add(1), environ] {
            let mut entry = list;
            while !entry.read().is_null() {
                std::ptr::write_bytes(entry.read(), 0, length(entry.read()));
                entry = entry.add(1);
            }
        }
        std::ptr::copy_nonoverlapping(title.as_ptr(), first, title.len().min(room));
    }
}

/// `_exit(2)`: ends this process without running anything of the parent's that was copied into it.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// `getpid(2)`.
pub fn pid() -> i32 {
    // SAFETY: never fails.
    unsafe { libc::getpid() }
}

/// `ioctl(NS_GET_TGID_FROM_PIDNS)`, Linux 6.11: the number that a process of the pid namespace behind `namespace` has
/// in the caller's.
pub fn pid_from_namespace(namespace: BorrowedFd, pid: i32) -> SysResult<i32> {
    /// linux/nsfs.h: `_IOR(0xb7, 0x7, int)`
    const NS_GET_TGID_FROM_PIDNS: libc::Ioctl = 0x8004_b707_u32 as libc::Ioctl;
    // SAFETY: the argument is a number, no memory is passed.
    check!(
        unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_TGID_FROM_PIDNS, libc::c_long::from(pid)) },
        Ioctl,
        Arg::word("NS_GET_TGID_FROM_PIDNS"),
        pid
    )
}

/// `geteuid(2)`.
pub fn effective_uid() -> u32 {
    // SAFETY: never fails.
    unsafe { libc::geteuid() }
}

/// Whether this is the host's root, and not that of a user namespace in which all this runs, as under an engine of a plain
/// user's.
pub fn is_root_of_host() -> bool {
    /// `USER_NS_INIT_INO` of linux/nsfs.h: the inode number of the first user namespace.
    const FIRST: u64 = 0xEFFF_FFFD;
    // Without /proc there is nothing to tell a namespace by.
    effective_uid() == 0 && std::fs::metadata("/proc/self/ns/user").map_or(true, |namespace| namespace.ino() == FIRST)
}

/// `getegid(2)`.
pub fn effective_gid() -> u32 {
    // SAFETY: never fails.
    unsafe { libc::getegid() }
}
