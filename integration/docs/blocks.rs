//! The blocks of commands in a document.
//!
//! A block is indented by four blanks or fenced. It consists of commands if it is fenced as `sh`, or if its first word is one of
//! [`COMMANDS`]. Two comments, which readers do not see, say more about the next block:
//!
//!     <!-- setup: commands that run before it -->
//!     <!-- not run: why its commands are not run by the test -->

/// What the first word of a block may be that consists of commands.
const COMMANDS: &[&str] = &[
    "apt",
    "apt-get",
    "buildah",
    "cargo",
    "ctr",
    "curl",
    "docker",
    "echo",
    "fixtures",
    "integration",
    "jq",
    "kubectl",
    "make",
    "man",
    "mkdir",
    "orlop",
    "podman",
    "skopeo",
    "ssh",
    "sudo",
    "systemctl",
    "systemd-run",
    "tar",
    "umoci",
    "unshare",
];

/// A step on the way through a document.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Setup(String),
    Run(String),
    NotRun { reason: String },
}

/// The steps, each with the number of its line.
pub fn steps(document: &str) -> Vec<(usize, Step)> {
    let mut steps = Vec::new();
    let mut reason: Option<String> = None;
    let lines: Vec<&str> = document.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        let start = at;
        let line = lines[at];
        at += 1;
        if let Some(comment) = line.strip_prefix("<!-- ") {
            let mut text = comment.to_string();
            while !text.contains("-->") && at < lines.len() {
                text = text + "\n" + lines[at];
                at += 1;
            }
            let text = text.split("-->").next().unwrap_or_default().trim();
            if let Some(commands) = text.strip_prefix("setup:") {
                steps.push((start + 1, Step::Setup(commands.trim().into())));
            } else if let Some(why) = text.strip_prefix("not run:") {
                reason = Some(why.trim().into());
            }
            continue;
        }
        let (block, language) = if let Some(language) = line.strip_prefix("```") {
            let end = lines[at..].iter().position(|line| line.starts_with("```"));
            let end = at + end.expect("the end of a fenced block");
            let block: Vec<&str> = lines[at..end].to_vec();
            at = end + 1;
            (block, Some(language.trim()))
        } else if line.starts_with("    ")
            && start
                .checked_sub(1)
                .is_none_or(|before| lines[before].trim().is_empty())
        {
            while at < lines.len() && (lines[at].starts_with("    ") || lines[at].trim().is_empty()) {
                at += 1;
            }
            (
                lines[start..at]
                    .iter()
                    .map(|line| line.get(4..).unwrap_or_default())
                    .collect(),
                None,
            )
        } else {
            continue;
        };
        let text = block.join("\n").trim_end().to_string();
        if language == Some("sh") || (language.is_none_or(str::is_empty) && begins_with_a_command(&text)) {
            let step = match reason.take() {
                Some(reason) => Step::NotRun { reason },
                None => Step::Run(text),
            };
            steps.push((start + 1, step));
        }
        assert!(
            reason.is_none(),
            "line {}: a reason not to run what is not commands",
            start + 1
        );
    }
    steps
}

fn begins_with_a_command(text: &str) -> bool {
    let words = text.split_whitespace().map(|word| word.trim_start_matches('$'));
    let first = words.filter(|word| !word.is_empty()).find(|word| !word.contains('='));
    first.is_some_and(|word| COMMANDS.contains(&word.split('/').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_commands_are_found_with_their_comments() {
        let document = "
Text, and output:

    orlop: error: no such container

    # A comment is not a command.

Commands:

    orlop list
    orlop state web

    orlop ps web
<!-- setup: mkdir x
touch y -->

```sh
frobnicate
```

```json
{}
```
<!-- not run: needs systemd -->

    A=1 systemctl status
";
        let run = |text: &str| Step::Run(text.into());
        let expected = vec![
            (10, run("orlop list\norlop state web\n\norlop ps web")),
            (14, Step::Setup("mkdir x\ntouch y".into())),
            (17, run("frobnicate")),
            (
                26,
                Step::NotRun {
                    reason: "needs systemd".into(),
                },
            ),
        ];
        assert_eq!(steps(document), expected);
    }
}
