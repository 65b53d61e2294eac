//! A failed system call as a value: which call, with which arguments. It is built only after a failure and becomes text
//! only when it is printed, in the form that strace(1) has: `openat2("etc/passwd", O_PATH|O_NOFOLLOW)`.

use std::borrow::Cow;
use std::ffi::CStr;
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::names::{self, Resource};

/// A call and its arguments, shortened to those that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: Syscall,
    pub(crate) args: Vec<Arg>,
    /// What the kernel or a library said besides the errno; empty if nothing.
    pub(crate) said: String,
}

impl Call {
    pub(crate) fn new(name: Syscall, args: Vec<Arg>) -> Self {
        Call {
            name,
            args,
            said: String::new(),
        }
    }

    /// Adds what was said about the failure.
    pub(crate) fn with(mut self, said: String) -> Self {
        self.said = said;
        self
    }

    /// Whether this is an argument of the call.
    pub(crate) fn has(&self, arg: &Arg) -> bool {
        self.args.contains(arg)
    }
}

impl From<Syscall> for Call {
    fn from(name: Syscall) -> Self {
        Call::new(name, Vec::new())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, open, close) = match self.name.as_check() {
            None => (self.name.name(), "(", ")"),
            Some((before, after)) => ("", before, after),
        };
        write!(f, "{name}{open}")?;
        let args = self.args.iter().filter(|arg| !arg.is_empty());
        for (index, arg) in args.enumerate() {
            write!(f, "{}{arg}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str(close)?;
        match &*self.said {
            "" => Ok(()),
            said => write!(f, " [{said}]"),
        }
    }
}

/// An argument of a call, by what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arg {
    Path(PathBuf),
    /// Quoted when printed, as a path is.
    Text(String),
    /// The name of a constant, or other text that is printed as it is.
    Word(Cow<'static, str>),
    Fd(i32),
    Number(i64),
    Unsigned(u64),
    Hex(u64),
    /// So many of something.
    Count(usize, &'static str),
    /// A bit mask of processors or memory nodes.
    Mask(Vec<u64>),
    /// Permission bits, with the file type if there is one.
    Mode(u32),
    Owner(u32, u32),
    /// Major and minor number.
    Device(u32, u32),
    /// An argument that its position does not explain.
    Named(&'static str, Box<Arg>),
    /// An option of a file system, with its value unless it is a flag.
    Option(Box<str>, Option<Box<str>>),
    /// `O_*`
    OpenFlags(i32),
    /// `AT_*`
    AtFlags(i32),
    /// `CLONE_*`
    CloneFlags(u64),
    /// `MOUNT_ATTR_*`
    MountAttributes(u64),
    /// `MS_*`
    MountFlags(u64),
    /// `RLIMIT_*`
    Resource(Resource),
    /// A value of a resource limit.
    Limit(u64),
    /// `SIG*`
    Signal(i32),
    /// `SCHED_*`
    Policy(u32),
    /// `SCHED_FLAG_*`
    PolicyFlags(u64),
    /// `IOPRIO_CLASS_*`
    IoClass(u16),
    /// `MPOL_*`
    MemoryPolicy(i32),
    /// `PER_*`
    Personality(u32),
    /// `CAP_*`
    Capability(u32),
    /// `SECCOMP_FILTER_FLAG_*`
    FilterFlags(u32),
}

impl Arg {
    pub(crate) fn named(name: &'static str, arg: impl Into<Arg>) -> Self {
        Arg::Named(name, Box::new(arg.into()))
    }

    /// The name of a constant.
    pub(crate) const fn word(name: &'static str) -> Self {
        Arg::Word(Cow::Borrowed(name))
    }

    /// Whether these are flags of which none is set; then there is nothing to print.
    fn is_empty(&self) -> bool {
        match self {
            Arg::AtFlags(flags) => *flags == 0,
            Arg::MountAttributes(flags) | Arg::MountFlags(flags) | Arg::PolicyFlags(flags) => *flags == 0,
            Arg::FilterFlags(flags) => *flags == 0,
            Arg::Named(_, arg) => arg.is_empty(),
            _ => false,
        }
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Path(path) => write!(f, "{path:?}"),
            Arg::Text(text) => write!(f, "{text:?}"),
            Arg::Word(word) => f.write_str(word),
            Arg::Fd(fd) => write!(f, "fd {fd}"),
            Arg::Number(number) => write!(f, "{number}"),
            Arg::Unsigned(number) => write!(f, "{number}"),
            Arg::Hex(number) => write!(f, "{number:#x}"),
            Arg::Count(count, unit) => write!(f, "{count} {unit}"),
            Arg::Mask(mask) => write!(f, "{mask:x?}"),
            Arg::Mode(mode) if mode & libc::S_IFMT != 0 => write!(f, "{mode:06o}"),
            Arg::Mode(mode) => write!(f, "{mode:04o}"),
            Arg::Owner(first, second) | Arg::Device(first, second) => write!(f, "{first}:{second}"),
            Arg::Named(name, arg) => write!(f, "{name}={arg}"),
            Arg::Option(key, None) => f.write_str(key),
            Arg::Option(key, Some(value)) => write!(f, "{key}={value}"),
            Arg::OpenFlags(flags) => names::open_flags(f, *flags),
            Arg::AtFlags(flags) => names::flags(f, names::AT, *flags as u64),
            Arg::CloneFlags(flags) => names::clone_flags(f, *flags),
            Arg::MountAttributes(flags) => names::flags(f, names::MOUNT_ATTRIBUTES, *flags),
            Arg::MountFlags(flags) => names::flags(f, names::MOUNT, *flags),
            Arg::Resource(resource) => names::constant(f, names::RESOURCES, *resource as u64),
            Arg::Limit(u64::MAX) => f.write_str("RLIM64_INFINITY"),
            Arg::Limit(limit) => write!(f, "{limit}"),
            Arg::Signal(signal) => names::signal(f, *signal),
            Arg::Policy(policy) => names::constant(f, names::POLICIES, u64::from(*policy)),
            Arg::PolicyFlags(flags) => names::flags(f, names::POLICY_FLAGS, *flags),
            Arg::IoClass(class) => names::constant(f, names::IO_CLASSES, u64::from(*class)),
            Arg::MemoryPolicy(mode) => names::memory_policy(f, *mode as u64),
            Arg::Personality(domain) => names::constant(f, names::PERSONALITIES, u64::from(*domain)),
            Arg::Capability(capability) => names::capability(f, *capability),
            Arg::FilterFlags(flags) => names::flags(f, names::FILTER, u64::from(*flags)),
        }
    }
}

macro_rules! from {
    ($($kind:ty => |$value:ident| $arg:expr,)*) => {
        $(impl From<$kind> for Arg {
            fn from($value: $kind) -> Self {
                $arg
            }
        })*
    };
}

from! {
    &Path => |path| Arg::Path(path.into()),
    &PathBuf => |path| Arg::Path(path.clone()),
    &str => |text| Arg::Text(text.into()),
    &CStr => |text| Arg::Text(text.to_string_lossy().into_owned()),
    BorrowedFd<'_> => |fd| Arg::Fd(fd.as_raw_fd()),
    i32 => |number| Arg::Number(number.into()),
    u32 => |number| Arg::Number(number.into()),
    u64 => |number| Arg::Unsigned(number),
    &[u64] => |mask| Arg::Mask(mask.into()),
}

/// The system calls, by the operation where one call has several that differ in what a failure means, and the checks that
/// stand in for one.
macro_rules! syscalls {
    ($($variant:ident $name:literal)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Syscall { $($variant,)* }

        impl Syscall {
            #[cfg(test)]
            pub(crate) const ALL: &[Syscall] = &[$(Syscall::$variant,)*];

            fn name(self) -> &'static str {
                match self { $(Syscall::$variant => $name,)* }
            }
        }
    };
}

syscalls! {
    Accept "accept"
    Bind "bind"
    Bpf "bpf"
    Capget "capget"
    Capset "capset"
    Chdir "chdir"
    Chroot "chroot"
    Clone "clone"
    Clone3 "clone3"
    CloseRange "close_range"
    Connect "connect"
    // To the socket on which the init of a created container waits.
    ConnectToInit "connect"
    Criu "criu"
    // An open(2) of a file that must not exist yet.
    CreateNew "open"
    Dup2 "dup2"
    Execve "execve"
    Execveat "execveat"
    Faccessat "faccessat"
    Fchdir "fchdir"
    Fchmodat "fchmodat"
    Fchown "fchown"
    Fchownat "fchownat"
    Fcntl "fcntl"
    Fgetxattr "fgetxattr"
    Flock "flock"
    Fremovexattr "fremovexattr"
    FsconfigCreate "fsconfig"
    FsconfigReconfigure "fsconfig"
    FsconfigSet "fsconfig"
    Fsetxattr "fsetxattr"
    Fsmount "fsmount"
    Fsopen "fsopen"
    Fspick "fspick"
    Fstat "fstat"
    Fstatat "fstatat"
    Fstatfs "fstatfs"
    Fstatvfs "fstatvfs"
    Getcwd "getcwd"
    Getdents64 "getdents64"
    Getrandom "getrandom"
    Getrlimit "getrlimit"
    Getxattr "getxattr"
    Ioctl "ioctl"
    IoprioGet "ioprio_get"
    IoprioSet "ioprio_set"
    Keyctl "keyctl"
    Kill "kill"
    Linkat "linkat"
    Listen "listen"
    Listxattr "listxattr"
    Lseek "lseek"
    MemfdCreate "memfd_create"
    Mkdirat "mkdirat"
    Mknodat "mknodat"
    Mmap "mmap"
    Mount "mount"
    MountSetattr "mount_setattr"
    MoveMount "move_mount"
    Open "open"
    OpenTree "open_tree"
    Openat "openat"
    Openat2 "openat2"
    Personality "personality"
    PidfdOpen "pidfd_open"
    PidfdSendSignal "pidfd_send_signal"
    PivotRoot "pivot_root"
    Pipe2 "pipe2"
    Poll "poll"
    Prctl "prctl"
    Pread "pread"
    Read "read"
    Readlinkat "readlinkat"
    Realpath "realpath"
    Recv "recv"
    Recvfrom "recvfrom"
    Recvmsg "recvmsg"
    Renameat "renameat"
    Rmdir "rmdir"
    RtmGetaddr "RTM_GETADDR"
    RtmGetlink "RTM_GETLINK"
    RtmNewaddr "RTM_NEWADDR"
    RtmNewlink "RTM_NEWLINK"
    SchedSetaffinity "sched_setaffinity"
    SchedGetattr "sched_getattr"
    SchedSetattr "sched_setattr"
    Seccomp "seccomp"
    Send "send"
    Sendfile "sendfile"
    Sendmsg "sendmsg"
    SetMempolicy "set_mempolicy"
    Setdomainname "setdomainname"
    Setgroups "setgroups"
    Sethostname "sethostname"
    Setns "setns"
    Setpgid "setpgid"
    Setresgid "setresgid"
    Setresuid "setresuid"
    Setrlimit "setrlimit"
    Setsid "setsid"
    Setsockopt "setsockopt"
    Setxattr "setxattr"
    Shutdown "shutdown"
    Signalfd "signalfd"
    Socket "socket"
    Socketpair "socketpair"
    Statfs "statfs"
    Statx "statx"
    Symlinkat "symlinkat"
    Tcgetattr "tcgetattr"
    Tcsetattr "tcsetattr"
    Umount2 "umount2"
    Unlink "unlink"
    Unshare "unshare"
    Utimensat "utimensat"
    Waitid "waitid"
    Write "write"
    // Checks.
    CgroupOf ""
    ContainerCgroup ""
    LastPart ""
    NulInPath ""
    NulInText ""
    SocketPath ""
}

impl Syscall {
    /// The call with one argument.
    pub(crate) fn of(self, arg: impl Into<Arg>) -> Call {
        Call::new(self, vec![arg.into()])
    }

    /// For a check, what is printed before and after its arguments.
    fn as_check(self) -> Option<(&'static str, &'static str)> {
        match self {
            Syscall::CgroupOf => Some(("the cgroup of process ", "")),
            Syscall::ContainerCgroup => Some(("the container's cgroup ", "")),
            Syscall::LastPart => Some(("path ", " has no last part")),
            Syscall::NulInPath => Some(("path ", " contains a NUL byte")),
            Syscall::NulInText => Some(("string ", " contains a NUL byte")),
            Syscall::SocketPath => Some(("unix socket path ", "")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: Syscall, args: Vec<Arg>) -> String {
        Call::new(name, args).to_string()
    }

    #[test]
    fn a_call_is_printed_as_strace_would() {
        let path = || Arg::from(Path::new("a \"b\""));
        let word = Arg::word;
        let table = [
            (shown(Syscall::Poll, vec![]), "poll()"),
            (
                shown(
                    Syscall::Openat2,
                    vec![path(), Arg::OpenFlags(libc::O_PATH | libc::O_NOFOLLOW)],
                ),
                r#"openat2("a \"b\"", O_PATH|O_NOFOLLOW)"#,
            ),
            (
                shown(
                    Syscall::Setrlimit,
                    vec![
                        Arg::Resource(libc::RLIMIT_NOFILE),
                        Arg::named("soft", Arg::Limit(5)),
                        Arg::named("hard", Arg::Limit(u64::MAX)),
                    ],
                ),
                "setrlimit(RLIMIT_NOFILE, soft=5, hard=RLIM64_INFINITY)",
            ),
            (
                shown(Syscall::Fsmount, vec![Arg::MountAttributes(libc::MOUNT_ATTR_RDONLY)]),
                "fsmount(MOUNT_ATTR_RDONLY)",
            ),
            (
                shown(
                    Syscall::MountSetattr,
                    vec![
                        Arg::MountAttributes(libc::MOUNT_ATTR_NOSUID | 1 << 40),
                        Arg::named("clear", Arg::MountAttributes(libc::MOUNT_ATTR__ATIME)),
                        Arg::MountFlags(libc::MS_SLAVE),
                        Arg::AtFlags(libc::AT_RECURSIVE),
                    ],
                ),
                "mount_setattr(MOUNT_ATTR_NOSUID|0x10000000000, clear=MOUNT_ATTR__ATIME, MS_SLAVE, AT_RECURSIVE)",
            ),
            (
                shown(
                    Syscall::MountSetattr,
                    vec![Arg::MountAttributes(0), Arg::MountFlags(libc::MS_SLAVE)],
                ),
                "mount_setattr(MS_SLAVE)",
            ),
            (
                shown(Syscall::PidfdSendSignal, vec![Arg::Signal(15)]),
                "pidfd_send_signal(SIGTERM)",
            ),
            (
                shown(Syscall::PidfdSendSignal, vec![Arg::Signal(36)]),
                "pidfd_send_signal(SIGRTMIN+2)",
            ),
            (
                shown(Syscall::PidfdSendSignal, vec![Arg::Signal(0)]),
                "pidfd_send_signal(0)",
            ),
            (
                shown(Syscall::Setns, vec![Arg::CloneFlags(libc::CLONE_NEWUSER as u64)]),
                "setns(CLONE_NEWUSER)",
            ),
            (shown(Syscall::Clone3, vec![Arg::CloneFlags(0)]), "clone3(SIGCHLD)"),
            (
                shown(
                    Syscall::SchedSetattr,
                    vec![Arg::Policy(6), Arg::named("nice", Arg::Number(-5))],
                ),
                "sched_setattr(SCHED_DEADLINE, nice=-5)",
            ),
            (
                shown(Syscall::SchedSetattr, vec![Arg::Policy(99)]),
                "sched_setattr(0x63)",
            ),
            (
                shown(
                    Syscall::SetMempolicy,
                    vec![Arg::MemoryPolicy(2 | 1 << 15), Arg::Mask(vec![0x3])],
                ),
                "set_mempolicy(MPOL_BIND|MPOL_F_STATIC_NODES, [3])",
            ),
            (
                shown(Syscall::Prctl, vec![word("PR_CAPBSET_DROP"), Arg::Capability(21)]),
                "prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN)",
            ),
            (shown(Syscall::Prctl, vec![Arg::Capability(63)]), "prctl(63)"),
            (
                shown(Syscall::FsconfigSet, vec![Arg::Option("ro".into(), None)]),
                "fsconfig(ro)",
            ),
            (
                Syscall::Fsopen.of("x").with("no such thing".into()).to_string(),
                "fsopen(\"x\") [no such thing]",
            ),
            (
                Syscall::NulInPath.of(Path::new("a\0")).to_string(),
                "path \"a\\0\" contains a NUL byte",
            ),
        ];
        for (shown, expected) in table {
            assert_eq!(shown, expected);
        }
    }
}
