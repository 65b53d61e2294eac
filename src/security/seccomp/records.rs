//! Reading and counting the kernel's audit records about filters (audit_seccomp in kernel/auditsc.c), for
//! `run --seccomp-log`. Run by the runtime.
//!
//! ```text
//! type=1326 audit(1795266946.643:38): auid=0 uid=0 gid=0 ses=7 pid=319 comm="mkdir" exe="/bin/sh" sig=0 arch=c000003e
//!     syscall=83 compat=0 ip=0x47b567 code=0x50000
//! ```

use std::fmt::Write as _;

use super::arch::{Arch, Call, X32_BIT};
use super::decide;
use super::text;
use crate::plan::seccomp::{Action, Decision, Reason, Table};

/// `AUDIT_SECCOMP` of linux/audit.h.
pub const AUDIT_SECCOMP: u16 = 1326;

/// One call for which a filter has returned another action than ALLOW.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub session: u32,
    /// The name of the process, which it can set itself.
    pub comm: String,
    /// `AUDIT_ARCH_*`
    pub audit: u32,
    pub number: u32,
    /// Without the errno, which is not in the record.
    pub action: Action,
}

impl Record {
    /// Parses the text after the type.
    pub fn parse(text: &str) -> Option<Record> {
        let field = |name: &str| {
            let mut words = text.split_ascii_whitespace();
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        let hexadecimal = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        Some(Record {
            session: field("ses")?.parse().ok()?,
            comm: comm(field("comm")?),
            audit: hexadecimal(field("arch")?)?,
            // The kernel writes it as a signed number.
            number: field("syscall")?.parse::<i64>().ok()? as u32,
            action: Action(hexadecimal(field("code")?)?).kind(),
        })
    }

    /// Parses a line of /dev/kmsg: `5,1234,98765,-;audit: type=1326 audit(…): …`. Lines that a process has written, and may
    /// have forged, do not have the kernel's facility, 0, in the number before the first comma.
    pub fn parse_kmsg(line: &str) -> Option<Record> {
        let (prefix, text) = line.split_once(';')?;
        let priority: u32 = prefix.split(',').next()?.parse().ok()?;
        let text = text.strip_prefix("audit: type=1326 ")?;
        if priority >= 8 {
            return None;
        }
        Record::parse(text)
    }
}

/// The name is in quotes, or in hexadecimal if it contains characters that could end the field.
fn comm(text: &str) -> String {
    if let Some(name) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return name.to_string();
    }
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let digits = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(digits, 16).ok()
    });
    match pairs.collect::<Option<Vec<u8>>>() {
        // It comes from the container, so control characters must not reach the terminal.
        Some(bytes) => String::from_utf8_lossy(&bytes).escape_debug().to_string(),
        None => text.escape_debug().to_string(),
    }
}

/// Counts of calls, in the order of their first record.
#[derive(Debug, Default)]
pub struct Tally {
    entries: Vec<TallyEntry>,
}

#[derive(Debug)]
struct TallyEntry {
    audit: u32,
    number: u32,
    action: Action,
    count: u64,
    /// The names of up to [`MAX_CALLERS`] processes that made the call.
    callers: Vec<String>,
}

const MAX_CALLERS: usize = 4;

impl Tally {
    pub fn add(&mut self, record: Record) {
        let same = |entry: &&mut TallyEntry| {
            (entry.audit, entry.number, entry.action) == (record.audit, record.number, record.action)
        };
        match self.entries.iter_mut().find(same) {
            Some(entry) => {
                entry.count += 1;
                if entry.callers.len() < MAX_CALLERS && !entry.callers.contains(&record.comm) {
                    entry.callers.push(record.comm);
                }
            }
            None => self.entries.push(TallyEntry {
                audit: record.audit,
                number: record.number,
                action: record.action,
                count: 1,
                callers: vec![record.comm],
            }),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One line for each entry, in the same format as `seccomp explain`.
    pub fn format(&self, tables: &[Table]) -> String {
        let mut out = String::new();
        for entry in &self.entries {
            let (arch, name) = match architecture(entry.audit, entry.number) {
                Some(arch) => (arch.name().into(), arch.call(entry.number).map_or("?", Call::name)),
                None => (format!("architecture {:#x}", entry.audit), "?"),
            };
            let (action, reason) = match decide::find(tables, entry.audit, entry.number) {
                Some(Decision::Always(action, reason)) => (text::action(*action), text::reason(*reason)),
                // The record does not contain the errno of a rule with conditions.
                Some(Decision::First { .. }) => (entry.action.name().to_string(), "depends on its arguments".into()),
                None => (text::action(entry.action), text::reason(Reason::UnlistedArch)),
            };
            let times = match entry.count {
                1 => "once".into(),
                count => format!("{count} times"),
            };
            let number = entry.number;
            let _ = write!(
                out,
                "\n    {arch}: {name} ({number}): {action}: {reason}; {times}, by {}",
                entry.callers.join(", ")
            );
        }
        out
    }
}

fn architecture(audit: u32, number: u32) -> Option<Arch> {
    let x32 = number & X32_BIT != 0;
    let same = |arch: &Arch| arch.audit() == audit && (*arch == Arch::X32) == (x32 && audit == Arch::X32.audit());
    Arch::all().find(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "audit(1795266946.643:38): auid=4294967295 uid=0 gid=0 ses=7 subj=kernel pid=319 comm=\"mkdir\" \
                        exe=\"/bin/sh\" sig=0 arch=c000003e syscall=83 compat=0 ip=0x47b567 code=0x50000";

    #[test]
    fn a_record_is_read_from_both_sources() {
        let record = Record::parse(TEXT).unwrap();
        let expected = Record {
            session: 7,
            comm: "mkdir".into(),
            audit: Arch::X86_64.audit(),
            number: 83,
            action: Action::ERRNO,
        };
        assert_eq!(record, expected);
        let line = |priority: &str| format!("{priority},38,23459516914,-;audit: type=1326 {TEXT}\n SUBSYSTEM=x\n");
        assert_eq!(Record::parse_kmsg(&line("5")), Some(expected));
    }

    /// Processes can write to /dev/kmsg, but never with the kernel's facility.
    #[test]
    fn lines_that_a_process_writes_to_the_log_are_ignored() {
        for prefix in ["13,38,1,-", "12,38,1,-", "8,38,1,-", "-1,38,1,-", "x", ""] {
            assert_eq!(
                Record::parse_kmsg(&format!("{prefix};audit: type=1326 {TEXT}")),
                None,
                "{prefix}"
            );
        }
        for text in ["hello", "audit: type=1400 ", "audit: type=1326 ses=1"] {
            assert_eq!(Record::parse_kmsg(&format!("5,38,1,-;{text}")), None, "{text}");
        }
    }

    #[test]
    fn control_characters_in_a_hexadecimal_name_are_escaped() {
        let text = TEXT.replace("\"mkdir\"", "1B5B326A20C3A9");
        assert_eq!(Record::parse(&text).unwrap().comm, "\\u{1b}[2j é");
        assert_eq!(
            Record::parse(&TEXT.replace("\"mkdir\"", "1B5")).unwrap().comm,
            "\\u{1b}\\u{5}"
        );
        assert_eq!(Record::parse(&TEXT.replace("\"mkdir\"", "xyz")).unwrap().comm, "xyz");
    }

    #[test]
    fn the_architecture_follows_from_the_number_for_x32() {
        assert_eq!(architecture(Arch::X86_64.audit(), 83), Some(Arch::X86_64));
        assert_eq!(architecture(Arch::X86_64.audit(), X32_BIT | 83), Some(Arch::X32));
        assert_eq!(architecture(Arch::Aarch64.audit(), X32_BIT), Some(Arch::Aarch64));
        assert_eq!(architecture(5, 83), None);
        let record = Record::parse(&TEXT.replace("syscall=83", "syscall=-1")).unwrap();
        assert_eq!(record.number, u32::MAX);
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "(;|,|5|audit: type=1326 |ses=|comm=|arch=|syscall=|code=|0x|[0-9a-f\"é ]){0,24}") {
            let _ = Record::parse(&text);
            let _ = Record::parse_kmsg(&text);
        }
    }
}
