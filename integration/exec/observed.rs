//! Containers that watch for the process that joins them: what they can see of it, read from it and do to it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::exec::{exec_cmd, idle};
use crate::harness::namespaces::in_pid_namespace_of;
use crate::harness::{Canary, Container, Running, own_namespace, runtime};

/// CVE-2016-9962: before the process executes the program, the container's processes, even with CAP_SYS_PTRACE, find
/// no way to the host and, without that capability, none of its descriptors.
#[test]
fn the_joining_process_is_out_of_reach_of_the_container() {
    for capabilities in [
        &[] as &[&str],
        &[
            "CAP_SYS_PTRACE",
            "CAP_DAC_OVERRIDE",
            "CAP_DAC_READ_SEARCH",
            "CAP_SYS_CHROOT",
        ],
    ] {
        let canary = Canary::dir();
        // It scans every process except itself and those that existed before, as fast as it can.
        let script = format!(
            "echo ready; while :; do for p in /proc/[0-9]*; do
                case $p in /proc/1|/proc/$$) continue;; esac
                read name <$p/comm 2>/dev/null || continue
                case $name in orlop*|exe*|[0-9]*) echo seen $name; for f in $p/fd/*; do [ -e $f ] && echo fd $f; done;; esac
                for f in $p/root $p/cwd $p/fd/*; do if [ -e $f{}/file ]; then echo ESCAPED $f; fi; done
            done 2>/dev/null; done",
            canary.as_str()
        );
        let bundle = idle().with_caps(capabilities);
        let c = bundle.start();
        let mut watch = exec_cmd(&c, &[], &["sh", "-c", &script]).spawn();
        watch.until("ready");
        for _ in 0..150 {
            exec_cmd(&c, &[], &["/bin/true"])
                .pass_fd(File::open("/").unwrap(), 9)
                .run()
                .ok();
        }
        let seen = watch.stdout();
        assert!(!seen.contains("ESCAPED"), "with {capabilities:?}: {seen}");
        if capabilities.is_empty() {
            // Standard streams are those of the program, which was executed before the scan reached them.
            let ours =
                |line: &&str| line.starts_with("fd ") && !["0", "1", "2"].contains(&line.rsplit('/').next().unwrap());
            assert_eq!(seen.lines().find(ours), None);
            assert!(seen.contains("seen orlop"), "the test proves nothing");
        }
    }
}

/// The processes of the runtime that `probe seize` has attached to so far.
fn seized_of_ours(attack: &Running) -> Vec<Value> {
    let text = attack.stdout();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let seized = whole
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    seized
        .filter(|process| process["name"].as_str().is_some_and(|name| name.starts_with("orlop")))
        .collect()
}

/// With CAP_SYS_PTRACE and no user namespace the kernel lets the container's processes attach to the runtime's. They find
/// nothing there that they do not have themselves.
#[test]
fn a_process_traced_while_joining_has_nothing_of_the_host() {
    for user in [0, 1000] {
        let bundle = idle()
            .with_caps(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"])
            .edit(|c| c["process"]["rlimits"] = json!([{ "type": "RLIMIT_NPROC", "soft": 900, "hard": 900 }]));
        let c = bundle.start();
        let mut attack = exec_cmd(&c, &[], &["probe", "seize"]).spawn();
        attack.until("ready");
        let own = |key: &str| u64::from_str_radix(&status(&c, key), 16).unwrap();
        let (permitted, bounding) = (own("CapPrm:"), own("CapBnd:"));
        let namespace = fs::read_link(format!("/proc/{}/ns/mnt", c.pid())).unwrap();
        let mut ours = 0;
        for _ in 0..10 {
            for _ in 0..20 {
                // It may be stopped for too long, but nothing worse may happen.
                let _ = exec_cmd(&c, &["--user", &user.to_string()], &["/bin/true"])
                    .pass_fd(File::open("/").unwrap(), 9)
                    .run();
            }
            let seized = seized_of_ours(&attack);
            for process in &seized {
                assert_confined(process, permitted);
                let set = u64::from_str_radix(process["bounding"].as_str().unwrap(), 16).unwrap();
                assert_eq!(set & !bounding, 0, "{process}");
                assert_eq!(process["mnt"], json!(namespace.to_string_lossy()), "{process}");
            }
            ours = seized.len();
            if ours >= 5 {
                break;
            }
        }
        assert!(ours > 0, "the test proves nothing");
    }
}

/// The init of a container that joins the PID namespace, as in a pod, can be traced as well.
#[test]
fn an_init_traced_while_it_is_created_has_nothing_of_the_host() {
    let capabilities = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"];
    let first = idle().with_caps(&capabilities);
    let c = first.start();
    let mut attack = exec_cmd(&c, &[], &["probe", "seize"]).spawn();
    attack.until("ready");
    let second = in_pid_namespace_of(&c, idle().args(["true"]));
    let hosts = own_namespace("mount");
    let permitted = u64::from_str_radix(&status(&c, "CapPrm:"), 16).unwrap();
    // For older kernels see docs/security.md.
    let late = procfs_knows_pidns();
    for _ in 0..200 {
        let _ = second.run_cmd(&[]).pass_fd(File::open("/").unwrap(), 9).run();
        if seized_of_ours(&attack).len() >= 10 {
            break;
        }
    }
    let seized = seized_of_ours(&attack);
    assert!(!seized.is_empty(), "the test proves nothing");
    for process in &seized {
        assert_ne!(process["mnt"], hosts, "{process}");
        if late {
            assert_confined(process, permitted);
        }
    }
}

/// Linux 6.17.
fn procfs_knows_pidns() -> bool {
    orlop::sys::fs_context::knows_pidns()
}

/// A field of /proc/PID/status of a container's init.
fn status(c: &Container, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap().trim().to_owned()
}

/// No capability but these, and no descriptor but the streams, sockets of the runtime and files of the image.
#[track_caller]
fn assert_confined(process: &Value, permitted: u64) {
    for name in ["permitted", "effective"] {
        let set = u64::from_str_radix(process[name].as_str().unwrap(), 16).unwrap();
        assert_eq!(set & !permitted, 0, "{process}");
    }
    for (number, target) in process["fds"].as_object().unwrap() {
        let streams = ["0", "1", "2"].contains(&number.as_str());
        let target = target.as_str().unwrap();
        // The image's program and its /etc/passwd are read from inside.
        let of_the_image = target.starts_with("/bin/") || target == "/etc/passwd";
        assert!(streams || of_the_image || target.starts_with("socket:"), "{process}");
    }
}

/// Data that the caller gave only to the runtime.
#[test]
fn arguments_and_environment_of_the_caller_are_not_seen_inside() {
    let bundle = idle().with_caps(&["CAP_SYS_PTRACE"]);
    let c = bundle.start();
    let words = ["ARGUMENT-OF-EXEC", "ENVIRONMENT-OF-EXEC", "ARGUMENT-OF-TRUE"];
    let mut watch = exec_cmd(&c, &[], &[&["probe", "watch"], &words as &[&str]].concat()).spawn();
    watch.until("ready");
    let file = bundle.path(words[0]);
    for round in 0..200 {
        exec_cmd(
            &c,
            &["--env", "X=1", "--pid-file", file.to_str().unwrap()],
            &["sh", "-c", ": ARGUMENT-OF-TRUE; :"],
        )
        .env("SECRET", words[1])
        .run()
        .ok();
        if round >= 50 && watch.stdout().contains(words[2]) {
            break;
        }
    }
    let seen = watch.stdout();
    assert!(
        seen.contains(&format!("seen {}", words[2])),
        "the test proves nothing: {seen}"
    );
    for word in &words[..2] {
        assert!(!seen.contains(&format!("seen {word}")), "{seen}");
    }

    // A created container's init keeps them while it waits.
    let id = bundle.fresh_id();
    bundle
        .create_cmd(&id, &["--pid-file", bundle.path("ARGUMENT").to_str().unwrap()])
        .env("SECRET", "ENVIRONMENT")
        .run()
        .ok();
    let pid = fs::read_to_string(bundle.path("ARGUMENT")).unwrap();
    let read = |file: &str| String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap()).into_owned();
    let (arguments, environment) = (read("cmdline"), read("environ"));
    assert!(arguments.starts_with("orlop init\0"), "{arguments:?}");
    for text in [arguments, environment] {
        for word in ["ARGUMENT", "ENVIRONMENT", "SECRET", &id] {
            assert!(!text.contains(word), "{text:?}");
        }
    }
}

/// A container that shares the host's PID namespace sees the exec parent and the runtime at work as well.
#[test]
fn exec_parent_and_runtime_are_out_of_reach() {
    let bundle = idle().without_namespace("pid");
    let c = bundle.start();
    for _ in 0..10 {
        let report = exec_cmd(&c, &[], &["probe", "scan"]).run().ok().json();
        let ours = |process: &&Value| process["name"].as_str().unwrap().starts_with("orlop");
        let processes = report["processes"].as_array().unwrap();
        assert!(
            processes.iter().any(|process| ours(&process)),
            "the runtime itself waits: {report}"
        );
        for process in processes.iter().filter(ours) {
            assert_eq!(process["fds"], json!([]), "{process}");
            assert_eq!(process["exeWritable"], false, "{process}");
            assert_eq!(process["rootOpens"], false, "{process}");
        }
        assert_eq!(report["directories"], json!([]));
    }
}

/// CVE-2019-5736: the program is the runtime itself, through /proc/self/exe or a script that names it.
#[test]
fn the_runtime_as_the_program_stays_unchanged() {
    let bundle = idle()
        .edit(|c| c["root"]["readonly"] = json!(false))
        .with_caps(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
    fs::write(bundle.inside("/bin/evil"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(bundle.inside("/bin/evil"), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = bundle.path("runtime-copy");
    fs::copy(runtime(), &copy).unwrap();
    let before = fs::read(&copy).unwrap();
    let c = bundle.start();
    // It opens the program of every process that it sees and keeps writing through it.
    let script = "echo ready; while :; do for p in /proc/[0-9]*; do
            case $p in /proc/1|/proc/$$) continue;; esac
            (exec 9<$p/exe && n=0 && while [ $n -lt 20 ]; do (echo spoiled >/proc/self/fd/9); n=$((n+1)); done) &
            (echo spoiled >$p/exe)
        done 2>/dev/null; wait; done";
    let mut attack = exec_cmd(&c, &[], &["sh", "-c", script]).spawn();
    attack.until("ready");
    for _ in 0..20 {
        for program in ["/bin/evil", "/proc/self/exe", "/bin/true"] {
            let _ = bundle.orlop(["exec", &c.id, program]).program(&copy).run();
        }
    }
    assert!(
        fs::read(&copy).unwrap() == before,
        "the runtime's binary was overwritten"
    );
}
