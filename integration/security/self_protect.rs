//! The runtime's binary is out of reach of containers wherever it is installed (CVE-2019-5736 and what follows from it).
//! Copies of it stand in, so that a weak runtime is not really overwritten.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::exec::{exec_cmd, idle};
use crate::harness::host::has_strace;
use crate::harness::users::{as_user, rootless};
use crate::harness::{Bundle, Cmd, HostMount, eventually, runtime};
use crate::lifecycle::binary::addresses;
use crate::need;

/// An upgrade of the host makes /usr writable for a while. A container that has opened the binary before, with a program
/// that begins with `#!/proc/self/exe`, must not be able to write to it then.
#[test]
fn the_binary_stays_protected_when_its_mount_becomes_writable() {
    // However the caller starts it: by its path, or by a descriptor.
    for by_descriptor in [false, true] {
        let bundle = idle().edit(|c| c["root"]["readonly"] = json!(false));
        fs::write(bundle.inside("/bin/evil"), "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(bundle.inside("/bin/evil"), fs::Permissions::from_mode(0o755)).unwrap();
        let usr = HostMount::tmpfs(&bundle.path("usr"), 0);
        let binary = usr.path.join("orlop");
        // By another process: a descriptor of this one would be inherited by processes that other tests start at this
        // moment, and a file system in which a file is open for writing cannot become read-only.
        let copied = Command::new("cp").arg(runtime()).arg(&binary).status();
        assert!(copied.unwrap().success());
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
            // The runtime itself is executed, and it does not know the verb.
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

/// A verb that brings a process of the runtime into a running container is executed from the protected copy from the
/// beginning. The test sees that while the verb waits for its input.
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
        // The file is the root of a mount that is in no namespace.
        eventually(&format!("{words:?} is protected"), || {
            fs::read_link(&exe).is_ok_and(|path| path == Path::new("/"))
        });
        assert!(File::options().write(true).open(&exe).is_err(), "{words:?}");
        // What is read from it is not trusted.
        fs::write(&input, "?").unwrap();
        running.wait().fails_for("expected value");
    }
}

/// Only x86_64 with glibc has an entry that protects the program before the C library starts (src/entry.rs). A copy that starts at the
/// C library's entry takes the path of all other targets.
#[test]
fn a_program_that_starts_at_the_c_library_protects_itself() {
    let map = runtime().with_extension("map");
    need!(map.is_file(), "the linker map of the runtime");
    const E_ENTRY: std::ops::Range<usize> = 24..32;
    let start = addresses(&map)["_start"].to_le_bytes();
    let mut program = fs::read(runtime()).unwrap();
    assert_ne!(program[E_ENTRY], start);
    program[E_ENTRY].copy_from_slice(&start);
    let bundle = idle();
    let (changed, copy) = (bundle.path("changed"), bundle.path("copy"));
    fs::write(&changed, program).unwrap();
    // By another process: one that another test starts at this moment would inherit a descriptor that is open for writing.
    assert!(Command::new("cp").arg(&changed).arg(&copy).status().unwrap().success());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();

    let id = bundle.fresh_id();
    let dir = bundle.dir().to_str().unwrap();
    bundle.orlop(["create", "--bundle", dir, &id]).program(&copy).run().ok();
    bundle.orlop(["start", &id]).program(&copy).run().ok();
    bundle.orlop(["exec", &id, "true"]).program(&copy).run().ok();
    let input = bundle.path("input");
    assert!(Command::new("mkfifo").arg(&input).status().unwrap().success());
    let words = ["exec", "--process", input.to_str().unwrap(), &id];
    let running = bundle.orlop(words).program(&copy).spawn();
    let exe = format!("/proc/{}/exe", running.pid());
    eventually("exec is protected", || {
        fs::read_link(&exe).is_ok_and(|path| path == Path::new("/"))
    });
    fs::write(&input, "?").unwrap();
    running.wait().fails_for("expected value");
    bundle.orlop(["delete", "--force", &id]).program(&copy).run().ok();
}

/// CVE-2019-5736, first half: the image's program is the runtime itself.
#[test]
fn the_runtime_as_the_containers_program_stays_unchanged() {
    let before = fs::read(runtime()).unwrap();
    for program in ["/bin/evil", "/proc/self/exe"] {
        let bundle = Bundle::new()
            .args([program])
            .with_caps(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"])
            .writable();
        fs::write(bundle.inside("/bin/evil"), "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(bundle.inside("/bin/evil"), fs::Permissions::from_mode(0o755)).unwrap();
        let _ = bundle.run();
    }
    assert!(
        fs::read(runtime()).unwrap() == before,
        "the runtime's binary was changed"
    );
}

/// CVE-2019-5736, second half: keep the runtime's program of init open for reading, and write through that once
/// no one executes it any more. A copy of the runtime stands in, so that a weak one is not really overwritten.
#[test]
fn the_runtimes_binary_cannot_be_overwritten_from_inside() {
    for capabilities in [&[] as &[&str], &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]] {
        let script = "(exec 9</proc/1/exe) || { : >/done; exit 0; }
            exec 9</proc/1/exe
            (n=0; while [ $n -lt 40 ]; do (echo spoiled >/proc/self/fd/9) 2>/dev/null; sleep 0.02; n=$((n+1)); done; : >/done) >/dev/null 2>&1 &
            exit 0";
        let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["PATH=/bin"] });
        let bundle = Bundle::new()
            .args(["probe", "sleep"])
            .with_caps(capabilities)
            .with_hook("startContainer", hook)
            .writable();
        let copy = bundle.path("runtime-copy");
        fs::copy(runtime(), &copy).unwrap();
        let before = fs::read(&copy).unwrap();
        let id = bundle.fresh_id();
        let dir = bundle.dir().to_str().unwrap();
        bundle.orlop(["create", "--bundle", dir, &id]).program(&copy).run().ok();
        bundle.orlop(["start", &id]).program(&copy).run().ok();
        eventually("the attempts end", || bundle.inside("/done").exists());
        assert!(fs::read(&copy).unwrap() == before, "overwritten, with {capabilities:?}");
    }
}

/// A container that shares the host's PID namespace sees the runtime at work.
#[test]
fn the_runtime_at_work_is_out_of_reach() {
    let bundle = Bundle::new().args(["probe", "scan"]).without_namespace("pid");
    let report = bundle.run().ok().json();
    // Containers of other tests are visible as well, and must meet the same conditions.
    let processes = report["processes"].as_array().unwrap().iter();
    let ours: Vec<_> = processes.filter(|process| process["name"] == "orlop").collect();
    assert!(!ours.is_empty(), "{report:#}");
    for process in ours {
        assert_eq!(process["exeWritable"], false, "{process}");
        assert_eq!(process["rootOpens"], false, "{process}");
    }
}

/// While the kernel itself holds pages of the copy, F_ADD_SEALS fails with EBUSY.
#[test]
fn the_copy_of_an_unprivileged_user_is_sealed_at_a_later_attempt() {
    need!(has_strace(), "strace");
    let bundle = rootless(Bundle::new().args(["true"]));
    let traced = |options: &str| {
        let words = format!("exec strace -qq -e trace=fcntl {options} \"$0\" \"$@\"");
        as_user(bundle.run_cmd(&[]).through_shell(&words)).run().ok()
    };
    let calls = traced("").stderr;
    let is_seal = |line: &&str| line.contains("F_ADD_SEALS");
    let before = calls.lines().take_while(|line| !is_seal(line)).count();
    assert!(calls.lines().any(|line| is_seal(&line)), "{calls}");
    let calls = traced(&format!(
        "-e inject=fcntl:error=EBUSY:when={}..{}",
        before + 1,
        before + 3
    ))
    .stderr;
    let failed = |line: &&str| is_seal(line) && line.contains("EBUSY");
    assert_eq!(calls.lines().filter(failed).count(), 3, "{calls}");
}
