//! A new network namespace is created while init mounts; the result must be the same.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Bundle, own_namespace};

#[test]
fn runtime_hooks_see_the_containers_network_from_their_own() {
    let script = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); \
                  readlink /proc/$pid/ns/net /proc/self/ns/net >>$OUT; \
                  nsenter --net=/proc/$pid/ns/net cat /sys/class/net/lo/flags >>$OUT 2>&1; \
                  nsenter --net=/proc/$pid/ns/net sh -c 'cat /proc/net/dev' | grep -c : >>$OUT";
    for point in ["prestart", "createRuntime", "poststart"] {
        let bundle = Bundle::new().args(["probe", "sleep"]).with_host_hook(point, script);
        let c = bundle.start();
        let inside = fs::read_link(format!("/proc/{}/ns/net", c.pid())).unwrap();
        let log = fs::read_to_string(bundle.path("hooks.log")).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(Path::new(lines[0]), inside, "{point}: {log}");
        assert_eq!(json!(lines[1]), own_namespace("network"), "{point}: {log}");
        assert_eq!(lines[3], "1", "{point}: {log}");
        c.kill("KILL");
    }
}

#[test]
fn sysfs_and_parameters_show_the_containers_network() {
    let script = "ls /sys/class/net; cat /sys/class/net/lo/carrier; cat /proc/net/dev | grep -c :; \
                  cat /proc/sys/net/ipv4/ip_default_ttl";
    let bundle = Bundle::new()
        .sh(script)
        .edit(|c| c["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "33" }));
    let before = fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
    assert_eq!(bundle.run().ok().stdout, "lo\n1\n1\n33\n");
    // The order of the mounts is the config's: sysfs before everything else.
    bundle.change(|c| c["mounts"].as_array_mut().unwrap().reverse());
    bundle.change(|c| {
        let mounts = c["mounts"].as_array_mut().unwrap();
        mounts.sort_by_key(|mount| mount["destination"].as_str().unwrap().len());
    });
    assert_eq!(bundle.run().ok().stdout, "lo\n1\n1\n33\n");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap(), before);
}

/// Init may end before the namespace arrives, and its error is reported anyway.
#[test]
fn an_error_of_init_arrives_meanwhile() {
    for place in [0, 3, 6] {
        let bundle = Bundle::new().args(["true"]);
        bundle.change(|c| {
            let broken =
                json!({ "destination": "/broken", "type": "tmpfs", "source": "tmpfs", "options": ["size=nonsense"] });
            c["mounts"].as_array_mut().unwrap().insert(place, broken);
        });
        for _ in 0..15 {
            let refused = bundle.run().fails_with("/broken");
            assert!(refused.stderr.contains(&format!("mounts[{place}]")), "{refused:#?}");
        }
        bundle.assert_clean();
    }
}
