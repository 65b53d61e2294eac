//! `list` of many containers, which are copies of one container's state: they share one process and one cgroup.

use std::fs;

use crate::harness::host::has_strace;
use crate::harness::{Bundle, Cmd, Copies};
use crate::need;

/// So many that several threads read them.
const MANY: usize = 400;

fn list(copies: &Copies) -> Cmd {
    copies.container.bundle.orlop(["list", "--format", "json"])
}

#[track_caller]
fn are_listed(copies: &Copies, cmd: Cmd) {
    let listed = cmd.run().ok().json();
    let mut ids: Vec<&str> = copies.ids.iter().map(String::as_str).collect();
    ids.push(&copies.container.id);
    let found: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["id"].as_str().unwrap())
        .collect();
    assert_eq!(found, ids);
    let running = |c: &serde_json::Value| c["status"] == "running" && c["pid"] == copies.container.pid();
    assert!(listed.as_array().unwrap().iter().all(running), "{listed}");
}

#[test]
fn many_containers_are_listed_in_order() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let copies = Copies::of(&bundle, MANY);
    are_listed(&copies, list(&copies));
}

/// With one processor the work is not shared.
#[test]
fn many_containers_are_read_by_several_threads() {
    need!(has_strace(), "strace");
    let processors = std::thread::available_parallelism().unwrap().get();
    need!(processors > 1, "a second processor");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let copies = Copies::of(&bundle, MANY);
    let log = bundle.path("threads");
    let traced = |cmd: Cmd| {
        let words = format!(
            "exec strace -f -qq -e trace=clone3,clone -o {} \"$0\" \"$@\"",
            log.display()
        );
        cmd.through_shell(&words)
    };
    are_listed(&copies, traced(list(&copies)));
    let begun = fs::read_to_string(&log).unwrap().matches("CLONE_THREAD").count();
    assert!((1..processors.min(4)).contains(&begun), "{begun} threads");
}

#[test]
fn list_works_when_no_thread_can_be_started() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let copies = Copies::of(&bundle, MANY);
    let words = "exec strace -qq -o /dev/null -e inject=clone3,clone:error=EAGAIN \"$0\" \"$@\"";
    are_listed(&copies, list(&copies).through_shell(words));
}
