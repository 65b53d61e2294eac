//! What the kernel writes to its log about filters (audit_seccomp in kernel/auditsc.c), read and counted for
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
pub const KIND: u16 = 1326;

/// One call that a filter has answered otherwise than by ALLOW.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub session: u32,
    /// What the process called itself.
    pub comm: String,
    /// `AUDIT_ARCH_*`
    pub audit: u32,
    pub number: u32,
    /// Without the errno, which the kernel does not tell.
    pub action: Action,
}

impl Record {
    /// From the text behind the type.
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

    /// From a line of /dev/kmsg: `5,1234,98765,-;audit: type=1326 audit(…): …`. What a process has written there itself,
    /// and may have made up, has another facility than the kernel's 0 in the number before the first comma.
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

/// In quotes, or in hexadecimal where it holds what could be mistaken for the end of the field.
fn comm(text: &str) -> String {
    if let Some(name) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return name.to_string();
    }
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let digits = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(digits, 16).ok()
    });
    match pairs.collect::<Option<Vec<u8>>>() {
        // It comes from the container: nothing of it may talk to the terminal.
        Some(bytes) => String::from_utf8_lossy(&bytes).escape_debug().to_string(),
        None => text.escape_debug().to_string(),
    }
}

/// Calls counted by kind, in the order in which they came first.
#[derive(Debug, Default)]
pub struct Tally {
    kinds: Vec<Kind>,
}

#[derive(Debug)]
struct Kind {
    audit: u32,
    number: u32,
    action: Action,
    count: u64,
    /// Who made such a call; not all, if they are many.
    by: Vec<String>,
}

/// So many names of callers are kept for one kind.
const CALLERS: usize = 4;

impl Tally {
    pub fn add(&mut self, record: Record) {
        let same =
            |kind: &&mut Kind| (kind.audit, kind.number, kind.action) == (record.audit, record.number, record.action);
        match self.kinds.iter_mut().find(same) {
            Some(kind) => {
                kind.count += 1;
                if kind.by.len() < CALLERS && !kind.by.contains(&record.comm) {
                    kind.by.push(record.comm);
                }
            }
            None => self.kinds.push(Kind {
                audit: record.audit,
                number: record.number,
                action: record.action,
                count: 1,
                by: vec![record.comm],
            }),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// A line for each kind, in the words of `seccomp explain`.
    pub fn tell(&self, tables: &[Table]) -> String {
        let mut out = String::new();
        for kind in &self.kinds {
            let (arch, name) = match architecture(kind.audit, kind.number) {
                Some(arch) => (arch.name().into(), arch.call(kind.number).map_or("?", Call::name)),
                None => (format!("architecture {:#x}", kind.audit), "?"),
            };
            let (action, why) = match decide::find(tables, kind.audit, kind.number) {
                Some(Decision::Always(action, reason)) => (*action, text::reason(*reason)),
                Some(Decision::First { .. }) => (kind.action, "by its arguments".into()),
                None => (kind.action, text::reason(Reason::Foreign)),
            };
            // Which errno a rule about arguments has given is not in the record.
            let said = match why.as_str() {
                "by its arguments" => action.name().to_string(),
                _ => text::action(action),
            };
            let times = match kind.count {
                1 => "once".into(),
                count => format!("{count} times"),
            };
            let number = kind.number;
            let _ = write!(
                out,
                "\n    {arch}: {name} ({number}): {said}: {why}; {times}, by {}",
                kind.by.join(", ")
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
    fn a_record_is_read_from_both_places() {
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

    /// /dev/kmsg can be written to: such lines are never of the kernel's facility.
    #[test]
    fn what_a_process_writes_to_the_log_is_no_record() {
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
    fn a_name_in_hexadecimal_cannot_talk_to_the_terminal() {
        let text = TEXT.replace("\"mkdir\"", "1B5B326A20C3A9");
        assert_eq!(Record::parse(&text).unwrap().comm, "\\u{1b}[2j é");
        assert_eq!(
            Record::parse(&TEXT.replace("\"mkdir\"", "1B5")).unwrap().comm,
            "\\u{1b}\\u{5}"
        );
        assert_eq!(Record::parse(&TEXT.replace("\"mkdir\"", "xyz")).unwrap().comm, "xyz");
    }

    #[test]
    fn a_number_of_x32_or_of_nothing_has_its_architecture() {
        assert_eq!(architecture(Arch::X86_64.audit(), 83), Some(Arch::X86_64));
        assert_eq!(architecture(Arch::X86_64.audit(), X32_BIT | 83), Some(Arch::X32));
        assert_eq!(architecture(Arch::Aarch64.audit(), X32_BIT), Some(Arch::Aarch64));
        assert_eq!(architecture(5, 83), None);
        let record = Record::parse(&TEXT.replace("syscall=83", "syscall=-1")).unwrap();
        assert_eq!(record.number, u32::MAX);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(;|,|5|audit: type=1326 |ses=|comm=|arch=|syscall=|code=|0x|[0-9a-f\"é ]){0,24}") {
            let _ = Record::parse(&text);
            let _ = Record::parse_kmsg(&text);
        }
    }
}
