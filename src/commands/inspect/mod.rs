//! `inspect`: shows what is in force for a container, beside what its config asked for, and marks the differences.
//!
//! What was asked for is the plan that the stored config leads to, with the limits of the last `update`: what the runtime decided,
//! not raw text. What is in force is read from the kernel. Something that cannot be read is unknown, with the reason, and
//! never equal.

mod cgroup;
mod entry;
mod identity;
mod limits;
mod mount_options;
mod mounts;
mod namespaces;
mod output;
mod process;
mod subject;

use super::answer;
use crate::cli::{Inspect, TextFormat};
use crate::error::{Context, Result};
use crate::state::Store;

use output::Report;
use subject::Subject;

/// How often to look again if the container ends meanwhile.
const LOOKS: usize = 3;

pub fn run(store: &Store, arguments: &Inspect) -> Result<u8> {
    let mut report = look(store, &arguments.id).with_context(|| format!("inspect {:?}", arguments.id))?;
    if arguments.differences {
        report.only_differences();
    }
    answer(&match arguments.format {
        TextFormat::Text => report.text(),
        TextFormat::Json => report.json(),
    })
}

/// What is found about one container at one moment: if init ends meanwhile, everything is read again.
fn look(store: &Store, id: &str) -> Result<Report> {
    let mut looks = 0;
    loop {
        let subject = Subject::look(store, id)?;
        let report = report(&subject);
        looks += 1;
        if !subject.has_ended() || looks == LOOKS {
            return Ok(report);
        }
    }
}

fn report(subject: &Subject) -> Report {
    let mut sections = identity::sections(subject);
    sections.extend(namespaces::sections(subject));
    sections.extend(cgroup::sections(subject));
    sections.extend(mounts::sections(subject));
    sections.extend(process::sections(subject));
    Report {
        id: subject.container.id.clone(),
        status: subject.status.name(),
        problem: subject.problem.clone(),
        sections,
    }
}
