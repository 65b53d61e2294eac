//! A kernel setting makes a process dumpable that changes its credentials, as on hosts that collect core dumps of all programs.
//! It holds for the whole machine, so it is changed in a guest.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use crate::harness::eventually;
use crate::harness::exec::{exec_cmd, idle, link};
use crate::harness::host::{has_session_keyrings, has_strace, traced};
use crate::harness::users::remapped;
use crate::need;

const FILE: &str = "/proc/sys/fs/suid_dumpable";

struct Setting(String);

impl Setting {
    fn all_are_dumpable() -> Self {
        let before = fs::read_to_string(FILE).expect("read the setting");
        fs::write(FILE, "1").expect("write the setting");
        Setting(before)
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = fs::write(FILE, &self.0);
    }
}

/// CVE-2016-9962: the exec parent is in the container's user namespace, whose root may look into what is dumpable there.
#[test]
fn a_process_in_the_containers_user_namespace_stays_undumpable() {
    need!(has_strace(), "strace");
    need!(has_session_keyrings(), "session keyrings");
    let _setting = Setting::all_are_dumpable();
    let bundle = remapped(idle());
    let c = bundle.start();
    let (namespace, init) = (link(c.pid(), "user"), c.pid().to_string());
    // It pauses where it makes the keyring, which is soon after it has entered the namespace.
    let exec = traced(
        exec_cmd(&c, &[], &["true"]),
        true,
        "-e inject=keyctl:delay_enter=5000000",
    );
    let running = exec.within(Duration::from_secs(60)).spawn();
    let is_exec_parent = |pid: &String| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let namespaces = fs::read_link(format!("/proc/{pid}/ns/user"));
        *pid != init && name.starts_with("orlop") && namespaces.is_ok_and(|is| is.to_string_lossy() == namespace)
    };
    let mut found = None;
    eventually("the exec parent is in the user namespace", || {
        let pids = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
        found = pids.filter_map(|pid| pid.into_string().ok()).find(is_exec_parent);
        found.is_some()
    });
    // Files of a process that is dumpable belong to its user, otherwise to root (proc(5)).
    let file = format!("/proc/{}/environ", found.unwrap());
    let pause = Instant::now() + Duration::from_secs(2);
    while fs::metadata(&file).unwrap().uid() != 0 {
        assert!(Instant::now() < pause, "it is dumpable");
        std::thread::sleep(Duration::from_millis(2));
    }
    running.wait().ok();
}
