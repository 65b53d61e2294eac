//! What the runtime does while another process works, and not before.

use crate::harness::exec::idle;
use crate::harness::golden::{OWN_TEXTS, own_texts};
use crate::harness::host::has_strace;
use crate::harness::users::remapped;
use crate::harness::{Bundle, Cmd};
use crate::need;

use super::log_of;

/// The first line of a log of strace with all these words.
#[track_caller]
fn line(log: &str, words: &[&str]) -> usize {
    let found = log
        .lines()
        .position(|line| words.iter().all(|word| line.contains(word)));
    found.unwrap_or_else(|| panic!("no line has {words:?} in\n{log}"))
}

/// Init waits for its ID maps, and for nothing else of this.
#[test]
fn init_gets_its_id_maps_before_the_runtime_does_anything_else() {
    need!(own_texts(), OWN_TEXTS);
    need!(has_strace(), "strace");
    let bundle = remapped(Bundle::new().args(["true"]));
    let log = log_of(&bundle, true, bundle.run_cmd(&[]));
    let (clone, helped) = (
        line(&log, &["clone3(", "CLONE_NEWUSER"]),
        line(&log, &["sendmsg(", "Helped"]),
    );
    assert!(clone < helped, "{log}");
    for later in [["bpf(", "BPF_PROG_LOAD"], ["openat(", "\"config.json\", O_RDWR"]] {
        assert!(helped < line(&log, &later), "{later:?}\n{log}");
    }
}

/// The kernel waits for all processors before the last descriptor of a mount is closed.
#[test]
fn the_mount_of_the_program_is_let_go_while_the_new_process_works() {
    need!(own_texts(), OWN_TEXTS);
    need!(has_strace(), "strace");
    let bundle = idle();
    let id = bundle.fresh_id();
    let verbs: [(&str, Cmd); 2] = [
        ("create", bundle.create_cmd(&id, &[])),
        ("exec", bundle.orlop(["exec", &id, "true"])),
    ];
    for (verb, cmd) in verbs {
        if verb == "exec" {
            bundle.orlop(["start", &id]).run().ok();
        }
        let log = log_of(&bundle, false, cmd);
        let close = line(&log, &["close(512</>)"]);
        assert!(line(&log, &["clone3("]) < close, "{verb}\n{log}");
        let waits = log.lines().skip(close).any(|line| line.contains("poll("));
        assert!(waits, "{verb}\n{log}");
    }
    bundle.orlop(["delete", "--force", &id]).run().ok();
}
