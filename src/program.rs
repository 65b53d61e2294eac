//! The program from its entry to its exit code: reads the command line and calls the verb.

use std::io::Write;

use crate::cli::{self, Stop, Verb};
use crate::error::{Context, Report, Result};
use crate::exit_code::{EXEC_FAILURE, FAILURE, SUCCESS};
use crate::state::Store;
use crate::{commands, inherited, interrupt, log, self_protect, sys, timings};

/// The program, from its entry to its exit code.
pub fn main() -> u8 {
    sys::signal::set_own();
    sys::pressure::watch();
    match run() {
        Ok(code) => code,
        Err(error) => {
            // Engines read the log and not standard error, so an error before the log is open is written to it as well.
            if !log::is_open() {
                let (file, format) = cli::log_of(std::env::args_os());
                // If that fails too, there is still standard error.
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

/// Prints help: to standard error unless it was asked for.
fn help(help: &cli::Help) -> u8 {
    let text = help.text();
    // If that fails, there is nowhere to report it.
    if help.asked {
        let _ = std::io::stdout().write_all(text.as_bytes());
        SUCCESS
    } else {
        let _ = std::io::stderr().write_all(text.as_bytes());
        failure()
    }
}

/// The exit code of a failure of the runtime itself.
fn failure() -> u8 {
    if cli::calls_exec(std::env::args_os()) {
        EXEC_FAILURE
    } else {
        FAILURE
    }
}

fn run() -> Result<u8> {
    // Before anything else, because it executes this program again.
    if self_protect::is_called_for(std::env::args_os()) {
        self_protect::protect().context("protecting the runtime's binary")?;
    }
    inherited::fill_standard_streams().context("standard streams")?;
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(Stop::Help(asked)) => return Ok(help(&asked)),
        Err(Stop::Mistake(mistake)) => return Err(mistake.error()),
    };
    match &cli.verb {
        Some(
            Verb::Create(cli::Create { common, .. })
            | Verb::Run(cli::Run { common, .. })
            | Verb::Restore(cli::Restore { common, .. }),
        ) => {
            inherited::inherit_only(inherited::activation()?.as_ref(), common.preserve_fds)?;
        }
        Some(Verb::Exec(arguments)) => {
            sys::pressure::exit_with(EXEC_FAILURE);
            inherited::inherit_only(None, arguments.preserve_fds)?;
        }
        Some(Verb::Debug(_)) => sys::pressure::exit_with(EXEC_FAILURE),
        Some(Verb::Checkpoint(_)) => inherited::inherit_only(None, 0)?,
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
    // The cgroup options matter only for a new container; an existing one has them in its state.
    let global = &cli.global;
    let result = match verb {
        Verb::Create(arguments) => commands::create::run(&store()?, &arguments, global),
        Verb::Start(arguments) => commands::start::run(&store()?, &arguments),
        Verb::Run(arguments) => commands::run::run(&store()?, &arguments, global),
        Verb::Exec(arguments) => commands::exec::run(&store()?, &arguments),
        Verb::State(arguments) => commands::state::run(&store()?, &arguments.id),
        Verb::Inspect(arguments) => commands::inspect::run(&store()?, &arguments),
        Verb::Kill(arguments) => commands::kill::run(&store()?, &arguments),
        Verb::Debug(arguments) => commands::debug::run(&store()?, &arguments),
        Verb::Delete(arguments) => commands::delete::run(&store()?, &arguments, global.strict),
        Verb::List(arguments) => commands::list::run(&store()?, &arguments),
        Verb::Ps(arguments) => commands::ps::run(&store()?, &arguments),
        Verb::Events(arguments) => commands::events::run(&store()?, &arguments),
        Verb::Top(arguments) => commands::top::run(&store()?, &arguments),
        Verb::Metrics(arguments) => commands::metrics::run(&store()?, &arguments),
        Verb::Pause(arguments) => commands::freezing::pause(&store()?, &arguments.id),
        Verb::Resume(arguments) => commands::freezing::resume(&store()?, &arguments.id),
        Verb::Checkpoint(arguments) => commands::checkpoint::run(&store()?, &arguments),
        Verb::Restore(arguments) => commands::restore::run(&store()?, &arguments, global),
        Verb::Mounts(arguments) => commands::mounts::run(&store()?, &arguments),
        Verb::Update(arguments) => commands::update::run(&store()?, &arguments),
        Verb::Spec(arguments) => commands::spec::run(&arguments),
        Verb::Check(arguments) => commands::check::run(&arguments, global),
        Verb::Seccomp(arguments) => commands::seccomp::run(&arguments),
        Verb::Info(arguments) => commands::info::run(&store(), &arguments, self_protect::means()),
        Verb::Features(_) => commands::features::run(),
        Verb::Timings(arguments) => commands::timings::run(&arguments),
        Verb::Version(_) => commands::version(),
    };
    timings::end(result.is_ok());
    result
}
