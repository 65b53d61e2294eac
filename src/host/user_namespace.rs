//! The ID maps of an existing user namespace.
//!
//! The kernel shows the maps of a namespace only through a process in it, and the path may be a bind mount without any
//! known process. So a child enters the namespace, the runtime reads the child's maps, and the child ends.

use std::os::fd::AsFd;
use std::path::Path;

use crate::child::{self, Spawned};
use crate::error::{Result, anyhow, bail};
use crate::plan::{IdMapping, IdMaps};
use crate::sys::{Arg, SysError, Syscall, clone, fs, process, socket};

/// The maps of the namespace at a path. Host IDs are those of the runtime's own user namespace.
pub fn maps(path: &Path) -> Result<IdMaps> {
    let namespace = fs::open_namespace(path)?;
    match child::spawn(0, None)? {
        Spawned::Child(socket) => {
            // The namespace's root has power over its processes, and this one is still a copy of the runtime (CVE-2016-9962).
            let entered =
                process::set_undumpable().and_then(|()| clone::setns(namespace.as_fd(), libc::CLONE_NEWUSER as u64));
            let answer = match entered {
                Ok(()) => 0,
                Err(error) => error.errno as i32,
            };
            // If this fails, the runtime sees the end of the socket. Otherwise it closes its end after reading the maps.
            if socket::send(socket.as_fd(), &answer.to_ne_bytes(), None).is_ok() {
                let _ = socket::receive(socket.as_fd(), &mut [0; 1]);
            }
            process::exit_now(0)
        }
        Spawned::Parent(child) => {
            let pid = child.pid;
            let mut answer = [0; 4];
            let mut read = || -> Result<IdMaps> {
                if socket::receive(child.socket.as_fd(), &mut answer)?.0 != answer.len() {
                    bail!("the process that was to enter the namespace ended");
                }
                match i32::from_ne_bytes(answer) {
                    0 => Ok(IdMaps {
                        uid: parse(&std::fs::read_to_string(format!("/proc/{pid}/uid_map"))?)?,
                        gid: parse(&std::fs::read_to_string(format!("/proc/{pid}/gid_map"))?)?,
                    }),
                    errno => {
                        let call = Syscall::Setns.of(Arg::CloneFlags(libc::CLONE_NEWUSER as u64));
                        Err(SysError::new(call, nix::errno::Errno::from_raw(errno)).into())
                    }
                }
            };
            let maps = read();
            child.end()?;
            maps
        }
    }
}

/// Three numbers a line, see user_namespaces(7).
fn parse(text: &str) -> Result<Vec<IdMapping>> {
    let line = |line: &str| -> Option<IdMapping> {
        let mut numbers = line.split_whitespace().map(str::parse);
        Some(IdMapping {
            container: numbers.next()?.ok()?,
            host: numbers.next()?.ok()?,
            size: numbers.next()?.ok()?,
        })
    };
    text.lines()
        .map(|text| line(text).ok_or_else(|| anyhow!("not a line of an ID map: {text:?}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_three_numbers_a_line() {
        let map = parse("         0     100000      65536\n     65536          0          1\n").unwrap();
        assert_eq!((map[0].container, map[0].host, map[0].size), (0, 100000, 65536));
        assert_eq!(map.len(), 2);
        for text in ["x", "1 2", "1 2 4294967296", "-1 0 1", "\n"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_map_makes_it_panic(text in "([0-9]{0,11}| |-|\n|\t|é){0,30}") {
            let _ = parse(&text);
        }
    }
}
