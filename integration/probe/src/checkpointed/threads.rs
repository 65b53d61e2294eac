//! Threads with names, masks and pending signals; handlers; signals that are pending for the process.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Part, sys};

const COUNT: usize = 3;

static COUNTERS: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];
static HANDLED: AtomicU64 = AtomicU64::new(0);
/// What each thread reports of itself where it is asked for: CRIU cannot restore an open file of /proc/PID/task.
static REPORTS: Mutex<[Option<String>; COUNT]> = Mutex::new([const { Some(String::new()) }; COUNT]);

pub struct Threads {
    raised: u64,
}

extern "C" fn handle(_: i32) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

fn block(signals: &[i32]) {
    // SAFETY: plain data for which zeroes are valid; a set of ours, which outlives the calls.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// The thread's id, name and the lines of its status about signals.
fn report() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let keys = [
        "Name",
        "Pid",
        "SigPnd",
        "ShdPnd",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "Seccomp",
        "NoNewPrivs",
    ];
    let lines = status.lines().filter_map(|line| {
        let (key, value) = line.split_once(":\t")?;
        // The signals of a timer come and go.
        let value = match (key, u64::from_str_radix(value, 16)) {
            ("ShdPnd", Ok(set)) => format!("{:x}", set & !(1 << (super::timers::signal() - 1))),
            _ => value.to_owned(),
        };
        keys.contains(&key).then(|| format!("{key} {value}"))
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn body(number: usize) {
    block(&[libc::SIGUSR2, libc::SIGRTMIN() + 1 + number as i32]);
    // SAFETY: the calls take no pointer.
    unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            libc::getpid(),
            libc::gettid(),
            libc::SIGRTMIN() + 1 + number as i32,
        )
    };
    loop {
        COUNTERS[number].fetch_add(1, Ordering::Relaxed);
        REPORTS.lock().expect("not poisoned")[number].get_or_insert_with(report);
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Threads {
    pub fn new() -> Self {
        // SAFETY: the handler only adds to an atomic number.
        unsafe { libc::signal(libc::SIGUSR1, handle as *const () as libc::sighandler_t) };
        // SAFETY: SIG_IGN runs no code.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        block(&[libc::SIGUSR2, libc::SIGRTMIN()]);
        for number in 0..COUNT {
            let thread = std::thread::Builder::new().name(format!("part {number}"));
            thread.spawn(move || body(number)).expect("a thread");
        }
        // Pending for the process: one as kill(2) sends it, two in a queue with their values.
        // SAFETY: the calls take no pointer that outlives them.
        unsafe {
            libc::kill(libc::getpid(), libc::SIGUSR2);
            for value in [3, 4] {
                let value = libc::sigval {
                    sival_ptr: value as *mut libc::c_void,
                };
                libc::sigqueue(libc::getpid(), libc::SIGRTMIN(), value);
            }
        }
        while COUNTERS.iter().any(|counter| counter.load(Ordering::Relaxed) < 2) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Threads { raised: 0 }
    }
}

impl Part for Threads {
    fn check(&mut self) -> Result<(), String> {
        // SAFETY: the call takes no pointer.
        sys::done(unsafe { libc::raise(libc::SIGUSR1) });
        self.raised += 1;
        match HANDLED.load(Ordering::Relaxed) {
            handled if handled == self.raised => Ok(()),
            handled => Err(format!("{handled} signals of {} were handled", self.raised)),
        }
    }

    fn same(&mut self) -> Value {
        REPORTS.lock().expect("not poisoned").fill(None);
        let reports = loop {
            let reports = REPORTS.lock().expect("not poisoned").clone();
            if reports.iter().all(Option::is_some) {
                break reports;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        json!({
            "threads": reports,
            "main": report(),
        })
    }

    fn grows(&mut self) -> Value {
        COUNTERS
            .iter()
            .enumerate()
            .map(|(number, counter)| (number.to_string(), json!(counter.load(Ordering::Relaxed))))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}
