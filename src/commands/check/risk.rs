//! The risks that `check` knows: data only.

macro_rules! risks {
    ($($variant:ident $name:literal $why:literal $cure:literal)*) => {
        /// A risk: its name in the output, one sentence of why, and what to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Risk { $($variant,)* }

        impl Risk {
            /// All of them.
            pub const ALL: &[Risk] = &[$(Risk::$variant,)*];

            pub const fn name(self) -> &'static str {
                match self { $(Risk::$variant => $name,)* }
            }

            pub const fn why(self) -> &'static str {
                match self { $(Risk::$variant => $why,)* }
            }

            pub const fn cure(self) -> &'static str {
                match self { $(Risk::$variant => $cure,)* }
            }
        }
    };
}

risks! {
    HostRoot "host-root"
        "the root of the host is mounted, so the container can read the host's files, and change them unless the mount is read-only"
        "mount only the directories that the program needs"
    HostDirectory "host-directory"
        "a directory is mounted that belongs to the host's system, and the container can change it"
        "add ro to the options, or mount less of it"
    EngineSocket "engine-socket"
        "a process that can write to the socket of an engine can start a privileged container, and so become root on the host"
        "use a proxy that allows only the requests that are needed"
    SharedPropagation "shared-propagation"
        "what the container mounts below it appears on the host"
        "use rslave, or rprivate"
    AllCapabilities "all-capabilities"
        "the container has every capability that gives power over the host, so it can do there almost whatever root can"
        "list only the capabilities that the program needs"
    Capability "capability"
        "the container has capabilities that give power over the host"
        "remove them, or run the container in a user namespace, where they apply only to what belongs to it"
    NoSeccomp "no-seccomp"
        "without a filter every system call of the kernel can be attacked"
        "add a profile to linux.seccomp, such as the default one of an engine"
    WritableProcSys "writable-proc-sys"
        "root in the container can change settings of the host's kernel in /proc/sys"
        "add /proc/sys and /proc/sysrq-trigger to linux.readonlyPaths"
    NoMaskedPaths "no-masked-paths"
        "/proc shows memory and keys of the host's kernel to root in the container"
        "add /proc/kcore, /proc/keys, /proc/timer_list and /sys/firmware to linux.maskedPaths"
    WritableSys "writable-sys"
        "root in the container can change devices and settings of the host in /sys"
        "add ro to the options"
    AllDevices "all-devices"
        "the container may open every device, so it can read and write the host's disks"
        "begin linux.resources.devices with {\"allow\": false, \"access\": \"rwm\"}, and allow single devices"
    HostNetwork "host-network"
        "the container uses the host's network: it can reach services that listen only on the loopback address, and open its ports"
        "add {\"type\": \"network\"} to linux.namespaces"
    HostPid "host-pid"
        "the container sees the host's processes, and can signal those of the same user"
        "add {\"type\": \"pid\"} to linux.namespaces"
    HostIpc "host-ipc"
        "the container can use the host's shared memory, semaphores and message queues"
        "add {\"type\": \"ipc\"} to linux.namespaces"
    HostRootUser "host-root-user"
        "without a user namespace, root in the container is root of the host if it ever breaks out"
        "run the program as another user, or add {\"type\": \"user\"} to linux.namespaces with mappings"
    NewPrivileges "new-privileges"
        "set-user-ID programs and file capabilities can raise the privileges of a process"
        "set process.noNewPrivileges to true"
    WritableCgroup "writable-cgroup"
        "the container sees the host's cgroup tree and can write to it, so it can lift its limits or stop other processes"
        "add {\"type\": \"cgroup\"} to linux.namespaces, or ro to the options"
}
