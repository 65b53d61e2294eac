//! sd_notify(3): from the container's process through the runtime to the service manager.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::users::remapped as in_user_namespace;
use crate::harness::{Bundle, Cmd, eventually, receive};

/// The manager's end.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(bundle: &Bundle) -> Self {
        let path = bundle.path("manager");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        Manager { socket, path }
    }

    fn tell(&self, cmd: Cmd) -> Cmd {
        cmd.env("NOTIFY_SOCKET", self.path.to_str().unwrap())
    }

    /// The next message and its descriptor.
    #[track_caller]
    fn next_with(&self) -> (String, Option<OwnedFd>) {
        let (text, fd) = receive(&self.socket);
        (String::from_utf8_lossy(&text).into_owned(), fd)
    }

    #[track_caller]
    fn next(&self) -> String {
        let (text, fd) = self.next_with();
        assert!(fd.is_none(), "a descriptor with {text}");
        text
    }

    /// Answers the barrier of the runtime.
    #[track_caller]
    fn barrier(&self) {
        let (text, fd) = self.next_with();
        assert_eq!((text.as_str(), fd.is_some()), ("BARRIER=1", true));
    }
}

fn service(steps: &[&str]) -> Bundle {
    Bundle::new().args([&["probe", "notify"], steps].concat())
}

#[test]
fn start_waits_for_ready_and_names_the_main_process() {
    for bundle in [
        service(&["wait", "STATUS=warming up", "READY=1", "sleep"]),
        in_user_namespace(service(&["STATUS=warming up", "READY=1", "sleep"]))
            .edit(|c| c["process"]["user"]["uid"] = json!(1000)),
    ] {
        // Root of a user namespace cannot create files in an image that it does not own.
        std::fs::create_dir_all(bundle.inside("/run/notify")).unwrap();
        let manager = Manager::new(&bundle);
        let id = bundle.fresh_id();
        manager.tell(bundle.create_cmd(&id, &[])).run().ok();
        let mut start = manager.tell(bundle.orlop(["start", &id])).spawn();
        assert_eq!(manager.next(), "STATUS=warming up");
        let pid = bundle.orlop(["state", &id]).run().ok().json()["pid"].clone();
        assert_eq!(manager.next(), format!("READY=1\nMAINPID={pid}"));
        let (text, fd) = manager.next_with();
        assert_eq!(text, "BARRIER=1");
        // Time for `start` to return too early.
        std::thread::sleep(Duration::from_millis(50));
        assert!(!start.has_ended(), "the manager has not read it yet");
        drop(fd);
        assert_eq!(start.wait().code, 0);
    }
}

#[test]
fn run_detached_waits_for_ready() {
    let bundle = service(&["READY=1", "sleep"]);
    let manager = Manager::new(&bundle);
    let run = manager.tell(bundle.run_cmd(&["--detach"])).spawn();
    let ready = manager.next();
    let pid: Value = serde_json::from_str(ready.strip_prefix("READY=1\nMAINPID=").expect(&ready)).unwrap();
    manager.barrier();
    run.wait().ok();
    let list = bundle.orlop(["list", "--format", "json"]).run().ok().json();
    assert_eq!(list[0]["pid"], pid);
}

#[test]
fn run_in_the_foreground_forwards_later_messages() {
    let bundle = service(&[
        "READY=1",
        "WATCHDOG=1",
        "STATUS=running\\nEXTEND_TIMEOUT_USEC=5",
        "RELOADING=1",
        "STOPPING=1\\nERRNO=2",
    ]);
    let manager = Manager::new(&bundle);
    let shell = bundle.path("pid");
    let run = manager
        .tell(
            bundle
                .run_cmd(&[])
                .through_shell(&format!("echo $$ >{}", shell.display())),
        )
        .spawn();
    let ready = manager.next();
    // It stays with the container, and is the process that the manager already knows.
    let runtime = std::fs::read_to_string(&shell).unwrap();
    assert_eq!(ready, format!("READY=1\nMAINPID={}", runtime.trim()));
    for message in [
        "WATCHDOG=1",
        "STATUS=running\nEXTEND_TIMEOUT_USEC=5",
        "RELOADING=1",
        "STOPPING=1\nERRNO=2",
    ] {
        assert_eq!(manager.next(), message);
    }
    run.wait().ok();
}

#[test]
fn the_containers_pids_become_the_hosts() {
    let bundle = service(&["fork", "READY=1\\nMAINPID=CHILD", "MAINPID=1", "sleep"]);
    let manager = Manager::new(&bundle);
    let run = manager.tell(bundle.run_cmd(&["--detach"])).spawn();
    let ready = manager.next();
    let child = ready.strip_prefix("READY=1\nMAINPID=").expect(&ready);
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    // The PID in the container is the innermost; the child is its second process.
    assert_eq!((numbers.first(), numbers.last()), (Some(&child), Some(&"2")));
    // The next message was sent before or after the runtime's barrier.
    let mut rest = [manager.next_with().0, manager.next_with().0];
    rest.sort();
    let list = bundle.orlop(["list", "--format", "json"]).run().ok().json();
    assert_eq!(rest, ["BARRIER=1".to_owned(), format!("MAINPID={}", list[0]["pid"])]);
    run.wait().ok();
}

/// On the host it might be another process.
#[test]
fn a_pid_without_a_process_in_the_container_is_dropped() {
    let bundle = service(&["MAINPID=4000000", "STATUS=after"]);
    let manager = Manager::new(&bundle);
    let run = manager.tell(bundle.run_cmd(&[])).spawn();
    assert_eq!(manager.next(), "STATUS=after");
    run.wait().ok();
}

/// sd_notify_barrier(3): the descriptor is forwarded, and the container sees when the manager closes it.
#[test]
fn a_barrier_reaches_the_manager() {
    let bundle = service(&["READY=1", "barrier"]);
    let manager = Manager::new(&bundle);
    let mut run = manager.tell(bundle.run_cmd(&[])).spawn();
    assert!(manager.next().starts_with("READY=1\n"));
    let (text, fd) = manager.next_with();
    assert_eq!((text.as_str(), fd.is_some()), ("BARRIER=1", true));
    // Time for the container to go on too early.
    std::thread::sleep(Duration::from_millis(50));
    assert!(!run.stdout().contains("barrier") && !run.has_ended());
    drop(fd);
    assert!(run.wait().ok().stdout.contains("barrier"));
}

/// A container must have no power over the manager: the manager stores no descriptor of it, and it cannot act for another
/// service.
#[test]
fn only_the_services_state_reaches_the_manager() {
    let bundle = service(&[
        "fd:STATUS=one\\nFDSTORE=1\\nFDNAME=mine",
        "fd:FDSTORE=1",
        "NOTIFYACCESS=all\\nWATCHDOG_USEC=1",
        "STATUS=two\\nX_UNKNOWN=1",
    ]);
    let manager = Manager::new(&bundle);
    let run = manager.tell(bundle.run_cmd(&[])).spawn();
    assert_eq!(manager.next(), "STATUS=one");
    assert_eq!(manager.next(), "STATUS=two");
    run.wait().ok();
}

#[test]
fn the_wait_for_ready_ends_with_the_container() {
    let bundle = service(&["STATUS=giving up"]);
    let manager = Manager::new(&bundle);
    manager.tell(bundle.run_cmd(&["--detach"])).run().ok();
    assert_eq!(manager.next(), "STATUS=giving up");
}

#[test]
fn the_container_is_usable_while_start_waits_for_ready() {
    let bundle = service(&["STATUS=never ready", "sleep"]);
    let manager = Manager::new(&bundle);
    let id = bundle.fresh_id();
    manager.tell(bundle.create_cmd(&id, &[])).run().ok();
    let start = manager.tell(bundle.orlop(["start", &id])).spawn();
    assert_eq!(manager.next(), "STATUS=never ready");
    assert_eq!(bundle.orlop(["state", &id]).run().ok().json()["status"], "running");
    bundle.orlop(["delete", "--force", &id]).run().ok();
    start.wait().ok();
    bundle.assert_clean();
}

#[test]
fn the_container_sees_only_the_socket() {
    let bundle = Bundle::new()
        .args(["probe", "facts", "/run/notify", "/run/notify/notify.sock"])
        .edit(|c| {
            c["process"]["env"] = json!(["PATH=/bin", "NOTIFY_SOCKET=/of/the/config"]);
        });
    let manager = Manager::new(&bundle);
    let facts = crate::harness::Facts(manager.tell(bundle.run_cmd(&[])).run().ok().json());
    assert_eq!(facts.path("/run/notify")["mode"], "0755");
    let socket = facts.path("/run/notify/notify.sock");
    assert_eq!((&socket["type"], &socket["mode"]), (&json!("socket"), &json!("0777")));
    let options = facts.options("/run/notify");
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(options.iter().any(|found| found == option), "{option}: {options:?}");
    }
    let env = facts["env"].as_array().unwrap();
    let named: Vec<&Value> = env
        .iter()
        .filter(|e| e.as_str().unwrap().starts_with("NOTIFY_SOCKET="))
        .collect();
    assert_eq!(named, [&json!("NOTIFY_SOCKET=/run/notify/notify.sock")]);
}

#[test]
fn without_a_manager_there_is_no_socket() {
    let bundle = Bundle::new().args(["probe", "facts", "/run/notify"]);
    for cmd in [bundle.run_cmd(&[]), bundle.run_cmd(&[]).env("NOTIFY_SOCKET", "")] {
        let facts = crate::harness::Facts(cmd.run().ok().json());
        assert_eq!(facts.path("/run/notify")["errno"], "ENOENT");
        assert!(!facts["env"].to_string().contains("NOTIFY"), "{}", facts["env"]);
    }
}

#[test]
fn an_abstract_socket_of_the_manager() {
    use std::os::linux::net::SocketAddrExt;
    let bundle = service(&["READY=1"]);
    let name = format!("{}/manager", bundle.dir().display());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let run = bundle.run_cmd(&[]).env("NOTIFY_SOCKET", &format!("@{name}")).spawn();
    let mut text = [0; 100];
    let length = socket.recv(&mut text).unwrap();
    assert!(text[..length].starts_with(b"READY=1\n"));
    run.wait().ok();
}

/// NOTIFY_SOCKET is often inherited from a service and not meant for the container.
#[test]
fn a_missing_manager_is_a_warning() {
    let bundle = service(&["STATUS=unheard", "READY=1"]);
    let dead = bundle.path("dead");
    drop(UnixDatagram::bind(&dead).unwrap());
    let stream = bundle.path("stream");
    let _listener = std::os::unix::net::UnixListener::bind(&stream).unwrap();
    for socket in [
        "/no/such/socket",
        dead.to_str().unwrap(),
        stream.to_str().unwrap(),
        "@no/such/name",
        "relative",
        "vsock:2:1234",
    ] {
        let bundle = Bundle::new().args(["true"]);
        let out = bundle.run_cmd(&[]).env("NOTIFY_SOCKET", socket).run().ok();
        assert!(
            out.stderr.contains("NOTIFY_SOCKET"),
            "no warning for {socket}: {out:#?}"
        );
        let bundle = Bundle::new().args(["probe", "sleep"]);
        let id = bundle.fresh_id();
        bundle.create_cmd(&id, &[]).env("NOTIFY_SOCKET", socket).run().ok();
        bundle.orlop(["start", &id]).env("NOTIFY_SOCKET", socket).run().ok();
        assert_eq!(bundle.orlop(["state", &id]).run().ok().json()["status"], "running");
    }
}

/// A manager that ends between `create` and `start`, and one whose socket path is too long for an address.
#[test]
fn the_managers_path_may_be_long_and_its_end_early() {
    let bundle = service(&["READY=1", "sleep"]);
    let deep = bundle.path(&"d".repeat(200));
    std::fs::create_dir(&deep).unwrap();
    let manager = Manager::new(&bundle);
    std::fs::rename(&manager.path, deep.join("manager")).unwrap();
    let long = deep.join("manager");
    let id = bundle.fresh_id();
    let tell = |cmd: Cmd| cmd.env("NOTIFY_SOCKET", long.to_str().unwrap());
    tell(bundle.create_cmd(&id, &[])).run().ok();
    let start = tell(bundle.orlop(["start", &id])).spawn();
    assert!(manager.next().starts_with("READY=1\n"));
    manager.barrier();
    start.wait().ok();
    let id = bundle.fresh_id();
    tell(bundle.create_cmd(&id, &[])).run().ok();
    drop(manager);
    // A process that another test is starting may still have a copy of its socket.
    eventually("the manager has ended", || {
        let socket = UnixDatagram::unbound().unwrap();
        // By a path that is short enough for an address.
        let directory = File::open(&deep).unwrap();
        let short = format!("/proc/self/fd/{}/manager", directory.as_raw_fd());
        socket.connect(short).is_err()
    });
    let out = tell(bundle.orlop(["start", &id])).run().ok();
    assert!(out.stderr.contains("ECONNREFUSED"), "{out:#?}");
}

/// A container that was created without a manager has no directory for the socket; it starts anyway.
#[test]
fn start_cannot_add_a_socket_that_create_did_not_make() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let manager = Manager::new(&bundle);
    let c = bundle.create();
    let out = manager.tell(bundle.orlop(["start", &c.id])).run().ok();
    assert!(out.stderr.contains("NOTIFY_SOCKET"), "no warning: {out:#?}");
    assert_eq!(c.status(), "running");
}

/// A message that is too long for the protocol is not split.
#[test]
fn a_message_longer_than_the_protocol_allows_is_dropped() {
    let long = format!("STATUS={}", "x".repeat(5000));
    let bundle = service(&[&long, "STATUS=short"]);
    let manager = Manager::new(&bundle);
    let out = manager.tell(bundle.run_cmd(&[])).run().ok();
    assert_eq!(manager.next(), "STATUS=short");
    assert!(out.stderr.contains("4096"), "no warning: {out:#?}");
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 1]).is_err());
}

/// Waiting for READY=1 can be interrupted; the container continues.
#[test]
fn waiting_for_ready_can_be_interrupted() {
    let bundle = service(&["STATUS=slow", "sleep"]);
    let manager = Manager::new(&bundle);
    let mut run = manager.tell(bundle.run_cmd(&["--detach"])).spawn();
    assert_eq!(manager.next(), "STATUS=slow");
    run.until("ready");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait().code, 128 + libc::SIGTERM);
    let list = bundle.orlop(["list", "--format", "json"]).run().ok().json();
    assert_eq!(list[0]["status"], "running");
}
