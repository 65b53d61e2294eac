//! What a page has, and the entries that several pages share.

/// The parts of a page that clap does not know.
#[derive(Debug)]
pub struct Page {
    /// How the verb is called, one form per line.
    pub usage: &'static [&'static str],
    pub description: &'static str,
    /// Each is a purpose, and the command lines that serve it.
    pub examples: &'static [(&'static str, &'static [&'static str])],
    pub exit_status: &'static [Entry],
    pub environment: &'static [Entry],
    pub files: &'static [Entry],
}

/// A name, and a line about it.
pub type Entry = (&'static str, &'static str);

pub const SUCCESS: Entry = ("0", "Success");
pub const FAILURE: Entry = (
    "1",
    "Failure; the error is printed to standard error and written to the log",
);
pub const USUAL_STATUS: &[Entry] = &[SUCCESS, FAILURE];

pub const XDG_RUNTIME_DIR: Entry = (
    "XDG_RUNTIME_DIR",
    "Unless --root is given, unprivileged users keep their state in $XDG_RUNTIME_DIR/orlop",
);
pub const DBUS: Entry = (
    "DBUS_SYSTEM_BUS_ADDRESS, DBUS_SESSION_BUS_ADDRESS",
    "Buses of systemd and of the user's systemd (with --systemd-cgroup)",
);
pub const ACTIVATION: Entry = (
    "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
    "Socket activation: the sockets are passed to the program, see sd_listen_fds(3)",
);
pub const NOTIFY: Entry = (
    "NOTIFY_SOCKET",
    "The program's readiness is reported to this socket, see sd_notify(3)",
);

pub const TIMINGS: Entry = (
    "ORLOP_TIMINGS",
    "File to append timings to, or directory for one file per call (without --timings)",
);
pub const TRACE: Entry = (
    "TRACEPARENT",
    "W3C trace context; its IDs are added to the log and the timings",
);

pub const STATE_DIRECTORY: Entry = (
    "/run/orlop/ID",
    "State of the container (in root's default state directory)",
);
pub const CONFIG: Entry = ("BUNDLE/config.json", "Configuration, see `orlop spec`");
