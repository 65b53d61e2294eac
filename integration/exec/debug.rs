//! `debug`: a program of the host in the namespaces of a container.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use serde_json::json;

use crate::harness::exec::{exec_cmd, idle, link};
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Canary, Cmd, Container, Running, Terminal, eventually};
use crate::need;

fn debug(c: &Container, flags: &[&str], command: &[&str]) -> Cmd {
    c.bundle.orlop([&["debug"], flags, &[&c.id, "--"], command].concat())
}

/// What a shell of the host prints there.
#[track_caller]
fn said(c: &Container, flags: &[&str], script: &str) -> String {
    debug(c, flags, &["sh", "-c", script]).run().ok().stdout
}

const NAMESPACES: &str = "for kind in net pid ipc uts mnt user cgroup; do readlink /proc/self/ns/$kind; done";

#[test]
fn a_program_of_the_host_is_in_the_container_s_namespaces() {
    for user_namespace in [false, true] {
        let bundle = if user_namespace { remapped(idle()) } else { idle() };
        fs::write(bundle.inside("/etc/own"), "of the image").unwrap();
        let c = bundle.start();
        c.until("ready");
        let found = said(&c, &["--quiet"], NAMESPACES);
        let found: Vec<&str> = found.lines().collect();
        for (index, kind) in ["net", "pid", "ipc", "uts"].into_iter().enumerate() {
            assert_eq!(found[index], link(c.pid(), kind), "{kind}");
        }
        assert_ne!(found[4], link(c.pid(), "mnt"));
        assert_ne!(found[4], link("self", "mnt"));
        for (index, kind) in [(5, "user"), (6, "cgroup")] {
            assert_eq!(found[index], link("self", kind));
        }
        // The processes, interfaces and names are those of the container; the files and the cgroup are not.
        assert_eq!(said(&c, &[], "cat /proc/1/comm"), "probe\n");
        let processes = said(&c, &[], "cd /proc; echo [0-9]*");
        assert_eq!(processes.split_whitespace().count(), 2, "{processes}");
        assert!(!said(&c, &[], "cat /proc/net/dev").contains("eth"));
        assert_eq!(said(&c, &[], "hostname"), "orlop\n");
        assert_eq!(said(&c, &[], "cat $ORLOP_ROOT/etc/own"), "of the image");
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        assert_eq!(said(&c, &[], "cat /proc/self/cgroup"), own);
        assert_eq!(
            said(&c, &[], "cat /proc/version"),
            fs::read_to_string("/proc/version").unwrap()
        );
        // An object that the program makes is seen inside, and not on the host.
        said(&c, &[], "ipcmk -Q");
        let queues = |text: String| text.lines().count() - 1;
        let inside = exec_cmd(&c, &[], &["cat", "/proc/sysvipc/msg"]).run().ok().stdout;
        assert_eq!((queues(inside), queues(said(&c, &[], "cat /proc/sysvipc/msg"))), (1, 1));
    }
}

#[test]
fn it_says_what_it_enters() {
    let bundle = idle();
    let c = bundle.start();
    let root = format!("/proc/{}/root", c.pid());
    let output = debug(&c, &[], &["true"]).run().ok();
    for text in [
        "in the container's namespaces: pid, network, ipc, uts\n",
        "files, user, cgroup and limits are the caller's\n",
        "the container's root is $ORLOP_ROOT, /proc/1/root\n",
    ] {
        assert!(output.stderr.contains(text), "{text}: {}", output.stderr);
    }
    let output = debug(&c, &["--namespaces", "net"], &["sh", "-c", "echo $ORLOP_ROOT"])
        .run()
        .ok();
    assert!(
        output.stderr.contains("in the container's namespaces: network\n"),
        "{}",
        output.stderr
    );
    assert_eq!(output.stdout.trim(), root);
    assert_eq!(debug(&c, &["--quiet"], &["true"]).run().ok().stderr, "");
    debug(&c, &["--namespaces", "mount"], &["true"])
        .run()
        .fails_with("invalid value");
    // A namespace that the container shares with the caller is not entered again.
    let bundle = idle().without_namespace("ipc");
    let c = bundle.start();
    let output = debug(&c, &[], &["true"]).run().ok();
    assert!(
        output
            .stderr
            .contains("not in its ipc namespace: it is the caller's already"),
        "{}",
        output.stderr
    );
    // Without a command the shell is run.
    let shell = bundle
        .orlop(["debug", "--quiet", &c.id])
        .env("SHELL", "/bin/sh")
        .stdin("echo in $0; exit 3");
    let output = shell.run();
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (3, "in /bin/sh\n"),
        "{output:#?}"
    );
}

#[test]
fn the_exit_code_is_the_program_s() {
    let bundle = idle();
    let c = bundle.start();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)] {
        assert_eq!(debug(&c, &["-q"], &["sh", "-c", script]).run().code, code, "{script}");
    }
    let output = debug(&c, &["-q"], &["no-such-program"])
        .run()
        .fails_with("executable file not found in $PATH");
    assert_eq!(output.code, 255);
    // A program of the image is not one of the host.
    assert_eq!(debug(&c, &["-q"], &["/bin/probe", "exit", "0"]).run().fails().code, 255);
    c.kill("KILL");
    c.until_stopped();
    let output = debug(&c, &[], &["true"]).run().fails_with("container not running");
    assert_eq!(output.code, 255);
    assert_eq!(
        bundle.orlop(["debug", "none"]).run().fails_with("does not exist").code,
        255
    );
}

/// All capabilities but those that let its root trace the program.
fn powerful() -> Bundle {
    idle().with_caps(&[
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_FOWNER",
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_NET_ADMIN",
        "CAP_SYS_CHROOT",
        "CAP_MKNOD",
    ])
}

/// The program has the host's files and privileges, and processes of the container see it.
#[test]
fn the_container_cannot_use_the_program_to_reach_the_host() {
    for user_namespace in [false, true] {
        let canary = Canary::dir();
        // In a user namespace its root has every capability there.
        let all =
            |bundle: Bundle| bundle.with_caps(&["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_KILL"]);
        let bundle = if user_namespace {
            remapped(all(idle()))
        } else {
            powerful()
        };
        let c = bundle.start();
        c.until("ready");
        let script = "echo $$; exec sleep 1000";
        let mut program = debug(&c, &["-q"], &["sh", "-c", script])
            .cwd(Path::new(canary.as_str()))
            .env("SECRET", "of-the-host")
            .pass_fd(File::open(canary.as_str()).unwrap(), 9)
            .spawn();
        program.until("\n");
        let pid = program.stdout().trim().to_owned();
        let status = format!("read,/proc/{pid}/comm");
        eventually("the program runs", || {
            exec_cmd(&c, &[], &["cat", &format!("/proc/{pid}/comm")]).run().stdout == "sleep\n"
        });
        let file = format!("{}/file", canary.as_str());
        let mut attempts = vec![
            format!("ptrace,{pid}"),
            format!("read,/proc/{pid}/environ"),
            format!("read,/proc/{pid}/maps"),
            format!("open,/proc/{pid}/mem,rw"),
            format!("open,/proc/{pid}/fd/1,rw"),
            format!("list,/proc/{pid}/root/"),
            format!("list,/proc/{pid}/cwd/"),
            format!("read,/proc/{pid}/root{file}"),
            format!("read,/proc/{pid}/cwd/file"),
            format!("open,/proc/{pid}/exe,r"),
            format!("open,/proc/{pid}/ns/mnt,r"),
        ];
        attempts.push(status);
        let words: Vec<&str> = ["probe", "try"]
            .into_iter()
            .chain(attempts.iter().map(String::as_str))
            .collect();
        let report = exec_cmd(&c, &[], &words).run().ok().json();
        let report = report.as_array().unwrap();
        let (visible, refused) = report.split_last().unwrap();
        assert_eq!(visible["ok"], true, "the container must see the program: {visible}");
        for attempt in refused {
            assert_eq!(attempt["ok"], false, "{attempt}");
            let errno = attempt["errno"].as_str().unwrap();
            assert!(["EPERM", "EACCES"].contains(&errno), "{attempt}");
        }
        // Nothing that the caller left open is passed on. Only with the host's user ID can they be listed.
        let fds = exec_cmd(&c, &[], &["ls", &format!("/proc/{pid}/fd")]).run();
        assert_eq!(fds.stdout, if user_namespace { "" } else { "0\n1\n2\n" });
        program.signal(libc::SIGTERM);
        assert_eq!(program.wait().code, 143);
    }
}

#[test]
fn the_pid_namespace_is_not_entered_where_the_program_could_be_traced() {
    let host = link("self", "pid");
    let read = ["readlink", "/proc/self/ns/pid"];
    // Each permits reading the program's memory at least.
    for name in ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_PERFMON"] {
        let bundle = idle().with_caps(&[name]);
        let c = bundle.start();
        let output = debug(&c, &[], &read).run().ok();
        assert_eq!(output.stdout.trim(), host);
        assert!(output.stderr.contains(&format!("has {name}")), "{}", output.stderr);
        let explicit = debug(&c, &["--namespaces", "network,pid"], &read).run();
        explicit.fails_with(&format!("has {name}"));
    }
    // So may be a process that joined later, or one of another container in the same namespace.
    let bundle = idle();
    let c = bundle.start();
    assert_eq!(debug(&c, &["-q"], &read).run().ok().stdout.trim(), link(c.pid(), "pid"));
    let other = idle().with_caps(&["CAP_SYS_PTRACE"]).edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        let pid = namespaces.iter_mut().find(|entry| entry["type"] == "pid").unwrap();
        pid["path"] = json!(format!("/proc/{}/ns/pid", c.pid()));
    });
    let second = other.start();
    debug(&c, &["-n", "pid"], &read).run().fails_with("has CAP_SYS_PTRACE");
    second.kill("KILL");
    second.until_stopped();
    assert_eq!(debug(&c, &["-q"], &read).run().ok().stdout.trim(), link(c.pid(), "pid"));
    exec_cmd(&c, &["--detach", "--cap", "CAP_SYS_PTRACE"], &["sleep", "1000"])
        .run()
        .ok();
    debug(&c, &["-n", "pid"], &read).run().fails_with("has CAP_SYS_PTRACE");
}

#[test]
fn the_program_ends_with_the_container_and_leaves_no_mount() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let bundle = idle();
    let c = bundle.start();
    let before = mounts();
    let mut program = debug(&c, &[], &["sh", "-c", "echo begun; exec sleep 1000"]).spawn();
    program.until("begun");
    assert_eq!(mounts(), before);
    c.kill("KILL");
    let output = program.wait();
    assert_eq!(output.code, 137);
    assert!(output.stderr.contains("the container has ended"), "{}", output.stderr);
    assert_eq!(mounts(), before);
    c.until_stopped();
}

#[test]
fn created_and_paused_containers_can_be_debugged() {
    let bundle = idle();
    let c = bundle.create();
    assert_eq!(said(&c, &["-q"], "hostname"), "orlop\n");
    c.start();
    c.until("ready");
    bundle.orlop(["pause", &c.id]).run().ok();
    let output = debug(&c, &[], &["cat", "/proc/1/comm"]).run().ok();
    assert_eq!(output.stdout, "probe\n");
    assert!(output.stderr.contains("the container is paused"), "{}", output.stderr);
    bundle.orlop(["resume", &c.id]).run().ok();
}

/// In the container's user namespace, so that it may enter the others, and invisible to the container's processes.
#[test]
fn an_unprivileged_user_debugs_their_own_container() {
    let bundle = rootless(idle());
    let id = bundle.fresh_id();
    as_user(bundle.create_cmd(&id, &[])).run().ok();
    as_user(bundle.orlop(["start", &id])).run().ok();
    let pid = as_user(bundle.orlop(["state", &id])).run().ok().json()["pid"].to_string();
    let debug = |flags: &[&str], script: &str| {
        as_user(bundle.orlop([&["debug"], flags, &[&id, "sh", "-c", script]].concat())).run()
    };
    let output = debug(&[], NAMESPACES).ok();
    let found: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(found[1], link("self", "pid"));
    for (index, kind) in [(2, "ipc"), (3, "uts"), (5, "user")] {
        assert_eq!(found[index], link(&pid, kind));
    }
    assert!(
        output.stderr.contains("not in its pid namespace: without root"),
        "{}",
        output.stderr
    );
    assert_eq!(debug(&["-q"], "cat $ORLOP_ROOT/proc/1/comm").ok().stdout, "probe\n");
    debug(&["--namespaces", "pid"], "true").fails_with("without root");
    // Where the container sees the host's processes, its root could trace the program.
    let bundle = rootless(idle()).without_namespace("pid").without_mount("/proc");
    let id = bundle.fresh_id();
    as_user(bundle.create_cmd(&id, &[])).run().ok();
    as_user(bundle.orlop(["start", &id])).run().ok();
    let refused = as_user(bundle.orlop(["debug", &id, "true"])).run();
    refused.fails_with("see those of the host");
}

/// Starts a command as the first of a session with a new terminal. A shell's prompt in it is `prompt:`. The terminal ends with the
/// last copy of its slave end, the second of the results.
fn on_terminal(cmd: Cmd) -> (Terminal, OwnedFd, Running) {
    let (terminal, slave) = Terminal::of_pair();
    let number = slave.as_raw_fd();
    let begin = move || {
        // SAFETY: calls without pointers, on descriptors that stay open.
        unsafe {
            libc::setsid();
            for stream in 0..3 {
                libc::dup2(number, stream);
            }
            libc::ioctl(0, libc::TIOCSCTTY, 0);
        }
        Ok(())
    };
    let running = cmd.env("PS1", "prompt:").before_exec(begin).spawn();
    (terminal, slave, running)
}

/// A key of the terminal reaches the program once, and so does a signal to the runtime.
#[test]
fn signals_and_the_terminal_are_the_program_s() {
    let bundle = idle();
    let c = bundle.start();
    let probe = bundle.inside("/bin/probe");
    let (mut terminal, slave, program) = on_terminal(debug(&c, &["-q"], &[probe.to_str().unwrap(), "signals"]));
    terminal.until("ready\r\n");
    for _ in 0..10 {
        terminal.send("\u{3}");
        terminal.until("INT\r\n");
    }
    program.signal(libc::SIGUSR1);
    program.signal(libc::SIGTERM);
    assert_eq!(program.wait().code, 0);
    drop(slave);
    // And no signal arrives twice.
    assert_eq!(terminal.until_closed(), "USR1\nTERM\n");
}

/// A shell with job control puts its own process group into the foreground, and cannot give that back from another PID namespace.
#[test]
fn an_interactive_shell_gives_the_terminal_back() {
    need!(Path::new("/bin/bash").exists(), "bash");
    let bundle = idle();
    let c = bundle.start();
    let cmd = debug(&c, &["-q"], &["bash", "--norc", "--noprofile", "-i"])
        .through_shell("\"$0\" \"$@\"; read line; echo back: $line; exit 0");
    let (mut terminal, slave, caller) = on_terminal(cmd);
    terminal.until("prompt:");
    // (The key reaches the job, and not the shell between two jobs.)
    terminal.send("cat /proc/1/comm; sh -c 'echo begun; exec sleep 1000'\n");
    terminal.until("probe\r\nbegun\r\n");
    terminal.send("\u{3}");
    terminal.until("prompt:");
    terminal.send("exit\n");
    terminal.until("exit\r\n");
    terminal.send("hello\n");
    terminal.until("back: hello\r\n");
    assert_eq!(caller.wait().code, 0);
    drop(slave);
}

/// dash wants to see the number of its process group in its own PID namespace.
#[test]
fn a_strict_shell_has_job_control() {
    need!(Path::new("/bin/dash").exists(), "dash");
    let bundle = idle();
    let c = bundle.start();
    let (mut terminal, _slave, caller) = on_terminal(debug(&c, &["-q"], &["dash", "-i"]));
    let said = terminal.between("", "prompt:");
    assert!(!said.contains("tty"), "{said}");
    terminal.send("sed -u s/^/got:/\n");
    terminal.send("one\n");
    terminal.until("got:one\r\n");
    terminal.send("\u{1a}");
    terminal.until("Stopped");
    terminal.until("prompt:");
    terminal.send("fg\n");
    terminal.send("two\n");
    terminal.until("got:two\r\n");
    terminal.send("\u{3}");
    terminal.until("prompt:");
    terminal.send("exit 7\n");
    assert_eq!(caller.wait().code, 7);
}

/// The runtime stops with the program, so that the shell that started it can go on.
#[test]
fn the_program_is_stopped_and_continued_as_a_job() {
    need!(Path::new("/bin/bash").exists(), "bash");
    let bundle = idle();
    let c = bundle.start();
    let script = "echo begun; read -r line; echo got $line; exec sleep 1000";
    let cmd =
        debug(&c, &["-q"], &["sh", "-c", script]).through_shell("exec bash --norc --noprofile -i -s \"$0\" \"$@\"");
    let (mut terminal, slave, caller) = on_terminal(cmd);
    terminal.until("prompt:");
    terminal.send("\"$@\"\n");
    terminal.until("begun\r\n");
    terminal.send("\u{1a}");
    terminal.until("Stopped");
    terminal.until("prompt:");
    // In the background it may not read, and the terminal stays the shell's.
    terminal.send("bg >/dev/null; wait %1; jobs\n");
    terminal.until("Stopped");
    terminal.send("echo the shell reads\n");
    terminal.until("\nthe shell reads\r\n");
    terminal.send("fg >/dev/null\n");
    terminal.send("one line\n");
    terminal.until("got one line\r\n");
    // The key ends the program, with the status of the signal.
    terminal.send("\u{3}");
    terminal.until("prompt:");
    terminal.send("echo status $?; exit 0\n");
    terminal.until("\nstatus 130\r\n");
    assert_eq!(caller.wait().code, 0);
    drop(slave);
}
