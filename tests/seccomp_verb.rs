//! `seccomp explain` and `seccomp dump`, word for word: commands and their output are in `golden/seccomp/`, one file per
//! subject. `UPDATE_GOLDEN=1` writes them; read the difference before you commit it.

use std::fs;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

/// Runs commands in a directory with some profiles, and compares their output and errors with the golden file.
#[track_caller]
fn golden(name: &str, commands: &[&str]) {
    let dir = files();
    let mut found = String::new();
    for line in commands {
        let output = Command::new(env!("CARGO_BIN_EXE_orlop"))
            .arg("seccomp")
            .args(line.split(' '))
            .current_dir(dir.path())
            .output()
            .expect("run orlop");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        found += &format!(
            "$ orlop seccomp {line}\n{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        if !output.status.success() {
            found += &format!("exit code {}\n", output.status.code().expect("an exit code"));
        }
        assert_eq!(output.status.success(), output.stderr.is_empty(), "{line}");
    }
    let path = format!("{}/tests/golden/seccomp/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).expect("write the golden file");
        return;
    }
    let wanted = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}\n{found}"));
    assert!(
        found == wanted,
        "{name}: differs from the golden file (UPDATE_GOLDEN=1 accepts it)\n--- wanted\n{wanted}--- found\n{found}---"
    );
}

fn files() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: String| fs::write(dir.path().join(name), text).expect("write a file");
    let profiles = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/profiles");
    for name in ["docker-default.json", "podman-default.json"] {
        write(
            name,
            fs::read_to_string(format!("{profiles}/{name}")).expect("read a profile"),
        );
    }
    let small = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            { "names": ["read", "write", "execve", "exit_group"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["personality"], "action": "SCMP_ACT_ALLOW",
              "args": [{ "index": 0, "value": 8, "op": "SCMP_CMP_EQ" }] },
            { "names": ["socket"], "action": "SCMP_ACT_KILL_PROCESS",
              "args": [{ "index": 0, "value": 0x1_0000_0010u64, "op": "SCMP_CMP_GE" },
                       { "index": 1, "value": 0xf, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ" }] },
            { "names": ["mount", "no_such_call"], "action": "SCMP_ACT_TRACE", "errnoRet": 9 },
        ]
    });
    write("small.json", small.to_string());
    let mut config: serde_json::Value =
        serde_json::from_str(include_str!("../fixtures/bundles/default/config.json")).expect("the default config");
    write("without.json", config.to_string());
    config["linux"]["seccomp"] = small;
    fs::create_dir(dir.path().join("bundle")).expect("make a bundle");
    write("bundle/config.json", config.to_string());
    write(
        "template.json",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "archMap": [] }).to_string(),
    );
    write("broken.json", "{ \"defaultAction\": }".into());
    write(
        "wrong.json",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5 }).to_string(),
    );
    dir
}

/// A call by name or number, in a profile, a config.json or a bundle. It is decided by each kind of rule, by the default
/// action, by an architecture that is not listed, and by being newer than the profile.
#[test]
fn explain_shows_action_and_rule() {
    golden(
        "explain",
        &[
            "explain small.json read",
            "explain bundle read",
            "explain bundle/config.json 165",
            "explain small.json 0x7b",
            "explain --arch x86 small.json write",
            "explain --arch SCMP_ARCH_AARCH64 small.json read",
            "explain small.json getpid",
            "explain small.json clone3",
            "explain small.json _llseek",
            "explain docker-default.json clone3",
            "explain docker-default.json open_tree_attr",
            "explain podman-default.json mount",
            "explain podman-default.json io_pgetevents",
        ],
    );
}

/// Without arguments all conditions are shown; with them, the one that decides.
#[test]
fn explain_follows_the_arguments() {
    golden(
        "explain_arguments",
        &[
            "explain small.json personality",
            "explain small.json personality 8",
            "explain small.json personality 0x9",
            "explain --arch x86_64 small.json socket",
            "explain --arch x86_64 small.json socket -1 3",
            "explain --arch x86_64 small.json socket 0x100000010 19",
            "explain --arch x86_64 small.json socket 16 3",
            "explain --arch x86 small.json socketcall 1",
            "explain --arch x86 small.json socketcall 2",
            "explain docker-default.json personality",
            "explain podman-default.json socket 16 3 9",
            "explain podman-default.json socket 16 3 8",
        ],
    );
}

#[test]
fn mistakes_are_explained() {
    golden(
        "mistakes",
        &[
            "explain nowhere.json read",
            "explain broken.json read",
            "explain wrong.json read",
            "explain template.json read",
            "explain without.json read",
            "explain small.json raed",
            "explain small.json 99999999999",
            "explain small.json read x",
            "explain small.json read 1 2 3 4 5 6 7",
            "explain --arch z80 small.json read",
            "explain small.json",
            "dump",
            "dump wrong.json",
        ],
    );
}

/// The program of a small profile, one instruction per line.
#[test]
fn dump_prints_the_program() {
    golden("dump", &["dump small.json"]);
}

/// The program of Docker's profile, so that a change of the compiler is noticed.
#[test]
fn dump_of_dockers_profile() {
    golden("dump_docker", &["dump docker-default.json"]);
}
