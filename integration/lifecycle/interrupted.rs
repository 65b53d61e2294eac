//! A signal while a container is being made: all or nothing, as with any other failure.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Bundle, Cmd, alive, eventually};

const SIGNALS: [(i32, &str); 3] = [(libc::SIGINT, "INT"), (libc::SIGTERM, "TERM"), (libc::SIGHUP, "HUP")];

/// A bundle that waits in a hook of that kind. `$OUT` is "hooks.log", to which poststop writes too.
fn staying_at(point: &str) -> Bundle {
    Bundle::new()
        .args(["probe", "sleep"])
        .with_host_hook("poststop", "echo poststop >$OUT.stop")
        .with_host_hook(point, "cat >/dev/null; echo $$ >$OUT; exec sleep 100")
}

fn hook_pid(bundle: &Bundle) -> i32 {
    let log = bundle.path("hooks.log");
    let pid = || fs::read_to_string(&log).unwrap_or_default().trim().parse().ok();
    eventually("the hook runs", || pid().is_some());
    pid().unwrap()
}

/// Interrupts a command at its hook, and looks for what is left.
fn interrupt(bundle: &Bundle, arguments: &[&str], (signal, name): (i32, &str)) {
    let id = bundle.fresh_id();
    let dir = bundle.dir().to_str().unwrap();
    let pid_file = bundle.path("pid");
    let more = ["--bundle", dir, "--pid-file", pid_file.to_str().unwrap(), &id];
    let running = bundle.orlop([arguments, &more].concat()).spawn();
    let hook = hook_pid(bundle);
    let begun = Instant::now();
    running.signal(signal);
    let output = running.wait();
    assert!(begun.elapsed() < Duration::from_secs(5), "{output:#?}");
    assert_eq!(output.code, 128 + signal, "{output:#?}");
    assert!(
        output.stderr.contains(&format!("interrupted by SIG{name}")),
        "{output:#?}"
    );
    eventually("the hook dies", || !alive(hook));
    assert!(bundle.path("hooks.log.stop").exists(), "no poststop hook");
    assert!(!pid_file.exists());
    bundle.assert_clean();
    fs::remove_file(bundle.path("hooks.log")).unwrap();
    fs::remove_file(bundle.path("hooks.log.stop")).unwrap();
}

#[test]
fn create_removes_what_it_made() {
    for point in ["prestart", "createRuntime"] {
        let bundle = staying_at(point);
        for signal in SIGNALS {
            interrupt(&bundle, &["create"], signal);
        }
    }
}

#[test]
fn create_removes_what_it_made_while_init_runs() {
    // In the host's PID namespace, so that the hook can report its PID.
    let bundle = staying_at("createContainer").without_namespace("pid");
    for signal in SIGNALS {
        interrupt(&bundle, &["create"], signal);
    }
}

#[test]
fn run_removes_what_it_made() {
    for point in ["createRuntime", "poststart"] {
        let bundle = staying_at(point);
        for signal in SIGNALS {
            interrupt(&bundle, &["run"], signal);
            interrupt(&bundle, &["run", "--detach"], signal);
        }
    }
}

#[test]
fn an_ignored_signal_does_not_interrupt() {
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .with_host_hook("createRuntime", "echo $$ >$OUT; exec sleep 1");
    let id = bundle.fresh_id();
    let create = bundle.create_cmd(&id, &[]).through_shell("trap '' HUP INT").spawn();
    hook_pid(&bundle);
    create.signal(libc::SIGHUP);
    create.signal(libc::SIGINT);
    create.wait().ok();
    assert_eq!(bundle.orlop(["state", &id]).run().json()["status"], "created");
}

#[test]
fn init_and_hooks_have_no_signal_blocked() {
    let bundle = Bundle::new()
        .args(["sh", "-c", "grep SigBlk /proc/self/status"])
        .with_host_hook("createRuntime", "grep SigBlk /proc/self/status >$OUT");
    fs::hard_link(bundle.inside("/bin/busybox"), bundle.inside("/bin/grep")).unwrap();
    let none = "SigBlk:\t0000000000000000\n";
    assert_eq!(bundle.run().ok().stdout, none);
    assert_eq!(fs::read_to_string(bundle.path("hooks.log")).unwrap(), none);
}

#[test]
fn the_exit_code_survives_a_failing_removal() {
    let bundle = Bundle::new().sh("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done");
    let id = bundle.fresh_id();
    let dir = bundle.dir().to_str().unwrap();
    let mut running = bundle.orlop(["run", "--bundle", dir, &id]).spawn();
    running.until("up");
    // The runtime creates no directories there, so the removal fails at it.
    let odd = bundle.state_root().join(&id).join("odd");
    fs::create_dir(&odd).unwrap();
    running.signal(libc::SIGTERM);
    let output = running.wait();
    assert_eq!(output.code, 7, "{output:#?}");
    assert!(output.stderr.contains("was not deleted"), "{output:#?}");
    fs::remove_dir(&odd).unwrap();
    bundle.orlop(["delete", &id]).run().ok();
}

#[test]
fn create_and_delete_by_force_at_once_leave_all_or_nothing() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    for round in 0..20 {
        let id = bundle.fresh_id();
        let create = bundle.create_cmd(&id, &[]).spawn();
        // A later moment in each round, not a wait for something.
        std::thread::sleep(Duration::from_micros(300 * round));
        bundle.orlop(["delete", "--force", &id]).run().ok();
        if create.wait().code == 0 && bundle.state_root().join(&id).exists() {
            assert_eq!(
                bundle.orlop(["state", &id]).run().ok().json()["status"],
                json!("created")
            );
            bundle.orlop(["delete", "--force", &id]).run().ok();
        }
        bundle.assert_clean();
    }
}

/// A hook that does not end does not prevent the deletion of its container.
#[test]
fn delete_by_force_does_not_wait_for_a_hook_of_create() {
    for point in ["prestart", "createRuntime", "createContainer"] {
        let bundle = staying_at(point).without_namespace("pid");
        let id = bundle.fresh_id();
        let create = bundle.create_cmd(&id, &[]).spawn();
        let hook = hook_pid(&bundle);
        let begun = Instant::now();
        bundle.orlop(["delete", "--force", &id]).run().ok();
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{point}: {:?}",
            begun.elapsed()
        );
        create.wait().fails_for("deleted while it was being created");
        eventually("the hook dies", || !alive(hook));
        assert!(bundle.path("hooks.log.stop").exists(), "{point}: no poststop hook");
        bundle.assert_clean();
    }
}

#[test]
fn a_failure_without_free_descriptors_leaves_nothing() {
    let bundle = Bundle::new().args(["true"]);
    let mut failed = 0;
    for flags in [&["run"][..], &["run", "--detach"], &["create"]] {
        for descriptors in 4..16 {
            let id = bundle.fresh_id();
            let arguments = [flags, &["--bundle", bundle.dir().to_str().unwrap(), &id]].concat();
            let limit = format!("ulimit -n {descriptors}");
            if bundle.orlop(arguments).through_shell(&limit).run().code == 0 {
                bundle.orlop(["delete", "--force", &id]).run().ok();
            } else {
                failed += 1;
            }
            bundle.assert_clean();
        }
    }
    assert!(failed > 3, "{failed}");
}

/// The kernel keeps no exit code for a process that ignores SIGCHLD, and the setting is inherited (signal(7), waitpid(2)).
#[test]
fn a_caller_that_ignores_the_end_of_its_children_gets_the_exit_code() {
    let ignoring = |cmd: Cmd| {
        cmd.before_exec(|| {
            // SAFETY: SIG_IGN runs no code.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            Ok(())
        })
    };
    let bundle = Bundle::new()
        .args(["probe", "exit", "7"])
        .with_host_hook("createRuntime", "true")
        .with_host_hook("createContainer", "true")
        .with_host_hook("poststop", "echo ran >>\"$OUT\"");
    let output = ignoring(bundle.run_cmd(&[])).run();
    assert_eq!((output.code, output.stderr.as_str()), (7, ""), "{output:#?}");
    assert_eq!(std::fs::read_to_string(bundle.path("hooks.log")).unwrap(), "ran\n");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let exec = ignoring(bundle.orlop(["exec", &c.id, "probe", "exit", "5"])).run();
    assert_eq!(exec.code, 5, "{exec:#?}");
    ignoring(bundle.orlop(["ps", &c.id])).run().ok();
}
