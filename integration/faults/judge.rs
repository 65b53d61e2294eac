//! Disturbs one verb once, and judges what came of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::errnos;
use super::scene::{Scene, Verb};
use super::tracer::{self, Action, Fault, Files, Report};

/// What can be wrong: the columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    Hang,
    ExitCode,
    Unnamed,
    Left,
    Undeletable,
    IdTaken,
}

impl Wrong {
    pub const ALL: [Wrong; 6] = [
        Wrong::Hang,
        Wrong::ExitCode,
        Wrong::Unnamed,
        Wrong::Left,
        Wrong::Undeletable,
        Wrong::IdTaken,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Wrong::Hang => "hangs",
            Wrong::ExitCode => "exit code lies",
            Wrong::Unnamed => "call not named",
            Wrong::Left => "leaves something",
            Wrong::Undeletable => "undeletable",
            Wrong::IdTaken => "ID unusable",
        }
    }
}

#[derive(Debug)]
pub struct Verdict {
    pub report: Report,
    pub wrong: Vec<(Wrong, String)>,
    /// The names of the files afterwards.
    pub files: BTreeSet<String>,
}

/// The first line that says something, shortened.
fn brief(text: &str) -> String {
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no word");
    line.chars().take(300).collect()
}

/// Whether something becomes true within half a second: processes end and notice each other's end a little later.
fn soon(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_millis(500);
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Runs a verb on a new container, with a fault or without one. `usual` are the files that the verb leaves when it succeeds.
pub fn disturb(scene: &Scene, verb: Verb, fault: Option<&Fault>, usual: &BTreeSet<String>) -> Verdict {
    let id = scene.bundle.fresh_id();
    let mut commands = scene.prepare(verb, &id);
    let before = scene.files(&id);
    commands.push(scene.command(verb, &id));
    let report = tracer::run(commands, fault);
    let mut verdict = Verdict {
        report,
        wrong: Vec::new(),
        files: scene.files(&id),
    };
    if verdict.report.hung {
        verdict.add(Wrong::Hang, "it was killed after five seconds");
    }
    match fault.map(|fault| fault.action) {
        Some(Action::Kill | Action::KillAll) => after_a_kill(scene, &id, &mut verdict, true),
        Some(Action::PowerLoss(files)) => {
            scene.lose_power(&id, files);
            after_a_kill(scene, &id, &mut verdict, files == Files::Whole);
        }
        Some(Action::Fail(errno)) => {
            let call = fault.map_or("", |fault| fault.site.call);
            judge(scene, verb, &id, &mut verdict, Some((call, errno)));
            let allowed: BTreeSet<_> = before.union(usual).cloned().collect();
            left_behind(scene, verb, &id, &mut verdict, Some(&allowed));
        }
        None => {
            judge(scene, verb, &id, &mut verdict, None);
            left_behind(scene, verb, &id, &mut verdict, None);
        }
    }
    delete(scene, &id, &mut verdict);
    let failed_call = matches!(fault.map(|fault| fault.action), None | Some(Action::Fail(_)));
    if !failed_call && verdict.wrong.is_empty() {
        create_again(scene, &id, &mut verdict);
    }
    verdict
}

impl Verdict {
    fn add(&mut self, wrong: Wrong, detail: &str) {
        self.wrong.push((wrong, detail.to_owned()));
    }
}

/// The exit code is true, and the error names the call.
fn judge(scene: &Scene, verb: Verb, id: &str, verdict: &mut Verdict, fault: Option<(&str, Errno)>) {
    let Report {
        code, stdout, stderr, ..
    } = &verdict.report;
    let (code, succeeded) = (*code, *code == scene.success(verb));
    let said = brief(stderr);
    if verdict.report.hung {
        return;
    }
    if code > 128 && code != 255 || stderr.contains("panicked") {
        return verdict.add(Wrong::ExitCode, &format!("it ended with {code}: {said}"));
    }
    let stdout = stdout.clone();
    let is_true = |holds: bool| match verb {
        // The program ran, but how it ended may be unknown.
        Verb::Run | Verb::Exec if !succeeded => !holds || code != 0,
        _ => holds == succeeded,
    };
    let mut holds = scene.holds(verb, id, &stdout);
    // A verb that only asks may fail without having said anything.
    let is_true = soon(|| {
        holds = scene.holds(verb, id, &stdout);
        holds.map_or(!succeeded, is_true)
    });
    let unnamed = fault.filter(|(call, errno)| {
        let named = errnos::names(stderr, call) && errnos::names_errno(stderr, *errno);
        !named
    });
    let unnamed = unnamed.filter(|_| !succeeded).map(|_| said.clone());
    if !is_true {
        let status = scene.status(id);
        verdict.add(
            Wrong::ExitCode,
            &format!("{code}, but the state is {status:?}, the result holds: {holds:?}: {said}"),
        );
    }
    if let Some(said) = unnamed {
        verdict.add(Wrong::Unnamed, &said);
    }
}

/// Nothing is left that success would not leave.
fn left_behind(scene: &Scene, verb: Verb, id: &str, verdict: &mut Verdict, allowed: Option<&BTreeSet<String>>) {
    let succeeded = verdict.report.code == scene.success(verb);
    let exists = scene.bundle.state_root().join(id).exists();
    let gone = if succeeded { !exists } else { verb.makes() };
    let said = brief(&verdict.report.stderr);
    if gone {
        let left = scene.left(id);
        if !left.is_empty() {
            verdict.add(Wrong::Left, &format!("{}: {said}", left.join("; ")));
        }
        // A container that ran keeps it until its network namespace ends.
        if !succeeded && verb == Verb::Create && !scene.has_its_device() {
            verdict.add(Wrong::Left, &format!("the network device is lost: {said}"));
        }
    }
    if verb == Verb::Exec && !soon(|| scene.processes(id) == 1) {
        let count = scene.processes(id);
        verdict.add(Wrong::Left, &format!("{count} processes in the container: {said}"));
    }
    if let Some(allowed) = allowed
        && let more = verdict.files.difference(allowed).cloned().collect::<Vec<_>>()
        && !more.is_empty()
        && !gone
    {
        verdict.add(Wrong::Left, &format!("files: {}: {said}", more.join(" ")));
    }
}

/// Every verb answers at once and without a panic. `list` works if the state can be read; if not, its error says what to do.
fn after_a_kill(scene: &Scene, id: &str, verdict: &mut Verdict, readable: bool) {
    let verbs: [(&[&str], bool); 4] = [
        (&["state", id], false),
        (&["list"], readable),
        (&["kill", id, "KILL"], false),
        (&["state", id], false),
    ];
    for (arguments, must_work) in verbs {
        let begun = Instant::now();
        let output = scene.bundle.orlop(arguments).run();
        if begun.elapsed() > tracer::LIMIT {
            verdict.add(Wrong::Hang, &format!("{arguments:?} takes {:?}", begun.elapsed()));
        }
        let is_broken = output.code != 0 && (must_work || output.code > 128 || output.stderr.trim().is_empty());
        if is_broken || output.stderr.contains("panicked") {
            let said = brief(&output.stderr);
            verdict.add(
                Wrong::ExitCode,
                &format!("{arguments:?} ends with {}: {said}", output.code),
            );
        }
    }
}

/// `delete --force` removes everything, and the ID is free.
fn delete(scene: &Scene, id: &str, verdict: &mut Verdict) {
    let begun = Instant::now();
    let output = scene.delete(id);
    let said = brief(&output.stderr);
    if begun.elapsed() > tracer::LIMIT {
        verdict.add(
            Wrong::Hang,
            &format!("delete --force takes {:?}: {said}", begun.elapsed()),
        );
    }
    if output.code != 0 {
        verdict.add(
            Wrong::Undeletable,
            &format!("delete --force ends with {}: {said}", output.code),
        );
    }
    let left = scene.left(id);
    if !left.is_empty() {
        let already = verdict.wrong.iter().any(|(wrong, _)| *wrong == Wrong::Left);
        let what = format!("after delete --force: {}: {said}", left.join("; "));
        verdict.add(Wrong::Undeletable, &what);
        if !already {
            verdict.add(Wrong::Left, &what);
        }
    }
}

/// A container with the ID of one that was deleted can be created.
fn create_again(scene: &Scene, id: &str, verdict: &mut Verdict) {
    let output = scene.command(Verb::Create, id).run();
    if output.code != 0 {
        verdict.add(Wrong::IdTaken, &brief(&output.stderr));
    }
    delete(scene, id, verdict);
}
