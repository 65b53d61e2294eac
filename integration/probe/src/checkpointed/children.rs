//! Children, grandchildren, sessions and process groups, a zombie, a stopped process, an orphan whose session leader is gone.
//!
//! A grandchild sends numbers through a pipe to a child, which passes them to us: no number may be lost or come twice.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Part, sys};

pub struct Children {
    numbers: OwnedFd,
    last: u64,
    pids: Vec<(&'static str, libc::pid_t)>,
}

impl Children {
    pub fn new() -> Self {
        let (numbers, to_us) = sys::pipe(libc::O_NONBLOCK);
        let (report, to_report) = sys::pipe(0);
        let mut pids = vec![];
        pids.push(("child", sys::fork(|| child(to_us.as_raw_fd(), to_report.as_raw_fd()))));
        pids.push(("grandchild", pid_of(report.as_raw_fd())));
        // SAFETY: the call does not return.
        pids.push(("zombie", sys::fork(|| unsafe { libc::_exit(7) })));
        pids.push(("stopped", sys::fork(stopped)));
        let leader = sys::fork(|| {
            // SAFETY: the call takes no pointer.
            unsafe { libc::setsid() };
            let orphan = sys::fork(|| sys::pause());
            sys::write(to_report.as_raw_fd(), &orphan.to_ne_bytes());
        });
        // SAFETY: no status is asked for.
        sys::done(unsafe { libc::waitpid(leader, std::ptr::null_mut(), 0) });
        pids.push(("orphan", pid_of(report.as_raw_fd())));
        let this = Children { numbers, last: 0, pids };
        let is_leader = |pid: libc::pid_t| stat(pid).get(2) == Some(&pid.to_string());
        while state(this.pid("stopped")) != "T"
            || state(this.pid("zombie")) != "Z"
            || !is_leader(this.pid("grandchild"))
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        this
    }

    fn pid(&self, name: &str) -> libc::pid_t {
        self.pids.iter().find(|(other, _)| *other == name).expect("a process").1
    }
}

fn pid_of(report: RawFd) -> libc::pid_t {
    let mut bytes = [0; 4];
    assert_eq!(sys::read(report, &mut bytes), 4);
    libc::pid_t::from_ne_bytes(bytes)
}

/// Passes on what the grandchild sends.
fn child(to_us: RawFd, to_report: RawFd) {
    // SAFETY: the call takes no pointer.
    sys::done(unsafe { libc::setsid() });
    let (from, to) = sys::pipe(0);
    let grandchild = sys::fork(|| {
        // SAFETY: the call takes no pointer.
        sys::done(unsafe { libc::setpgid(0, 0) });
        for number in 1_u64.. {
            sys::write(to.as_raw_fd(), &number.to_ne_bytes());
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    sys::write(to_report, &grandchild.to_ne_bytes());
    // SAFETY: the call takes no pointer; the end is ours, and is not used again.
    unsafe { libc::fcntl(to_us, libc::F_SETFL, 0) };
    loop {
        let mut bytes = [0; 8];
        if sys::read(from.as_raw_fd(), &mut bytes) == 8 {
            sys::write(to_us, &bytes);
        }
    }
}

fn stopped() {
    loop {
        // SAFETY: the call takes no pointer.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
}

/// The fields of /proc/PID/stat from the state on: state, ppid, pgrp, session.
fn stat(pid: libc::pid_t) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default();
    fields.split_whitespace().take(4).map(str::to_owned).collect()
}

fn state(pid: libc::pid_t) -> String {
    stat(pid).first().cloned().unwrap_or_default()
}

impl Part for Children {
    fn check(&mut self) -> Result<(), String> {
        loop {
            let mut bytes = [0; 8];
            if sys::read(self.numbers.as_raw_fd(), &mut bytes) != 8 {
                break;
            }
            let number = u64::from_ne_bytes(bytes);
            let before = std::mem::replace(&mut self.last, number);
            if number != before + 1 {
                return Err(format!("number {number} after {before}"));
            }
        }
        for (name, pid) in &self.pids {
            if *name != "zombie" && matches!(state(*pid).as_str(), "Z" | "X" | "") {
                return Err(format!("{name} {pid} has ended"));
            }
        }
        Ok(())
    }

    fn same(&mut self) -> Value {
        let mut all = Map::new();
        for (name, pid) in &self.pids {
            let mut fields = stat(*pid);
            if let Some(state) = fields.first_mut()
                && !matches!(state.as_str(), "Z" | "T")
            {
                *state = "alive".into();
            }
            all.insert((*name).into(), json!([pid, fields]));
        }
        // SAFETY: plain data for which zeroes are valid.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: the kernel writes one struct, which outlives the call.
        sys::done(unsafe { libc::waitid(libc::P_PID, self.pid("zombie") as u32, &mut info, options) });
        // SAFETY: the fields of a child that has ended are set.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        all.insert("status of the zombie".into(), json!([pid, status]));
        all.into()
    }

    fn grows(&mut self) -> Value {
        json!({ "number": self.last })
    }
}
