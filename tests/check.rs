//! `check`, without root: what it says about the broken bundles, in `golden/check/NAME.txt` (`UPDATE_GOLDEN=1` writes the
//! files; read the difference before you commit it), the forms of its output, and that it changes nothing.

mod broken {
    include!("broken/rootfs.rs");
}

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
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
}

/// Runs `check` in a directory.
fn check(directory: &Path, arguments: &[&str], input: &str) -> Output {
    run(Command::new(env!("CARGO_BIN_EXE_orlop")), directory, arguments, input)
}

/// The same as root, if need be in a user namespace: an unprivileged user may make fewer containers.
fn check_as_root(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
    // SAFETY: the calls take no memory and cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    if uid != 0 {
        let enter = move || {
            // SAFETY: the call takes no memory.
            if unsafe { libc::unshare(libc::CLONE_NEWUSER) } != 0 {
                return Err(std::io::Error::last_os_error());
            }
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
            fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
        };
        // SAFETY: no lock is held that the closure needs: this is its thread's only use of the allocator.
        unsafe { command.pre_exec(enter) };
    }
    run(command, directory, arguments, "")
}

fn run(mut command: Command, directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = command
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
    directories
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

/// What depends on the host and the user, whatever the bundle is.
fn is_about_the_caller(finding: &Value) -> bool {
    let code = finding["code"].as_str();
    code == Some("namespaces") && finding["path"] == "linux.namespaces"
        || matches!(code, Some("cgroup" | "id-maps" | "kernel" | "sysctl"))
}

fn render(finding: &Value) -> String {
    let text = |key: &str| finding[key].as_str().unwrap_or("-").to_string();
    let hint = finding["hint"]
        .as_str()
        .map_or(String::new(), |hint| format!("    hint: {hint}\n"));
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
        let output = check_as_root(&bundle.path(), &["--format", "json"]);
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
        assert!(
            found == wanted,
            "{name} (UPDATE_GOLDEN=1 accepts it)\n--- wanted\n{wanted}--- found\n{found}---"
        );
    }
    assert!(
        names.len() >= 25 && several >= 10,
        "{} bundles, {several} with several faults",
        names.len()
    );
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

/// A bundle with one finding of every level.
fn one_of_each() -> Bundle {
    Bundle::edited(|config| {
        config["process"]["args"] = json!(["nginx"]);
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        config["root"]["readOnly"] = json!(true);
        config["vendor"] = json!(1);
    })
}

const ONE_OF_EACH: &str = r#"config.json:10:7: error: process.args[0]: exec: "nginx": executable file not found in $PATH
    hint: the container's PATH is "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; install the program in the image, or give its full path
config.json:46:17: warning: unknown key root.readOnly is ignored: did you mean readonly?
config.json:125:12: risk: linux.seccomp: without a filter every system call of the kernel can be attacked
    hint: add a profile to linux.seccomp, such as the default one of an engine
config.json:174:13: note: unknown key vendor is ignored
    hint: it is no key of the runtime-spec; an engine may have added it for itself
1 error, 1 warning, 1 risk, 1 note
"#;

/// Without root there is one more error, and perhaps others about the cgroup.
fn is_root() -> bool {
    // SAFETY: the call takes no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn the_text_has_a_line_for_each_finding_and_one_for_the_sum() {
    let output = one_of_each().check(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace("./config.json", "config.json");
    let lines: Vec<&str> = text.lines().collect();
    for line in ONE_OF_EACH
        .lines()
        .filter(|line| is_root() || !line.starts_with("1 error"))
    {
        assert!(lines.contains(&line), "{line}\nis missing from\n{text}");
    }
    if is_root() {
        assert_eq!(text, ONE_OF_EACH);
    }
}

#[test]
fn the_json_has_the_documented_keys_and_no_others() {
    let output = one_of_each().check(&["--format", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&document), ["version", "findings", "counts"]);
    assert_eq!(document["version"], 1);
    assert_eq!(keys(&document["counts"]), ["errors", "warnings", "risks", "notes"]);
    let find = |code: &str| {
        let list = document["findings"].as_array().unwrap();
        list.iter().find(|finding| finding["code"] == code).unwrap().clone()
    };
    assert_eq!(
        find("misspelt-key"),
        json!({
            "level": "warning", "code": "misspelt-key", "file": "./config.json", "line": 46, "column": 17,
            "path": "root.readOnly", "message": "unknown key root.readOnly is ignored: did you mean readonly?",
        })
    );
    assert_eq!(
        find("unknown-key"),
        json!({
            "level": "note", "code": "unknown-key", "file": "./config.json", "line": 174, "column": 13, "path": "vendor",
            "message": "unknown key vendor is ignored",
            "hint": "it is no key of the runtime-spec; an engine may have added it for itself",
        })
    );
    // Broken text has a place but no path.
    let output = check(&one_of_each().path(), &["--format", "json", "-"], "{,}");
    let findings = findings(&output);
    assert_eq!(
        keys(&findings[0]),
        ["level", "code", "file", "line", "column", "message"]
    );
}

#[test]
fn every_code_is_documented() {
    let text = include_str!("../docs/check.md");
    let risks = orlop::commands::check::risk::Risk::ALL.iter().map(|risk| risk.name());
    for name in orlop::commands::check::findings::Code::NAMES
        .iter()
        .copied()
        .chain(risks)
    {
        assert!(
            text.contains(&format!("| `{name}` |")),
            "{name} is missing from docs/check.md"
        );
    }
}

#[test]
fn warnings_count_only_if_that_is_asked_for() {
    let bundle = Bundle::edited(|config| config["root"]["readOnly"] = json!(true));
    let code = |arguments: &[&str]| bundle.check(arguments).status.code();
    if is_root() {
        assert_eq!((code(&[]), code(&["--strict"])), (Some(0), Some(1)));
        assert_eq!(
            Bundle::default().check(&["--strict"]).status.code(),
            Some(0),
            "risks do not count"
        );
    } else {
        assert_eq!((code(&[]), code(&["--strict"])), (Some(1), Some(1)));
    }
}

#[test]
fn a_config_on_standard_input_belongs_to_the_bundle() {
    let bundle = Bundle::default();
    let config = fs::read_to_string(bundle.path().join("config.json")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = bundle.path();
    let output = check(
        elsewhere.path(),
        &["--format", "json", "--bundle", path.to_str().unwrap(), "-"],
        &config,
    );
    let found = findings(&output);
    assert!(found.iter().all(|finding| finding["file"] == "<stdin>"), "{found:?}");
    assert!(!found.iter().any(|finding| finding["path"] == "root.path"), "{found:?}");
    // In another directory its root file system does not exist.
    let found = findings(&check(elsewhere.path(), &["--format", "json", "-"], &config));
    assert!(found.iter().any(|finding| finding["path"] == "root.path"), "{found:?}");
}

#[test]
fn a_bundle_without_a_readable_config_is_an_error_of_the_verb() {
    let bundle = Bundle::default();
    fs::remove_file(bundle.path().join("config.json")).unwrap();
    for arguments in [
        &[][..],
        &["no/such/bundle"],
        &["--config", "no/such/file"],
        &["--process", "no/such/file"],
    ] {
        let output = bundle.check(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr.starts_with("orlop: error: check: "), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    if !is_root() {
        let bundle = Bundle::default();
        fs::set_permissions(bundle.path().join("config.json"), fs::Permissions::from_mode(0o000)).unwrap();
        let stderr = String::from_utf8(bundle.check(&[]).stderr).unwrap();
        assert!(stderr.contains("config.json may not be read by user"), "{stderr}");
    }
}

#[test]
fn a_process_object_is_checked_as_by_exec() {
    let bundle = Bundle::default();
    let process = json!({
        "args": [], "cwd": "data", "env": ["A"], "user": { "uid": 0, "gid": 0 }, "comandLine": "x", "noNewPrivileges": true
    });
    let output = check(
        &bundle.path(),
        &["--format", "json", "--process", "-"],
        &process.to_string(),
    );
    assert_eq!(output.status.code(), Some(1));
    let found = findings(&output);
    let paths: BTreeSet<&str> = found.iter().filter_map(|finding| finding["path"].as_str()).collect();
    assert_eq!(
        paths,
        BTreeSet::from(["process.args", "process.cwd", "process.env[0]", "process.comandLine"])
    );
    assert!(found.iter().all(|finding| finding["line"] == 1), "{found:?}");
    let right = json!({ "args": ["sh"], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
    fs::write(bundle.path().join("process.json"), right.to_string()).unwrap();
    let output = bundle.check(&["--process", "process.json"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("process.json:1:1: risk: process.noNewPrivileges: "),
        "{text}"
    );
}

#[test]
fn new_resources_are_checked_as_by_update() {
    let bundle = Bundle::default();
    let resources = json!({ "memory": { "limit": -5, "kernel": 7, "limmit": 3 }, "pidz": {} });
    let output = check(
        &bundle.path(),
        &["--format", "json", "--resources", "-"],
        &resources.to_string(),
    );
    assert_eq!(output.status.code(), Some(1));
    let levels: Vec<(Value, Value)> = findings(&output)
        .iter()
        .map(|finding| (finding["level"].clone(), finding["path"].clone()))
        .collect();
    for (level, path) in [
        ("error", "memory.limit"),
        ("warning", "memory.limmit"),
        ("warning", "memory"),
        ("warning", "pidz"),
    ] {
        assert!(
            levels.contains(&(json!(level), json!(path))),
            "{level} {path}: {levels:?}"
        );
    }
    let output = check(&bundle.path(), &["--resources", "-"], r#"{"ociVersion": "1.3.0"}"#);
    assert_eq!(output.status.code(), Some(1), "a whole config.json");
    let output = check(&bundle.path(), &["--resources", "-"], r#"{"pids": {"limit": 7}}"#);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "0 errors, 0 warnings, 0 risks, 0 notes\n"
    );
}

#[test]
fn text_of_the_config_cannot_command_the_terminal() {
    let bundle = Bundle::edited(|config| {
        config["\u{1b}[2Jkey"] = json!(1);
        config["process"]["args"] = json!(["\u{1b}[31m"]);
        config["mounts"] = json!([{ "destination": "/x", "source": "/\u{1b}]0;x", "options": ["bind"] }]);
    });
    let text = String::from_utf8(bundle.check(&[]).stdout).unwrap();
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

/// Everything in a directory: names, modes, sizes and times of change.
fn snapshot(directory: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let found = entry.path().symlink_metadata().unwrap();
        let stamp = (found.mode(), found.size(), found.mtime_nsec(), found.ctime_nsec());
        all.push(format!("{:?} {stamp:?}", entry.path()));
        if found.is_dir() {
            all.extend(snapshot(&entry.path()));
        }
    }
    all.sort();
    all
}

#[test]
fn nothing_is_changed() {
    for name in names_of_bundles() {
        let bundle = Bundle::new(&fs::read_to_string(format!("{BROKEN}/{name}/config.json")).unwrap());
        let state = tempfile::tempdir().unwrap();
        let (root, path) = (state.path().join("state"), bundle.path());
        let before = snapshot(&path);
        let output = Command::new(env!("CARGO_BIN_EXE_orlop"))
            .arg("--root")
            .arg(&root)
            .arg("check")
            .arg(&path)
            .env("XDG_RUNTIME_DIR", state.path())
            .output()
            .expect("run orlop");
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert_eq!(snapshot(&path), before, "{name}");
        assert_eq!(
            fs::read_dir(state.path()).unwrap().count(),
            0,
            "{name}: a state directory"
        );
    }
}

#[test]
fn no_link_of_the_image_leads_to_the_host() {
    let program = env!("CARGO_BIN_EXE_orlop");
    for target in [program.to_string(), format!("../../../../../../../../..{program}")] {
        let bundle = Bundle::edited(|config| config["process"]["args"] = json!(["/bin/way-out"]));
        std::os::unix::fs::symlink(&target, bundle.path().join("rootfs/bin/way-out")).unwrap();
        assert!(
            bundle.path().join("rootfs/bin/way-out").exists(),
            "on the host the link works: {target}"
        );
        let found = findings(&bundle.check(&["--format", "json"]));
        let program = found.iter().find(|finding| finding["code"] == "program");
        let program = program.unwrap_or_else(|| panic!("{found:#?}"));
        assert_eq!(
            program["hint"],
            "it is a symbolic link whose target does not exist in the container"
        );
    }
}
