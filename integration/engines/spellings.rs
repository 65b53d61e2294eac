//! Spellings of the command line that other runtimes accept.

use crate::harness::Bundle;

#[test]
fn the_flag_syntax_of_go_is_accepted() {
    let bundle = Bundle::new().sh("exit 4");
    let id = bundle.fresh_id();
    let bundle_dir = bundle.dir().to_str().unwrap();
    let out = bundle
        .orlop([
            "-debug=false",
            "run",
            "-no-subreaper",
            "-bundle",
            bundle_dir,
            "-detach=false",
            "-no-pivot=0",
            &id,
        ])
        .run();
    assert_eq!(out.code, 4, "{}", out.stderr);
}

#[test]
fn exec_accepts_common_flags_and_reports_unknown_ones() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let out = bundle
        .orlop(["exec", "-i", "--tty=false", &c.id, "/bin/cat"])
        .stdin("through")
        .run()
        .ok();
    assert_eq!(out.stdout, "through");
    let out = bundle.orlop(["exec", "--tyt", &c.id, "/bin/true"]).run();
    assert_eq!(out.code, 255);
    assert!(out.stderr.contains("did you mean --tty?"), "{}", out.stderr);
    c.kill("KILL");
    c.until_stopped();
    c.delete();
}
