//! Without timings nothing is done for them; `budgets` counts all calls.

use std::fs;

use crate::harness::exec::idle;
use crate::harness::host::has_strace;
use crate::need;

#[test]
fn without_timings_no_verb_reads_the_clock() {
    need!(has_strace(), "strace");
    let bundle = idle();
    let id = bundle.fresh_id();
    for verb in ["create", "start", "state", "exec", "delete"] {
        let cmd = match verb {
            "create" => bundle.create_cmd(&id, &[]),
            "exec" => bundle.orlop(["exec", "--detach", &id, "true"]),
            "delete" => bundle.orlop(["delete", "--force", &id]),
            _ => bundle.orlop([verb, &id]),
        };
        let log = bundle.path("calls");
        let words = format!("exec strace -qq -e signal=none -o {} \"$0\" \"$@\"", log.display());
        cmd.through_shell(&words).run().ok();
        let log = fs::read_to_string(&log).expect("the log of strace");
        assert!(
            log.contains("exit_group") && !log.contains("clock_gettime"),
            "{verb}: {log}"
        );
    }
}
