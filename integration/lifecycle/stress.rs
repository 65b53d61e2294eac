//! Concurrent calls and killed runtimes: whatever calls coincide on the same IDs, and wherever a runtime is killed,
//! no call hangs or panics, and `delete --force` finds everything that is left on the host.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::harness::users::remapped;
use crate::harness::{Bundle, Holder, Running, eventually};

/// Random numbers, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

const AT_ONCE: usize = 8;

#[test]
fn random_calls_in_parallel_leave_nothing_and_never_hang() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let dir = bundle.dir().to_str().unwrap().to_owned();
    let ids: Vec<String> = (0..3).map(|_| bundle.fresh_id()).collect();
    let mut dice = Dice(20_261_121);
    let mut running = VecDeque::new();
    let mut succeeded = std::collections::BTreeMap::new();
    let mut finish = |(verb, call): (&'static str, Running)| {
        let output = call.wait();
        // 101 and 134 are what a panic ends with; 128 and more a signal, but for the program of `exec`.
        assert!(
            matches!(output.code, 0 | 1 | 255) || verb == "exec" && matches!(output.code, 137 | 143),
            "{output:#?}"
        );
        assert!(!output.stderr.contains("panicked"), "{output:#?}");
        if output.code == 0 {
            *succeeded.entry(verb).or_insert(0) += 1;
        } else if verb != "exec" {
            assert!(!output.stderr.trim().is_empty(), "{output:#?}");
        }
    };
    for _ in 0..240 {
        let id = ids[dice.below(ids.len() as u64) as usize].as_str();
        let (verb, arguments): (&'static str, Vec<&str>) = match dice.below(16) {
            0..=2 => ("create", vec!["create", "--bundle", &dir, id]),
            3..=5 => ("start", vec!["start", id]),
            6 => ("run", vec!["run", "--detach", "--bundle", &dir, id]),
            7 => ("kill", vec!["kill", id, "KILL"]),
            8 => ("kill", vec!["kill", "--all", id, "TERM"]),
            9 => ("delete", vec!["delete", id]),
            10 => ("delete by force", vec!["delete", "--force", id]),
            11 => ("state", vec!["state", id]),
            12 => ("list", vec!["list"]),
            13 => ("exec", vec!["exec", id, "true"]),
            14 => ("pause", vec!["pause", id]),
            _ => ("resume", vec!["resume", id]),
        };
        running.push_back((verb, bundle.orlop(&arguments).spawn()));
        if running.len() == AT_ONCE {
            finish(running.pop_front().unwrap());
        }
    }
    running.into_iter().for_each(&mut finish);
    // Some calls must have succeeded, or the test proves nothing.
    for verb in ["create", "start", "kill", "delete by force", "state", "list"] {
        assert!(succeeded.contains_key(verb), "{verb} never succeeded: {succeeded:?}");
    }
    for id in &ids {
        bundle.orlop(["delete", "--force", id]).run().ok();
    }
    bundle.assert_clean();
}

/// Deleting by force is never an error, even if another call uses or removes the same ID meanwhile.
#[test]
fn creates_and_deletes_by_force_of_one_id_at_once() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let id = bundle.fresh_id();
    for round in 0..15 {
        let calls: Vec<_> = (0..6)
            .map(|number| match (number + round) % 3 {
                0 => (false, bundle.create_cmd(&id, &[]).spawn()),
                _ => (true, bundle.orlop(["delete", "--force", &id]).spawn()),
            })
            .collect();
        for (delete, call) in calls {
            let output = call.wait();
            assert!(output.code == 0 || !delete && output.code == 1, "{output:#?}");
        }
    }
    bundle.orlop(["delete", "--force", &id]).run().ok();
    bundle.assert_clean();
}

/// The current duration of a call.
fn duration(bundle: &Bundle, arguments: &[&str]) -> Duration {
    let times = (0..3).map(|_| {
        let id = bundle.fresh_id();
        let begun = Instant::now();
        bundle.orlop([arguments, &[id.as_str()]].concat()).run().ok();
        let time = begun.elapsed();
        bundle.orlop(["delete", "--force", &id]).run().ok();
        time
    });
    times.min().unwrap()
}

/// Kills the runtime at moments spread over its whole run, and deletes what it left.
fn killed_anywhere(bundle: &Bundle, verb: &[&str]) {
    let arguments = [verb, &["--bundle", bundle.dir().to_str().unwrap()]].concat();
    let whole = duration(bundle, &arguments);
    let mut cut_short = 0;
    // On a busy machine it may end before it is killed.
    for round in (0..24).cycle().take(120) {
        if cut_short == 20 {
            return;
        }
        let id = bundle.fresh_id();
        let call = bundle.orlop([&arguments[..], &[id.as_str()]].concat()).spawn();
        std::thread::sleep(whole * round / 24);
        call.signal(libc::SIGKILL);
        cut_short += usize::from(call.wait().code == 128 + libc::SIGKILL);
        bundle.orlop(["delete", "--force", &id]).run().ok();
        bundle.assert_clean();
    }
    panic!("only {cut_short} calls of {verb:?} were cut short");
}

#[test]
fn a_create_killed_anywhere_is_deleted_without_a_trace() {
    killed_anywhere(&Bundle::new().args(["probe", "sleep"]), &["create"]);
}

#[test]
fn a_run_killed_anywhere_is_deleted_without_a_trace() {
    killed_anywhere(&Bundle::new().args(["probe", "sleep"]), &["run", "--detach"]);
}

#[test]
fn a_create_with_a_user_namespace_killed_anywhere_is_deleted_without_a_trace() {
    killed_anywhere(&remapped(Bundle::new().args(["probe", "sleep"])), &["create"]);
}

#[test]
fn a_create_with_an_intermediate_process_killed_anywhere_is_deleted_without_a_trace() {
    let holder = Holder::new(libc::CLONE_NEWIPC);
    let bundle = Bundle::new().args(["probe", "sleep"]).without_mount("/dev/mqueue");
    let bundle = remapped(bundle).edit(|c| {
        let mut namespaces = c["linux"]["namespaces"].as_array_mut().unwrap().iter_mut();
        namespaces.find(|namespace| namespace["type"] == "ipc").unwrap()["path"] = holder.path("ipc").into();
    });
    killed_anywhere(&bundle, &["create"]);
}

#[test]
fn a_create_at_its_hooks_killed_anywhere_is_deleted_without_a_trace() {
    let path = format!("/{}-parent/below", Bundle::new().fresh_id());
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .with_host_hook("createRuntime", "sleep 0.01")
        .with_host_hook("createContainer", "sleep 0.01")
        .edit(|c| c["linux"]["cgroupsPath"] = path.into());
    killed_anywhere(&bundle, &["create"]);
}

/// The same for a process that joins: nothing of it stays, and the container goes on.
#[test]
fn an_exec_killed_anywhere_leaves_the_container_as_it_was() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    c.until("ready");
    let processes = || {
        let out = bundle.orlop(["ps", "--format", "json", &c.id]).run().ok();
        out.json().as_array().unwrap().len()
    };
    let begun = Instant::now();
    bundle.orlop(["exec", &c.id, "true"]).run().ok();
    let whole = begun.elapsed();
    for round in 0..24 {
        // The program outlives a runtime that has started it, so the test uses one that ends.
        let call = bundle.orlop(["exec", &c.id, "true"]).spawn();
        // A later moment in each round, not a wait for something.
        std::thread::sleep(whole * round / 24);
        call.signal(libc::SIGKILL);
        call.wait();
        eventually("nothing of the exec stays", || processes() == 1);
        assert_eq!(c.status(), "running");
    }
}
