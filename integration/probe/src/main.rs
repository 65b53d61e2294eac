//! The process that the integration tests run in a container: it inspects its surroundings and reports.
//!
//! Statically linked, and without /proc where possible, because some tests remove /proc.
//! Output is one JSON document on stdout, or plain text where a test only waits for a word.

// The start-up code of Rust would ignore SIGPIPE before the probe could report its initial state.
#![no_main]

mod attempt;
mod checkpointed;
mod errno;
mod facts;
mod hold;
mod notify;
mod rewrite;
mod scan;
mod trace;

use std::io::{Read, Write};
use std::process::exit;

use serde_json::Value;

const USAGE: &str = "\
probe facts [PATH…]      everything about this process, and lstat of each PATH, as JSON
probe try OP…            try each operation and report its result or errno, as JSON (see attempt.rs)
probe scan               what of other processes and of the host is reachable through /proc, as JSON
probe exit N             exit with N
probe kill-self N        die of signal N
probe signals            print \"ready\", then the name of each signal that arrives; TERM ends it with 0
probe sleep [SECONDS]    print \"ready\" and wait, for ever by default
probe fork-tree N        N children, each in a session of its own, all sleeping; print \"ready\" and sleep
probe leave-a-thread     print \"ready\"; the first thread ends, another sleeps
probe forks N            fork until N children sleep or it fails; print how many there are, and end
probe eat N              fill N MiB of memory, print \"ready\" and sleep
probe rewrite N HOT RATE FILE
                         fill N MiB of memory, rewrite HOT of them at RATE MiB/s, and report in FILE (see rewrite.rs)
probe read-stdin         copy stdin to stdout, then print \"<eof>\"
probe cat FILE           copy FILE to stdout
probe print TEXT…        print the words, one a line
probe hold-program SIZE FILE
                         find a process whose program has SIZE bytes, keep that open and print \"held\"; once there is
                         FILE, print how writing to it ends
probe seize              attach to every process that appears, and print what it has
probe watch WORD…        print which of the words are in arguments or environments of other processes
probe checkpointed DIR PART…
                         make objects for a checkpoint, check them again and again and report on them (see checkpointed/)
probe notify STEP…       send messages to NOTIFY_SOCKET (see notify.rs)";

#[unsafe(no_mangle)]
extern "C" fn main(_: libc::c_int, _: *const *const libc::c_char) -> libc::c_int {
    // Before anything else opens a descriptor.
    let open_fds = facts::open_fds();
    let args: Vec<String> = std::env::args_os()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let rest = args.get(2..).unwrap_or_default();
    match args.get(1).map(String::as_str) {
        Some("facts") => print(&facts::all(open_fds, rest)),
        Some("try") => print(&attempt::all(rest)),
        Some("scan") => print(&scan::all()),
        Some("exit") => exit(number(rest)),
        Some("kill-self") => kill_self(number(rest)),
        Some("signals") => report_signals(),
        Some("sleep") => {
            say("ready");
            sleep(rest.first().and_then(|s| s.parse().ok()).unwrap_or(u64::MAX))
        }
        Some("fork-tree") => fork_tree(number(rest)),
        Some("leave-a-thread") => {
            std::thread::spawn(|| sleep(u64::MAX));
            say("ready");
            // SAFETY: this thread alone ends, and nothing of its stack is shared.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        Some("forks") => forks(number(rest)),
        Some("eat") => {
            let memory = vec![1u8; (number(rest) as usize) << 20];
            say("ready");
            std::hint::black_box(&memory);
            sleep(u64::MAX)
        }
        Some("rewrite") => rewrite::run(
            number(rest) as usize,
            number(rest.get(1..).unwrap_or_default()) as usize,
            number(rest.get(2..).unwrap_or_default()) as usize,
            &rest[3],
        ),
        Some("read-stdin") => {
            copy(std::io::stdin());
            say("<eof>");
        }
        Some("cat") => match std::fs::File::open(&rest[0]) {
            Ok(file) => copy(file),
            Err(e) => {
                eprintln!("{}: {e}", rest[0]);
                exit(1)
            }
        },
        Some("hold-program") => hold::program(number(rest) as u64, &rest[1]),
        Some("seize") => trace::seize(),
        Some("watch") => trace::watch(rest),
        Some("checkpointed") => checkpointed::run(rest),
        Some("notify") => notify::run(rest),
        Some("print") => rest.iter().for_each(|word| say(word)),
        _ => {
            eprintln!("{USAGE}");
            return 64;
        }
    }
    0
}

fn print(value: &Value) {
    say(&serde_json::to_string_pretty(value).expect("JSON of plain values"));
}

/// Prints one line at once, also into a file or a pipe.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn number(args: &[String]) -> i32 {
    args.first().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        eprintln!("{USAGE}");
        exit(64)
    })
}

fn copy(mut from: impl Read) {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(&bytes);
    let _ = out.flush();
}

fn sleep(seconds: u64) -> ! {
    std::thread::sleep(std::time::Duration::from_secs(seconds));
    exit(0)
}

fn kill_self(signal: i32) -> ! {
    if signal == libc::SIGSEGV {
        // A real fault: the only signal that also kills pid 1 of a pid namespace from within.
        // SAFETY: none: the write faults, as it must.
        unsafe { std::ptr::null_mut::<u8>().write_volatile(0) };
    }
    // SAFETY: SIG_DFL runs no code.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: the call takes no pointer.
    unsafe { libc::kill(libc::getpid(), signal) };
    sleep(5)
}

fn report_signals() -> ! {
    // SAFETY: plain data for which zeroes are valid.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: sets of ours, which outlive the calls.
    unsafe {
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
    say("ready");
    loop {
        let mut signal = 0;
        // SAFETY: as above.
        if unsafe { libc::sigwait(&all, &mut signal) } == 0 {
            say(&errno::signal_name(signal));
            if signal == libc::SIGTERM {
                exit(0)
            }
        }
    }
}

fn fork_tree(count: i32) -> ! {
    for _ in 0..count {
        // SAFETY: the child only makes the two system calls.
        unsafe {
            if libc::fork() == 0 {
                libc::setsid();
                loop {
                    libc::pause();
                }
            }
        }
    }
    say("ready");
    sleep(u64::MAX)
}

fn forks(count: i32) -> ! {
    let mut children = Vec::new();
    for _ in 0..count {
        // SAFETY: the child only waits.
        match unsafe { libc::fork() } {
            -1 => break,
            0 => loop {
                // SAFETY: the call takes no pointer.
                unsafe { libc::pause() };
            },
            child => children.push(child),
        }
    }
    say(&children.len().to_string());
    for child in children {
        // SAFETY: no status is asked for.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
    }
    exit(0)
}
