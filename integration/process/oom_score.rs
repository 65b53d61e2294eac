//! `process.oomScoreAdj`.

use serde_json::json;

use crate::harness::Bundle;
use crate::harness::users::remapped as in_user_namespace;

#[test]
fn the_oom_score_is_inherited_or_set() {
    let as_victim = || std::fs::write("/proc/self/oom_score_adj", "321");
    let bundle = Bundle::new();
    assert_eq!(
        bundle.run_cmd(&[]).before_exec(as_victim).run().ok().json()["oomScoreAdj"],
        321
    );
    bundle.change(|c| c["process"]["oomScoreAdj"] = json!(500));
    assert_eq!(
        bundle.run_cmd(&[]).before_exec(as_victim).run().ok().json()["oomScoreAdj"],
        500
    );
}

/// The owner of the file is not mapped, so init cannot write to it.
#[test]
fn oom_score_in_a_user_namespace() {
    let bundle = in_user_namespace(Bundle::new()).edit(|c| c["process"]["oomScoreAdj"] = json!(700));
    assert_eq!(bundle.facts()["oomScoreAdj"], 700);
}
