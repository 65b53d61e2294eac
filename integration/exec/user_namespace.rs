//! `exec` into a container with a user namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use super::process::facts_of;
use crate::harness::exec::{exec_cmd, exec_facts, idle};
use crate::harness::host::allows_policy;
use crate::harness::users::{as_user, remapped, remapped as in_user_namespace, rootless};
use crate::harness::{ConsoleSocket, Facts};
use crate::need;

#[test]
fn in_a_user_namespace_it_is_only_the_containers_root() {
    let bundle = remapped(idle());
    let c = bundle.start();
    let facts = exec_facts(&c, &[]);
    assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
    assert_eq!(facts["groups"], json!([]));
    let user = fs::read_link(format!("/proc/{}/ns/user", c.pid())).unwrap();
    assert_eq!(facts["namespaces"]["user"], json!(user.to_string_lossy()));
    assert_eq!(
        facts["caps"]["effective"],
        json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"])
    );
    assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!([1024, 1024]));
    let facts = exec_facts(&c, &["-u", "1000:1001", "-g", "5"]);
    assert_eq!(
        (&facts["uid"][0], &facts["gid"][0], &facts["groups"]),
        (&json!(1000), &json!(1001), &json!([5]))
    );
    let out = exec_cmd(&c, &["-u", "70000"], &["true"])
        .run()
        .fails_with("user namespace");
    assert_eq!(out.code, 255);
    let file = bundle.path("pid");
    exec_cmd(&c, &["-d", "--pid-file", file.to_str().unwrap()], &["sleep", "1000"])
        .run()
        .ok();
    let pid = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 100_000);
}

#[test]
fn a_terminal_in_a_user_namespace_belongs_to_its_user() {
    let bundle = remapped(idle());
    let c = bundle.start();
    for (user, owner) in [("0", 0), ("1000", 1000)] {
        let socket = ConsoleSocket::new(&bundle);
        exec_cmd(
            &c,
            &["-t", "-d", "-u", user, "--console-socket", socket.path()],
            &["probe", "facts", "/dev/pts/0"],
        )
        .run()
        .ok();
        let report: Value = serde_json::from_str(&socket.terminal().until_closed()).expect("the probe's report");
        assert_eq!(Facts(report).path("/dev/pts/0")["uid"], owner);
        fs::remove_file(socket.path()).unwrap();
    }
}

#[test]
fn an_unprivileged_user_joins_their_own_container() {
    let bundle = rootless(idle());
    let id = bundle.fresh_id();
    as_user(bundle.create_cmd(&id, &[])).run().ok();
    // Only root may inspect an undumpable process that was not created in a user namespace of the caller.
    let out = as_user(bundle.orlop(["exec", &id, "true"]))
        .run()
        .fails_with("until the container is started");
    assert_eq!(out.code, 255);
    as_user(bundle.orlop(["start", &id])).run().ok();
    let facts = as_user(bundle.orlop(["exec", &id, "probe", "facts"])).run().ok().json();
    let pid = as_user(bundle.orlop(["state", &id])).run().ok().json()["pid"].clone();
    assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let target = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        assert_eq!(facts["namespaces"][name], json!(target.to_string_lossy()), "{name}");
    }
    assert_eq!(facts["fds"].as_object().unwrap().len(), 3);
    assert_eq!(as_user(bundle.orlop(["exec", &id, "probe", "exit", "5"])).run().code, 5);
    let out = as_user(bundle.orlop(["exec", "-u", "7", &id, "true"]))
        .run()
        .fails_with("user namespace");
    assert_eq!(out.code, 255);
}

#[test]
fn limits_in_a_user_namespace() {
    let bundle = in_user_namespace(idle()).edit(|c| {
        c["process"]["rlimits"] = json!([
            { "type": "RLIMIT_NOFILE", "soft": 9, "hard": 10 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        ]);
        c["process"]["oomScoreAdj"] = json!(555);
    });
    let c = bundle.start();
    let facts = exec_facts(&c, &[]);
    assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!([9, 10]));
    assert_eq!(facts["rlimits"]["RLIMIT_CORE"], json!([0, 0]));
    assert_eq!(facts["oomScoreAdj"], 555);
}

#[test]
fn real_time_in_a_user_namespace() {
    need!(allows_policy(libc::SCHED_FIFO, 1), "real-time scheduling");
    let bundle = in_user_namespace(idle());
    let c = bundle.start();
    let facts = facts_of(&c, json!({ "scheduler": { "policy": "SCHED_FIFO", "priority": 3 } }));
    let found = &facts["scheduler"];
    assert_eq!((&found["policy"], &found["priority"]), (&json!(1), &json!(3)));
}

#[test]
fn groups_that_are_not_mapped_are_an_error() {
    let bundle = in_user_namespace(idle());
    let c = bundle.start();
    let out = exec_cmd(&c, &["-g", "4000000"], &["true"]).run();
    let out = out.fails_with("process.user.additionalGids: not all are ids of the container's user namespace");
    assert!(out.stderr.contains("linux.gidMappings"), "{out:#?}");
}
