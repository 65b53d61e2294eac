//! `process.scheduler`, `process.ioPriority` and `process.execCPUAffinity`: names to numbers, by the rules of the kernel.

use super::checks::Checks;
use super::document::{self, Process, Scheduler};
use crate::cpu_list::CpuList;
use crate::error::{At, Context, Error, Result, anyhow, with_hint};
use crate::plan::{IoPriority, Scheduling, Warning};
use crate::sys::sched::SchedAttr;

/// Names and numbers of linux/sched.h. `SCHED_ISO` is reserved there, but no mainline kernel implements it.
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

/// Checks the three sections. The processors are for a process that joins a container; the first process does not use them.
/// None if something in one of them is wrong.
pub fn scheduling(process: &Process, joins: bool, checks: &mut Checks) -> Option<Scheduling> {
    let scheduler = checks.section(&["process", "scheduler"], |checks| {
        let section = process.scheduler().as_ref();
        section
            .map(|section| scheduler(section, &mut checks.warnings))
            .transpose()
    });
    let io = checks.section(&["process", "ioPriority"], |_| {
        process.io_priority().as_ref().map(io_priority).transpose()
    });
    let affinity = checks.section(&["process", "execCPUAffinity"], |checks| {
        let section = process.exec_cpu_affinity().as_ref();
        let initial = section.map_or(Ok(None), |section| processors(&section.initial, "initial"));
        let last = section.map_or(Ok(None), |section| processors(&section.last, "final"));
        let (initial, last) = (checks.keep(initial), checks.keep(last));
        Ok((initial.flatten(), last.flatten()))
    });
    let (scheduler, io, affinity) = (scheduler?, io?, affinity?);
    let (exec_initial, exec_final) = if joins { affinity } else { (None, None) };
    Some(Scheduling {
        scheduler,
        io,
        exec_initial,
        exec_final,
    })
}

impl Scheduling {
    /// Whether fork(2) fails under this policy, see sched(7).
    pub fn forbids_fork(&self) -> bool {
        self.scheduler
            .is_some_and(|attr| attr.policy == DEADLINE && attr.flags & RESET_ON_FORK == 0)
    }
}

/// The number of a name, or an error with all the names.
fn named<T: Copy>(name: &str, names: &[(&str, T)]) -> Result<T> {
    names
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
        .ok_or_else(|| {
            let known: Vec<&str> = names.iter().map(|(known, _)| *known).collect();
            with_hint("unknown value", format!("use one of {}", known.join(", ")))
        })
}

fn scheduler(section: &Scheduler, warnings: &mut Vec<Warning>) -> Result<SchedAttr> {
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
    // With one of these flags the kernel uses what the process already has, so only the kernel can check.
    if flags & (KEEP_POLICY | KEEP_PARAMS) == 0 {
        fits(&attr, &section.policy)?;
        if nice != 0 && !matches!(policy, OTHER | BATCH) {
            let path = "process.scheduler.nice";
            let text = format!("{path}: the kernel ignores it with {}", section.policy);
            warnings.push(Warning::new(path, text));
        }
    }
    Ok(attr)
}

/// Whether the values are valid for the policy, by the rules of sched_setattr(2) and sched(7).
fn fits(attr: &SchedAttr, policy: &str) -> Result<()> {
    let refuse = |member: &str, error: Error| Err(error).context(At::new(format!("process.scheduler.{member}")));
    if matches!(attr.policy, FIFO | RR) {
        if !(1..=99).contains(&attr.priority) {
            return refuse("priority", anyhow!("{policy} requires a priority from 1 to 99"));
        }
    } else if attr.priority != 0 {
        let hint = "only SCHED_FIFO and SCHED_RR have a priority; the other policies have a nice value";
        return refuse("priority", with_hint(format!("must be 0 with {policy}"), hint));
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
    // The kernel counts in units of 1024 ns and reserves the top bit.
    if runtime < 1024 {
        return refuse("runtime", anyhow!("SCHED_DEADLINE requires at least 1024 ns"));
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
        // This class has no levels, and callers leave the priority out.
        None if class == IO_IDLE => 0,
        None => return Err(anyhow!("missing; {} has the levels 0 to 7", section.class)).with_context(at),
    };
    Ok(IoPriority(class << 13 | level))
}

/// A list of processors. By the specification an empty one is the same as none.
fn processors(list: &Option<String>, member: &str) -> Result<Option<CpuList>> {
    let Some(list) = list.as_ref().filter(|list| !list.is_empty()) else {
        return Ok(None);
    };
    let set = CpuList::parse(list).with_context(|| At::object(format!("process.execCPUAffinity.{member}"), list))?;
    Ok(Some(set))
}
