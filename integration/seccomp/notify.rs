//! Filters that notify: the agent that decides, and what happens without one.

use std::fs;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::harness::exec::{exec_cmd, idle};
use crate::harness::seccomp::{Agent, answers, denying, notifying, with, with_privileges};
use crate::harness::{Bundle, receive};

#[test]
fn the_agent_gets_the_state_and_decides() {
    for no_new in [true, false] {
        let bundle = Bundle::new();
        let agent = Agent::listen(&bundle);
        let bundle = with_privileges(notifying(bundle, &agent, &["mkdir"]), no_new);
        let bundle = bundle.edit(|c| c["annotations"] = json!({ "key": "word" }));
        let got = answers(bundle, &["syscall,83", "syscall,110"]);
        assert_eq!(got, [json!("EXDEV"), json!(0)]);
        let handed = agent.next();
        assert!(handed.closed);
        let state = handed.state;
        assert_eq!(state["fds"], json!(["seccompFd"]));
        assert_eq!(state["metadata"], "some words");
        assert_eq!(state["ociVersion"], "1.3.0");
        assert_eq!(state["pid"], state["state"]["pid"]);
        assert!(state["pid"].as_i64() > Some(1));
        assert_eq!(state["state"]["status"], "creating");
        assert_eq!(state["state"]["annotations"], json!({ "key": "word" }));
        for key in ["ociVersion", "id", "bundle"] {
            assert!(state["state"][key].is_string(), "{key}: {state}");
        }
    }
}

/// The listener is a descriptor, and sending it takes a thread: both come before the limits are set.
#[test]
fn the_tightest_limits_do_not_prevent_a_listener() {
    for limit in ["RLIMIT_NOFILE", "RLIMIT_NPROC"] {
        let bundle = Bundle::new();
        let agent = Agent::listen(&bundle);
        let bundle = notifying(bundle, &agent, &["mkdir"]).edit(|c| {
            let most = if limit == "RLIMIT_NPROC" { 1 } else { 3 };
            c["process"]["rlimits"] = json!([{ "type": limit, "soft": most, "hard": most }]);
            c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        });
        assert_eq!(answers(bundle, &["syscall,83"]), [json!("EXDEV")], "{limit}");
        assert!(agent.next().closed);
    }
    let bundle = Bundle::new().sh("ulimit -n");
    let agent = Agent::listen(&bundle);
    let bundle = notifying(bundle, &agent, &["mkdir"])
        .edit(|c| c["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 3, "hard": 4 }]));
    assert_eq!(bundle.run().ok().stdout, "3\n");
}

#[test]
fn the_agent_gets_joining_processes_too() {
    let bundle = idle();
    let agent = Agent::listen(&bundle);
    let bundle = notifying(bundle, &agent, &["mkdir"]);
    let c = bundle.start();
    let first = agent.next().state;
    assert_eq!(first["pid"], c.pid());
    let output = exec_cmd(&c, &[], &["probe", "try", "syscall,83"]).run().ok();
    assert_eq!(output.json()[0]["errno"], "EXDEV");
    let second = agent.next().state;
    assert_ne!(second["pid"], first["pid"]);
    assert_eq!(second["state"]["pid"], first["pid"]);
    assert_eq!(second["state"]["status"], "running");
}

/// No call of the runtime after the installation needs an answer before the agent can give one.
#[test]
fn a_profile_that_notifies_on_everything_does_not_block() {
    for no_new in [true, false] {
        let bundle = Bundle::new();
        let agent = Agent::listen(&bundle);
        let profile = json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": agent.path });
        let bundle = with_privileges(with(bundle, profile), no_new).args(["true"]);
        assert_eq!(bundle.run().code, 0, "noNewPrivileges {no_new}");
        assert_eq!(agent.next().state["metadata"], Value::Null);
        let names = [
            "sendmsg",
            "sendto",
            "recvmsg",
            "write",
            "read",
            "futex",
            "close",
            "exit_group",
            "execve",
            "capset",
        ];
        let bundle = with_privileges(notifying(Bundle::new(), &agent, &names), no_new).args(["true"]);
        assert_eq!(bundle.run().code, 0, "noNewPrivileges {no_new}");
    }
}

#[test]
fn the_listener_works_with_every_other_option() {
    let bundle = Bundle::new();
    let agent = Agent::listen(&bundle);
    let bundle = notifying(bundle, &agent, &["mkdir"]).edit(|c| {
        c["linux"]["seccomp"]["flags"] = json!([
            "SECCOMP_FILTER_FLAG_TSYNC",
            "SECCOMP_FILTER_FLAG_LOG",
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
        ]);
    });
    assert_eq!(answers(bundle, &["syscall,83"]), [json!("EXDEV")]);
}

/// Everything but the process is applied at `create` (runtime.md, "Create"); the agent has the listener before create
/// returns.
#[test]
fn the_agent_gets_the_listener_at_create() {
    let bundle = Bundle::new().args(["probe", "try", "syscall,83"]);
    let agent = Agent::listen(&bundle);
    let bundle = notifying(bundle, &agent, &["mkdir"]);
    let c = bundle.create();
    let handed = agent.handed.try_recv();
    let handed = handed.or_else(|_| agent.handed.recv_timeout(std::time::Duration::from_secs(5)));
    let handed = handed.expect("the agent is sent something before the start");
    assert!(handed.closed);
    let state = c.state();
    assert_eq!(state["status"], "created");
    assert_eq!(handed.state["state"]["status"], "creating");
    assert_eq!(
        (&handed.state["pid"], &handed.state["state"]["id"]),
        (&state["pid"], &json!(c.id))
    );
    c.start();
    c.until("EXDEV");
}

/// The agent may end meanwhile: calls that it would decide about then fail with ENOSYS, see seccomp_unotify(2).
#[test]
fn an_agent_that_has_ended_does_not_block_start() {
    let bundle = Bundle::new().args(["probe", "try", "syscall,83"]);
    let path = bundle.path("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut profile = denying(&["mkdir"], "SCMP_ACT_NOTIFY");
    profile["listenerPath"] = json!(path);
    let bundle = with(bundle, profile);
    let c = bundle.create();
    drop(receive(&listener.accept().unwrap().0));
    drop(listener);
    fs::remove_file(&path).unwrap();
    c.start();
    c.until("ENOSYS");
}

/// Between `create` and `start` the runtime works without a filter, however little the profile allows, and leaves no thread.
#[test]
fn a_profile_that_notifies_may_forbid_calls_that_only_the_runtime_makes() {
    let ours = [
        "sendmsg",
        "recvmsg",
        "recvfrom",
        "accept4",
        "accept",
        "close_range",
        "fcntl",
        "capget",
        "chdir",
        "faccessat2",
        "faccessat",
        "openat2",
        "clone",
        "clone3",
        "poll",
        "seccomp",
        "connect",
        "nanosleep",
        "clock_nanosleep",
        "pipe2",
        "wait4",
        "waitid",
        "prctl",
        "sched_yield",
        "getpid",
        "futex",
    ];
    for no_new in [true, false] {
        let bundle = Bundle::new();
        let agent = Agent::listen(&bundle);
        let mut profile = denying(&["mkdir"], "SCMP_ACT_NOTIFY");
        let forbidden = json!({ "names": ours, "action": "SCMP_ACT_ERRNO", "errnoRet": 121 });
        profile["syscalls"].as_array_mut().unwrap().push(forbidden);
        profile["listenerPath"] = json!(agent.path);
        let bundle = with_privileges(with(bundle, profile), no_new).args(["true"]);
        let id = bundle.fresh_id();
        bundle.create_cmd(&id, &[]).run().ok();
        bundle.orlop(["start", &id]).run().ok();
        assert_eq!(bundle.run().code, 0, "noNewPrivileges {no_new}");
    }
}

#[test]
fn start_container_hooks_run_under_a_filter_that_notifies() {
    let bundle = Bundle::new()
        .sh("cat /hook; grep ^Threads /proc/self/status")
        .edit(|c| {
            c["hooks"] = json!({ "startContainer": [
                { "path": "/bin/sh", "args": ["sh", "-c", "cat > /hook; mkdir /no 2>>/hook; echo >>/hook"] }
            ]});
            c["root"]["readonly"] = json!(false);
        });
    let agent = Agent::listen(&bundle);
    let output = notifying(bundle, &agent, &["mkdir"]).run().ok();
    assert!(output.stdout.contains("\"status\":\"created\""), "{output:#?}");
    // The agent does not know about the process of the hook.
    assert!(output.stdout.contains("not implemented"), "{output:#?}");
    assert!(output.stdout.contains("Threads:\t1"), "{output:#?}");
}

/// The error of execve(2) arrives, although the thread that calls it may not send anything.
#[test]
fn a_program_that_cannot_be_executed_is_reported_under_a_filter_that_notifies() {
    let bundle = Bundle::new();
    let agent = Agent::listen(&bundle);
    fs::write(bundle.inside("/nonsense"), "\u{1}\u{2}").unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(bundle.inside("/nonsense"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut profile = denying(&["sendmsg", "sendto", "write", "exit_group"], "SCMP_ACT_ERRNO");
    let notify = json!({ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" });
    profile["syscalls"].as_array_mut().unwrap().push(notify);
    profile["listenerPath"] = json!(agent.path);
    let bundle = with(bundle, profile).args(["/nonsense"]);
    bundle.run().fails_with("exec format error");
    bundle.assert_clean();
    let c = bundle.create();
    c.try_start().fails_with("exec format error");
    c.until_stopped();
}

#[test]
fn signals_end_a_created_container_under_a_filter_that_notifies() {
    for signal in ["TERM", "INT", "KILL"] {
        let bundle = Bundle::new().args(["true"]);
        let agent = Agent::listen(&bundle);
        let bundle = notifying(bundle, &agent, &["mkdir"]);
        let c = bundle.create();
        c.kill(signal);
        c.until_stopped();
    }
}

#[test]
fn without_an_agent_create_fails_and_leaves_nothing() {
    let bundle = Bundle::new().args(["true"]);
    let profile = |path: &std::path::Path| {
        let mut profile = denying(&["mkdir"], "SCMP_ACT_NOTIFY");
        profile["listenerPath"] = json!(path);
        profile
    };
    let path = bundle.path("nobody.sock");
    let bundle = with(bundle, profile(&path));
    for errno in ["ENOENT", "ECONNREFUSED"] {
        let output = bundle.run().fails_with("linux.seccomp.listenerPath");
        assert!(output.stderr.contains(errno), "{}", output.stderr);
        bundle.assert_clean();
        let id = bundle.fresh_id();
        let output = bundle
            .create_cmd(&id, &[])
            .run()
            .fails_with("linux.seccomp.listenerPath");
        assert!(output.stderr.contains(errno), "{}", output.stderr);
        bundle.orlop(["state", &id]).run().fails_with("does not exist");
        bundle.assert_clean();
        // Now a server has used the path and has ended.
        drop(UnixListener::bind(&path));
    }
}

/// The container still runs, and no program was executed.
#[test]
fn without_an_agent_exec_fails() {
    let bundle = idle();
    let agent = Agent::listen(&bundle);
    let path = agent.path.clone();
    let bundle = notifying(bundle, &agent, &["mkdir"]);
    let c = bundle.start();
    fs::remove_file(&path).unwrap();
    let marker = c.bundle.inside("/ran");
    let pid_file = c.bundle.path("exec.pid");
    exec_cmd(&c, &["--pid-file", pid_file.to_str().unwrap()], &["touch", "/ran"])
        .run()
        .fails_with("linux.seccomp.listenerPath");
    assert!(!marker.exists() && !pid_file.exists());
    assert_eq!(c.status(), "running");
}

/// An address has room for 107 bytes.
#[test]
fn the_agents_path_may_be_long() {
    let bundle = Bundle::new();
    let mut agent = Agent::listen(&bundle);
    let deep = bundle.path(&"d".repeat(200));
    fs::create_dir(&deep).unwrap();
    fs::rename(&agent.path, deep.join("agent")).unwrap();
    agent.path = deep.join("agent");
    let bundle = notifying(bundle, &agent, &["mkdir"]);
    assert_eq!(answers(bundle, &["syscall,83"]), [json!("EXDEV")]);
}
