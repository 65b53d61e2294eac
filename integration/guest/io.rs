//! `blockIO`, as the kernel enforces it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{MIB, leaf, name, with};
use crate::harness::cgroup::{content, has_controller};
use crate::need;

/// A block device of the guest, as `major:minor`.
pub fn disk() -> Option<(u64, u64)> {
    numbers("ubda")
}

fn numbers(device: &str) -> Option<(u64, u64)> {
    let numbers = fs::read_to_string(format!("/sys/class/block/{device}/dev")).ok()?;
    let (major, minor) = numbers.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn io_is_throttled() {
    need!(has_controller("io"), name("io"));
    need!(disk().is_some(), "a block device to spare");
    let (major, minor) = disk().expect("checked");
    let read = |rate: u64| {
        let script = "busybox dd if=/dev/disk of=/dev/null bs=64k count=32 iflag=direct";
        let bundle = with(
            "blockIO",
            json!({ "throttleReadBpsDevice": [{ "major": major, "minor": minor, "rate": rate }] }),
        )
        .sh(script)
        .edit(|c| {
            c["linux"]["devices"] = json!([{ "path": "/dev/disk", "type": "b", "major": major, "minor": minor }]);
            let rule = json!({ "allow": true, "type": "b", "major": major, "minor": minor, "access": "r" });
            c["linux"]["resources"]["devices"] = json!([{ "allow": false, "access": "rwm" }, rule]);
        });
        let begun = Instant::now();
        bundle.run().ok();
        begun.elapsed()
    };
    // Two MiB at one MiB a second.
    assert!(read(MIB as u64) > Duration::from_millis(1200));
    assert!(read(0) < Duration::from_millis(1200));
}

/// In the one of the two files that the kernel has; without both, the error names them.
#[test]
fn the_io_weight_is_set_or_refused() {
    need!(has_controller("io"), name("io"));
    let bundle = with("blockIO", json!({ "weight": 500 })).args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let id = bundle.fresh_id();
    let said = bundle.create_cmd(&id, &[]).run();
    if said.code == 0 {
        let weight = [("io.bfq.weight", "500"), ("io.weight", "4950")];
        let (file, value) = weight
            .into_iter()
            .find(|(file, _)| leaf.join(file).exists())
            .expect("a file of weights");
        assert!(content(&leaf, file).lines().any(|line| line.ends_with(value)));
        bundle.orlop(["delete", "--force", &id]).run().ok();
    } else {
        let said = said.fails_with("linux.resources.blockIO.weight");
        assert!(said.stderr.contains("io.bfq.weight, nor io.weight"), "{said:#?}");
        assert!(!leaf.exists());
    }
}

/// A kernel with io.weight accepts the weight of a device only while io.cost is enabled for it.
#[test]
fn the_weight_of_a_device_is_set_or_explained() {
    // The other name is that of the emulated machine, whose kernel has io.cost.
    let disk = disk().or_else(|| numbers("nvme2n1"));
    need!(
        has_controller("io") && disk.is_some(),
        "cgroup controller io and a block device to spare"
    );
    let (major, minor) = disk.expect("a disk");
    let entry = json!([{ "major": major, "minor": minor, "weight": 500 }]);
    let bundle = with("blockIO", json!({ "weightDevice": entry })).args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let id = bundle.fresh_id();
    let said = bundle.create_cmd(&id, &[]).run();
    if said.code == 0 {
        let lines = ["io.bfq.weight", "io.weight"].map(|file| fs::read_to_string(leaf.join(file)).unwrap_or_default());
        assert!(lines.concat().contains(&format!("{major}:{minor} ")), "{lines:?}");
        bundle.orlop(["delete", "--force", &id]).run().ok();
        return;
    }
    let said = said.fails_with("linux.resources.blockIO.weightDevice[0].weight");
    let none = said.stderr.contains("io.bfq.weight, nor io.weight");
    assert!(
        none || said.stderr.contains("hint: io.cost is not enabled for this device"),
        "{said:#?}"
    );
    assert!(!leaf.exists());
}

#[test]
fn an_unknown_block_device_is_named_with_its_property() {
    need!(has_controller("io"), name("io"));
    let bundle = with(
        "blockIO",
        json!({ "throttleWriteIOPSDevice": [{ "major": 250, "minor": 77, "rate": 5 }] }),
    );
    let leaf = leaf(&bundle);
    let said = bundle
        .args(["true"])
        .run()
        .fails_with("linux.resources.blockIO.throttleWriteIOPSDevice[0]");
    assert!(said.stderr.contains("ENODEV"), "{said:#?}");
    assert!(!leaf.exists());
}
