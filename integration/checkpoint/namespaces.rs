//! Namespaces of a restored container: new ones with their settings, joined ones, a user namespace, clocks.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde_json::json;

use super::{networked, round_trip};
use crate::harness::checkpoint::{
    CRIU, Image, Report, Workload, bundle, checkpoint, checkpoint_cmd, has_criu, restore, restore_cmd, silent,
    start_with, with_parts,
};
use crate::harness::exec::{exec_facts, link};
use crate::harness::golden::own_texts;
use crate::harness::namespaces::{has_time_namespaces, joining};
use crate::harness::users::remapped;
use crate::harness::{Cmd, Holder, eventually, file_of};
use crate::need;

/// A client in the network namespace of a holder, in a thread: namespaces belong to threads.
fn connect_in(holder: &Holder) -> TcpStream {
    let file = fs::File::open(holder.path("network")).unwrap();
    let connect = move || {
        setns(file, CloneFlags::CLONE_NEWNET).expect("setns");
        TcpStream::connect("127.0.0.1:7000").expect("connect")
    };
    std::thread::spawn(connect).join().expect("a thread")
}

#[track_caller]
fn echo(client: &mut TcpStream, text: &str) {
    client.write_all(text.as_bytes()).expect("send");
    let mut bytes = vec![0; text.len()];
    client.read_exact(&mut bytes).expect("receive");
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

/// The client never notices, although it sends while there is no server.
#[test]
fn a_connection_to_a_client_outside() {
    need!(has_criu(), CRIU);
    let (bundle, holder) = networked(with_parts(bundle(), &["server"]));
    let work = Workload::start(&bundle);
    let mut client = connect_in(&holder);
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    echo(&mut client, "before");
    let image = checkpoint(&work.container, &["--tcp-established"]);
    client.write_all(b"between").unwrap();
    restore(&work.container, &image, &["--tcp-established"]);
    let mut bytes = [0; 7];
    client
        .read_exact(&mut bytes)
        .expect("the answer to what was sent meanwhile");
    assert_eq!(&bytes, b"between");
    echo(&mut client, "after");
    work.report();
}

/// A connection inside, over the loopback device of a network namespace of the container.
#[test]
fn the_containers_network_is_up_again() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that restores the loopback device");
    round_trip(&with_parts(bundle(), &["tcp", "identity"]), &["--tcp-established"]);
}

#[test]
fn each_joined_kind_is_joined_again() {
    need!(has_criu(), CRIU);
    for (kind, flag) in [
        ("network", libc::CLONE_NEWNET),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("pid", 0),
    ] {
        // Other runtimes tell CRIU of these two only.
        if !own_texts() && !["network", "pid"].contains(&kind) {
            crate::harness::record_skip(&format!("a runtime that restores a joined {kind} namespace"));
            continue;
        }
        // Without the part that leaves an orphan to the first process of the namespace, which is outside.
        let bundle = with_parts(bundle(), &["memory"]);
        let holder = if kind == "pid" {
            Holder::with_init()
        } else {
            Holder::new(flag)
        };
        let bundle = joining(bundle, &holder, &[kind]);
        // Others leave the cgroup where the container joins a PID namespace.
        bundle.tolerate_leaks.set(!own_texts());
        if kind == "uts" {
            bundle.change(|c| c["hostname"] = json!("joined"));
        }
        let work = Workload::start(&bundle);
        let before = work.report();
        let old = format!("/proc/{}", work.container.pid());
        let image = checkpoint(&work.container, &[]);
        // A zombie keeps its PID, also in the namespace.
        eventually("the old process is reaped", || !fs::exists(&old).unwrap());
        restore(&work.container, &image, &[]);
        work.assert_continues(&before);
        let found = link(work.container.pid(), file_of(kind));
        assert_eq!(json!(found), holder.namespace(kind), "{kind}");
        bundle.orlop(["delete", "--force", &work.container.id]).run().ok();
    }
}

/// The network that the config names at the restore counts, as when a pod is moved to another host.
#[test]
fn another_network_namespace_than_before() {
    need!(has_criu(), CRIU);
    let (bundle, _first) = networked(with_parts(bundle(), &["memory"]));
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    let second = Holder::new(libc::CLONE_NEWNET);
    bundle.change(|c| {
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        let network = list.iter_mut().find(|entry| entry["type"] == "network").unwrap();
        network["path"] = json!(second.path("network"));
    });
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
    assert_eq!(json!(link(work.container.pid(), "net")), second.namespace("network"));
}

/// The network namespace keeps the device while the container is away.
#[test]
fn a_network_device_in_a_joined_namespace() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime with linux.netDevices");
    let (bundle, holder) = networked(with_parts(bundle(), &["memory"]));
    let bundle = bundle.edit(|c| c["linux"]["netDevices"] = json!({ "outer0": { "name": "inner0" } }));
    let host = Holder::new(libc::CLONE_NEWNET);
    let ip = |of: &Holder, words: &str| {
        let mut ip = Command::new("nsenter");
        ip.arg(format!("--net={}", of.path("network"))).arg("ip");
        ip.args(words.split(' ')).output().expect("nsenter").status.success()
    };
    assert!(ip(&host, "link add outer0 type veth peer name peer0"));
    let enter = |cmd: Cmd| {
        let file = fs::File::open(host.path("network")).unwrap();
        cmd.before_exec(move || Ok(setns(&file, CloneFlags::CLONE_NEWNET)?))
    };
    let work = Workload::of(start_with(&bundle, &[], |cmd| silent(enter(cmd))));
    let before = work.report();
    assert!(ip(&holder, "link show dev inner0"));
    let image = checkpoint(&work.container, &[]);
    for again in [false, true] {
        if again {
            // It went back meanwhile.
            assert!(ip(
                &holder,
                &format!("link set inner0 netns {} name outer0", host.pid())
            ));
        }
        let restored = enter(restore_cmd(&work.container, &image, &[])).run();
        assert_eq!(restored.code, 0, "{restored:#?}\n{}", image.logs());
        work.assert_continues(&before);
        assert!(ip(&holder, "link show dev inner0"));
        bundle.orlop(["delete", "--force", &work.container.id]).run().ok();
    }
}

#[test]
fn clocks_with_offsets() {
    need!(has_criu(), CRIU);
    need!(has_time_namespaces(), "time namespaces");
    need!(own_texts(), "a runtime that restores a time namespace");
    let bundle = with_parts(bundle(), &["timers"]).edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "time" }));
        c["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 604_800 }, "boottime": { "secs": 1_209_600 } });
    });
    let work = Workload::start(&bundle);
    let before = work.report();
    assert!(before.grows("clock") > 604_800_000);
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    let after = work.assert_continues(&before);
    let gone = after.grows("clock") - before.grows("clock");
    assert!(gone < 60_000, "{gone} ms");
}

#[test]
fn a_user_namespace() {
    need!(has_criu(), CRIU);
    let bundle = remapped(with_parts(bundle(), &["memory", "children", "identity"]));
    std::os::unix::fs::chown(bundle.inside("/tmp"), Some(100_000), Some(100_000)).unwrap();
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = Image::new(&bundle);
    if !own_texts() {
        // CRIU opens some images as the root of the namespace, who may not read the directory that they make.
        fs::create_dir(&image.dir).unwrap();
        fs::set_permissions(&image.dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    checkpoint_cmd(&work.container, &image, &[]).run().ok();
    restore(&work.container, &image, &[]);
    let after = work.report();
    assert_eq!(after.same("/identity/uid"), &json!([0, 0, 0, 0]));
    for key in ["caps", "uid", "gid", "hostname", "rlimits"] {
        let at = format!("/identity/{key}");
        assert_eq!(after.same(&at), before.same(&at), "{key}");
    }
    // The devices may come from another file system.
    let points = |report: &Report| -> Vec<String> {
        report
            .same("/identity/mounts")
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(points(&after), points(&before));
    let pid = work.container.pid();
    for file in ["uid_map", "gid_map"] {
        let map = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        assert_eq!(
            map.split_whitespace().collect::<Vec<_>>(),
            ["0", "100000", "65536"],
            "{file}"
        );
    }
}

/// What the container itself changed, rather than what config.json says.
#[test]
fn the_host_name_of_the_moment() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]).with_caps(&["CAP_SYS_ADMIN"]);
    let work = Workload::start(&bundle);
    let exec = crate::harness::exec::exec_cmd(&work.container, &[], &["busybox", "hostname", "changed"]);
    exec.run().ok();
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    assert_eq!(exec_facts(&work.container, &[])["hostname"], "changed");
}

/// The namespaces of a restored container are its own.
#[test]
fn new_namespaces_are_new() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    let pid = work.container.pid();
    for kind in ["pid", "network", "ipc", "uts", "mount", "cgroup"] {
        let own = crate::harness::own_namespace(kind);
        assert_ne!(json!(link(pid, file_of(kind))), own, "{kind}");
    }
}

/// Each has the flags of its source, which may not be removed in a user namespace.
#[test]
fn device_nodes_of_a_user_namespace_and_masked_files() {
    need!(has_criu(), CRIU);
    let bundle = remapped(with_parts(bundle(), &["memory"]));
    std::os::unix::fs::chown(bundle.inside("/tmp"), Some(100_000), Some(100_000)).unwrap();
    let work = Workload::start(&bundle);
    let before = work.report();
    let mounts = || {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", work.container.pid())).unwrap();
        let fields = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mut found: Vec<String> = fields
            .filter(|fields| fields[4].starts_with("/dev/") || fields[4] == "/proc/keys")
            .map(|fields| [fields[4], fields[5], fields[fields.len() - 3]].join(" "))
            .collect();
        found.sort();
        found
    };
    let original = mounts();
    let image = Image::new(&bundle);
    if !own_texts() {
        // As above.
        fs::create_dir(&image.dir).unwrap();
        fs::set_permissions(&image.dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    checkpoint_cmd(&work.container, &image, &[]).run().ok();
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
    assert_eq!(mounts(), original);
}
