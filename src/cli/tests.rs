//! What the command line accepts, and how it answers anything else.

use std::path::PathBuf;

use clap::Parser;
use proptest::prelude::Strategy;

use super::values::{sub_cgroup, user};
use super::*;
use crate::called_as::CalledAs;

/// CVE-2026-30892.
#[test]
fn a_user_is_given_by_numbers_only() {
    let rejected = [
        "",
        "abc",
        "1x",
        "x1",
        "0x10",
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "-1",
        "+1",
        "1:",
        ":1",
        ":",
        "1:2:3",
        "1:-1",
        "1:4294967295",
        " 1",
        "1 ",
        "1.0",
        "1,2",
        "root",
        "\u{661}",
        "1\n",
    ];
    for text in rejected {
        assert!(user(text).is_err(), "{text:?} was accepted");
    }
    assert_eq!(user("0"), Ok(User { uid: 0, gid: None }));
    assert_eq!(
        user("1000:4294967294"),
        Ok(User {
            uid: 1000,
            gid: Some(4294967294)
        })
    );
}

#[test]
fn a_sub_cgroup_is_below_that_of_the_container() {
    for text in [
        "",
        "..",
        "../..",
        "/..",
        "a/../..",
        "a/..",
        "cpu:a",
        "cpu,memory:/",
        ":a",
    ] {
        assert!(sub_cgroup(text).is_err(), "{text:?} was accepted");
    }
    for (text, path) in [("/", ""), ("a", "a"), ("/a//b/", "a/b"), ("./a", "a"), ("..a", "..a")] {
        assert_eq!(sub_cgroup(text), Ok(PathBuf::from(path)));
    }
}

/// The meaning of a valid command line.
#[track_caller]
fn read(line: &[&str]) -> Cli {
    parse(line.iter().map(OsString::from)).unwrap_or_else(|stop| panic!("{line:?}: {}", said_by(&stop)))
}

/// The answer to a command line that does not lead to a verb.
#[track_caller]
fn said(line: &[&str]) -> String {
    match parse(line.iter().map(OsString::from)) {
        Ok(cli) => panic!("{line:?}: {cli:?}"),
        Err(stop) => said_by(&stop),
    }
}

fn said_by(stop: &Stop) -> String {
    match stop {
        Stop::Help(help) => help.text(CalledAs::Orlop),
        Stop::Mistake(mistake) => {
            let error = mistake.error(CalledAs::Orlop);
            let report = crate::error::Report::of(&error);
            format!("{} | {}", report.msg, report.hint.unwrap_or_default())
        }
    }
}

#[test]
fn the_last_value_of_a_repeated_option_counts() {
    let line = [
        "orlop", "--root", "a", "--log", "b", "--log=c", "--root=d", "kill", "-a", "-a", "x",
    ];
    let cli = read(&line);
    assert_eq!(cli.global.root, Some("d".into()));
    assert_eq!(cli.global.log, Some("c".into()));
}

/// Spellings that engines and people use: all lines of a group mean the same.
#[test]
fn all_spellings_mean_the_same() {
    let groups: &[&[&str]] = &[
        &[
            "--root /r --debug state x",
            "--root=/r --debug state x",
            "-root /r -debug state x",
            "-root=/r -debug=true state x",
            "--debug=1 --debug=false --debug --root /r state x",
            "--root /other --root /r --debug state -- x",
        ],
        &[
            "state x",
            "--debug=false state x",
            "--debug --debug=false state x",
            "-debug=0 -- state x",
        ],
        &[
            "create --bundle /b --no-pivot x",
            "create -b /b -no-pivot x",
            "create -b=/b --no-pivot=T x",
            "create -b/b x --no-pivot",
            "create -bundle=/b -no-pivot -- x",
        ],
        &[
            "run -d --keep x",
            "run --detach --keep x",
            "run -detach -keep x",
            "run -d=true --keep=true x",
        ],
        &["run --no-subreaper x", "run -no-subreaper x"],
        &[
            "exec -it -u 5:6 x sh -c ls",
            "exec -ti --user 5:6 x sh -c ls",
            "exec -i -tu5:6 x sh -c ls",
            "exec --interactive --tty=true -user=5:6 x sh -c ls",
            "exec -itu 5:6 -- x sh -c ls",
        ],
        &[
            "kill --signal KILL x",
            "kill -KILL x",
            "kill x -KILL",
            "kill -s KILL x",
            "kill -sKILL x",
        ],
        &["kill --signal 9 x", "kill -9 x", "kill x -9", "kill -signal=9 x"],
        &["kill -a --signal HUP x y", "kill -all x y -HUP", "kill --all -HUP x y"],
        &["kill --signal segv x", "kill -segv x"],
        &[
            "delete -f x y",
            "delete --force x y",
            "delete x y -force",
            "delete -force=true -- x y",
        ],
        &["delete -fr ^a", "delete --force --regex ^a", "delete -rf ^a"],
        &[
            "events --interval 5s x",
            "events --interval 5 x",
            "events -interval=5 x",
        ],
        &[
            "update --cpu-quota -1 x",
            "update --cpu-quota=-1 x",
            "update -cpu-quota -1 x",
        ],
        &[
            "list -f json -q",
            "list --format=json --quiet",
            "list -qf json",
            "list -qf=json",
        ],
        &[
            "checkpoint --image-path /i --empty-ns network --page-server [::1]:9 --status-fd 3 --lazy-pages x",
            "checkpoint -image-path=/i -empty-ns=network -page-server [::1]:9 -lazy-pages=1 -status-fd 3 x",
            "checkpoint x -lazy-pages --empty-ns network --empty-ns=network --status-fd=3 -page-server=[::1]:9 -image-path /i",
        ],
        &[
            "checkpoint x",
            "checkpoint --image-path checkpoint -- x",
            "checkpoint --pre-dump=false x",
        ],
        &[
            "restore -d -b /b --manage-cgroups-mode full x",
            "restore --detach --bundle=/b -manage-cgroups-mode=full x",
            "restore x -db/b --manage-cgroups-mode soft --manage-cgroups-mode full",
        ],
        &["ps -f json x", "ps -format json x", "ps --format=json x"],
        &["ps x -ef", "ps -- x -ef"],
        &["--version", "-v", "-V", "-version"],
        &["--log-level debug list", "-log-level=debug list"],
        &["seccomp explain p ioctl 3 -1", "seccomp explain -- p ioctl 3 -1"],
        &[
            "seccomp explain --arch x32 p 0",
            "seccomp explain -arch=x32 p 0",
            "seccomp explain p -arch x32 0",
        ],
    ];
    for group in groups {
        let meaning = |line: &&str| format!("{:?}", read(&words(line)));
        let first = meaning(&group[0]);
        for line in *group {
            assert_eq!(meaning(line), first, "{line}");
        }
    }
}

fn words(line: &str) -> Vec<&str> {
    std::iter::once("orlop").chain(line.split(' ')).collect()
}

#[test]
fn a_switch_is_on_or_off() {
    let tty = |line: &str| match read(&words(line)).verb {
        Some(Verb::Exec(exec)) => exec.tty,
        other => panic!("{other:?}"),
    };
    assert!(!tty("exec --tty=false x sh") && !tty("exec -t -t=false x sh") && !tty("exec -t -tty=F x sh"));
    assert!(tty("exec --tty=false -t x sh") && tty("exec --tty x --tty=false"));
    assert_eq!(
        said(&words("exec --tty=maybe x sh")),
        "--tty: invalid value \"maybe\": expected true or false | --tty alone turns it on, --tty=false turns it off"
    );
    // --debug is accepted before the verb.
    assert!(read(&words("--debug run x")).global.debug);
}

#[test]
fn a_value_may_look_like_an_option() {
    let cli = read(&words("--root --log --log -x exec --cwd /-- --env -e -c -t x y"));
    assert_eq!(cli.global.root, Some("--log".into()));
    assert_eq!(cli.global.log, Some("-x".into()));
    match cli.verb {
        Some(Verb::Exec(exec)) => {
            assert_eq!((exec.env, exec.cap), (vec!["-e".into()], vec!["-t".to_string()]));
            assert_eq!(exec.words, ["x", "y"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_id_is_never_taken_for_a_signal() {
    let table: &[(&str, &[&str], &str)] = &[
        ("kill x", &["x"], "SIGTERM"),
        ("kill x 9", &["x"], "9"),
        ("kill KILL TERM", &["KILL"], "TERM"),
        ("kill x y", &["x"], "y"),
        ("kill x y z KILL", &["x", "y", "z"], "KILL"),
        ("kill -9 x y KILL", &["x", "y", "KILL"], "9"),
        ("kill -s INT x", &["x"], "INT"),
        ("kill -99 x", &["x"], "99"),
    ];
    for (line, ids, signal) in table {
        match read(&words(line)).verb {
            Some(Verb::Kill(kill)) => {
                let (names, with) = kill.parts();
                assert_eq!(
                    (names, with),
                    (&ids.iter().map(|id| id.to_string()).collect::<Vec<_>>()[..], *signal),
                    "{line}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_unknown_option_is_answered_with_the_nearest() {
    let table = [
        (
            "create --bundel /b x",
            "create: unknown option \"--bundel\" | did you mean --bundle? `orlop create --help` lists the options",
        ),
        (
            "create -consol-socket=/b x",
            "create: unknown option \"-consol-socket\" | did you mean --console-socket? `orlop create --help` lists the options",
        ),
        (
            "run --pidfile f x",
            "run: unknown option \"--pidfile\" | did you mean --pid-file? `orlop run --help` lists the options",
        ),
        (
            "run --Detach x",
            "run: unknown option \"--Detach\" | did you mean --detach? `orlop run --help` lists the options",
        ),
        (
            "state --root /r x",
            "state: unknown option \"--root\" | write --root before the verb: orlop --root=VALUE state",
        ),
        (
            "state -debug x",
            "state: unknown option \"-debug\" | write --debug before the verb: orlop --debug state",
        ),
        (
            "--detach run x",
            "unknown option \"--detach\" | --detach is an option of run, exec, restore; write it after the verb: orlop run --detach",
        ),
        (
            "--rot /r state x",
            "unknown option \"--rot\" | did you mean --root? `orlop --help` lists the options",
        ),
        (
            "checkpoint --imagepath /i x",
            "checkpoint: unknown option \"--imagepath\" | did you mean --image-path? `orlop checkpoint --help` lists the options",
        ),
        (
            "restore -lsm-profil=apparmor:x x",
            "restore: unknown option \"-lsm-profil\" | did you mean --lsm-profile? `orlop restore --help` lists the options",
        ),
        (
            "--image-path /i restore x",
            "unknown option \"--image-path\" | --image-path is an option of checkpoint, restore; write it after the verb: orlop checkpoint --image-path",
        ),
        (
            "--zzzzz state x",
            "unknown option \"--zzzzz\" | `orlop --help` lists the options",
        ),
        (
            "exec -x c sh",
            "exec: unknown option \"-x\" | `orlop exec --help` lists the options",
        ),
        (
            "exec -tx c sh",
            "exec: unknown option \"-tx\" | `orlop exec --help` lists the options",
        ),
        (
            "state x -9",
            "state: unknown option \"-9\" | `orlop state --help` lists the options",
        ),
        (
            "kill x -NOSUCH",
            "kill: unknown option \"-NOSUCH\" | `orlop kill --help` lists the options",
        ),
        (
            "seccomp dump --arhc x p",
            "seccomp dump: unknown option \"--arhc\" | `orlop seccomp dump --help` lists the options",
        ),
        (
            "seccomp explain --arhc x p",
            "seccomp explain: unknown option \"--arhc\" | did you mean --arch? `orlop seccomp explain --help` lists the options",
        ),
    ];
    for (line, expected) in table {
        assert_eq!(said(&words(line)), expected, "{line}");
    }
}

#[test]
fn no_hint_suggests_two_dashes() {
    for line in [
        "state x y",
        "state -- x -9",
        "list -- -q",
        "kill",
        "create",
        "run -- --x y",
        "crate -x",
        "spec -- -9",
    ] {
        let said = said(&words(line));
        assert!(!said.contains("-- "), "{line}: {said}");
    }
}

#[test]
fn everything_after_the_id_belongs_to_the_program() {
    let words = |line: &[&str]| {
        let line = [&["orlop", "exec"], line].concat();
        match read(&line).verb {
            Some(Verb::Exec(exec)) => exec,
            other => panic!("{other:?}"),
        }
    };
    for command in [
        ["ls", "-t", "--user", "x"],
        ["-t", "--", "--tty", "-"],
        ["--", "ls", "--", "-t"],
        ["run", "--bundle", "", "--help"],
    ] {
        let exec = words(&[&["-u", "5", "web"], command.as_slice()].concat());
        assert_eq!(exec.user, Some(User { uid: 5, gid: None }));
        assert!(!exec.tty);
        assert_eq!(exec.words[1..], command);
    }
}

proptest::proptest! {
    /// The single spelling of a line has the meaning of the line, and does not change when it is spelled again.
    #[test]
    fn the_single_spelling_means_the_same(
        options in proptest::collection::vec(
            proptest::sample::select(vec![
                "--debug", "--debug=false", "-debug", "--root /r", "-root=/q", "--log-format json", "--systemd-cgroup=1", "-strict",
            ]),
            0..5,
        ),
        own in proptest::collection::vec(
            proptest::sample::select(vec![
                "-t", "--tty=false", "-it", "-e A=1", "-eB=2", "--env=C=--", "-u 5", "--cwd /x", "-dt", "-preserve-fds 3", "-c=CAP_X",
            ]),
            0..6,
        ),
        command in proptest::collection::vec("[a-z-]{1,6}|--|-t", 0..4),
    ) {
        let words = options.iter().chain(["exec"].iter()).chain(&own).chain(["id"].iter()).flat_map(|word| word.split(' '));
        let line: Vec<OsString> = ["orlop"].into_iter().chain(words).chain(command.iter().map(String::as_str)).map(OsString::from).collect();
        let again = respell(line.clone()).expect("a valid line").line;
        let thrice = respell(again.clone()).expect("a valid line").line;
        assert_eq!(again, thrice);
        let meaning = |line: Vec<OsString>| parse(line).map(|cli| format!("{cli:?}")).map_err(|stop| said_by(&stop));
        assert_eq!(meaning(again), meaning(line.clone()));
        // clap agrees, where its own parser accepts the spelling.
        if let Ok(cli) = Cli::try_parse_from(&line)
            && !line.iter().any(|word| word == "--" || (word.len() > 4 && !word.to_string_lossy().starts_with("--")))
        {
            assert_eq!(Ok(format!("{cli:?}")), meaning(line));
        }
    }

    #[test]
    fn any_words_are_a_command_line_or_a_mistake(
        words in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::sample::select(vec![
                    "run", "create", "exec", "debug", "checkpoint", "restore", "mounts", "add", "kill", "update", "seccomp", "explain", "events", "spec", "state", "list", "--", "-",
                    "--root", "--log=x", "--log-format", "--debug", "--bundle", "-b", "-d", "-t", "--user", "--env", "--process",
                    "-it", "-9", "-KILL", "--debug=false", "-root", "-log=y", "-no-pivot", "--tty=true", "-tu", "--interval",
                    "--cap", "--preserve-fds", "--memory", "--unified", "--page-server", "--pre-dump", "--lazy-pages", "--status-fd", "--seccomp-log", "--seccomp-log=allow", "1:2", "a=b", "5M",
                ]).prop_map(String::from),
                ".{0,8}",
                "--[a-z-]{0,12}=?[0-9a-z:]{0,6}",
            ],
            0..8,
        ),
    ) {
        let line = || ["orlop".to_string()].into_iter().chain(words.iter().cloned());
        let words = || line().map(OsString::from);
        match parse(words()) {
            Ok(cli) => {
                // What is found on a line that may be wrong is what a valid line means.
                if matches!(cli.verb, Some(Verb::Create(_) | Verb::Exec(_) | Verb::Mounts(_) | Verb::Run(_))) {
                    assert!(crate::self_protect::is_called_for(words()));
                }
                let executes = matches!(cli.verb, Some(Verb::Exec(_) | Verb::Debug(_)));
                assert_eq!(calls_exec(words()), executes);
                assert_eq!(log_of(words()), (cli.global.log, cli.global.log_format));
            }
            Err(stop) => {
                assert!(!said_by(&stop).is_empty());
                let _ = (log_of(words()), calls_exec(words()));
            }
        }
    }
}

/// The options of a verb cost nothing unless it is called, and the texts of the help nothing unless they are printed.
#[test]
fn only_the_verb_that_is_called_is_built() {
    let respelled = respell(vec!["orlop".into(), "state".into(), "x".into()]).expect("a valid line");
    let built: Vec<&str> = respelled.command.get_subcommands().map(Command::get_name).collect();
    assert_eq!(built, ["state"]);
    let state = respelled.command.find_subcommand("state").expect("the verb");
    assert!(state.get_about().is_none() && state.get_after_help().is_none() && state.get_after_long_help().is_none());
}

/// The kernel's entry looks for these words before anything is parsed (`src/entry.rs`).
#[test]
fn verbs_that_need_a_protected_binary_are_verbs() {
    let protected: Vec<&str> = Verb::ALL
        .iter()
        .map(|(verb, _)| *verb)
        .filter(|verb| crate::self_protect::is_called_for([OsString::from("orlop"), verb.into()]))
        .collect();
    assert_eq!(protected, ["create", "run", "exec", "mounts"]);
    assert_eq!(crate::self_protect::VERBS.len(), protected.len());
}
