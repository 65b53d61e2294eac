//! Processes on the host that keep namespaces for a container to join, and the namespaces and cgroups of processes.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_dumpable;
use serde_json::{Value, json};

use super::eventually;
use super::users::become_user;

/// (type in the config, name below /proc/PID/ns, flag).
pub const KINDS: [(&str, &str, i32); 8] = [
    ("user", "user", libc::CLONE_NEWUSER),
    ("pid", "pid", libc::CLONE_NEWPID),
    ("network", "net", libc::CLONE_NEWNET),
    ("ipc", "ipc", libc::CLONE_NEWIPC),
    ("uts", "uts", libc::CLONE_NEWUTS),
    ("cgroup", "cgroup", libc::CLONE_NEWCGROUP),
    ("time", "time", libc::CLONE_NEWTIME),
    ("mount", "mnt", libc::CLONE_NEWNS),
];

pub fn file_of(kind: &str) -> &'static str {
    KINDS.iter().find(|(name, ..)| *name == kind).expect("a kind").1
}

/// A process on the host that keeps namespaces for a container to join.
pub struct Holder(Child);

impl Holder {
    /// In new namespaces of these flags; they belong to the new user namespace, if there is one.
    pub fn new(flags: i32) -> Self {
        Self::with(flags, 0, None)
    }

    /// A user namespace that maps 65536 IDs, `inside` to the host's `outside`.
    pub fn remapped(flags: i32, inside: u32, outside: u32) -> Self {
        let holder = Self::with(flags | libc::CLONE_NEWUSER, 0, None);
        for file in ["uid_map", "gid_map"] {
            let path = format!("/proc/{}/{file}", holder.pid());
            fs::write(path, format!("{inside} {outside} 65536")).expect("write the map");
        }
        holder
    }

    /// The user namespace of an unprivileged user, who is root in it.
    pub fn of_user(flags: i32, uid: u32) -> Self {
        Self::with(flags | libc::CLONE_NEWUSER, uid, Some(format!("0 {uid} 1")))
    }

    fn with(flags: i32, uid: u32, map: Option<String>) -> Self {
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null());
        let enter = move || {
            if uid != 0 {
                become_user(uid)?;
                set_dumpable(true)?;
            }
            unshare(CloneFlags::from_bits_retain(flags))?;
            if let Some(map) = &map {
                fs::write("/proc/self/setgroups", "deny")?;
                fs::write("/proc/self/uid_map", map)?;
                fs::write("/proc/self/gid_map", map)?;
            }
            Ok(())
        };
        // SAFETY: it makes system calls and allocates at most, which the C library allows after a fork.
        unsafe { command.pre_exec(enter) };
        Holder(command.spawn().expect("a process in namespaces of its own"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// What a config calls the namespace of this type.
    pub fn path(&self, kind: &str) -> String {
        let file = match kind {
            // unshare(2) puts only children into these two.
            "pid" => "pid_for_children",
            "time" => "time_for_children",
            other => file_of(other),
        };
        format!("/proc/{}/ns/{file}", self.pid())
    }

    /// Its identity, as the probe reports it.
    pub fn namespace(&self, kind: &str) -> Value {
        json!(fs::read_link(self.path(kind)).expect("the namespace").to_string_lossy())
    }

    /// A PID namespace with a first process that reaps orphans.
    pub fn with_init() -> Self {
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child"])
            // Its children need not be waited for (signal(7)).
            .args(["env", "--ignore-signal=CHLD", "sleep", "1000"])
            .stdin(Stdio::null());
        let holder = Holder(command.spawn().expect("unshare"));
        eventually("the pid namespace has a process", || {
            fs::read_link(holder.path("pid")).is_ok_and(|link| json!(link.to_string_lossy()) != own_namespace("pid"))
                && !fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.pid()))
                    .unwrap_or_default()
                    .is_empty()
        });
        holder
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The namespace that the tests are in.
pub fn own_namespace(kind: &str) -> Value {
    json!(
        fs::read_link(Path::new("/proc/self/ns").join(file_of(kind)))
            .expect("a namespace")
            .to_string_lossy()
    )
}

/// The host's directory of the cgroup that a process is in.
pub fn cgroup_of(pid: i32) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    Path::new("/sys/fs/cgroup").join(path)
}
