//! Processes for a checkpoint: objects of every kind that must come back, each checked again and again from inside.
//!
//! A [`Part`] makes objects of one kind. DIR/query asks for facts or for the end; the report goes to DIR/answer. Facts under
//! `same` may never change, numbers under `grows` only grow, and `faults` lists everything that a check has found wrong
//! since the start.

mod children;
mod demand;
mod files;
mod identity;
mod ipc;
mod memory;
mod messages;
mod refused;
mod sys;
mod tcp;
mod threads;
mod timers;
mod watches;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::say;

trait Part {
    /// What must hold at any time.
    fn check(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// What must be the same at any time.
    fn same(&mut self) -> Value;

    /// Numbers that never become smaller.
    fn grows(&mut self) -> Value {
        json!({})
    }
}

/// All of them, in the order in which they are made: those that fork before there are threads.
const ALL: [&str; 10] = [
    "children", "memory", "messages", "ipc", "files", "timers", "watches", "tcp", "identity", "threads",
];

fn make(name: &str, dir: &Path) -> Box<dyn Part> {
    match name {
        "children" => Box::new(children::Children::new()),
        "memory" => Box::new(memory::Memory::new()),
        "messages" => Box::new(messages::Messages::new(dir)),
        "ipc" => Box::new(ipc::Ipc::new()),
        "files" => Box::new(files::Files::new(dir)),
        "timers" => Box::new(timers::Timers::new()),
        "watches" => Box::new(watches::Watches::new(dir)),
        "tcp" => Box::new(tcp::Connection::new()),
        "server" => Box::new(tcp::Server::new()),
        "identity" => Box::new(identity::Identity),
        "keyring" => Box::new(identity::Keyring),
        "threads" => Box::new(threads::Threads::new()),
        "filtered" => Box::new(refused::Filtered),
        "io_uring" => Box::new(refused::IoUring::new()),
        "to-host" => Box::new(demand::ToHost::new(dir)),
        "waiting" => Box::new(demand::Waiting::new()),
        "linked" => Box::new(demand::Linked::new(dir)),
        "closable" => Box::new(demand::Closable::new()),
        "cgroup" => Box::new(demand::Cgroup::new()),
        "outside" => Box::new(refused::Outside::new(dir)),
        other => panic!("no part {other}"),
    }
}

/// Makes the parts, `all` of them or those named, prints "ready" and answers until it is told to end.
pub fn run(args: &[String]) -> ! {
    let dir = PathBuf::from(&args[0]);
    let names = args[1..].iter().map(String::as_str);
    let names = names.flat_map(|name| if name == "all" { ALL.to_vec() } else { vec![name] });
    let mut parts: Vec<(String, Box<dyn Part>)> = names.map(|name| (name.to_owned(), make(name, &dir))).collect();
    let mut clock = Clock::new();
    let mut faults = Vec::new();
    let mut rounds = 0_u64;
    say("ready");
    fs::write(dir.join("ready"), "").expect("say that all is made");
    loop {
        rounds += 1;
        let checks = parts.iter_mut().map(|(name, part)| (name.as_str(), part.check()));
        for (name, result) in checks.chain([("clock", clock.check())]) {
            if let Err(fault) = result
                && faults.len() < 20
            {
                faults.push(format!("round {rounds}: {name}: {fault}"));
            }
        }
        let query = dir.join("query");
        if let Ok(text) = fs::read_to_string(&query) {
            let _ = fs::remove_file(&query);
            if let Some(code) = text.strip_prefix("exit ") {
                exit(code.parse().expect("a number"));
            }
            let mut same = Map::new();
            let mut grows = Map::new();
            grows.insert("rounds".into(), json!(rounds));
            grows.insert("clock".into(), json!(clock.last));
            for (name, part) in &mut parts {
                same.insert(name.clone(), part.same());
                if let Value::Object(numbers) = part.grows() {
                    grows.extend(numbers.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
                }
            }
            let answer = json!({ "same": same, "grows": grows, "faults": faults });
            // At once, so that no half of it is read.
            fs::write(dir.join("answer.new"), answer.to_string()).expect("write the answer");
            fs::rename(dir.join("answer.new"), dir.join("answer")).expect("rename the answer");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// CLOCK_MONOTONIC, in milliseconds.
struct Clock {
    last: u64,
}

impl Clock {
    fn new() -> Self {
        Clock { last: sys::now() }
    }

    fn check(&mut self) -> Result<(), String> {
        let before = std::mem::replace(&mut self.last, sys::now());
        if self.last < before {
            return Err(format!("the clock went back from {before} to {}", self.last));
        }
        // Much longer than a busy machine keeps a process waiting, much shorter than the tests set the clock apart.
        if self.last - before > 60_000 {
            return Err(format!("the clock jumped from {before} to {}", self.last));
        }
        Ok(())
    }
}
