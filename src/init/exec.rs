//! Chapter 9: the last steps. The process finds its program, closes what must not leak and executes it, or explains why
//! that cannot be. Run as the container's user, confined.

use std::convert::Infallible;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::entrant::Entrant;
use super::{environment, limits};
use crate::bundle::plan::Process;
use crate::error::{At, Context, Error, Result, Step, anyhow, bail, cured, hinted};
use crate::protocol::{Channel, Message};
use crate::security;
use crate::security::seccomp::ahead;
use crate::sys::process::Image;
use crate::sys::{SysError, c_path, descriptor, fs, process};

/// Where execvp(3) looks when there is no PATH (confstr(3), _CS_PATH).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Checks while `create` can still tell it that the program can be found at all.
pub fn find(entrant: &mut Entrant, plan: &Process) -> Result<()> {
    entrant.program = Some(search(plan).with_context(program_at)?);
    Ok(())
}

/// Does `rest`, which is all that comes between the confinement and the program, and executes that. The channel is
/// close-on-exec, so that its end tells the runtime of success. Where the filter notifies it is installed before `rest`, for
/// the agent gets the listener while the container is being created.
pub fn execute<'a, W: AsMut<Entrant<'a>>>(
    walker: &mut W,
    plan: &Process,
    rest: impl FnOnce(&mut W) -> Result<()>,
) -> Result<Infallible> {
    let Some(filter) = plan.seccomp.as_ref().filter(|filter| filter.listener.is_some()) else {
        rest(walker)?;
        let image = prepare(walker.as_mut(), plan).context(Step("execve"))?;
        // Nothing of ours comes after it, so that nothing of ours needs to be allowed.
        security::seccomp::install::install(plan)?;
        let errno = image.execute();
        return Err(refusal(plan, &image, errno));
    };
    let error = ahead::install(plan, filter, |filtered| {
        let go_on = || -> Result<Infallible> {
            let listener = filtered
                .listener()
                .context(At::new("linux.seccomp"))
                .context(Step("seccomp"))?;
            hand_over(&walker.as_mut().channel, listener).context(Step("seccomp"))?;
            rest(walker)?;
            let image = prepare(walker.as_mut(), plan).context(Step("execve"))?;
            let (image, errno) = filtered
                .execute(image)
                .context(At::new("linux.seccomp"))
                .context(Step("seccomp"))?;
            Err(refusal(plan, image, errno))
        };
        let error = match go_on() {
            Ok(never) => match never {},
            Err(error) => error,
        };
        walker.as_mut().channel.send_failure(&error);
        process::exit_now(1)
    });
    Err(error.context(At::new("linux.seccomp")).context(Step("seccomp")))
}

/// Gives the runtime the listener, and waits until the agent has it.
fn hand_over(channel: &Channel, listener: OwnedFd) -> Result<()> {
    channel.send_with(&Message::Listener, Some(listener.as_fd()))?;
    channel.expect_from_runtime(&["ListenerTaken"])?;
    // Only the agent's is to stay open, so that its end is the end of the listener.
    drop(listener);
    Ok(())
}

/// The last before execve(2), as far as that has not to be done under the filter.
fn prepare(entrant: &mut Entrant, plan: &Process) -> Result<Image> {
    let program = match entrant.program.take() {
        Some(program) => program,
        None => search(plan).with_context(program_at)?,
    };
    let image = Image::new(c_path(&program)?, plan.args.clone(), environment::variables(plan));
    // Whatever came in by mistake ends at the execve; what was asked for stays.
    descriptor::close_on_exec_from(3)?;
    for number in 0..plan.preserve_fds {
        descriptor::keep_on_exec(3 + number as i32)?;
    }
    limits::tighten(plan)?;
    entrant.channel.send(&Message::Executing)?;
    Ok(image)
}

/// What names the program in the config.
fn program_at() -> At {
    At::new("process.args[0]")
}

fn os(text: &CStr) -> &OsStr {
    OsStr::from_bytes(text.to_bytes())
}

/// The program's path, by the rules of execvp(3) with the PATH of the container's environment.
fn search(plan: &Process) -> Result<PathBuf> {
    let Some(name) = plan.args.first() else {
        bail!("process.args is empty")
    };
    let text = name.to_string_lossy();
    if name.to_bytes().contains(&b'/') {
        let path = PathBuf::from(os(name));
        return match check(&path) {
            Ok(()) => Ok(path),
            Err(error) if error.errno == Errno::ENOENT => Err(not_there(&text, &path, error)),
            Err(error) => Err(refused(&text, &path, error)),
        };
    }
    let set = plan
        .env
        .iter()
        .find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let path = set.unwrap_or(DEFAULT_PATH.as_bytes());
    let mut denied = None;
    for directory in path.split(|byte| *byte == b':') {
        // An empty entry means the working directory.
        let directory = if directory.is_empty() {
            Path::new(".")
        } else {
            Path::new(OsStr::from_bytes(directory))
        };
        let candidate = directory.join(os(name));
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(error) => denied = denied.or(Some((candidate, error))),
        }
    }
    match denied {
        Some((candidate, error)) => Err(refused(&text, &candidate, error)),
        None => {
            let shown = String::from_utf8_lossy(path);
            let searched = match set {
                Some(_) => format!("the container's PATH is {shown:?}"),
                None => format!("process.env has no PATH, so {shown:?} was searched"),
            };
            Err(hinted(
                format!("exec: {text:?}: executable file not found in $PATH"),
                format!("{searched}; install the program in the image, or give its full path"),
            ))
        }
    }
}

/// Whether a path names something that execve(2) would accept, as far as can be told without it.
fn check(path: &Path) -> Result<(), SysError> {
    let fd = fs::open(path, libc::O_PATH)?;
    if fs::fstat(fd.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(SysError::new(format!("execve({path:?})"), Errno::EISDIR));
    }
    fs::access(path, libc::X_OK)
}

/// The kernel's refusal below a text that engines match, with its cure.
fn because(error: SysError, text: String, cure: impl Into<String>) -> Error {
    cured(error, text, cure)
}

fn not_there(name: &str, path: &Path, error: SysError) -> Error {
    let cure = if fs::lstatat(fs::CWD, path).is_ok() {
        "it is a symbolic link whose target does not exist in the container"
    } else {
        "it is a path inside the container's root file system, not on the host"
    };
    because(error, format!("exec: {name:?}: no such file or directory"), cure)
}

fn refused(name: &str, path: &Path, error: SysError) -> Error {
    match error.errno {
        // The second half is what execve(2) itself says of a directory, and all that Docker before 25 makes a 126 of.
        Errno::EISDIR => hinted(
            format!("exec: {name:?}: is a directory: permission denied"),
            "it must name a program",
        ),
        Errno::EACCES => {
            let cure =
                format!("{path:?} must be executable for the process's user (chmod +x), on a mount without noexec");
            because(error, format!("exec: {name:?}: permission denied"), cure)
        }
        Errno::ENOTDIR => because(
            error,
            format!("exec: {name:?}: not a directory"),
            "the path leads through a file",
        ),
        _ => anyhow!(error).context(format!("exec: {name:?}")),
    }
}

/// The error for a program that execve(2) did not take.
fn refusal(plan: &Process, image: &Image, errno: Errno) -> Error {
    let program = Path::new(os(image.program()));
    let error = SysError::new(format!("execve({program:?})"), errno);
    explain(plan, program, error)
        .context(program_at())
        .context(Step("execve"))
}

/// Why execve(2) refused a file that is there. (In the words that people look for, as runc's: `exec /tool: …`.)
fn explain(plan: &Process, program: &Path, error: SysError) -> Error {
    let name = plan
        .args
        .first()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    match error.errno {
        Errno::ENOENT => match missing_interpreter(program) {
            Some((what, None)) => anyhow!(error).context(format!("exec {name}: no such file or directory: {what}")),
            Some((what, Some(cure))) => because(error, format!("exec {name}: no such file or directory: {what}"), cure),
            None => not_there(&name, program, error),
        },
        Errno::EACCES | Errno::EISDIR => refused(&name, program, error),
        Errno::ENOEXEC => {
            let begin = head(program).unwrap_or_default();
            let cure = if begin.starts_with(b"\x7fELF") {
                "it is a program for another kind of machine"
            } else if begin.is_empty() {
                "the file is empty"
            } else {
                "it is neither a program for this machine nor a script that begins with #!"
            };
            because(error, format!("exec {name}: exec format error"), cure)
        }
        _ => anyhow!(error).context(format!("exec: {name:?}")),
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

/// ENOENT from execve(2) although the file is there: what it names as its interpreter is not. What that is, and the
/// cure if that does not say it.
fn missing_interpreter(program: &Path) -> Option<(String, Option<&'static str>)> {
    fs::lstatat(fs::CWD, program).ok()?;
    let bytes = head(program)?;
    if let Some(rest) = bytes.strip_prefix(b"#!") {
        let line = rest.split(|byte| *byte == b'\n').next()?;
        let line = String::from_utf8_lossy(line);
        let interpreter = line.split([' ', '\t']).find(|word| !word.is_empty())?;
        let cure = if interpreter.ends_with('\r') {
            "the script has Windows line ends (CR LF): convert it with `sed -i 's/\\r$//'`"
        } else if fs::open(Path::new(interpreter), libc::O_PATH).is_ok() {
            "the interpreter is there, but the image lacks the dynamic loader or interpreter that it needs itself"
        } else {
            // Nothing that is not said with it.
            return Some((format!("the image lacks its interpreter {interpreter:?}"), None));
        };
        return Some((format!("its interpreter is {interpreter:?}"), Some(cure)));
    }
    let loader = elf_interpreter(&bytes)?;
    Some((
        format!("its dynamic loader is {loader:?}"),
        Some(
            "the image lacks the C library that the program was built for (glibc or musl): link it statically, or change the image",
        ),
    ))
}

/// PT_INTERP of a 64-bit little-endian ELF file whose program headers lie in its first bytes, as linkers put them.
fn elf_interpreter(bytes: &[u8]) -> Option<String> {
    let number = |at: usize, width: usize| -> Option<usize> {
        let field = bytes.get(at..at.checked_add(width)?)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    };
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, entry, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..count).find_map(|index| {
        let header = table.checked_add(index.checked_mul(entry)?)?;
        // p_type 3 is PT_INTERP; p_offset and p_filesz say where the path is.
        (number(header, 4)? == 3).then_some(())?;
        let (offset, size) = (number(header + 8, 8)?, number(header + 32, 8)?);
        let path = bytes.get(offset..offset.checked_add(size)?)?;
        Some(String::from_utf8_lossy(path.split(|byte| *byte == 0).next()?).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header and one program header that names a loader; see elf(5).
    fn elf(table: u64, offset: u64, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32..40].copy_from_slice(&table.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1u16.to_le_bytes());
        bytes[64] = 3;
        bytes[72..80].copy_from_slice(&offset.to_le_bytes());
        bytes[96..104].copy_from_slice(&size.to_le_bytes());
        bytes.extend(b"/lib/ld.so\0");
        bytes
    }

    #[test]
    fn the_loader_of_a_program_is_found() {
        assert_eq!(elf_interpreter(&elf(64, 120, 11)).as_deref(), Some("/lib/ld.so"));
        for (table, offset, size) in [
            (u64::MAX, 120, 11),
            (64, u64::MAX, 11),
            (64, 120, u64::MAX),
            (64, 120, 12),
        ] {
            assert_eq!(elf_interpreter(&elf(table, offset, size)), None);
        }
    }

    proptest! {
        /// The image's file may hold anything.
        #[test]
        fn no_program_of_the_image_makes_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            places in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..4),
        ) {
            let _ = elf_interpreter(&bytes);
            let mut program = elf(64, 120, 11);
            for (place, value) in places {
                let at = place.index(program.len() - 8);
                program[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            let _ = elf_interpreter(&program);
        }
    }
}
