//! Which errors a call can fail with: what its manual page lists, and EPERM, with which a seccomp filter or a security module
//! may refuse almost any call.

use nix::errno::Errno;

/// Calls that cannot fail, or whose failure the kernel only reports for arguments that we never pass.
const INFALLIBLE: [&str; 20] = [
    "",
    "arch_prctl",
    "brk",
    "exit",
    "exit_group",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "restart_syscall",
    "rseq",
    "rt_sigreturn",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "umask",
    "clock_gettime",
];

/// Calls that a signal interrupts (signal(7)), and those whose locks are taken interruptibly.
const INTERRUPTIBLE: [&str; 27] = [
    "accept4",
    "close",
    "connect",
    "epoll_wait",
    "flock",
    "fsconfig",
    "fsmount",
    "futex",
    "nanosleep",
    "clock_nanosleep",
    "open",
    "openat",
    "poll",
    "ppoll",
    "read",
    "recvfrom",
    "recvmsg",
    "select",
    "sendmsg",
    "sendto",
    "wait4",
    "waitid",
    "write",
    "writev",
    "pread64",
    "getrandom",
    "bpf",
];

/// Calls that create or write something.
const GROWING: [&str; 12] = [
    "clone3",
    "fsetxattr",
    "link",
    "mkdir",
    "mkdirat",
    "mknodat",
    "open",
    "openat",
    "renameat",
    "symlinkat",
    "unshare",
    "write",
];

/// The errors of a call, the likeliest first.
pub fn of(call: &str) -> Vec<Errno> {
    let plain = match call {
        _ if INFALLIBLE.contains(&call) => return Vec::new(),
        "mmap" | "mprotect" | "munmap" | "mremap" | "madvise" => return vec![Errno::ENOMEM],
        "poll" | "ppoll" => vec![Errno::ENOMEM],
        "wait4" | "waitid" => vec![Errno::ECHILD],
        "close" => vec![Errno::EIO],
        "futex" => vec![Errno::EPERM],
        _ => vec![Errno::EIO, Errno::ENOMEM, Errno::EPERM],
    };
    let interrupted = INTERRUPTIBLE.contains(&call).then_some(Errno::EINTR);
    let full = GROWING.contains(&call).then_some(Errno::ENOSPC);
    plain.into_iter().chain(interrupted).chain(full).collect()
}

/// Whether a message names an error. Before `main` only the C library can report one.
pub fn names_errno(message: &str, errno: Errno) -> bool {
    // pthread_create(3) has one errno for every failure.
    let of_thread = message.contains("CLONE_THREAD") && message.contains("EAGAIN");
    let spelt_out = message.contains("while loading") && message.contains("Cannot allocate memory");
    message.contains(&format!("{errno:?}")) || spelt_out || of_thread
}

/// Whether a message names a call: by its name, or by one of a family (`stat` for newfstatat(2) and statx(2)).
pub fn names(message: &str, call: &str) -> bool {
    let stem = call.trim_start_matches("rt_").trim_start_matches("new");
    let stem = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    let stem = match stem {
        "fstatat" | "fstat" | "lstat" | "statx" | "stat" => "stat",
        "recvfrom" | "recvmsg" => "recv",
        "sendto" | "sendmsg" => "send",
        "execve" | "execveat" => "exec",
        "dup" => "dup",
        "ppoll" => "poll",
        "waitid" | "wait" => "wait",
        "prlimit" => "rlimit",
        "faccessat" => "access",
        other => other.trim_end_matches("at"),
    };
    let other = match call {
        "unlinkat" => "rmdir",
        // Functions of the C library, whose page in the manual names the calls.
        "readlink" => "realpath",
        "fstatfs" | "statfs" => "statvfs",
        "mprotect" if message.contains("memory protection") => "memory protection",
        "mmap" | "mprotect" => "CLONE_THREAD",
        _ => stem,
    };
    message.contains(stem) || message.contains(other)
}
