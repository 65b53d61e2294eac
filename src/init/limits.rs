//! Limits of the process itself. Run by it with full privilege.

use std::path::Path;

use super::process::Entrant;
use crate::bundle::plan::Process;
use crate::error::{At, Context, Result};
use crate::sys::process;

pub fn oom_score(entrant: &mut Entrant, plan: &Process) -> Result<()> {
    let (Some(score), Some(proc)) = (plan.oom_score_adj, &entrant.host_proc) else {
        return Ok(());
    };
    proc.write_own(Path::new("oom_score_adj"), &score.to_string())
        .context(At::object("process.oomScoreAdj", score))
}

pub fn rlimits(_: &mut Entrant, plan: &Process) -> Result<()> {
    for limit in &plan.rlimits {
        process::setrlimit(limit.resource, limit.soft, limit.hard)
            .with_context(|| At::object(format!("process.rlimits[{}]", limit.index), &limit.name))?;
    }
    Ok(())
}
