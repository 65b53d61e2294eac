//! `docs/errors.md`: what orlop says about mistakes, beside what runc and crun say about the same bundle or command.
//!
//! orlop's words are those of the golden files, which tests compare with the program. Those of the others are recorded by
//! `integration/errors/record`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The mistakes that are shown, by subject. The names are those of the golden files.
const SUBJECTS: &[(&str, &[&str])] = &[
    (
        "The command line",
        &[
            "verb_unknown",
            "flag_unknown",
            "flag_misplaced",
            "flag_value_unknown",
            "flag_switch_not_a_truth",
            "id_missing",
            "id_with_slash",
            "id_taken",
            "log_directory_missing",
            "spec_exists",
            "events_interval_0",
        ],
    ),
    (
        "The bundle and config.json",
        &[
            "bundle_missing",
            "bundle_is_a_file",
            "config_missing",
            "config_unreadable",
            "json_comma",
            "json_ends_early",
            "json_with_byte_order_mark",
            "type_wrong",
            "type_wrong_deep",
            "version_missing",
            "version_unknown",
            "keys_misspelt",
            "five_mistakes",
        ],
    ),
    (
        "The root and its mounts",
        &[
            "root_missing",
            "rootfs_missing",
            "rootfs_is_a_file",
            "bind_source_missing",
            "bind_on_a_file",
            "mount_below_a_file",
            "mount_over_proc",
            "mount_inside_proc",
            "mount_point_missing_in_proc",
            "mount_without_destination",
            "mount_option_in_capitals",
            "mount_options_in_one_string",
            "file_system_unknown",
            "tmpfs_size_bad",
            "tmpfs_option_unknown",
            "propagation_unknown",
            "masked_path_relative",
            "idmap_without_mapping",
        ],
    ),
    (
        "Namespaces, users and devices",
        &[
            "namespace_unknown",
            "namespace_twice",
            "namespace_path_missing",
            "namespace_path_of_another_type",
            "hostname_without_uts",
            "hostname_too_long",
            "mappings_overlap",
            "mapping_without_user_namespace",
            "user_not_mapped",
            "sysctl_unknown",
            "sysctl_not_namespaced",
            "sysctl_value_bad",
            "device_type_unknown",
            "device_taken",
            "time_offset_without_namespace",
        ],
    ),
    (
        "The process and its program",
        &[
            "args_empty",
            "cwd_relative",
            "cwd_is_a_file",
            "capability_unknown",
            "rlimit_unknown",
            "rlimit_soft_above_hard",
            "oom_score_out_of_range",
            "scheduler_policy_unknown",
            "terminal_without_socket",
            "console_socket_missing",
            "program_missing",
            "program_not_in_path",
            "program_not_executable",
            "program_is_a_directory",
            "program_without_loader",
            "program_for_another_machine",
            "program_on_noexec",
            "script_without_interpreter",
            "script_with_windows_line_ends",
            "command_in_one_string",
        ],
    ),
    (
        "Cgroups and limits",
        &[
            "memory_swap_without_limit",
            "memory_swap_below_limit",
            "memory_swappiness",
            "cpu_quota_too_small",
            "cpu_real_time",
            "huge_page_size_unknown",
            "unified_with_slash",
        ],
    ),
    (
        "Seccomp",
        &[
            "seccomp_action_unknown",
            "seccomp_architecture_unknown",
            "seccomp_operator_unknown",
            "seccomp_argument_out_of_range",
            "seccomp_names_empty",
            "seccomp_notify_without_path",
            "seccomp_execve_refused",
        ],
    ),
    (
        "Hooks",
        &[
            "hook_missing",
            "hook_path_relative",
            "hook_not_executable",
            "hook_fails",
            "hook_killed",
            "hook_too_slow",
        ],
    ),
    (
        "start, state, kill and delete",
        &[
            "start_unknown",
            "start_twice",
            "start_stopped",
            "start_program_gone",
            "state_unknown",
            "signal_unknown",
            "kill_stopped",
            "kill_unknown",
            "delete_running",
            "delete_unknown",
            "pid_file_directory_missing",
            "preserve_fds_closed",
        ],
    ),
    (
        "exec",
        &[
            "exec_unknown",
            "exec_stopped",
            "exec_paused",
            "exec_command_missing",
            "exec_program_not_found",
            "exec_cwd_missing",
            "exec_user_not_a_number",
            "exec_user_is_a_name",
            "exec_process_file_missing",
            "exec_process_file_broken",
            "exec_terminal_detached",
            "exec_option_after_the_id",
            "exec_cgroup_missing",
        ],
    ),
    (
        "update",
        &[
            "update_from_two_sources",
            "update_size_unknown",
            "update_unified_without_value",
        ],
    ),
    (
        "checkpoint and restore",
        &[
            "checkpoint_cgroups_mode_misspelt",
            "checkpoint_page_server_without_port",
            "checkpoint_parent_absolute",
            "checkpoint_pre_dump_and_lazy_pages",
            "restore_empty_ns_of_another_type",
        ],
    ),
    (
        "Without root",
        &[
            "namespaces_not_permitted",
            "rootless_without_helpers",
            "rootless_helpers_without_privilege",
            "rootless_without_subordinate_ids",
            "rootless_with_ids_of_others",
            "rootless_without_user_namespaces",
            "rootless_without_delegated_cgroup",
            "state_root_not_writable",
        ],
    ),
];

const HEAD: &str = "# Error messages

What orlop says about common mistakes, beside what other runtimes say about the very same bundle and command. A capital DIR is a
directory and ID a container. `orlop --help` and its man pages say more about the options. Of messages with many lines, the first
are shown.

A message of orlop has the verb and the container, the step, the place in config.json, and the call that failed with its arguments
and its errno. The hint says what to do. With `--log-format json` all of these are fields. A test compares orlop's words with what it
says today; the words of the others were recorded with the versions that are named.

";

/// The document.
///
/// # Panics
///
/// If a file is missing: that of a mistake in the list, or one with the words of another runtime.
pub fn document(repository: &Path) -> String {
    let others = ["runc", "crun"].map(|name| (name, recorded(repository, name)));
    let mut text = HEAD.to_string();
    for (_, record) in &others {
        let _ = writeln!(
            text,
            "* {}, from Debian",
            record["version"].as_str().expect("a version")
        );
    }
    for (subject, names) in SUBJECTS {
        let _ = write!(text, "\n## {subject}\n");
        for name in *names {
            let golden = repository.join(format!("tests/golden/errors/{name}.txt"));
            let golden = fs::read_to_string(&golden).unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
            text += &entry(name, &golden, &others);
        }
    }
    text
}

/// How many mistakes are shown.
pub fn count() -> usize {
    SUBJECTS.iter().map(|(_, names)| names.len()).sum()
}

fn recorded(repository: &Path, name: &str) -> Value {
    let path = repository.join(format!("integration/errors/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

fn entry(name: &str, golden: &str, others: &[(&str, Value)]) -> String {
    let command = golden
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("$ "))
        .expect("a command");
    let words: Vec<&str> = golden
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with("exit code "))
        .collect();
    let mut text = format!("\n### {}\n\n`{command}`\n\n| | |\n|---|---|\n", name.replace('_', " "));
    let _ = writeln!(text, "| orlop | {} |", cell(&words.join("\n")));
    for (runtime, record) in others {
        let said = &record["said"][name];
        let words = cell(said["words"].as_str().unwrap_or_default());
        let shown = match (said["code"].as_i64(), words.is_empty()) {
            (None, _) => panic!("{runtime}: nothing is recorded of {name}"),
            (Some(0), true) => "*accepts it*".to_string(),
            (Some(0), false) => format!("*accepts it:* {words}"),
            (Some(code), true) => format!("*exits with {code}, without a message*"),
            (Some(_), false) => words,
        };
        let _ = writeln!(text, "| {runtime} | {shown} |");
    }
    text
}

/// The longest message, in lines.
const LINES: usize = 6;

/// Text in a cell of a table.
fn cell(words: &str) -> String {
    let mut lines: Vec<String> = words
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(LINES)
        .map(|line| {
            let line = line.trim().strip_prefix("orlop: error: ").unwrap_or(line.trim());
            let line = line.replace('\\', "\\\\").replace('&', "&amp;").replace('<', "&lt;");
            ['|', '*', '`', '_', '[', ']']
                .iter()
                .fold(line, |line, c| line.replace(*c, &format!("\\{c}")))
        })
        .collect();
    if words.lines().filter(|line| !line.trim().is_empty()).count() > LINES {
        lines.push("…".into());
    }
    lines.join("<br>")
}
