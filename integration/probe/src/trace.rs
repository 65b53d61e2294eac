//! What a process can learn about others by tracing them or by reading /proc.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value, json};

use crate::say;

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Attaches to every process that appears, and prints a report about it: one object per line.
pub fn seize() -> ! {
    let mut known: BTreeSet<i32> = processes().collect();
    say("ready");
    loop {
        for pid in processes() {
            // A process that does not exist yet may exist the next time.
            if !known.contains(&pid) && ptrace(libc::PTRACE_SEIZE, pid) {
                known.insert(pid);
                ptrace(libc::PTRACE_INTERRUPT, pid);
                // SAFETY: no status is asked for.
                unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
                say(&report(pid).to_string());
                ptrace(libc::PTRACE_DETACH, pid);
            }
        }
    }
}

fn ptrace(request: libc::c_uint, pid: i32) -> bool {
    // SAFETY: the requests used here write nothing to this process.
    unsafe { libc::ptrace(request as _, pid, 0, 0) == 0 }
}

fn report(pid: i32) -> Value {
    let base = format!("/proc/{pid}");
    let link = |name: &str| fs::read_link(format!("{base}/{name}")).map(|path| path.to_string_lossy().into_owned());
    let status = fs::read_to_string(format!("{base}/status")).unwrap_or_default();
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let fds = fs::read_dir(format!("{base}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let number = entry.file_name().to_string_lossy().into_owned();
            let target = link(&format!("fd/{number}")).unwrap_or_default();
            (number, json!(target))
        });
    let fds = fds.collect::<Map<_, _>>();
    json!({
        "name": field("Name:"),
        "permitted": field("CapPrm:"),
        "effective": field("CapEff:"),
        "bounding": field("CapBnd:"),
        "mnt": link("ns/mnt").ok(),
        "fds": fds,
    })
}

/// Prints "seen WORD" for each word that appears in the arguments or the environment of another process.
pub fn watch(words: &[String]) -> ! {
    let own = std::process::id() as i32;
    say("ready");
    let mut seen = BTreeSet::new();
    loop {
        for pid in processes().filter(|pid| *pid != own) {
            for file in ["cmdline", "environ"] {
                let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                for word in words {
                    if text.windows(word.len()).any(|part| part == word.as_bytes()) && seen.insert(word) {
                        say(&format!("seen {word}"));
                    }
                }
            }
        }
    }
}
