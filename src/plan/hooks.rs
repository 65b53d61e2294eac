//! Hooks by the points of the lifecycle (config.md, "POSIX-platform Hooks"; runtime.md, "Lifecycle").

use oci_spec::runtime::Hook;

/// A point of the lifecycle at which hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPoint {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl HookPoint {
    /// All points, in the order in which they come.
    pub const ALL: [HookPoint; 6] = [
        HookPoint::Prestart,
        HookPoint::CreateRuntime,
        HookPoint::CreateContainer,
        HookPoint::StartContainer,
        HookPoint::Poststart,
        HookPoint::Poststop,
    ];

    /// The key in `hooks` of config.json, by which errors name the point too.
    pub const fn name(self) -> &'static str {
        match self {
            HookPoint::Prestart => "prestart",
            HookPoint::CreateRuntime => "createRuntime",
            HookPoint::CreateContainer => "createContainer",
            HookPoint::StartContainer => "startContainer",
            HookPoint::Poststart => "poststart",
            HookPoint::Poststop => "poststop",
        }
    }

    /// The `status` in the state that its hooks get.
    pub const fn status(self) -> &'static str {
        match self {
            // The first version of the specification ran these hooks after `create`, so they know no other status.
            HookPoint::Prestart => "created",
            HookPoint::CreateRuntime | HookPoint::CreateContainer => "creating",
            HookPoint::StartContainer => "created",
            HookPoint::Poststart => "running",
            HookPoint::Poststop => "stopped",
        }
    }
}

/// The hooks of each point.
#[derive(Debug, Default)]
pub struct Hooks {
    pub prestart: Vec<Hook>,
    pub create_runtime: Vec<Hook>,
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// The hooks of all points, in the order in which they come.
    pub fn all(&self) -> [(HookPoint, &[Hook]); 6] {
        [
            (HookPoint::Prestart, &self.prestart),
            (HookPoint::CreateRuntime, &self.create_runtime),
            (HookPoint::CreateContainer, &self.create_container),
            (HookPoint::StartContainer, &self.start_container),
            (HookPoint::Poststart, &self.poststart),
            (HookPoint::Poststop, &self.poststop),
        ]
    }
}
