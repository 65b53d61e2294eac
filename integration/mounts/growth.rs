//! Containers with thousands of mounts and masks: four times as many take four times as long, not sixteen times, including
//! the kernel's part. (Reading a long config is tested in `tests/modules/growth.rs`.)

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Bundle;
use crate::harness::users::remapped;
use crate::need;

/// Between four and sixteen, with a margin on either side.
const LINEAR: f64 = 8.0;

const FEW: usize = 1500;

fn paths(count: usize) -> Value {
    (0..count).map(|number| json!(format!("/tmp/{number}"))).collect()
}

/// A bundle with that many files in /tmp, and a config that names them.
fn bundle(count: usize, edit: impl Fn(&mut Value, usize)) -> Bundle {
    let bundle = Bundle::new().args(["true"]).without_mount("/tmp");
    fs::create_dir_all(bundle.inside("/tmp")).unwrap();
    for number in 0..count {
        fs::write(bundle.inside(&format!("/tmp/{number}")), "").unwrap();
    }
    bundle.edit(|config| edit(config, count))
}

fn processor_time(bundle: &Bundle, runs: usize) -> Duration {
    (0..runs).map(|_| bundle.run().ok().processor_time).min().unwrap()
}

/// A disturbance affects one round, never all.
#[track_caller]
fn assert_linear(prepare: fn(Bundle) -> Bundle, edit: impl Fn(&mut Value, usize)) {
    let few = prepare(bundle(FEW, &edit));
    let many = prepare(bundle(4 * FEW, &edit));
    let mut seen = Vec::new();
    for _ in 0..4 {
        let ratio = processor_time(&many, 1).as_secs_f64() / processor_time(&few, 2).as_secs_f64();
        seen.push(ratio);
        if ratio < LINEAR {
            return;
        }
    }
    panic!("four times as many take {seen:.1?} times the time");
}

#[test]
fn masked_paths() {
    assert_linear(
        |bundle| bundle,
        |config, count| config["linux"]["maskedPaths"] = paths(count),
    );
}

#[test]
fn readonly_paths() {
    assert_linear(
        |bundle| bundle,
        |config, count| config["linux"]["readonlyPaths"] = paths(count),
    );
}

fn bind_mounts(config: &mut Value, count: usize) {
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.extend((0..count).map(
        |number| json!({ "destination": format!("/tmp/{number}"), "source": "/dev/null", "options": ["bind", "ro"] }),
    ));
}

#[test]
fn bind_mounts_of_the_host() {
    assert_linear(|bundle| bundle, bind_mounts);
}

#[test]
fn bind_mounts_in_a_user_namespace() {
    // Some kernels count each detached mount as a mount namespace. The limit depends on the memory.
    let limit = fs::read_to_string("/proc/sys/user/max_mnt_namespaces").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    need!(limit > 5 * FEW, "mount namespaces for 7500 detached mounts");
    assert_linear(remapped, bind_mounts);
}

/// Above a certain number the covers are taken from an untouched copy of the root file system; the result must be the same.
#[test]
fn many_readonly_paths_have_the_same_effect_as_few() {
    for filling in [0, 200] {
        let bundle = Bundle::new().without_mount("/tmp");
        for dir in ["/tmp/dir/sub", "/tmp/dir/plain", "/tmp/open", "/tmp/filling"] {
            fs::create_dir_all(bundle.inside(dir)).unwrap();
        }
        fs::write(bundle.inside("/tmp/file"), "").unwrap();
        std::os::unix::fs::symlink("/tmp/open", bundle.inside("/tmp/link")).unwrap();
        let mut listed = vec!["/tmp/dir/plain", "/tmp/dir", "/tmp/link", "/tmp/file", "/tmp/none"]
            .into_iter()
            .map(String::from)
            .collect::<Vec<_>>();
        for number in 0..filling {
            fs::write(bundle.inside(&format!("/tmp/filling/{number}")), "").unwrap();
            listed.push(format!("/tmp/filling/{number}"));
        }
        let bundle = bundle
            .edit(|config| {
                config["root"]["readonly"] = json!(false);
                config["linux"]["readonlyPaths"] = json!(listed);
                config["linux"]["maskedPaths"] = json!(["/tmp/dir/masked"]);
            })
            .mount("/tmp/dir/sub", "tmpfs", "tmpfs", &[]);
        fs::write(bundle.inside("/tmp/dir/masked"), "secret").unwrap();
        let refused = [
            "create,/tmp/dir/new",
            "create,/tmp/dir/sub/new",
            "create,/tmp/dir/plain/new",
            "create,/tmp/open/new",
            "write,/tmp/file",
        ];
        let free = ["create,/tmp/new"];
        let tried = bundle.attempt(refused.iter().chain(&free).copied().chain(["read,/tmp/dir/masked"]));
        for operation in refused {
            assert_eq!(tried.result(operation), "EROFS", "{operation}, {filling} more");
        }
        assert_eq!(tried.result(free[0]), "ok", "{filling} more");
        assert_ne!(tried.detail("read,/tmp/dir/masked"), &json!("secret"), "{filling} more");
    }
}
