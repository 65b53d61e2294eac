//! Labels of the security modules, as far as they can be tested on a kernel without these modules.

use std::path::Path;

use nix::errno::Errno;
use orlop::error::Report;
use orlop::host::{Facts, Questions, Selinux};
use orlop::security::procfs::HostProc;

/// CVE-2019-16884, CVE-2019-19921: the label is written to the real file in procfs, whose error shows that no module is
/// active.
#[test]
fn a_label_is_written_to_the_real_file() {
    let questions = Questions {
        apparmor: true,
        selinux: true,
        ..Questions::default()
    };
    let facts = Facts::gather(questions).unwrap();
    if facts.apparmor || facts.selinux == Selinux::Enabled {
        // With a module, integration/security/labels.rs tests more.
        return;
    }
    let proc = HostProc::open().unwrap();
    let report = Report::of(&proc.write_self(Path::new("attr/exec"), "exec orlop").unwrap_err());
    // EINVAL: no module supports it. EACCES: in a test thread the file does not belong to this thread.
    assert!(
        matches!(report.errno, Some(Errno::EINVAL | Errno::EACCES)),
        "{}",
        report.msg
    );
    assert!(report.msg.starts_with("write("), "{}", report.msg);
}

#[test]
fn paths_outside_of_the_process_directory_are_not_written() {
    let proc = HostProc::open().unwrap();
    for path in [
        "../../etc/hostname",
        "/etc/hostname",
        "cwd/x",
        "fd/0",
        "root/etc/hostname",
    ] {
        assert!(proc.write_self(Path::new(path), "0").is_err(), "{path}");
    }
}
