//! The time for long lists in config.json grows linearly: four times the entries take about four times the time, not sixteen
//! times. (The kernel's part is tested in `integration/mounts/growth.rs`.)

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use orlop::cgroup::controllers::{self, Enabled};
use orlop::cgroup::resources;
use orlop::cgroup::update::settings_to_write;
use orlop::commands::spec::default_spec;
use orlop::plan::limits::Limits;

/// Between four and sixteen, with a margin for the effects of caches.
const LINEAR: f64 = 8.0;

/// CPU time of this thread, which does not include other work of the machine.
fn time(work: impl FnOnce()) -> Duration {
    let now = || {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the kernel writes to a value that outlives the call.
        let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
        assert_eq!(result, 0);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let start = now();
    work();
    now() - start
}

/// Runs `work` with `few` entries and with four times as many. A disturbance may spoil one round, but not all of them.
fn assert_linear(what: &str, few: usize, work: impl Fn(usize) -> Box<dyn FnOnce()>) {
    let rounds = (0..6).map(|_| {
        let few_time = (0..3).map(|_| time(work(few))).min().unwrap();
        let many_time = (0..2).map(|_| time(work(4 * few))).min().unwrap();
        many_time.as_secs_f64() / few_time.as_secs_f64()
    });
    let mut ratios = Vec::new();
    for ratio in rounds {
        ratios.push(ratio);
        if ratio < LINEAR {
            return;
        }
    }
    panic!("{what}: four times the entries take {ratios:.1?} times the time");
}

/// Adds `count` entries to a config.
type Fill = fn(&mut Value, usize);

fn list(count: usize, entry: impl Fn(usize) -> Value) -> Value {
    (0..count).map(entry).collect()
}

fn map(count: usize, key: impl Fn(usize) -> String, value: &Value) -> Value {
    let entries = (0..count).map(|number| (key(number), value.clone()));
    Value::Object(entries.collect::<Map<_, _>>())
}

fn add_network(config: &mut Value) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    namespaces.push(json!({ "type": "network" }));
}

/// Each list of a config, with a number of entries that takes more than a few milliseconds. Some configs are invalid: these
/// must be rejected as quickly.
const LISTS: &[(&str, usize, Fill)] = &[
    ("maskedPaths", 1000, |config, count| {
        config["linux"]["maskedPaths"] = list(count, |number| json!(format!("/proc/some/where/{number}")));
    }),
    ("readonlyPaths", 1000, |config, count| {
        config["linux"]["readonlyPaths"] = list(count, |number| json!(format!("/proc/some/where/{number}")));
    }),
    ("mounts of the host's files", 1000, |config, count| {
        config["mounts"] = list(
            count,
            |number| json!({ "destination": format!("/mnt/{number}"), "source": "/tmp", "options": ["bind", "ro"] }),
        );
    }),
    ("mounts of files in the root file system", 1000, |config, count| {
        config["mounts"] = list(
            count,
            |number| json!({ "destination": format!("/mnt/{number}"), "source": format!("/proc/{number}"), "options": ["bind"] }),
        );
    }),
    ("mounts of files in earlier mounts", 1000, |config, count| {
        config["mounts"] = list(
            count,
            |number| json!({ "destination": format!("/mnt/{number}"), "source": "/proc/mnt/0", "options": ["bind"] }),
        );
    }),
    ("options of a mount", 4000, |config, count| {
        let options = list(count, |number| json!(format!("key{number}=1")));
        config["mounts"] = json!([{ "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": options }]);
    }),
    ("env", 4000, |config, count| {
        config["process"]["env"] = list(count, |number| json!(format!("NAME{number}=x")));
    }),
    ("one name in env", 16000, |config, count| {
        config["process"]["env"] = list(count, |_| json!("NAME=x"));
    }),
    ("args", 4000, |config, count| {
        config["process"]["args"] = list(count, |_| json!("argument"));
    }),
    ("additionalGids", 4000, |config, count| {
        config["process"]["user"]["additionalGids"] = list(count, |number| json!(number));
    }),
    ("unknown capabilities", 2000, |config, count| {
        config["process"]["capabilities"]["bounding"] = list(count, |number| json!(format!("CAP_{number}")));
    }),
    ("hooks", 2000, |config, count| {
        config["hooks"] = json!({ "poststop": list(count, |_| json!({ "path": "/bin/true" })) });
    }),
    ("annotations", 4000, |config, count| {
        config["annotations"] = map(count, |number| format!("org.example/{number}"), &json!("x"));
    }),
    ("devices", 2000, |config, count| {
        config["linux"]["devices"] = list(
            count,
            |number| json!({ "path": format!("/dev/{number}"), "type": "c", "major": 1, "minor": 3 }),
        );
    }),
    ("device rules", 2000, |config, count| {
        config["linux"]["resources"] = json!({ "devices": list(count, |number| {
            json!({ "allow": number % 2 == 0, "type": "c", "major": 1, "minor": number, "access": "r" })
        })});
    }),
    ("sysctl", 2000, |config, count| {
        add_network(config);
        config["linux"]["sysctl"] = map(count, |number| format!("net.ipv4.conf.eth{number}.mtu"), &json!("1"));
    }),
    ("netDevices", 2000, |config, count| {
        add_network(config);
        config["linux"]["netDevices"] = map(count, |number| format!("eth{number}"), &json!({}));
    }),
    ("unified", 2000, |config, count| {
        config["linux"]["resources"] =
            json!({ "unified": map(count, |number| format!("memory.{number}"), &json!("1")) });
    }),
    ("lines of unified", 4000, |config, count| {
        config["linux"]["resources"] = json!({ "unified": { "io.max": "8:0 rbps=1\n".repeat(count) } });
    }),
    ("hugepageLimits", 2000, |config, count| {
        config["linux"]["resources"] =
            json!({ "hugepageLimits": list(count, |number| json!({ "pageSize": format!("{number}KB"), "limit": 1 })) });
    }),
    ("rdma", 2000, |config, count| {
        config["linux"]["resources"] =
            json!({ "rdma": map(count, |number| format!("mlx{number}"), &json!({ "hcaHandles": 1 })) });
    }),
    ("throttles", 2000, |config, count| {
        config["linux"]["resources"] = json!({ "blockIO": { "throttleReadBpsDevice":
            list(count, |number| json!({ "major": 8, "minor": number, "rate": 1 })) } });
    }),
    ("ID mappings", 2000, |config, count| {
        let ids = list(
            count,
            |number| json!({ "containerID": number, "hostID": number, "size": 1 }),
        );
        config["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = ids.clone();
        config["linux"]["gidMappings"] = ids;
        config["process"]["user"]["additionalGids"] = list(count, |number| json!(number));
    }),
    ("names of system calls", 4000, |config, count| {
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": list(count, |number| json!(format!("call{number}"))), "action": "SCMP_ACT_ERRNO" },
            { "names": list(count, |_| json!("chmod")), "action": "SCMP_ACT_ERRNO" },
        ]});
    }),
    ("rules about system calls", 4000, |config, count| {
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls":
            list(count, |_| json!({ "names": ["chmod"], "action": "SCMP_ACT_ERRNO" })) });
    }),
    ("a wrong type in the last mount", 500, |config, count| {
        config["mounts"] = list(
            count,
            |number| json!({ "destination": format!("/mnt/{number}"), "type": "tmpfs" }),
        );
        config["mounts"][count - 1]["destination"] = json!(0);
    }),
    ("mistakes", 1000, |config, count| {
        config["mounts"] = list(
            count,
            |number| json!({ "destination": format!("/mnt/{number}"), "source": "/tmp", "options": ["bind", "readonly"] }),
        );
    }),
    ("unknown keys", 8000, |config, count| {
        config["unknown"] = map(count, |number| format!("key{number}"), &json!(0));
    }),
];

#[test]
fn every_list_of_a_config_is_read_and_checked_in_linear_time() {
    for (what, few, fill) in LISTS {
        assert_linear(what, *few, |count| {
            let mut config = default_spec();
            config["root"]["path"] = json!("/proc");
            fill(&mut config, count);
            let text = config.to_string().into_bytes();
            Box::new(move || {
                drop(super::config::plan(Path::new("/"), text));
            })
        });
    }
}

fn rdma_limits(count: usize) -> Limits {
    let resources = json!({ "rdma": map(count, |number| format!("mlx{number}"), &json!({ "hcaHandles": 1 })) });
    resources::convert(&serde_json::from_value(resources).unwrap(), "1.3.0").unwrap()
}

#[test]
fn limits_are_compared_with_the_previous_ones_in_linear_time() {
    assert_linear("a change of limits", 1000, |count| {
        let (old, new) = (rdma_limits(count), rdma_limits(count));
        Box::new(move || assert!(settings_to_write(&old, &new, |_| false).is_empty()))
    });
}

#[test]
fn controllers_are_determined_in_linear_time() {
    let leaf = tempfile::tempdir().unwrap();
    std::fs::write(leaf.path().join("cgroup.controllers"), "").unwrap();
    let path = leaf.path().to_owned();
    assert_linear("controllers", 1000, |count| {
        let unified = json!({ "unified": map(count, |number| format!("controller{number}.max"), &json!("1")) });
        let limits = resources::convert(&serde_json::from_value(unified).unwrap(), "1.3.0").unwrap();
        let path = path.clone();
        // The directory is not in a cgroup tree, so nothing is enabled above it.
        Box::new(move || drop(controllers::enable(&path, &limits.settings, &mut Enabled::default())))
    });
}
