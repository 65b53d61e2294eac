//! The steps on the way to a container, as errors, `state`, `--debug` and the log name them.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! steps {
    ($($variant:ident $name:literal)*) => {
        /// Context: the step during which the error arose. Its name is part of the output.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum Step { $($variant,)* }

        impl Step {
            #[cfg(test)]
            pub(crate) const ALL: &[Step] = &[$(Step::$variant,)*];

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Step::$variant => $name,)* }
            }
        }
    };
}

steps! {
    StartUp "start-up"
    Bundle "bundle"
    Claim "claim"
    State "state"
    // The cgroup, the clone and what the runtime does around init.
    Cgroup "cgroup"
    ClassOfService "class of service"
    Resources "resources"
    DeviceRules "device rules"
    MountSources "mount sources"
    Clone "clone"
    Wait "wait"
    Clocks "clocks"
    IdMaps "id maps"
    NetworkDevices "network devices"
    Limits "limits"
    SeccompAgent "seccomp agent"
    ConsoleSocket "console socket"
    PidfdSocket "pidfd socket"
    PidFile "pid file"
    PrestartHooks "prestart hooks"
    CreateRuntimeHooks "createRuntime hooks"
    PoststartHooks "poststart hooks"
    PoststopHooks "poststop hooks"
    Foreground "foreground"
    Removal "removal"
    Rollback "rollback"
    Timings "timings"
    // Init, and what joins it.
    Descriptors "descriptors"
    HelpFromOutside "help from outside"
    UserNamespace "user namespace"
    Undumpable "undumpable"
    Namespaces "namespaces"
    MountNamespace "mount namespace"
    Session "session"
    HostFiles "host files"
    OomScore "oom score"
    CpuAffinity "cpu affinity"
    Hostname "hostname"
    Root "root"
    Mounts "mounts"
    Network "network"
    NotifySocket "notify socket"
    Devices "devices"
    Masks "masks"
    RuntimeHooks "runtime hooks"
    CreateContainerHooks "createContainer hooks"
    Sysctl "sysctl"
    Console "console"
    Pivot "pivot"
    Cwd "cwd"
    Keyring "keyring"
    Labels "labels"
    ReadOnly "read-only"
    SharedMountNamespace "shared mount namespace"
    Streams "streams"
    Umask "umask"
    Rlimits "rlimits"
    IoPriority "io priority"
    MemoryPolicy "memory policy"
    Personality "personality"
    Scheduler "scheduler"
    Identity "identity"
    Capabilities "capabilities"
    NoNewPrivileges "no new privileges"
    Birth "birth"
    Terminal "terminal"
    WorkingDirectory "working directory"
    Program "program"
    Start "start"
    StartContainerHooks "startContainer hooks"
    Seccomp "seccomp"
    Execve "execve"
    // Checkpoint and restore.
    Criu "criu"
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
