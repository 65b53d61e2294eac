//! docs/compat.md lists the verbs and options of runc and crun; each is passed to the parser in every spelling.

use std::ffi::OsString;

use orlop::called_as::CalledAs;
use orlop::cli::{self, Mistake, Stop};

/// The rows of the document's table with this header, cell by cell.
fn rows(head: &str) -> Vec<Vec<String>> {
    let text = include_str!("../../docs/compat.md");
    let table = text.split_once(head).unwrap_or_else(|| panic!("no table {head:?}")).1;
    table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            line.trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().to_string())
                .collect()
        })
        .collect()
}

fn unquoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// A value for a placeholder of the table.
fn value(name: &str) -> &str {
    match name {
        "AUTO" => "true",
        "CAP" => "CAP_KILL",
        "CGROUP" => "a/b",
        "FORMAT" | "LIST" => "json",
        "GID" | "N" | "UID" => "3",
        "KEY" => "name",
        "LEVEL" => "debug",
        "MANAGER" => "cgroupfs",
        "NAME=VALUE" => "A=b",
        "TIME" => "7s",
        "ADDRESS:PORT" => "[::1]:27",
        "METHOD" => "skip",
        "MODE" => "soft",
        "NAMESPACE" => "network",
        "PARENT" => "../before",
        "TYPE:NAME" => "selinux:u:r:t:s0",
        "CONTEXT" | "LABEL" | "PROFILE" | "SCHEMA" => "x",
        "DIR" | "FILE" => "/d",
        other => panic!("the table has an unknown placeholder {other:?}"),
    }
}

/// The words that a verb requires.
fn words_of(verb: &str) -> &'static str {
    match verb {
        "exec" => "id sh",
        "create" | "delete" | "events" | "kill" | "pause" | "ps" | "resume" | "run" | "start" | "state" | "update"
        | "checkpoint" | "restore" | "timings" | "inspect" | "debug" => "id",
        _ => "",
    }
}

/// The option that another one requires.
fn required_by(flag: &str) -> &'static [&'static str] {
    match flag.split(' ').next() {
        Some("--status-fd") => &["--lazy-pages"],
        _ => &[],
    }
}

fn line(verb: &str, flags: &[&str]) -> Vec<String> {
    let words = words_of(verb).split(' ').filter(|word| !word.is_empty());
    let flags = flags.iter().copied();
    let words: Vec<&str> = match verb {
        "before the verb" => flags.chain(["list"]).collect(),
        verb => [verb].into_iter().chain(flags).chain(words).collect(),
    };
    ["orlop"].into_iter().chain(words).map(String::from).collect()
}

/// The meaning of a line, or the mistake in it. All help is the same here.
fn meaning(line: &[String]) -> Result<String, Mistake> {
    match cli::parse(line.iter().map(OsString::from)) {
        Ok(cli) => Ok(format!("{cli:?}")),
        Err(Stop::Help(_)) => Ok("help".into()),
        Err(Stop::Mistake(mistake)) => Err(mistake),
    }
}

/// Every way to write an option of the table.
fn spellings(flag: &str) -> Vec<Vec<String>> {
    if let Some((name, _)) = flag.split_once("[=") {
        // Without its value it means something else.
        return ["", "-"].map(|dash| vec![format!("{dash}{}=/d", &name[1..])]).into();
    }
    let (name, value) = match flag.split_once(' ') {
        Some((name, named)) => (name, Some(value(named))),
        None => (flag, None),
    };
    let letters = name.trim_start_matches('-');
    let is_long = name.starts_with("--");
    let dashes: &[&str] = if is_long { &["--", "-"] } else { &["-"] };
    let mut all = Vec::new();
    for dashes in dashes {
        let name = format!("{dashes}{letters}");
        match value {
            Some(value) => all.extend([vec![name.clone(), value.into()], vec![format!("{name}={value}")]]),
            None => all.push(vec![name.clone()]),
        }
        match value {
            Some(value) if !is_long => all.push(vec![format!("{name}{value}")]),
            None if !matches!(letters, "help" | "h" | "?" | "usage") => {
                all.extend([vec![format!("{name}=true")], vec![format!("{name}=1")]]);
            }
            _ => {}
        }
    }
    all
}

#[test]
fn options_of_runc_and_crun_are_handled_as_documented() {
    let rows = rows("| Flag | Of | In | orlop |");
    assert!(rows.len() > 100, "{}", rows.len());
    for row in rows {
        let [flags, of, _, what] = row.as_slice() else {
            panic!("{row:?}")
        };
        let verb = of.trim_matches('`');
        assert!(what.starts_with("accepted"), "{row:?}");
        let required = unquoted(flags).first().map_or(&[][..], |flag| required_by(flag));
        let mut meant = Vec::new();
        for flag in unquoted(flags) {
            for spelling in spellings(flag) {
                let spelling: Vec<&str> = required
                    .iter()
                    .copied()
                    .chain(spelling.iter().map(String::as_str))
                    .collect();
                let line = line(verb, &spelling);
                match meaning(&line) {
                    Ok(cli) => meant.push(cli),
                    Err(mistake) => panic!("{line:?}: {:#}", mistake.error(CalledAs::Orlop)),
                }
            }
        }
        // All spellings of a row mean the same, and something.
        meant.dedup();
        assert_eq!(meant.len(), 1, "{row:?}: {meant:?}");
        assert_ne!(
            meant.first().cloned(),
            meaning(&line(verb, required)).ok(),
            "{row:?} changes nothing"
        );
    }
}

#[test]
fn verbs_of_runc_and_crun_are_handled_as_documented() {
    for row in rows("| Verb | In | orlop |") {
        let [verbs, _, what] = row.as_slice() else {
            panic!("{row:?}")
        };
        for verb in unquoted(verbs) {
            let meaning = meaning(&line(verb, &[]));
            let known = !matches!(meaning, Err(Mistake::UnknownVerb { .. }));
            assert_eq!(known, what.starts_with("accepted"), "{verb}: {what}");
        }
    }
}
