//! The page of `check`.

use super::page::{CONFIG, Page};

pub static CHECK: Page = Page {
    usage: &[
        "orlop check [OPTIONS] [BUNDLE|-]",
        "orlop check [OPTIONS] --process FILE",
        "orlop check [OPTIONS] --resources FILE",
    ],
    description: "
Prints everything that is wrong with a bundle, without running or changing anything: what `create`
would refuse, unknown keys, what this host lacks, what would be ignored, and what gives the
container power over the host. Each finding has a level: error, warning, risk or note. The answers
are those for the user who asks, so call it as the user who will create the container.

With - the configuration is read from standard input, and --bundle names the bundle. Global options
about cgroups count as they do for `create`. The option --strict of this verb has nothing to do with
the global one.

docs/check.md lists all findings and describes the JSON document.",
    examples: &[
        ("Check a bundle", &["orlop check /srv/web"]),
        (
            "Check a configuration before it is written",
            &["jq '.process.args = [\"sh\"]' /srv/web/config.json | orlop check --bundle /srv/web -"],
        ),
        (
            "Let a build fail if anything would be ignored",
            &["orlop check --strict --format json /srv/web"],
        ),
    ],
    exit_status: &[
        ("0", "There are no errors (with --strict, no warnings either)"),
        ("1", "There are, or nothing could be checked"),
    ],
    environment: &[],
    files: &[CONFIG],
};
