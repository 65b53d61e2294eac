//! Limits of the process itself. Run by init with full privilege.

use std::path::Path;

use super::Init;
use crate::error::{At, Context, Result};
use crate::sys::process;

pub fn oom_score(init: &Init) -> Result<()> {
    let Some(score) = init.process_plan().and_then(|process| process.oom_score_adj) else {
        return Ok(());
    };
    let Some(proc) = &init.made.host_proc else {
        return Ok(());
    };
    proc.write_own(Path::new("oom_score_adj"), &score.to_string())
        .context(At::object("process.oomScoreAdj", score))
}

pub fn rlimits(init: &Init) -> Result<()> {
    for limit in init.process_plan().iter().flat_map(|process| &process.rlimits) {
        process::setrlimit(limit.resource, limit.soft, limit.hard)
            .with_context(|| At::object(format!("process.rlimits[{}]", limit.index), &limit.name))?;
    }
    Ok(())
}
