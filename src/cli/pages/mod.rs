//! The texts of the full help (`--help`), one page per verb.

mod check;
mod checkpoint;
mod debug;
mod info;
mod inspect;
mod metrics;
mod page;
mod timings;
mod top;

pub use page::Page;
use page::{
    ACTIVATION, CONFIG, DBUS, FAILURE, NOTIFY, STATE_DIRECTORY, SUCCESS, TIMINGS, TRACE, USUAL_STATUS, XDG_RUNTIME_DIR,
};

use crate::called_as::CalledAs;

/// `orlop create`, of the verb.
pub fn name_of(verb: &[String], called_as: CalledAs) -> String {
    let program = called_as.name().to_string();
    verb.iter().fold(program, |name, verb| name + " " + verb)
}

/// How the verb is called, on one line.
pub fn usage(verb: &[String], called_as: CalledAs) -> Option<String> {
    of(verb).map(|page| called_as.named(&page.usage.join(", or ")).into_owned())
}

/// The page of a verb, or of the program if there is no verb.
pub fn of(verb: &[String]) -> Option<&'static Page> {
    let path: Vec<&str> = verb.iter().map(String::as_str).collect();
    Some(match path.as_slice() {
        [] => &PROGRAM,
        ["create"] => &CREATE,
        ["start"] => &START,
        ["run"] => &RUN,
        ["exec"] => &EXEC,
        ["state"] => &STATE,
        ["debug"] => &debug::DEBUG,
        ["inspect"] => &inspect::INSPECT,
        ["kill"] => &KILL,
        ["delete"] => &DELETE,
        ["list"] => &LIST,
        ["ps"] => &PS,
        ["events"] => &EVENTS,
        ["top"] => &top::TOP,
        ["metrics"] => &metrics::METRICS,
        ["pause"] => &PAUSE,
        ["resume"] => &RESUME,
        ["check"] => &check::CHECK,
        ["checkpoint"] => &checkpoint::CHECKPOINT,
        ["restore"] => &checkpoint::RESTORE,
        ["update"] => &UPDATE,
        ["mounts"] => &MOUNTS,
        ["spec"] => &SPEC,
        ["seccomp"] => &SECCOMP,
        ["seccomp", "explain"] => &EXPLAIN,
        ["seccomp", "dump"] => &DUMP,
        ["info"] => &info::INFO,
        ["features"] => &FEATURES,
        ["timings"] => &timings::TIMINGS,
        ["version"] => &VERSION,
        _ => return None,
    })
}

static PROGRAM: Page = Page {
    usage: &["orlop [GLOBAL OPTIONS] <VERB> [OPTIONS] [ARGUMENTS]"],
    description: "
orlop runs containers according to the OCI runtime specification. A container is created from a
bundle: a directory with a config.json and, usually, a root file system. Verbs and options are
those of runc and crun. Global options are written before the verb.

With --cgroup-manager cgroupfs (the default) orlop creates the cgroup of a new container itself.
With systemd, linux.cgroupsPath has the form SLICE:PREFIX:NAME. With disabled, the container stays
in the caller's cgroup, without limits. With --rootless true, or auto for an unprivileged user, a
container without limits may run without a cgroup if none can be created.

If it is called by a link named runc or crun, the version line, the state directory (/run/runc,
/run/crun), the exit codes of failures and the name in this help are those of that runtime.",
    examples: &[
        (
            "Run a shell in a new container",
            &[
                "mkdir rootfs; tar -C rootfs -xf image.tar",
                "orlop spec",
                "orlop run box",
            ],
        ),
        (
            "Write errors and warnings to a file, as engines do",
            &["orlop --log /var/log/orlop.log --log-format json create --bundle /srv/web web"],
        ),
        ("Show the help on a verb", &["orlop create --help", "orlop help create"]),
    ],
    exit_status: &[
        SUCCESS,
        FAILURE,
        ("255", "Failure of `exec`"),
        (
            "other",
            "Exit status of the program that `run` or `exec` has waited for",
        ),
    ],
    environment: &[XDG_RUNTIME_DIR, ACTIVATION, NOTIFY, DBUS, TIMINGS, TRACE],
    files: &[
        ("/run/orlop", "State directory of root, unless --root is given"),
        (
            "/etc/subuid, /etc/subgid",
            "IDs that an unprivileged user may map into a user namespace",
        ),
    ],
};

static CREATE: Page = Page {
    usage: &["orlop create [OPTIONS] <ID>"],
    description: "
Creates the namespaces, the cgroup, the mounts and the init process. The init process waits until
`orlop start` lets it execute the program of config.json. If anything fails, nothing is left.",
    examples: &[
        (
            "Create a container from a bundle, and start it",
            &["orlop create --bundle /srv/web web", "orlop start web"],
        ),
        (
            "Create a container with a terminal, which a program on the socket receives",
            &["orlop create --console-socket /run/web.tty --pid-file /run/web.pid web"],
        ),
    ],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR, ACTIVATION, NOTIFY, DBUS, TIMINGS, TRACE],
    files: &[CONFIG, STATE_DIRECTORY],
};

static START: Page = Page {
    usage: &["orlop start [OPTIONS] <ID>"],
    description: "
Returns when the program has been executed, and fails if it cannot be.",
    examples: &[("Start a container", &["orlop start web"])],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR, TIMINGS, TRACE],
    files: &[STATE_DIRECTORY],
};

static RUN: Page = Page {
    usage: &["orlop run [OPTIONS] <ID|BUNDLE>"],
    description: "
Creates a container, starts its program, forwards signals and the terminal to it, and deletes the
container when the program has exited. With --detach it returns when the program has started.

A path with a slash, or a directory with a config.json, is a bundle; the container is named after
it.",
    examples: &[
        (
            "Run the bundle in the working directory as container \"web\"",
            &["orlop run web"],
        ),
        (
            "Run a bundle; the container is named after its directory",
            &["orlop run ./bundle/"],
        ),
        (
            "Start a container in the background",
            &["orlop run --detach --bundle /srv/web web"],
        ),
        (
            "List the system calls that the seccomp profile refuses",
            &["orlop run --seccomp-log web"],
        ),
        ("Show how long each step took", &["orlop run --timings web"]),
    ],
    exit_status: &[
        ("0", "Success with --detach"),
        FAILURE,
        ("other", "Exit status of the program, or 128+N if signal N killed it"),
    ],
    environment: &[XDG_RUNTIME_DIR, ACTIVATION, NOTIFY, DBUS, TIMINGS, TRACE],
    files: &[CONFIG, STATE_DIRECTORY],
};

static EXEC: Page = Page {
    usage: &["orlop exec [OPTIONS] <ID> [--] [COMMAND [ARG]...]"],
    description: "
Runs a program in the namespaces and the cgroup of a container, confined like its init process.
Anything not given comes from config.json as it was at create. User names are not looked up in
the container.",
    examples: &[
        ("Run a shell with a terminal", &["orlop exec -t web sh"]),
        (
            "Run a program as another user, with a variable and a working directory",
            &["orlop exec -u 1000:1000 -e LANG=C --cwd /srv web ls -l"],
        ),
        (
            "Run a program in the background",
            &["orlop exec -d --pid-file /run/job.pid web job"],
        ),
    ],
    exit_status: &[
        ("0", "Success with --detach"),
        (
            "255",
            "Failure; the error is printed to standard error and written to the log",
        ),
        ("other", "Exit status of the program, or 128+N if signal N killed it"),
    ],
    environment: &[XDG_RUNTIME_DIR, TIMINGS, TRACE],
    files: &[STATE_DIRECTORY],
};

static STATE: Page = Page {
    usage: &["orlop state <ID>"],
    description: "
Prints ociVersion, id, status (creating, created, running, paused or stopped), pid, bundle and
annotations, as the runtime specification defines them, and a few fields that engines expect.",
    examples: &[
        ("Print the state", &["orlop state web"]),
        ("Print only the status", &["orlop state web | jq -r .status"]),
    ],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR],
    files: &[STATE_DIRECTORY],
};

static KILL: Page = Page {
    usage: &[
        "orlop kill [OPTIONS] <ID> [SIGNAL]",
        "orlop kill [OPTIONS] --signal <SIGNAL> <ID>...",
    ],
    description: "
Signals have a name (TERM, SIGTERM, RTMIN+1) or a number. Signal 0 only checks that the init
process exists. With --all it is not an error if there are no processes left. With --regex the
signal goes to every running container whose ID matches in any part.",
    examples: &[
        (
            "Ask a container to exit, then kill it",
            &["orlop kill web", "orlop kill web KILL"],
        ),
        ("Signal several containers", &["orlop kill --signal HUP web mail"]),
        (
            "Kill all containers whose IDs begin with \"test-\"",
            &["orlop kill --regex '^test-' KILL"],
        ),
    ],
    exit_status: &[SUCCESS, ("1", "Failure for at least one container")],
    environment: &[XDG_RUNTIME_DIR],
    files: &[STATE_DIRECTORY],
};

static DELETE: Page = Page {
    usage: &["orlop delete [OPTIONS] <ID>..."],
    description: "
Removes the state and the cgroup of a container, and runs its poststop hooks. A created container
is killed first (not with --strict), any other only with --force. With --regex every container
whose ID matches in any part is deleted.",
    examples: &[
        ("Delete stopped containers", &["orlop delete web mail"]),
        ("Kill and delete a container", &["orlop delete --force web"]),
        ("Kill and delete every container", &["orlop delete --force --regex ."]),
    ],
    exit_status: &[SUCCESS, ("1", "Failure for at least one container")],
    environment: &[XDG_RUNTIME_DIR],
    files: &[STATE_DIRECTORY],
};

static LIST: Page = Page {
    usage: &["orlop list [OPTIONS]"],
    description: "
Lists the containers of a state directory (--root), those of other callers included.",
    examples: &[
        ("List containers as a table", &["orlop list"]),
        (
            "Print the IDs of all running containers",
            &["orlop list -f json | jq -r '.[]? | select(.status == \"running\").id'"],
        ),
    ],
    exit_status: &[SUCCESS, ("1", "Failure, or the state of a container cannot be read")],
    environment: &[XDG_RUNTIME_DIR],
    files: &[STATE_DIRECTORY],
};

static PS: Page = Page {
    usage: &["orlop ps [OPTIONS] <ID> [PS OPTION]..."],
    description: "
Prints the lines of ps(1) that belong to processes of the container. PIDs are those of the host.",
    examples: &[
        ("List the processes of a container", &["orlop ps web"]),
        ("Choose the columns", &["orlop ps web -eo pid,rss,args"]),
        ("Print the PIDs", &["orlop ps --format json web"]),
    ],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR, ("PATH", "Where ps is found")],
    files: &[STATE_DIRECTORY],
};

static EVENTS: Page = Page {
    usage: &["orlop events [OPTIONS] <ID>"],
    description: "
Prints a report (type \"stats\") at every interval, and an event (type \"oom\") whenever the kernel
kills a process of the container because memory has run out. Exits when the container has stopped.",
    examples: &[
        ("Print one report", &["orlop events --stats web"]),
        (
            "Watch memory usage",
            &["orlop events --interval 1s web | jq .data.memory.usage.usage"],
        ),
    ],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR],
    files: &[STATE_DIRECTORY],
};

static PAUSE: Page = Page {
    usage: &["orlop pause <ID>"],
    description: "
Uses the cgroup freezer. `orlop resume` lets the processes continue.",
    examples: &[(
        "Freeze a container for the time of a backup",
        &["orlop pause web", "orlop resume web"],
    )],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR],
    files: &[STATE_DIRECTORY],
};

static RESUME: Page = Page {
    usage: &["orlop resume <ID>"],
    description: "
Lets the processes that `orlop pause` has frozen continue.",
    examples: &[("Resume a container", &["orlop resume web"])],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR],
    files: &[STATE_DIRECTORY],
};

static UPDATE: Page = Page {
    usage: &["orlop update [OPTIONS] <ID>"],
    description: "
Changes the limits that are given and keeps the others. Either all changes are made or none. Limits
come from options or from a file (--resources), not from both.",
    examples: &[
        (
            "Limit memory, and CPU time to half a CPU",
            &["orlop update --memory 512M --cpu-period 100000 --cpu-quota 50000 web"],
        ),
        ("Remove the limit of processes", &["orlop update --pids-limit -1 web"]),
        (
            "Take limits from JSON",
            &["echo '{\"memory\": {\"limit\": 536870912}}' | orlop update --resources - web"],
        ),
    ],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR, DBUS],
    files: &[STATE_DIRECTORY],
};

static MOUNTS: Page = Page {
    usage: &["orlop mounts <add|remove> <ID> <FILE>"],
    description: "
The file has a JSON list of mounts, as in config.json. `add` mounts them in the mount namespace of
the container; `remove` unmounts whatever is mounted at their destinations.",
    examples: &[
        (
            "Mount a directory of the host at /data",
            &[
                "echo '[{\"destination\": \"/data\", \"source\": \"/srv/data\", \"options\": [\"bind\"]}]' >data.json",
                "orlop mounts add web data.json",
            ],
        ),
        ("Unmount it", &["orlop mounts remove web data.json"]),
    ],
    exit_status: USUAL_STATUS,
    environment: &[XDG_RUNTIME_DIR],
    files: &[STATE_DIRECTORY],
};

static SPEC: Page = Page {
    usage: &["orlop spec [OPTIONS]"],
    description: "
Writes a configuration that runs a shell in the root file system \"rootfs\". An existing config.json
is not overwritten.",
    examples: &[
        ("Write config.json to the working directory", &["orlop spec"]),
        (
            "Write one that runs without root",
            &["mkdir ~/box", "orlop spec --rootless --bundle ~/box"],
        ),
    ],
    exit_status: USUAL_STATUS,
    environment: &[],
    files: &[("DIR/config.json", "The file that is written")],
};

static SECCOMP: Page = Page {
    usage: &["orlop seccomp <VERB> [OPTIONS] <BUNDLE|PROFILE> [ARGUMENTS]"],
    description: "
Shows the effect of a profile without running a container. `orlop run --seccomp-log` lists the
calls that a profile refuses to a running program.",
    examples: &[
        (
            "Show whether a bundle may call clone3",
            &["orlop seccomp explain /srv/web clone3"],
        ),
        ("Print the compiled filter", &["orlop seccomp dump /srv/web"]),
    ],
    exit_status: USUAL_STATUS,
    environment: &[],
    files: &[CONFIG],
};

static EXPLAIN: Page = Page {
    usage: &["orlop seccomp explain [OPTIONS] <BUNDLE|PROFILE> <SYSCALL> [ARGS]..."],
    description: "
Prints the action of the profile for a system call, and the rule that decides. Arguments of the
call are numbers: decimal, hexadecimal (0x10), or negative.",
    examples: &[
        (
            "Show all conditions on socket",
            &["orlop seccomp explain profile.json socket"],
        ),
        (
            "Show what happens to socket(AF_NETLINK, SOCK_RAW, 9)",
            &["orlop seccomp explain --arch x86_64 profile.json socket 16 3 9"],
        ),
    ],
    exit_status: USUAL_STATUS,
    environment: &[],
    files: &[CONFIG],
};

static DUMP: Page = Page {
    usage: &["orlop seccomp dump <BUNDLE|PROFILE>"],
    description: "
Prints the instructions of the filter as the kernel gets them, one a line.",
    examples: &[("Print the filter of a bundle", &["orlop seccomp dump /srv/web"])],
    exit_status: USUAL_STATUS,
    environment: &[],
    files: &[CONFIG],
};

static FEATURES: Page = Page {
    usage: &["orlop features"],
    description: "
Prints the features structure of the runtime specification: what this build supports, on any host.",
    examples: &[(
        "Print the supported mount options",
        &["orlop features | jq -r '.mountOptions[]'"],
    )],
    exit_status: USUAL_STATUS,
    environment: &[],
    files: &[],
};

static VERSION: Page = Page {
    usage: &["orlop version"],
    description: "
Prints the version of orlop, its commit, and the version of the runtime specification, in the
format of runc.",
    examples: &[("Print the version", &["orlop version", "orlop --version"])],
    exit_status: USUAL_STATUS,
    environment: &[],
    files: &[],
};
