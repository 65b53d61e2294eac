//! The pages of `checkpoint` and `restore`.

use super::page::{CONFIG, Entry, FAILURE, Page, STATE_DIRECTORY, TIMINGS, TRACE, USUAL_STATUS, XDG_RUNTIME_DIR};

const PATH: Entry = ("PATH", "Where criu is found");
const CRIU_CONFIG: Entry = (
    "/etc/criu/orlop.conf, else crun.conf, else runc.conf",
    "Options of CRIU, which take precedence; the annotation org.criu.config names another file",
);

pub static CHECKPOINT: Page = Page {
    usage: &["orlop checkpoint [OPTIONS] <ID>"],
    description: "
Saves the processes of a running or paused container to image files and deletes the container; with
--leave-running it continues. If the checkpoint fails, the container continues as before. The work
is done by CRIU, a separate program; criu(8) describes its options. `restore` needs
--tcp-established, --tcp-close, --ext-unix-sk, --shell-job and --file-locks again if they were given
to `checkpoint`. Processes started by `exec` are left out.

CRIU's options can also be set in a file (see below). The annotation org.criu.config in config.json
names another file; if it is empty, no file is read.

To stop a container only briefly while it moves to another host, copy its memory beforehand with
--pre-dump: the container continues, and a checkpoint with --parent-path saves only what has
changed since. With --page-server the memory goes directly to `criu page-server` on the other host.

With --lazy-pages no memory is saved. The verb waits for `criu lazy-pages` on the other host, which
fetches it from the port of --page-server. CRIU then ignores the address and accepts connections on
all IPv4 addresses. Neither server encrypts or authenticates anything unless TLS is configured.",
    examples: &[
        (
            "Save a container, and restore it",
            &[
                "orlop checkpoint --image-path /srv/img web",
                "orlop restore --image-path /srv/img --bundle /srv/web --detach web",
            ],
        ),
        (
            "Save a container and let it continue",
            &["orlop checkpoint --leave-running --tcp-established --image-path /srv/img web"],
        ),
        (
            "Move a container to host b; most of its memory is copied while it runs",
            &[
                "ssh b 'mkdir /srv/pre /srv/img; criu page-server --daemon -D /srv/pre --port 9876'",
                "orlop checkpoint --pre-dump --image-path /srv/pre --page-server b:9876 web",
                "ssh b criu page-server --daemon -D /srv/img --prev-images-dir ../pre --port 9876",
                "orlop checkpoint --image-path /srv/img --parent-path ../pre --page-server b:9876 web",
                "rsync -a /srv/pre /srv/img b:/srv",
                "ssh b orlop restore --image-path /srv/img --bundle /srv/web --detach web",
            ],
        ),
    ],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR, PATH],
    files: &[
        ("DIR/dump.log", "Log of CRIU; DIR is --work-path, or else --image-path"),
        CRIU_CONFIG,
        STATE_DIRECTORY,
    ],
};

pub static RESTORE: Page = Page {
    usage: &["orlop restore [OPTIONS] <ID>"],
    description: "
Creates a container from the image files of a checkpoint, and lets its processes continue. The
bundle must have the root file system and the config.json of the checkpoint; only the sources of
bind mounts and the limits may differ. The ID may be another one. If the restore fails, nothing is
left of the container.

Like `run`, it forwards signals, waits until the program exits, and deletes the container. With
--detach it returns when the processes have been restored. A container with a terminal gets a new
one, as with `run`.

The work is done by CRIU, a separate program; criu(8) describes its options. They can also be set
in a file (see below). The annotation org.criu.config in config.json names another file; if it is
empty, no file is read.

With --lazy-pages memory is fetched when it is used. `criu lazy-pages` must be running with the
same working directory, where it creates a socket.",
    examples: &[
        (
            "Restore a container in the background",
            &["orlop restore --image-path /srv/img --bundle /srv/web --detach web"],
        ),
        (
            "Restore a container whose memory is still on host a, which runs `checkpoint --lazy-pages`",
            &[
                "criu lazy-pages --daemon -D /srv/img --page-server --address a --port 9876",
                "orlop restore --lazy-pages --image-path /srv/img --bundle /srv/web --detach web",
            ],
        ),
    ],
    exit_status: &[
        ("0", "Success with --detach"),
        FAILURE,
        ("other", "Exit status of the program, or 128+N if signal N killed it"),
    ],
    environment: &[XDG_RUNTIME_DIR, PATH, TIMINGS, TRACE],
    files: &[
        CONFIG,
        (
            "DIR/restore.log",
            "Log of CRIU; DIR is --work-path, or else --image-path",
        ),
        CRIU_CONFIG,
        STATE_DIRECTORY,
    ],
};
