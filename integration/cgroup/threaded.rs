//! Threaded cgroups: below a cgroup that contains processes, as for a runtime inside a container, and in a part of the
//! tree that is already threaded.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::cgroup::{content, has_controller};
use crate::harness::{Bundle, Container, alive, eventually};
use crate::need;

/// A cgroup that contains a process, with the containers of a bundle below it.
struct Populated {
    path: PathBuf,
    name: String,
    process: Child,
}

impl Populated {
    fn new(bundle: &Bundle) -> Self {
        let name = format!("{}-populated", bundle.fresh_id());
        let path = PathBuf::from(format!("/sys/fs/cgroup/{name}"));
        fs::create_dir(&path).expect("make a cgroup");
        let process = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .spawn()
            .expect("sleep");
        fs::write(path.join("cgroup.procs"), process.id().to_string()).expect("move a process");
        Populated { path, name, process }
    }

    /// The same with a threaded cgroup below, which makes it a thread root even without any controller.
    fn threaded(bundle: &Bundle) -> Self {
        let this = Self::new(bundle);
        fs::create_dir(this.path.join("threads")).expect("make a cgroup");
        fs::write(this.path.join("threads/cgroup.type"), "threaded").expect("make it threaded");
        assert_eq!(this.content("cgroup.type"), "domain threaded");
        this
    }

    /// Places the containers of a bundle below it. Returns their leaf.
    fn hold(&self, bundle: &Bundle, below: &str) -> PathBuf {
        bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("/{}/{below}", self.name)));
        self.path.join(below)
    }

    fn content(&self, file: &str) -> String {
        content(&self.path, file)
    }

    /// Nothing has been enabled, and nothing is below.
    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!(
            (self.content("cgroup.type"), self.content("cgroup.subtree_control")),
            ("domain".into(), String::new())
        );
        let below = fs::read_dir(&self.path).expect("the cgroup").flatten();
        assert_eq!(below.filter(|entry| entry.path().is_dir()).count(), 0);
    }
}

impl Drop for Populated {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir(self.path.join("threads"));
        let removed = || fs::remove_dir(&self.path).is_ok();
        if std::thread::panicking() {
            removed();
        } else {
            eventually("the cgroup can be removed", removed);
        }
    }
}

fn on(c: &Container, words: &[&str]) -> crate::harness::Output {
    let (verb, flags) = words.split_first().expect("a verb");
    c.bundle.orlop([&[*verb], flags, &[c.id.as_str()]].concat()).run()
}

fn pids(c: &Container) -> Vec<i32> {
    serde_json::from_value(on(c, &["ps", "--format", "json"]).ok().json()).expect("pids")
}

/// The verbs that use the container's cgroup.
#[track_caller]
fn assert_every_verb_works(c: &Container, processes: usize) {
    let all = pids(c);
    assert_eq!(all.len(), processes, "{all:?}");
    assert!(all.contains(&c.pid()) && all.iter().all(|pid| alive(*pid)));
    let stats = on(c, &["events", "--stats"]).ok().json();
    assert_eq!(stats["data"]["pids"]["current"], processes, "{stats}");
    let exec = c.bundle.orlop(["exec", &c.id, "cat", "/proc/self/cgroup"]).run().ok();
    assert!(exec.stdout.lines().any(|line| line == "0::/"), "{exec:#?}");
    on(c, &["pause"]).ok();
    assert_eq!(c.status(), "paused");
    on(c, &["resume"]).ok();
    assert_eq!(c.status(), "running");
    on(c, &["update", "--unified", "cgroup.max.depth=5"]).ok();
}

#[test]
fn exec_into_a_cgroup_below_a_threaded_one_needs_a_threaded_cgroup() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let populated = Populated::threaded(&bundle);
    let leaf = populated.hold(&bundle, "leaf");
    let c = bundle.start();
    c.until("ready");
    fs::create_dir(leaf.join("below")).expect("make a cgroup");
    let exec = || {
        bundle
            .orlop(["exec", "--cgroup", "below", &c.id, "cat", "/proc/self/cgroup"])
            .run()
    };
    exec().fails_with("hint: ").fails_with("must be threaded, too");
    fs::write(leaf.join("below/cgroup.type"), "threaded").expect("make it threaded");
    let said = exec().ok().stdout;
    assert!(said.lines().any(|line| line == "0::/below"), "{said}");
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
}

#[test]
fn below_a_cgroup_with_processes_a_limit_makes_the_cgroup_threaded() {
    need!(
        has_controller("pids") && has_controller("cpu"),
        "cgroup controllers cpu and pids"
    );
    let bundle = Bundle::new().args(["probe", "fork-tree", "2"]);
    let populated = Populated::new(&bundle);
    let leaf = populated.hold(&bundle, "middle/leaf");
    bundle.change(|c| {
        c["linux"]["resources"]["pids"] = json!({ "limit": 30 });
        c["linux"]["resources"]["cpu"] = json!({ "quota": 50_000 });
    });
    let c = bundle.start();
    c.until("ready");
    assert_eq!(content(&leaf, "cgroup.type"), "threaded");
    assert_eq!(
        (content(&leaf, "pids.max"), content(&leaf, "cpu.max")),
        ("30".into(), "50000 100000".into())
    );
    assert_every_verb_works(&c, 3);
    on(&c, &["update", "--pids-limit", "20"]).ok();
    assert_eq!(content(&leaf, "pids.max"), "20");
    on(&c, &["update", "--memory", "64M"]).fails_with("has processes of its own");

    // A container without limits works beside it.
    let second = populated.hold(&bundle, "beside");
    bundle.change(|c| c["linux"]["resources"] = json!({}));
    let other = bundle.start();
    other.until("ready");
    assert_eq!(content(&second, "cgroup.type"), "threaded");
    assert_every_verb_works(&other, 3);
    for c in [c, other] {
        let all = pids(&c);
        bundle.orlop(["delete", "--force", &c.id]).run().ok();
        assert!(!all.iter().any(|pid| alive(*pid)));
    }
    assert!(!leaf.exists() && !second.exists() && !populated.path.join("middle").exists());
}

#[test]
fn a_limit_that_threaded_cgroups_lack_is_refused_before_any_change() {
    need!(
        has_controller("pids") && has_controller("memory"),
        "cgroup controllers memory and pids"
    );
    let bundle = Bundle::new();
    let populated = Populated::new(&bundle);
    populated.hold(&bundle, "middle/leaf");
    for resources in [
        json!({ "memory": { "limit": 64 << 20 } }),
        json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 9 } }),
    ] {
        bundle.change(|c| c["linux"]["resources"] = resources);
        let said = bundle.run().fails_with("linux.resources.memory.limit");
        assert!(
            said.stderr
                .contains(&format!("{:?} has processes of its own", populated.path)),
            "{said:#?}"
        );
        populated.assert_untouched();
    }
}

#[test]
fn controllers_enabled_by_a_failed_create_are_disabled_again() {
    need!(has_controller("pids"), "cgroup controller pids");
    let bundle = Bundle::new().args(["missing"]);
    let populated = Populated::new(&bundle);
    let limit = |limit: i64| bundle.change(|c| c["linux"]["resources"] = json!({ "pids": { "limit": limit } }));
    populated.hold(&bundle, "middle/leaf");
    limit(9);
    bundle.run().fails_with("executable file not found");
    populated.assert_untouched();
    // Refused by the kernel after the controller was enabled.
    limit(i64::MAX);
    bundle.run().fails_with("pids.limit");
    populated.assert_untouched();

    // Another container's limit stays.
    bundle.change(|c| c["process"]["args"] = json!(["probe", "sleep"]));
    limit(9);
    let leaf = populated.hold(&bundle, "other");
    let c = bundle.start();
    bundle.change(|c| c["process"]["args"] = json!(["missing"]));
    populated.hold(&bundle, "middle/leaf");
    bundle.run().fails_with("executable file not found");
    assert_eq!((content(&leaf, "pids.max"), c.status()), ("9".into(), "running".into()));
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
}

/// As for Docker in Docker: the runtime's own cgroup is the root of its cgroup namespace.
#[test]
fn a_runtime_inside_a_container_limits_processes() {
    need!(has_controller("pids"), "cgroup controller pids");
    let bundle = Bundle::new().args(["probe", "forks", "20"]);
    bundle.change(|c| c["linux"]["resources"] = json!({ "pids": { "limit": 8 } }));
    let populated = Populated::new(&bundle);
    let inside = |bundle: &Bundle| {
        let script = format!(
            "echo $$ >{}/cgroup.procs; exec unshare -m -C sh -c 'mount --make-rprivate / && umount -R /sys/fs/cgroup && mount -t cgroup2 none \
             /sys/fs/cgroup && \"$0\" \"$@\"' \"$0\" \"$@\"",
            populated.path.display()
        );
        bundle.run_cmd(&[]).through_shell(&script).run()
    };
    assert_eq!(inside(&bundle).ok().stdout.trim(), "7");
    // Afterwards a container without limits works too.
    bundle.change(|c| c["linux"]["resources"] = json!({}));
    assert_eq!(inside(&bundle).ok().stdout.trim(), "20");
    bundle.change(|c| c["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 } }));
    inside(&bundle).fails_with("has processes of its own");
}

/// Without a separate PID namespace, a container's processes outlive its init.
#[test]
fn all_processes_of_a_threaded_cgroup_can_be_listed_and_killed() {
    let bundle = Bundle::new().without_namespace("pid").args(["probe", "fork-tree", "3"]);
    let populated = Populated::threaded(&bundle);
    for (words, below) in [
        (&["kill", "--all"] as &[&str], "killed"),
        (&["kill"], "killed-by-its-first"),
        (&["delete", "--force"], "deleted"),
    ] {
        let leaf = populated.hold(&bundle, below);
        let c = bundle.start();
        c.until("ready");
        assert_eq!(content(&leaf, "cgroup.type"), "threaded");
        assert_every_verb_works(&c, 4);
        let all = pids(&c);
        if words[0] == "kill" {
            bundle.orlop([words, &[c.id.as_str(), "KILL"]].concat()).run().ok();
            eventually("all have ended", || !all.iter().any(|pid| alive(*pid)));
            assert!(pids(&c).is_empty());
            assert_eq!(content(&leaf, "cgroup.freeze"), "0");
            c.until_stopped();
            c.delete();
        } else {
            on(&c, words).ok();
            assert!(!all.iter().any(|pid| alive(*pid)));
        }
        assert!(!leaf.exists());
    }
}

#[test]
fn signals_for_all_reach_the_processes_of_a_threaded_cgroup() {
    let bundle = Bundle::new().without_namespace("pid").args(["probe", "fork-tree", "3"]);
    let populated = Populated::threaded(&bundle);
    populated.hold(&bundle, "leaf");
    let c = bundle.start();
    c.until("ready");
    let all = pids(&c);
    assert_eq!(all.len(), 4);
    bundle.orlop(["kill", "--all", &c.id, "TERM"]).run().ok();
    eventually("all have ended", || !all.iter().any(|pid| alive(*pid)));
    c.until_stopped();
    c.delete();
}

/// A process whose threads are in several cgroups is one process.
#[test]
fn threads_of_one_process_are_listed_once() {
    let bundle = Bundle::new().args(["probe", "leave-a-thread"]);
    let name = format!("/{}-leaf", bundle.fresh_id());
    let leaf = PathBuf::from(format!("/sys/fs/cgroup{name}"));
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(name));
    let c = bundle.start();
    c.until("ready");
    let below = leaf.join("threads");
    fs::create_dir(&below).expect("make a cgroup");
    fs::write(below.join("cgroup.type"), "threaded").expect("make it threaded");
    for thread in fs::read_dir(format!("/proc/{}/task", c.pid()))
        .expect("threads")
        .flatten()
    {
        // The first has ended.
        let _ = fs::write(
            below.join("cgroup.threads"),
            thread.file_name().to_str().expect("a number"),
        );
    }
    assert!(!content(&below, "cgroup.threads").is_empty());
    assert_eq!(pids(&c), [c.pid()]);
    let all = pids(&c);
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    assert!(!all.iter().any(|pid| alive(*pid)));
}

/// A threaded cgroup cannot become a domain again, so only cgroups that the runtime created are changed.
#[test]
fn a_cgroup_that_another_program_created_is_not_made_threaded() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let populated = Populated::threaded(&bundle);
    let foreign = populated.path.join("foreign");
    fs::create_dir(&foreign).expect("make a cgroup");
    let leaf = populated.hold(&bundle, "foreign/leaf");
    let said = bundle.run().fails_with("not created by orlop");
    assert!(
        said.stderr
            .contains(&format!("echo threaded >{}/cgroup.type", foreign.display())),
        "{said:#?}"
    );
    assert_eq!(content(&foreign, "cgroup.type"), "domain invalid");
    assert!(!leaf.exists());
    fs::write(foreign.join("cgroup.type"), "threaded").expect("make it threaded");
    let c = bundle.start();
    c.until("ready");
    assert_every_verb_works(&c, 1);
    bundle.orlop(["delete", "--force", &c.id]).run().ok();

    // An existing leaf is the container's while the container exists, and stays afterwards.
    let leaf = populated.hold(&bundle, "foreign");
    let c = bundle.start();
    c.until("ready");
    assert_every_verb_works(&c, 1);
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    assert!(leaf.exists());
    fs::remove_dir(&leaf).expect("remove the cgroup");
    let state: Value = bundle.orlop(["list", "--format", "json"]).run().ok().json();
    assert!(state.as_array().is_none_or(Vec::is_empty), "{state}");
}
