//! Requirements of `docs/conformance.md` that belong to no other file's subject.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::json;

use crate::harness::{Bundle, Facts, Holder, HostMount, eventually, pty, set_size};
use crate::namespaces::user::remapped;

/// Nothing that needs a mount namespace is asked for.
fn without_mounts(bundle: Bundle) -> Bundle {
    bundle.edit(|c| {
        c.as_object_mut().unwrap().remove("mounts");
        c["root"]["readonly"] = json!(false);
    })
}

#[test]
fn the_path_of_the_root_is_absolute_or_relative_to_the_bundle() {
    for absolute in [false, true] {
        let bundle = Bundle::new();
        fs::write(bundle.inside("/etc/mark"), "this image").unwrap();
        let root = if absolute {
            bundle.inside("/").to_str().unwrap().to_owned()
        } else {
            "./rootfs/".to_owned()
        };
        let bundle = bundle.edit(|c| c["root"]["path"] = json!(root));
        // From elsewhere, so that it is not found by the working directory.
        let bundle = bundle.args(["probe", "cat", "/etc/mark"]);
        let out = bundle.run_cmd(&[]).cwd("/".as_ref()).run().ok();
        assert_eq!(out.stdout, "this image", "{root}");
    }
}

#[test]
fn the_linux_section_may_be_absent() {
    let bundle = without_mounts(Bundle::new().args(["probe", "exit", "7"])).edit(|c| {
        c.as_object_mut().unwrap().remove("linux");
        c.as_object_mut().unwrap().remove("hostname");
    });
    let out = bundle.run();
    assert_eq!(out.code, 7, "{out:#?}");
    bundle.assert_clean();
}

#[test]
fn sections_of_other_platforms_are_ignored() {
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c["vm"] = json!({ "kernel": { "path": "/no/such/kernel" } });
        c["zos"] = json!({ "namespaces": [{ "type": "pid" }] });
        c["windows"] = json!({ "layerFolders": ["C:\\layer"] });
        c["solaris"] = json!({ "milestone": "svc:/milestone/container:default" });
        c["freebsd"] = json!({ "jail": { "host": "new" } });
    });
    bundle.run().ok();
}

#[test]
fn containers_are_known_to_their_state_root_only() {
    let (one, other) = (Bundle::new().args(["probe", "sleep"]), Bundle::new());
    let c = one.start();
    for verb in ["state", "start", "kill", "delete"] {
        other.orlop([verb, &c.id]).run().fails_with("does not exist");
    }
    std::fs::create_dir_all(other.state_root()).unwrap();
    assert_eq!(other.orlop(["list", "--quiet"]).run().ok().stdout, "");
    assert_eq!(c.status(), "running");
}

/// Whoever reads the pid file sees the old or the new content, never a part, and a link at its place is not followed.
#[test]
fn the_pid_file_is_replaced_as_a_whole() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let path = bundle.path("init.pid");
    let kept = bundle.path("kept");
    fs::write(&kept, "what a reader has open").unwrap();
    let create = |id: &str| {
        bundle
            .create_cmd(id, &["--pid-file", path.to_str().unwrap()])
            .run()
            .ok();
        let pid = bundle.orlop(["state", id]).run().ok().json()["pid"].to_string();
        assert_eq!(fs::read_to_string(&path).unwrap(), pid);
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read_to_string(&kept).unwrap(), "what a reader has open");
        bundle.orlop(["delete", "--force", id]).run().ok();
    };
    fs::hard_link(&kept, &path).unwrap();
    create(&bundle.fresh_id());
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&kept, &path).unwrap();
    create(&bundle.fresh_id());
}

/// A runtime that is killed while it writes leaves no half of it under another name.
#[test]
fn a_new_pid_file_has_no_other_name_before_its_own() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let path = bundle.path("init.pid");
    // Where a temporary name would have to be.
    fs::create_dir_all(bundle.path(".init.pid/full")).unwrap();
    let id = bundle.fresh_id();
    let flags = ["--pid-file", path.to_str().unwrap()];
    bundle.create_cmd(&id, &flags).umask(0o027).run().ok();
    let pid = bundle.orlop(["state", &id]).run().ok().json()["pid"].to_string();
    assert_eq!(fs::read_to_string(&path).unwrap(), pid);
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o640);
}

/// `--pid-file /dev/null` or `/dev/stdout` must not cost the host its device.
#[test]
fn a_pid_file_takes_the_place_of_no_device() {
    let bundle = Bundle::new().args(["true"]);
    let (fifo, link) = (bundle.path("fifo"), bundle.path("link"));
    let name = std::ffi::CString::new(fifo.to_str().unwrap()).unwrap();
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    std::os::unix::fs::symlink("/proc/self/fd/0", &link).unwrap();
    for path in [&fifo, &link] {
        let before = path.symlink_metadata().unwrap().ino();
        let flags = ["--pid-file", path.to_str().unwrap()];
        bundle.run_cmd(&flags).run().fails_with("no plain file");
        assert_eq!(path.symlink_metadata().unwrap().ino(), before);
    }
    bundle.assert_clean();
}

#[test]
fn a_missing_working_directory_is_made() {
    let bundle = Bundle::new().args(["probe", "facts", "/new", "/new/deeper"]).edit(|c| {
        c["process"]["cwd"] = json!("/new/deeper");
        c["root"]["readonly"] = json!(false);
    });
    let facts = bundle.facts();
    assert_eq!(facts["cwd"], "/new/deeper");
    for made in ["/new", "/new/deeper"] {
        assert_eq!(facts.path(made)["mode"], "0755", "{made}");
    }
}

/// A program that is not root can open /dev/stdout again.
#[test]
fn streams_that_were_made_for_the_process_belong_to_its_user() {
    for (user, opens) in [(0, true), (1000, true)] {
        let bundle = Bundle::new()
            .sh("echo again >/proc/self/fd/1")
            .edit(|c| c["process"]["user"] = json!({ "uid": user, "gid": user }));
        let mut ends = [-1; 2];
        assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
        let [mut reader, writer] = ends.map(|fd| unsafe { File::from_raw_fd(fd) });
        let code = bundle.run_cmd(&[]).pass_fd(writer, 1).run().code;
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!((code == 0, said.as_str()), (opens, "again\n"), "as user {user}");
    }
}

/// As `>file` of a shell or an engine's log: the user gets the file, and the group keeps it.
#[test]
fn files_that_are_standard_streams_belong_to_the_processs_user() {
    let reopen = "read line </dev/stdin && echo $line && echo again >>/dev/stdout && echo error >>/dev/stderr";
    for joins in [false, true] {
        let args = if joins {
            vec!["probe", "sleep"]
        } else {
            vec!["sh", "-c", reopen]
        };
        let bundle = Bundle::new()
            .args(args)
            .edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
        let files = ["in", "out", "err"].map(|name| bundle.path(name));
        fs::write(&files[0], "line\n").unwrap();
        let streams = files.each_ref().map(|file| {
            let open = File::options().read(true).append(true).create(true).open(file).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(file, None, Some(7)).unwrap();
            open
        });
        let container = joins.then(|| bundle.start());
        let mut cmd = match &container {
            Some(c) => bundle.orlop(["exec", &c.id, "sh", "-c", reopen]),
            None => bundle.run_cmd(&[]),
        };
        for (number, stream) in streams.into_iter().enumerate() {
            cmd = cmd.pass_fd(stream, number as i32);
        }
        cmd.run().ok();
        for (file, said) in files.iter().zip(["line\n", "line\nagain\n", "error\n"]) {
            assert_eq!(fs::read_to_string(file).unwrap(), said);
            let found = file.metadata().unwrap();
            assert_eq!((found.uid(), found.gid()), (1000, 7), "{}", file.display());
        }
    }
}

/// CVE-2026-88265: their nodes are the host's, and an owner could open them to everybody.
#[test]
fn devices_that_are_standard_streams_stay_the_hosts() {
    let bundle = Bundle::new()
        .args(["true"])
        .edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    for device in ["/dev/null", "/dev/zero"] {
        let stream = File::options().read(true).write(true).open(device).unwrap();
        bundle.run_cmd(&[]).pass_fd(stream, 0).run().ok();
        let owner = fs::metadata(device).unwrap().uid();
        if owner != 0 {
            std::os::unix::fs::chown(device, Some(0), None).unwrap();
        }
        assert_eq!(owner, 0, "{device}");
    }
}

#[test]
fn mounts_are_made_in_their_order() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let bundle = Bundle::new();
        for name in ["a", "b"] {
            fs::create_dir(bundle.path(name)).unwrap();
            fs::write(bundle.path(name).join("name"), name).unwrap();
            // Where the second mount of the other tree goes.
            fs::create_dir(bundle.path(name).join("below")).unwrap();
        }
        let bundle = bundle
            .mount("/data", "bind", first, &["bind"])
            .mount("/data/below", "bind", first, &["bind"])
            .mount("/data", "bind", second, &["bind"]);
        let tried = bundle.attempt(["read,/data/name", "read,/data/below/name"]);
        assert_eq!(tried.detail("read,/data/name"), second);
        assert_eq!(tried.result("read,/data/below/name"), "ENOENT", "covered by the later");
    }
}

#[test]
fn cgroup2_is_another_name_of_the_type_cgroup() {
    let with = |kind: &str| {
        let bundle = Bundle::new().edit(|c| {
            let mounts = c["mounts"].as_array_mut().unwrap();
            let mount = mounts.iter_mut().find(|m| m["destination"] == "/sys/fs/cgroup");
            mount.expect("a mount of the cgroup tree")["type"] = json!(kind);
        });
        let facts = bundle.facts();
        let mount = facts.mount("/sys/fs/cgroup").clone();
        [mount["fstype"].clone(), mount["root"].clone(), mount["options"].clone()]
    };
    let both = ["cgroup", "cgroup2"].map(with);
    assert_eq!(both[0], both[1]);
    assert_eq!(both[0][0], "cgroup2");
}

/// CVE-2020-15257: an abstract socket is reachable for all that share the network namespace. The runtime is in an empty
/// one here, which the container shares, so that each abstract socket would be its own.
#[test]
fn no_abstract_socket_is_opened() {
    let own_network = || match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    for listening in [false, true] {
        let bundle = Bundle::new()
            .args(["probe", "cat", "/proc/self/net/unix"])
            .without_namespace("network");
        let socket = bundle.path("notify");
        let manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
        let mut cmd = bundle.run_cmd(&[]).before_exec(own_network);
        if listening {
            cmd = cmd.env("NOTIFY_SOCKET", socket.to_str().unwrap());
        }
        let out = cmd.run().ok();
        drop(manager);
        let mut lines = out.stdout.lines();
        assert!(lines.next().is_some_and(|head| head.contains("Path")), "{out:#?}");
        let names: Vec<&str> = lines.filter_map(|line| line.split_ascii_whitespace().nth(7)).collect();
        assert!(!names.iter().any(|name| name.starts_with('@')), "{names:?}");
        // With a manager there is a socket, so an empty list would prove nothing.
        assert!(!listening || !names.is_empty(), "{out:#?}");
    }
}

/// CVE-2021-43784: what is longer than a length field can tell is an error and never something else.
#[test]
fn lists_and_paths_of_any_length_are_kept_or_refused() {
    let long = format!("/proc/self/ns/net/{}", "x".repeat(70_000));
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        let network = list.iter_mut().find(|n| n["type"] == "network");
        network.expect("a network namespace")["path"] = json!(long);
    });
    bundle.run().fails_with("linux.namespaces");
    bundle.assert_clean();

    let mappings: Vec<_> = (0..6000)
        .map(|n| json!({ "containerID": n, "hostID": 100_000 + n, "size": 1 }))
        .collect();
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "user" }));
        c["linux"]["uidMappings"] = json!(mappings);
        c["linux"]["gidMappings"] = json!(mappings);
    });
    bundle.run().fails_with("linux.uidMappings");
    bundle.assert_clean();

    let value = "v".repeat(70_000);
    let bundle = Bundle::new().edit(|c| {
        let env = c["process"]["env"].as_array_mut().unwrap();
        env.push(json!(format!("LONG={value}")));
        c["annotations"] = json!({ "long": value });
    });
    let facts = Facts(bundle.run().ok().json());
    assert!(facts["env"].to_string().contains(&value));
}

#[test]
fn a_terminal_of_run_in_the_foreground() {
    let (mut master, slave) = pty();
    set_size(&slave, 21, 43);
    let bundle = Bundle::new()
        .sh("busybox tty; busybox stty size; read line; echo got:$line; exit 5")
        .edit(|c| c["process"]["terminal"] = json!(true));
    let copy = || slave.try_clone().unwrap();
    let running = bundle
        .run_cmd(&[])
        .pass_fd(copy(), 0)
        .pass_fd(copy(), 1)
        .pass_fd(copy(), 2)
        .spawn();
    let mut seen = String::new();
    for (text, answer) in [("/dev/pts/0", ""), ("21 43", "typed\r"), ("got:typed", "")] {
        while !seen.contains(text) {
            let mut bytes = [0_u8; 4096];
            let count = master.read(&mut bytes).expect("read the terminal");
            seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        master.write_all(answer.as_bytes()).expect("type");
    }
    assert_eq!(running.wait().code, 5);
}

/// Nothing is made for the change of the root, nothing of the host is left in it, and an image that nobody can write to is
/// no obstacle.
#[test]
fn the_root_is_changed_without_a_directory() {
    let list = |bundle: &Bundle| {
        let mut names: Vec<_> = fs::read_dir(bundle.inside(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        (names, fs::metadata(bundle.inside("")).unwrap().mtime_nsec())
    };
    for flags in [&[] as &[&str], &["--no-pivot"]] {
        for read_only_image in [false, true] {
            let bundle = Bundle::new().args(["probe", "try", "list,/", "list,/.."]);
            let image = HostMount::itself(&bundle.inside(""));
            if read_only_image {
                image.flags(libc::MS_RDONLY);
            }
            let before = list(&bundle);
            let tried = bundle.run_cmd(flags).run().ok().json();
            let names: Vec<_> = before.0.iter().map(|name| name.to_str().unwrap()).collect();
            for at in 0..2 {
                let seen = tried[at]["detail"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|name| name.as_str().unwrap());
                assert_eq!(seen.collect::<Vec<_>>(), names, "{flags:?}");
            }
            assert_eq!(list(&bundle), before, "{flags:?}");
        }
    }
    let facts = Bundle::new().facts();
    let roots = facts["mounts"].as_array().unwrap().iter();
    assert_eq!(
        roots.filter(|mount| mount["mountpoint"] == "/").count(),
        1,
        "the old root is gone"
    );
}

/// What the container used stays as it was: the image, what is bound, the namespaces that were joined.
#[test]
fn delete_spares_what_create_did_not_make() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let volume = HostMount::tmpfs(&bundle.path("volume"), 0).shared();
    fs::write(volume.path.join("content"), "content").unwrap();
    let holder = Holder::new(libc::CLONE_NEWNET | libc::CLONE_NEWIPC);
    fs::write(bundle.path("init.pid.neighbour"), "").unwrap();
    let source = volume.as_str().to_owned();
    let bundle = bundle.mount("/tmp", "bind", &source, &["rbind", "rw"]).edit(|c| {
        for namespace in c["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "network" || namespace["type"] == "ipc" {
                namespace["path"] = json!(holder.path(namespace["type"].as_str().unwrap()));
            }
        }
    });
    let before = ["network", "ipc"].map(|kind| holder.namespace(kind));
    let names = |bundle: &Bundle| {
        let mut names: Vec<_> = fs::read_dir(bundle.dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let other = bundle.start();
    let files = names(&bundle);
    let c = bundle.start();
    c.kill("KILL");
    c.until_stopped();
    c.delete();
    assert_eq!(names(&bundle), files);
    assert_eq!(fs::read_to_string(volume.path.join("content")).unwrap(), "content");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(mounts.contains(&format!(" {source} ")), "{mounts}");
    assert_eq!(["network", "ipc"].map(|kind| holder.namespace(kind)), before);
    // The other container, in the same directory of states, lives on.
    assert_eq!(other.status(), "running");
}

/// Without a pid namespace of its own a container's orphans are the runtime's, which has made itself their reaper.
#[test]
fn orphans_are_reaped_by_a_run_in_the_foreground() {
    let script = "sh -c 'sleep 0.05 & echo orphan $!'; echo ready; exec sleep 100";
    for subreaper in [true, false] {
        let bundle = Bundle::new().sh(script).without_namespace("pid");
        let flags: &[&str] = if subreaper { &[] } else { &["--no-subreaper"] };
        let mut run = bundle.run_cmd(flags).spawn();
        run.until("ready");
        let said = run.stdout();
        let orphan = said.lines().find_map(|line| line.strip_prefix("orphan ")).unwrap();
        let stat = || fs::read_to_string(format!("/proc/{orphan}/stat")).unwrap_or_default();
        if subreaper {
            let parent: Vec<String> = stat().split(' ').map(String::from).collect();
            assert!(parent.len() < 4 || parent[3] == run.pid().to_string(), "{parent:?}");
        }
        eventually("the orphan is no zombie", || stat().is_empty());
        assert!(!run.has_ended());
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait().code, 128 + libc::SIGTERM);
    }
}

/// An init that waits for `start` holds nothing of the host open: neither the container nor `exec` could find it there.
#[test]
fn a_waiting_init_holds_nothing_of_the_host() {
    let plain = Bundle::new();
    let mapped = remapped(Bundle::new());
    fs::create_dir(mapped.path("source")).unwrap();
    let mapped = mapped.mount("/tmp", "bind", "source", &["rbind", "ro"]);
    let idmapped = Bundle::new();
    fs::create_dir(idmapped.path("source")).unwrap();
    let idmapped = idmapped.mount("/tmp", "bind", "source", &["bind"]).edit(|c| {
        for kind in ["uidMappings", "gidMappings"] {
            c["mounts"].as_array_mut().unwrap().last_mut().unwrap()[kind] =
                json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
        }
    });
    for bundle in [plain, mapped, idmapped] {
        let c = bundle.create();
        let pid = c.pid();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let path = entry.unwrap().path();
            let number: u32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let target = fs::read_link(&path).unwrap().to_string_lossy().into_owned();
            assert!(
                number < 3 || target.starts_with("socket:["),
                "{}: {target}",
                path.display()
            );
        }
        for name in ["cwd", "root"] {
            let link = fs::metadata(format!("/proc/{pid}/{name}")).unwrap();
            let own = fs::metadata(bundle.inside("")).unwrap();
            assert_eq!((link.dev(), link.ino()), (own.dev(), own.ino()), "{name}");
        }
    }
}

#[test]
fn a_container_being_created_is_not_to_be_signalled_or_started() {
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .with_host_hook("createRuntime", "cat >$OUT; while [ -e $OUT ]; do sleep 0.01; done");
    let id = bundle.fresh_id();
    let create = bundle.create_cmd(&id, &[]).spawn();
    let log = bundle.path("hooks.log");
    eventually("the hook runs", || fs::metadata(&log).is_ok_and(|file| file.len() > 0));
    for words in [&["kill", &id, "TERM"], &["kill", &id, "KILL"], &["exec", &id, "true"]] {
        bundle.orlop(words).run().fails_with("still being created");
    }
    fs::remove_file(&log).unwrap();
    create.wait().ok();
    assert_eq!(bundle.orlop(["state", &id]).run().ok().json()["status"], "created");
}

/// CVE-2019-16884, CVE-2025-52881: an image with files in the place of /proc, and a config that mounts none.
#[test]
fn an_image_with_a_proc_of_its_own_gets_none_of_our_writes() {
    let bundle = Bundle::new()
        .args(["cat", "/real/sys/net/ipv4/ip_default_ttl", "/real/self/oom_score_adj"])
        .without_mount("/proc")
        .mount("/real", "proc", "proc", &["nosuid"])
        .edit(|c| {
            c["process"]["oomScoreAdj"] = json!(321);
            c["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "33" });
        });
    let fakes = [
        "sys/net/ipv4/ip_default_ttl",
        "self/oom_score_adj",
        "1/oom_score_adj",
        "self/attr/exec",
    ];
    for fake in fakes {
        let path = bundle.inside("/proc").join(fake);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "untouched").unwrap();
    }
    assert_eq!(bundle.run().ok().stdout, "33\n321\n");
    for fake in fakes {
        assert_eq!(
            fs::read_to_string(bundle.inside("/proc").join(fake)).unwrap(),
            "untouched",
            "{fake}"
        );
    }
}

/// A device of the image in the place of the pty multiplexer is not even opened.
#[test]
fn a_terminal_is_of_a_devpts_only() {
    for plant in ["mkfifo", "mknod c 5 2", "touch", "mknod b 7 0"] {
        let bundle = Bundle::new()
            .args(["true"])
            .without_mount("/dev/pts")
            .without_mount("/dev")
            .edit(|c| {
                c["process"]["terminal"] = json!(true);
                c["root"]["readonly"] = json!(false);
            });
        fs::create_dir_all(bundle.inside("/dev/pts")).unwrap();
        let path = bundle.inside("/dev/pts/ptmx");
        let words: Vec<&str> = plant.split(' ').collect();
        let made = std::process::Command::new(words[0])
            .arg(&path)
            .args(&words[1..])
            .status();
        assert!(made.unwrap().success());
        bundle.run().fails_with("not the pty multiplexer");
        bundle.assert_clean();
    }
}

/// What engines read before they ask for it; that it works is proved by the tests of each subject.
#[test]
fn features_names_what_works() {
    let bundle = Bundle::new();
    let document = bundle.orlop(["features"]).run().ok().json();
    assert_eq!(
        (&document["ociVersionMin"], &document["ociVersionMax"]),
        (&json!("1.0.0"), &json!("1.3.0"))
    );
    let linux = &document["linux"];
    for enabled in [
        &linux["seccomp"]["enabled"],
        &linux["apparmor"]["enabled"],
        &linux["selinux"]["enabled"],
        &linux["intelRdt"]["enabled"],
        &linux["intelRdt"]["schemata"],
        &linux["intelRdt"]["monitoring"],
        &linux["netDevices"]["enabled"],
        &linux["mountExtensions"]["idmap"]["enabled"],
        &linux["cgroup"]["v2"],
    ] {
        assert_eq!(enabled, true, "{linux:#}");
    }
    assert_eq!(linux["cgroup"]["v1"], false);
    let has = |list: &serde_json::Value, name: &str| list.as_array().is_some_and(|l| l.contains(&json!(name)));
    assert!(has(&linux["memoryPolicy"]["modes"], "MPOL_INTERLEAVE"));
    assert!(has(&linux["memoryPolicy"]["flags"], "MPOL_F_STATIC_NODES"));
    assert!(has(&linux["seccomp"]["actions"], "SCMP_ACT_NOTIFY"));
    assert!(has(&linux["seccomp"]["archs"], "SCMP_ARCH_X86_64"));
    assert!(has(&document["mountOptions"], "rnosymfollow"));
    let kinds = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];
    assert!(kinds.iter().all(|kind| has(&linux["namespaces"], kind)));
}
