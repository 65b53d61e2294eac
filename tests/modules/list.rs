//! The output of `list`, compared with what runc 1.1.5 prints for the same two containers.

use orlop::commands::list::output::{self, Row};

fn running() -> Row {
    Row {
        oci_version: "1.0.2-dev".into(),
        id: "c-short".into(),
        pid: 7311,
        status: "running".into(),
        bundle: "/tmp/sp/b1".into(),
        rootfs: "/tmp/sp/b1/rootfs".into(),
        created: "2026-11-21T07:17:40.260268247Z".into(),
        annotations: [("z.b".into(), "x".into()), ("a.c".into(), "ü".into())].into(),
        step: None,
        owner: "root".into(),
    }
}

fn created() -> Row {
    Row {
        id: "a-much-longer-container-name-than-twelve".into(),
        pid: 7367,
        status: "created".into(),
        created: "2026-11-21T07:17:40.404067508Z".into(),
        annotations: Default::default(),
        ..running()
    }
}

#[test]
fn an_empty_table_has_only_the_header() {
    assert_eq!(
        output::table(&[]),
        "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
    );
}

#[test]
fn column_widths_are_those_of_runc() {
    let expected = "\
ID                                         PID         STATUS      BUNDLE       CREATED                          OWNER
a-much-longer-container-name-than-twelve   7367        created     /tmp/sp/b1   2026-11-21T07:17:40.404067508Z   root
c-short                                    7311        running     /tmp/sp/b1   2026-11-21T07:17:40.260268247Z   root
";
    assert_eq!(output::table(&[created(), running()]), expected);
}

#[test]
fn a_stopped_container_shows_pid_0() {
    let row = Row {
        pid: 0,
        status: "stopped".into(),
        ..running()
    };
    let table = output::table(&[row]);
    assert!(
        table
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("c-short     0           stopped     /tmp/sp/b1   "),
        "{table}"
    );
}

#[test]
fn widths_are_in_characters_not_bytes() {
    let row = Row {
        bundle: "/bündel/größe".into(),
        ..running()
    };
    let table = output::table(&[row]);
    let column = |line: &str, word: &str| line.split(word).next().unwrap().chars().count();
    let mut lines = table.lines();
    assert_eq!(
        column(lines.next().unwrap(), "CREATED"),
        column(lines.next().unwrap(), "2026")
    );
}

#[test]
fn control_characters_cannot_break_the_table() {
    let row = Row {
        bundle: "/a\tb\nc\u{1b}[2J".into(),
        ..running()
    };
    let table = output::table(&[row]);
    assert_eq!(table.lines().count(), 2);
    assert!(table.contains(r"/a\tb\nc\u{1b}[2J"), "{table}");
}

#[test]
fn json_without_containers_is_null() {
    assert_eq!(output::json(&[]), "null\n");
}

#[test]
fn json_is_that_of_runc() {
    let expected = concat!(
        r#"[{"ociVersion":"1.0.2-dev","id":"a-much-longer-container-name-than-twelve","pid":7367,"status":"created","#,
        r#""bundle":"/tmp/sp/b1","rootfs":"/tmp/sp/b1/rootfs","created":"2026-11-21T07:17:40.404067508Z","owner":"root"},"#,
        r#"{"ociVersion":"1.0.2-dev","id":"c-short","pid":7311,"status":"running","bundle":"/tmp/sp/b1","#,
        r#""rootfs":"/tmp/sp/b1/rootfs","created":"2026-11-21T07:17:40.260268247Z","#,
        r#""annotations":{"a.c":"ü","z.b":"x"},"owner":"root"}]"#,
        "\n"
    );
    assert_eq!(output::json(&[created(), running()]), expected);
}

#[test]
fn quiet_prints_ids_only() {
    assert_eq!(
        output::quiet(&[created().id, running().id]),
        "a-much-longer-container-name-than-twelve\nc-short\n"
    );
    assert_eq!(output::quiet(&[]), "");
}
