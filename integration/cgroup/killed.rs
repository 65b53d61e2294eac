//! Since Linux 6.14 the kernel kills a child that is cloned into another cgroup than its parent's, once one of the two has
//! been emptied by cgroup.kill: the runtime's, if a service manager did so, or the container's, if another program keeps
//! it.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::users::remapped;
use crate::harness::{Bundle, Cmd, Facts, eventually};

/// A cgroup that was killed once, in which the runtime runs.
struct Killed(PathBuf);

impl Killed {
    fn new(bundle: &Bundle) -> Self {
        let path = PathBuf::from(format!("/sys/fs/cgroup/{}-killed", bundle.fresh_id()));
        fs::create_dir(&path).expect("make a cgroup");
        fs::write(path.join("cgroup.kill"), "1").expect("kill no process");
        Killed(path)
    }

    fn inside(&self, cmd: Cmd) -> Cmd {
        cmd.through_shell(&format!("echo $$ >{}/cgroup.procs", self.0.display()))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        eventually("the cgroup can be removed", || fs::remove_dir(&self.0).is_ok());
    }
}

/// Whether /proc/self/cgroup says so, apart from the lines of a hybrid host.
fn is_own_root(text: &Value) -> bool {
    text.as_str().unwrap().lines().any(|line| line == "0::/")
}

#[test]
fn a_runtime_in_a_killed_cgroup_can_create_containers() {
    let bundle = Bundle::new()
        .with_host_hook("createRuntime", "echo runtime >>$OUT")
        .with_host_hook("createContainer", "echo container >>$OUT");
    let killed = Killed::new(&bundle);
    let facts = Facts(killed.inside(bundle.run_cmd(&[])).run().ok().json());
    assert_eq!(facts["pid"], 1);
    assert!(is_own_root(&facts["cgroup"]), "{}", facts["cgroup"]);
    assert_eq!(
        fs::read_to_string(bundle.path("hooks.log")).unwrap(),
        "runtime\ncontainer\n"
    );
    bundle.assert_clean_but(&killed.0);

    // Device rules hold, once.
    let bundle = Bundle::new()
        .with_caps(&["CAP_MKNOD"])
        .args(["probe", "try", "mknod,/dev/odd,b,7,0"]);
    let killed = Killed::new(&bundle);
    let tried = killed.inside(bundle.run_cmd(&[])).run().ok().json();
    assert_eq!(tried[0]["errno"], "EPERM");
}

#[test]
fn namespaces_are_the_same_from_a_killed_cgroup() {
    // A container, because its PID namespace is that of a process in the cgroup.
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let other = bundle.start();
    other.until("ready");
    for (kind, file) in [("ipc", "ipc"), ("pid", "pid")] {
        let path = format!("/proc/{}/ns/{file}", other.pid());
        let expected = fs::read_link(&path).unwrap();
        for user_namespace in [false, true] {
            if user_namespace && kind == "pid" {
                // The procfs on /proc must belong to the user namespace.
                continue;
            }
            let bundle = if user_namespace {
                remapped(Bundle::new().without_mount("/dev/mqueue"))
            } else {
                Bundle::new()
            };
            bundle.change(|c| {
                let mut namespaces = c["linux"]["namespaces"].as_array_mut().unwrap().iter_mut();
                namespaces.find(|namespace| namespace["type"] == kind).unwrap()["path"] = json!(path);
            });
            let killed = Killed::new(&bundle);
            let facts = Facts(killed.inside(bundle.run_cmd(&[])).run().ok().json());
            assert_eq!(facts["namespaces"][file], json!(expected.to_string_lossy()));
            assert!(is_own_root(&facts["cgroup"]), "{}", facts["cgroup"]);
        }
    }
}

#[test]
fn processes_join_from_a_killed_cgroup_too() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    c.until("ready");
    let killed = Killed::new(&bundle);
    let exec = bundle.orlop(["exec", &c.id, "cat", "/proc/self/cgroup"]);
    assert!(is_own_root(&json!(killed.inside(exec).run().ok().stdout)));
    let missing = bundle.orlop(["exec", &c.id, "missing"]);
    killed.inside(missing).run().fails_with("executable file not found");
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
}

#[test]
fn create_start_and_delete_work_from_a_killed_cgroup() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let killed = Killed::new(&bundle);
    let id = bundle.fresh_id();
    killed.inside(bundle.create_cmd(&id, &[])).run().ok();
    assert_eq!(bundle.orlop(["state", &id]).run().json()["status"], "created");
    killed.inside(bundle.orlop(["start", &id])).run().ok();
    assert_eq!(bundle.orlop(["state", &id]).run().json()["status"], "running");
    killed.inside(bundle.orlop(["delete", "--force", &id])).run().ok();
    // A failure is reported as usual.
    bundle.change(|c| c["process"]["args"] = json!(["missing"]));
    killed
        .inside(bundle.run_cmd(&[]))
        .run()
        .fails_with("executable file not found");
    bundle.assert_clean_but(&killed.0);
}

#[test]
fn a_prepared_cgroup_that_was_killed_is_used() {
    let bundle = Bundle::new();
    let killed = Killed::new(&bundle);
    let name = format!("/{}", killed.0.file_name().unwrap().to_str().unwrap());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(name));
    assert!(is_own_root(&bundle.facts()["cgroup"]));
}
