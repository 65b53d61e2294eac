//! Two hundred containers at once: what a verb costs does not depend on how many there are, and `list` costs the same for each.
//! The cost is the number of system calls, which a busy machine does not change.

use std::fs;

use crate::harness::host::has_strace;
use crate::harness::{Bundle, Cmd, Running};
use crate::need;

const MANY: usize = 200;
const AT_ONCE: usize = 16;

/// Creates and starts containers until there are so many.
fn fill(bundle: &Bundle, ids: &mut Vec<String>, number: usize) {
    while ids.len() < number {
        let new: Vec<String> = (0..AT_ONCE.min(number - ids.len()))
            .map(|_| bundle.fresh_id())
            .collect();
        let all_at_once = |command: &dyn Fn(&String) -> Cmd| {
            let calls: Vec<Running> = new.iter().map(|id| command(id).spawn()).collect();
            calls.into_iter().for_each(|call| {
                call.wait().ok();
            });
        };
        all_at_once(&|id| bundle.create_cmd(id, &[]));
        all_at_once(&|id| bundle.orlop(["start", id]));
        ids.extend(new);
    }
}

/// The number of system calls of the runtime itself.
fn calls(bundle: &Bundle, cmd: Cmd) -> usize {
    let log = bundle.path("calls");
    let words = format!("exec strace -f -qq -o {} \"$0\" \"$@\"", log.display());
    cmd.through_shell(&words).run().ok();
    // A call during which another thread makes one has two lines.
    let log = fs::read_to_string(&log).unwrap();
    log.lines().filter(|line| !line.contains(" resumed>")).count()
}

struct Costs {
    list: usize,
    state: usize,
    exec: usize,
    delete: usize,
}

/// What the verbs cost now. The last container is deleted.
fn costs(bundle: &Bundle, ids: &mut Vec<String>) -> Costs {
    let last = ids.pop().unwrap();
    Costs {
        list: calls(bundle, bundle.orlop(["list", "--format", "json"])),
        state: calls(bundle, bundle.orlop(["state", &last])),
        exec: calls(bundle, bundle.orlop(["exec", &last, "true"])),
        delete: calls(bundle, bundle.orlop(["delete", "--force", &last])),
    }
}

#[test]
fn two_hundred_containers_make_no_verb_slower() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let mut ids = Vec::new();
    fill(&bundle, &mut ids, 10);
    let few = costs(&bundle, &mut ids);
    fill(&bundle, &mut ids, 20);
    let more = costs(&bundle, &mut ids);
    fill(&bundle, &mut ids, MANY);
    let listed = bundle.orlop(["list", "--quiet"]).run().ok().stdout;
    assert_eq!(listed.lines().count(), MANY);
    let many = costs(&bundle, &mut ids);

    // Waiting for the end of a process takes a few calls more or fewer.
    let same = |few: usize, many: usize| many <= few + few / 5 + 20;
    assert!(
        same(few.state, many.state),
        "state: {} calls, then {}",
        few.state,
        many.state
    );
    assert!(
        same(few.exec, many.exec),
        "exec: {} calls, then {}",
        few.exec,
        many.exec
    );
    assert!(
        same(few.delete, many.delete),
        "delete: {} calls, then {}",
        few.delete,
        many.delete
    );
    let each = (more.list - few.list).div_ceil(10);
    let expected = few.list + each * (MANY - 10);
    assert!(
        same(expected, many.list),
        "list: {} calls, expected {expected}",
        many.list
    );

    bundle.orlop(["delete", "--force", "--regex", "."]).run().ok();
    assert_eq!(bundle.orlop(["list", "--quiet"]).run().ok().stdout, "");
}
