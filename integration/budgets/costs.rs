//! What the verbs use besides system calls: page faults, context switches, memory, processes, and bytes read and written. The most of
//! each is in `costs.txt`; these are upper bounds, because a busy machine adds to most of them.
//!
//! Page faults and memory depend on the pages of the program that are touched, so only the profile `dist` is measured, as
//! a copy in a tmpfs: how many pages a fault maps at once depends on how the page cache holds the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::exec::idle;
use crate::harness::golden::{AS_SHIPPED, OWN_TEXTS, is_as_shipped, own_texts};
use crate::harness::host::has_strace;
use crate::harness::seccomp;
use crate::harness::users::remapped;
use crate::harness::{Bundle, Cmd, runtime};
use crate::need;

use super::{is_of_this_kernel, kernel, log_of, numbers, written_down};

const HEAD: &str = "# The most of each: case, cost, limit. UPDATE_GOLDEN=1 writes this file; see CONTRIBUTING.md.\n";

/// The case and the cost.
type Costs = BTreeMap<(&'static str, &'static str), u64>;

/// A disturbance only adds, so the smallest of so many measurements counts.
const ROUNDS: usize = 15;

/// What is added to a measurement to make a limit, in percent.
const MARGIN: u64 = 3;

fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/budgets/costs.txt")
}

/// Programs to measure with: `usage`, and a copy of the runtime.
struct Tools(PathBuf);

impl Tools {
    fn new(directory: &Path) -> Self {
        let usage = directory.join("usage");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/budgets/usage.c");
        let status = Command::new("cc")
            .args(["-O2", "-static", "-o"])
            .args([&usage, &source])
            .status();
        assert!(status.expect("run cc").success(), "compile {}", source.display());
        let copy = directory.join("orlop");
        fs::copy(runtime(), copy).expect("copy the runtime");
        Tools(directory.to_owned())
    }

    /// Runs a command so often, each made anew, and notes what it used.
    fn measure(&self, costs: &mut Costs, case: &'static str, mut cmd: impl FnMut() -> Cmd) {
        let out = self.0.join(case);
        let (usage, copy) = (self.0.join("usage"), self.0.join("orlop"));
        for _ in 0..ROUNDS {
            let words = [&usage, &out, &copy].map(|path| path.to_str().expect("a UTF-8 path"));
            cmd()
                .through_shell(&format!("exec {} \"$@\"", words.join(" ")))
                .run()
                .ok();
        }
        let text = fs::read_to_string(&out).expect("what usage wrote");
        let rounds = text
            .lines()
            .map(|line| line.split(' ').map(|word| word.parse().expect("a number")));
        for round in rounds {
            for (cost, value) in ["page-faults", "context-switches", "peak-memory-kib"]
                .into_iter()
                .zip(round)
            {
                let least = costs.entry((case, cost)).or_insert(value);
                *least = value.min(*least);
            }
        }
    }
}

/// Processes, and bytes read from and written to files, from a log of strace; up to the execve of the container's program.
fn traffic(costs: &mut Costs, case: &'static str, log: &str) {
    let mut processes = BTreeSet::new();
    let mut gone = BTreeSet::new();
    let (mut read, mut written) = (0, 0);
    for line in log.lines() {
        let (pid, call) = line.split_once(' ').expect("a pid and a call");
        let call = call.trim_start();
        let is_first = processes.is_empty() || processes.first() == Some(&pid);
        processes.insert(pid);
        let name = call
            .trim_start_matches("<... ")
            .split(['(', ' '])
            .next()
            .unwrap_or_default();
        if name == "execve" && !is_first {
            gone.insert(pid);
        }
        let result = call
            .rsplit_once(" = ")
            .and_then(|(_, result)| result.split(' ').next()?.parse::<u64>().ok());
        // A signal may be read at any time.
        let counts = !gone.contains(pid) && !call.contains("[signalfd]");
        if let (Some(bytes), true) = (result, counts) {
            match name {
                "read" | "pread64" | "getdents64" => read += bytes,
                "write" | "pwrite64" => written += bytes,
                _ => {}
            }
        }
    }
    costs.insert((case, "processes"), processes.len() as u64);
    costs.insert((case, "bytes-read"), read);
    costs.insert((case, "bytes-written"), written);
}

fn measure() -> Costs {
    let mut costs = Costs::new();
    let run = Bundle::new().args(["true"]);
    let tools = Tools::new(&run.path("output"));
    tools.measure(&mut costs, "run", || run.run_cmd(&[]));
    traffic(&mut costs, "run", &log_of(&run, true, run.run_cmd(&[])));
    let docker = Bundle::new()
        .args(["true"])
        .edit(|c| c["linux"]["seccomp"] = seccomp::docker());
    tools.measure(&mut costs, "run-docker", || docker.run_cmd(&[]));
    let userns = remapped(Bundle::new().args(["true"]));
    tools.measure(&mut costs, "run-userns", || userns.run_cmd(&[]));
    traffic(&mut costs, "run-userns", &log_of(&userns, true, userns.run_cmd(&[])));
    let idle = idle();
    let id = idle.fresh_id();
    idle.create_cmd(&id, &[]).run().ok();
    idle.orlop(["start", &id]).run().ok();
    tools.measure(&mut costs, "exec", || idle.orlop(["exec", &id, "true"]));
    traffic(
        &mut costs,
        "exec",
        &log_of(&idle, true, idle.orlop(["exec", &id, "true"])),
    );
    tools.measure(&mut costs, "state", || idle.orlop(["state", &id]));
    traffic(&mut costs, "state", &log_of(&idle, true, idle.orlop(["state", &id])));
    idle.orlop(["delete", "--force", &id]).run().ok();
    costs
}

/// Processes are counted, so their limit is what was found.
fn limit(cost: &str, found: u64) -> u64 {
    match cost {
        "processes" => found,
        // A fault maps a file's pages by 64 KiB, so a function that moves a little may add twice that.
        "peak-memory-kib" => found + 128,
        // Whether a process has to sleep until another one answers depends on how fast the other one is.
        "context-switches" => found + 2,
        _ => found + (found * MARGIN).div_ceil(100),
    }
}

#[test]
fn no_verb_uses_more_than_is_written_down() {
    need!(own_texts(), OWN_TEXTS);
    need!(has_strace(), "strace");
    need!(is_as_shipped(), AS_SHIPPED);
    let wanted = written_down(&table());
    need!(
        is_of_this_kernel(&wanted),
        "the kernel of integration/budgets/costs.txt"
    );
    let found = measure();
    let Some(wanted) = wanted else {
        let mut text = format!("{HEAD}{}\n", kernel());
        for ((case, cost), found) in found {
            writeln!(text, "{case} {cost} {}", limit(cost, found)).unwrap();
        }
        fs::write(table(), text).expect("write the limits");
        return;
    };
    let limits = numbers(&wanted);
    let mut wrong = String::new();
    for ((case, cost), found) in &found {
        match limits.get(&format!("{case} {cost}")) {
            Some(limit) if found <= limit => {}
            Some(limit) => writeln!(wrong, "{case} {cost}: {found}, limit {limit}").unwrap(),
            None => writeln!(wrong, "{case} {cost}: {found}, no limit").unwrap(),
        }
    }
    assert_eq!(
        limits.len(),
        found.len(),
        "{} lists what is not measured",
        table().display()
    );
    assert!(
        wrong.is_empty(),
        "{wrong}`perf record -e page-faults -c 1 -d orlop ...` and `strace -f` show where; integration/bench/order puts new functions \
         beside those that are used with them; UPDATE_GOLDEN=1 writes {}",
        table().display()
    );
}
