//! Translation of sd_notify(3) messages from the container for the service manager.

use orlop::foreground::notify::{Translated, translate};

/// The container's processes 1 and 5 have the pids 4001 and 4005 on the host.
fn host_pid(pid: i32) -> Option<i32> {
    [1, 5].contains(&pid).then_some(4000 + pid)
}

fn text(message: &str) -> (String, bool) {
    let Translated { text, ready } = translate(message.as_bytes(), 77, host_pid);
    (String::from_utf8(text).unwrap(), ready)
}

#[test]
fn messages_that_are_not_about_processes_are_unchanged() {
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
    assert_eq!(translate(bytes, 77, host_pid).text, bytes);
}

/// Messages that control the manager, and unknown ones, are dropped.
#[test]
fn only_messages_about_the_services_state_are_passed_on() {
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
    // No process has this pid in the container, but another one may have it on the host.
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
    /// A container may send anything: the only processes of the host in the result are its own.
    #[test]
    fn any_translated_message_names_only_processes_of_the_container(
        message in "(READY=1|MAINPID=|[0-9-]{0,12}|STATUS=|[a-zé]{0,3}|\n|=){0,20}",
        noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
    ) {
        for bytes in [message.as_bytes(), &noise] {
            let Translated { text, ready } = translate(bytes, 77, host_pid);
            let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
            let mains = lines.iter().filter_map(|line| line.strip_prefix(b"MAINPID="));
            for main in mains {
                assert!([&b"77"[..], b"4001", b"4005"].contains(&main), "{text:?}");
            }
            assert_eq!(ready, lines.contains(&&b"READY=1"[..]));
        }
    }
}
