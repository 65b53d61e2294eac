//! No descriptor of the runtime or its caller reaches the container.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use super::containment::replace_with_link;
use crate::harness::users::remapped;
use crate::harness::{Bundle, Canary};

/// CVE-2024-21626: the caller has left a directory of the host open.
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
        out.fails_for(&format!("process.cwd {cwd:?}"));
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
        run(&bundle).fails_for("process.cwd \"/link\"");
        let program = format!("/proc/self/fd/{fd}/bin/true");
        run(&Bundle::new().args([&program])).fails_for(&program);
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

/// CVE-2016-9962: before init executes the program, the container's processes cannot reach its descriptors.
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

/// An init that waits for `start` has no descriptor of the host open that the container or `exec` could find.
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

/// CVE-2020-15257: an abstract socket is reachable for all processes in the network namespace. The runtime is in an empty
/// one here, which the container shares, so that any abstract socket would be the runtime's.
#[test]
fn no_abstract_socket_is_opened() {
    let own_network = || Ok(unshare(CloneFlags::CLONE_NEWNET)?);
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
        // With a service manager there is a socket, so the list must not be empty.
        assert!(!listening || !names.is_empty(), "{out:#?}");
    }
}
