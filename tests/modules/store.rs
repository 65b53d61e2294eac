//! The state store in a temporary directory: IDs, stored fields, and readers while a process writes.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use orlop::called_as::CalledAs;
use orlop::error::{Error, Report};
use orlop::state::file::is_broken;
use orlop::state::identity;
use orlop::state::identity::Identity;
use orlop::state::record::{CgroupState, UnitState};
use orlop::state::store::check_id;
use orlop::state::{Container, Phase, State, Store};
use orlop::status::{self, Status};
use orlop::sys::{descriptor, process};

fn store() -> (TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(Some(&root.path().join("below/root")), CalledAs::Orlop).unwrap();
    (root, store)
}

pub fn state(id: &str) -> State {
    State {
        version: State::VERSION,
        oci_version: "1.3.0".into(),
        id: id.into(),
        phase: Phase::Created,
        creator: 4710,
        pid: 4711,
        start_time: u64::MAX,
        pidfd_inode: None,
        bundle: "/bundle".into(),
        rootfs: "/bundle/rootfs".into(),
        created: "2026-11-21T07:17:40.26Z".into(),
        owner: 1000,
        class: None,
        cgroup: Some(CgroupState {
            path: "/sys/fs/cgroup/a/b".into(),
            existed: true,
            owner: "2026-11-21T07:17:40.26Z /run/orlop/c".into(),
            inode: u64::MAX,
            unit: Some(UnitState {
                name: "a-b.scope".into(),
                user: true,
            }),
            parents: Vec::new(),
        }),
        annotations: BTreeMap::from([("a".into(), "\"é\n".into())]),
        poststart: vec![],
        poststop: vec![serde_json::from_str(r#"{"path": "/bin/x", "args": ["x", ""], "timeout": 5}"#).unwrap()],
        resources: Some(serde_json::json!({ "pids": { "limit": 0 } })),
        unfinished: Some(orlop::state::record::Unfinished {
            files: vec![orlop::state::record::FileBefore {
                file: "memory.max".into(),
                lines: vec!["max".into()],
            }],
            unit_before: None,
            schemata: vec!["L3:0=f".into()],
            devices: true,
        }),
        memory_limited: true,
        shared_pid_namespace: true,
        chroot: true,
        keyring: Some("0123".into()),
        no_new_keyring: true,
        streams: Vec::new(),
        step: None,
    }
}

/// The slots are overwritten in place, so they must come last.
#[test]
fn the_first_state_ends_with_the_slots_for_steps() {
    let (_root, store) = store();
    let container = store.claim("c").unwrap();
    let mut first = State {
        phase: Phase::Creating,
        annotations: BTreeMap::from([("step".into(), " ".repeat(200))]),
        ..state("c")
    };
    container.write_first(&mut first).unwrap();
    let text = std::fs::read_to_string(container.path.join("state.json")).unwrap();
    let room = format!("\"step\":\"{}\"}}", " ".repeat(orlop::progress::SLOTS));
    assert!(text.ends_with(&room), "{text}");
    // Later states have no slots.
    assert_eq!(first.step, None);
}

/// The creator records init in the state that is not published yet. An incomplete record is ignored.
#[test]
fn init_is_recorded_before_the_state_is_published() {
    let (_root, store) = store();
    let container = store.claim("c").unwrap();
    assert_eq!(container.recorded_init().unwrap(), None);
    container.prepare(&state("c")).unwrap();
    assert_eq!(container.recorded_init().unwrap(), Some((4711, u64::MAX)));
    let next = container.path.join(".state.json.tmp");
    let whole = std::fs::read(&next).unwrap();
    std::fs::write(&next, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(container.recorded_init().unwrap(), None);
}

fn text(state: &State) -> String {
    serde_json::to_string(state).unwrap()
}

fn error(container: &Container) -> String {
    format!("{:#}", container.read().unwrap_err())
}

#[test]
fn only_plain_names_are_valid_ids() {
    for id in ["a", "A-b_c+d.e", "...", "-", "--help", ".hidden", "0", &"x".repeat(255)] {
        assert!(check_id(id).is_ok(), "{id:?}");
    }
    assert_eq!(check_id("").unwrap_err().to_string(), "container id cannot be empty");
    for id in [
        ".",
        "..",
        "a/b",
        "/",
        "../a",
        "a b",
        "a\n",
        "é",
        "a\0",
        "a:b",
        "~",
        "\u{212a}",
        &"x".repeat(256),
    ] {
        let report = Report::of(&check_id(id).unwrap_err());
        assert_eq!(report.msg, "invalid container id format");
        assert!(report.hint.is_some());
    }
}

#[test]
fn a_written_state_is_read_back() {
    let (_root, store) = store();
    let container = store.claim("c").unwrap();
    assert!(container.read().unwrap().is_none());
    let mut written = state("c");
    container.write(&written).unwrap();
    assert_eq!(
        text(&store.container("c").unwrap().read().unwrap().unwrap()),
        text(&written)
    );
    // Absent fields are not written, and are read as absent.
    written = State {
        cgroup: None,
        annotations: BTreeMap::new(),
        poststop: vec![],
        phase: Phase::Creating,
        ..written
    };
    container.write(&written).unwrap();
    assert_eq!(text(&container.read().unwrap().unwrap()), text(&written));
    assert!(!text(&written).contains("cgroup"));
}

#[test]
fn an_id_is_claimed_once() {
    let (_root, store) = store();
    // As with runc, only the default root may be missing.
    assert!(format!("{:#}", store.ids().unwrap_err()).contains("ENOENT"));
    assert_eq!(
        store.container("c").unwrap_err().to_string(),
        "container does not exist"
    );
    let claimed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| store.claim("c").is_ok())).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|won| *won)
            .count()
    });
    assert_eq!(claimed, 1);
    let report = Report::of(&store.claim("c").unwrap_err());
    assert!(
        report.msg.contains("container with given ID already exists"),
        "{}",
        report.msg
    );
    store.claim("a.b").unwrap();
    assert_eq!(store.ids().unwrap(), ["a.b", "c"]);
    let container = store.container("c").unwrap();
    container.write(&state("c")).unwrap();
    container.write_config(b"{}").unwrap();
    assert!(!container.is_gone().unwrap());
    container.remove(false).unwrap();
    assert!(container.is_gone().unwrap() && !store.has("c"));
    assert!(store.find("c").unwrap().is_none());
    // A second removal does not touch a new container with the same ID.
    store.claim("c").unwrap();
    container.remove(false).unwrap();
    assert!(store.has("c") && store.find("c").unwrap().is_some());
}

#[test]
fn an_unknown_version_or_invalid_content_is_rejected() {
    let (_root, store) = store();
    let container = store.claim("c").unwrap();
    let file = container.path.join("state.json");
    let whole = text(&state("c"));
    for version in ["0", "2", "4294967295"] {
        std::fs::write(&file, whole.replace("\"version\":1", &format!("\"version\":{version}"))).unwrap();
        assert!(
            error(&container).ends_with(&format!("state.json: unknown version {version}")),
            "{}",
            error(&container)
        );
    }
    // A later version may lack fields or have fields of another type; the error must still be about the version.
    std::fs::write(&file, r#"{"version": 2, "id": ["c"]}"#).unwrap();
    assert!(error(&container).contains("unknown version 2"), "{}", error(&container));
    for broken in ["", "{}", "null", "{\"version\": \"1\"}", "{\"version\": -1}"] {
        std::fs::write(&file, broken).unwrap();
        assert!(
            error(&container).contains("state.json"),
            "{broken}: {}",
            error(&container)
        );
    }
}

#[test]
fn a_truncated_state_is_an_error_at_every_length() {
    let (_root, store) = store();
    let container = store.claim("c").unwrap();
    let whole = text(&state("c"));
    for length in 0..whole.len() {
        std::fs::write(container.path.join("state.json"), &whole.as_bytes()[..length]).unwrap();
        assert!(error(&container).contains("state.json"));
    }
}

#[test]
fn a_symbolic_link_instead_of_a_state_is_not_followed() {
    let (root, store) = store();
    let container = store.claim("c").unwrap();
    std::fs::write(root.path().join("other"), text(&state("c"))).unwrap();
    std::os::unix::fs::symlink(root.path().join("other"), container.path.join("state.json")).unwrap();
    assert!(error(&container).contains("ELOOP"), "{}", error(&container));
}

#[test]
fn readers_see_complete_states_while_another_process_writes() {
    let (_root, store) = store();
    let container = store.claim("c").unwrap();
    let numbered = |number: u32| State {
        pid: number as i32,
        // Their lengths vary, so that a mixture of two states would be noticed.
        annotations: (0..number % 97)
            .map(|key| (format!("key{key}"), number.to_string().repeat(40)))
            .collect(),
        ..state("c")
    };
    container.write(&numbered(1)).unwrap();
    let (done, reads) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let container = store.container("c").unwrap();
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let state = container.read().unwrap().unwrap();
                    let number = state.pid as u32;
                    assert!(number >= last, "an older state came back");
                    assert_eq!(text(&state), text(&numbered(number)));
                    last = number;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut number = 1;
        while reads.load(Ordering::Relaxed) < 500 {
            number += 1;
            container.write(&numbered(number)).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let names: Vec<PathBuf> = std::fs::read_dir(&container.path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into())
        .collect();
    assert_eq!(names, [PathBuf::from("state.json")]);
}

#[test]
fn only_one_process_at_a_time_holds_the_lock() {
    let (_root, store) = store();
    let (first, other) = (store.claim("c").unwrap(), store.container("c").unwrap());
    first.lock(Duration::ZERO).unwrap();
    assert!(other.is_locked().unwrap());
    assert_eq!(
        other.lock(Duration::ZERO).unwrap_err().to_string(),
        "another command is working on this container"
    );
    first.unlock().unwrap();
    other.lock(Duration::ZERO).unwrap();
}

fn identity(pid: i32) -> Identity {
    Identity {
        pid,
        start_time: identity::start_time(std::process::id() as i32).unwrap(),
        pidfd_inode: None,
    }
}

#[test]
fn a_process_is_identified_by_its_start_time() {
    let own = identity(std::process::id() as i32);
    let later = Identity {
        start_time: own.start_time + 1,
        ..own
    };
    assert!(identity::open_if_alive(&own).unwrap().is_some());
    assert_eq!(identity::is_alive(&own), Some(true));
    assert!(identity::open_if_alive(&later).unwrap().is_none());
    assert_eq!(identity::is_alive(&later), Some(false));
    for unused in [0, -1, i32::MIN, i32::MAX] {
        assert!(
            identity::open_if_alive(&identity(unused)).unwrap().is_none(),
            "{unused}"
        );
    }
}

/// If the kernel has unique numbers for processes, they alone decide, and /proc is not read.
#[test]
fn a_process_is_identified_by_the_inode_of_its_pidfds() {
    let own = std::process::id() as i32;
    let pidfd = process::pidfd_open(own).unwrap();
    let Some(inode) = process::pidfd_inode(pidfd.as_fd()).unwrap() else {
        // Before Linux 6.9 there is only the start time.
        return;
    };
    let with = |pid, inode| Identity {
        pid,
        start_time: 0,
        pidfd_inode: Some(inode),
    };
    assert!(identity::open_if_alive(&with(own, inode)).unwrap().is_some());
    assert_eq!(identity::is_alive(&with(own, inode)), Some(true));
    assert!(identity::open_if_alive(&with(own, inode + 1)).unwrap().is_none());
    assert_eq!(identity::is_alive(&with(own, inode + 1)), Some(false));
    assert_eq!(identity::is_alive(&with(i32::MAX, inode)), Some(false));
}

/// A child that has ended is not alive, even before its parent has waited for it.
#[test]
fn a_zombie_is_not_alive() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id() as i32;
    let pidfd = process::pidfd_open(pid).unwrap();
    descriptor::poll(&[(pidfd.as_fd(), libc::POLLIN)], -1).unwrap();
    for pidfd_inode in [None, process::pidfd_inode(pidfd.as_fd()).unwrap()] {
        let zombie = Identity {
            pid,
            start_time: identity::start_time(pid).unwrap(),
            pidfd_inode,
        };
        assert!(identity::open_if_alive(&zombie).unwrap().is_none(), "{zombie:?}");
        assert_ne!(identity::is_alive(&zombie), Some(true), "{zombie:?}");
    }
    child.wait().unwrap();
}

#[test]
fn after_a_crashed_create_the_status_is_stopped() {
    let (_root, store) = store();
    let container = store.claim("c").unwrap();
    let snapshot = || status::inspect(&store.container("c").unwrap()).unwrap();
    container.unlock().unwrap();
    assert_eq!(snapshot().status, Status::Stopped);
    container.lock(Duration::ZERO).unwrap();
    assert_eq!(snapshot().status, Status::Creating);
    container
        .write(&State {
            phase: Phase::Creating,
            pid: 0,
            ..state("c")
        })
        .unwrap();
    assert_eq!(snapshot().status, Status::Creating);
    container.unlock().unwrap();
    assert_eq!(snapshot().status, Status::Stopped);
    let own = std::process::id() as i32;
    container
        .write(&State {
            pid: own,
            start_time: identity::start_time(own).unwrap(),
            cgroup: None,
            ..state("c")
        })
        .unwrap();
    assert_eq!((snapshot().status, snapshot().document().pid), (Status::Running, own));
    container
        .write(&State {
            pid: own,
            start_time: 1,
            ..state("c")
        })
        .unwrap();
    assert_eq!((snapshot().status, snapshot().document().pid), (Status::Stopped, 0));
}

/// Between creating the directory and locking it, a creator looks like one that has died there.
#[test]
fn at_the_beginning_of_create_the_status_is_never_stopped() {
    let (_root, store) = store();
    let container = store.claim("c").unwrap();
    container.unlock().unwrap();
    let status = std::thread::scope(|scope| {
        let reader = scope.spawn(|| status::inspect(&store.container("c").unwrap()).unwrap().status);
        container.lock(Duration::from_secs(5)).unwrap();
        reader.join().unwrap()
    });
    assert_eq!(status, Status::Creating);
}

/// If a creator's directory is removed before it opens it, it may open the directory of the next creator. It must not use
/// that.
#[test]
fn with_concurrent_creators_and_removers_an_id_has_one_owner() {
    let (_root, store) = store();
    let holders = AtomicU32::new(0);
    let ended = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let Ok(container) = store.claim("c") else { continue };
                    assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                    assert!(container.read().unwrap().is_none());
                    container.write(&state("c")).unwrap();
                    std::thread::yield_now();
                    assert_eq!(container.read().unwrap().map(|state| state.pid), Some(4711));
                    holders.fetch_sub(1, Ordering::SeqCst);
                }
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
        scope.spawn(|| {
            while ended.load(Ordering::SeqCst) < 4 {
                if let Ok(Some(container)) = store.find("c")
                    && container.lock(Duration::from_secs(5)).is_ok()
                {
                    container.remove(false).unwrap();
                }
            }
        });
    });
}

#[test]
fn at_the_end_of_create_the_status_is_never_stopped() {
    let (_root, store) = store();
    let container = store.claim("c").unwrap();
    let own = std::process::id() as i32;
    let created = State {
        pid: own,
        start_time: identity::start_time(own).unwrap(),
        cgroup: None,
        ..state("c")
    };
    let creating = State {
        phase: Phase::Creating,
        pid: 0,
        ..created.clone()
    };
    let done = AtomicBool::new(false);
    container.lock(Duration::ZERO).unwrap();
    container.write(&creating).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let status = status::inspect(&store.container("c").unwrap()).unwrap().status;
                assert!(matches!(status, Status::Creating | Status::Running), "{status:?}");
            }
        });
        for _ in 0..300 {
            container.write(&created).unwrap();
            container.unlock().unwrap();
            std::thread::yield_now();
            // The reader may hold the lock for a moment.
            container.lock(Duration::from_secs(5)).unwrap();
            container.write(&creating).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_valid_id_is_one_component_of_a_path(id in prop_oneof!["[a-z.+_/-]{0,6}", ".{0,6}", "[.]{0,4}"]) {
        let path = std::path::Path::new("/root").join(&id);
        let one_part = matches!(path.strip_prefix("/root").map(|rest| rest.components().collect::<Vec<_>>()),
            Ok(parts) if matches!(parts[..], [std::path::Component::Normal(name)] if name == id.as_str()));
        if check_id(&id).is_ok() {
            prop_assert!(one_part && id.bytes().all(|b| b.is_ascii_graphic()));
        }
    }

    #[test]
    fn a_state_with_any_content_is_read_back(
        pid in any::<i32>(), start_time in any::<u64>(), id in ".{0,9}", bundle in ".{0,9}", owner in any::<u32>(),
        annotations in prop::collection::btree_map(".{0,5}", ".{0,9}", 0..5),
    ) {
        let written = State { pid, start_time, id, bundle: bundle.into(), owner, annotations, ..state("") };
        let (_root, store) = store();
        let container = store.claim("c").unwrap();
        container.write(&written).unwrap();
        prop_assert_eq!(text(&container.read().unwrap().unwrap()), text(&written));
    }
}

/// What runc and crun keep about a container whose first process is this one, or was an earlier one with the same pid.
fn foreign(earlier: bool) -> [(&'static str, &'static str, String); 2] {
    let pid = std::process::id() as i32;
    let start = identity::start_time(pid).unwrap() - u64::from(earlier);
    [
        (
            "runc",
            "state.json",
            format!(
                r#"{{"id":"c","init_process_pid":{pid},"init_process_start":{start},"created":"2026-01-01T00:00:00Z"}}"#
            ),
        ),
        (
            "crun",
            "status",
            format!(r#"{{"version":1.0,"pid":{pid},"process-start-time":{start},"cgroup-path":"/c"}}"#),
        ),
    ]
}

/// The error for a container whose directory has only this file.
fn error_of(file: &str, text: &str) -> Error {
    let (_root, store) = store();
    let container = store.claim("c").unwrap();
    std::fs::write(container.path.join(file), text).unwrap();
    drop(container);
    status::inspect(&store.container("c").unwrap()).unwrap_err()
}

#[test]
fn a_running_container_of_another_runtime_is_not_broken() {
    for (runtime, file, text) in foreign(false) {
        let error = error_of(file, &text);
        let report = Report::of(&error);
        let pid = std::process::id();
        assert_eq!(
            report.msg,
            format!("the container was created by {runtime}, and its process {pid} is running")
        );
        assert!(report.hint.unwrap().starts_with(&format!("delete it with {runtime}, ")));
        assert!(!is_broken(&error));
    }
}

#[test]
fn a_container_of_another_runtime_that_has_ended_is_broken() {
    for (runtime, file, text) in foreign(true) {
        let error = error_of(file, &text);
        let report = Report::of(&error);
        assert!(
            report
                .msg
                .ends_with(&format!("state.json: the container was created by {runtime}")),
            "{}",
            report.msg
        );
        assert_eq!(
            report.hint.as_deref(),
            Some("remove the container with `orlop delete --force c`")
        );
        assert!(is_broken(&error));
    }
}

#[test]
fn the_empty_directory_of_crun_is_not_a_container() {
    let (root, store) = store();
    store.claim("c").unwrap();
    std::fs::create_dir(root.path().join("below/root/.empty-directory")).unwrap();
    assert_eq!(store.ids().unwrap(), ["c"]);
}
