//! Working directories outside of the container (CVE-2024-21626 and what follows from it): magic links are refused, and a
//! directory that is reached in another way is recognized by getcwd(2).

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use serde_json::json;

use super::containment::replace_with_link;
use crate::harness::exec::{exec_cmd, idle};
use crate::harness::host::{has_strace, traced};
use crate::harness::users::remapped;
use crate::harness::{Bundle, eventually};
use crate::need;

/// A process outside moves the directory out of the volume after the runtime has entered it. No link is involved.
#[test]
fn a_directory_that_is_moved_out_of_its_volume_is_refused() {
    need!(has_strace(), "strace");
    let bundle = idle();
    let inside = bundle.path("volume/inside");
    fs::create_dir_all(&inside).unwrap();
    let volume = bundle.path("volume");
    let bundle = bundle.mount("/volume", "bind", volume.to_str().unwrap(), &["bind", "rw"]);
    let c = bundle.start();
    let inode = fs::metadata(&inside).unwrap().ino();
    let exec = exec_cmd(&c, &["--cwd", "/volume/inside"], &["true"]);
    let running = traced(exec, true, "-e inject=getcwd:delay_enter=700000").spawn();
    eventually("a process is in the directory", || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut directories = processes.filter_map(|process| fs::metadata(process.path().join("cwd")).ok());
        directories.any(|directory| directory.ino() == inode)
    });
    fs::rename(&inside, bundle.path("moved")).unwrap();
    running
        .wait()
        .fails_for("the working directory is outside the container's root file system");
}

/// The error names the reason, so that it is the magic link that is refused and not what it leads to.
#[test]
fn a_magic_link_is_refused_before_it_is_followed() {
    for cwd in ["/proc/self/fd/0", "/proc/self/root", "/proc/self/cwd"] {
        let bundle = Bundle::new().args(["true"]).edit(|c| c["process"]["cwd"] = json!(cwd));
        let run = bundle.run_cmd(&[]).pass_fd(File::open(bundle.dir()).unwrap(), 0);
        run.run()
            .fails_for("process.cwd must not pass through magic links of /proc");
        bundle.assert_clean();
    }
}

/// The same where only the process's user may enter the directory, so that it does so itself, with its own call.
#[test]
fn a_magic_link_is_refused_to_the_processs_user_as_well() {
    let bundle = remapped(Bundle::new().args(["true"])).edit(|c| {
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1000, "additionalGids": [1234] });
        c["process"]["cwd"] = json!("/private/link");
    });
    let private = bundle.inside("/private");
    fs::create_dir(&private).unwrap();
    replace_with_link(&bundle, "/private/link", "/proc/self/fd/0");
    // Its owner is not mapped, so the container's root has no access; its group is mapped.
    chown(&private, Some(0), Some(101_234)).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o750)).unwrap();
    let directory = bundle.path("outside");
    fs::create_dir(&directory).unwrap();
    let run = bundle.run_cmd(&[]).pass_fd(File::open(&directory).unwrap(), 0);
    let out = run.run().fails_for("the working directory is not accessible");
    assert!(out.stderr.contains("ELOOP"), "{out:#?}");
    bundle.assert_clean();
}
