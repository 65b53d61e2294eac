//! Programs of the host that do a part of the runtime's work: ps(1), newuidmap(1), newgidmap(1).

use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::{Command, Output, Stdio};

use crate::sys::fs;

/// Runs a program to its end and returns what it wrote. Into files in memory, not pipes: those would have to be read in turns,
/// and the library aborts the runtime where that fails.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let file = || -> io::Result<File> { Ok(fs::memfd(c"output", false, false).map_err(|error| error.errno)?.into()) };
    let (mut stdout, mut stderr) = (file()?, file()?);
    let status = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .status()?;
    let read = |file: &mut File| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    Ok(Output {
        status,
        stdout: read(&mut stdout)?,
        stderr: read(&mut stderr)?,
    })
}
