//! The options that both requests to CRIU have.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::image::Image;
use crate::bundle::validate::annotations::CRIU_CONFIG;
use crate::cli::{CriuArgs, ManageCgroups};
use crate::criu::rpc::{Criu_cg_mode, Criu_opts};
use crate::error::{Error, Hint};
use crate::log;
use crate::sys::process;

/// Without the annotation that names another, the first of these that exists.
const CONFIG_FILES: [&str; 3] = ["/etc/criu/orlop.conf", "/etc/criu/crun.conf", "/etc/criu/runc.conf"];

/// The log level of CRIU: everything, because nobody runs a failed checkpoint again for the sake of its log.
const LOG_LEVEL: i32 = 4;

pub fn common(arguments: &CriuArgs, image: &Image, annotations: &BTreeMap<String, String>) -> Criu_opts {
    let mut options = Criu_opts::new();
    options.set_images_dir_fd(image.directory.as_raw_fd());
    options.set_work_dir_fd(image.work.as_raw_fd());
    options.set_log_level(LOG_LEVEL);
    if let Some(name) = image.log.file_name() {
        options.set_log_file(name.to_string_lossy().into_owned());
    }
    options.set_notify_scripts(true);
    options.set_tcp_established(arguments.tcp_established);
    options.set_ext_unix_sk(arguments.ext_unix_sk);
    options.set_shell_job(arguments.shell_job);
    options.set_file_locks(arguments.file_locks);
    options.set_auto_dedup(arguments.auto_dedup);
    options.set_lazy_pages(arguments.lazy_pages);
    options.set_orphan_pts_master(true);
    options.set_manage_cgroups(true);
    options.set_manage_cgroups_mode(match arguments.manage_cgroups_mode {
        None | Some(ManageCgroups::Soft) => Criu_cg_mode::SOFT,
        Some(ManageCgroups::Full) => Criu_cg_mode::FULL,
        Some(ManageCgroups::Strict) => Criu_cg_mode::STRICT,
        Some(ManageCgroups::Ignore) => Criu_cg_mode::IGNORE,
    });
    if process::effective_uid() != 0 {
        // CRIU then does what CAP_CHECKPOINT_RESTORE permits.
        options.set_unprivileged(true);
    }
    if let Some(file) = config_file(annotations) {
        options.set_config_file(file);
    }
    options
}

/// What an unprivileged caller has to know about a failure.
pub fn explain_privileges(error: Error) -> Error {
    if process::effective_uid() == 0 {
        return error;
    }
    error.context(Hint {
        message: "not root".into(),
        hint: "CRIU requires root for a container, because of its namespaces; CAP_CHECKPOINT_RESTORE is not enough"
            .into(),
    })
}

fn config_file(annotations: &BTreeMap<String, String>) -> Option<String> {
    match annotations.get(CRIU_CONFIG) {
        None => CONFIG_FILES
            .iter()
            .find(|file| Path::new(file).exists())
            .map(|file| (*file).to_string()),
        Some(file) if file.is_empty() => None,
        Some(file) => {
            if !Path::new(file).exists() {
                // CRIU ignores it.
                log::warning(&format!("annotation {CRIU_CONFIG}: {file:?} does not exist"));
            }
            Some(file.clone())
        }
    }
}
