//! `list`: all containers of a state directory.

pub mod output;

use output::Row;

use super::answer;
use super::listed::{self, Listed};
use crate::cli::{List, ListFormat};
use crate::error::{Context, Result};
use crate::passwd;
use crate::state::Store;
use crate::status;

pub fn run(store: &Store, arguments: &List) -> Result<u8> {
    let listing = store.listing().context("list")?;
    if arguments.quiet {
        return answer(&output::quiet(&listing.ids));
    }
    // A name that is not UTF-8 must not hide the others.
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let (containers, unread) = listed::containers(store, &listing, false);
    let rows: Vec<Row> = containers
        .into_iter()
        .map(|container| row(container, &passwd))
        .collect();
    answer(&match arguments.format {
        ListFormat::Table => output::table(&rows),
        ListFormat::Json => output::json(&rows),
    })?;
    // A container that cannot be read is reported, so that it does not pass for one that does not exist.
    unread.end().context("some containers cannot be read").context("list")?;
    Ok(crate::exit_code::SUCCESS)
}

fn row(container: Listed, passwd: &str) -> Row {
    let Listed { state, status, pid, .. } = container;
    Row {
        step: status::step(&state, status),
        oci_version: state.oci_version,
        id: state.id,
        pid,
        status: status.name().into(),
        bundle: state.bundle.display().to_string(),
        rootfs: state.rootfs.display().to_string(),
        created: state.created,
        annotations: state.annotations,
        owner: owner(state.owner, passwd),
    }
}

/// The name of a user, or `#` and the UID.
pub fn owner(uid: u32, passwd: &str) -> String {
    passwd::name_of(passwd, uid).map_or_else(|| format!("#{uid}"), str::to_string)
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn owners_have_their_names_in_passwd() {
        let passwd = String::from_utf8_lossy(b"m\xfcller:x:1000:1000::/:\nroot:x:0:0::/:\n");
        let table = [(0, "root"), (1000, "m\u{fffd}ller"), (7, "#7")];
        for (uid, name) in table {
            assert_eq!(owner(uid, &passwd), name);
        }
    }
}
