//! Standard streams and the terminal of a restored container, in the background and in the foreground.

use crate::harness::checkpoint::{CRIU, Workload, bundle, checkpoint, has_criu, restore_foreground_cmd, with_parts};
use crate::need;

#[test]
fn the_exit_code_comes_back_in_the_foreground() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    let restored = restore_foreground_cmd(&work.container, &image, &[]).spawn();
    work.assert_continues(&before);
    work.exit(7);
    let output = restored.wait();
    assert_eq!(output.code, 7, "{output:#?}\n{}", image.logs());
    bundle.assert_clean();
}
