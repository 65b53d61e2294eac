//! What this host has, and may lack.

use std::fs;
use std::path::Path;

use crate::harness::Cmd;

pub fn has_apparmor() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

pub fn has_strace() -> bool {
    Path::new("/usr/bin/strace").exists()
}

/// Under strace(1), which lets system calls fail: of the runtime alone, or also of its children.
pub fn traced(cmd: Cmd, children: bool, what: &str) -> Cmd {
    let follow = if children { "-f" } else { "" };
    // Without a seccomp filter, which containers' processes would inherit.
    cmd.through_shell(&format!("exec strace {follow} -qq -o /dev/null {what} \"$0\" \"$@\""))
}
