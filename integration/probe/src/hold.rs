//! Keeps the program of another process open, as an attacker of the runtime would, and writes to it later.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use crate::{errno, say};

/// `size`: of the program in bytes. Nothing is written before the file `go` exists.
pub fn program(size: u64, go: &str) {
    say("ready");
    let held = loop {
        if let Some(file) = find(size) {
            break file;
        }
    };
    say("held");
    while !Path::new(go).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    // A program cannot be written to while a process executes it.
    for _ in 0..200 {
        match OpenOptions::new().write(true).open(&path) {
            Ok(mut file) => {
                return say(if file.write_all(b"spoiled").is_ok() {
                    "overwritten"
                } else {
                    "opened"
                });
            }
            Err(e) if e.raw_os_error() == Some(libc::ETXTBSY) => std::thread::sleep(Duration::from_millis(10)),
            Err(e) => return say(&errno::name(e.raw_os_error().unwrap_or(0))),
        }
    }
    say("ETXTBSY");
}

fn find(size: u64) -> Option<File> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        let file = File::open(entry.path().join("exe")).ok()?;
        (file.metadata().ok()?.len() == size).then_some(file)
    })
}
