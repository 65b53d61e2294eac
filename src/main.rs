//! orlop, an OCI container runtime.
//!
//! The modules follow the walk of a container; read them in this order to see one start:
//!
//! | | module | who runs it | what happens |
//! |---|---|---|---|
//! | 1 | [`commands`] | runtime | one verb, which calls the next chapters |
//! | 2 | [`bundle`] | runtime | config.json → a validated `Plan`; nothing is done yet |
//! | 3 | [`state`] | runtime | the container's directory and what is remembered in it |
//! | 4 | [`cgroup`] | runtime | the cgroup leaf and its rules |
//! | 5 | [`launch`] | runtime | the clone, and the conversation with init |
//! | 6 | [`rootfs`] | init | mounts, devices, masks, the new root |
//! | 7 | [`init`] | init | the steps in their order, and waiting for `start` |
//! | 8 | [`security`] | init | capabilities and the rest of the confinement |
//! | 9 | [`init`]`::exec` | init | execve, or why not |
//!
//! `exec` goes a shorter way, by [`bundle`]`::exec`, [`launch`]`::exec` and [`init`]`::join`, to the same steps 7 to 9.
//!
//! Beside the walk: the [`protocol`] between the runtime and init, the maps of user namespaces ([`idmap`]), [`hooks`], other
//! programs of the host ([`host_program`]), signals that interrupt the runtime ([`interrupt`]), how far it has come
//! ([`progress`]), the kernel's lists of numbers ([`id_list`]), the [`error`] model, the [`log`], the [`cli`], and [`sys`], the
//! only home of unsafe code.
#![deny(unsafe_code, clippy::disallowed_methods)]
// The C entry point is in `sys::entry`: what std does before `main` would cost a tenth of a container's start.
#![cfg_attr(target_env = "gnu", no_main)]

#[cfg(not(target_os = "linux"))]
compile_error!("orlop is made of Linux's system calls: build it for a target whose name contains -linux-");
#[cfg(not(target_pointer_width = "64"))]
compile_error!("orlop needs a 64-bit target: flags of mounts and times are taken to have 64 bits");

mod cli;

mod bundle;
mod cgroup;
mod commands;
mod init;
mod launch;
mod rootfs;
mod security;
mod state;

mod error;
mod hooks;
mod host_program;
mod id_list;
mod idmap;
mod interrupt;
mod log;
mod progress;
mod protocol;
mod sys;

use cli::Verb;
use error::{Context, Report, Result};
use state::Store;

/// The version of the runtime-spec that orlop implements.
const OCI_VERSION: &str = "1.3.0";

/// Exit codes of the runtime itself. A container's own come through `run`.
const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
/// Of `exec`, whose caller must be able to tell our failure from the program's.
const EXEC_FAILURE: u8 = 255;

/// The entry where it is not glibc's (`sys::entry`).
#[cfg(any(test, not(target_env = "gnu")))]
fn main() -> std::process::ExitCode {
    sys::signal::set_own();
    program().into()
}

/// The program, from its entry to its exit code.
fn program() -> u8 {
    sys::pressure::watch();
    match run() {
        Ok(code) => code,
        Err(error) => {
            // Engines read the log and not stderr, so what fails before the log is open is told there too.
            if !log::is_open() {
                let (file, format) = cli::log_of(std::env::args_os());
                // Where even that fails there is still stderr.
                let _ = log::open(file.as_deref(), format, log::Level::Warning);
            }
            log::failure(&Report::of(&error));
            if let Some(signal) = interrupt::received() {
                sys::signal::end_by(signal);
            }
            failure()
        }
    }
}

fn asks_for_help(answer: &clap::Error) -> bool {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    matches!(
        answer.kind(),
        DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion
    )
}

/// The exit code for a failure of our own.
fn failure() -> u8 {
    if cli::calls_exec(std::env::args_os()) {
        EXEC_FAILURE
    } else {
        FAILURE
    }
}

fn run() -> Result<u8> {
    // Before anything else, because it starts this program once more.
    if launch::own_binary::is_called_for(std::env::args_os()) {
        launch::own_binary::protect().context("protecting the own binary")?;
    }
    commands::fill_standard_streams().context("standard streams")?;
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(cli::Answer::Said(said)) if asks_for_help(&said) => {
            // To standard output, or to standard error if nothing was asked; nothing can be done if that takes nothing.
            let _ = said.print();
            return Ok(if said.use_stderr() { failure() } else { SUCCESS });
        }
        Err(answer) => return Err(cli::mistake(&answer)),
    };
    match &cli.verb {
        Some(Verb::Create(cli::Create { making, .. }) | Verb::Run(cli::Run { making, .. })) => {
            commands::create::inherit_only(commands::activation::inherited()?.as_ref(), making.preserve_fds)?;
        }
        Some(Verb::Exec(arguments)) => {
            sys::pressure::exit_with(EXEC_FAILURE);
            commands::create::inherit_only(None, arguments.preserve_fds)?;
        }
        _ => {}
    }
    log::open(cli.global.log.as_deref(), cli.global.log_format, cli.global.log_level())?;
    if cli.global.version {
        return commands::version();
    }
    let Some(verb) = cli.verb else {
        return commands::version();
    };
    let store = || Store::new(cli.global.root.as_deref());
    // Some of it is about how cgroups are made; of a container that exists that is remembered.
    let global = &cli.global;
    match verb {
        Verb::Create(arguments) => commands::create::run(&store()?, &arguments, global),
        Verb::Start(arguments) => commands::start::run(&store()?, &arguments.id),
        Verb::Run(arguments) => commands::run::run(&store()?, &arguments, global),
        Verb::Exec(arguments) => commands::exec::run(&store()?, &arguments),
        Verb::State(arguments) => commands::state::run(&store()?, &arguments.id),
        Verb::Kill(arguments) => commands::kill::run(&store()?, &arguments),
        Verb::Delete(arguments) => commands::delete::run(&store()?, &arguments, global.strict),
        Verb::List(arguments) => commands::list::run(&store()?, &arguments),
        Verb::Ps(arguments) => commands::ps::run(&store()?, &arguments),
        Verb::Events(arguments) => commands::events::run(&store()?, &arguments),
        Verb::Pause(arguments) => commands::freezing::pause(&store()?, &arguments.id),
        Verb::Resume(arguments) => commands::freezing::resume(&store()?, &arguments.id),
        Verb::Mounts(arguments) => commands::mounts::run(&store()?, &arguments),
        Verb::Update(arguments) => commands::update::run(&store()?, &arguments),
        Verb::Spec(arguments) => commands::spec::run(&arguments),
        Verb::Seccomp(arguments) => commands::seccomp::run(&arguments),
        Verb::Features(_) => commands::features::run(),
        Verb::Version(_) => commands::version(),
    }
}
