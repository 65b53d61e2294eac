//! The page of `info`.

use super::page::{DBUS, Page, STATE_DIRECTORY, USUAL_STATUS, XDG_RUNTIME_DIR};

pub static INFO: Page = Page {
    usage: &["orlop info [OPTIONS]"],
    description: "
Shows the features of the kernel, the cgroup tree, user namespaces, file systems, systemd and CRIU
as far as containers depend on them, for the user who calls it. Each line has a status: ok,
limited (some configurations are refused), missing (no container can be created) or unknown; and
what to do about it, where something can be done. Nothing is changed. docs/metrics.md describes the
JSON.",
    examples: &[
        ("Show everything", &["orlop info"]),
        (
            "Print what is not ok",
            &["orlop info -f json | jq '.[][] | select(.status != \"ok\")'"],
        ),
    ],
    exit_status: USUAL_STATUS,
    environment: &[
        XDG_RUNTIME_DIR,
        DBUS,
        ("PATH", "Where newuidmap, newgidmap and criu are found"),
    ],
    files: &[
        STATE_DIRECTORY,
        ("/etc/subuid, /etc/subgid", "IDs that an unprivileged user may map"),
    ],
};
