//! Images and configurations that try to get out. Each is one published escape or its close relative; a file of the
//! host stands beside the container as a canary and must come out untouched, whether the runtime refuses the
//! container (which is always right) or runs it safely.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::harness::{Bundle, Canary, ConsoleSocket, runtime};

/// A path that a link of the image may hold: as on the host, and climbing up from anywhere.
fn ways_to(host: &str) -> [String; 3] {
    [
        host.to_owned(),
        format!("{}{}", "../".repeat(12).trim_end_matches('/'), host),
        format!("/proc/self/root{host}"),
    ]
}

fn replace_with_link(bundle: &Bundle, path: &str, target: &str) {
    let place = bundle.inside(path);
    let _ = fs::remove_dir(&place);
    let _ = fs::remove_file(&place);
    symlink(target, place).expect("plant a symbolic link");
}

fn writable(bundle: Bundle) -> Bundle {
    bundle.edit(|c| c["root"]["readonly"] = json!(false))
}

// ---- image content ----------------------------------------------------------------------------------------------------

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867.
#[test]
fn proc_and_sys_must_be_directories_of_the_image() {
    let canary = Canary::dir();
    for place in ["/proc", "/sys"] {
        for target in
            ways_to(canary.as_str())
                .iter()
                .map(String::as_str)
                .chain(["/etc", "etc", "/no/such/target", "/tmp/fake"])
        {
            let bundle = Bundle::new().args(["true"]);
            replace_with_link(&bundle, place, target);
            let out = bundle.run();
            assert_ne!(out.code, 0, "{place} -> {target} was accepted");
            bundle.assert_clean();
            canary.assert_untouched();
        }
    }
}

/// CVE-2026-41579, CVE-2026-47766.
#[test]
fn a_linked_dev_leads_nowhere() {
    let canary = Canary::dir();
    for target in ways_to(canary.as_str()) {
        for mounted in [true, false] {
            let mut bundle = writable(Bundle::new().args(["true"]));
            if !mounted {
                for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                    bundle = bundle.without_mount(place);
                }
            }
            let device = json!([{ "path": "/dev/extra", "type": "c", "major": 1, "minor": 3 }]);
            let bundle = bundle.edit(|c| c["linux"]["devices"] = device);
            replace_with_link(&bundle, "/dev", &target);
            let _ = bundle.run();
            canary.assert_untouched();
        }
    }
}

/// CVE-2026-88265, CVE-2025-31133, CVE-2025-62161, and every other name that we make below /dev.
#[test]
fn links_inside_the_images_dev_are_not_followed() {
    let canary = Canary::file();
    for name in [
        "null", "zero", "full", "tty", "ptmx", "console", "fd", "stdin", "stdout", "core", "extra", "pts", "shm",
        "mqueue",
    ] {
        for target in ways_to(canary.as_str()) {
            let bundle = writable(Bundle::new().args(["true"])).without_mount("/dev").edit(|c| {
                c["linux"]["devices"] =
                    json!([{ "path": "/dev/extra", "type": "c", "major": 1, "minor": 3, "uid": 12, "gid": 13 }]);
                c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            });
            replace_with_link(&bundle, &format!("/dev/{name}"), &target);
            let _ = bundle.run();
            canary.assert_untouched();
        }
    }
}

/// The same file made visible inside by a volume: neither mask nor chown nor redirection may reach it.
#[test]
fn a_linked_null_device_reaches_no_volume() {
    let canary = Canary::file();
    for shared in ["/volume/file", "/proc/sys/kernel/core_pattern"] {
        let dir = canary.path.parent().unwrap().to_str().unwrap();
        let bundle = writable(Bundle::new())
            .args([
                "probe",
                "try",
                "read,/proc/kcore",
                "write,/proc/kcore,x",
                "write,/dev/null,spoiled",
                "read,/proc/self/fd/0",
            ])
            .without_mount("/dev")
            .mount("/volume", "bind", dir, &["bind", "rw"])
            .edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
        replace_with_link(&bundle, "/dev/null", shared);
        let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        let out = bundle.run();
        assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
        canary.assert_untouched();
        if out.code == 0 {
            // Accepted: then what masks is the host's null device and nothing of the image's.
            let report = out.json();
            assert_ne!(report[0]["detail"], "canary\n");
            assert!(report[0]["detail"].as_str().unwrap_or("").is_empty(), "{report}");
        }
    }
}

/// The specification: an existing file that is not the device asked for is an error.
#[test]
fn a_device_that_is_something_else_is_refused() {
    let bundle = writable(Bundle::new().args(["true"])).without_mount("/dev");
    fs::write(bundle.inside("/dev/null"), "a plain file").unwrap();
    bundle.run().fails_with("/dev/null");
    assert_eq!(fs::read_to_string(bundle.inside("/dev/null")).unwrap(), "a plain file");
}

/// CVE-2026-88264, CVE-2025-52565.
#[test]
fn the_console_lands_on_no_link() {
    let canary = Canary::file();
    for target in ways_to(canary.as_str()) {
        for readonly in [true, false] {
            let bundle = Bundle::new().args(["probe", "facts"]).without_mount("/dev").edit(|c| {
                c["process"]["terminal"] = json!(true);
                c["root"]["readonly"] = json!(readonly);
            });
            replace_with_link(&bundle, "/dev/console", &target);
            fs::create_dir(bundle.inside("/dev/pts")).unwrap();
            let socket = ConsoleSocket::new(&bundle);
            let id = bundle.fresh_id();
            let out = bundle.create_cmd(&id, &["--console-socket", socket.path()]).run();
            if out.code == 0 {
                let mut terminal = socket.terminal();
                if bundle.orlop(["start", &id]).run().code == 0 {
                    let _ = terminal.until_closed();
                }
            }
            canary.assert_untouched();
        }
    }
}

// ---- mounts -------------------------------------------------------------------------------------------------------------

/// CVE-2019-18837 and the whole family: what is made below a link is made inside the root.
#[test]
fn mount_points_are_made_inside_the_root() {
    let canary = Canary::dir();
    let source = Bundle::new();
    let file = source.path("config.json");
    for target in ways_to(canary.as_str()) {
        for (kind, from, options) in [
            ("tmpfs", "tmpfs", &[] as &[&str]),
            ("bind", source.dir().to_str().unwrap(), &["bind"]),
            ("bind", file.to_str().unwrap(), &["bind"]),
        ] {
            for destination in ["/link", "/link/new", "/link/new/deeper", "/link/file", "/link/../new"] {
                let bundle = writable(Bundle::new().args(["true"])).mount(destination, kind, from, options);
                replace_with_link(&bundle, "/link", &target);
                let _ = bundle.run();
                canary.assert_untouched();
            }
        }
    }
}

#[test]
fn dots_in_a_destination_stay_inside() {
    let canary = Canary::dir();
    let up = "/..".repeat(12);
    for destination in [
        format!("{up}{}/new", canary.as_str()),
        format!("/tmp{up}{}/new", canary.as_str()),
        format!("{}{}/new", &up[1..], canary.as_str()),
    ] {
        let bundle = writable(Bundle::new().args(["true"])).mount(&destination, "tmpfs", "tmpfs", &[]);
        let _ = bundle.run();
        canary.assert_untouched();
    }
}

#[test]
fn device_paths_stay_inside() {
    let canary = Canary::dir();
    let up = "/..".repeat(12);
    for path in [
        format!("/dev{up}{}/node", canary.as_str()),
        "/link/node".into(),
        "/link/deeper/node".into(),
        "relative".into(),
    ] {
        let bundle = writable(Bundle::new().args(["true"])).edit(|c| {
            c["linux"]["devices"] = json!([{ "path": path, "type": "c", "major": 1, "minor": 3 }]);
        });
        replace_with_link(&bundle, "/link", canary.as_str());
        let _ = bundle.run();
        canary.assert_untouched();
    }
}

#[test]
fn masked_and_readonly_paths_stay_inside() {
    let canary = Canary::dir();
    let file = format!("{}/file", canary.as_str());
    for target in ways_to(&file) {
        let bundle = writable(Bundle::new().args(["probe", "cat", "/bin/true"])).edit(|c| {
            c["linux"]["maskedPaths"] = json!(["/link", "/link/x", &file]);
            c["linux"]["readonlyPaths"] = json!(["/link", canary.as_str()]);
        });
        replace_with_link(&bundle, "/link", &target);
        let _ = bundle.run();
        canary.assert_untouched();
        assert_eq!(fs::read_to_string(&file).unwrap(), "canary\n");
    }
}

/// CVE-2021-30465, CVE-2024-45310: one side of a shared volume is swapped while mounts are made below it.
#[test]
fn a_racing_link_swap_makes_nothing_outside() {
    let canary = Canary::dir();
    let volume = Bundle::new();
    let shared = volume.path("volume");
    fs::create_dir_all(shared.join("a")).unwrap();
    let outside = format!("{}{}", "../".repeat(12).trim_end_matches('/'), canary.as_str());
    symlink(&outside, shared.join("b")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flipper = {
        let (stop, dir) = (stop.clone(), shared.clone());
        let name = |n: &str| std::ffi::CString::new(dir.join(n).to_str().unwrap()).unwrap();
        let (a, b) = (name("a"), name("b"));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                unsafe {
                    libc::renameat2(
                        libc::AT_FDCWD,
                        a.as_ptr(),
                        libc::AT_FDCWD,
                        b.as_ptr(),
                        libc::RENAME_EXCHANGE,
                    )
                };
            }
        })
    };
    for round in 0..40 {
        let below = format!("/volume/a/new{round}/deeper");
        let bundle = Bundle::new()
            .args(["true"])
            .mount("/volume", "bind", shared.to_str().unwrap(), &["bind", "rw"])
            .mount(&below, "tmpfs", "tmpfs", &[]);
        let _ = bundle.run();
    }
    stop.store(true, Ordering::Relaxed);
    flipper.join().unwrap();
    canary.assert_untouched();
}

/// CVE-2019-16884, CVE-2025-52881, CVE-2025-62596: what we write to /proc goes to the kernel, whatever lies there.
#[test]
fn a_fake_proc_gets_none_of_our_writes() {
    let canary = Canary::file();
    for point in ["/proc", "/proc/sys", "/proc/self"] {
        let bundle = Bundle::new().args(["true"]);
        let fake = bundle.path("fake");
        for dir in [
            "self/attr",
            "self/fd",
            "self/task",
            "thread-self/attr",
            "sys/net/ipv4",
            "sys/kernel",
            "net/ipv4",
            "attr",
        ] {
            fs::create_dir_all(fake.join(dir)).unwrap();
        }
        for name in [
            "self/attr/exec",
            "self/attr/current",
            "thread-self/attr/exec",
            "attr/exec",
            "self/oom_score_adj",
            "oom_score_adj",
            "self/setgroups",
            "self/uid_map",
            "self/timens_offsets",
            "sys/net/ipv4/ip_forward",
            "net/ipv4/ip_forward",
            "sys/kernel/shmmax",
        ] {
            symlink("/canary", fake.join(name)).unwrap();
        }
        let bundle = bundle
            .mount(point, "bind", fake.to_str().unwrap(), &["bind", "rw"])
            .mount("/canary", "bind", canary.as_str(), &["bind", "rw"]);
        let bundle = bundle.edit(|c| {
            c["process"]["oomScoreAdj"] = json!(100);
            c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
            // The canary has to be there before the fake.
            c["mounts"].as_array_mut().unwrap().reverse();
        });
        let _ = bundle.run();
        canary.assert_untouched();
    }
}

// ---- descriptors and the working directory ----------------------------------------------------------------------------

/// CVE-2024-21626: a directory of the host left open in the caller.
#[test]
fn no_working_directory_through_a_leaked_descriptor() {
    let canary = Canary::dir();
    for (fd, tail) in [
        (3, ""),
        (5, ""),
        (6, "/../../.."),
        (7, ""),
        (8, "/."),
        (9, ""),
        (10, ""),
        (100, ""),
    ] {
        let cwd = format!("/proc/self/fd/{fd}{tail}");
        let bundle = Bundle::new().args([
            "probe",
            "try",
            "list,.",
            &format!("read,{}/file", &canary.as_str()[1..]),
        ]);
        let bundle = bundle.edit(|c| c["process"]["cwd"] = json!(cwd));
        let mut cmd = bundle.run_cmd(&[]);
        for number in (3..=10).chain([100]) {
            cmd = cmd.pass_fd(fs::File::open("/").unwrap(), number);
        }
        let out = cmd.run();
        assert!(!out.stdout.contains("canary"), "{out:#?}");
        assert_ne!(out.code, 0, "{cwd} was accepted: {out:#?}");
        bundle.assert_clean();
    }
}

/// The same through a link of the image, and as the program.
#[test]
fn no_program_or_link_through_a_leaked_descriptor() {
    let run = |bundle: &Bundle| {
        let mut cmd = bundle.run_cmd(&[]);
        for number in 3..=10 {
            cmd = cmd.pass_fd(fs::File::open("/").unwrap(), number);
        }
        cmd.run()
    };
    for fd in 3..=10 {
        let bundle = Bundle::new()
            .args(["probe", "try", "list,."])
            .edit(|c| c["process"]["cwd"] = json!("/link"));
        replace_with_link(&bundle, "/link", &format!("/proc/self/fd/{fd}"));
        assert_ne!(run(&bundle).code, 0);
        let bundle = Bundle::new().args([format!("/proc/self/fd/{fd}/bin/true")]);
        assert_ne!(run(&bundle).code, 0);
    }
}

#[test]
fn leaked_descriptors_do_not_arrive() {
    let bundle = Bundle::new().args(["probe", "scan"]);
    let mut cmd = bundle.run_cmd(&[]);
    for number in (3..=20).chain([100, 999]) {
        cmd = cmd.pass_fd(fs::File::open("/").unwrap(), number);
    }
    let report = cmd.run().ok().json();
    assert_eq!(report["directories"], json!([]));
    assert_eq!(report["processes"], json!([]), "init is alone in its pid namespace");
    let facts = Bundle::new();
    let facts = facts
        .run_cmd(&[])
        .pass_fd(fs::File::open("/").unwrap(), 7)
        .run()
        .ok()
        .json();
    assert_eq!(facts["fds"].as_object().unwrap().len(), 3, "{}", facts["fds"]);
}

/// CVE-2016-9962: while init is still ours, what it holds is out of reach of the container's own processes.
#[test]
fn inits_descriptors_are_out_of_reach_of_a_hook_inside() {
    for capabilities in [&[] as &[&str], &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]] {
        let canary = Canary::dir();
        let script = format!(
            "for f in /proc/1/fd/* /proc/1/cwd /proc/1/root; do if [ -e $f{}/file ]; then exit 1; fi; done; exit 0",
            canary.as_str()
        );
        let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] });
        let bundle = Bundle::new()
            .args(["true"])
            .with_caps(capabilities)
            .with_hook("startContainer", hook);
        let c = bundle
            .create_cmd(&bundle.fresh_id(), &[])
            .pass_fd(fs::File::open("/").unwrap(), 9)
            .run()
            .ok();
        let id = c.args.last().unwrap();
        let out = bundle.orlop(["start", id]).run();
        assert_eq!(out.code, 0, "with {capabilities:?}: {out:#?}");
    }
}

// ---- the runtime's own binary -----------------------------------------------------------------------------------------

/// CVE-2019-5736, first half: the image's program is the runtime itself.
#[test]
fn the_runtime_as_the_containers_program_stays_unchanged() {
    let before = fs::read(runtime()).unwrap();
    for program in ["/bin/evil", "/proc/self/exe"] {
        let bundle = writable(
            Bundle::new()
                .args([program])
                .with_caps(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]),
        );
        fs::write(bundle.inside("/bin/evil"), "#!/proc/self/exe\n").unwrap();
        fs::set_permissions(bundle.inside("/bin/evil"), fs::Permissions::from_mode(0o755)).unwrap();
        let _ = bundle.run();
    }
    assert!(
        fs::read(runtime()).unwrap() == before,
        "the runtime's binary was changed"
    );
}

/// CVE-2019-5736, second half: keep the program of init open for reading while it is ours, and write through that once
/// no one executes it any more. A copy of the runtime stands in, so that a weak one is not really overwritten.
#[test]
fn the_runtimes_binary_cannot_be_overwritten_from_inside() {
    for capabilities in [&[] as &[&str], &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]] {
        let script = "(exec 9</proc/1/exe) || exit 0
            exec 9</proc/1/exe
            (n=0; while [ $n -lt 40 ]; do (echo spoiled >/proc/self/fd/9) 2>/dev/null; sleep 0.02; n=$((n+1)); done) >/dev/null 2>&1 &
            exit 0";
        let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["PATH=/bin"] });
        let bundle = Bundle::new()
            .args(["probe", "sleep"])
            .with_caps(capabilities)
            .with_hook("startContainer", hook);
        let copy = bundle.path("runtime-copy");
        fs::copy(runtime(), &copy).unwrap();
        let before = fs::read(&copy).unwrap();
        let id = bundle.fresh_id();
        let dir = bundle.dir().to_str().unwrap();
        bundle.orlop(["create", "--bundle", dir, &id]).program(&copy).run().ok();
        bundle.orlop(["start", &id]).program(&copy).run().ok();
        std::thread::sleep(std::time::Duration::from_millis(900));
        assert!(fs::read(&copy).unwrap() == before, "overwritten, with {capabilities:?}");
    }
}

/// A container that shares the host's pid namespace sees the runtime at work.
#[test]
fn the_runtime_at_work_is_out_of_reach() {
    let bundle = Bundle::new().args(["probe", "scan"]).without_namespace("pid");
    let report = bundle.run().ok().json();
    // Other tests' containers are seen as well, and are no better than this one.
    let processes = report["processes"].as_array().unwrap().iter();
    let ours: Vec<_> = processes.filter(|process| process["name"] == "orlop").collect();
    assert!(!ours.is_empty(), "{report:#}");
    for process in ours {
        assert_eq!(process["exeWritable"], false, "{process}");
        assert_eq!(process["rootOpens"], false, "{process}");
    }
}
