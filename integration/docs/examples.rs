//! Every example of the help and the man pages is run, or has a reason not to be.

use std::collections::BTreeSet;

use orlop_manual::verbs::{Verb, program};

use super::session;
use crate::harness::checkpoint::{CRIU, has_criu};
use crate::harness::golden::{OWN_TEXTS, own_texts};
use crate::harness::record_skip;
use crate::need;

/// What must be there for the examples of a verb: by the verb, or by the purpose of the example, which counts more.
const SETUPS: &[(&str, &str)] = &[
    ("create", "cd /srv/web"),
    (
        "Create a container with a terminal, which a program on the socket receives",
        RECEIVE_TERMINAL,
    ),
    ("start", "orlop create --bundle /srv/web web"),
    ("run", "cd /srv/web; (sleep 1; orlop kill web) &"),
    (
        "Run a bundle; the container is named after its directory",
        "cd /srv; mv web bundle; (sleep 1; orlop kill bundle) &",
    ),
    ("exec", RUN_WEB),
    ("Run a program in the background", RUN_JOB),
    ("state", RUN_WEB),
    ("kill", RUN_WEB),
    ("Signal several containers", RUN_TWO),
    ("Kill all containers whose IDs begin with \"test-\"", RUN_TEST),
    ("Delete stopped containers", CREATE_TWO),
    ("Kill and delete a container", RUN_WEB),
    ("Kill and delete every container", RUN_TWO),
    ("debug", RUN_WEB),
    ("inspect", RUN_WEB),
    ("list", RUN_WEB),
    ("ps", RUN_WEB),
    ("events", RUN_WEB),
    ("Watch memory usage", RUN_BRIEFLY),
    ("top", RUN_WEB),
    ("inspect", RUN_WEB),
    ("debug", RUN_WEB),
    (
        "Write them for the textfile collector of node_exporter",
        "mount -t tmpfs none /var/lib; mkdir -p /var/lib/prometheus/node-exporter",
    ),
    ("pause", RUN_WEB),
    ("Resume a container", RUN_PAUSED),
    (
        "Check a configuration before it is written",
        "exec </srv/web/config.json",
    ),
    ("checkpoint", RUN_WEB),
    ("Restore a container in the background", RUN_CHECKPOINTED),
    ("timings", RUN_TIMED),
    ("update", RUN_WEB),
    ("mounts", RUN_WEB),
    ("Unmount it", RUN_MOUNTED),
];

const RUN_WEB: &str = "orlop run --detach --bundle /srv/web web </dev/null >/dev/null 2>&1";
const RUN_TWO: &str = "for id in web mail; do orlop run --detach --bundle /srv/web $id; done";
const RUN_TEST: &str = "orlop run --detach --bundle /srv/web test-1";
const RUN_PAUSED: &str = "orlop run --detach --bundle /srv/web web; orlop pause web";
const CREATE_TWO: &str = "for id in web mail; do orlop create --bundle /srv/web $id; done";
const RUN_JOB: &str = "ln -s true /srv/web/rootfs/bin/job; orlop run --detach --bundle /srv/web web";
const RUN_BRIEFLY: &str = "orlop run --detach --bundle /srv/web web; (sleep 2; orlop kill web KILL) &";
const RUN_TIMED: &str = "for id in web mail; do orlop run --detach --timings=$id.jsonl --bundle /srv/web $id; done
orlop delete --force web";
const RUN_CHECKPOINTED: &str = "orlop run --detach --bundle /srv/web web </dev/null >/dev/null 2>&1
orlop checkpoint --image-path /srv/img web";
const RUN_MOUNTED: &str = "orlop run --detach --bundle /srv/web web
echo '[{\"destination\": \"/data\", \"source\": \"/srv/data\", \"options\": [\"bind\"]}]' >data.json
orlop mounts add web data.json";
const RECEIVE_TERMINAL: &str = "cd /srv/web
sed -i 's/\"terminal\":false/\"terminal\":true/' config.json
rm -f /run/web.tty
python3 -c \"import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('/run/web.tty'); s.listen(); s.accept(); time.sleep(3)\" &
until [ -S /run/web.tty ]; do sleep 0.1; done";

/// Examples that are not run, by their purposes, with the reason.
const NOT_RUN: &[(&str, &str)] = &[
    ("Watch the traffic of a container", "runs until it is interrupted"),
    (
        "Move a container to host b; most of its memory is copied while it runs",
        "needs another host",
    ),
    (
        "Restore a container whose memory is still on host a, which runs `checkpoint --lazy-pages`",
        "needs another host",
    ),
    ("Watch the traffic of a container", "needs tcpdump"),
    ("Watch all containers", "a key ends it"),
    ("Watch two containers, by memory", "a key ends it"),
];

/// Examples that limit resources.
const LIMITS: &[&str] = &[
    "Limit memory, and CPU time to half a CPU",
    "Remove the limit of processes",
    "Take limits from JSON",
];

#[test]
fn the_examples_of_the_help_work() {
    need!(own_texts(), OWN_TEXTS);
    let mut lacking = BTreeSet::new();
    let program = program();
    let (mut run, mut not_run, mut used, mut failed) = (0, Vec::new(), Vec::new(), Vec::new());
    for verb in program.all() {
        for (purpose, lines) in verb.page.examples {
            let name = format!("{}: {purpose}", verb.name(" "));
            if let Some((_, reason)) = NOT_RUN.iter().find(|(of, _)| of == purpose) {
                not_run.push(format!("{name}: {reason}"));
                used.push(*purpose);
                continue;
            }
            if LIMITS.contains(purpose) && !session::has_controllers() {
                lacking.insert("cgroup controllers cpu, memory and pids");
                continue;
            }
            if ["checkpoint", "restore"].iter().any(|name| verb.path == [*name]) && !has_criu() {
                lacking.insert(CRIU);
                continue;
            }
            let mut commands = lines.join("\n");
            if let Some((of, before)) = setup(verb, purpose) {
                commands = format!("{before}\n{commands}");
                used.push(of);
            }
            failed.extend(session::run(&[(name, commands)]).err());
            run += 1;
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    println!(
        "{run} examples run, {} not run:\n  {}",
        not_run.len(),
        not_run.join("\n  ")
    );
    if !lacking.is_empty() {
        record_skip(&format!(
            "for some examples: {}",
            lacking.into_iter().collect::<Vec<_>>().join("; ")
        ));
    }
    let listed = NOT_RUN.iter().chain(SETUPS).map(|(of, _)| *of);
    let used_if_possible = |of: &str| LIMITS.contains(&of) || ["update", "checkpoint"].contains(&of);
    let unused: Vec<&str> = listed
        .filter(|of| !used.contains(of) && !used_if_possible(of))
        .collect();
    assert!(unused.is_empty(), "no example has this purpose or verb: {unused:?}");
}

fn setup(verb: &Verb, purpose: &str) -> Option<(&'static str, &'static str)> {
    let path = verb.path.join(" ");
    let find = |of: &str| SETUPS.iter().find(|(name, _)| *name == of).copied();
    find(purpose).or_else(|| find(&path))
}
