//! `list` of many containers, which are copies of one container's state: they share one process and one cgroup.

use std::fs;

use crate::harness::host::has_strace;
use crate::harness::{Bundle, Cmd, Container};
use crate::need;

/// So many that several threads read them.
const MANY: usize = 400;

struct Copies<'a> {
    container: Container<'a>,
    ids: Vec<String>,
}

impl<'a> Copies<'a> {
    fn of(bundle: &'a Bundle) -> Self {
        let container = bundle.start();
        let directory = |id: &str| bundle.state_root().join(id);
        let state = fs::read_to_string(directory(&container.id).join("state.json")).unwrap();
        let ids: Vec<String> = (0..MANY).map(|n| format!("copy-{n:03}")).collect();
        for id in &ids {
            fs::create_dir(directory(id)).unwrap();
            fs::write(directory(id).join("state.json"), state.replace(&container.id, id)).unwrap();
        }
        Copies { container, ids }
    }

    fn list(&self) -> Cmd {
        self.container.bundle.orlop(["list", "--format", "json"])
    }

    #[track_caller]
    fn are_listed(&self, cmd: Cmd) {
        let listed = cmd.run().ok().json();
        let mut ids: Vec<&str> = self.ids.iter().map(String::as_str).collect();
        ids.push(&self.container.id);
        let found: Vec<&str> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["id"].as_str().unwrap())
            .collect();
        assert_eq!(found, ids);
        let running = |c: &serde_json::Value| c["status"] == "running" && c["pid"] == self.container.pid();
        assert!(listed.as_array().unwrap().iter().all(running), "{listed}");
    }
}

impl Drop for Copies<'_> {
    fn drop(&mut self) {
        for id in &self.ids {
            fs::remove_dir_all(self.container.bundle.state_root().join(id)).unwrap();
        }
    }
}

#[test]
fn many_containers_are_listed_in_order() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let copies = Copies::of(&bundle);
    copies.are_listed(copies.list());
}

/// With one processor the work is not shared.
#[test]
fn many_containers_are_read_by_several_threads() {
    need!(has_strace(), "strace");
    let processors = std::thread::available_parallelism().unwrap().get();
    need!(processors > 1, "a second processor");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let copies = Copies::of(&bundle);
    let log = bundle.path("threads");
    let traced = |cmd: Cmd| {
        let words = format!(
            "exec strace -f -qq -e trace=clone3,clone -o {} \"$0\" \"$@\"",
            log.display()
        );
        cmd.through_shell(&words)
    };
    copies.are_listed(traced(copies.list()));
    let begun = fs::read_to_string(&log).unwrap().matches("CLONE_THREAD").count();
    assert!((1..processors.min(4)).contains(&begun), "{begun} threads");
}

#[test]
fn list_works_when_no_thread_can_be_started() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let copies = Copies::of(&bundle);
    let words = "exec strace -qq -o /dev/null -e inject=clone3,clone:error=EAGAIN \"$0\" \"$@\"";
    copies.are_listed(copies.list().through_shell(words));
}
