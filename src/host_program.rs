//! Programs of the host that do a part of the runtime's work: ps(1), newuidmap(1), newgidmap(1), criu(8).

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::spawn::{self, Program};
use crate::sys::process::Exit;
use crate::sys::{SysError, SysResult, Syscall, c_path, c_string, fs, memfd};

/// Where programs are looked for without PATH in the environment, as execvp(3) does.
const USUAL_PATH: &str = "/bin:/usr/bin";

/// No program prints more that is of use.
const LONGEST: usize = 64 << 20;

pub struct Output {
    pub exit: Exit,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Runs a program of the caller's PATH to its end and returns what it wrote. It writes into files in memory, not into pipes:
/// those would have to be read in turns.
pub fn output(name: &str, arguments: &[String]) -> SysResult<Output> {
    let null = fs::open(Path::new("/dev/null"), libc::O_RDONLY)?;
    let (stdout, stderr) = (
        memfd::create(c"output", false, false)?,
        memfd::create(c"output", false, false)?,
    );
    let program = program(name, arguments)?;
    let streams = [null.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let running = spawn::spawn(&program, streams, || {}).map_err(|error| match error.call.name {
        // The program is missing, not the file in the last directory of PATH.
        Syscall::Execve => SysError::new(Syscall::Execve.of(name), error.errno),
        _ => error,
    })?;
    let exit = running.wait()?;
    let read = |file: BorrowedFd| -> SysResult<Vec<u8>> {
        fs::seek_to_start(file)?;
        fs::read_all(file, LONGEST)
    };
    Ok(Output {
        exit,
        stdout: read(stdout.as_fd())?,
        stderr: read(stderr.as_fd())?,
    })
}

/// A program of the caller's PATH, with the environment of this process.
pub fn program(name: &str, arguments: &[String]) -> SysResult<Program> {
    Ok(Program {
        paths: paths(name)?,
        arguments: [Ok(c_string(name)?)]
            .into_iter()
            .chain(arguments.iter().map(|argument| c_string(argument)))
            .collect::<SysResult<_>>()?,
        environment: environment(),
    })
}

/// Where a program is in the caller's PATH; none if it is not there.
pub fn find(name: &str) -> Option<PathBuf> {
    let files = paths(name).ok()?.into_iter();
    let mut files = files.map(|file| PathBuf::from(OsStr::from_bytes(file.to_bytes())));
    files.find(|file| file.is_file() && fs::access(file, libc::X_OK).is_ok())
}

/// The files that a name may mean, in the order of PATH; a name with a slash means itself. An empty entry is the working
/// directory.
fn paths(name: &str) -> SysResult<Vec<CString>> {
    if name.contains('/') {
        return Ok(vec![c_string(name)?]);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into());
    let directories = path.as_bytes().split(|byte| *byte == b':');
    directories
        .map(|directory| c_path(&Path::new(OsStr::from_bytes(directory)).join(name)))
        .collect()
}

/// The environment of this process.
fn environment() -> Vec<CString> {
    let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    std::env::vars_os().filter_map(variable).collect()
}
