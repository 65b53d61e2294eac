//! The program and the working directory of a container's process, looked up in the files that it will see: with the same
//! code, and so the same diagnosis, as in the container.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;

use super::findings::{Code, Findings, Level};
use super::view::View;
use crate::bundle::validate::Checked;
use crate::error::{At, Context, Result, Step};
use crate::hooks;
use crate::init::files::Files;
use crate::init::{environment, lookup, obstacle};
use crate::plan::{HookPoint, Hooks, Process};
use crate::sys::directory::entries;
use crate::sys::{Arg, Call, SysError, Syscall, fs};

/// Adds what would keep the process from being started.
pub fn check(checked: &Checked, findings: &mut Findings) {
    let sections = &checked.sections;
    let (Some(root), Some(Some(process))) = (&sections.rootfs.path, &sections.process) else {
        return;
    };
    let Ok(view) = View::new(root, &sections.rootfs.mounts, process, checked.id_maps.as_ref()) else {
        let text = "process.args[0]: the caller may not look into the root file system";
        findings.add(Level::Note, Code::NotLookedAt, "process.args[0]", text, None);
        return;
    };
    for misfit in view.misfits() {
        findings.error(Code::MountPoint, misfit);
    }
    let hooks = sections.hooks.as_ref();
    let level = match hooks.is_some_and(may_change_files) {
        // They may put the program there.
        true => Level::Warning,
        false => Level::Error,
    };
    if let Err(error) = cwd(process, &view) {
        findings.reported(level, Code::Cwd, &error);
    }
    match program(process, &view) {
        Ok(()) => {}
        Err(_) if view.is_uncertain() => {
            let text = "process.args[0]: cannot be looked up before the container's mounts are made";
            findings.add(Level::Note, Code::NotLookedAt, "process.args[0]", text, None);
        }
        Err(error) => {
            let is_emulated = error
                .downcast_ref::<SysError>()
                .is_some_and(|call| call.errno == Errno::ENOEXEC)
                && has_emulators(Path::new("/proc/sys/fs/binfmt_misc"));
            let level = if is_emulated { Level::Warning } else { level };
            findings.reported(level, Code::Program, &error);
        }
    }
    for (index, hook) in hooks.iter().flat_map(|hooks| hooks.start_container.iter().enumerate()) {
        let Some(errno) = lookup::refusal(hook.path(), &view) else {
            continue;
        };
        if !view.is_uncertain() {
            let call = SysError::new(Syscall::Execve.of(hook.path()), errno);
            let at = hooks::place(HookPoint::StartContainer, index, hook);
            let error = hooks::not_run(HookPoint::StartContainer, call).context(at);
            findings.reported(level, Code::Hook, &error);
        }
    }
}

/// Whether hooks run that may change the container's files before the program is looked up.
fn may_change_files(hooks: &Hooks) -> bool {
    let before = [&hooks.prestart, &hooks.create_runtime, &hooks.create_container];
    before.into_iter().any(|list| !list.is_empty())
}

fn program(process: &Process, view: &View) -> Result<()> {
    let program = lookup::search(process, view).with_context(lookup::program_at)?;
    match lookup::rejection(&program, view) {
        None => Ok(()),
        Some(errno) => {
            let call = SysError::new(Syscall::Execve.of(&*program), errno);
            let error = obstacle::explain(process, &program, call, view);
            Err(error.context(lookup::program_at()).context(Step::Execve))
        }
    }
}

/// A missing directory is created.
fn cwd(process: &Process, view: &View) -> Result<()> {
    let found = view
        .open(&process.cwd, libc::O_PATH)
        .and_then(|found| fs::fstat(found.as_fd()));
    let errno = match found {
        Ok(stat) if stat.st_mode & libc::S_IFMT != libc::S_IFDIR => Errno::ENOTDIR,
        Err(error) if error.errno == Errno::ENOTDIR => Errno::ENOTDIR,
        _ => return Ok(()),
    };
    let flags = Arg::OpenFlags(libc::O_PATH | libc::O_DIRECTORY);
    let call = Call::new(Syscall::Openat2, vec![(&*process.cwd).into(), flags]);
    Err(environment::not_a_directory(SysError::new(call, errno)))
        .context(At::object("process.cwd", process.cwd.display()))
        .context(Step::Cwd)
}

/// Whether the kernel has handlers for programs of other machines, see binfmt_misc.
fn has_emulators(directory: &Path) -> bool {
    let opened = fs::open(directory, libc::O_RDONLY | libc::O_DIRECTORY);
    let handlers = opened
        .and_then(|directory| entries(directory.as_fd()))
        .unwrap_or_default();
    handlers
        .iter()
        .filter(|entry| !matches!(entry.name.to_str(), Some("register" | "status")))
        .any(|entry| std::fs::read_to_string(directory.join(&entry.name)).is_ok_and(|text| text.starts_with("enabled")))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn only_enabled_emulators_count() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!has_emulators(&dir.path().join("absent")));
        for (name, text, expected) in [
            ("status", "enabled\n", false),
            ("qemu-arm", "disabled\n", false),
            ("qemu-s390x", "enabled\ninterpreter /usr/bin/qemu-s390x\n", true),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
            assert_eq!(has_emulators(dir.path()), expected, "{name}");
        }
    }
}
