//! The completions in bash, zsh and fish, with containers that exist.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::golden::{OWN_TEXTS, own_texts};
use crate::harness::{Bundle, runtime};

#[derive(Debug, Clone, Copy)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    fn name(self) -> &'static str {
        match self {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        }
    }

    fn is_installed(self) -> bool {
        let dirs = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&dirs).any(|dir| dir.join(self.name()).is_file())
    }
}

/// A directory with the scripts, and with the program under the name that users type.
struct Scripts<'a> {
    bundle: &'a Bundle,
    directory: PathBuf,
}

impl<'a> Scripts<'a> {
    fn new(bundle: &'a Bundle) -> Self {
        let directory = bundle.path("completions");
        fs::create_dir_all(directory.join("bin")).expect("make a directory");
        symlink(runtime(), directory.join("bin/orlop")).expect("link the program");
        for file in orlop_manual::completions::files() {
            let name = Path::new(&file.path).file_name().expect("a name");
            fs::write(directory.join(name), file.text).expect("write a script");
        }
        Scripts { bundle, directory }
    }

    /// What completes the last word of a line, without the descriptions.
    fn complete(&self, shell: Shell, line: &str) -> Vec<String> {
        let driver = |name: &str| {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("integration/docs")
                .join(name)
        };
        let mut command = Command::new(shell.name());
        match shell {
            Shell::Bash => {
                // readline splits at an equals sign too.
                let line = line.replace('=', " = ");
                let last = if line.ends_with(' ') { Some("") } else { None };
                command.arg(driver("complete.bash")).arg(self.directory.join("orlop"));
                command.args(line.split_whitespace().chain(last));
            }
            Shell::Zsh => {
                command
                    .arg("-f")
                    .arg(driver("complete.zsh"))
                    .arg(&self.directory)
                    .arg(line);
            }
            Shell::Fish => {
                let script = format!(
                    "source {}; complete -C \"$argv\"",
                    self.directory.join("orlop.fish").display()
                );
                command.args(["--no-config", "-c", &script, line]);
            }
        }
        let path = format!("{}:/usr/bin:/bin", self.directory.join("bin").display());
        let output = command
            .env("PATH", path)
            .env("HOME", &self.directory)
            .env("TERM", "xterm")
            .current_dir(self.bundle.dir())
            .output()
            .expect("run the shell");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let words = text.lines().map(|line| line.split('\t').next().unwrap_or_default());
        // fish repeats the option before an equals sign, and bash and fish what leads to a file.
        let words = words.map(|word| {
            word.rsplit(['=', '/'])
                .find(|part| !part.is_empty())
                .unwrap_or_default()
        });
        words.filter(|word| !word.is_empty()).map(str::to_string).collect()
    }
}

/// Lines, with words that complete them and words that do not.
type Table<'a> = &'a [(&'a str, &'a [&'a str], &'a [&'a str])];

#[track_caller]
fn check(shell: Shell) {
    if !own_texts() {
        crate::harness::record_skip(OWN_TEXTS);
        return;
    }
    if !shell.is_installed() {
        crate::harness::record_skip(shell.name());
        return;
    }
    let bundle = Bundle::new().sh("sleep 1000");
    for id in ["web", "mail"] {
        bundle
            .create_cmd(&format!("{}-{id}", bundle.fresh_id()), &[])
            .run()
            .ok();
    }
    let scripts = Scripts::new(&bundle);
    let root = bundle.state_root();
    for (line, complete, others) in LINES {
        let line = line.replace("ROOT", root.to_str().expect("UTF-8"));
        let found = scripts.complete(shell, &line);
        let has = |word: &&str| {
            found
                .iter()
                .any(|found| found == word || found.ends_with(&format!("-{word}")))
        };
        assert!(
            complete.iter().all(has),
            "{shell:?}: {line:?}: {complete:?} in {found:?}"
        );
        assert!(
            !others.iter().any(has),
            "{shell:?}: {line:?}: none of {others:?} in {found:?}"
        );
        assert!(
            !complete.is_empty() || found.is_empty(),
            "{shell:?}: {line:?}: {found:?}"
        );
    }
}

/// What every shell must offer. ROOT is the state directory with the containers `web` and `mail`; what is expected to be
/// empty offers nothing at all.
const LINES: Table = &[
    ("orlop st", &["start", "state"], &["stop", "run", "list"]),
    ("orlop ", &["create", "seccomp", "version", "help"], &["explain", "web"]),
    ("orlop help sta", &["start", "state"], &["run"]),
    ("orlop seccomp ", &["explain", "dump"], &["create"]),
    // Options: the global ones before the verb, the others after it; hidden ones nowhere.
    ("orlop --roo", &["--root", "--rootless"], &["--log"]),
    ("orlop --c", &["--cgroup-manager"], &["--criu", "--console-socket"]),
    (
        "orlop create --",
        &["--bundle", "--pid-file", "--help"],
        &["--root", "--detach", "--no-subreaper"],
    ),
    ("orlop seccomp explain --a", &["--arch"], &["--apparmor"]),
    // Values.
    ("orlop --log-format ", &["text", "json"], &["table", "create"]),
    ("orlop --cgroup-manager=s", &["systemd"], &["disabled"]),
    ("orlop list -f ", &["table", "json"], &["text"]),
    ("orlop list --format=t", &["table"], &["json"]),
    ("orlop run --seccomp-log=", &["deny", "allow"], &["debug"]),
    (
        "orlop checkpoint --manage-cgroups-mode ",
        &["soft", "full", "strict", "ignore"],
        &[],
    ),
    ("orlop mounts ", &["add", "remove"], &["web"]),
    ("orlop kill --signal T", &["TERM", "TSTP"], &["KILL"]),
    // Containers.
    ("orlop --root ROOT state ", &["web", "mail"], &["list"]),
    ("orlop --root=ROOT state ", &["web", "mail"], &[]),
    (
        "orlop --log /dev/null --root ROOT exec -it -e A=B ",
        &["web", "mail"],
        &[],
    ),
    ("orlop --root ROOT mounts add ", &["web", "mail"], &["add"]),
    ("orlop --root ROOT kill web ", &["mail", "TERM"], &[]),
    ("orlop --root ROOT kill ", &["web", "mail"], &["TERM"]),
    ("orlop --root ROOT delete --force web ", &["mail"], &[]),
    // Another state directory has none, the ID of a new container is new, and a program is not completed.
    ("orlop --root ROOT/none state ", &[], &[]),
    ("orlop --root ROOT create ", &[], &[]),
    ("orlop --root ROOT exec web ", &[], &[]),
    // Files and directories, which are those of the bundle.
    ("orlop create --bundle root", &["rootfs"], &["config.json"]),
    ("orlop create --config con", &["config.json"], &[]),
    ("orlop run root", &["rootfs"], &["web"]),
    ("orlop update --resources con", &["config.json"], &[]),
    ("orlop seccomp dump con", &["config.json"], &[]),
];

#[test]
fn bash_completes_verbs_options_values_containers_and_files() {
    check(Shell::Bash);
}

#[test]
fn zsh_completes_verbs_options_values_containers_and_files() {
    check(Shell::Zsh);
}

#[test]
fn fish_completes_verbs_options_values_containers_and_files() {
    check(Shell::Fish);
}

/// A verb that has been added is offered, with its options, without anything done for it.
#[test]
fn every_verb_and_every_option_is_in_every_script() {
    for file in orlop_manual::completions::files() {
        for verb in orlop_manual::verbs::program().all() {
            let name = verb.path.last().map_or("orlop", String::as_str);
            assert!(file.text.contains(name), "{}: {name}", file.path);
            for arg in verb.command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let Some(long) = arg.get_long() else { continue };
                let spelled = [format!("--{long}"), format!("-l {long}")];
                assert!(
                    spelled.iter().any(|option| file.text.contains(option)),
                    "{}: {long}",
                    file.path
                );
            }
        }
    }
}
