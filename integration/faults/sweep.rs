//! All faults of a selection, in two threads, and the table of what they did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::errnos;
use super::judge::{Verdict, Wrong, disturb};
use super::scene::{Config, Scene, Verb};
use super::tracer::{Action, Fault, Files, Site};
use crate::harness::runtime;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Errors,
    Kills,
    PowerLoss,
}

/// Calls that change the state directory.
const CHANGES: [&str; 6] = ["mkdirat", "openat", "write", "renameat", "unlinkat", "bind"];

impl Kind {
    fn target(self) -> &'static str {
        match self {
            Kind::Errors => "faults",
            Kind::Kills | Kind::PowerLoss => "faults-kill",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Selection {
    pub verbs: Vec<Verb>,
    pub configs: Vec<Config>,
    /// Only the likeliest error of each call.
    pub one_errno: bool,
    /// Only every so many faults.
    pub every: usize,
    pub fault: Option<Fault>,
    /// Only these calls, each of a process; all if empty.
    pub calls: Vec<(usize, &'static str)>,
}

impl Default for Selection {
    fn default() -> Self {
        Selection {
            verbs: Verb::ALL.to_vec(),
            configs: Config::ALL.to_vec(),
            one_errno: false,
            every: 1,
            fault: None,
            calls: Vec::new(),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Selection {
    /// What FAULTS, VERB, CONFIG, FAULT and EVERY ask for, else the one given.
    pub fn from_environment(short: Selection) -> Self {
        if variable("FAULTS").is_none() {
            return short;
        }
        let mut selection = Selection::default();
        if let Some(name) = variable("VERB") {
            selection.verbs.retain(|verb| verb.name() == name);
            assert!(!selection.verbs.is_empty(), "VERB={name}: no such verb");
        }
        if let Some(name) = variable("CONFIG") {
            selection.configs.retain(|config| config.name() == name);
            assert!(!selection.configs.is_empty(), "CONFIG={name}: no such config");
        }
        if let Some(every) = variable("EVERY") {
            selection.every = every.parse().expect("EVERY is a number");
        }
        if let Some(fault) = variable("FAULT") {
            selection.fault = Some(fault.parse().expect("FAULT is PROCESS:CALL:NUMBER:ERRNO"));
        }
        selection
    }
}

/// The faults of the calls that an undisturbed verb makes.
fn faults(kind: Kind, sites: &BTreeSet<Site>, selection: &Selection) -> Vec<Fault> {
    if let Some(fault) = &selection.fault {
        return vec![fault.clone()];
    }
    let mut faults = Vec::new();
    let chosen = |site: &&Site| selection.calls.is_empty() || selection.calls.contains(&(site.process, site.call));
    for site in sites.iter().filter(chosen) {
        let actions: Vec<Action> = match kind {
            Kind::Errors => errnos::of(site.call).into_iter().map(Action::Fail).collect(),
            Kind::Kills if site.call.is_empty() => Vec::new(),
            Kind::Kills => vec![Action::Kill, Action::KillAll],
            Kind::PowerLoss if site.process == 0 && CHANGES.contains(&site.call) => {
                Files::ALL.map(Action::PowerLoss).to_vec()
            }
            Kind::PowerLoss => Vec::new(),
        };
        let count = if selection.one_errno { 1 } else { actions.len() };
        faults.extend(actions.into_iter().take(count).map(|action| Fault {
            site: site.clone(),
            action,
        }));
    }
    faults.into_iter().step_by(selection.every).collect()
}

#[derive(Default)]
struct Row {
    faults: usize,
    unreached: usize,
    wrong: BTreeMap<Wrong, usize>,
}

/// One line for what is wrong with a fault, and how to see it again.
fn show(kind: Kind, verb: Verb, config: Config, fault: &str, verdict: &Verdict) -> String {
    let mut text = String::new();
    for (wrong, detail) in &verdict.wrong {
        let (verb, config) = (verb.name(), config.name());
        let command = format!("make {} VERB={verb} CONFIG={config} FAULT={fault}", kind.target());
        writeln!(text, "WRONG {}: {detail}\n    {command}", wrong.title()).expect("a text");
    }
    text
}

/// The scene of a thread, which is replaced when something was left in it.
fn again(scene: Scene, verdict: &Verdict) -> Scene {
    let is_clean = |wrong: &Wrong| matches!(wrong, Wrong::ExitCode | Wrong::Unnamed);
    if verdict.wrong.iter().all(|(wrong, _)| is_clean(wrong)) {
        return scene;
    }
    let config = scene.config;
    scene.bundle.tolerate_leaks.set(true);
    drop(scene);
    Scene::new(config)
}

fn row(kind: Kind, verb: Verb, config: Config, selection: &Selection) -> Row {
    let row = Mutex::new(Row::default());
    let record = |fault: &str, verdict: &Verdict| {
        let mut row = row.lock().expect("the row");
        row.faults += 1;
        for (wrong, _) in &verdict.wrong {
            *row.wrong.entry(*wrong).or_default() += 1;
        }
        print!("{}", show(kind, verb, config, fault, verdict));
    };
    // Twice: a first container may make files that later ones find.
    let scene = Scene::new(config);
    let first = disturb(&scene, verb, None, &BTreeSet::new());
    let clean = disturb(&scene, verb, None, &BTreeSet::new());
    record("none", &clean);
    row.lock().expect("the row").faults = 0;
    let mut usual: BTreeSet<String> = clean.files.union(&first.files).cloned().collect();
    if verb == Verb::Start {
        // What it removes stays if it fails.
        usual.extend(disturb(&scene, Verb::Create, None, &BTreeSet::new()).files);
    }
    let sites: BTreeSet<Site> = clean.report.sites.iter().cloned().collect();
    drop(again(scene, &clean));
    let faults = faults(kind, &sites, selection);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut scene = Scene::new(config);
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = disturb(&scene, verb, Some(fault), &usual);
                    if verdict.report.hit {
                        record(&fault.to_string(), &verdict);
                    } else {
                        row.lock().expect("the row").unreached += 1;
                    }
                    if selection.fault.is_some() {
                        println!("{:#?}", verdict.report);
                    }
                    scene = again(scene, &verdict);
                }
            });
        }
    });
    row.into_inner().expect("the row")
}

/// Fails unless every column is zero.
pub fn sweep(kind: Kind, selection: Selection) {
    let columns: Vec<&str> = Wrong::ALL.iter().map(|wrong| wrong.title()).collect();
    let mut table = format!("{}\n", runtime().display());
    writeln!(
        table,
        "| verb | config | faults | not reached | {} |",
        columns.join(" | ")
    )
    .expect("a text");
    writeln!(table, "|{}", "---|".repeat(4 + columns.len())).expect("a text");
    let mut total = 0;
    for verb in &selection.verbs {
        for config in &selection.configs {
            let row = row(kind, *verb, *config, &selection);
            let count = |wrong: &Wrong| row.wrong.get(wrong).copied().unwrap_or(0);
            total += Wrong::ALL.iter().map(count).sum::<usize>();
            let counts: Vec<String> = Wrong::ALL.iter().map(|wrong| count(wrong).to_string()).collect();
            let line = format!(
                "| {} | {} | {} | {} | {} |",
                verb.name(),
                config.name(),
                row.faults,
                row.unreached,
                counts.join(" | ")
            );
            println!("{line}");
            writeln!(table, "{line}").expect("a text");
        }
    }
    println!("\n{table}");
    assert_eq!(total, 0, "the faults above");
}
