//! The stats of `events` from the contents of cgroup files, in runc's format.

use std::collections::HashMap;

use serde_json::{Value, json};

use orlop::cgroup::stats::{page_size, stats};

fn of(files: &[(&str, &str)], sizes: &[&str]) -> Value {
    let files: HashMap<&str, &str> = files.iter().copied().collect();
    let sizes: Vec<String> = sizes.iter().map(|size| size.to_string()).collect();
    stats(&|file| files.get(file).map(|text| text.to_string()), &sizes)
}

#[test]
fn without_controllers_the_stats_are_empty() {
    let data = of(&[("cgroup.procs", "1\n5\n")], &[]);
    assert_eq!(data["pids"], json!({ "current": 2 }));
    assert_eq!(
        data["cpu"],
        json!({ "usage": { "kernel": 0, "user": 0 }, "throttling": {} })
    );
    assert_eq!(data["memory"], json!({}));
    assert_eq!(data["blkio"], json!({}));
    assert_eq!(data["hugetlb"], json!({}));
    assert_eq!(data["intel_rdt"], json!({}));
    assert_eq!(data["network_interfaces"], Value::Null);
    assert_eq!(data["cpuset"]["cpu_exclusive"], 0);
}

#[test]
fn processor_time_is_in_nanoseconds() {
    let text = "usage_usec 12\nuser_usec 7\nsystem_usec 5\nnr_periods 9\nnr_throttled 3\nthrottled_usec 18446744073709551615\n";
    let data = of(
        &[
            ("cpu.stat", text),
            ("cpuset.cpus.effective", "0-2,5\n"),
            ("cpuset.mems.effective", "0\n"),
        ],
        &[],
    );
    assert_eq!(
        data["cpu"],
        json!({
            "usage": { "total": 12_000, "kernel": 5000, "user": 7000 },
            "throttling": { "periods": 9, "throttledPeriods": 3, "throttledTime": u64::MAX }
        })
    );
    assert_eq!(
        (&data["cpuset"]["cpus"], &data["cpuset"]["mems"]),
        (&json!([0, 1, 2, 5]), &json!([0]))
    );
}

#[test]
fn swap_is_reported_together_with_memory() {
    let data = of(
        &[
            ("memory.current", "100\n"),
            ("memory.max", "1000\n"),
            ("memory.peak", "200\n"),
            ("memory.swap.current", "10\n"),
            ("memory.swap.max", "50\n"),
            ("memory.stat", "anon 60\nfile 40\n"),
            ("memory.events", "low 0\nmax 4\noom_kill 1\n"),
            (
                "memory.pressure",
                "some avg10=1.50 avg60=0.00 avg300=0.25 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            ),
        ],
        &[],
    );
    assert_eq!(
        data["memory"],
        json!({
            "cache": 40,
            "usage": { "limit": 1000, "usage": 100, "max": 200, "failcnt": 4 },
            "swap": { "limit": 1050, "usage": 110, "failcnt": 0 },
            "raw": { "anon": 60, "file": 40 },
            "psi": {
                "some": { "avg10": 1.5, "avg60": 0.0, "avg300": 0.25, "total": 77 },
                "full": { "avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 0 }
            }
        })
    );
    let data = of(
        &[
            ("memory.current", "1\n"),
            ("memory.max", "max\n"),
            ("memory.swap.max", "max\n"),
        ],
        &[],
    );
    assert_eq!(data["memory"]["usage"]["limit"], u64::MAX);
    assert_eq!(data["memory"]["swap"]["limit"], u64::MAX);
}

#[test]
fn processes_without_a_limit_have_none() {
    let data = of(&[("pids.current", "3\n"), ("pids.max", "max\n")], &[]);
    assert_eq!(data["pids"], json!({ "current": 3 }));
    let data = of(&[("pids.current", "3\n"), ("pids.max", "9\n")], &[]);
    assert_eq!(data["pids"], json!({ "current": 3, "limit": 9 }));
}

#[test]
fn block_devices_have_one_entry_per_direction() {
    let text = "8:0 rbytes=1 wbytes=0 rios=3 wios=4 dbytes=5 dios=6\n0:43 cost.usage=1\nnonsense rbytes=1\n";
    let data = of(&[("io.stat", text)], &[]);
    assert_eq!(
        data["blkio"],
        json!({
            "ioServiceBytesRecursive": [{ "major": 8, "op": "Read", "value": 1 }, { "major": 8, "op": "Write" }],
            "ioServicedRecursive": [{ "major": 8, "op": "Read", "value": 3 }, { "major": 8, "op": "Write", "value": 4 }]
        })
    );
}

#[test]
fn reserved_huge_pages_are_counted() {
    let files = [
        ("hugetlb.2MB.rsvd.current", "4194304\n"),
        ("hugetlb.2MB.current", "2097152\n"),
        ("hugetlb.2MB.events", "max 2\n"),
        ("hugetlb.1GB.current", "0\n"),
    ];
    let data = of(&files, &["2MB", "1GB", "64KB"]);
    assert_eq!(
        data["hugetlb"],
        json!({ "2MB": { "usage": 4_194_304, "failcnt": 2 }, "1GB": { "failcnt": 0 } })
    );
    for (kilobytes, name) in [(64, "64KB"), (2048, "2MB"), (1_048_576, "1GB"), (16 << 20, "16GB")] {
        assert_eq!(page_size(kilobytes), name);
    }
}

proptest::proptest! {
    /// Whatever the files contain: at worst a number is left out.
    #[test]
    fn no_text_of_a_cgroup_file_panics(text in "(some|full|avg10=|total=|[0-9]{0,22}|max|[a-z_]{0,9}|:| |=|-|\n|é|\\.){0,40}") {
        let sizes = vec!["2MB".to_string()];
        assert!(stats(&|_| Some(text.clone()), &sizes).is_object());
    }
}
