//! /proc/PID/limits: unlike prlimit(2), it needs no privilege.

use super::read;
use crate::sys::SysResult;
use crate::sys::process::Resource;

/// One resource limit of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub resource: Resource,
    /// The name in config.json.
    pub name: &'static str,
    /// `u64::MAX` (`RLIM_INFINITY`) is no limit, here and in `hard`.
    pub soft: u64,
    pub hard: u64,
}

/// The beginning of each line, and the limit that it is about.
const ROWS: [(&str, &str, Resource); 16] = [
    ("Max cpu time", "RLIMIT_CPU", libc::RLIMIT_CPU),
    ("Max file size", "RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
    ("Max data size", "RLIMIT_DATA", libc::RLIMIT_DATA),
    ("Max stack size", "RLIMIT_STACK", libc::RLIMIT_STACK),
    ("Max core file size", "RLIMIT_CORE", libc::RLIMIT_CORE),
    ("Max resident set", "RLIMIT_RSS", libc::RLIMIT_RSS),
    ("Max processes", "RLIMIT_NPROC", libc::RLIMIT_NPROC),
    ("Max open files", "RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
    ("Max locked memory", "RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
    ("Max address space", "RLIMIT_AS", libc::RLIMIT_AS),
    ("Max file locks", "RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
    ("Max pending signals", "RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
    ("Max msgqueue size", "RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
    ("Max nice priority", "RLIMIT_NICE", libc::RLIMIT_NICE),
    ("Max realtime priority", "RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
    ("Max realtime timeout", "RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
];

/// All resource limits of a process.
pub fn limits(pid: i32) -> SysResult<Vec<Limit>> {
    Ok(parse(&read(pid, "limits")?))
}

fn parse(text: &str) -> Vec<Limit> {
    let number = |word: &str| match word {
        "unlimited" => Some(u64::MAX),
        word => word.parse().ok(),
    };
    let limit = |line: &str| {
        let (label, name, resource) = ROWS.iter().find(|(label, ..)| line.starts_with(label))?;
        let mut words = line.get(label.len()..)?.split_ascii_whitespace();
        let (soft, hard) = (number(words.next()?)?, number(words.next()?)?);
        Some(Limit {
            resource: *resource,
            name,
            soft,
            hard,
        })
    };
    text.lines().filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process;

    #[test]
    fn every_limit_is_found_as_the_kernel_gives_it() {
        let all = limits(process::pid()).unwrap();
        assert_eq!(all.len(), ROWS.len());
        for limit in all {
            assert_eq!(
                process::getrlimit(0, limit.resource).unwrap(),
                (limit.soft, limit.hard),
                "{limit:?}"
            );
        }
    }

    #[test]
    fn lines_that_are_cut_off_or_unknown_are_left_out() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax cpu time  unlimited  7  seconds\nMax stack size  8\nMax new  1 2\n";
        let all = parse(text);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].name, all[0].soft, all[0].hard), ("RLIMIT_CPU", u64::MAX, 7));
    }
}
