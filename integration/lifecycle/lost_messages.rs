//! Messages that cannot be sent or come late, and a child that ends before its message: neither side then waits for the
//! other, and neither takes one message for another.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::host::{has_strace, kill, traced};
use crate::harness::namespaces::in_pid_namespace_of;
use crate::harness::seccomp::{Agent, notifying};
use crate::harness::users::remapped;
use crate::harness::{Bundle, Cmd, Holder, Output, alive, eventually};
use crate::need;

/// Well below the time after which the runtime stops waiting for a child.
const SOON: Duration = Duration::from_secs(5);

fn unsent(cmd: Cmd, children: bool, number: u32) -> Cmd {
    let what = format!("-e trace=sendmsg,sendto -e inject=sendmsg,sendto:error=ENOBUFS:when={number}");
    traced(cmd, children, &what)
}

#[track_caller]
fn timely(cmd: Cmd) -> Output {
    let begun = Instant::now();
    let output = cmd.run();
    assert!(begun.elapsed() < SOON, "{:?}: {output:#?}", begun.elapsed());
    output
}

/// Makes each message of a create and a start fail in turn. Returns the error messages.
#[track_caller]
fn each_message(bundle: &Bundle, children: bool) -> Vec<String> {
    let mut said = Vec::new();
    for number in 1.. {
        let output = timely(unsent(bundle.run_cmd(&[]), children, number));
        bundle.assert_clean();
        if output.code == 0 {
            break;
        }
        said.push(output.fails().stderr);
        assert!(number < 20, "{said:#?}");
    }
    said
}

#[test]
fn the_runtime_does_not_wait_for_an_init_it_could_not_answer() {
    need!(has_strace(), "strace");
    let hooked = Bundle::new().args(["true"]).with_host_hook("createRuntime", "true");
    // The network namespace, HooksDone, Start.
    let said = each_message(&hooked, false);
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(said.iter().all(|text| text.contains("ENOBUFS")), "{said:#?}");
    // Helped, HooksDone, Start.
    let mapped = remapped(Bundle::new().args(["true"]).with_host_hook("createRuntime", "true"));
    let said = each_message(&mapped, false);
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(said.iter().all(|text| text.contains("ENOBUFS")), "{said:#?}");
}

#[test]
fn no_process_waits_for_a_message_that_was_not_sent() {
    need!(has_strace(), "strace");
    let each = |bundle: Bundle| {
        let said = each_message(&bundle.args(["true"]), true);
        assert!(said.len() > 1, "{said:#?}");
        // The intermediate process cannot report its own lost message.
        let reasons = ["ENOBUFS", "the process that was to enter the namespace ended"];
        let named = |text: &String| reasons.iter().any(|reason| text.contains(reason));
        assert!(said.iter().all(named), "{said:#?}");
    };
    each(Bundle::new().with_host_hook("createRuntime", "true"));
    each(remapped(Bundle::new()));
    // By the helper that reads its maps, and by an intermediate process.
    let holder = Holder::remapped(libc::CLONE_NEWUTS, 0, 100_000);
    let joining = |kinds: &[&str]| {
        Bundle::new().edit(|c| {
            for kind in kinds {
                let list = c["linux"]["namespaces"].as_array_mut().unwrap();
                list.retain(|namespace| namespace["type"] != *kind);
                list.push(json!({ "type": kind, "path": holder.path(kind) }));
            }
        })
    };
    each(joining(&["user"]));
    each(joining(&["user", "uts"]));
}

#[test]
fn a_mount_that_cannot_be_sent_is_an_error() {
    need!(has_strace(), "strace");
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]);
    let bundle = remapped(Bundle::new().args(["true"])).mount("/tmp", "tmpfs", "tmpfs", &[]);
    // A source inside an earlier mount, which only init can see.
    let source = bundle.inside("/tmp").display().to_string();
    bundle.change(|c| {
        c["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/root", "type": "none", "source": source, "options": ["bind"],
            "uidMappings": map, "gidMappings": map,
        }));
    });
    let said = each_message(&bundle, false);
    assert!(
        said.len() > 2 && said.iter().all(|text| text.contains("ENOBUFS")),
        "{said:#?}"
    );
    let said = each_message(&bundle, true);
    assert!(said.iter().all(|text| text.contains("ENOBUFS")), "{said:#?}");
}

#[test]
fn exec_does_not_wait_for_a_process_it_could_not_start() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let said = timely(unsent(bundle.orlop(["exec", &c.id, "true"]), false, 1)).fails();
    assert!(said.stderr.contains("ENOBUFS"), "{said:#?}");
    for number in 1..4 {
        timely(unsent(bundle.orlop(["exec", &c.id, "true"]), true, number));
    }
    assert_eq!(c.status(), "running");
    timely(bundle.orlop(["exec", &c.id, "true"])).ok();
    eventually("nothing of exec is left", || {
        bundle.orlop(["ps", "--format", "json", &c.id]).run().ok().json() == json!([c.pid()])
    });
}

/// It sits in the container's cgroup, where the kernel may kill it for lack of memory.
#[test]
fn exec_ends_when_its_parent_process_is_killed_before_its_message() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let slow = "-e trace=sendmsg -e inject=sendmsg:delay_enter=1500000:when=1";
    let exec = traced(bundle.orlop(["exec", &c.id, "true"]), true, slow).spawn();
    let tasks = || {
        let procs = fs::read_to_string(format!("/sys/fs/cgroup/{}/cgroup.procs", c.id)).unwrap_or_default();
        let mut pids: Vec<i32> = procs.lines().filter_map(|line| line.parse().ok()).collect();
        pids.retain(|pid| *pid != c.pid());
        pids
    };
    // The exec parent stays in the runtime's PID namespace; its child is in the container's.
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    let usher = |pid: &i32| fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|link| link == own);
    eventually("the exec parent has cloned the process", || {
        tasks().len() == 2 && tasks().iter().any(usher)
    });
    let pid = tasks().into_iter().find(usher).unwrap();
    let begun = Instant::now();
    kill(pid);
    let output = exec.wait();
    assert!(begun.elapsed() < SOON, "{output:#?}");
    assert!(!alive(pid));
    // The runtime may have taken it for killed by the kernel, and started another.
    if output.code != 0 {
        output.fails_with("killed");
    }
    eventually("nothing of exec is left", || tasks().is_empty());
    assert_eq!(c.status(), "running");
}

/// Init of a container that joins a pid namespace is a child of the process that prepared it, and both have something to say
/// to the runtime: one that it is ready, the other what its pid is.
#[test]
fn init_may_be_ready_before_its_pid_is_known() {
    need!(has_strace(), "strace");
    // The maker's return from clone3(2) is delayed; the child's is not.
    let late = |cmd: Cmd| traced(cmd, true, "-e trace=clone3 -e inject=clone3:delay_exit=200000");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let pod = bundle.start();
    let joining = |bundle: Bundle| in_pid_namespace_of(&pod, bundle);

    let out = late(joining(Bundle::new().args(["probe", "exit", "5"])).run_cmd(&[])).run();
    assert_eq!(out.code, 5, "{out:#?}");

    let agent = Agent::listen(&bundle);
    let sleeping = || joining(Bundle::new().args(["probe", "sleep"]));
    for (member, is_notified) in [(sleeping(), false), (notifying(sleeping(), &agent, &["mkdir"]), true)] {
        let id = member.fresh_id();
        // strace(1) ends with the last process that it traces, which is the container's.
        let create = late(member.create_cmd(&id, &[])).spawn();
        eventually("it is created", || {
            let state = member.orlop(["state", &id]).run();
            state.code == 0 && state.json()["status"] != "creating"
        });
        member.orlop(["start", &id]).run().ok();
        let state = member.orlop(["state", &id]).run().ok().json();
        assert_eq!(state["status"], "running");
        let namespace = |pid: i64| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
        let pid = state["pid"].as_i64().unwrap();
        assert_eq!(namespace(pid), namespace(pod.pid().into()));
        if is_notified {
            assert_eq!(agent.next().state["pid"], pid);
        }
        member.orlop(["delete", "--force", &id]).run().ok();
        create.wait().ok();
    }
}
