//! `ps`: lists the processes of a container, as ps(1) of the host shows them, or their PIDs.

use std::collections::BTreeSet;

use super::answer;
use crate::cgroup::members;
use crate::cli::{ListFormat, Ps};
use crate::error::{Context, Result, anyhow, bail, call_with_hint, with_hint};
use crate::host_program;
use crate::state::Store;
use crate::status::{self, Status};
use crate::sys::process::Exit;

pub fn run(store: &Store, arguments: &Ps) -> Result<u8> {
    let text = text(store, arguments).with_context(|| format!("ps {:?}", arguments.id))?;
    answer(&text)
}

fn text(store: &Store, arguments: &Ps) -> Result<String> {
    let seen = status::inspect(&store.container(&arguments.id)?)?;
    if seen.status == Status::Creating {
        bail!("the container is still being created");
    }
    let pids = match &seen.state.cgroup {
        Some(cgroup) => members::processes(cgroup)?,
        // Without a cgroup only init is known.
        None => seen.init.iter().map(|_| seen.state.pid).collect(),
    };
    match arguments.format {
        ListFormat::Json => Ok(serde_json::to_string(&pids)? + "\n"),
        ListFormat::Table => chosen(&ask(&arguments.options)?, &pids),
    }
}

/// What ps(1) prints about all processes.
fn ask(options: &[String]) -> Result<String> {
    let usual = ["-ef".to_string()];
    let options = if options.is_empty() { &usual } else { options };
    let command = || format!("ps {}", options.join(" "));
    let output = host_program::output("ps", options).map_err(|error| {
        call_with_hint(
            error,
            "ps",
            "install ps(1), which prints the table (Debian: procps), or use --format json",
        )
    })?;
    if output.exit != Exit::Code(0) {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
        return Err(anyhow!("{}: {}: {said}", command(), output.exit));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The header, and the lines of these processes.
fn chosen(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|title| title == "PID") else {
        return Err(with_hint(
            "the output of ps has no PID column",
            "select it with the options of ps: `-o pid,…`",
        ));
    };
    let pids: BTreeSet<i32> = pids.iter().copied().collect();
    let mut text = format!("{header}\n");
    for line in lines {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|word| word.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            text += line;
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn only_processes_of_the_container_are_shown() {
        let table = "USER  PID COMMAND\nroot    1 init\nroot   42 sleep 1\nroot  421 42\n\n";
        assert_eq!(
            chosen(table, &[42, 7]).unwrap(),
            "USER  PID COMMAND\nroot   42 sleep 1\n"
        );
        assert_eq!(chosen(table, &[]).unwrap(), "USER  PID COMMAND\n");
        for table in ["", "USER COMMAND\nroot init\n", "PPID\n1\n"] {
            assert!(chosen(table, &[1]).unwrap_err().to_string().contains("no PID column"));
        }
    }
}
