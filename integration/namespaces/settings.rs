//! Settings in a container's namespaces: host name, kernel parameters, clocks, class of service.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::golden::refused;
use crate::harness::namespaces::{has_time_namespaces, joining};
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Holder};
use crate::need;

#[test]
fn names_are_set_in_a_joined_uts_namespace() {
    let holder = Holder::new(libc::CLONE_NEWUTS);
    let bundle = joining(Bundle::new(), &holder, &["uts"]).edit(|c| {
        c["hostname"] = json!("shared");
        c["domainname"] = json!("example.org");
    });
    let facts = bundle.facts();
    assert_eq!(
        (&facts["hostname"], &facts["domainname"]),
        (&json!("shared"), &json!("example.org"))
    );
    let name = Command::new("nsenter")
        .arg(format!("--uts={}", holder.path("uts")))
        .arg("hostname")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&name.stdout), "shared\n");
}

#[test]
fn kernel_parameters_are_set_in_a_joined_network_namespace_and_not_in_the_hosts() {
    let holder = Holder::new(libc::CLONE_NEWNET);
    let before = fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
    let bundle = joining(
        Bundle::new().args(["probe", "cat", "/proc/sys/net/ipv4/ip_default_ttl"]),
        &holder,
        &["network"],
    )
    .edit(|c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "33" }));
    assert_eq!(bundle.run().ok().stdout, "33\n");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap(), before);
    // By any path to it.
    let host = format!("/proc/{}/ns/net", std::process::id());
    bundle.change(|c| {
        for entry in c["linux"]["namespaces"].as_array_mut().unwrap() {
            if entry["type"] == "network" {
                entry["path"] = json!(host);
            }
        }
    });
    bundle
        .run()
        .fails_with("the container shares the host's network namespace");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap(), before);
}

#[test]
fn limits_of_the_containers_user_namespace_are_set() {
    let args = ["probe", "cat", "/proc/sys/user/max_net_namespaces"];
    let bundle =
        remapped(Bundle::new().args(args)).edit(|c| c["linux"]["sysctl"] = json!({ "user.max_net_namespaces": "3" }));
    assert_eq!(bundle.run().ok().stdout, "3\n");
}

#[test]
fn clocks_out_of_range() {
    need!(has_time_namespaces(), "time namespaces");
    let bundle = moved(Bundle::new(), json!({ "boottime": { "secs": -4_000_000_000_i64 } }));
    refused(&bundle, "time_offset_out_of_range", |cmd| cmd);
}

#[test]
fn a_host_name_in_a_joined_uts_namespace_of_another_user_namespace() {
    let holder = Holder::new(libc::CLONE_NEWUTS);
    refused(
        &remapped(joining(Bundle::new(), &holder, &["uts"])),
        "hostname_of_another_user_namespace",
        |cmd| cmd,
    );
}

#[test]
fn a_kernel_parameter_in_a_joined_namespace_of_another_user_namespace() {
    let holder = Holder::new(libc::CLONE_NEWNET);
    // Without a sysfs and what is in it, which could not be mounted either and comes first.
    let bundle = joining(
        Bundle::new().without_mount("/sys/fs/cgroup").without_mount("/sys"),
        &holder,
        &["network"],
    )
    .edit(|c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "33" }));
    refused(&remapped(bundle), "sysctl_of_another_user_namespace", |cmd| cmd);
}

#[test]
fn a_class_of_service_without_a_resctrl_file_system() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    need!(!mounts.contains(" - resctrl "), "a host without resctrl");
    let bundle = Bundle::new().edit(|c| c["linux"]["intelRdt"] = json!({ "closID": "gold", "enableMonitoring": true }));
    refused(&bundle, "class_without_resctrl", |cmd| cmd);
}

/// Seconds since boot, as a process of this time namespace sees them.
fn uptime(text: &str) -> f64 {
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn moved(bundle: Bundle, offsets: Value) -> Bundle {
    bundle.edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "time" }));
        c["linux"]["timeOffsets"] = offsets;
        c["process"]["args"] = json!(["sh", "-c", "cat /proc/uptime /proc/self/timens_offsets"]);
    })
}

#[track_caller]
fn assert_moved(out: &str, monotonic: [&str; 2], boottime: [&str; 2]) {
    let here = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let seconds: f64 = boottime[0].parse().unwrap();
    assert!((uptime(out) - here - seconds).abs() < 60.0, "{out}");
    let offset = |clock: &str| -> Vec<&str> {
        let line = out
            .lines()
            .find(|line| line.starts_with(clock))
            .unwrap_or_else(|| panic!("{out}"));
        line.split_whitespace().skip(1).collect()
    };
    assert_eq!(offset("monotonic"), monotonic);
    assert_eq!(offset("boottime"), boottime);
}

#[test]
fn clock_offsets_are_set() {
    need!(has_time_namespaces(), "time namespaces");
    let offsets = json!({ "monotonic": { "secs": 172_800, "nanosecs": 5 }, "boottime": { "secs": 604_800 } });
    let (monotonic, boottime) = (["172800", "5"], ["604800", "0"]);
    let bundle = moved(Bundle::new(), offsets.clone());
    assert_moved(&bundle.run().ok().stdout, monotonic, boottime);
    let bundle = moved(remapped(Bundle::new()), offsets.clone());
    assert_moved(&bundle.run().ok().stdout, monotonic, boottime);
    let holder = Holder::remapped(0, 0, 100_000);
    let bundle = moved(joining(Bundle::new(), &holder, &["user"]), offsets.clone());
    assert_moved(&bundle.run().ok().stdout, monotonic, boottime);
    let bundle = moved(rootless(Bundle::new()), offsets);
    assert_moved(&as_user(bundle.run_cmd(&[])).run().ok().stdout, monotonic, boottime);
    // The host's clocks are unchanged.
    let own = fs::read_to_string("/proc/self/timens_offsets").unwrap();
    assert!(
        own.lines()
            .all(|line| line.split_whitespace().skip(1).all(|number| number == "0")),
        "{own}"
    );
}

#[test]
fn a_joined_time_namespace_keeps_its_clocks() {
    need!(has_time_namespaces(), "time namespaces");
    let first = moved(Bundle::new(), json!({ "boottime": { "secs": 604_800 } })).args(["probe", "sleep"]);
    let container = first.start();
    container.until("ready");
    let path = format!("/proc/{}/ns/time", container.pid());
    let bundle = Bundle::new().args(["cat", "/proc/uptime"]).edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "time", "path": path }));
    });
    let here = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let there = uptime(&bundle.run().ok().stdout);
    assert!((there - here - 604_800.0).abs() < 60.0, "{there}");
    bundle.change(|c| c["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1 } }));
    bundle.run().fails_with("linux.timeOffsets");
    container.kill("KILL");
    container.until_stopped();
}

#[test]
fn a_container_with_clock_offsets_works_from_create_to_delete() {
    need!(has_time_namespaces(), "time namespaces");
    let bundle = moved(
        Bundle::new(),
        json!({ "monotonic": { "secs": -1 }, "boottime": { "secs": 86_400 } }),
    )
    .args(["probe", "sleep"]);
    let container = bundle.create();
    assert_eq!(container.status(), "created");
    container.start();
    container.until("ready");
    // The start time by which init is known must not be the container's.
    assert_eq!(container.status(), "running");
    container.kill("KILL");
    container.until_stopped();
    container.delete();
}

/// Docker's `--domainname`. The file is writable only for root on the host, in any UTS namespace.
#[test]
fn the_domain_name_as_a_kernel_parameter() {
    for own in [|bundle: Bundle| bundle, remapped as fn(Bundle) -> Bundle] {
        for key in ["kernel.domainname", "kernel/domainname"] {
            let bundle = own(Bundle::new()).edit(|c| c["linux"]["sysctl"] = json!({ key: "example.org" }));
            assert_eq!(bundle.facts()["domainname"], "example.org", "{key}");
        }
    }
    let long = "x".repeat(65);
    let bundle = Bundle::new().edit(|c| c["linux"]["sysctl"] = json!({ "kernel.domainname": long }));
    let out = bundle.run().fails_with("linux.sysctl[\"kernel.domainname\"]");
    assert!(out.stderr.contains("a name of up to 64 bytes"), "{}", out.stderr);
}

/// Opening a pipe without a writer blocks.
#[test]
fn a_pipe_instead_of_a_namespace_does_not_block() {
    for kind in ["network", "pid", "user"] {
        let bundle = Bundle::new();
        let pipe = bundle.path("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let bundle = bundle.edit(|c| {
            let list = c["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|entry| entry["type"] != kind);
            list.push(json!({ "type": kind, "path": pipe }));
        });
        bundle.run().fails_with("the path must name a namespace of this type");
        bundle.assert_clean();
    }
}

/// Podman in a container sets a parameter in each of its containers. /proc/sys is read-only in the outer container,
/// which does not protect the parameters of new namespaces from a process that may mount.
#[test]
fn kernel_parameters_are_set_under_a_read_only_procfs() {
    const PROTECTED: &str = r#"[ "${IN:-}" ] || IN=1 exec unshare --mount --propagation private sh -c '
        mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$0" "$@"' "$0" "$@""#;
    const READ_ONLY: &str = r#"[ "${IN:-}" ] || IN=1 exec unshare --mount --propagation private sh -c '
        mount -o remount,bind,ro /proc && exec "$0" "$@"' "$0" "$@""#;
    let parameter = "/proc/sys/net/ipv4/ip_default_ttl";
    let before = fs::read_to_string(parameter).unwrap();
    let bundle = Bundle::new()
        .args(["probe", "cat", parameter])
        .edit(|c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "33" }));
    for around in [PROTECTED, READ_ONLY] {
        let out = bundle.run_cmd(&[]).through_shell(around).run().ok();
        assert_eq!(out.stdout, "33\n");
    }
    assert_eq!(fs::read_to_string(parameter).unwrap(), before);
    // In a new user namespace a new procfs would show what is hidden.
    remapped(bundle)
        .without_mount("/proc")
        .edit(|c| {
            for list in ["maskedPaths", "readonlyPaths"] {
                c["linux"][list] = json!([]);
            }
        })
        .run_cmd(&[])
        .through_shell(PROTECTED)
        .run()
        .fails_with("/proc/sys is covered or read-only here");
}
