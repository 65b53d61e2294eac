//! Files that the runtime writes on the host: nobody else may read the state of a container, or decide where a file is written.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::exec::idle;
use crate::harness::host::{has_strace, traced};
use crate::harness::{Canary, eventually};
use crate::need;

/// The config may contain secrets, and init listens on a socket there. The caller's umask does not matter.
#[test]
fn the_state_is_private_whatever_the_umask() {
    let bundle = idle();
    let mut found = vec![bundle.state_root()];
    // The first one also creates the state root.
    for id in [bundle.fresh_id(), bundle.fresh_id()] {
        bundle.create_cmd(&id, &[]).umask(0).run().ok();
        let directory = bundle.state_root().join(&id);
        found.extend(fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()));
        found.push(directory);
    }
    assert!(found.iter().any(|path| path.ends_with("config.json")), "{found:?}");
    for path in found {
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        // A socket is protected by its directory.
        let is_socket = mode & libc::S_IFMT == libc::S_IFSOCK;
        assert!(mode & 0o077 == 0 || is_socket, "{}: {mode:o}", path.display());
    }
}

/// The temporary name of a pid file in a directory in which others may create files: a link that appears there is not followed.
#[test]
fn a_link_at_the_pid_files_temporary_name_is_not_followed() {
    need!(has_strace(), "strace");
    let canary = Canary::file();
    let bundle = idle();
    let path = bundle.path("init.pid");
    fs::write(&path, "an earlier pid file").unwrap();
    let temporary = bundle.path(".init.pid");
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, place, target) = (stop.clone(), temporary.clone(), canary.path.clone());
    let attacker = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let _ = symlink(&target, &place);
            std::thread::sleep(Duration::from_micros(200));
        }
    });
    eventually("the link is there", || temporary.is_symlink());
    let create = bundle.create_cmd(&bundle.fresh_id(), &["--pid-file", path.to_str().unwrap()]);
    // It pauses after it has removed what was at the name.
    let out = traced(create, false, "-e inject=unlinkat:delay_exit=100000").run();
    stop.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
    canary.assert_untouched();
    out.fails_for("EEXIST");
    bundle.assert_clean();
}
