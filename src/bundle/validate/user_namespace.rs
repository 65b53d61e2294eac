//! A user namespace that exists already: which ids it has.
//!
//! The kernel tells a namespace's maps only through a process that is in it, and the path may be a bind mount of which no
//! process is known. So a child enters it, is looked at, and ends; nothing else comes of it.

use std::os::fd::AsFd;

use crate::child::{self, Spawned};
use crate::error::{Context, Result, Step, anyhow, bail};
use crate::plan::{IdMapping, IdMaps, JoinedNamespace};
use crate::sys::{Arg, SysError, Syscall, fs, process, socket};

/// The maps of a namespace, with host ids as the runtime's own user namespace has them.
pub fn maps(joined: &JoinedNamespace) -> Result<IdMaps> {
    look(joined).with_context(|| joined.at()).context(Step::Namespaces)
}

fn look(joined: &JoinedNamespace) -> Result<IdMaps> {
    let namespace = fs::open_namespace(&joined.path)?;
    match child::spawn(0, None)? {
        Spawned::Child(socket) => {
            // Root of the namespace has power over who is in it, and this is still a copy of the runtime (CVE-2016-9962).
            let entered = process::set_undumpable().and_then(|()| process::setns(namespace.as_fd(), joined.flag));
            let answer = match entered {
                Ok(()) => 0,
                Err(error) => error.errno as i32,
            };
            // Where this fails the runtime sees the end of the socket; else it closes its own when it has looked.
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
                    bail!("the process that was to enter it ended");
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
        .map(|text| line(text).ok_or_else(|| anyhow!("not a line of an id map: {text:?}")))
        .collect()
}

/// Whether two maps say the same, in whatever order.
pub fn same(one: &[IdMapping], other: &[IdMapping]) -> bool {
    let sorted = |list: &[IdMapping]| {
        let mut list = list.to_vec();
        list.sort_by_key(|mapping| mapping.container);
        list
    };
    sorted(one) == sorted(other)
}

/// A map for people.
pub fn describe(list: &[IdMapping]) -> String {
    let ranges: Vec<String> = list
        .iter()
        .map(|m| format!("{} from {} on is the host's {}", m.size, m.container, m.host))
        .collect();
    if ranges.is_empty() {
        "no id at all".into()
    } else {
        ranges.join(", ")
    }
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
            if let Ok(map) = parse(&text) {
                assert!(describe(&map).len() > 3 && same(&map, &map));
            }
        }
    }
}
