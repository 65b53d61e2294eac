//! Faults that were found by `make faults` and mended: every occurrence of the calls that were at fault fails.

use super::scene::{Config, Verb};
use super::sweep::{Kind, Selection, sweep};
use crate::harness::golden::{OWN_TEXTS, own_texts};
use crate::harness::host::kernel_version;
use crate::namespaces::net_devices::has_veth;
use crate::need;

/// With the likeliest error of each call.
fn every(verb: Verb, config: Config, calls: &[(usize, &'static str)]) {
    with_errors(true, verb, config, calls);
}

fn with_errors(one_errno: bool, verb: Verb, config: Config, calls: &[(usize, &'static str)]) {
    let selection = Selection {
        one_errno,
        verbs: vec![verb],
        configs: vec![config],
        calls: calls.to_vec(),
        ..Selection::default()
    };
    sweep(Kind::Errors, selection);
}

/// What [`Config::Everything`] needs.
fn has_everything() -> bool {
    kernel_version() >= (6, 3) && has_veth()
}

const EVERYTHING: &str = "ID-mapped tmpfs mounts (Linux 6.3) and veth network devices";

#[test]
fn run_removes_its_container_although_a_call_of_the_removal_fails() {
    need!(own_texts(), OWN_TEXTS);
    let calls = ["fgetxattr", "flock", "getdents64", "lseek", "newfstatat", "unlinkat"];
    every(Verb::Run, Config::Default, &calls.map(|call| (0, call)));
}

#[test]
fn an_id_is_free_if_the_standard_streams_cannot_be_examined() {
    need!(own_texts(), OWN_TEXTS);
    every(Verb::Create, Config::Default, &[(0, "newfstatat")]);
}

/// Init was reaped as if it were an orphan, and its exit code was lost.
#[test]
fn an_interrupted_wait_does_not_lose_the_exit_code() {
    need!(own_texts(), OWN_TEXTS);
    with_errors(false, Verb::Run, Config::Default, &[(0, "waitid")]);
    with_errors(false, Verb::Exec, Config::Default, &[(0, "waitid")]);
}

#[test]
fn a_failing_update_leaves_no_temporary_file() {
    need!(own_texts(), OWN_TEXTS);
    every(Verb::Update, Config::Default, &[(0, "write"), (0, "renameat")]);
}

#[test]
fn the_call_that_failed_is_named_and_not_another() {
    need!(own_texts(), OWN_TEXTS);
    every(Verb::Create, Config::Default, &[(0, "read"), (0, "statx")]);
    every(Verb::Exec, Config::Default, &[(0, "pidfd_send_signal")]);
    every(Verb::State, Config::Default, &[(0, "write")]);
}

#[test]
fn a_message_that_cannot_be_received_at_once_is_received_later() {
    need!(own_texts(), OWN_TEXTS);
    let receive = [0, 1, 2].map(|process| [(process, "recvfrom"), (process, "recvmsg"), (process, "accept4")]);
    every(Verb::Exec, Config::Default, &receive.concat());
    every(Verb::Start, Config::Default, &receive.concat());
}

#[test]
fn hooks_say_which_call_failed() {
    need!(own_texts(), OWN_TEXTS);
    need!(has_everything(), EVERYTHING);
    every(
        Verb::Create,
        Config::Everything,
        &[(0, "pipe2"), (0, "lseek"), (3, "fcntl")],
    );
}

/// It has sent it, but the runtime noticed first that init was gone.
#[test]
fn what_init_reports_is_the_error_whatever_fails_meanwhile() {
    need!(own_texts(), OWN_TEXTS);
    need!(has_everything(), EVERYTHING);
    every(Verb::Create, Config::Everything, &[(2, "close_range"), (2, "recvfrom")]);
}

#[test]
fn a_network_device_comes_back_even_if_the_kernels_answer_is_lost() {
    need!(own_texts(), OWN_TEXTS);
    need!(has_everything(), EVERYTHING);
    every(Verb::Create, Config::Everything, &[(0, "recvmsg"), (0, "sendmsg")]);
}

#[test]
fn the_thread_under_the_filter_is_woken_in_any_case() {
    need!(own_texts(), OWN_TEXTS);
    need!(has_everything(), EVERYTHING);
    every(Verb::Exec, Config::Everything, &[(2, "futex"), (3, "futex")]);
}

#[test]
fn a_placeholder_process_that_cannot_be_killed_ends() {
    need!(own_texts(), OWN_TEXTS);
    every(
        Verb::Create,
        Config::Systemd,
        &[(0, "pidfd_send_signal"), (2, "sendmsg")],
    );
}
