//! The runtime's binary is out of reach of containers wherever it is installed (CVE-2019-5736 and what follows from it).
//! Copies of it stand in, so that a weak runtime is not really overwritten.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::exec::identity::{exec_cmd, idle};
use crate::harness::{Cmd, HostMount, eventually, runtime};

/// An upgrade of the host makes /usr writable for a while. A container that has had hold of the binary before, by a program
/// that begins with `#!/proc/self/exe`, must not be able to write to it then.
#[test]
fn a_read_only_mount_that_becomes_writable_protects_nothing() {
    // However the caller starts it: by its path, or by a descriptor.
    for by_descriptor in [false, true] {
        let bundle = idle().edit(|c| c["root"]["readonly"] = json!(false));
        fs::write(bundle.inside("/bin/evil"), "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(bundle.inside("/bin/evil"), fs::Permissions::from_mode(0o755)).unwrap();
        let usr = HostMount::tmpfs(&bundle.path("usr"), 0);
        let binary = usr.path.join("orlop");
        fs::copy(runtime(), &binary).unwrap();
        let before = fs::read(&binary).unwrap();
        usr.flags(libc::MS_RDONLY);

        let c = bundle.start();
        let size = before.len().to_string();
        let mut attack = exec_cmd(&c, &[], &["probe", "hold-program", &size, "/tmp/go"]).spawn();
        attack.until("ready");
        while !attack.stdout().contains("held") {
            let cmd = |program: &Path| exec_cmd(&c, &[], &["/bin/evil"]).program(program);
            let cmd: Cmd = match by_descriptor {
                true => cmd(Path::new("/dev/fd/9")).pass_fd(File::open(&binary).unwrap(), 9),
                false => cmd(&binary),
            };
            // It is the runtime that is executed, and that does not know the verb.
            let out = cmd.run();
            assert!(out.stderr.contains("/bin/evil"), "{out:#?}");
            assert!(!attack.has_ended(), "{}", attack.stdout());
        }
        usr.flags(0);
        fs::write(bundle.inside("/tmp/go"), "").unwrap();
        let out = attack.wait().ok();
        assert!(out.stdout.ends_with("EROFS\n"), "{out:#?}");
        assert!(fs::read(&binary).unwrap() == before, "overwritten");
    }
}

/// A verb that puts a process of ours into a running container runs from the protected copy from its beginning, which shows
/// while it waits for its input.
#[test]
fn verbs_that_enter_a_container_run_from_the_protected_copy() {
    let bundle = idle();
    let c = bundle.start();
    let input = bundle.path("input");
    let name = input.to_str().unwrap();
    assert!(Command::new("mkfifo").arg(&input).status().unwrap().success());
    for words in [
        &["exec", "--process", name, &c.id][..],
        &["mounts", "add", &c.id, name],
        &["mounts", "remove", &c.id, name],
    ] {
        let running = bundle.orlop(words).spawn();
        let exe = format!("/proc/{}/exe", running.pid());
        // A file that is itself the root of a mount in no namespace.
        eventually(&format!("{words:?} is protected"), || {
            fs::read_link(&exe).is_ok_and(|path| path == Path::new("/"))
        });
        assert!(File::options().write(true).open(&exe).is_err(), "{words:?}");
        // What is read from it is nothing to go by.
        fs::write(&input, "?").unwrap();
        running.wait().fails();
    }
}
