//! The page of `inspect`.

use super::page::{Page, STATE_DIRECTORY, USUAL_STATUS, XDG_RUNTIME_DIR};

pub static INSPECT: Page = Page {
    usage: &["orlop inspect [OPTIONS] <ID>"],
    description: "
Shows what is really in force for a container, beside what its config.json asked for: namespaces, ID
maps, cgroup and limits, mounts, capabilities, seccomp, resource limits, scheduling, kernel
parameters and processes. Lines that begin with ! mark differences: \"differs\", \"missing\" (asked
for and not there) or \"additional\" (there and not asked for).

Limits are compared with those of the last `update`. What cannot be read is \"unknown\", with the
reason, and never counts as equal. Containers that have stopped, or whose create was killed, are
shown as far as anything is left of them. No privilege is needed for one's own containers.

The JSON (--format json) is described in docs/inspect.md.",
    examples: &[
        ("Inspect a container", &["orlop inspect web"]),
        (
            "List what differs from config.json, for a script",
            &["orlop inspect --format json web | jq -r '.differences[]'"],
        ),
    ],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR],
    files: &[STATE_DIRECTORY],
};
