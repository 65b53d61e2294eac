//! Processes, their identity and their limits.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

pub use super::names::Resource;
pub use super::namespace::{NAMESPACES, NamespaceKind};
use super::{Arg, Call, SysError, SysResult, Syscall, check, fs, own, uninterrupted};

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
    check!(
        // SAFETY: a null siginfo means "as kill(2) would".
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
    let changed = wait_for(pidfd, libc::WEXITED | if wait { 0 } else { libc::WNOHANG })?;
    Ok(changed.map(|(code, status)| match code {
        libc::CLD_EXITED => Exit::Code(status),
        _ => Exit::Signal(status),
    }))
}

/// `si_code` and `si_status` of a child's change, if there is one.
fn wait_for(pidfd: BorrowedFd, options: i32) -> SysResult<Option<(i32, i32)>> {
    let mut info = empty_siginfo();
    uninterrupted(|| {
        check!(
            // SAFETY: info is valid for writes during the call.
            unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as u32, &mut info, options) },
            Waitid,
            Arg::word("P_PIDFD")
        )
    })?;
    // SAFETY: waitid filled the child's part of the union, or left the zeroes.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok((pid != 0).then_some((info.si_code, status)))
}

/// The signal that has stopped a child since the last call (`waitid(2)`). None if it runs, or has ended and has not been waited for.
pub fn stopped_by(pidfd: BorrowedFd) -> SysResult<Option<i32>> {
    match wait_for(pidfd, libc::WSTOPPED | libc::WNOHANG) {
        // A child that has ended cannot stop any more.
        Err(error) if error.errno == Errno::ECHILD => Ok(None),
        other => Ok(other?.map(|(_, signal)| signal)),
    }
}

/// Sends a signal to all processes of a group, 0 for the caller's own (`kill(2)`).
pub fn signal_group(group: i32, signal: i32) -> SysResult<()> {
    // SAFETY: no memory is passed.
    check!(unsafe { libc::kill(-group, signal) }, Kill, -group, signal).map(drop)
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
        if unsafe { libc::waitid(libc::P_PIDFD, kept.as_raw_fd() as u32, &mut own, look) } < 0 {
            // It may be the kept one that has ended.
            return Ok(());
        }
        // SAFETY: as above.
        let kept_pid = unsafe { own.si_pid() };
        if pid == 0 || pid == kept_pid {
            return Ok(());
        }
        // SAFETY: a null status is allowed.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
    }
}

/// The children of this process, which is single-threaded (`/proc/thread-self/children`, proc_tid_children(5)). Empty on a
/// kernel without CONFIG_PROC_CHILDREN.
pub fn children() -> SysResult<Vec<i32>> {
    let file = match fs::open(Path::new("/proc/thread-self/children"), libc::O_RDONLY) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(Vec::new()),
        other => other?,
    };
    let text = fs::read_all(file.as_fd(), 1 << 20)?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

fn empty_siginfo() -> libc::siginfo_t {
    // SAFETY: siginfo_t is plain data for which zeroes are valid.
    unsafe { std::mem::zeroed() }
}

/// `prctl(PR_SET_DUMPABLE, 0)`: only a process with CAP_SYS_PTRACE over our user namespace may look into this one.
pub fn set_undumpable() -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
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
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
        Prctl,
        Arg::word("PR_SET_NO_NEW_PRIVS")
    )
    .map(drop)
}

/// `prctl(PR_SET_CHILD_SUBREAPER)`: whether orphaned descendants become children of this process.
pub fn set_child_subreaper(adopts: bool) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, libc::c_ulong::from(adopts)) },
        Prctl,
        Arg::word("PR_SET_CHILD_SUBREAPER"),
        u32::from(adopts)
    )
    .map(drop)
}

/// `setgroups(2)`, the raw call (the process has one thread).
pub fn setgroups(groups: &[u32]) -> SysResult<()> {
    check!(
        // SAFETY: the list is valid for its length.
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
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) },
        Setresgid,
        gid
    )
    .map(drop)
}

/// `setresuid(2)`, the raw call.
pub fn setuid(uid: u32) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) },
        Setresuid,
        uid
    )
    .map(drop)
}

/// `setpgid(2)`: makes this process the leader of a new process group.
pub fn lead_process_group() -> SysResult<()> {
    // SAFETY: no memory is passed.
    check!(unsafe { libc::setpgid(0, 0) }, Setpgid, 0, 0).map(drop)
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
    check!(
        // SAFETY: the limit outlives the call; the old one is not asked for.
        unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, &limit, std::ptr::null::<u8>()) },
        Setrlimit,
        Arg::Resource(resource),
        Arg::named("soft", Arg::Limit(soft)),
        Arg::named("hard", Arg::Limit(hard))
    )
    .map(drop)
}

/// The error of [`setrlimit`] for a limit that the caller may not set, in advance.
pub fn setrlimit_refused(resource: Resource, soft: u64, hard: u64) -> SysError {
    let limits = [("soft", soft), ("hard", hard)].map(|(name, limit)| Arg::named(name, Arg::Limit(limit)));
    let arguments = [Arg::Resource(resource)].into_iter().chain(limits);
    SysError::new(Call::new(Syscall::Setrlimit, arguments.collect()), Errno::EPERM)
}

/// `prlimit(2)` of one resource of a process, to look: (soft, hard).
pub fn getrlimit(pid: i32, resource: Resource) -> SysResult<(u64, u64)> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    check!(
        // SAFETY: the limit is valid for writes during the call; no new one is given.
        unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, std::ptr::null::<u8>(), &mut limit) },
        Getrlimit,
        Arg::Resource(resource)
    )?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// `sched_setaffinity(2)` to every processor that the cpuset allows.
pub fn reset_affinity() -> SysResult<()> {
    let every = [u8::MAX; 1024];
    check!(
        // SAFETY: the mask is valid for its length; processors that do not exist are ignored.
        unsafe { libc::sched_setaffinity(0, every.len(), every.as_ptr().cast()) },
        SchedSetaffinity,
        Arg::word("every processor")
    )
    .map(drop)
}

/// `sethostname(2)`.
pub fn sethostname(name: &str) -> SysResult<()> {
    check!(
        // SAFETY: the bytes are valid for their length.
        unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) },
        Sethostname,
        name
    )
    .map(drop)
}

/// `setdomainname(2)`.
pub fn setdomainname(name: &str) -> SysResult<()> {
    check!(
        // SAFETY: the bytes are valid for their length.
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
    check!(
        // SAFETY: the name outlives the call.
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, c.as_ptr()) },
        Keyctl,
        Arg::word("KEYCTL_JOIN_SESSION_KEYRING"),
        name
    )
    .map(|serial| serial as i32)
}

/// `getrandom(2)`: an unpredictable number.
pub fn unpredictable() -> SysResult<u128> {
    let mut bytes = [0u8; 16];
    check!(
        // SAFETY: the buffer is valid for its length. So few bytes come at once, or none.
        unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), 0) },
        Getrandom,
        16
    )?;
    Ok(u128::from_ne_bytes(bytes))
}

/// `keyctl(KEYCTL_SETPERM)`: who may do what with a key (`KEY_POS_*`, `KEY_USR_*`, `KEY_GRP_*`, `KEY_OTH_*`).
pub fn set_key_permissions(key: i32, permissions: u32) -> SysResult<()> {
    const KEYCTL_SETPERM: u32 = 5;
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, key, permissions) },
        Keyctl,
        Arg::word("KEYCTL_SETPERM"),
        key,
        Arg::Hex(permissions.into())
    )
    .map(drop)
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
    check!(
        // SAFETY: the argument is a number, no memory is passed.
        unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_TGID_FROM_PIDNS, libc::c_long::from(pid)) },
        Ioctl,
        Arg::word("NS_GET_TGID_FROM_PIDNS"),
        pid
    )
}

/// `ioctl(NS_GET_NSTYPE)`: the `CLONE_NEW*` flag of the namespace whose file is open.
pub fn kind_of_namespace(namespace: BorrowedFd) -> SysResult<i32> {
    /// linux/nsfs.h: `_IO(0xb7, 0x3)`
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) },
        Ioctl,
        Arg::word("NS_GET_NSTYPE")
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
