//! The options of both verbs, each with its effect.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::stat::umask;
use serde_json::json;

use super::{networked, round_trip};
use crate::harness::cgroup_of;
use crate::harness::checkpoint::{
    CRIU, Image, Workload, bundle, checkpoint, checkpoint_cmd, has_criu, restore, restore_cmd, with_parts,
};
use crate::harness::golden::own_texts;
use crate::need;

#[test]
fn sockets_to_the_host() {
    need!(has_criu(), CRIU);
    // The kernel shows the peers of sockets in the same network namespace only. The host's socket has one name on both sides, as
    // /dev/log has.
    let bundle = with_parts(bundle(), &["to-host"]).without_namespace("network");
    let dir = bundle.path("host");
    std::fs::create_dir(&dir).unwrap();
    let bundle = bundle.mount(dir.to_str().unwrap(), "bind", "host", &["bind"]);
    let name = dir.join("log");
    symlink(&name, bundle.inside("/tmp/log")).unwrap();
    let log = UnixDatagram::bind(&name).unwrap();
    log.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let reader = log.try_clone().unwrap();
    // It ends when nothing comes any more.
    let reader = std::thread::spawn(move || {
        let mut last = 0;
        let mut bytes = [0; 8];
        while reader.recv(&mut bytes).is_ok() {
            let number = u64::from_ne_bytes(bytes);
            if number == u64::MAX {
                break;
            }
            assert!(number >= last, "{number} after {last}");
            last = number;
        }
        last
    });
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &["--ext-unix-sk"]);
    restore(&work.container, &image, &["--ext-unix-sk"]);
    let after = work.assert_continues(&before);
    bundle.orlop(["delete", "--force", &work.container.id]).run().ok();
    let end = UnixDatagram::unbound().unwrap();
    end.send_to(&u64::MAX.to_ne_bytes(), &name).unwrap();
    // What was sent after the restore arrived.
    assert!(reader.join().unwrap() + 16 > after.grows("to-host.sent"));
}

#[test]
fn a_connection_that_nobody_has_accepted() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime with checkpoint --tcp-skip-in-flight");
    let (bundle, _holder) = networked(with_parts(bundle(), &["waiting"]));
    let flags = ["--tcp-established", "--tcp-skip-in-flight"];
    let work = Workload::start(&bundle);
    let before = work.report();
    checkpoint_cmd(&work.container, &Image::new(&bundle), &flags[..1])
        .run()
        .fails_for("in-flight");
    work.assert_continues(&before);
    let image = checkpoint(&work.container, &flags);
    restore(&work.container, &image, &flags[..1]);
    work.assert_continues(&before);
}

#[test]
fn a_deleted_file_with_another_name() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime with checkpoint --link-remap");
    let bundle = with_parts(bundle(), &["linked"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    checkpoint_cmd(&work.container, &Image::new(&bundle), &[])
        .run()
        .fails_for("link-remap");
    work.assert_continues(&before);
    let image = checkpoint(&work.container, &["--link-remap"]);
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
}

/// The connection is closed instead of restored, whatever has become of the peer.
#[test]
fn connections_that_are_closed() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime with restore --tcp-close");
    let (bundle, _holder) = networked(with_parts(bundle(), &["closable"]));
    let work = Workload::start(&bundle);
    assert_eq!(work.report().grows("closable.lost"), 0);
    let image = checkpoint(&work.container, &["--tcp-established"]);
    restore(&work.container, &image, &["--tcp-close"]);
    assert_eq!(work.report().grows("closable.lost"), 1);
}

/// Packets are held back while nobody could answer them, and not longer.
#[test]
fn each_way_to_hold_back_packets() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime with checkpoint --network-lock");
    for method in ["iptables", "nftables", "skip"] {
        let (bundle, _holder) = networked(with_parts(bundle(), &["tcp"]));
        let work = Workload::start(&bundle);
        let before = work.report();
        let flags = ["--tcp-established", "--network-lock", method];
        checkpoint(&work.container, &[&flags as &[&str], &["--leave-running"]].concat());
        work.assert_continues(&before);
        let image = checkpoint(&work.container, &flags);
        restore(&work.container, &image, &flags[..1]);
        work.assert_continues(&before);
    }
}

/// The container's leaf is made from the config, whatever CRIU does about cgroups.
#[test]
fn each_mode_for_cgroups() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let mut before = work.report();
    let leaf = cgroup_of(work.container.pid());
    for mode in ["soft", "full", "ignore"] {
        if !own_texts() && mode == "ignore" {
            crate::harness::record_skip("a runtime with --manage-cgroups-mode ignore");
            continue;
        }
        let flags = ["--manage-cgroups-mode", mode];
        let image = checkpoint(&work.container, &flags);
        restore(&work.container, &image, &flags);
        before = work.assert_continues(&before);
        assert_eq!(cgroup_of(work.container.pid()), leaf, "{mode}");
    }
    if !own_texts() {
        crate::harness::record_skip("a runtime that makes the cgroup itself");
        return;
    }
    // The leaf exists already when CRIU looks.
    let strict = ["--manage-cgroups-mode", "strict"];
    let image = checkpoint(&work.container, &strict);
    restore_cmd(&work.container, &image, &strict).run().fails_for("cgroup");
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
}

/// A container that divides its own cgroup, as an init system does.
#[test]
fn cgroups_inside_the_containers() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["cgroup"]).without_mount("/sys/fs/cgroup");
    let options = ["nosuid", "noexec", "nodev"];
    let bundle = bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &options);
    let report = round_trip(&bundle, &[]);
    assert_eq!(report.same("/cgroup"), &json!(["0::/", "0::/below"]));
}

/// Without the configuration of the network, which somebody else sets up.
#[test]
fn an_empty_network() {
    need!(has_criu(), CRIU);
    let flags = ["--empty-ns", "network"];
    round_trip(&with_parts(bundle(), &["memory"]), &flags);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    checkpoint_cmd(&work.container, &Image::new(&bundle), &["--empty-ns", "pid"])
        .run()
        .fails();
    work.report();
}

/// Images contain the memory of the container.
#[test]
fn images_are_private() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime whose images nobody else can read");
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let image = Image::new(&bundle);
    let open = |cmd: crate::harness::Cmd| {
        cmd.before_exec(|| {
            umask(nix::sys::stat::Mode::empty());
            Ok(())
        })
    };
    open(checkpoint_cmd(&work.container, &image, &[])).run().ok();
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(&image.dir), 0o700);
    assert_eq!(mode(&image.work), 0o700);
}
