//! Without timings nothing is done for them.

use std::fs;

use crate::harness::exec::idle;
use crate::harness::host::has_strace;
use crate::harness::{Bundle, Cmd};
use crate::need;

/// The system calls of the runtime itself. What waits may ask more or less often, so that is left out.
fn calls(bundle: &Bundle, cmd: Cmd) -> usize {
    let log = bundle.path("calls");
    let words = format!(
        "exec strace -qq -e 'trace=!poll,sched_yield,futex' -e signal=none -o {} \"$0\" \"$@\"",
        log.display()
    );
    cmd.through_shell(&words).run().ok();
    let log = fs::read_to_string(&log).expect("the log of strace");
    assert!(!log.contains("clock_gettime"), "{log}");
    log.lines().count()
}

/// What the verbs cost, counted when the timings were added, on Linux 6.18. The calls
/// that wait may take one more.
const COUNTED: [(&str, usize); 5] = [
    ("create", 139),
    ("start", 46),
    ("state", 40),
    ("exec", 99),
    ("delete", 71),
];

#[test]
fn without_timings_no_verb_makes_another_system_call() {
    need!(has_strace(), "strace");
    let bundle = idle();
    let id = bundle.fresh_id();
    for (verb, counted) in COUNTED {
        let cmd = match verb {
            "create" => bundle.create_cmd(&id, &[]),
            "exec" => bundle.orlop(["exec", "--detach", &id, "true"]),
            "delete" => bundle.orlop(["delete", "--force", &id]),
            _ => bundle.orlop([verb, &id]),
        };
        let made = calls(&bundle, cmd);
        assert!(
            made <= counted + 1,
            "{verb}: {made} system calls, of which {counted} are known"
        );
    }
}
