//! The hints that we know: what to do about a failed call, by the step, the call and the errno.

use nix::errno::Errno;

use super::Step;
use crate::sys::{Arg, SysError, Syscall};

/// The hint for a failed call during a step. What is special to a step comes before what holds in all of them.
pub(super) fn find(step: Option<Step>, error: &SysError) -> Option<&'static str> {
    step.and_then(|step| of_step(step, error)).or_else(|| of_call(error))
}

fn of_step(step: Step, error: &SysError) -> Option<&'static str> {
    Some(match (step, error.call.name, error.errno) {
        (Step::Mounts, ..) => return of_mounts(error),
        (Step::Namespaces, ..) => return of_namespaces(error),
        (Step::Sysctl, ..) => return of_sysctl(error),
        (Step::Cgroup | Step::Clone | Step::IdMaps | Step::State, ..) => return of_surroundings(step, error),
        (Step::OomScore, Syscall::Write, Errno::EACCES) => {
            "a process needs CAP_SYS_RESOURCE to have a lower score than its caller: ask for a higher score, or leave \
             process.oomScoreAdj out"
        }
        (Step::Devices, Syscall::Mknodat, Errno::EROFS) => {
            "the device is missing and cannot be created on a read-only mount: mount a tmpfs on /dev; it may have the option \
             \"ro\""
        }
        (Step::Root, Syscall::MountSetattr, Errno::EINVAL) => {
            "the runtime's root directory is not the root of a mount, so it runs in a chroot: bind that directory on itself \
             (mount --rbind DIR DIR) before the chroot"
        }
        (Step::Root, _, Errno::EPERM) => {
            "the mount namespace belongs to a user namespace other than the container's: join that one too, or create a new \
             mount namespace"
        }
        (Step::Pivot, Syscall::PivotRoot, Errno::EINVAL) => "the initial ramfs cannot be moved away: use --no-pivot",
        (Step::PidFile, Syscall::Openat, Errno::ENOENT) => "the directory of --pid-file must already exist",
        (Step::Hostname, Syscall::Sethostname, Errno::EINVAL) => NAME,
        (Step::Hostname, Syscall::Sethostname, Errno::EPERM) => UTS,
        (Step::Execve, Syscall::Execve, Errno::E2BIG) => {
            "process.args and process.env together are too long, or one string is longer than 128 KiB"
        }
        (Step::Execve, Syscall::Execve, Errno::ETXTBSY) => "some process has the program open for writing",
        (Step::Cwd, Syscall::Mkdirat, Errno::EROFS) => {
            "process.cwd does not exist, and the mount around it is read-only: choose another directory"
        }
        (Step::PidfdSocket, Syscall::Connect, Errno::ENOENT | Errno::ECONNREFUSED) => {
            "start the receiver first: it must be listening on --pidfd-socket"
        }
        (Step::ConsoleSocket, Syscall::Connect, Errno::ENOENT | Errno::ECONNREFUSED) => {
            "start the receiver first: it must be listening on --console-socket"
        }
        (Step::Rlimits | Step::Limits, Syscall::Setrlimit, Errno::EPERM) => {
            "raising a hard limit needs CAP_SYS_RESOURCE, and RLIMIT_NOFILE can never exceed sysctl fs.nr_open"
        }
        _ => return None,
    })
}

fn of_mounts(error: &SysError) -> Option<&'static str> {
    let sets = |key: &str| matches!(error.call.args.first(), Some(Arg::Option(set, _)) if **set == *key);
    Some(match (error.call.name, error.errno) {
        (Syscall::OpenTree, Errno::ENOENT) => {
            "the source of a bind mount must exist on the host; a relative path starts at the bundle"
        }
        (Syscall::OpenTree, Errno::EACCES) => {
            "the caller may not search a directory on the way to the source, so neither may an unprivileged user's container: \
             add the permission, or run as root"
        }
        (Syscall::OpenTree, Errno::EINVAL) => {
            "mounts below the source may cover parts of it, and must not be removed in a user namespace: \"rbind\" includes \
             them"
        }
        (Syscall::Openat2, Errno::ENOTDIR) => {
            "the destination is a file or leads through one, but it must be a directory"
        }
        (Syscall::Mkdirat, Errno::EACCES) => {
            "the mount point does not exist, and the directory around it does not belong to the container's root: create the \
             mount point in the image, or change the owner of the image to the IDs of the user namespace"
        }
        (Syscall::Mkdirat, Errno::EROFS) => READ_ONLY,
        // In procfs and in sysfs.
        (Syscall::Mkdirat, Errno::ENOENT | Errno::EPERM) => KERNELS,
        // A file as the mount point of a file.
        (Syscall::Openat, Errno::EACCES) => {
            "the mount point does not exist and cannot be created: the directory around it does not belong to the container's \
             root, or is in a file system of the kernel"
        }
        (Syscall::Openat, Errno::EROFS) => READ_ONLY,
        (Syscall::Openat, Errno::ENOENT) => KERNELS,
        (Syscall::Fsmount, Errno::EPERM) => {
            "a new user namespace may mount proc and sysfs only if those around it are fully visible: if this runs in a \
             container, start that one with nothing in /proc and /sys masked (Docker: --security-opt \
             systempaths=unconfined, Podman: --security-opt unmask=ALL, Kubernetes: procMount: Unmasked), or bind /proc \
             and /sys instead"
        }
        (Syscall::FsconfigSet, Errno::EINVAL) if sets("uid") || sets("gid") => {
            "not a number, or an ID that the container's user namespace does not map"
        }
        (Syscall::FsconfigSet | Syscall::FsconfigCreate | Syscall::FsconfigReconfigure, Errno::EINVAL) => {
            "the file system does not support this option or value; an option of a bind mount also needs \"bind\" or \
             \"rbind\""
        }
        (Syscall::Fsopen | Syscall::FsconfigCreate, Errno::EPERM) => {
            "a user namespace can mount only what belongs to it: sysfs requires a separate network namespace, mqueue a \
             separate IPC namespace, proc a separate PID namespace; otherwise bind the host's"
        }
        (Syscall::MountSetattr, Errno::EPERM) => {
            "the flag is locked: it was set by a more privileged mount namespace and cannot be cleared here"
        }
        _ => return None,
    })
}

fn of_namespaces(error: &SysError) -> Option<&'static str> {
    let user =
        matches!(error.call.args.first(), Some(Arg::CloneFlags(flags)) if flags & libc::CLONE_NEWUSER as u64 != 0);
    Some(match (error.call.name, error.errno) {
        (Syscall::Readlinkat, Errno::EACCES) => {
            "until the container is started only root may inspect init; after that its creator may too"
        }
        (Syscall::Openat, Errno::ENOENT) => {
            "a namespace given by path must already exist; without a path a new one is created"
        }
        (Syscall::Openat, Errno::EACCES) => {
            "the namespace file of another user's process cannot be opened, but a bind mount of it can"
        }
        (Syscall::Setns, Errno::EPERM) if user => "only its owner and root may join a user namespace",
        _ => return None,
    })
}

fn of_sysctl(error: &SysError) -> Option<&'static str> {
    Some(match (error.call.name, error.errno) {
        (Syscall::Openat2, Errno::EACCES) => {
            "the parameter is read-only, or its namespace belongs to a user namespace other than the container's: join that \
             one too, or create a new namespace"
        }
        (Syscall::Openat2, Errno::EXDEV | Errno::EROFS) => {
            "/proc/sys is covered or read-only here, as in most containers: start the container around this one with nothing \
             in /proc masked, or leave the parameter out"
        }
        (Syscall::Openat2, Errno::EISDIR) => "this names a directory of parameters: name one of them",
        (Syscall::Openat2, Errno::ENOENT) => "the kernel has no such parameter in this namespace",
        (Syscall::Write, Errno::EINVAL) => "the parameter does not accept this value",
        _ => return None,
    })
}

/// What the runtime prepares for init: state, cgroup, clone and ID maps.
fn of_surroundings(step: Step, error: &SysError) -> Option<&'static str> {
    Some(match (step, error.call.name, error.errno) {
        (Step::Clone, Syscall::Clone3, Errno::EACCES) => {
            "the cgroup, or the common ancestor of it and of this process's cgroup, is not delegated to this user; run under \
             `systemd-run --user --scope -p Delegate=yes`, or as root"
        }
        (Step::Cgroup, Syscall::Mkdirat, Errno::EACCES) => {
            "the parent cgroup is not delegated to this user; run under `systemd-run --user --scope -p Delegate=yes`, or as \
             root"
        }
        // The device rules are set while the cgroup is created.
        (Step::Cgroup, Syscall::Bpf, Errno::EPERM) => {
            "device rules need CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) on the host; leave linux.resources.devices out of \
             the config of a rootless container"
        }
        (Step::IdMaps, _, Errno::EINVAL) => {
            "the kernel accepts up to 340 ranges that do not overlap, with no ID above 4294967294, in one page of text"
        }
        (Step::State, Syscall::Mkdirat, Errno::EACCES | Errno::EROFS)
        | (Step::State, Syscall::Openat, Errno::EACCES) => {
            "this user may not use the state directory: choose another one with --root, or set XDG_RUNTIME_DIR"
        }
        _ => return None,
    })
}

/// What holds in every step.
fn of_call(error: &SysError) -> Option<&'static str> {
    Some(match (error.call.name, error.errno) {
        (Syscall::Clone3, errno) => return of_clone3(errno),
        (Syscall::SchedSetattr, errno) => return of_sched_setattr(error, errno),
        (Syscall::Openat2 | Syscall::MountSetattr | Syscall::Fsopen, Errno::ENOSYS) => KERNEL,
        (Syscall::CloseRange, Errno::EINVAL) => KERNEL,
        (Syscall::OpenTree, Errno::ENOSPC) => {
            "the limit on mount namespaces or on mounts in one is reached, and some kernels count each detached mount as a \
             namespace: raise sysctl user.max_mnt_namespaces or fs.mount-max"
        }
        (Syscall::MoveMount, Errno::ENOSPC) => {
            "the mount namespace has reached its maximum number of mounts: raise sysctl fs.mount-max"
        }
        (Syscall::Fsopen, Errno::ENODEV) => {
            "the kernel does not know this file system type; for a bind mount, add \"bind\" or \"rbind\" to the options"
        }
        (Syscall::Realpath, Errno::ENOENT | Errno::ENOTDIR) => {
            "root.path names the container's root file system; a relative path starts at the bundle"
        }
        (Syscall::CreateNew, Errno::ENOENT) => "the directory must already exist; --bundle names another one",
        (Syscall::SocketPath, Errno::ENAMETOOLONG) => {
            "the path of a unix socket has at most 107 bytes: use a relative path, or a link in a directory with a shorter \
             name"
        }
        (Syscall::Unshare, Errno::EINVAL) => "the kernel does not have this kind of namespace",
        (Syscall::Setns, Errno::EINVAL) => "the path must name a namespace of this type",
        (Syscall::Setdomainname, Errno::EINVAL) => NAME,
        (Syscall::Setdomainname, Errno::EPERM) => UTS,
        (Syscall::ConnectToInit, Errno::ECONNREFUSED) => {
            "the container's init no longer exists; remove the container with `orlop delete`"
        }
        (Syscall::Write | Syscall::Sendfile, Errno::EFBIG) => {
            "the file would exceed the caller's file size limit (ulimit -f, RLIMIT_FSIZE): raise it"
        }
        (Syscall::SchedSetaffinity, Errno::EINVAL) => {
            "none of these processors is both online and in the cpuset (see /sys/devices/system/cpu/online and \
             linux.resources.cpu.cpus)"
        }
        (Syscall::IoprioSet, Errno::EPERM) => "IOPRIO_CLASS_RT needs CAP_SYS_NICE",
        (Syscall::SetMempolicy, Errno::EINVAL) => {
            "none of the nodes has memory that the cpuset allows (see /sys/devices/system/node/has_memory and \
             linux.resources.cpu.mems), or the kernel is too old for this mode or flag"
        }
        (Syscall::SetMempolicy, Errno::ENOSYS) => "the kernel was built without CONFIG_NUMA",
        _ => return None,
    })
}

fn of_clone3(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::EPERM => {
            "creating namespaces requires root; without it, add a user namespace with mappings to linux.namespaces \
             (`orlop spec --rootless` writes such a config), and the host must allow it: sysctl user.max_user_namespaces > \
             0, kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0 where they exist"
        }
        Errno::ENOSPC => {
            "the limit on nested namespaces or on their total number is reached: see sysctl user.max_*_namespaces"
        }
        Errno::EBUSY => {
            "the cgroup has controllers enabled for its children, so it cannot contain processes: choose another \
             linux.cgroupsPath"
        }
        Errno::EAGAIN => "a process limit is reached: see pids.max of the parent cgroups, and RLIMIT_NPROC",
        Errno::ENOMEM => {
            "linux.resources.memory.limit is too low for a process to start, or the machine is out of memory"
        }
        Errno::ENOSYS => KERNEL,
        Errno::EINVAL => "the kernel does not have one of these namespaces, or is older than Linux 5.14",
        _ => return None,
    })
}

fn of_sched_setattr(error: &SysError, errno: Errno) -> Option<&'static str> {
    const SCHED_ISO: Arg = Arg::Policy(4);
    const SCHED_DEADLINE: Arg = Arg::Policy(6);
    Some(match errno {
        Errno::EINVAL if error.call.has(&SCHED_ISO) => {
            "SCHED_ISO is only a reserved name: no mainline kernel has this policy"
        }
        Errno::EINVAL => {
            "the kernel does not accept this combination of values: see sched_setattr(2), and for SCHED_DEADLINE sysctl \
             kernel.sched_deadline_period_min_us and kernel.sched_deadline_period_max_us"
        }
        Errno::EPERM if error.call.has(&SCHED_DEADLINE) => {
            "SCHED_DEADLINE needs CAP_SYS_NICE, and a process that may run on every processor: leave \
             linux.resources.cpu.cpus out"
        }
        Errno::EPERM => {
            "real-time policies and negative nice values need CAP_SYS_NICE, and with CONFIG_RT_GROUP_SCHED a cgroup that has \
             real-time bandwidth"
        }
        Errno::EBUSY => {
            "the deadlines of this process and of others cannot all be met: request less runtime per period"
        }
        Errno::EOPNOTSUPP => "SCHED_FLAG_UTIL_CLAMP_* needs a kernel with CONFIG_UCLAMP_TASK",
        _ => return None,
    })
}

const NAME: &str = "the kernel accepts a name of up to 64 bytes";
const UTS: &str = "the UTS namespace belongs to a user namespace other than the container's: join that one too, or create a \
                   new UTS namespace";
const READ_ONLY: &str = "the mount point does not exist and cannot be created because the mount around it is read-only";
const KERNELS: &str = "the mount point does not exist and cannot be created in a file system of the kernel: choose another \
                       destination";
const KERNEL: &str = "orlop needs Linux 5.14 or newer";

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::sys::Call;

    /// All arguments that a hint looks at.
    fn arguments() -> Vec<Option<Arg>> {
        let option = |key: &str| Arg::Option(key.into(), Some("x".into()));
        vec![
            None,
            Some(option("uid")),
            Some(option("gid")),
            Some(Arg::CloneFlags(libc::CLONE_NEWUSER as u64)),
            Some(Arg::Policy(4)),
            Some(Arg::Policy(6)),
        ]
    }

    fn look(step: Option<Step>, name: Syscall, argument: Option<Arg>, errno: Errno) -> Option<&'static str> {
        let call = Call::new(name, argument.into_iter().collect());
        find(step, &SysError::new(call, errno))
    }

    /// Every hint that an error can get, with all that leads to it. A hint that no error can reach is not among them.
    fn table() -> String {
        let mut table = String::new();
        let errnos: Vec<Errno> = (1..134).map(Errno::from_raw).collect();
        let steps = [None].into_iter().chain(Step::ALL.iter().copied().map(Some));
        for step in steps {
            let name = step.map_or("any step", Step::name);
            for errno in &errnos {
                let of_all = look(step, Syscall::Poll, None, *errno);
                if let Some(hint) = of_all {
                    writeln!(table, "{name}: any call: {errno:?}: {hint}").unwrap();
                }
                for call in Syscall::ALL {
                    let plain = look(step, *call, None, *errno);
                    for argument in arguments() {
                        let hint = look(step, *call, argument.clone(), *errno);
                        // What holds for all is said once.
                        let general = look(None, *call, argument.clone(), *errno);
                        if hint == of_all || step.is_some() && hint == general || argument.is_some() && hint == plain {
                            continue;
                        }
                        let shown = Call::new(*call, argument.into_iter().collect());
                        writeln!(table, "{name}: {shown}: {errno:?}: {}", hint.unwrap_or("none")).unwrap();
                    }
                }
            }
        }
        table
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn every_hint_is_reachable() {
        let table = table();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/hints.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &table).unwrap();
        }
        assert_eq!(table, std::fs::read_to_string(path).unwrap());
    }
}
