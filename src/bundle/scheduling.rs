//! `process.scheduler`, `process.ioPriority` and `process.execCPUAffinity`: names to numbers, by the rules of the kernel.

use super::document::{self, Process, Scheduler};
use crate::cpu_list::CpuList;
use crate::error::{At, Context, Error, Result, anyhow, with_hint};
use crate::plan::{IoPriority, Scheduling};
use crate::sys::sched::SchedAttr;

/// Names and numbers of linux/sched.h. `SCHED_ISO` is reserved there, and in no kernel of kernel.org.
const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", OTHER),
    ("SCHED_FIFO", FIFO),
    ("SCHED_RR", RR),
    ("SCHED_BATCH", BATCH),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", DEADLINE),
];
const OTHER: u32 = 0;
const FIFO: u32 = 1;
const RR: u32 = 2;
const BATCH: u32 = 3;
const DEADLINE: u32 = 6;

/// Names and numbers of linux/sched.h.
const FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", RESET_ON_FORK),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", KEEP_POLICY),
    ("SCHED_FLAG_KEEP_PARAMS", KEEP_PARAMS),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];
const RESET_ON_FORK: u64 = 0x01;
const KEEP_POLICY: u64 = 0x08;
const KEEP_PARAMS: u64 = 0x10;

/// Names and numbers of linux/ioprio.h.
const IO_CLASSES: [(&str, u16); 3] = [
    ("IOPRIO_CLASS_RT", 1),
    ("IOPRIO_CLASS_BE", 2),
    ("IOPRIO_CLASS_IDLE", IO_IDLE),
];
const IO_IDLE: u16 = 3;

/// Checks the three sections. The processors are for a process that joins a container; the first has no use for them.
pub fn plan(process: &Process, joins: bool, warnings: &mut Vec<String>) -> Result<Scheduling> {
    let mut scheduling = Scheduling::default();
    if let Some(section) = process.scheduler() {
        scheduling.scheduler = Some(scheduler(section, warnings)?);
    }
    if let Some(section) = process.io_priority() {
        scheduling.io = Some(io_priority(section)?);
    }
    if let Some(section) = process.exec_cpu_affinity() {
        let initial = processors(&section.initial, "initial")?;
        let last = processors(&section.last, "final")?;
        if joins {
            (scheduling.exec_initial, scheduling.exec_final) = (initial, last);
        }
    }
    Ok(scheduling)
}

impl Scheduling {
    /// Whether the policy is one under which fork(2) fails, see sched(7).
    pub fn forbids_fork(&self) -> bool {
        self.scheduler
            .is_some_and(|attr| attr.policy == DEADLINE && attr.flags & RESET_ON_FORK == 0)
    }
}

/// The number of a name, or an error with all the names there are.
fn named<T: Copy>(name: &str, names: &[(&str, T)]) -> Result<T> {
    names
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
        .ok_or_else(|| {
            let known: Vec<&str> = names.iter().map(|(known, _)| *known).collect();
            with_hint("unknown value", format!("it is one of {}", known.join(", ")))
        })
}

fn scheduler(section: &Scheduler, warnings: &mut Vec<String>) -> Result<SchedAttr> {
    let policy =
        named(&section.policy, &POLICIES).with_context(|| At::object("process.scheduler.policy", &section.policy))?;
    let mut flags = 0;
    for (index, flag) in section.flags.iter().flatten().enumerate() {
        flags |= named(flag, &FLAGS).with_context(|| At::object(format!("process.scheduler.flags[{index}]"), flag))?;
    }
    let nice = section.nice.unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(anyhow!("{nice} is outside -20 to 19")).context(At::new("process.scheduler.nice"));
    }
    let attr = SchedAttr {
        policy,
        flags,
        nice,
        priority: u32::try_from(section.priority.unwrap_or(0))
            .map_err(|_| anyhow!("must not be negative"))
            .context(At::new("process.scheduler.priority"))?,
        runtime: section.runtime.unwrap_or(0),
        deadline: section.deadline.unwrap_or(0),
        period: section.period.unwrap_or(0),
    };
    // With one of these flags the kernel goes by what the process has already, so only it can judge.
    if flags & (KEEP_POLICY | KEEP_PARAMS) == 0 {
        fits(&attr, &section.policy)?;
        if nice != 0 && !matches!(policy, OTHER | BATCH) {
            warnings.push(format!(
                "process.scheduler.nice: {} has no use for it; ignored by the kernel",
                section.policy
            ));
        }
    }
    Ok(attr)
}

/// Whether the values go with the policy, by the rules of sched_setattr(2) and sched(7).
fn fits(attr: &SchedAttr, policy: &str) -> Result<()> {
    let refuse = |member: &str, error: Error| Err(error).context(At::new(format!("process.scheduler.{member}")));
    if matches!(attr.policy, FIFO | RR) {
        if !(1..=99).contains(&attr.priority) {
            return refuse("priority", anyhow!("{policy} needs a priority from 1 to 99"));
        }
    } else if attr.priority != 0 {
        let cure = "only SCHED_FIFO and SCHED_RR have a priority; the other policies have a nice value";
        return refuse("priority", with_hint(format!("must be 0 with {policy}"), cure));
    }
    let (runtime, deadline, period) = (attr.runtime, attr.deadline, attr.period);
    if attr.policy != DEADLINE {
        return match [("runtime", runtime), ("deadline", deadline), ("period", period)]
            .into_iter()
            .find(|(_, value)| *value != 0)
        {
            Some((member, _)) => refuse(
                member,
                with_hint(
                    format!("must be 0 with {policy}"),
                    "only SCHED_DEADLINE has a runtime, a deadline and a period",
                ),
            ),
            None => Ok(()),
        };
    }
    // The kernel counts in units of 1024 ns, and needs the top bit for itself.
    if runtime < 1024 {
        return refuse("runtime", anyhow!("SCHED_DEADLINE needs at least 1024 ns"));
    }
    if deadline < runtime || deadline >> 63 != 0 {
        return refuse(
            "deadline",
            anyhow!("must be at least the runtime ({runtime} ns), and below 2^63"),
        );
    }
    if period != 0 && (period < deadline || period >> 63 != 0) {
        return refuse(
            "period",
            anyhow!("must be 0 or at least the deadline ({deadline} ns), and below 2^63"),
        );
    }
    Ok(())
}

fn io_priority(section: &document::IoPriority) -> Result<IoPriority> {
    let class =
        named(&section.class, &IO_CLASSES).with_context(|| At::object("process.ioPriority.class", &section.class))?;
    let at = || At::new("process.ioPriority.priority");
    let level = match section.priority {
        Some(level) => u16::try_from(level)
            .ok()
            .filter(|level| *level <= 7)
            .ok_or_else(|| anyhow!("{level} is outside 0 (highest) to 7 (lowest)"))
            .with_context(at)?,
        // It has no levels, and callers leave it out.
        None if class == IO_IDLE => 0,
        None => return Err(anyhow!("missing; {} has the levels 0 to 7", section.class)).with_context(at),
    };
    Ok(IoPriority(class << 13 | level))
}

/// A list of processors; an empty one is as good as none, says the specification.
fn processors(list: &Option<String>, member: &str) -> Result<Option<CpuList>> {
    let Some(list) = list.as_ref().filter(|list| !list.is_empty()) else {
        return Ok(None);
    };
    let set = CpuList::parse(list).with_context(|| At::object(format!("process.execCPUAffinity.{member}"), list))?;
    Ok(Some(set))
}
