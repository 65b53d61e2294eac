//! `kill`: signals, their spellings, and which processes get them.

use super::several::{sleeping, started, until_stopped};
use crate::harness::host::kill;
use crate::harness::{Bundle, eventually};

#[test]
fn kill_takes_names_numbers_and_defaults_to_term() {
    let bundle = Bundle::new().args(["probe", "signals"]);
    let c = bundle.start();
    c.until("ready");
    for (signal, name) in [("USR1", "USR1"), ("SIGUSR2", "USR2"), ("1", "HUP"), ("2", "INT")] {
        c.kill(signal);
        c.until(name);
    }
    assert_eq!(
        c.status(),
        "running",
        "a signal that the program handles does not stop the container"
    );
    for wrong in ["NOPE", "SIGNOPE", "999", "-1", "", "TERM "] {
        c.try_kill(&["--", wrong]).fails_for("unknown signal");
    }
    assert!(!c.stdout().contains("TERM"));
    c.try_kill(&[]).ok();
    c.until("TERM");
    c.until_stopped();
}

#[test]
fn kill_of_a_created_container_works() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.create();
    c.kill("KILL");
    c.until_stopped();
    c.try_start().fails_for("cannot start a container that has stopped");
    c.delete();
}

#[test]
fn kill_of_a_stopped_container_is_refused() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    c.try_kill(&["TERM"]).fails_with("not running");
    c.try_kill(&["KILL"]).fails_with("not running");
    c.delete();
}

#[test]
fn kill_all_reaches_every_process() {
    let bundle = Bundle::new().args(["probe", "fork-tree", "5"]).without_namespace("pid");
    let c = bundle.start();
    c.until("ready");
    bundle.orlop(["kill", "--all", &c.id, "KILL"]).run().ok();
    c.until_stopped();
    eventually("every process of the container dies", || {
        bundle.leaks().iter().all(|leak| !leak.starts_with("process"))
    });
    c.delete();
}

#[test]
fn kill_0_tests_whether_the_container_runs() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    c.try_kill(&["0"]).ok();
    c.kill("KILL");
    c.until_stopped();
    c.try_kill(&["0"]).fails_with("container not running");
    bundle.orlop(["kill", "--all", &c.id, "0"]).run().ok();
    c.delete();
}

/// The kernel drops a signal without a handler for the first process of a pid namespace.
#[test]
fn a_signal_ends_a_created_container() {
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let bundle = Bundle::new().args(["probe", "sleep"]);
        let c = bundle.create();
        c.kill(signal);
        c.until_stopped();
        c.delete();
    }
}

#[test]
fn processes_that_outlive_init_can_be_killed() {
    let bundle = Bundle::new().args(["probe", "fork-tree", "3"]).without_namespace("pid");
    let c = bundle.start();
    c.until("ready");
    kill(c.pid());
    c.until_stopped();
    c.try_kill(&["TERM"]).fails_with("container not running");
    c.try_kill(&["KILL"]).ok();
    eventually("nothing is left to kill", || c.try_kill(&["KILL"]).code != 0);
    c.delete();
}

#[test]
fn the_signal_may_be_anywhere_on_the_command_line() {
    let bundle = sleeping();
    for line in ["ID -9", "-KILL ID", "-s kill ID", "ID SIGKILL"] {
        let id = started(&bundle);
        let words = line.split(' ').map(|word| if word == "ID" { &id } else { word });
        let line = std::iter::once("kill").chain(words);
        bundle.orlop(line).run().ok();
        until_stopped(&bundle, &id);
        bundle.orlop(["delete", &id]).run().ok();
    }
}
