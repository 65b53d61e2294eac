//! The namespaces that a container has joined. CRIU leaves those alone that it is told about.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use crate::criu::rpc::{Criu_opts, Inherit_fd, Join_namespace};
use crate::error::{Context, Result, Step, with_hint};
use crate::plan::Plan;
use crate::sys::fs;
use crate::sys::process::NAMESPACES;

/// The kinds that CRIU keeps out of the image, with the key that other runtimes use too.
const EXTERNAL: [(&str, i32, &str); 2] = [
    ("net", libc::CLONE_NEWNET, "extRootNetNS"),
    ("pid", libc::CLONE_NEWPID, "extRootPidNS"),
];

/// The inode number of a process's namespace.
pub fn inode(process: &str, file: &str) -> Result<u64> {
    let path = format!("/proc/{process}/ns/{file}");
    let namespace = fs::open_namespace(Path::new(&path))?;
    Ok(fs::fstat(namespace.as_fd())?.st_ino)
}

/// Tells a dump about the namespaces of `pid` that the config lets it join. `joined`: the types and paths in
/// linux.namespaces.
pub fn for_dump(options: &mut Criu_opts, pid: i32, joins: impl Fn(i32) -> bool) -> Result<()> {
    for (file, flag, key) in EXTERNAL {
        if joins(flag) {
            let own = inode("self", file).context(Step::Namespaces)?;
            let theirs = inode(&pid.to_string(), file).context(Step::Namespaces)?;
            // CRIU does not dump a namespace that it is in itself.
            if own != theirs {
                options.external.push(format!("{file}[{theirs}]:{key}"));
            }
        }
    }
    Ok(())
}

/// Tells a restore which namespaces to join. The descriptors must be passed to CRIU.
pub fn for_restore(options: &mut Criu_opts, plan: &Plan) -> Result<Vec<OwnedFd>> {
    let mut opened = Vec::new();
    for joined in plan.namespaces.joined.iter().filter(|joined| !joined.is_callers) {
        let fd = fs::open_namespace(&joined.path)
            .with_context(|| joined.at())
            .context(Step::Namespaces)?;
        let kind = NAMESPACES.iter().find(|kind| kind.flag == joined.flag);
        if let Some((_, _, key)) = EXTERNAL.iter().find(|(_, flag, _)| *flag as u64 == joined.flag) {
            let mut inherit = Inherit_fd::new();
            inherit.set_key((*key).into());
            inherit.set_fd(fd.as_raw_fd());
            options.inherit_fd.push(inherit);
            opened.push(fd);
        } else if let Some(kind) = kind.filter(|kind| can_be_joined(kind.flag)) {
            let mut join = Join_namespace::new();
            join.set_ns(kind.file.to_string_lossy().into_owned());
            join.set_ns_file(joined.path.to_string_lossy().into_owned());
            options.join_ns.push(join);
        } else {
            return Err(with_hint(
                "a process cannot be restored into an existing namespace of this type",
                "let the container have a namespace of its own: remove the path",
            ))
            .with_context(|| joined.at())
            .context(Step::Namespaces);
        }
    }
    Ok(opened)
}

fn can_be_joined(flag: u64) -> bool {
    let joinable = libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWUSER | libc::CLONE_NEWTIME;
    flag & joinable as u64 != 0
}
