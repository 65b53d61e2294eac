//! The points at which init waits for the hooks of the runtime, or runs hooks in the container's namespaces.

use std::sync::Arc;

use oci_spec::runtime::Hook;

use super::environment;
use super::state::Init;
use crate::error::Result;
use crate::hooks;
use crate::plan::HookPoint;
use crate::protocol::Message;
use crate::rootfs::place::AttachedRoot;
use crate::security::seccomp::install::HookFilter;
use crate::status::Document;
use crate::sys;

impl Init<'_> {
    pub(super) fn runtime_hooks(&mut self) -> Result<()> {
        if self.plan.hooks.prestart.is_empty() && self.plan.hooks.create_runtime.is_empty() {
            return Ok(());
        }
        self.context.channel.send(&Message::Mounted)?;
        self.context
            .channel
            .expect_from_runtime(&[Message::HooksDone])
            .map(drop)
    }

    pub(super) fn create_container_hooks(&mut self, root: &AttachedRoot) -> Result<()> {
        if self.plan.hooks.create_container.is_empty() {
            return Ok(());
        }
        self.context.channel.send(&Message::Hooks)?;
        let around = hooks::Surroundings {
            // As engines' hooks expect it: relative paths are inside the root that they change.
            directory: Some(root.open_itself()?),
            // Init's umask is 0, so that files get exactly the modes that were asked for. Files of the hooks would be open
            // to all.
            umask: Some(self.context.caller_umask),
            output: hooks::Output::Files(&self.inputs.hook_output),
            ..Default::default()
        };
        self.run_hooks(HookPoint::CreateContainer, &self.plan.hooks.create_container, &around)
    }

    pub(super) fn start_container_hooks(&mut self) -> Result<()> {
        if self.plan.hooks.start_container.is_empty() {
            return Ok(());
        }
        // They may replace it.
        self.context.program = None;
        let process = self.plan.process.as_ref();
        let around = hooks::Surroundings {
            environment: process.map(environment::variables).unwrap_or_default(),
            filter: process.and_then(HookFilter::of).map(Arc::new),
            output: hooks::Output::Files(&self.inputs.hook_output),
            ..Default::default()
        };
        self.run_hooks(HookPoint::StartContainer, &self.plan.hooks.start_container, &around)
    }

    /// Runs hooks in the container's namespaces. Their state has the pid as the container sees it.
    fn run_hooks(&self, point: HookPoint, list: &[Hook], around: &hooks::Surroundings) -> Result<()> {
        let state = Document {
            oci_version: &self.plan.oci_version,
            id: self.context.id,
            pid: sys::process::pid(),
            status: point.status(),
            bundle: &self.plan.bundle,
            rootfs: None,
            created: None,
            annotations: &self.plan.annotations,
            owner: None,
            step: None,
        };
        hooks::run(point, list, &state, around)
    }
}
