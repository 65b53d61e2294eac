//! The program from its entry to its exit code: reads the command line and calls the verb.

use std::io::Write;

use crate::called_as::{CalledAs, Failure};
use crate::cli::{self, Stop, Verb};
use crate::error::{Context, Error, Report};
use crate::exit_code::{EXEC_FAILURE, SUCCESS};
use crate::state::Store;
use crate::{commands, inherited, interrupt, log, self_protect, sys, timings};

/// The program, from its entry to its exit code.
pub fn main() -> u8 {
    sys::signal::set_own();
    sys::pressure::watch();
    match run() {
        Ok(code) => code,
        Err(Failed { error, failure }) => {
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
            exit_code(failure)
        }
    }
}

/// An error, and what failed.
struct Failed {
    error: Error,
    failure: Failure,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let failure = Failure::Verb;
        Failed { error, failure }
    }
}

/// Prints help: to standard error if it is an answer to a failure.
fn help(help: &cli::Help) -> u8 {
    let text = help.text(CalledAs::own());
    let code = help.failure.map_or(SUCCESS, exit_code);
    // If that fails, there is nowhere to report it.
    let _ = if code == SUCCESS {
        std::io::stdout().write_all(text.as_bytes())
    } else {
        std::io::stderr().write_all(text.as_bytes())
    };
    code
}

/// The exit code of a failure of the runtime itself.
fn exit_code(failure: Failure) -> u8 {
    CalledAs::own().exit_code(failure, cli::calls_exec(std::env::args_os()))
}

fn run() -> Result<u8, Failed> {
    // Before anything else, because it executes this program again.
    if self_protect::is_called_for(std::env::args_os()) {
        self_protect::protect().context("protecting the runtime's binary")?;
    }
    inherited::fill_standard_streams().context("standard streams")?;
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(Stop::Help(asked)) => return Ok(help(&asked)),
        Err(Stop::Mistake(mistake)) => {
            return Err(Failed {
                error: mistake.error(CalledAs::own()),
                failure: mistake.failure(),
            });
        }
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
            sys::pressure::exit_with(CalledAs::own().exit_code(Failure::Verb, true));
            inherited::inherit_only(None, arguments.preserve_fds)?;
        }
        Some(Verb::Debug(_)) => sys::pressure::exit_with(EXEC_FAILURE),
        Some(Verb::Checkpoint(_)) => inherited::inherit_only(None, 0)?,
        _ => {}
    }
    log::open(cli.global.log.as_deref(), cli.global.log_format, cli.global.log_level())?;
    let called_as = CalledAs::own();
    let store = || Store::new(cli.global.root.as_deref(), called_as);
    let verb = match cli.verb {
        Some(verb) if !cli.global.version => verb,
        _ => return Ok(commands::version(called_as, &store())?),
    };
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
        Verb::Version(_) => commands::version(called_as, &store()),
    };
    timings::end(result.is_ok());
    Ok(result?)
}
