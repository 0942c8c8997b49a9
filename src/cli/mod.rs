//! The floor that prints and exits. One file a verb.

mod ack;
mod add;
mod adopt;
mod advice;
mod alert;
pub mod args;
mod check;
mod deploy;
mod discover;
mod dns_persist;
mod doctor;
mod draft;
mod entry;
mod explain;
mod forecast;
mod forget;
mod generate;
mod held;
mod host;
mod init;
mod mount;
mod offer;
mod once;
mod owner;
mod page;
mod pause;
pub mod print;
pub mod publish;
mod reader;
mod rehearse;
mod release;
mod renew;
pub mod report;
mod rival;
mod rollback;
mod run;
mod runner;
mod select;
mod sheet;
mod skew;
mod status;
mod test_hook;
mod unit;
mod watch;
pub mod watched;

use std::process::ExitCode;

use crate::cli::args::{Arguments, Verb};
use crate::core::failure::Failure;
use crate::wire::{self, Loaded, Places, Unusable};

/// Exit codes, the same for every verb but `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Nothing is wrong.
    Fine,
    Failed,
    Usage,
    /// Renewed, but not installed, reloaded or observed.
    Owing,
    /// Another process holds the claim.
    Busy,
    Configuration,
    /// With `--exit-code`: something was renewed and all is well.
    Renewed,
    /// `status`: as monitoring plugins say it.
    Plugin(u8),
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Owing => 3,
            Self::Busy => 4,
            Self::Configuration => 5,
            Self::Renewed => 10,
            Self::Plugin(code) => code,
        }
    }
}

/// Why a verb could not do its work at all.
#[derive(Debug)]
pub enum Stop {
    /// Already printed; only the code is left.
    Said(Exit),
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Reads the configuration and prints all its problems, at once.
fn load(places: &Places) -> Result<Loaded, Stop> {
    match wire::load(places) {
        Ok(loaded) => {
            for problem in &loaded.resolved.problems {
                print::note(&problem.to_string());
            }
            Ok(loaded)
        }
        Err(Unusable::Failure(failure)) => Err(failure.into()),
        Err(Unusable::Problems(problems)) => {
            for problem in problems {
                print::note(&problem.to_string());
            }
            print::error("the configuration can't be used; nothing was changed");
            Err(Stop::Said(Exit::Configuration))
        }
    }
}

/// Does what was typed. To be called before anything is opened: whatever else whoever started us
/// left open is closed.
pub fn run(arguments: &Arguments) -> ExitCode {
    crate::sys::descriptors::close_inherited();
    let places = &arguments.places;
    let done = match &arguments.verb {
        Verb::Run => run::run(places),
        Verb::Once(once) => once::run(places, once),
        Verb::Renew(renew) => renew::run(places, renew),
        Verb::Deploy(deploy) => deploy::run(places, deploy),
        Verb::Rollback(rollback) => rollback::run(places, rollback),
        Verb::Unpin(unpin) => rollback::unpin(places, unpin),
        Verb::TestHook(test) => test_hook::run(places, test),
        Verb::Status(status) => status::run(places, status),
        Verb::Watch(watch) => watch::run(places, watch),
        Verb::Discover(discover) => discover::run(places, discover),
        Verb::Explain(explain) => explain::run(places, explain),
        Verb::DnsPersist(asked) => dns_persist::run(places, asked),
        Verb::Forecast(asked) => forecast::run(places, asked),
        Verb::Pause(pause) => pause::run(places, pause),
        Verb::Ack(ack) => ack::run(places, ack),
        Verb::Alert(alert) => alert::run(places, alert),
        Verb::Forget(forget) => forget::run(places, forget),
        Verb::Init(init) => init::run(places, init),
        Verb::Add(add) => add::run(places, add),
        Verb::Adopt(adopt) => adopt::run(places, adopt),
        Verb::Release(release) => release::run(places, release),
        Verb::Check(check) => check::run(places, check),
        Verb::Doctor(doctor) => doctor::run(places, doctor),
        Verb::Generate(generate) => generate::run(places, generate),
    };
    let exit = match done {
        Ok(exit) | Err(Stop::Said(exit)) => exit,
        Err(Stop::Failure(failure)) => {
            print::error(&failure.to_string());
            match failure.fault {
                crate::core::failure::Fault::Config => Exit::Configuration,
                _ => Exit::Failed,
            }
        }
    };
    ExitCode::from(exit.code())
}
