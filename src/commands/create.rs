//! `create`: creates a container, up to the point where it waits for `start`.

use std::rc::Rc;

use super::new_container::{bundle, cgroups, plan};
use crate::cli::{Create, Global};
use crate::error::{Context, Result, Step};
use crate::interrupt::Interrupts;
use crate::launch::create::{self, CreateOptions};
use crate::state::Store;
use crate::state::store::check_id;
use crate::{progress, timings};

pub fn run(store: &Store, arguments: &Create, global: &Global) -> Result<u8> {
    let create = || -> Result<()> {
        check_id(&arguments.id)?;
        timings::open(&arguments.common.timed.timings, "create", &arguments.id)?;
        let cgroup = cgroups(global, &arguments.id);
        let bundle = bundle(&arguments.common);
        let plan = plan(&arguments.common, bundle, true, arguments.no_new_keyring, None, cgroup)?;
        progress::step(Step::Claim);
        let interrupts = Rc::new(Interrupts::watch()?);
        let container = store.claim(&arguments.id)?;
        let options = CreateOptions {
            start_later: true,
            console_socket: arguments.common.console_socket.as_deref(),
            pidfd_socket: arguments.common.pidfd_socket.as_deref(),
            pid_file: arguments.common.pid_file.as_deref(),
            interrupts,
        };
        create::create(container, &plan, &options).map(drop)
    };
    create().with_context(|| format!("create {:?}", arguments.id))?;
    Ok(crate::exit_code::SUCCESS)
}
