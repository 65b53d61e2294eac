//! Everything that a process can find out about itself.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::parent_id;

use serde_json::{Map, Value, json};

use crate::errno;

/// The caller gets `open_fds` before it opens anything else.
pub fn all(open_fds: Value, paths: &[String]) -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    json!({
        "pid": std::process::id(),
        "ppid": parent_id(),
        // SAFETY: the call takes no pointer.
        "sid": unsafe { libc::getsid(0) },
        // SAFETY: the call takes no pointer.
        "pgid": unsafe { libc::getpgid(0) },
        "uid": ids(&status, "Uid:"),
        "gid": ids(&status, "Gid:"),
        "groups": groups(),
        "umask": umask(),
        "cwd": std::env::current_dir().map_or_else(|e| os_error(&e), |dir| json!(dir.to_string_lossy())),
        "argv": std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "env": std::env::vars_os()
            .map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy())).collect::<Vec<_>>(),
        "rlimits": rlimits(),
        "caps": {
            "inheritable": capabilities(&status, "CapInh:"),
            "permitted": capabilities(&status, "CapPrm:"),
            "effective": capabilities(&status, "CapEff:"),
            "bounding": capabilities(&status, "CapBnd:"),
            "ambient": capabilities(&status, "CapAmb:"),
        },
        // SAFETY: the call takes no pointer.
        "securebits": unsafe { libc::prctl(libc::PR_GET_SECUREBITS) },
        // SAFETY: the call takes no pointer.
        "noNewPrivileges": unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } == 1,
        "seccomp": field(&status, "Seccomp:").and_then(|v| v.parse::<u32>().ok()),
        // SAFETY: the call takes no pointer.
        "dumpable": unsafe { libc::prctl(libc::PR_GET_DUMPABLE) },
        "pdeathsig": pdeathsig(),
        "childSubreaper": subreaper(),
        // SAFETY: the call takes no pointer.
        "timerslack": unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) },
        "oomScoreAdj": read_number("/proc/self/oom_score_adj"),
        "scheduler": scheduler(),
        "ioprio": ioprio(),
        "cpuAffinity": affinity(),
        // SAFETY: the call takes no pointer.
        "personality": unsafe { libc::personality(0xffff_ffff) },
        "hostname": uname().0,
        "domainname": uname().1,
        "kernel": uname().2,
        "machine": uname().3,
        "namespaces": namespaces(),
        "cgroup": fs::read_to_string("/proc/self/cgroup").ok().map(|s| s.trim_end().to_owned()),
        "mounts": mounts(),
        "fds": open_fds,
        "keyring": keyring(),
        "interfaces": interfaces(),
        "signals": {
            "blocked": field(&status, "SigBlk:").and_then(hex),
            "ignored": field(&status, "SigIgn:").and_then(hex),
            "pending": field(&status, "SigPnd:").and_then(hex),
        },
        "tty": (0..3).map(tty).collect::<Vec<_>>(),
        "paths": paths.iter().map(|p| (p.clone(), lstat(p))).collect::<Map<_, _>>(),
    })
}

/// Each open descriptor and what it refers to, for the numbers below 4096.
pub fn open_fds() -> Value {
    let open: Vec<i32> = (0..4096)
        // SAFETY: the call takes no pointer.
        .filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0)
        .collect();
    let target = |fd: &i32| fs::read_link(format!("/proc/self/fd/{fd}")).map(|p| p.to_string_lossy().into_owned());
    open.iter()
        .map(|fd| (fd.to_string(), json!(target(fd).unwrap_or_default())))
        .collect::<Map<_, _>>()
        .into()
}

/// lstat as JSON; `{"errno": …}` when it fails.
pub fn lstat(path: &str) -> Value {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) => return os_error(&e),
    };
    let kind = match meta.file_type() {
        t if t.is_symlink() => "symlink",
        t if t.is_dir() => "directory",
        t if t.is_char_device() => "character device",
        t if t.is_block_device() => "block device",
        t if t.is_fifo() => "fifo",
        t if t.is_socket() => "socket",
        _ => "file",
    };
    json!({
        "type": kind,
        "mode": format!("{:04o}", meta.mode() & 0o7777),
        "uid": meta.uid(),
        "gid": meta.gid(),
        "size": meta.size(),
        "major": libc::major(meta.rdev()),
        "minor": libc::minor(meta.rdev()),
        "dev": meta.dev(),
        "ino": meta.ino(),
        "target": fs::read_link(path).ok().map(|p| p.to_string_lossy().into_owned()),
    })
}

pub fn os_error(e: &std::io::Error) -> Value {
    json!({ "errno": errno::name(e.raw_os_error().unwrap_or(0)) })
}

fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// Real, effective, saved and file system id.
fn ids(status: &str, key: &str) -> Vec<u32> {
    field(status, key)
        .unwrap_or("")
        .split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect()
}

fn groups() -> Vec<u32> {
    let mut list = vec![0; 65536];
    // SAFETY: a list with its length.
    let count = unsafe { libc::getgroups(list.len() as i32, list.as_mut_ptr()) };
    list.truncate(count.max(0) as usize);
    list
}

fn umask() -> String {
    // SAFETY: the call takes no pointer.
    let mask = unsafe { libc::umask(0o077) };
    // SAFETY: the call takes no pointer.
    unsafe { libc::umask(mask) };
    format!("{mask:04o}")
}

fn rlimits() -> Value {
    let read = |number: usize| {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the kernel writes one struct, which outlives the call.
        unsafe { libc::getrlimit(number as _, &mut limit) };
        json!([limit.rlim_cur, limit.rlim_max])
    };
    errno::RLIMITS
        .iter()
        .enumerate()
        .map(|(i, name)| ((*name).to_owned(), read(i)))
        .collect::<Map<_, _>>()
        .into()
}

fn capabilities(status: &str, key: &str) -> Value {
    let Some(bits) = field(status, key).and_then(hex) else {
        return Value::Null;
    };
    errno::CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(i, _)| bits >> i & 1 == 1)
        .map(|(_, name)| json!(name))
        .collect()
}

fn pdeathsig() -> i32 {
    let mut signal = 0;
    // SAFETY: the kernel writes one int, which outlives the call.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &mut signal) };
    signal
}

fn subreaper() -> i32 {
    let mut flag = 0;
    // SAFETY: the kernel writes one int, which outlives the call.
    unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &mut flag) };
    flag
}

fn read_number(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// sched_getattr(2), struct sched_attr of version 0.
fn scheduler() -> Value {
    #[repr(C)]
    #[derive(Default)]
    struct Attr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let mut attr = Attr::default();
    // SAFETY: the kernel writes as many bytes as it is told, to what outlives the call.
    unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size_of::<Attr>(), 0) };
    json!({
        "policy": attr.policy,
        "flags": attr.flags,
        "priority": attr.priority,
        // SAFETY: the call takes no pointer.
        "nice": unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) },
        "runtime": attr.runtime,
        "deadline": attr.deadline,
        "period": attr.period,
    })
}

/// Class and level within it.
fn ioprio() -> Value {
    // SAFETY: the call takes no pointer.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) };
    json!({ "class": value >> 13, "level": value & 7 })
}

fn affinity() -> Vec<usize> {
    // SAFETY: plain data for which zeroes are valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes as many bytes as it is told, to what outlives the call.
    unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the numbers are below the size of the set.
        .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) })
        .collect()
}

fn uname() -> (String, String, String, String) {
    // SAFETY: plain data for which zeroes are valid; the kernel writes strings that end with a NUL.
    unsafe {
        let mut names = std::mem::zeroed::<libc::utsname>();
        libc::uname(&mut names);
        let text = |raw: &[libc::c_char]| std::ffi::CStr::from_ptr(raw.as_ptr()).to_string_lossy().into_owned();
        (
            text(&names.nodename),
            text(&names.domainname),
            text(&names.release),
            text(&names.machine),
        )
    }
}

fn namespaces() -> Value {
    let names = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let link = |name: &str| {
        fs::read_link(format!("/proc/self/ns/{name}"))
            .ok()
            .map(|p| p.to_string_lossy().into_owned())
    };
    names
        .iter()
        .map(|name| ((*name).to_owned(), json!(link(name))))
        .collect::<Map<_, _>>()
        .into()
}

/// /proc/self/mountinfo, one object per mount, in mount order.
pub fn mounts() -> Value {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let commas = |list: &str| list.split(',').map(str::to_owned).collect::<Vec<_>>();
    Some(json!({
        "id": left.first()?,
        "parent": left.get(1)?,
        "device": left.get(2)?,
        "root": left.get(3)?,
        "mountpoint": left.get(4)?,
        "options": commas(left.get(5)?),
        "propagation": left.get(6..)?,
        "fstype": right.first()?,
        "source": right.get(1)?,
        "super": commas(right.get(2)?),
    }))
}

/// The session keyring's serial number and description, or the errno of asking.
pub fn keyring() -> Value {
    const GET_KEYRING_ID: i32 = 0;
    const DESCRIBE: i32 = 6;
    const SESSION: i32 = -3;
    // SAFETY: the call takes no pointer.
    let id = unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION, 0) };
    if id < 0 {
        return json!({ "errno": errno::last() });
    }
    let mut text = [0_u8; 256];
    // SAFETY: a buffer with its length.
    let length = unsafe { libc::syscall(libc::SYS_keyctl, DESCRIBE, id, text.as_mut_ptr(), text.len()) };
    let description = &text[..(length.max(1) as usize - 1).min(text.len())];
    json!({ "id": id, "description": String::from_utf8_lossy(description) })
}

fn interfaces() -> Value {
    let mut list = Map::new();
    // SAFETY: the list ends with an entry without a name and is freed after its last use; a name fits into the request
    // (IF_NAMESIZE), and the kernel writes one struct ifreq.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let all = libc::if_nameindex();
        let mut entry = all;
        while !entry.is_null() && !(*entry).if_name.is_null() {
            let name = std::ffi::CStr::from_ptr((*entry).if_name);
            let mut request = std::mem::zeroed::<libc::ifreq>();
            for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
                *to = *from as libc::c_char;
            }
            libc::ioctl(socket, libc::SIOCGIFFLAGS as _, &mut request);
            let flags = i32::from(request.ifr_ifru.ifru_flags);
            list.insert(
                name.to_string_lossy().into_owned(),
                json!({ "up": flags & libc::IFF_UP != 0, "flags": flags }),
            );
            entry = entry.add(1);
        }
        if !all.is_null() {
            libc::if_freenameindex(all);
        }
        libc::close(socket);
    }
    list.into()
}

fn tty(fd: i32) -> Value {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the call takes no pointer.
    if unsafe { libc::isatty(fd) } != 1 {
        return Value::Null;
    }
    // SAFETY: the kernel writes one struct, which outlives the call.
    unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &mut size) };
    json!({ "rows": size.ws_row, "columns": size.ws_col })
}

/// A path as the kernel wants it.
pub fn c_path(path: &str) -> CString {
    CString::new(path).unwrap_or_default()
}
