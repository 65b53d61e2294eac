//! How many system calls of each kind the verbs make, in the runtime and, until it executes its program, in init:
//! `budgets.txt`. What waits may ask more or less often, so those calls are left out.

mod costs;
mod meanwhile;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::harness::exec::idle;
use crate::harness::golden::{OWN_TEXTS, own_texts};
use crate::harness::host::{has_strace, kernel_version};
use crate::harness::seccomp;
use crate::harness::users::remapped;
use crate::harness::{Bundle, Cmd};
use crate::need;

/// The case, the process and the call, and how many.
type Counts = BTreeMap<(String, &'static str, String), usize>;

const HEAD: &str =
    "# System calls: case, process, call, count. UPDATE_GOLDEN=1 writes this file; see CONTRIBUTING.md.\n";

/// Made as often as a wait takes turns, or a signal arrives.
const WAITS: [&str; 7] = [
    "poll",
    "ppoll",
    "sched_yield",
    "futex",
    "restart_syscall",
    "wait4",
    "waitid",
];

/// Each measurement is taken this often, and the smallest counts: a disturbance only adds.
const ROUNDS: usize = 3;

/// The comment that names the kernel. Where another one lacks a call, the runtime makes others.
fn kernel() -> String {
    let (major, minor) = kernel_version();
    format!("# Linux {major}.{minor}")
}

fn table() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/budgets/budgets.txt")
}

/// The text of a file with numbers. None if it is to be written anew.
fn written_down(file: &Path) -> Option<String> {
    match std::env::var_os("UPDATE_GOLDEN") {
        Some(_) => None,
        None => Some(fs::read_to_string(file).expect("the numbers that are written down")),
    }
}

/// A text to be written is of this kernel, too.
fn is_of_this_kernel(written_down: &Option<String>) -> bool {
    let text = written_down.as_deref();
    text.is_none_or(|text| text.lines().any(|line| line == kernel()))
}

/// The number at the end of each line, by what is before it.
fn numbers(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').expect("a number at the end"))
        .map(|(what, number)| (what.to_owned(), number.parse().expect("a number")))
        .collect()
}

/// The calls in the log of `strace -f`, of each process until it executes a program. The first process is the runtime, which
/// may start itself again.
fn counted(case: &str, log: &str) -> Counts {
    let mut counts = Counts::new();
    let mut first = None;
    let mut gone = Vec::new();
    for line in log.lines() {
        let (pid, call) = line.split_once(' ').expect("a pid and a call");
        let runtime = *first.get_or_insert(pid) == pid;
        let Some((name, _)) = call.trim_start().split_once('(') else {
            continue; // the end of a process, or of a call that is counted already
        };
        // One for each time that the runtime is woken by signals, several of which may arrive together.
        let signals = name == "read" && call.contains("[signalfd]");
        if signals || gone.contains(&pid) || name.starts_with('<') || WAITS.contains(&name) {
            continue;
        }
        if !runtime && name.starts_with("execve") {
            gone.push(pid);
        }
        let process = if runtime { "runtime" } else { "init" };
        *counts.entry((case.to_owned(), process, name.to_owned())).or_default() += 1;
    }
    counts
}

/// The log of strace(1) of a command, each line with a pid; with its children if it waits for them.
fn log_of(bundle: &Bundle, follow: bool, cmd: Cmd) -> String {
    let log = bundle.path("calls");
    let flags = if follow { "-f" } else { "" };
    let words = format!(
        "exec strace {flags} -y -qq -e signal=none -o {} \"$0\" \"$@\"",
        log.display()
    );
    cmd.through_shell(&words).run().ok();
    let text = fs::read_to_string(&log).expect("the log of strace");
    if follow {
        text
    } else {
        text.lines().map(|line| format!("0 {line}\n")).collect()
    }
}

fn calls(bundle: &Bundle, case: &str, follow: bool, cmd: Cmd) -> Counts {
    counted(case, &log_of(bundle, follow, cmd))
}

fn measure() -> Counts {
    let mut found = Counts::new();
    let runs = [
        ("run", Bundle::new().args(["true"])),
        (
            "run-docker",
            Bundle::new()
                .args(["true"])
                .edit(|c| c["linux"]["seccomp"] = seccomp::docker()),
        ),
        ("run-userns", remapped(Bundle::new().args(["true"]))),
    ];
    for (case, bundle) in runs {
        found.extend(calls(&bundle, case, true, bundle.run_cmd(&[])));
    }
    let bundle = idle();
    let id = bundle.fresh_id();
    found.extend(calls(&bundle, "create", false, bundle.create_cmd(&id, &[])));
    found.extend(calls(&bundle, "start", false, bundle.orlop(["start", &id])));
    found.extend(calls(&bundle, "state", false, bundle.orlop(["state", &id])));
    found.extend(calls(&bundle, "exec", true, bundle.orlop(["exec", &id, "true"])));
    found.extend(calls(&bundle, "kill", false, bundle.orlop(["kill", &id, "0"])));
    found.extend(calls(
        &bundle,
        "delete",
        false,
        bundle.orlop(["delete", "--force", &id]),
    ));
    found
}

#[test]
fn no_verb_makes_more_system_calls_than_are_written_down() {
    need!(own_texts(), OWN_TEXTS);
    need!(has_strace(), "strace");
    let wanted = written_down(&table());
    need!(
        is_of_this_kernel(&wanted),
        "the kernel of integration/budgets/budgets.txt"
    );
    let rounds: Vec<Counts> = (0..ROUNDS).map(|_| measure()).collect();
    let smallest = |key| {
        rounds
            .iter()
            .map(|round| round.get(key).copied().unwrap_or(0))
            .min()
            .unwrap_or(0)
    };
    let found: BTreeMap<_, _> = rounds
        .iter()
        .flat_map(Counts::keys)
        .map(|key| (key, smallest(key)))
        .collect();
    let mut text = format!("{HEAD}{}\n", kernel());
    for ((case, process, call), count) in found.iter().filter(|(_, count)| **count > 0) {
        writeln!(text, "{case} {process} {call} {count}").unwrap();
    }
    let Some(wanted) = wanted else {
        fs::write(table(), text).expect("write the budgets");
        return;
    };
    let (budgets, found) = (numbers(&wanted), numbers(&text));
    let mut wrong = String::new();
    for what in budgets
        .keys()
        .chain(found.keys().filter(|key| !budgets.contains_key(*key)))
    {
        let of = |map: &BTreeMap<String, u64>| map.get(what).copied().unwrap_or(0);
        let (budget, now) = (of(&budgets), of(&found));
        if now > budget {
            writeln!(
                wrong,
                "{what}: {now}, {} more than the budget of {budget}",
                now - budget
            )
            .unwrap();
        } else if now < budget {
            writeln!(
                wrong,
                "{what}: {now}, {} less: lower the budget of {budget}",
                budget - now
            )
            .unwrap();
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong}`strace -f orlop ...` shows where; UPDATE_GOLDEN=1 writes {}",
        table().display()
    );
}
