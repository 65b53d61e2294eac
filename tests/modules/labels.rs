//! Labels of the security modules, as far as a kernel without them can tell.

use std::path::Path;

use nix::errno::Errno;
use orlop::error::Report;
use orlop::security::lsm;
use orlop::security::procfs::HostProc;

/// CVE-2019-16884, CVE-2019-19921: the write goes to the kernel's own file, which says that no module takes it.
#[test]
fn a_label_is_written_to_the_real_file() {
    if lsm::require_apparmor().is_ok() || lsm::require_selinux().is_ok() {
        // There a container proves more: integration/security/labels.rs.
        return;
    }
    let proc = HostProc::open().unwrap();
    let report = Report::of(&proc.write_self(Path::new("attr/exec"), "exec orlop").unwrap_err());
    // No module takes it; or, in a thread of the tests, it is not this thread's own.
    assert!(
        matches!(report.errno, Some(Errno::EINVAL | Errno::EACCES)),
        "{}",
        report.msg
    );
    assert!(report.msg.starts_with("write("), "{}", report.msg);
}

#[test]
fn a_path_out_of_the_own_directory_is_not_written_to() {
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
