//! The unit file of docs/systemd.md.

use std::fs;

use super::{BOOTED, is_booted, shown, systemctl};
use crate::harness::{Bundle, eventually, host, runtime};
use crate::need;

/// The block of the document that is a unit file.
fn documented() -> String {
    let document = include_str!("../../../docs/systemd.md");
    let block: Vec<&str> = document
        .lines()
        .skip_while(|line| *line != "    [Unit]")
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| line.trim_start_matches(' '))
        .collect();
    block.join("\n") + "\n"
}

#[test]
fn the_documented_service_runs_a_container() {
    need!(is_booted(), BOOTED);
    let bundle = Bundle::new()
        .sh("trap 'exit 0' TERM; probe notify READY=1 'STATUS=serving'; while :; do sleep 0.1; done")
        .edit(|c| drop(c["linux"].as_object_mut().expect("linux").remove("cgroupsPath")));
    let id = bundle.fresh_id();
    let (name, unit) = (format!("{id}.service"), documented());
    for expected in ["/usr/local/bin/orlop", "--bundle /srv/web web", "--force web"] {
        assert!(unit.contains(expected), "{unit}");
    }
    let unit = unit
        .replace("/usr/local/bin/orlop", &runtime().display().to_string())
        .replace("/srv/web web", &format!("{} {id}", bundle.dir().display()))
        .replace("--force web", &format!("--force {id}"));
    let file = format!("/run/systemd/system/{name}");
    fs::write(&file, unit).expect("write the unit");
    systemctl(&["daemon-reload"]);
    let state = || bundle.without_root(["state", &id]).run();
    let main = || shown(&[], &name, "MainPID").parse::<i32>().unwrap_or(0);

    // Returns when the program is ready.
    systemctl(&["start", &name]);
    assert_eq!(shown(&[], &name, "ActiveState"), "active");
    assert_eq!(shown(&[], &name, "StatusText"), "serving");
    assert_eq!(state().ok().json()["status"], "running");
    let first = main();

    // Even if the runtime is killed, nothing is in the way of a new start.
    host::kill(first);
    eventually("a new start", || {
        main() > 0 && main() != first && shown(&[], &name, "ActiveState") == "active"
    });
    assert_eq!(state().ok().json()["status"], "running");

    systemctl(&["stop", &name]);
    let ended = ["ActiveState", "Result", "ExecMainStatus"].map(|property| shown(&[], &name, property));
    assert_eq!(ended, ["inactive", "success", "0"]);
    state().fails_with("container does not exist");
    fs::remove_file(&file).expect("remove the unit");
    systemctl(&["daemon-reload"]);
}
