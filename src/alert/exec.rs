//! A program that gets each message as JSON on standard input.

use crate::core::channel::Message;
use crate::core::failure::{Failure, Fault, plain};
use crate::core::time::Span;
use crate::ports::{Channel, Reply};
use crate::sys::clock::Clock;
use crate::sys::process::{Exit, Program};

pub struct Exec {
    argv: Vec<String>,
    timeout: Span,
    clock: Clock,
}

/// Characters kept of what a program printed.
const SHOWN: usize = 200;

impl Exec {
    pub fn new(argv: &[String], timeout: Span, clock: &Clock) -> Self {
        Self { argv: argv.to_vec(), timeout, clock: clock.clone() }
    }
}

impl Channel for Exec {
    /// Codes: `alert-program`, `alert-message`.
    fn send<'a>(&'a self, message: &'a Message) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let env = [
                ("PATH", Program::PATH),
                ("NOLAPSE_EVENT", "alert"),
                ("NOLAPSE_OCCASION", message.occasion.word()),
                ("NOLAPSE_GRAVITY", message.gravity.word()),
                ("NOLAPSE_KEY", &message.key),
                ("NOLAPSE_TITLE", &message.title),
            ];
            let program = Program {
                argv: self.argv.clone(),
                env: env.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
                stdin: json(message)?,
                timeout: self.timeout,
                user: None,
            };
            run(&program, &self.clock).await
        })
    }
}

/// The message as one line of JSON.
pub(super) fn json(message: &Message) -> Result<Vec<u8>, Failure> {
    let mut text =
        serde_json::to_vec(message).map_err(|error| Failure::broken("alert-message", error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

/// Runs a program whose success is exit code 0.
pub(super) async fn run(program: &Program, clock: &Clock) -> Result<(), Failure> {
    let name = program.argv.first().map_or("", String::as_str);
    let failed = |words: String| Failure::transient(Fault::Host, "alert-program", words);
    let finished = Box::pin(program.run(clock)).await.map_err(|error| failed(error.to_string()))?;
    let ended = match finished.exit {
        Exit::Code(0) => return Ok(()),
        Exit::Code(number) => format!("{name} ended with exit code {number}"),
        Exit::Signal(number) => format!("{name} was killed by signal {number}"),
        Exit::TimedOut => format!("{name} did not end within {}", program.timeout),
    };
    let said = String::from_utf8_lossy(&finished.output);
    let said = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let said = said.map(|line| format!(": {}", plain(line, SHOWN))).unwrap_or_default();
    Err(failed(format!("{ended}{said}")))
}
