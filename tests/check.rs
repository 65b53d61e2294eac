//! `check`, without root: what it says about the broken bundles, in `golden/check/NAME.txt` (`UPDATE_GOLDEN=1` writes the
//! files; read the difference before you commit it), the forms of its output, and that it changes nothing.

mod broken {
    include!("broken/rootfs.rs");
}

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const BROKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/bundles/broken");
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/check");

/// A bundle, whose root file system is that of the broken bundles.
struct Bundle {
    dir: TempDir,
}

impl Bundle {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("config.json"), config).expect("write config.json");
        broken::make(&dir.path().join("rootfs"), None);
        Bundle { dir }
    }

    fn default() -> Self {
        Bundle::new(include_str!("../fixtures/bundles/default/config.json"))
    }

    fn edited(edit: impl FnOnce(&mut Value)) -> Self {
        let mut config: Value = serde_json::from_str(include_str!("../fixtures/bundles/default/config.json")).unwrap();
        edit(&mut config);
        Bundle::new(&serde_json::to_string_pretty(&config).unwrap())
    }

    fn path(&self) -> PathBuf {
        fs::canonicalize(self.dir.path()).expect("its path")
    }

    fn check(&self, arguments: &[&str]) -> Output {
        check(&self.path(), arguments, "")
    }

    fn findings(&self) -> Vec<Value> {
        findings(&self.check(&["--format", "json"]))
    }
}

/// Runs `check` in a directory.
fn check(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_orlop"))
        .arg("check")
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run orlop");
    // A check that does not read standard input may have ended.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("its output")
}

fn findings(output: &Output) -> Vec<Value> {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("a JSON document");
    document["findings"].as_array().expect("a list").clone()
}

fn names_of_bundles() -> BTreeSet<String> {
    let entries = fs::read_dir(BROKEN).expect("the broken bundles").flatten();
    let directories = entries.filter(|entry| entry.path().is_dir());
    directories.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// What depends on the host and the user, whatever the bundle is.
fn is_about_the_caller(finding: &Value) -> bool {
    let whole = finding["code"] == "namespaces" && finding["path"] == "linux.namespaces";
    whole || matches!(finding["code"].as_str(), Some("cgroup" | "id-maps" | "kernel" | "sysctl"))
}

fn render(finding: &Value) -> String {
    let text = |key: &str| finding[key].as_str().unwrap_or("-").to_string();
    let hint = finding["hint"].as_str().map_or(String::new(), |hint| format!("    hint: {hint}\n"));
    format!(
        "{} {} {}:{} {}\n    {}\n{hint}",
        text("level"),
        text("code"),
        finding["line"],
        finding["column"],
        text("path"),
        text("message"),
    )
}

#[test]
fn every_fault_of_every_broken_bundle_is_named() {
    let names = names_of_bundles();
    let mut several = 0;
    for name in &names {
        let bundle = Bundle::new(&fs::read_to_string(format!("{BROKEN}/{name}/config.json")).unwrap());
        let output = bundle.check(&["--format", "json"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let mut findings = findings(&output);
        findings.retain(|finding| finding["level"] != "risk" && !is_about_the_caller(finding));
        let errors = findings.iter().filter(|finding| finding["level"] == "error").count();
        assert!(errors > 0, "{name}: no error");
        several += usize::from(errors > 1);
        let found: String = findings.iter().map(render).collect();
        let found = found.replace(bundle.path().to_str().unwrap(), "DIR");
        let path = format!("{GOLDEN}/{name}.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &found).expect("write the golden file");
            continue;
        }
        let wanted = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == wanted, "{name} (UPDATE_GOLDEN=1 accepts it)\n--- wanted\n{wanted}--- found\n{found}---");
    }
    assert!(names.len() >= 25 && several >= 10, "{} bundles, {several} with several faults", names.len());
    let golden = fs::read_dir(GOLDEN).unwrap().flatten();
    let golden: BTreeSet<String> = golden
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".txt").map(str::to_string))
        .collect();
    assert_eq!(golden, names, "a golden file without a bundle");
}

#[test]
fn every_broken_bundle_is_described() {
    let readme = fs::read_to_string(format!("{BROKEN}/README.md")).unwrap();
    let described: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_string()))
        .collect();
    assert_eq!(described, names_of_bundles());
}
