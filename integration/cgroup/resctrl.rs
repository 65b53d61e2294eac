//! `linux.intelRdt` of an existing container, in plain directories that stand in for resctrl and that the container's
//! state is edited to name.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Bundle, Container, runtime};
use crate::need;

const SHARES: &str = "L3:0=ff;1=ff\nMB:0=100;1=100\n";

/// The container's class, which another program has created.
fn class(c: &Container) -> PathBuf {
    let directory = c.bundle.path("resctrl").join("gold");
    fs::create_dir_all(&directory).expect("make the class");
    fs::write(directory.join("schemata"), SHARES).expect("write its shares");
    fs::write(directory.join("tasks"), "").expect("write its tasks");
    let state = c.bundle.state_root().join(&c.id).join("state.json");
    let mut known: Value = serde_json::from_slice(&fs::read(&state).expect("the state")).expect("JSON");
    known["class"] = json!({ "joined": directory });
    fs::write(&state, known.to_string()).expect("write the state");
    directory
}

#[test]
fn a_process_that_joins_is_in_the_containers_class() {
    need!(runtime().ends_with("orlop"), "the state of orlop");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let class = class(&c);
    for _ in 0..2 {
        bundle.orlop(["exec", &c.id, "true"]).run().ok();
    }
    // Two processes enter it one after the other: plain directories keep both numbers, the kernel would not.
    let tasks = fs::read_to_string(class.join("tasks")).expect("its tasks");
    assert!(
        tasks.len() >= 2 && tasks.bytes().all(|byte| byte.is_ascii_digit()),
        "{tasks:?}"
    );
    // A process that cannot be put there does not run.
    fs::remove_file(class.join("tasks")).expect("remove its tasks");
    fs::create_dir(class.join("tasks")).expect("make a directory in their place");
    let refused = bundle
        .orlop(["exec", &c.id, "true"])
        .run()
        .fails_with("class of service");
    assert_eq!(refused.code, 255);
}

#[test]
fn shares_of_caches_and_bandwidth_are_updated() {
    need!(runtime().ends_with("orlop"), "the state of orlop");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let update = |flags: &[&str]| bundle.orlop([&["update"], flags, &[c.id.as_str()]].concat()).run();
    update(&["--l3-cache-schema", "L3:0=f"]).fails_with("non-existent Intel RDT");
    let schemata = class(&c).join("schemata");
    let written = || fs::read_to_string(&schemata).expect("its shares");
    for (flags, lines) in [
        (&["--l3-cache-schema", "L3:0=f"][..], "L3:0=f\n"),
        (&["--mem-bw-schema", "MB:0=20;1=70"], "MB:0=20;1=70\n"),
        (
            &["--mem-bw-schema", "MB:0=20", "--l3-cache-schema", "L3:1=1"],
            "L3:1=1\nMB:0=20\n",
        ),
    ] {
        fs::write(&schemata, SHARES).expect("the shares from before");
        update(flags).ok();
        assert_eq!(written(), format!("{SHARES}{lines}"));
    }
    fs::write(&schemata, SHARES).expect("the shares from before");
    for (flags, message) in [
        (&["--l3-cache-schema", "f"][..], "is not a schema of this resource"),
        (&["--mem-bw-schema", "L3:0=f"], "is not a schema of this resource"),
        (&["--mem-bw-schema", "MB:0=1\nMB:0=2"], "is not one line"),
    ] {
        update(flags).fails_with(message);
        assert_eq!(written(), SHARES);
    }
    // All or nothing: when a limit is refused, the shares are restored.
    update(&["--l3-cache-schema", "L3:0=f", "--unified", "cgroup.max.depth=bogus"]).fails_with("cgroup.max.depth");
    assert_eq!(written(), format!("{SHARES}L3:0=f\nL3:0=ff;1=ff\n"));
}
