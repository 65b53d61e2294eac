//! sd_notify(3) messages on their way from the container to the service manager.

use orlop::foreground::notify::{Translated, translate};

/// As if the container's processes 1 and 5 were 4001 and 4005 on the host.
fn on_host(pid: i32) -> Option<i32> {
    [1, 5].contains(&pid).then_some(4000 + pid)
}

fn text(message: &str) -> (String, bool) {
    let Translated { text, ready } = translate(message.as_bytes(), 77, on_host);
    (String::from_utf8(text).unwrap(), ready)
}

#[test]
fn what_is_not_about_processes_passes_unchanged() {
    for message in [
        "STATUS=half way",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=123",
        "STOPPING=1",
        "BARRIER=1",
        "EXTEND_TIMEOUT_USEC=5000000",
        "READY=0",
        "ERRNO=2\nBUSERROR=org.example.Lost\nEXIT_STATUS=3",
    ] {
        assert_eq!(text(message), (message.to_string(), false));
    }
    let bytes = b"STATUS=\xff\xfe";
    assert_eq!(translate(bytes, 77, on_host).text, bytes);
}

/// Power over the manager, and what nobody knows.
#[test]
fn only_what_is_about_the_services_state_passes() {
    for line in [
        "FDSTORE=1",
        "FDSTOREREMOVE=1",
        "FDNAME=log",
        "FDPOLL=0",
        "NOTIFYACCESS=all",
        "WATCHDOG_USEC=1",
        "MAINPIDFD=1",
        "MAINPIDFDID=7",
        "NOTREADY=1",
        "X_MAINPID=5",
        "ready=1",
        " READY=1",
        "READY",
        "no name",
    ] {
        assert_eq!(text(line), (String::new(), false), "{line}");
        let among = format!("STATUS=up\n{line}\nSTOPPING=1");
        assert_eq!(text(&among), ("STATUS=up\nSTOPPING=1".into(), false), "{line}");
    }
}

#[test]
fn ready_names_the_main_process() {
    assert_eq!(text("READY=1"), ("READY=1\nMAINPID=77".into(), true));
    assert_eq!(text("READY=1\n"), ("READY=1\nMAINPID=77".into(), true));
    assert_eq!(
        text("STATUS=up\nREADY=1"),
        ("STATUS=up\nREADY=1\nMAINPID=77".into(), true)
    );
}

#[test]
fn process_ids_become_those_of_the_host() {
    assert_eq!(text("MAINPID=5"), ("MAINPID=4005".into(), false));
    assert_eq!(text("READY=1\nMAINPID=1"), ("READY=1\nMAINPID=4001".into(), true));
    // Nobody has that number in the container; somebody else may have it on the host.
    assert_eq!(text("READY=1\nMAINPID=6"), ("READY=1\nMAINPID=77".into(), true));
    for wrong in [
        "MAINPID=6",
        "MAINPID=",
        "MAINPID=x",
        "MAINPID=-1",
        "MAINPID=99999999999",
    ] {
        assert_eq!(text(wrong), (String::new(), false), "{wrong}");
    }
}

proptest::proptest! {
    /// A container writes what it likes: no process of the host is named but its own, and lines about others are kept.
    #[test]
    fn of_any_message_only_own_processes_are_named(
        message in "(READY=1|MAINPID=|[0-9-]{0,12}|STATUS=|[a-zé]{0,3}|\n|=){0,20}",
        noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
    ) {
        for bytes in [message.as_bytes(), &noise] {
            let Translated { text, ready } = translate(bytes, 77, on_host);
            let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
            let mains = lines.iter().filter_map(|line| line.strip_prefix(b"MAINPID="));
            for main in mains {
                assert!([&b"77"[..], b"4001", b"4005"].contains(&main), "{text:?}");
            }
            assert_eq!(ready, lines.contains(&&b"READY=1"[..]));
        }
    }
}
