//! The page of `debug`.

use super::page::{Entry, Page, STATE_DIRECTORY, XDG_RUNTIME_DIR};

const SHELL: Entry = ("SHELL", "The program to run if no command is given; else /bin/sh");
const ORLOP_ROOT: Entry = ("ORLOP_ROOT", "Set for the program: the path of the container's root");

pub static DEBUG: Page = Page {
    usage: &["orlop debug [OPTIONS] <ID> [[--] <COMMAND> [ARGUMENTS]]"],
    description: "
Runs a program of the host in namespaces of a container: for images that have no shell or no tools.
The program has the host's files, the caller's user and environment, and the container's network,
processes, IPC objects and host name. /proc shows the processes of the container. Its files are
below $ORLOP_ROOT; an absolute symbolic link there leads to a file of the host.

--namespaces selects other namespaces of network, pid, ipc, uts, cgroup and time. The mount and the
user namespace are never those of the container. The program stays in the caller's cgroup, so that
the container's limits, and `pause`, do not apply to it. It ends with the container if it has
entered the pid namespace.

Processes of the container see the program and its command line there, and those of the same user
can send it signals. They cannot trace it or read its files and environment: the pid namespace is
not entered if one of them has CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON, or every capability of
the program, over the host's user namespace. Without root only containers with a user namespace can
be debugged, and not their pid namespace.",
    examples: &[
        (
            "Run a shell of the host in the namespaces of a container",
            &["orlop debug web"],
        ),
        (
            "Watch the traffic of a container",
            &["orlop debug web -- tcpdump -i eth0"],
        ),
        (
            "Enter only the network namespace, for a script",
            &["orlop debug --quiet --namespaces network web ss -tln"],
        ),
        (
            "List the files of the container",
            &["orlop debug web -- sh -c 'ls $ORLOP_ROOT'"],
        ),
    ],
    exit_status: &[
        (
            "255",
            "Failure; the error is printed to standard error and written to the log",
        ),
        ("other", "Exit status of the program, or 128+N if signal N killed it"),
    ],
    environment: &[SHELL, ORLOP_ROOT, XDG_RUNTIME_DIR],
    files: &[STATE_DIRECTORY],
};
