//! The options about timings, and the arguments of `timings`.

use std::path::PathBuf;

use clap::Args;

use super::values::TextFormat;

/// The option of the verbs that are timed.
#[derive(Debug, Args)]
pub struct Timed {
    // No doc comment where rustdoc would take the brackets for links.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        help_heading = "Input and output",
        help = "Print how long each step took, or append it to FILE as JSON"
    )]
    pub timings: Option<Option<PathBuf>>,
}

#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    pub timed: Timed,
    /// Container ID
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(Debug, Args)]
pub struct Timings {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub format: TextFormat,
    /// Print a picture in SVG
    #[arg(long, conflicts_with = "format")]
    pub svg: bool,
    /// Files that `--timings` or ORLOP_TIMINGS has named
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use crate::cli::{Cli, Verb, parse};

    fn timings(line: &str) -> Option<Option<PathBuf>> {
        let words = line.split(' ').map(OsString::from);
        let Ok(Cli { verb: Some(verb), .. }) = parse(words) else {
            panic!("{line}");
        };
        match verb {
            Verb::Create(arguments) => arguments.common.timed.timings,
            Verb::Restore(arguments) => arguments.common.timed.timings,
            Verb::Run(arguments) => arguments.common.timed.timings,
            Verb::Start(arguments) => arguments.timed.timings,
            Verb::Exec(arguments) => arguments.timed.timings,
            other => panic!("{other:?}"),
        }
    }

    /// Otherwise the ID would be taken for the file.
    #[test]
    fn the_file_follows_an_equals_sign() {
        for verb in ["create", "restore", "run", "start", "exec"] {
            let program = if verb == "exec" { " sh" } else { "" };
            let of = |option: &str| timings(&format!("orlop {verb} {option} web{program}"));
            assert_eq!(of("--timings"), Some(None), "{verb}");
            assert_eq!(of("--timings=a=b"), Some(Some("a=b".into())), "{verb}");
            assert_eq!(of("-timings=web"), Some(Some("web".into())), "{verb}");
        }
        assert_eq!(timings("orlop start web"), None);
        assert_eq!(timings("orlop exec web sh --timings"), None, "the program's");
        let empty = ["orlop", "start", "--timings=", "web"].map(OsString::from);
        assert!(parse(empty).is_err(), "a file without a name");
    }
}
