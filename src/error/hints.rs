//! The cures we know: a table from (step, call, errno) to one line of advice.

use nix::errno::Errno;

use crate::sys::SysError;

struct Cure {
    /// The step's name; empty for any.
    step: &'static str,
    /// How the failed call's text begins; empty for any.
    call: &'static str,
    errno: Errno,
    hint: &'static str,
}

/// First match wins, so the special stands before the general.
const CURES: &[Cure] = &[
    Cure {
        step: "",
        call: "clone3(",
        errno: Errno::EPERM,
        hint: "making namespaces needs root; without it, add a user namespace with mappings to linux.namespaces \
               (`orlop spec --rootless` writes such a config), and the host must allow it: \
               sysctl user.max_user_namespaces > 0, kernel.unprivileged_userns_clone=1 or \
               kernel.apparmor_restrict_unprivileged_userns=0 where they exist",
    },
    Cure {
        step: "",
        call: "clone3(",
        errno: Errno::ENOSPC,
        hint: "the limit of nested or total namespaces is reached: see sysctl user.max_*_namespaces",
    },
    Cure {
        step: "",
        call: "clone3(",
        errno: Errno::EBUSY,
        hint: "the cgroup has controllers enabled for its children, so it may hold no process: choose another \
               linux.cgroupsPath",
    },
    Cure {
        step: "",
        call: "clone3(",
        errno: Errno::EAGAIN,
        hint: "a process limit is reached: see pids.max of the cgroup above, and RLIMIT_NPROC",
    },
    Cure {
        step: "",
        call: "clone3(",
        errno: Errno::ENOMEM,
        hint: "linux.resources.memory.limit is too low for a process to start, or the machine lacks memory",
    },
    Cure {
        step: "",
        call: "clone3(",
        errno: Errno::ENOSYS,
        hint: KERNEL,
    },
    Cure {
        step: "",
        call: "clone3(",
        errno: Errno::EINVAL,
        hint: "the kernel lacks one of these namespaces, or is older than Linux 5.14",
    },
    Cure {
        step: "clone",
        call: "clone3(",
        errno: Errno::EACCES,
        hint: "the cgroup, or the one above both this process and it, is not delegated to this user; run under \
               `systemd-run --user --scope -p Delegate=yes`, or as root",
    },
    Cure {
        step: "namespaces",
        call: "readlinkat(",
        errno: Errno::EACCES,
        hint: "init may be looked into only by root until the container is started, and by its creator then",
    },
    Cure {
        step: "",
        call: "openat2(",
        errno: Errno::ENOSYS,
        hint: KERNEL,
    },
    Cure {
        step: "",
        call: "mount_setattr(",
        errno: Errno::ENOSYS,
        hint: KERNEL,
    },
    Cure {
        step: "",
        call: "fsopen(",
        errno: Errno::ENOSYS,
        hint: KERNEL,
    },
    Cure {
        step: "",
        call: "move_mount(",
        errno: Errno::ENOSPC,
        hint: "the mount namespace has as many mounts as it may have: raise sysctl fs.mount-max",
    },
    Cure {
        step: "",
        call: "close_range(",
        errno: Errno::EINVAL,
        hint: KERNEL,
    },
    Cure {
        step: "",
        call: "fsopen(",
        errno: Errno::ENODEV,
        hint: "the kernel does not know this file system type; for a bind mount, add \"bind\" or \"rbind\" to the options",
    },
    Cure {
        step: "",
        call: "realpath(",
        errno: Errno::ENOENT,
        hint: ROOTFS,
    },
    Cure {
        step: "",
        call: "realpath(",
        errno: Errno::ENOTDIR,
        hint: ROOTFS,
    },
    Cure {
        step: "",
        call: "open(O_CREAT|O_EXCL)",
        errno: Errno::ENOENT,
        hint: "the directory must exist already; --bundle names another one",
    },
    Cure {
        step: "",
        call: "unix socket path",
        errno: Errno::ENAMETOOLONG,
        hint: "the path of a unix socket has 107 bytes at most; a relative one, or a link in a directory with a shorter name, \
               will do",
    },
    Cure {
        step: "oom score",
        call: "write(",
        errno: Errno::EACCES,
        hint: "only with CAP_SYS_RESOURCE may a process have a lower score than its caller's: ask for a higher one, or leave \
               process.oomScoreAdj out",
    },
    Cure {
        step: "mounts",
        call: "open_tree(",
        errno: Errno::ENOENT,
        hint: "the source of a bind mount must exist on the host; a relative one starts at the bundle",
    },
    Cure {
        step: "mounts",
        call: "open_tree(",
        errno: Errno::EACCES,
        hint: "the caller may not walk to the source, and so neither may a plain user's container: open the directories on \
               the way, or run as root",
    },
    Cure {
        step: "mounts",
        call: "open_tree(",
        errno: Errno::EINVAL,
        hint: "parts of the source may be covered by mounts that must not come off in a user namespace: \"rbind\" takes those \
               along",
    },
    Cure {
        step: "mounts",
        call: "openat2(",
        errno: Errno::ENOTDIR,
        hint: "the destination is a file or leads through one, and a directory is needed there",
    },
    Cure {
        step: "mounts",
        call: "mkdirat(",
        errno: Errno::EACCES,
        hint: "the mount point does not exist, and the directory around it does not belong to the container's root: make it \
               in the image, or give the image to the ids of the user namespace",
    },
    Cure {
        step: "mounts",
        call: "mkdirat(",
        errno: Errno::EROFS,
        hint: READ_ONLY,
    },
    // A file as the mount point of a file.
    Cure {
        step: "mounts",
        call: "openat(",
        errno: Errno::EACCES,
        hint: "the mount point does not exist, and cannot be made: the directory around it does not belong to the container's \
               root, or is in a file system of the kernel's own",
    },
    Cure {
        step: "mounts",
        call: "openat(",
        errno: Errno::EROFS,
        hint: READ_ONLY,
    },
    Cure {
        step: "mounts",
        call: "openat(",
        errno: Errno::ENOENT,
        hint: KERNELS,
    },
    // In procfs; in sysfs.
    Cure {
        step: "mounts",
        call: "mkdirat(",
        errno: Errno::ENOENT,
        hint: KERNELS,
    },
    Cure {
        step: "mounts",
        call: "mkdirat(",
        errno: Errno::EPERM,
        hint: KERNELS,
    },
    Cure {
        step: "devices",
        call: "mknodat(",
        errno: Errno::EROFS,
        hint: "the device is missing, and nothing can be made there: mount a tmpfs on /dev, which may be \"ro\" from the beginning",
    },
    Cure {
        step: "mounts",
        call: "fsmount(",
        errno: Errno::EPERM,
        hint: "a new user namespace may mount proc and sysfs only where those around it are to be seen in full: if this \
               runs in a container, start that with nothing of /proc and /sys masked (Docker: --security-opt \
               systempaths=unconfined, Podman: --security-opt unmask=ALL, Kubernetes: procMount: Unmasked), or bind /proc \
               and /sys instead",
    },
    Cure {
        step: "mounts",
        call: "fsconfig(uid=",
        errno: Errno::EINVAL,
        hint: UNMAPPED,
    },
    Cure {
        step: "mounts",
        call: "fsconfig(gid=",
        errno: Errno::EINVAL,
        hint: UNMAPPED,
    },
    Cure {
        step: "mounts",
        call: "fsconfig(",
        errno: Errno::EINVAL,
        hint: "the file system does not know this option or value; an option of a bind mount needs \"bind\" or \"rbind\" beside it",
    },
    Cure {
        step: "root",
        call: "mount_setattr(",
        errno: Errno::EINVAL,
        hint: "the runtime's own root is not the root of a mount, so it runs in a chroot: bind that directory on itself first \
               (mount --rbind DIR DIR), and chroot into it then",
    },
    Cure {
        step: "pivot",
        call: "pivot_root(",
        errno: Errno::EINVAL,
        hint: "the initial ramfs cannot be put aside: use --no-pivot",
    },
    Cure {
        step: "root",
        call: "",
        errno: Errno::EPERM,
        hint: "the mount namespace belongs to another user namespace than the container's: join that one as well, or make a \
               new mount namespace",
    },
    Cure {
        step: "id maps",
        call: "",
        errno: Errno::EINVAL,
        hint: "the kernel takes up to 340 ranges that do not overlap, none beyond the id 4294967294, in one page of text",
    },
    Cure {
        step: "mounts",
        call: "fsopen(",
        errno: Errno::EPERM,
        hint: FOREIGN,
    },
    Cure {
        step: "mounts",
        call: "fsconfig(FSCONFIG_CMD_CREATE",
        errno: Errno::EPERM,
        hint: FOREIGN,
    },
    Cure {
        step: "mounts",
        call: "mount_setattr(",
        errno: Errno::EPERM,
        hint: "the flag is locked: it was set by a more privileged mount namespace and cannot be cleared here",
    },
    Cure {
        step: "pid file",
        call: "openat(",
        errno: Errno::ENOENT,
        hint: "the directory of --pid-file must exist already",
    },
    Cure {
        step: "namespaces",
        call: "openat(",
        errno: Errno::ENOENT,
        hint: "a namespace named by path must exist already; without the path a new one is made",
    },
    Cure {
        step: "namespaces",
        call: "openat(",
        errno: Errno::EACCES,
        hint: "the namespace file of another user's process cannot be opened; where it is bind-mounted, it can",
    },
    Cure {
        step: "namespaces",
        call: "setns(CLONE_NEWUSER",
        errno: Errno::EPERM,
        hint: "only its owner and root may join a user namespace",
    },
    Cure {
        step: "",
        call: "unshare(",
        errno: Errno::EINVAL,
        hint: "the kernel lacks this kind of namespace",
    },
    Cure {
        step: "",
        call: "setns(",
        errno: Errno::EINVAL,
        hint: "the path must name a namespace, and one of this type",
    },
    Cure {
        step: "hostname",
        call: "sethostname(",
        errno: Errno::EINVAL,
        hint: NAME,
    },
    Cure {
        step: "",
        call: "setdomainname(",
        errno: Errno::EINVAL,
        hint: NAME,
    },
    Cure {
        step: "hostname",
        call: "sethostname(",
        errno: Errno::EPERM,
        hint: UTS,
    },
    Cure {
        step: "",
        call: "setdomainname(",
        errno: Errno::EPERM,
        hint: UTS,
    },
    Cure {
        step: "sysctl",
        call: "openat2(",
        errno: Errno::EACCES,
        hint: "the parameter is read-only, or its namespace belongs to another user namespace than the container's: join \
               that one as well, or make a new namespace",
    },
    Cure {
        step: "sysctl",
        call: "openat2(",
        errno: Errno::EXDEV,
        hint: COVERED,
    },
    Cure {
        step: "sysctl",
        call: "openat2(",
        errno: Errno::EROFS,
        hint: COVERED,
    },
    Cure {
        step: "sysctl",
        call: "openat2(",
        errno: Errno::EISDIR,
        hint: "a directory of parameters: name one of them",
    },
    Cure {
        step: "sysctl",
        call: "write(",
        errno: Errno::EINVAL,
        hint: "the parameter does not take this value",
    },
    Cure {
        step: "sysctl",
        call: "openat2(",
        errno: Errno::ENOENT,
        hint: "the kernel has no such parameter in this namespace",
    },
    Cure {
        step: "execve",
        call: "execve(",
        errno: Errno::E2BIG,
        hint: "process.args and process.env are too long together, or one of them is longer than 128 KiB",
    },
    Cure {
        step: "execve",
        call: "execve(",
        errno: Errno::ETXTBSY,
        hint: "the program is open for writing somewhere",
    },
    Cure {
        step: "cwd",
        call: "mkdirat(",
        errno: Errno::EROFS,
        hint: "process.cwd does not exist, and the mount around it is read-only: choose another directory",
    },
    // The socket of `start`, by its way through the state directory.
    Cure {
        step: "",
        call: "connect(\"/proc/self/fd/",
        errno: Errno::ECONNREFUSED,
        hint: "the container's init has gone; remove the container with `orlop delete`",
    },
    Cure {
        step: "pidfd socket",
        call: "connect(",
        errno: Errno::ENOENT,
        hint: PIDFD,
    },
    Cure {
        step: "pidfd socket",
        call: "connect(",
        errno: Errno::ECONNREFUSED,
        hint: PIDFD,
    },
    Cure {
        step: "",
        call: "connect(",
        errno: Errno::ENOENT,
        hint: CONSOLE,
    },
    Cure {
        step: "",
        call: "connect(",
        errno: Errno::ECONNREFUSED,
        hint: CONSOLE,
    },
    Cure {
        step: "cgroup",
        call: "mkdirat(",
        errno: Errno::EACCES,
        hint: "the cgroup above is not delegated to this user; run under `systemd-run --user --scope -p Delegate=yes`, or as root",
    },
    Cure {
        // Setting the rules is part of making the cgroup.
        step: "cgroup",
        call: "bpf(",
        errno: Errno::EPERM,
        hint: "device rules need CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) on the host; drop linux.resources.devices for a rootless container",
    },
    Cure {
        step: "",
        call: "write(",
        errno: Errno::EFBIG,
        hint: FILE_SIZE,
    },
    Cure {
        step: "",
        call: "sendfile(",
        errno: Errno::EFBIG,
        hint: FILE_SIZE,
    },
    Cure {
        step: "state",
        call: "mkdirat(",
        errno: Errno::EACCES,
        hint: STATE,
    },
    Cure {
        step: "state",
        call: "mkdirat(",
        errno: Errno::EROFS,
        hint: STATE,
    },
    Cure {
        step: "state",
        call: "opendir(",
        errno: Errno::EACCES,
        hint: STATE,
    },
    Cure {
        step: "state",
        call: "openat(",
        errno: Errno::EACCES,
        hint: STATE,
    },
    Cure {
        step: "rlimits",
        call: "setrlimit(",
        errno: Errno::EPERM,
        hint: RLIMIT,
    },
    Cure {
        step: "",
        call: "sched_setattr(policy=4,",
        errno: Errno::EINVAL,
        hint: "SCHED_ISO is only a reserved name: no kernel of kernel.org has this policy",
    },
    Cure {
        step: "",
        call: "sched_setattr(",
        errno: Errno::EINVAL,
        hint: "the kernel does not take these values together: see sched_setattr(2), and for SCHED_DEADLINE sysctl kernel.sched_deadline_period_min_us and _max_us",
    },
    Cure {
        step: "",
        call: "sched_setattr(policy=6,",
        errno: Errno::EPERM,
        hint: "SCHED_DEADLINE needs CAP_SYS_NICE, and a process that may run on every processor: no linux.resources.cpu.cpus",
    },
    Cure {
        step: "",
        call: "sched_setattr(",
        errno: Errno::EPERM,
        hint: "real-time policies and negative nice values need CAP_SYS_NICE, and with CONFIG_RT_GROUP_SCHED a cgroup that has real-time bandwidth",
    },
    Cure {
        step: "",
        call: "sched_setattr(",
        errno: Errno::EBUSY,
        hint: "the deadlines of this and of other processes cannot be kept all together: ask for less runtime in the period",
    },
    Cure {
        step: "",
        call: "sched_setattr(",
        errno: Errno::EOPNOTSUPP,
        hint: "SCHED_FLAG_UTIL_CLAMP_* need a kernel with CONFIG_UCLAMP_TASK",
    },
    Cure {
        step: "",
        call: "sched_setaffinity(",
        errno: Errno::EINVAL,
        hint: "none of these processors is online and in the cpuset (see /sys/devices/system/cpu/online and linux.resources.cpu.cpus)",
    },
    Cure {
        step: "",
        call: "ioprio_set(",
        errno: Errno::EPERM,
        hint: "IOPRIO_CLASS_RT needs CAP_SYS_NICE",
    },
    Cure {
        step: "",
        call: "set_mempolicy(",
        errno: Errno::EINVAL,
        hint: "none of the nodes has memory that the cpuset allows (see /sys/devices/system/node/has_memory and linux.resources.cpu.mems), or the kernel is too old for this mode or flag",
    },
    Cure {
        step: "",
        call: "set_mempolicy(",
        errno: Errno::ENOSYS,
        hint: "the kernel was built without CONFIG_NUMA",
    },
    Cure {
        step: "limits",
        call: "setrlimit(",
        errno: Errno::EPERM,
        hint: RLIMIT,
    },
];

const NAME: &str = "the kernel takes a name of up to 64 bytes";
const UTS: &str = "the uts namespace belongs to another user namespace than the container's: join that one as well, or make a \
                   new uts namespace";
const RLIMIT: &str =
    "a hard limit is raised only with CAP_SYS_RESOURCE, and RLIMIT_NOFILE never above sysctl fs.nr_open";
const FOREIGN: &str = "in a user namespace only what belongs to it can be mounted: sysfs needs an own network namespace, mqueue \
                       an own ipc namespace, proc an own pid namespace; otherwise bind the host's";
const COVERED: &str = "/proc/sys is covered or read-only here, as it is in most containers: start the one around this with \
                       nothing of /proc masked, or leave the parameter out";
const ROOTFS: &str = "root.path names the container's root file system; a relative one starts at the bundle";
const STATE: &str = "this user may not use the state directory: choose another with --root, or set XDG_RUNTIME_DIR";
const FILE_SIZE: &str = "the file would be larger than the caller's limit allows (ulimit -f, RLIMIT_FSIZE): raise it";
const READ_ONLY: &str = "the mount point does not exist, and cannot be made because the mount around it is read-only";
const KERNELS: &str = "the mount point does not exist, and nothing can be made in a file system of the kernel's own: choose another destination";
const UNMAPPED: &str = "not a number, or an id that the container's user namespace does not map";
const CONSOLE: &str = "whoever is to get the terminal must listen on the socket before the container is made";
const PIDFD: &str = "whoever is to get the pidfd must listen on the socket before the process is made";
const KERNEL: &str = "orlop needs Linux 5.14 or newer";

/// The cure for a failed call during a step.
pub fn find(step: Option<&str>, call: Option<&SysError>) -> Option<&'static str> {
    let call = call?;
    CURES
        .iter()
        .find(|cure| {
            cure.errno == call.errno
                && call.call.starts_with(cure.call)
                && (cure.step.is_empty() || Some(cure.step) == step)
        })
        .map(|cure| cure.hint)
}
