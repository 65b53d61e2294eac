//! The page of `metrics`.

use super::page::{Page, STATE_DIRECTORY, SUCCESS, XDG_RUNTIME_DIR};

pub static METRICS: Page = Page {
    usage: &["orlop metrics [OPTIONS]"],
    description: "
Prints what every container uses in the text format of OpenMetrics, for Prometheus. Names and
meanings are those of cAdvisor where it has them; the label \"id\" is the container ID. Values that
the cgroup of a container does not have are left out. docs/metrics.md describes them all.

With --output the file is replaced as a whole, so that the textfile collector of node_exporter
never reads half of it.",
    examples: &[
        ("Print the metrics", &["orlop metrics"]),
        (
            "Write them for the textfile collector of node_exporter",
            &["orlop metrics --output /var/lib/prometheus/node-exporter/orlop.prom"],
        ),
        (
            "Label containers with the name that CRI-O has given them",
            &["orlop metrics --annotation io.kubernetes.container.name"],
        ),
    ],
    exit_status: &[
        SUCCESS,
        (
            "1",
            "Failure, or a container cannot be read; the metrics of the others are written",
        ),
    ],
    environment: &[XDG_RUNTIME_DIR],
    files: &[STATE_DIRECTORY],
};
