//! `info`: what this host offers to containers. Nothing is changed, and nothing is left behind.

mod cgroups;
mod kernel;
pub mod report;
mod services;
mod users;

use report::{Section, Status, ok};

use super::answer;
use crate::cli::{Info, TextFormat};
use crate::error::Result;
use crate::exit_code::SUCCESS;
use crate::mountinfo;
use crate::state::Store;

/// `store` is the state directory, or why there is none; `binary` says how this program protects itself, if it can.
pub fn run(store: &Result<Store>, arguments: &Info, binary: Option<&'static str>) -> Result<u8> {
    let sections = sections(store, binary);
    answer(&match arguments.format {
        TextFormat::Text => report::text(&sections),
        TextFormat::Json => serde_json::to_string_pretty(&report::document(&sections))? + "\n",
    })?;
    Ok(SUCCESS)
}

fn sections(store: &Result<Store>, binary: Option<&'static str>) -> Vec<Section> {
    // Without /proc every fact that needs it is reported as missing.
    let mounts = mountinfo::read().unwrap_or_default();
    vec![
        orlop(),
        kernel::section(&mounts),
        kernel::security(binary),
        cgroups::section(),
        users::section(),
        users::idmapped_mounts(&mounts),
        services::systemd(),
        services::criu(),
        services::state(store),
        services::limits(),
    ]
}

fn orlop() -> Section {
    let commit = Some(env!("ORLOP_COMMIT")).filter(|commit| !commit.is_empty());
    let facts = vec![
        ok("version", env!("CARGO_PKG_VERSION"), ""),
        ok("commit", commit, "").unless(commit.is_some(), Status::Unknown, "built outside a repository", ""),
        ok("specification", crate::plan::OCI_VERSION, ""),
    ];
    Section { key: "orlop", facts }
}
