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

#[test]
fn the_last_of_a_repeated_flag_counts() {
    let line = [
        "orlop", "--root", "a", "--log", "b", "--log=c", "--root=d", "kill", "-a", "-a", "x",
    ];
    let cli = Cli::try_parse_from(line).unwrap();
    assert_eq!(cli.global.root, Some("d".into()));
    assert_eq!(cli.global.log, Some("c".into()));
}

#[test]
fn a_verb_alone_is_understood_as_among_all() {
    let read = |command: Command, line: &[&str]| {
        let words = ["orlop"].iter().chain(line).map(OsString::from);
        understood(command, words).map(|cli| format!("{cli:?}"))
    };
    let table: &[&[&str]] = &[
        &["run", "--bundle", "a", "x"],
        &[
            "--root",
            "/r",
            "--log-format=json",
            "--debug",
            "run",
            "-d",
            "--preserve-fds",
            "3",
            "x",
        ],
        &["--root", "run", "state", "x"],
        &["--log", "exec", "run", "state"],
        &["exec", "-t", "x", "run", "--tty"],
        &["kill", "-a", "-a", "x"],
        &["update", "--memory", "5M", "x"],
        &["seccomp", "dump", "x"],
        &["features"],
        &["run"],
        &["run", "--bogus", "x"],
        &["run", "--help"],
        &["-v", "run"],
        &["state", "x", "y"],
    ];
    for line in table {
        let verb = Verb::called_by(["orlop"].iter().chain(*line).map(OsString::from)).expect("a verb");
        let whole = read(Cli::command(), line);
        match read(Cli::with(verb), line) {
            Ok(alone) => assert_eq!(Some(alone), whole.ok(), "{line:?}"),
            // A mistake, or a value that is spelled like a verb: the whole is asked.
            Err(_) => assert!(whole.is_err() || line.starts_with(&["--root"]) || line.starts_with(&["--log"])),
        }
    }
}

#[test]
fn what_follows_the_id_is_the_commands() {
    let words = |line: &[&str]| {
        let line = ["orlop", "exec"].iter().chain(line);
        match Cli::try_parse_from(line).expect("a command line").verb {
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
    #[test]
    fn any_words_are_a_command_line_or_a_mistake(
        words in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::sample::select(vec![
                    "run", "create", "exec", "kill", "update", "seccomp", "explain", "events", "spec", "state", "list", "--", "-",
                    "--root", "--log=x", "--log-format", "--debug", "--bundle", "-b", "-d", "-t", "--user", "--env", "--process",
                    "--cap", "--preserve-fds", "--memory", "--unified", "--seccomp-log", "--seccomp-log=allow", "1:2", "a=b", "5M",
                ]).prop_map(String::from),
                ".{0,8}",
                "--[a-z-]{0,12}=?[0-9a-z:]{0,6}",
            ],
            0..8,
        ),
    ) {
        let line = || ["orlop".to_string()].into_iter().chain(words.iter().cloned());
        if let Err(said) = Cli::try_parse_from(line()) {
            assert!(!format!("{:#}", mistake(&said)).is_empty());
        }
        let _ = log_of(line().map(OsString::from));
        let _ = calls_exec(line().map(OsString::from));
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
