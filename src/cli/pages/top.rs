//! The page of `top`.

use super::page::{Page, STATE_DIRECTORY, USUAL_STATUS, XDG_RUNTIME_DIR};

pub static TOP: Page = Page {
    usage: &["orlop top [OPTIONS] [ID]..."],
    description: "
Shows a table of the containers and refreshes it at every interval. Keys choose what it is sorted
by: c (CPU), m (memory), p (pids), i (IO), n (name); q quits. Without a terminal each sample is
printed as a table after the one before; with --format json, as a document on a line of its own.

CPU% is in percent of one CPU. THR% is the share of the periods in which the CPU quota was used up.
PSI is the share of the last 10 seconds in which some or all threads waited (some/full). A value
that the cgroup of a container does not have is shown as -. docs/metrics.md describes the JSON.",
    examples: &[
        ("Watch all containers", &["orlop top"]),
        ("Watch two containers, by memory", &["orlop top --sort memory web db"]),
        (
            "Print the CPU usage of the next 10 seconds",
            &["orlop top --interval 10s --count 1 -f json | jq '.containers[] | {id, cpu: .cpu.percent}'"],
        ),
    ],
    exit_status: USUAL_STATUS,
    environment: &[
        XDG_RUNTIME_DIR,
        ("TERM", "If it is empty or dumb, tables are printed one after the other"),
    ],
    files: &[STATE_DIRECTORY],
};
