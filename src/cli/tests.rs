//! What the command line understands.

use proptest::prelude::Strategy;

use super::*;

/// CVE-2026-30892.
#[test]
fn a_user_is_numbers_and_nothing_else() {
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
fn a_sub_cgroup_stays_below_the_containers() {
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

/// What a command line means; it must be a good one.
#[track_caller]
fn read(line: &[&str]) -> Cli {
    parse(line.iter().map(OsString::from)).unwrap_or_else(|answer| panic!("{line:?}: {:#}", mistake(&answer)))
}

/// What is said to a command line that must not be a good one.
#[track_caller]
fn said(line: &[&str]) -> String {
    match parse(line.iter().map(OsString::from)) {
        Ok(cli) => panic!("{line:?}: {cli:?}"),
        Err(answer) => {
            let error = mistake(&answer);
            let report = crate::error::Report::of(&error);
            format!("{} | {}", report.msg, report.hint.unwrap_or_default())
        }
    }
}

#[test]
fn the_last_of_a_repeated_flag_counts() {
    let line = [
        "orlop", "--root", "a", "--log", "b", "--log=c", "--root=d", "kill", "-a", "-a", "x",
    ];
    let cli = read(&line);
    assert_eq!(cli.global.root, Some("d".into()));
    assert_eq!(cli.global.log, Some("c".into()));
}

/// Engines, people and other programs' habits: each line of a group means the same.
#[test]
fn every_spelling_means_the_same() {
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
        "--tty: \"maybe\" is neither true nor false | --tty alone is enough; --tty=false takes it back"
    );
    // Only in its own place: of the verb, this is not the global one.
    assert!(read(&words("--debug run x")).global.debug);
}

#[test]
fn a_value_may_look_like_a_flag() {
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
fn the_signal_is_never_guessed_among_ids() {
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
fn an_unknown_flag_is_told_the_nearest() {
    let table = [
        (
            "create --bundel /b x",
            "create: unknown flag \"--bundel\" | did you mean --bundle? `orlop create --help` lists the flags",
        ),
        (
            "create -consol-socket=/b x",
            "create: unknown flag \"-consol-socket\" | did you mean --console-socket? `orlop create --help` lists the flags",
        ),
        (
            "run --pidfile f x",
            "run: unknown flag \"--pidfile\" | did you mean --pid-file? `orlop run --help` lists the flags",
        ),
        (
            "run --Detach x",
            "run: unknown flag \"--Detach\" | did you mean --detach? `orlop run --help` lists the flags",
        ),
        (
            "state --root /r x",
            "state: unknown flag \"--root\" | --root belongs before the verb: orlop --root=VALUE state",
        ),
        (
            "state -debug x",
            "state: unknown flag \"-debug\" | --debug belongs before the verb: orlop --debug state",
        ),
        (
            "--detach run x",
            "unknown flag \"--detach\" | --detach is a flag of run, exec, and belongs after the verb: orlop run --detach",
        ),
        (
            "--rot /r state x",
            "unknown flag \"--rot\" | did you mean --root? `orlop --help` lists the flags",
        ),
        (
            "--zzzzz state x",
            "unknown flag \"--zzzzz\" | `orlop --help` lists the flags",
        ),
        (
            "exec -x c sh",
            "exec: unknown flag \"-x\" | `orlop exec --help` lists the flags",
        ),
        (
            "exec -tx c sh",
            "exec: unknown flag \"-tx\" | `orlop exec --help` lists the flags",
        ),
        (
            "state x -9",
            "state: unknown flag \"-9\" | `orlop state --help` lists the flags",
        ),
        (
            "kill x -NOSUCH",
            "kill: unknown flag \"-NOSUCH\" | `orlop kill --help` lists the flags",
        ),
        (
            "seccomp dump --arhc x p",
            "seccomp dump: unknown flag \"--arhc\" | `orlop seccomp dump --help` lists the flags",
        ),
        (
            "seccomp explain --arhc x p",
            "seccomp explain: unknown flag \"--arhc\" | did you mean --arch? `orlop seccomp explain --help` lists the flags",
        ),
    ];
    for (line, expected) in table {
        assert_eq!(said(&words(line)), expected, "{line}");
    }
}

#[test]
fn no_mistake_is_answered_with_two_dashes() {
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
fn what_follows_the_id_is_the_commands() {
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
    /// The one spelling of a line means what it means, however often it is spelled anew.
    #[test]
    fn a_line_spelled_anew_means_the_same(
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
        let (_, again) = respell(line.clone()).expect("a good line");
        let (_, thrice) = respell(again.clone()).expect("a good line");
        assert_eq!(again, thrice);
        let meaning = |line: Vec<OsString>| parse(line).map(|cli| format!("{cli:?}")).map_err(|answer| mistake(&answer).to_string());
        assert_eq!(meaning(again), meaning(line.clone()));
        // clap itself agrees about all that has one meaning for it too.
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
                    "run", "create", "exec", "kill", "update", "seccomp", "explain", "events", "spec", "state", "list", "--", "-",
                    "--root", "--log=x", "--log-format", "--debug", "--bundle", "-b", "-d", "-t", "--user", "--env", "--process",
                    "-it", "-9", "-KILL", "--debug=false", "-root", "-log=y", "-no-pivot", "--tty=true", "-tu", "--interval",
                    "--cap", "--preserve-fds", "--memory", "--unified", "--seccomp-log", "--seccomp-log=allow", "1:2", "a=b", "5M",
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
                // What is found on a line that may be wrong is what is meant by a good one.
                if matches!(cli.verb, Some(Verb::Create(_) | Verb::Exec(_) | Verb::Run(_))) {
                    assert!(crate::launch::self_protect::is_called_for(words()));
                }
                let executes = matches!(cli.verb, Some(Verb::Exec(_)));
                assert_eq!(calls_exec(words()), executes);
                assert_eq!(log_of(words()), (cli.global.log, cli.global.log_format));
            }
            Err(answer) => {
                assert!(!format!("{:#}", mistake(&answer)).is_empty());
                let _ = (log_of(words()), calls_exec(words()));
            }
        }
    }
}

/// `orlop create --help` says what `orlop --help` says of `create`.
#[test]
fn every_verb_tells_what_it_is_for() {
    let mut command = Cli::command();
    let told: Vec<(String, String)> = command
        .get_subcommands()
        .map(|verb| (verb.get_name().into(), verb.get_about().expect("a line").to_string()))
        .collect();
    for (verb, about) in told {
        let help = command
            .try_get_matches_from_mut(["orlop", &verb, "--help"])
            .expect_err("the help")
            .to_string();
        assert_eq!(help.lines().next(), Some(about.as_str()), "{help}");
    }
}

/// `orlop help create` is `orlop create --help`, as with runc.
#[test]
fn help_is_a_verb_too() {
    let help = |words: &[&str]| {
        let words = [&["orlop"], words].concat();
        Cli::command()
            .try_get_matches_from(words)
            .expect_err("the help")
            .to_string()
    };
    assert_eq!(help(&["help", "create"]), help(&["create", "--help"]));
    assert_eq!(help(&["help"]), help(&["--help"]));
}
