//! What `exec` must withstand: published vulnerabilities of runtimes whose second way into a container was weaker than the
//! first, and containers that lie in wait for the process that joins them.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::exec::identity::{exec_cmd, exec_facts, idle};
use crate::harness::{Bundle, Canary, Cmd, ConsoleSocket, Container, Facts, Running, own_namespace, runtime};
use crate::namespaces::user::{as_user, remapped, rootless};

// ---- who it is ----------------------------------------------------------------------------------------------------------

/// CVE-2026-30892: a user that cannot be read is no user, least of all root.
#[test]
fn a_user_that_is_not_a_number_is_refused() {
    let bundle = idle().edit(|c| c["root"]["readonly"] = json!(false));
    let c = bundle.start();
    for user in [
        "",
        "abc",
        "1x",
        "4294967295",
        "4294967296",
        "-1",
        "1:",
        ":1",
        "+1",
        "1:2:3",
        "1000abc",
        "1:x",
        "root",
        " 1",
    ] {
        let out = exec_cmd(&c, &["--user", user], &["touch", "/ran"]).run().fails();
        assert_eq!(out.code, 255, "{out:#?}");
        let out = exec_cmd(&c, &["-g", user], &["touch", "/ran"]).run();
        if user.parse::<u32>().is_err() || user == "4294967295" {
            assert_eq!(out.code, 255, "{out:#?}");
        }
    }
    assert!(!bundle.inside("/ran").exists());
}

/// CVE-2022-24769, CVE-2022-29162, CVE-2022-27650, CVE-2025-27612.
#[test]
fn nothing_is_inheritable_that_the_config_does_not_say() {
    let bundle = idle();
    let c = bundle.start();
    let defaults = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]);
    let more = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_AUDIT_WRITE"]);
    for user in ["0", "1000"] {
        let facts = exec_facts(&c, &["-u", user]);
        assert_eq!(facts["caps"]["bounding"], defaults);
        let facts = exec_facts(&c, &["-u", user, "--cap", "CAP_NET_RAW"]);
        for set in ["bounding", "effective", "permitted"] {
            // Another user than root loses what is not ambient at execve(2).
            let expected = if user == "0" || set == "bounding" {
                more.clone()
            } else {
                json!([])
            };
            assert_eq!(facts["caps"][set], expected, "{set} of user {user}");
        }
        for set in ["inheritable", "ambient"] {
            assert_eq!(facts["caps"][set], json!([]), "{set} of user {user}");
        }
        let file = bundle.path("process.json");
        let process = json!({ "args": ["probe", "facts"], "cwd": "/", "env": ["PATH=/bin"],
            "user": { "uid": user.parse::<u32>().unwrap(), "gid": 0 },
            "capabilities": { "bounding": more, "effective": more, "permitted": more } });
        fs::write(&file, process.to_string()).unwrap();
        let facts = exec_cmd(&c, &["--process", file.to_str().unwrap()], &[])
            .run()
            .ok()
            .json();
        assert_eq!(facts["caps"]["bounding"], more);
        for set in ["inheritable", "ambient"] {
            assert_eq!(facts["caps"][set], json!([]), "{set} of user {user}");
        }
    }
}

#[test]
fn an_added_capability_is_ambient_only_where_it_is_inheritable() {
    let bundle = idle().edit(|c| {
        c["process"]["capabilities"] =
            json!({ "bounding": ["CAP_NET_RAW", "CAP_KILL"], "inheritable": ["CAP_NET_RAW"] });
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    let c = bundle.start();
    let facts = exec_facts(&c, &["-c", "CAP_NET_RAW", "-c", "CAP_CHOWN"]);
    assert_eq!(facts["caps"]["inheritable"], json!(["CAP_NET_RAW"]));
    assert_eq!(facts["caps"]["ambient"], json!(["CAP_NET_RAW"]));
    assert_eq!(facts["caps"]["effective"], json!(["CAP_NET_RAW"]));
    assert!(facts["caps"]["bounding"].to_string().contains("CAP_CHOWN"));
}

/// Supplementary groups of the caller must not survive.
#[test]
fn groups_of_the_caller_are_dropped() {
    let bundle = idle();
    let c = bundle.start();
    let facts = exec_cmd(&c, &[], &["probe", "facts"])
        .groups(&[4, 27, 999])
        .run()
        .ok()
        .json();
    assert_eq!(facts["groups"], json!([]));
    let facts = exec_cmd(&c, &["-g", "5"], &["probe", "facts"])
        .groups(&[4, 27])
        .run()
        .ok()
        .json();
    assert_eq!(facts["groups"], json!([5]));
}

/// Environment and descriptors of the caller.
#[test]
fn nothing_of_the_callers_arrives() {
    let bundle = idle();
    let c = bundle.start();
    let mut cmd = exec_cmd(&c, &[], &["probe", "facts"])
        .env("SECRET", "of the caller")
        .env("LISTEN_FDS", "1")
        .env("NOTIFY_SOCKET", "/run/notify");
    for number in (3..=10).chain([100]) {
        cmd = cmd.pass_fd(File::open("/").unwrap(), number);
    }
    let facts = cmd.run().ok().json();
    assert_eq!(
        facts["fds"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["0", "1", "2"]
    );
    let env = facts["env"].to_string();
    for name in ["SECRET", "LISTEN_", "NOTIFY_", "ORLOP"] {
        assert!(!env.contains(name), "{env}");
    }
}

#[test]
fn ids_do_not_lead_out_of_the_state_directory() {
    let bundle = idle();
    let c = bundle.start();
    for id in [
        "../x",
        "..",
        ".",
        "",
        "a/b",
        &format!("../state/{}", c.id),
        &format!("./{}", c.id),
    ] {
        let out = bundle.orlop(["exec", "--", id, "true"]).run().fails();
        assert_eq!(out.code, 255, "{out:#?}");
    }
}

#[test]
fn a_sub_cgroup_does_not_lead_out_of_the_containers() {
    let bundle = idle();
    let c = bundle.start();
    for path in ["..", "../..", "/..", "a/../..", "", "pids:a", "cpu,memory:/"] {
        let out = exec_cmd(&c, &["--cgroup", path], &["true"]).run().fails();
        assert_eq!(out.code, 255, "{out:#?}");
    }
}

// ---- where it is --------------------------------------------------------------------------------------------------------

/// CVE-2024-21626: neither the working directory nor the program may be reached through a descriptor of ours.
#[test]
fn no_way_out_through_a_descriptor() {
    let canary = Canary::dir();
    let bundle = idle();
    for fd in 3..=12 {
        symlink(format!("/proc/self/fd/{fd}"), bundle.inside(&format!("/etc/link{fd}"))).unwrap();
    }
    let c = bundle.start();
    let leaking = |mut cmd: Cmd| {
        for number in (3..=12).chain([100]) {
            cmd = cmd.pass_fd(File::open("/").unwrap(), number);
        }
        cmd.run()
    };
    let file = format!("read,{}/file", &canary.as_str()[1..]);
    for fd in (3..=12).chain([100]) {
        for cwd in [
            format!("/proc/self/fd/{fd}"),
            format!("/proc/self/fd/{fd}/../../.."),
            format!("/proc/self/fd/{fd}/."),
            format!("/proc/thread-self/fd/{fd}"),
            format!("/etc/link{fd}"),
            "/proc/1/root".into(),
            "/proc/1/cwd".into(),
        ] {
            let out = leaking(exec_cmd(&c, &["--cwd", &cwd], &["probe", "try", "list,.", &file]));
            assert!(!out.stdout.contains("canary"), "{out:#?}");
            assert_eq!(out.code, 255, "{cwd} was accepted: {out:#?}");
        }
        for program in [
            format!("/proc/self/fd/{fd}/bin/true"),
            format!("/etc/link{fd}/bin/true"),
        ] {
            let out = leaking(exec_cmd(&c, &[], &[&program]));
            assert_eq!(out.code, 255, "{program} was executed: {out:#?}");
        }
    }
}

#[test]
fn a_working_directory_stays_inside() {
    let canary = Canary::dir();
    let bundle = idle();
    symlink(canary.as_str(), bundle.inside("/etc/absolute")).unwrap();
    symlink(
        format!("{}{}", "../".repeat(12).trim_end_matches('/'), canary.as_str()),
        bundle.inside("/etc/relative"),
    )
    .unwrap();
    let c = bundle.start();
    let up = "/..".repeat(12);
    for cwd in [
        "/etc/absolute".into(),
        "/etc/relative".into(),
        format!("{up}{}", canary.as_str()),
    ] {
        let out = exec_cmd(&c, &["--cwd", &cwd], &["probe", "try", "list,."])
            .run()
            .fails();
        assert_eq!(out.code, 255);
    }
    // And none is made, here or there.
    let out = exec_cmd(&c, &["--cwd", "/tmp/new"], &["true"])
        .run()
        .fails_with("ENOENT");
    assert_eq!(out.code, 255);
    assert!(!bundle.inside("/tmp/new").exists());
}

// ---- who lies in wait ---------------------------------------------------------------------------------------------------

/// CVE-2016-9962: while the process is still ours, processes of the container, even with the right to trace others, find
/// neither a way to the host nor, without that right, any of its descriptors.
#[test]
fn who_joins_is_out_of_reach_of_the_container() {
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
        // Looks as fast as it can at every process besides itself and those that were there before.
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
            // Standard streams are those of the program, which had replaced us before the look at them.
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

/// With CAP_SYS_PTRACE and no user namespace the kernel lets the container's processes attach to one of ours. They find in it
/// what they have themselves.
#[test]
fn who_is_seized_while_joining_has_nothing_of_the_hosts() {
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
                // It may be stopped for too long, but never more than that.
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

/// Init of a container that joins the pid namespace, as in a pod, can be attached to as well.
#[test]
fn who_is_seized_while_a_container_is_made_has_nothing_of_the_hosts() {
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

/// It is in the namespace, with a procfs that shows it, and ends by itself.
#[test]
fn a_container_in_the_pid_namespace_of_another() {
    let first = idle();
    let c = first.start();
    let second = in_pid_namespace_of(&c, idle());
    let joined = second.start();
    let link = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    assert_eq!(link(joined.pid()), link(c.pid()));
    let facts = exec_facts(&joined, &[]);
    assert_eq!(facts["namespaces"]["pid"], json!(link(c.pid()).to_string_lossy()));
    assert_eq!(facts["ppid"], 0);
    joined.kill("KILL");
    joined.until_stopped();
    assert_eq!(c.status(), "running");
    let out = in_pid_namespace_of(&c, Bundle::new().args(["probe", "exit", "5"])).run();
    assert_eq!(out.code, 5, "{out:#?}");
    let deadline = in_pid_namespace_of(&c, Bundle::new()).edit(|config| {
        config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
        config["process"]["terminal"] = json!(true);
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NPROC", "soft": 700, "hard": 700 }]);
    });
    let facts = deadline.facts();
    assert_eq!(
        (&facts["scheduler"]["policy"], &facts["scheduler"]["nice"]),
        (&json!(3), &json!(5))
    );
    assert_eq!(facts["rlimits"]["RLIMIT_NPROC"], json!([700, 700]));
    assert!(facts["tty"][0].is_object(), "{}", facts["tty"]);
    assert_eq!(facts["sid"], facts["pid"]);
}

/// Linux 6.17.
fn procfs_knows_pidns() -> bool {
    let fd = unsafe { libc::syscall(libc::SYS_fsopen, c"proc".as_ptr(), 1) } as i32;
    assert!(fd >= 0, "fsopen: {}", std::io::Error::last_os_error());
    let context = unsafe { OwnedFd::from_raw_fd(fd) };
    let (key, value) = (c"pidns".as_ptr(), c"/proc/self/ns/pid".as_ptr());
    unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), 1, key, value, 0) == 0 }
}

pub fn in_pid_namespace_of(c: &Container, bundle: Bundle) -> Bundle {
    let path = format!("/proc/{}/ns/pid", c.pid());
    bundle.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        let pid = namespaces.iter_mut().find(|namespace| namespace["type"] == "pid");
        pid.unwrap()["path"] = json!(path);
    })
}

/// A field of /proc/PID/status of a container's init.
fn status(c: &Container, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap().trim().to_owned()
}

/// No capability but these, and no descriptor but the streams, sockets of ours and files of the image.
#[track_caller]
fn assert_confined(process: &Value, permitted: u64) {
    for name in ["permitted", "effective"] {
        let set = u64::from_str_radix(process[name].as_str().unwrap(), 16).unwrap();
        assert_eq!(set & !permitted, 0, "{process}");
    }
    for (number, target) in process["fds"].as_object().unwrap() {
        let streams = ["0", "1", "2"].contains(&number.as_str());
        let target = target.as_str().unwrap();
        // The image's program and its list of users are looked at from inside.
        let of_the_image = target.starts_with("/bin/") || target == "/etc/passwd";
        assert!(streams || of_the_image || target.starts_with("socket:"), "{process}");
    }
}

/// What the caller has told the runtime alone.
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

    // A created container's init has them for as long as it waits.
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

/// A container that shares the host's pid namespace sees usher and runtime at work as well.
#[test]
fn usher_and_runtime_are_out_of_reach_too() {
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

/// CVE-2019-5736: the program is the runtime itself, by its own link or by a script that names it.
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
    // Takes hold of every program that it sees and writes through that for as long as it lives.
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

// ---- user namespaces ----------------------------------------------------------------------------------------------------

#[test]
fn in_a_user_namespace_it_is_the_containers_root_and_no_more() {
    let bundle = remapped(idle());
    let c = bundle.start();
    let facts = exec_facts(&c, &[]);
    assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
    assert_eq!(facts["groups"], json!([]));
    let user = fs::read_link(format!("/proc/{}/ns/user", c.pid())).unwrap();
    assert_eq!(facts["namespaces"]["user"], json!(user.to_string_lossy()));
    assert_eq!(
        facts["caps"]["effective"],
        json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"])
    );
    assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!([1024, 1024]));
    let facts = exec_facts(&c, &["-u", "1000:1001", "-g", "5"]);
    assert_eq!(
        (&facts["uid"][0], &facts["gid"][0], &facts["groups"]),
        (&json!(1000), &json!(1001), &json!([5]))
    );
    let out = exec_cmd(&c, &["-u", "70000"], &["true"])
        .run()
        .fails_with("user namespace");
    assert_eq!(out.code, 255);
    let file = bundle.path("pid");
    exec_cmd(&c, &["-d", "--pid-file", file.to_str().unwrap()], &["sleep", "1000"])
        .run()
        .ok();
    let pid = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 100_000);
}

#[test]
fn a_terminal_in_a_user_namespace_belongs_to_its_user() {
    let bundle = remapped(idle());
    let c = bundle.start();
    for (user, owner) in [("0", 0), ("1000", 1000)] {
        let socket = ConsoleSocket::new(&bundle);
        exec_cmd(
            &c,
            &["-t", "-d", "-u", user, "--console-socket", socket.path()],
            &["probe", "facts", "/dev/pts/0"],
        )
        .run()
        .ok();
        let report: Value = serde_json::from_str(&socket.terminal().until_closed()).expect("the probe's report");
        assert_eq!(Facts(report).path("/dev/pts/0")["uid"], owner);
        fs::remove_file(socket.path()).unwrap();
    }
}

#[test]
fn a_plain_user_joins_the_own_container() {
    let bundle = rootless(idle());
    let id = bundle.fresh_id();
    as_user(bundle.create_cmd(&id, &[])).run().ok();
    // The kernel lets nobody but root look into a process that hides and was not born in a user namespace of theirs.
    let out = as_user(bundle.orlop(["exec", &id, "true"]))
        .run()
        .fails_with("until the container is started");
    assert_eq!(out.code, 255);
    as_user(bundle.orlop(["start", &id])).run().ok();
    let facts = as_user(bundle.orlop(["exec", &id, "probe", "facts"])).run().ok().json();
    let pid = as_user(bundle.orlop(["state", &id])).run().ok().json()["pid"].clone();
    assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let target = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        assert_eq!(facts["namespaces"][name], json!(target.to_string_lossy()), "{name}");
    }
    assert_eq!(facts["fds"].as_object().unwrap().len(), 3);
    assert_eq!(as_user(bundle.orlop(["exec", &id, "probe", "exit", "5"])).run().code, 5);
    let out = as_user(bundle.orlop(["exec", "-u", "7", &id, "true"]))
        .run()
        .fails_with("user namespace");
    assert_eq!(out.code, 255);
}
