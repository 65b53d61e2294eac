//! The page of `timings`.

use super::page::{Page, USUAL_STATUS};

pub static TIMINGS: Page = Page {
    usage: &["orlop timings [OPTIONS] <FILE>..."],
    description: "
Shows how long the steps of `create`, `start`, `run`, `exec` and `restore` took, and who waited
for whom. These verbs append their steps to a file with --timings=FILE, or if ORLOP_TIMINGS names
a file or a directory. Each call has a section of its own.

In the text, # stands for work, . for waiting, and ! for the step that failed. Steps shorter than
1 µs are only in JSON. The time for which `run` waits for the program takes no room.",
    examples: &[
        (
            "Show where the time of a start goes",
            &[
                "orlop run --detach --timings=web.jsonl --bundle /srv/web web",
                "orlop timings web.jsonl",
            ],
        ),
        (
            "Draw a picture of several calls",
            &["orlop timings --svg web.jsonl mail.jsonl >timings.svg"],
        ),
        (
            "List the steps that took longer than a millisecond",
            &["orlop timings -f json web.jsonl | jq -r '.[].spans[] | select(.duration > 1e6) | .step'"],
        ),
    ],
    exit_status: USUAL_STATUS,
    environment: &[],
    files: &[],
};
