//! Pseudo-terminals.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Arg, SysResult, check, own};

/// The process group in the foreground of the terminal (tcgetpgrp(3)), if it is the caller's: 0 is a group of another PID
/// namespace.
pub fn foreground_group(terminal: BorrowedFd) -> SysResult<Option<i32>> {
    let mut group: libc::pid_t = 0;
    check!(
        // SAFETY: the number is valid for writes during the call.
        unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGPGRP, &mut group) },
        Ioctl,
        Arg::word("TIOCGPGRP")
    )?;
    Ok((group == own_group()).then_some(group))
}

/// The caller's process group (`getpgrp(2)`).
pub fn own_group() -> i32 {
    // SAFETY: never fails.
    unsafe { libc::getpgrp() }
}

/// Puts a process group of this session into the foreground of the terminal (tcsetpgrp(3)), from the background, too. SIGTTOU is
/// ignored from then on.
pub fn set_foreground_group(terminal: BorrowedFd, group: i32) -> SysResult<()> {
    super::signal::ignore(&[libc::SIGTTOU]);
    check!(
        // SAFETY: the number outlives the call.
        unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSPGRP, &group) },
        Ioctl,
        Arg::word("TIOCSPGRP")
    )
    .map(drop)
}

/// Unlocks the other side of a pty master (`TIOCSPTLCK`).
pub fn unlock(master: BorrowedFd) -> SysResult<()> {
    let zero: libc::c_int = 0;
    check!(
        // SAFETY: the integer outlives the call.
        unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &zero) },
        Ioctl,
        Arg::word("TIOCSPTLCK")
    )
    .map(drop)
}

/// Opens the other side of a pty master without any path (`TIOCGPTPEER`), so that no name can be swapped under us.
pub fn peer(master: BorrowedFd) -> SysResult<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) },
        Ioctl,
        Arg::word("TIOCGPTPEER")
    )
    .map(own)
}

/// Makes a terminal the controlling one of this session (`TIOCSCTTY`).
pub fn make_controlling(terminal: BorrowedFd) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) },
        Ioctl,
        Arg::word("TIOCSCTTY")
    )
    .map(drop)
}

/// Sets a terminal's size in character cells (`TIOCSWINSZ`).
pub fn set_size(terminal: BorrowedFd, rows: u16, columns: u16) -> SysResult<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    check!(
        // SAFETY: the size outlives the call.
        unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) },
        Ioctl,
        Arg::word("TIOCSWINSZ"),
        Arg::Word(format!("{rows}x{columns}").into())
    )
    .map(drop)
}

/// The width in characters of what a standard stream goes to, if that is a terminal.
pub fn columns(stream: super::descriptor::Stream) -> Option<usize> {
    let (_, columns) = size(std::os::fd::AsFd::as_fd(&stream)).ok()?;
    (columns > 0).then_some(usize::from(columns))
}

/// A terminal's size as (rows, columns) (`TIOCGWINSZ`).
pub fn size(terminal: BorrowedFd) -> SysResult<(u16, u16)> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    check!(
        // SAFETY: the size is valid for writes during the call.
        unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &mut size) },
        Ioctl,
        Arg::word("TIOCGWINSZ")
    )?;
    Ok((size.ws_row, size.ws_col))
}

/// Terminal settings as tcgetattr(3) gave them.
#[derive(Clone, Copy)]
pub struct Settings(libc::termios);

/// `tcgetattr(3)`; `ENOTTY` if it is not a terminal.
pub fn settings(terminal: BorrowedFd) -> SysResult<Settings> {
    // SAFETY: termios is plain data, filled by the call.
    let mut termios: libc::termios = unsafe { std::mem::zeroed() };
    check!(
        // SAFETY: termios is valid for writes during the call.
        unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut termios) },
        Tcgetattr
    )?;
    Ok(Settings(termios))
}

/// `tcsetattr(3)`.
pub fn apply(terminal: BorrowedFd, settings: &Settings) -> SysResult<()> {
    check!(
        // SAFETY: the settings outlive the call.
        unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &settings.0) },
        Tcsetattr
    )
    .map(drop)
}

impl Settings {
    /// These settings in raw mode (cfmakeraw(3)): every byte goes through untouched.
    pub fn raw(mut self) -> Settings {
        // SAFETY: only changes fields of the value.
        unsafe { libc::cfmakeraw(&mut self.0) };
        self
    }

    /// These settings for reading single keys: bytes come at once and are not echoed. Ctrl+C and Ctrl+Z still send signals.
    pub fn single_keys(mut self) -> Settings {
        self.0.c_lflag &= !(libc::ICANON | libc::ECHO);
        self.0.c_cc[libc::VMIN] = 1;
        self.0.c_cc[libc::VTIME] = 0;
        self
    }

    /// These settings with line feeds left as they are written (`ONLCR` off, termios(3)).
    pub fn plain_line_ends(mut self) -> Settings {
        self.0.c_oflag &= !libc::ONLCR;
        self
    }
}
