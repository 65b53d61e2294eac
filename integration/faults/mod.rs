//! Every system call of a verb fails once, and both processes are killed before each of theirs: nothing hangs, the exit code is
//! true, the error names the call, nothing is left, and `delete --force` always works.
//!
//! `make faults` disturbs every call of every verb with every config; `make test` a selection. See docs/reliability.md.

mod errnos;
mod judge;
mod mended;
mod scene;
mod sweep;
mod tracer;

use self::scene::{Config, Verb};
use self::sweep::{Kind, Selection, sweep};

/// Ran by `make test` with `run` and the default config, one error a call; by `make faults` with everything, or with what
/// VERB, CONFIG, FAULT and EVERY select.
#[test]
fn a_failing_call_hangs_nothing_leaves_nothing_and_is_named() {
    let short = Selection {
        verbs: vec![Verb::Run],
        configs: vec![Config::Default],
        one_errno: true,
        ..Selection::default()
    };
    sweep(Kind::Errors, Selection::from_environment(short));
}

/// As above, with SIGKILL instead of an error.
#[test]
fn a_killed_runtime_or_init_leaves_what_can_be_deleted() {
    let short = Selection {
        verbs: vec![Verb::Create],
        configs: vec![Config::Default],
        every: 4,
        ..Selection::default()
    };
    sweep(Kind::Kills, Selection::from_environment(short));
}

/// The files of the state after each change to them, whole, torn and empty, and nothing else of the container.
#[test]
fn a_power_failure_leaves_a_state_that_can_be_deleted() {
    let short = Selection {
        verbs: vec![Verb::Create],
        configs: vec![Config::Default],
        ..Selection::default()
    };
    sweep(Kind::PowerLoss, Selection::from_environment(short));
}
