//! The pages of `checkpoint` and `restore`.

use super::page::{CONFIG, Entry, FAILURE, Page, STATE_DIRECTORY, USUAL_STATUS, XDG_RUNTIME_DIR};

const PATH: Entry = ("PATH", "Where criu is found");
const CRIU_CONFIG: Entry = (
    "/etc/criu/orlop.conf, /etc/criu/runc.conf",
    "Options for CRIU, which override those of the command line; the first file that exists",
);

pub static CHECKPOINT: Page = Page {
    usage: &["orlop checkpoint [OPTIONS] <ID>"],
    description: "
Saves the processes of a running or paused container with CRIU, a separate program, and deletes
the container.",
    examples: &[(
        "Save a container, and restore it",
        &[
            "orlop checkpoint --image-path /srv/images web",
            "orlop restore --image-path /srv/images --bundle /srv/web --detach web",
        ],
    )],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR, PATH],
    files: &[
        ("DIR/dump.log", "Log of CRIU, in --work-path"),
        CRIU_CONFIG,
        STATE_DIRECTORY,
    ],
};

pub static RESTORE: Page = Page {
    usage: &["orlop restore [OPTIONS] <ID>"],
    description: "
Creates a container from the files that `orlop checkpoint` has written, with CRIU.",
    examples: &[(
        "Restore a container in the background",
        &["orlop restore --image-path /srv/images --bundle /srv/web --detach web"],
    )],
    exit_status: &[
        ("0", "Success with --detach"),
        FAILURE,
        ("other", "Exit status of the program, or 128+N if signal N killed it"),
    ],
    environment: &[XDG_RUNTIME_DIR, PATH],
    files: &[
        CONFIG,
        ("DIR/restore.log", "Log of CRIU, in --work-path"),
        CRIU_CONFIG,
        STATE_DIRECTORY,
    ],
};
