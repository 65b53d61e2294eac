//! Features that a host may lack, and system calls that tests make on the host.

use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use caps::{CapSet, Capability};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Pid, mkfifo};

use crate::harness::Cmd;

pub fn has_apparmor() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

/// The release of the kernel, such as `6.18.44-cloud`.
pub fn kernel_release() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the release of the kernel");
    text.trim_end().to_string()
}

/// The first two numbers of the release: the version of the kernel.
pub fn kernel_version() -> (u32, u32) {
    let release = kernel_release();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether orlop makes the mount namespace of a container of its own mounts here. The release is that of uname(2), as for orlop.
pub fn makes_namespaces_of_trees() -> bool {
    let release = nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned());
    let major = release
        .ok()
        .and_then(|text| text.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major >= 7) && {
        let flags = 2 | libc::AT_EMPTY_PATH;
        // SAFETY: the path is a static C string, and the descriptor is not open.
        let result = unsafe { libc::syscall(libc::SYS_open_tree, libc::c_int::MAX, c"".as_ptr(), flags) };
        result < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EBADF)
    }
}

pub fn has_strace() -> bool {
    Path::new("/usr/bin/strace").exists()
}

/// Under strace(1), which makes system calls fail: of the runtime only, or also of its children.
pub fn traced(cmd: Cmd, children: bool, what: &str) -> Cmd {
    let follow = if children { "-f" } else { "" };
    // Without strace's seccomp filter, which the container's processes would inherit.
    cmd.through_shell(&format!("exec strace {follow} -qq -o /dev/null {what} \"$0\" \"$@\""))
}

/// linux/keyctl.h.
const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;

/// Whether a process may have a session keyring. A thread tries: it has credentials of its own.
pub fn has_session_keyrings() -> bool {
    // SAFETY: the call takes no pointer but the name, which is null.
    let join = || unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0) } > 0;
    std::thread::spawn(join).join().expect("a thread")
}

/// Gives this process a new session keyring with a name. For [`Cmd::before_exec`].
pub fn join_session_keyring(name: &CStr) -> std::io::Result<()> {
    // SAFETY: a string that ends with a NUL.
    match unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) } {
        1.. => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Sets the scheduling policy of this thread.
pub fn set_policy(policy: i32, priority: i32) -> std::io::Result<()> {
    let param = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the kernel reads one struct, which outlives the call. The C library's own function may do nothing.
    match unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &param) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Whether this process could have the policy itself.
pub fn allows_policy(policy: i32, priority: i32) -> bool {
    let set = move || set_policy(policy, priority).is_ok();
    std::thread::spawn(set).join().expect("a thread")
}

/// Takes a capability out of this process's bounding set. For [`Cmd::before_exec`].
pub fn drop_bounding(capability: Capability) -> std::io::Result<()> {
    caps::drop(None, CapSet::Bounding, capability).map_err(std::io::Error::other)
}

/// SIGKILL to a process of the test, which may have ended.
pub fn kill(pid: i32) {
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
}

#[track_caller]
pub fn make_fifo(path: &Path) {
    mkfifo(path, Mode::from_bits_truncate(0o600)).expect("mkfifo");
}

/// A device node or, where `kind` says so, another special file.
#[track_caller]
pub fn make_node(path: &Path, kind: SFlag, mode: u32, (major, minor): (u64, u64)) {
    mknod(path, kind, Mode::from_bits_truncate(mode), makedev(major, minor)).expect("mknod");
}

/// Exchanges two names, again and again, until it is told to stop.
pub fn swap_until(stop: Arc<AtomicBool>, a: PathBuf, b: PathBuf) -> JoinHandle<()> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let _ = renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE);
        }
    })
}
