//! Containers with a seccomp profile, and the agent to which a profile with `SCMP_ACT_NOTIFY` sends its questions.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use crate::harness::{Bundle, receive};

pub fn with(bundle: Bundle, profile: Value) -> Bundle {
    bundle.edit(|c| c["linux"]["seccomp"] = profile)
}

pub fn with_privileges(bundle: Bundle, no_new: bool) -> Bundle {
    bundle.edit(|c| c["process"]["noNewPrivileges"] = json!(no_new))
}

pub fn docker() -> Value {
    serde_json::from_str(include_str!("../../tests/profiles/docker-default.json")).expect("Docker's profile")
}

/// A profile that allows everything but some calls.
pub fn denying(names: &[&str], action: &str) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{ "names": names, "action": action }]
    })
}

/// The results of system calls by number: the value, or the name of the errno.
pub fn answers(bundle: Bundle, calls: &[&str]) -> Vec<Value> {
    let bundle = bundle.args([&["probe", "try"], calls].concat().iter().copied());
    let attempts = bundle.run().ok().json();
    let attempts = attempts.as_array().expect("a list").clone();
    attempts
        .iter()
        .map(|attempt| match &attempt["ok"] {
            Value::Bool(true) => attempt["detail"].clone(),
            _ => attempt["errno"].clone(),
        })
        .collect()
}

pub fn notifying(bundle: Bundle, agent: &Agent, names: &[&str]) -> Bundle {
    let mut profile = denying(names, "SCMP_ACT_NOTIFY");
    profile["listenerPath"] = json!(agent.path);
    profile["listenerMetadata"] = json!("some words");
    with(bundle, profile)
}

/// The message to an agent.
pub struct Handed {
    pub state: Value,
    /// Whether the sender closed its end after that.
    pub closed: bool,
}

/// struct seccomp_notif and struct seccomp_notif_resp of linux/seccomp.h.
#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    nr: i32,
    arch: u32,
    ip: u64,
    args: [u64; 6],
}

#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const NOTIF_RECV: libc::c_ulong = 0xc050_2100;
const NOTIF_SEND: libc::c_ulong = 0xc018_2101;
const CONTINUE: u32 = 1;

/// An agent that lets every call continue but mkdir(2), which fails with EXDEV.
pub struct Agent {
    pub path: PathBuf,
    pub handed: mpsc::Receiver<Handed>,
}

impl Agent {
    pub fn listen(bundle: &Bundle) -> Self {
        let path = bundle.path("agent.sock");
        let listener = UnixListener::bind(&path).expect("the agent's socket");
        let (sender, handed) = mpsc::channel();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (text, fd) = receive(&connection);
                let fd = fd.expect("a descriptor");
                // Other calls may depend on the answers, so answering starts before the rest is read.
                thread::spawn(move || serve(&fd));
                let mut rest = Vec::new();
                let closed = (&connection).read_to_end(&mut rest).is_ok() && rest.is_empty();
                let state = serde_json::from_slice(&text).expect("one JSON document");
                let _ = sender.send(Handed { state, closed });
            }
        });
        Agent { path, handed }
    }

    pub fn next(&self) -> Handed {
        let limit = std::time::Duration::from_secs(20);
        self.handed.recv_timeout(limit).expect("the agent is sent something")
    }
}

fn serve(fd: &OwnedFd) {
    loop {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        let polled = poll(&mut fds, PollTimeout::NONE);
        // A hang-up says that no process is under the filter any more.
        if polled.is_err()
            || !fds[0]
                .revents()
                .is_some_and(|events| events.contains(PollFlags::POLLIN))
        {
            return;
        }
        let mut notification = Notification::default();
        // SAFETY: the kernel writes one struct seccomp_notif, whose size is part of the request's number.
        if unsafe { libc::ioctl(fd.as_raw_fd(), NOTIF_RECV, &mut notification) } != 0 {
            continue;
        }
        let refuse = i64::from(notification.nr) == libc::SYS_mkdir;
        let mut answer = Answer {
            id: notification.id,
            value: 0,
            error: if refuse { -libc::EXDEV } else { 0 },
            flags: if refuse { 0 } else { CONTINUE },
        };
        // SAFETY: the kernel reads one struct seccomp_notif_resp, likewise.
        unsafe { libc::ioctl(fd.as_raw_fd(), NOTIF_SEND, &mut answer) };
    }
}
