//! Why a program cannot be executed. The kernel gives one errno for many causes; here the files that are involved are looked
//! at. Run as the container's user, confined, where the program was to run.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::elf;
use crate::error::{Error, anyhow, call_with_hint, with_hint};
use crate::plan::Process;
use crate::sys::{SysError, fs};

/// Of a path that names nothing.
pub fn not_there(plan: &Process, name: &str, path: &Path, error: SysError) -> Error {
    let cure = if fs::lstatat(fs::CWD, path).is_ok() {
        "it is a symbolic link whose target does not exist in the container".into()
    } else if let Some(cure) = whole_command(plan) {
        cure
    } else {
        "it is a path inside the container's root file system, not on the host".into()
    };
    call_with_hint(error, format!("exec: {name:?}: no such file or directory"), cure)
}

/// Of a program that is one string with a blank in it: a command line that no shell has taken apart.
pub fn whole_command(plan: &Process) -> Option<String> {
    let [only] = &*plan.args else { return None };
    let text = only.to_str().ok().filter(|text| text.len() <= 200)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() < 2 {
        return None;
    }
    let of_shells = |c: char| "|&;<>()$`\\\"'*?[]{}~#=%".contains(c);
    Some(if text.contains(of_shells) {
        format!("no shell takes the string apart; for a shell's command write [\"sh\", \"-c\", {text:?}]")
    } else {
        format!("the whole string is taken for the program's name; write each word as a string of its own: {words:?}")
    })
}

/// Of something that is there and may not be executed, or is no program.
pub fn refused(name: &str, path: &Path, error: SysError) -> Error {
    match error.errno {
        // The second half is what execve(2) itself says of a directory, and all that Docker before 25 makes a 126 of.
        Errno::EISDIR => with_hint(
            format!("exec: {name:?}: is a directory: permission denied"),
            "it must name a program",
        ),
        Errno::EACCES => {
            let cure = denied(path);
            call_with_hint(error, format!("exec: {name:?}: permission denied"), cure)
        }
        Errno::ENOTDIR => call_with_hint(
            error,
            format!("exec: {name:?}: not a directory"),
            "the path leads through a file",
        ),
        _ => anyhow!(error).context(format!("exec: {name:?}")),
    }
}

/// Who is in the way of a program.
fn denied(path: &Path) -> String {
    if let Some(point) = noexec(path) {
        return format!(
            "{path:?} is on the mount {point:?}, which is noexec: leave that option out, or put the program elsewhere"
        );
    }
    if fs::open(path, libc::O_PATH).is_err() {
        return format!("a directory on the way to {path:?} may not be searched by the process's user (chmod +x)");
    }
    if fs::access(path, libc::X_OK).is_ok()
        && let Some(interpreter) = head(path).as_deref().and_then(interpreter)
    {
        let interpreter = Path::new(&interpreter);
        return match noexec(interpreter) {
            Some(point) => format!("its interpreter {interpreter:?} is on the mount {point:?}, which is noexec"),
            None => format!("its interpreter {interpreter:?} must be executable for the process's user too (chmod +x)"),
        };
    }
    format!("{path:?} must be executable for the process's user (chmod +x)")
}

/// The mount from which nothing is executed, if a file is on one. Where links lead there it has no name here.
fn noexec(path: &Path) -> Option<PathBuf> {
    let file = fs::open(path, libc::O_PATH).ok()?;
    if fs::mount_flags(file.as_fd()).ok()? & libc::ST_NOEXEC == 0 {
        return None;
    }
    let mount = fs::mount_id(file.as_fd()).ok()?;
    let is_point = |place: &&Path| {
        let found = fs::open(place, libc::O_PATH);
        found.is_ok_and(|found| {
            fs::mount_id(found.as_fd()).is_ok_and(|id| id == mount) && fs::is_mount_root(found.as_fd()).unwrap_or(false)
        })
    };
    let point = path.ancestors().find(is_point);
    Some(point.unwrap_or(path).to_path_buf())
}

/// Why execve(2) refused a file that is there. (In the words that people look for, as runc's: `exec /tool: …`.)
pub fn explain(plan: &Process, program: &Path, error: SysError) -> Error {
    let name = plan
        .args
        .first()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    match error.errno {
        Errno::ENOENT => match missing_interpreter(program) {
            Some((what, None)) => anyhow!(error).context(format!("exec {name}: no such file or directory: {what}")),
            Some((what, Some(cure))) => {
                call_with_hint(error, format!("exec {name}: no such file or directory: {what}"), cure)
            }
            None => not_there(plan, &name, program, error),
        },
        Errno::EACCES | Errno::EISDIR => refused(&name, program, error),
        Errno::ENOEXEC => {
            let cure = no_format(&head(program).unwrap_or_default());
            call_with_hint(error, format!("exec {name}: exec format error"), cure)
        }
        _ => anyhow!(error).context(format!("exec: {name:?}")),
    }
}

/// What is wrong with a file that begins with these bytes.
fn no_format(begin: &[u8]) -> String {
    if begin.is_empty() {
        return "the file is empty".into();
    }
    if !begin.starts_with(elf::MAGIC) {
        return "it is neither a program for this machine nor a script that begins with #!".into();
    }
    match elf::machine(begin) {
        Some(machine) if machine == elf::OWN => format!(
            "it is an ELF file for this kind of machine ({}), but not a program that this kernel loads: it is damaged, or no \
             executable",
            elf::name(machine)
        ),
        Some(machine) => format!(
            "it is a program for {}, and this machine is {}: use the image for this machine, or register an emulator with \
             binfmt_misc (a static one with the flag F, as qemu-user-static does)",
            elf::name(machine),
            elf::name(elf::OWN)
        ),
        None => "it is only the beginning of a program".into(),
    }
}

/// The first bytes of a file, if it can be read.
fn head(path: &Path) -> Option<Vec<u8>> {
    let file = fs::open(path, libc::O_RDONLY | libc::O_NONBLOCK).ok()?;
    let mut bytes = vec![0u8; 4096];
    let length = fs::read(file.as_fd(), &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

/// What a script or a program names as its interpreter.
fn interpreter(begin: &[u8]) -> Option<String> {
    match begin.strip_prefix(b"#!") {
        Some(rest) => {
            let line = String::from_utf8_lossy(rest.split(|byte| *byte == b'\n').next()?);
            let word = line.split([' ', '\t']).find(|word| !word.is_empty())?;
            Some(word.into())
        }
        None => elf::interpreter(begin),
    }
}

/// ENOENT from execve(2) although the file is there: what it names as its interpreter is not. What that is, and the
/// cure if that does not say it.
fn missing_interpreter(program: &Path) -> Option<(String, Option<&'static str>)> {
    fs::lstatat(fs::CWD, program).ok()?;
    let bytes = head(program)?;
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
        "the script has Windows line ends (CR LF): convert it with `sed -i 's/\\r$//'`"
    } else if fs::open(Path::new(&interpreter), libc::O_PATH).is_ok() {
        "the interpreter is there, but the image lacks the dynamic loader or interpreter that it needs itself"
    } else {
        // Nothing that is not said with it.
        return Some((format!("the image lacks its interpreter {interpreter:?}"), None));
    };
    Some((format!("its interpreter is {interpreter:?}"), Some(cure)))
}
