//! /proc/PID/status (proc_pid_status(5)).

use super::read;
use crate::plan::Capabilities;
use crate::sys::SysResult;

/// The lines of the file, as numbers. A line that the kernel does not write, or that is not understood, is zero, empty or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The name of the command, of at most 15 bytes, as the process has set it.
    pub name: String,
    /// `R` running, `S` sleeping, `D` waiting for a device, `T` stopped, `t` traced, `Z` zombie, `X` dead, `I` idle.
    pub state: Option<char>,
    /// The PID, of a thread the PID of its process.
    pub process: i32,
    pub parent: i32,
    /// The process that traces this one; 0 for none.
    pub tracer: i32,
    /// Real, effective, saved and file system user ID, in the reader's user namespace.
    pub uids: [u32; 4],
    pub gids: [u32; 4],
    pub groups: Vec<u32>,
    /// The PID in each PID namespace from the reader's to the innermost.
    pub pids: Vec<i32>,
    pub threads: u64,
    /// Resident memory in bytes.
    pub resident: u64,
    pub umask: Option<u32>,
    pub capabilities: Capabilities,
    pub no_new_privileges: Option<bool>,
    /// 0 none, 1 strict, 2 filter; none if the kernel has no seccomp.
    pub seccomp: Option<u32>,
    pub seccomp_filters: Option<u64>,
    /// The CPUs that it may run on, in the format of cpuset(7).
    pub cpus: String,
    pub memory_nodes: String,
}

/// The status of a process.
pub fn status(pid: i32) -> SysResult<Status> {
    Ok(Status::parse(&read(pid, "status")?))
}

impl Status {
    fn parse(text: &str) -> Self {
        let mut status = Status::default();
        for line in text.lines() {
            if let Some((key, value)) = line.split_once(':') {
                status.take(key, value.trim());
            }
        }
        status
    }

    fn take(&mut self, key: &str, value: &str) {
        let numbers = || value.split_ascii_whitespace().map(|word| word.parse().ok());
        let ids = || -> [u32; 4] {
            let mut numbers = numbers().map(Option::unwrap_or_default);
            std::array::from_fn(|_| numbers.next().unwrap_or_default())
        };
        let set = || u64::from_str_radix(value, 16).unwrap_or_default();
        match key {
            "Name" => self.name = value.into(),
            "State" => self.state = value.chars().next(),
            "Tgid" => self.process = value.parse().unwrap_or_default(),
            "PPid" => self.parent = value.parse().unwrap_or_default(),
            "TracerPid" => self.tracer = value.parse().unwrap_or_default(),
            "Uid" => self.uids = ids(),
            "Gid" => self.gids = ids(),
            "Groups" => self.groups = numbers().flatten().collect(),
            "NSpid" => {
                self.pids = value
                    .split_ascii_whitespace()
                    .filter_map(|pid| pid.parse().ok())
                    .collect()
            }
            "Threads" => self.threads = value.parse().unwrap_or_default(),
            "VmRSS" => self.resident = kilobytes(value),
            "Umask" => self.umask = u32::from_str_radix(value, 8).ok(),
            "CapInh" => self.capabilities.inheritable = set(),
            "CapPrm" => self.capabilities.permitted = set(),
            "CapEff" => self.capabilities.effective = set(),
            "CapBnd" => self.capabilities.bounding = set(),
            "CapAmb" => self.capabilities.ambient = set(),
            "NoNewPrivs" => self.no_new_privileges = Some(value == "1"),
            "Seccomp" => self.seccomp = value.parse().ok(),
            "Seccomp_filters" => self.seccomp_filters = value.parse().ok(),
            "Cpus_allowed_list" => self.cpus = value.into(),
            "Mems_allowed_list" => self.memory_nodes = value.into(),
            _ => {}
        }
    }

    /// The PID in the process's own PID namespace.
    pub fn inner_pid(&self) -> Option<i32> {
        self.pids.last().copied()
    }
}

/// `123 kB` in bytes.
fn kilobytes(value: &str) -> u64 {
    let number = value.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    number.map_or(0, |number: u64| number.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process;

    const TEXT: &str = "Name:\ta\\nb: c\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t42\nPPid:\t7\nTracerPid:\t0\n\
        Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t4 27 \nNSpid:\t42\t1\nVmRSS:\t     856 kB\nThreads:\t3\n\
        CapInh:\t0000000000000001\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000020000420\nCapBnd:\t0000000000000003\n\
        CapAmb:\t0000000000000004\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\nCpus_allowed_list:\t0-3,7\n\
        Mems_allowed_list:\t0\nFuture:\tx\n";

    #[test]
    fn every_line_is_read() {
        let status = Status::parse(TEXT);
        assert_eq!((status.name.as_str(), status.state), ("a\\nb: c", Some('S')));
        assert_eq!((status.process, status.parent, status.tracer), (42, 7, 0));
        assert_eq!((status.uids, status.gids), ([1, 2, 3, 4], [5, 6, 7, 8]));
        assert_eq!(
            (status.groups.as_slice(), status.inner_pid()),
            ([4, 27].as_slice(), Some(1))
        );
        assert_eq!(
            (status.threads, status.resident, status.umask),
            (3, 856 << 10, Some(0o22))
        );
        let sets = Capabilities {
            inheritable: 1,
            permitted: 0x1ff_ffff_ffff,
            effective: 0x2000_0420,
            bounding: 3,
            ambient: 4,
        };
        assert_eq!(status.capabilities, sets);
        assert_eq!(
            (status.no_new_privileges, status.seccomp, status.seccomp_filters),
            (Some(true), Some(2), Some(1))
        );
        assert_eq!((status.cpus.as_str(), status.memory_nodes.as_str()), ("0-3,7", "0"));
    }

    #[test]
    fn this_process_has_a_status() {
        let status = status(process::pid()).unwrap();
        assert_eq!(
            (status.process, status.uids[1]),
            (process::pid(), process::effective_uid())
        );
        assert!(status.threads > 0 && status.resident > 0 && status.umask.is_some() && !status.cpus.is_empty());
        assert_eq!(status.inner_pid(), Some(process::pid()));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(Uid|NSpid|VmRSS|CapEff|State|:|\t|[0-9]{1,12}|x|\n|é){0,40}") {
            let status = Status::parse(&text);
            proptest::prop_assert!(status.pids.len() <= text.len());
        }
    }
}
