//! A runtime that is itself in a cgroup with little memory. Needs the controller, which the guest of `make guest-test` has.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::harness::{Bundle, Output, eventually};
use crate::need;

/// A cgroup in which the runtime runs.
struct Around(PathBuf);

impl Around {
    fn new(bundle: &Bundle, kib: u64) -> Self {
        let path = PathBuf::from(format!("/sys/fs/cgroup/{}-around", bundle.fresh_id()));
        fs::create_dir(&path).expect("make a cgroup");
        fs::write(path.join("memory.max"), format!("{}", kib << 10)).expect("limit its memory");
        Around(path)
    }

    fn run(&self, bundle: &Bundle) -> Output {
        let enter = format!("echo $$ >{}/cgroup.procs", self.0.display());
        bundle.run_cmd(&[]).through_shell(&enter).run()
    }
}

impl Drop for Around {
    fn drop(&mut self) {
        eventually("the cgroup can be removed", || fs::remove_dir(&self.0).is_ok());
    }
}

/// The kernel does not kill it but reclaims its pages, which are then read again for minutes.
#[test]
fn a_runtime_without_enough_memory_fails_with_an_error() {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    need!(
        controllers.split_whitespace().any(|name| name == "memory"),
        "cgroup controller memory"
    );
    let bundle = Bundle::new().args(["true"]);
    let run = |kib: u64| {
        let around = Around::new(&bundle, kib);
        let begun = Instant::now();
        let output = around.run(&bundle);
        assert!(
            begun.elapsed() < Duration::from_secs(12),
            "{kib} KiB: {:?}",
            begun.elapsed()
        );
        output
    };
    let told = |output: &Output| {
        assert!(
            output.stderr.contains("not enough memory for the runtime itself"),
            "{output:#?}"
        );
        assert!(output.stderr.contains("memory.max"), "{output:#?}");
        assert_eq!(output.code, 1, "{output:#?}");
    };
    told(&run(350));
    // Near the limit, where it may or may not succeed.
    let output = run(450);
    if output.code != 0 {
        told(&output);
    }
    // Without enough memory to reach `main`, no error can be printed.
    assert_eq!(run(250).code, 128 + libc::SIGPROF);
    // With more memory than the hint names, because a binary without optimization needs more.
    run(4096).ok();
}
