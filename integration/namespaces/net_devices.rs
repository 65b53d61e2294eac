//! `linux.netDevices`: devices move from a network namespace that stands in for the host's to the container. Those of the
//! real host are never touched: the runtime itself runs in a namespace of the test.

use std::fs::File;
use std::process::Command;

use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

use crate::harness::golden::refused;
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Cmd, Facts, Holder};
use crate::need;

/// The stand-in for the host, with pairs of devices: `a0` and `a1`, up and with addresses; `b0` and `b1`, down and without.
struct Host(Holder);

impl Host {
    fn new() -> Self {
        let host = Host(Holder::new(libc::CLONE_NEWNET));
        for line in [
            "link add a0 type veth peer name a1",
            "link add b0 type veth peer name b1",
            "link set a0 mtu 1400 address 02:00:00:00:00:01",
            "address add 10.1.2.3/24 broadcast 10.1.2.255 dev a0",
            "address add 10.1.2.4/24 dev a0 label a0:x",
            "address add 10.9.9.9 peer 10.9.9.10/32 dev a0",
            "address add 2001:db8::1/64 dev a0 nodad",
            "address add 169.254.7.7/16 scope link dev a0",
            "address add 2001:db8::99/64 dev a0 valid_lft 1000 preferred_lft 1000",
            "link set a0 up",
        ] {
            assert!(host.ip(line).0, "{line}");
        }
        host
    }

    /// `ip` in this namespace: whether it succeeded, and what it printed.
    fn ip(&self, words: &str) -> (bool, String) {
        ip(&self.0.path("network"), words)
    }

    /// The runtime in this namespace.
    fn enter(&self, cmd: Cmd) -> Cmd {
        let file = File::open(self.0.path("network")).expect("the namespace");
        cmd.before_exec(move || Ok(setns(&file, CloneFlags::CLONE_NEWNET)?))
    }

    fn has(&self, name: &str) -> bool {
        self.ip(&format!("link show dev {name}")).0
    }
}

fn ip(namespace: &str, words: &str) -> (bool, String) {
    let output = Command::new("nsenter")
        .arg(format!("--net={namespace}"))
        .arg("ip")
        .args(words.split(' '))
        .output()
        .expect("run ip in a namespace");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// The addresses of a device, as ip(8) has them: (address, length, broadcast, label).
fn addresses(namespace: &str, device: &str) -> Vec<(String, u64, Value, Value)> {
    let (_, text) = ip(namespace, &format!("-json address show dev {device}"));
    let links: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let infos = links[0]["addr_info"].as_array().expect("addresses").clone();
    let global = infos.into_iter().filter(|info| info["scope"] == "global");
    global
        .map(|info| {
            let local = info["local"].as_str().expect("an address").to_owned();
            (
                local,
                info["prefixlen"].as_u64().expect("a length"),
                info["broadcast"].clone(),
                info["label"].clone(),
            )
        })
        .collect()
}

fn devices(bundle: Bundle, devices: Value) -> Bundle {
    bundle.edit(|c| c["linux"]["netDevices"] = devices)
}

pub fn has_veth() -> bool {
    let holder = Holder::new(libc::CLONE_NEWNET);
    ip(&holder.path("network"), "link add a0 type veth peer name a1").0
}

#[test]
fn a_device_is_moved_renamed_and_set_up() {
    need!(has_veth(), "veth network devices");
    let host = Host::new();
    let bundle = devices(Bundle::new(), json!({ "a0": { "name": "eth7" }, "b0": {} }));
    let facts = Facts(host.enter(bundle.run_cmd(&[])).run().ok().json());
    assert_eq!(facts["interfaces"]["eth7"]["up"], true);
    assert_eq!(facts["interfaces"]["b0"]["up"], true);
    assert_eq!(facts["interfaces"]["lo"]["up"], true);
    assert!(!host.has("a0") && !host.has("b0"));
}

#[test]
fn permanent_global_addresses_and_attributes_are_kept() {
    need!(has_veth(), "veth network devices");
    let host = Host::new();
    let bundle = devices(
        Bundle::new().args(["probe", "sleep"]),
        json!({ "a0": { "name": "eth0" } }),
    );
    let id = bundle.fresh_id();
    host.enter(bundle.create_cmd(&id, &[])).run().ok();
    let state = bundle.orlop(["state", &id]).run().ok().json();
    let inside = format!("/proc/{}/ns/net", state["pid"]);
    let text = |text: &str| text.to_owned();
    assert_eq!(
        addresses(&inside, "eth0"),
        [
            (text("10.1.2.3"), 24, json!("10.1.2.255"), json!("eth0")),
            (text("10.9.9.9"), 32, Value::Null, json!("eth0")),
            (text("10.1.2.4"), 24, Value::Null, json!("eth0:x")),
            (text("2001:db8::1"), 64, Value::Null, Value::Null),
        ]
    );
    let (_, link) = ip(&inside, "link show dev eth0");
    assert!(
        link.contains("mtu 1400") && link.contains("02:00:00:00:00:01") && link.contains(",UP"),
        "{link}"
    );
    let (_, peer) = ip(&inside, "address show dev eth0");
    assert!(peer.contains("peer 10.9.9.10/32"), "{peer}");
    bundle.orlop(["delete", "--force", &id]).run().ok();
}

#[test]
fn a_device_is_moved_into_a_joined_network_namespace() {
    need!(has_veth(), "veth network devices");
    let host = Host::new();
    for user_namespace in [false, true] {
        let target = Holder::new(libc::CLONE_NEWNET);
        let (from, to) = if user_namespace { ("b0", "net1") } else { ("a0", "net0") };
        let bundle = devices(Bundle::new(), json!({ from: { "name": to } }))
            .without_mount("/sys")
            .without_mount("/sys/fs/cgroup")
            .edit(|c| {
                let list = c["linux"]["namespaces"].as_array_mut().unwrap();
                list.iter_mut().find(|entry| entry["type"] == "network").unwrap()["path"] =
                    json!(target.path("network"));
            });
        let bundle = if user_namespace { remapped(bundle) } else { bundle };
        let facts = Facts(host.enter(bundle.run_cmd(&[])).run().ok().json());
        assert_eq!(facts["interfaces"][to]["up"], true);
        assert!(!host.has(from));
        // It belongs to the namespace now, and stays there when the container ends.
        assert!(ip(&target.path("network"), &format!("link show dev {to}")).0);
    }
}

#[test]
fn a_device_is_moved_into_the_network_namespace_of_a_new_user_namespace() {
    need!(has_veth(), "veth network devices");
    let host = Host::new();
    let bundle = devices(remapped(Bundle::new()), json!({ "a0": {} }));
    let facts = Facts(host.enter(bundle.run_cmd(&[])).run().ok().json());
    assert_eq!(facts["interfaces"]["a0"]["up"], true);
}

/// It is there when kernel parameters are set.
#[test]
fn parameters_of_a_moved_device_are_set() {
    need!(has_veth(), "veth network devices");
    let host = Host::new();
    let bundle = devices(
        Bundle::new().args(["probe", "cat", "/proc/sys/net/ipv4/conf/eth0/forwarding"]),
        json!({ "a0": { "name": "eth0" } }),
    )
    .edit(|c| c["linux"]["sysctl"] = json!({ "net.ipv4.conf.eth0.forwarding": "1" }));
    assert_eq!(host.enter(bundle.run_cmd(&[])).run().ok().stdout, "1\n");
}

/// Docker up to 25 creates the container's network in a prestart hook and sets parameters of its `eth0`.
#[test]
fn parameters_of_a_device_that_a_hook_brings_are_set() {
    need!(has_veth(), "veth network devices");
    let script = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); \
                  exec nsenter --net=/proc/$pid/ns/net ip link add eth0 type veth peer name eth1";
    for kind in ["prestart", "createRuntime"] {
        let bundle = Bundle::new()
            .args(["probe", "cat", "/proc/sys/net/ipv4/conf/eth0/forwarding"])
            .with_hook(
                kind,
                json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] }),
            )
            .edit(|c| c["linux"]["sysctl"] = json!({ "net.ipv4.conf.eth0.forwarding": "1" }));
        assert_eq!(bundle.run().ok().stdout, "1\n", "{kind}");
    }
}

#[test]
fn a_name_that_is_taken_is_an_error_and_a_template_is_not() {
    need!(has_veth(), "veth network devices");
    let host = Host::new();
    let target = Host::new();
    let joined = |names: Value| {
        devices(Bundle::new(), names).edit(|c| {
            let list = c["linux"]["namespaces"].as_array_mut().unwrap();
            list.iter_mut().find(|entry| entry["type"] == "network").unwrap()["path"] = json!(target.0.path("network"));
        })
    };
    let before = (
        addresses(&host.0.path("network"), "a0"),
        addresses(&target.0.path("network"), "a0"),
    );
    for names in [
        json!({ "a0": {} }),
        json!({ "a0": { "name": "b0" } }),
        json!({ "a0": { "name": "lo" } }),
    ] {
        let out = host.enter(joined(names).run_cmd(&[])).run();
        out.fails_with("already has a device of this name");
    }
    let after = (
        addresses(&host.0.path("network"), "a0"),
        addresses(&target.0.path("network"), "a0"),
    );
    assert_eq!(before, after);
    // A name that clashes only temporarily is not an error.
    let facts = Facts(
        host.enter(joined(json!({ "a0": { "name": "eth%d" }, "b0": { "name": "a%d" } })).run_cmd(&[]))
            .run()
            .ok()
            .json(),
    );
    assert_eq!(facts["interfaces"]["eth0"]["up"], true);
    assert_eq!(facts["interfaces"]["a2"]["up"], true);
}

#[test]
fn devices_return_when_the_container_fails() {
    need!(has_veth(), "veth network devices");
    let host = Host::new();
    let place = host.0.path("network");
    let before = addresses(&place, "a0");
    let missing = devices(Bundle::new(), json!({ "a0": { "name": "eth0" }, "nosuch0": {} }));
    let late = devices(
        Bundle::new().args(["/no/such/program"]),
        json!({ "a0": { "name": "eth0" } }),
    );
    for (bundle, word) in [(missing, "the host has no such network device"), (late, "no such file")] {
        host.enter(bundle.run_cmd(&[])).run().fails_with(word);
        bundle.assert_clean();
        let (_, link) = host.ip("link show dev a0");
        assert!(link.contains(",UP") && link.contains("mtu 1400"), "{link}");
        let mut after = addresses(&place, "a0");
        let mut wanted = before.clone();
        // An address that expires is not permanent.
        wanted.retain(|(address, ..)| address != "2001:db8::99");
        after.sort_by(|a, b| a.0.cmp(&b.0));
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(after, wanted);
    }
}

#[test]
fn devices_that_cannot_be_moved_are_explained() {
    need!(has_veth(), "veth network devices");
    let host = Host::new();
    for (name, device, new_name) in [
        ("net_device_cannot_leave", "lo", "loop"),
        ("net_device_missing", "eth9", "eth9"),
        ("net_device_name_taken", "a0", "lo"),
    ] {
        let bundle = devices(Bundle::new(), json!({ device: { "name": new_name } }));
        refused(&bundle, name, |cmd| host.enter(cmd));
    }
}

#[test]
fn an_unprivileged_user_cannot_move_a_device() {
    let bundle = devices(rootless(Bundle::new()), json!({ "eth0": {} })).edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "network" }));
    });
    as_user(bundle.run_cmd(&[]))
        .run()
        .fails_with("only root may take a network device");
}
