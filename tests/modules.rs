//! The modules of the program, as main.rs lists them, for tests of what does not stand alone. The tests inside the
//! modules run here too: the program has a C entry of its own, so the harness cannot take its place there.
#![allow(dead_code, unused_imports, clippy::duplicate_mod)]

#[path = "../src/bundle/mod.rs"]
mod bundle;
#[path = "../src/cgroup/mod.rs"]
mod cgroup;
#[path = "../src/cli.rs"]
mod cli;
#[path = "../src/commands/mod.rs"]
mod commands;
#[path = "../src/error/mod.rs"]
mod error;
#[path = "../src/hooks.rs"]
mod hooks;
#[path = "../src/host_program.rs"]
mod host_program;
#[path = "../src/id_list.rs"]
mod id_list;
#[path = "../src/idmap/mod.rs"]
mod idmap;
#[path = "../src/init/mod.rs"]
mod init;
#[path = "../src/interrupt.rs"]
mod interrupt;
#[path = "../src/launch/mod.rs"]
mod launch;
#[path = "../src/log.rs"]
mod log;
#[path = "../src/progress.rs"]
mod progress;
#[path = "../src/protocol.rs"]
mod protocol;
#[path = "../src/rootfs/mod.rs"]
mod rootfs;
#[path = "../src/security/mod.rs"]
mod security;
#[path = "../src/state/mod.rs"]
mod state;
#[path = "../src/sys/mod.rs"]
mod sys;

#[path = "../src/commands/spec_document.rs"]
mod spec_document;
use spec_document::default_spec;

const OCI_VERSION: &str = "1.3.0";
const SUCCESS: u8 = 0;

#[path = "modules/command_line.rs"]
mod command_line;
#[path = "modules/config.rs"]
mod config;
#[path = "modules/growth.rs"]
mod growth;
#[path = "modules/hook.rs"]
mod hook;
#[path = "modules/keys.rs"]
mod keys;
#[path = "modules/labels.rs"]
mod labels;
#[path = "modules/notify.rs"]
mod notify;
#[path = "modules/parsers.rs"]
mod parsers;
#[path = "modules/process.rs"]
mod process;
#[path = "modules/refusal.rs"]
mod refusal;
#[path = "modules/resctrl.rs"]
mod resctrl;
#[path = "modules/resources.rs"]
mod resources;
#[path = "modules/scheduling.rs"]
mod scheduling;
#[path = "modules/seccomp/mod.rs"]
mod seccomp;
#[path = "modules/stats.rs"]
mod stats;
#[path = "modules/store.rs"]
mod store;
#[path = "modules/sysctls.rs"]
mod sysctls;
#[path = "modules/systemd.rs"]
mod systemd;
