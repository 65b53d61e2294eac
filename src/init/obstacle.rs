//! Explains why a program cannot be executed. The kernel returns one errno for many causes, so the files involved are
//! inspected. Runs as the container's user, confined, where the program would have run; or in `check`, which only foretells.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;

use super::elf;
use super::files::Files;
use crate::error::{Error, anyhow, call_with_hint, with_hint};
use crate::plan::Process;
use crate::sys::{SysError, fs};

/// The error for a path that does not exist.
pub fn not_there(plan: &Process, name: &str, path: &Path, error: SysError, files: &dyn Files) -> Error {
    let cure = if files.has_entry(path) {
        "it is a symbolic link whose target does not exist in the container".into()
    } else if let Some(cure) = whole_command(plan) {
        cure
    } else {
        "it is a path inside the container's root file system, not on the host".into()
    };
    call_with_hint(error, format!("exec: {name:?}: no such file or directory"), cure)
}

/// A hint for a program that is one string with blanks in it: a command line that no shell has split.
pub fn whole_command(plan: &Process) -> Option<String> {
    let [only] = &*plan.args else { return None };
    let text = only.to_str().ok().filter(|text| text.len() <= 200)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() < 2 {
        return None;
    }
    let of_shells = |c: char| "|&;<>()$`\\\"'*?[]{}~#=%".contains(c);
    Some(if text.contains(of_shells) {
        format!("no shell splits this string; to run a shell command write [\"sh\", \"-c\", {text:?}]")
    } else {
        format!("the whole string is taken as the program's name; write each word as a separate string: {words:?}")
    })
}

/// The error for a file that exists but may not be executed, or is not a program.
pub fn refused(name: &str, path: &Path, error: SysError, files: &dyn Files) -> Error {
    match error.errno {
        // The second half is what execve(2) itself reports for a directory; Docker before 25 turns only that into 126.
        Errno::EISDIR => with_hint(
            format!("exec: {name:?}: is a directory: permission denied"),
            "it must name a program",
        ),
        Errno::EACCES => {
            let cure = denied(path, files);
            call_with_hint(error, format!("exec: {name:?}: permission denied"), cure)
        }
        Errno::ENOTDIR => call_with_hint(
            error,
            format!("exec: {name:?}: not a directory"),
            "a component of the path is a file",
        ),
        _ => anyhow!(error).context(format!("exec: {name:?}")),
    }
}

/// What denies access to a program.
fn denied(path: &Path, files: &dyn Files) -> String {
    if let Some(point) = files.noexec(path) {
        return format!(
            "{path:?} is on the mount {point:?}, which is noexec: remove that option, or put the program elsewhere"
        );
    }
    if files.open(path, libc::O_PATH).is_err() {
        return format!("the process's user may not search a directory on the path to {path:?} (chmod +x)");
    }
    if files.may_execute(path).is_ok()
        && let Some(interpreter) = head(path, files).as_deref().and_then(interpreter)
    {
        let interpreter = Path::new(&interpreter);
        return match files.noexec(interpreter) {
            Some(point) => format!("its interpreter {interpreter:?} is on the mount {point:?}, which is noexec"),
            None => {
                format!("its interpreter {interpreter:?} must be executable for the process's user, too (chmod +x)")
            }
        };
    }
    format!("{path:?} must be executable for the process's user (chmod +x)")
}

/// Why execve(2) rejected an existing file. (In the words that people search for, as runc prints them: `exec /tool: …`.)
pub fn explain(plan: &Process, program: &Path, error: SysError, files: &dyn Files) -> Error {
    let name = plan
        .args
        .first()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    match error.errno {
        Errno::ENOENT => match missing_interpreter(program, files) {
            Some((what, None)) => anyhow!(error).context(format!("exec {name}: no such file or directory: {what}")),
            Some((what, Some(cure))) => {
                call_with_hint(error, format!("exec {name}: no such file or directory: {what}"), cure)
            }
            None => not_there(plan, &name, program, error, files),
        },
        Errno::EACCES | Errno::EISDIR => refused(&name, program, error, files),
        Errno::ENOEXEC => {
            let cure = no_format(&head(program, files).unwrap_or_default());
            call_with_hint(error, format!("exec {name}: exec format error"), cure)
        }
        _ => anyhow!(error).context(format!("exec: {name:?}")),
    }
}

/// Why a file that begins with these bytes is not executable.
fn no_format(begin: &[u8]) -> String {
    if begin.is_empty() {
        return "the file is empty".into();
    }
    if !begin.starts_with(elf::MAGIC) {
        return "it is neither a program for this machine nor a script that begins with #!".into();
    }
    match elf::machine(begin) {
        Some(machine) if machine == elf::OWN => format!(
            "it is an ELF file for this machine type ({}), but this kernel cannot load it: it is damaged or not an \
             executable",
            elf::name(machine)
        ),
        Some(machine) => format!(
            "it is a program for {}, and this machine is {}: use the image for this machine, or register an emulator with \
             binfmt_misc (a static one with the flag F, as qemu-user-static does)",
            elf::name(machine),
            elf::name(elf::OWN)
        ),
        None => "it is a truncated program".into(),
    }
}

/// The first bytes of a file, if it can be read.
pub fn head(path: &Path, files: &dyn Files) -> Option<Vec<u8>> {
    let file = files.open(path, libc::O_RDONLY | libc::O_NONBLOCK).ok()?;
    let mut bytes = vec![0u8; 4096];
    let length = fs::read(file.as_fd(), &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

/// The interpreter that a script or a program names.
pub fn interpreter(begin: &[u8]) -> Option<String> {
    match begin.strip_prefix(b"#!") {
        Some(rest) => {
            let line = String::from_utf8_lossy(rest.split(|byte| *byte == b'\n').next()?);
            let word = line.split([' ', '\t']).find(|word| !word.is_empty())?;
            Some(word.into())
        }
        None => elf::interpreter(begin),
    }
}

/// ENOENT from execve(2) although the file exists: its interpreter does not. Returns which one, and a hint if that is not
/// obvious from it.
fn missing_interpreter(program: &Path, files: &dyn Files) -> Option<(String, Option<&'static str>)> {
    files.has_entry(program).then_some(())?;
    let bytes = head(program, files)?;
    let interpreter = interpreter(&bytes)?;
    if !bytes.starts_with(b"#!") {
        return Some((
            format!("its dynamic loader is {interpreter:?}"),
            Some(
                "the image lacks the C library that the program was built for (glibc or musl): link it statically, or change the image",
            ),
        ));
    }
    let cure = if interpreter.ends_with('\r') {
        "the script has Windows line endings (CR LF): convert it with `sed -i 's/\\r$//'`"
    } else if files.open(Path::new(&interpreter), libc::O_PATH).is_ok() {
        "the interpreter exists, but the image lacks the dynamic loader or interpreter that it needs"
    } else {
        // The message says it all.
        return Some((format!("the image lacks its interpreter {interpreter:?}"), None));
    };
    Some((format!("its interpreter is {interpreter:?}"), Some(cure)))
}
