//! A child in a process group of its own, in the foreground of the terminal.
//!
//! A shell wants to be in the terminal's foreground with a group whose number it can see, which that of the runtime is not from
//! another PID namespace. So the child leads a group, as a job of a shell does. The keys of the terminal reach it alone. When
//! one of them stops it, this process stops too, with its own group, for the shell that has started it, and lets the child go on when it is
//! continued itself.

use std::os::fd::BorrowedFd;

use crate::sys::{SysResult, process, terminal};

/// The terminal, and the child.
pub struct Job<'a> {
    terminal: BorrowedFd<'a>,
    child: i32,
    /// Whether the terminal is the child's and its children's, and no other job's.
    has_terminal: bool,
}

/// Puts the calling process, a child, into a group of its own, and that into the foreground.
pub fn lead(terminal: BorrowedFd) {
    if process::lead_process_group().is_ok() {
        bring_to_foreground(terminal, terminal::own_group());
    }
}

fn bring_to_foreground(terminal: BorrowedFd, group: i32) {
    // The terminal may be gone; then there is no foreground either.
    let _ = terminal::set_foreground_group(terminal, group);
}

impl<'a> Job<'a> {
    /// The terminal's foreground is this process's group. `child` is the PID of a child that calls [`lead`].
    pub fn new(terminal: BorrowedFd<'a>, child: i32) -> Self {
        Job {
            terminal,
            child,
            has_terminal: true,
        }
    }

    /// Stops with the child and lets it go on, if it has been stopped. To be called after each SIGCHLD.
    pub fn follow(&mut self, child: BorrowedFd) -> SysResult<()> {
        let Some(signal) = process::stopped_by(child)? else {
            return Ok(());
        };
        let waits_for_terminal = matches!(signal, libc::SIGTTIN | libc::SIGTTOU);
        if !(waits_for_terminal && self.is_in_foreground()) {
            self.take_back();
            let signal = if signal == libc::SIGSTOP { signal } else { libc::SIGTSTP };
            // Returns when this process is continued, or at once if no shell could continue it.
            process::signal_group(0, signal)?;
        }
        self.has_terminal = self.is_in_foreground();
        if self.has_terminal {
            bring_to_foreground(self.terminal, self.child);
        }
        process::signal_group(self.child, libc::SIGCONT)
    }

    /// Puts this process's group into the foreground again, unless the terminal is another job's.
    pub fn take_back(&mut self) {
        if std::mem::take(&mut self.has_terminal) {
            bring_to_foreground(self.terminal, terminal::own_group());
        }
    }

    fn is_in_foreground(&self) -> bool {
        matches!(terminal::foreground_group(self.terminal), Ok(Some(_)))
    }
}
