//! Changes made by a program: our own protocol, or that of another ACME client, so that scripts which
//! exist work unchanged. No shell; what a CA or a zone says is an argument or a variable, never code.
//!
//! Our own: the program is run with one more argument, `present` or `cleanup`. Standard input is one
//! line of JSON, and the same stands in the environment:
//!
//! | JSON | Variable | Holds |
//! |---|---|---|
//! | `action` | `NOLAPSE_ACTION` | `present` or `cleanup` |
//! | `record` | `NOLAPSE_RECORD` | where the text belongs, aliases followed: `_acme-challenge.example.com` |
//! | `value` | `NOLAPSE_VALUE` | the text |
//! | `zone` | `NOLAPSE_ZONE` | the zone, where the configuration names it; else left out |
//! | `domain` | `NOLAPSE_DOMAIN` | the name to prove, without a star |
//! | `token` | `NOLAPSE_TOKEN` | the challenge's token |

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::provider::{Entry, Provider};
use crate::core::failure::{Failure, Fault, plain};
use crate::core::name::Token;
use crate::core::spec::{ExecStyle, SolverExec};
use crate::ports::Reply;
use crate::sys::clock::Clock;
use crate::sys::process::{CannotRun, Exit, Finished, Program};

/// Bytes kept of what a certbot hook printed, for its clean-up hook.
const OUTPUT_MAX: usize = 16 << 10;
/// Outputs kept, each of one challenge.
const OUTPUTS_MAX: usize = 256;
/// Characters of a program's output shown in a failure.
const SHOWN: usize = 400;

/// Runs a program for each change.
pub struct ExecProvider {
    spec: SolverExec,
    /// What certbot calls `CERTBOT_AUTH_OUTPUT`. A restart forgets it.
    outputs: Mutex<BTreeMap<Token, String>>,
    clock: Clock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Present,
    Cleanup,
}

impl Deed {
    const fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Cleanup => "cleanup",
        }
    }
}

impl ExecProvider {
    pub fn new(spec: SolverExec, clock: &Clock) -> Self {
        Self { spec, outputs: Mutex::default(), clock: clock.clone() }
    }

    fn program(&self, deed: Deed, entry: &Entry<'_>) -> Program {
        let record = entry.record;
        let mut argv = match (deed, &self.spec.cleanup) {
            (Deed::Cleanup, Some(argv)) => argv.clone(),
            _ => self.spec.run.clone(),
        };
        let mut env = vec![("PATH".to_owned(), Program::PATH.to_owned())];
        let mut set = |key: &str, value: &str| env.push((key.to_owned(), value.to_owned()));
        let mut stdin = Vec::new();
        match self.spec.style {
            ExecStyle::Nolapse => {
                argv.push(deed.word().to_owned());
                let mut facts = BTreeMap::from([
                    ("action", deed.word()),
                    ("record", record.name.as_str()),
                    ("value", &record.value),
                    ("domain", entry.domain),
                    ("token", entry.token.as_str()),
                ]);
                if let Some(zone) = &record.zone {
                    facts.insert("zone", zone.as_str());
                }
                for (key, value) in &facts {
                    set(&format!("NOLAPSE_{}", key.to_ascii_uppercase()), value);
                }
                // Texts as keys and values: always JSON.
                stdin = serde_json::to_vec(&facts).unwrap_or_default();
                stdin.push(b'\n');
            }
            ExecStyle::CertbotManual => {
                set("CERTBOT_DOMAIN", entry.domain);
                set("CERTBOT_IDENTIFIER", entry.domain);
                set("CERTBOT_VALIDATION", &record.value);
                set("CERTBOT_ALL_DOMAINS", entry.domain);
                set("CERTBOT_ALL_IDENTIFIERS", entry.domain);
                set("CERTBOT_REMAINING_CHALLENGES", "0");
                if deed == Deed::Cleanup {
                    let outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
                    set("CERTBOT_AUTH_OUTPUT", outputs.get(entry.token).map_or("", String::as_str));
                }
            }
            ExecStyle::Lego => {
                argv.extend([deed.word().to_owned(), record.name.absolute(), record.value.clone()]);
            }
            ExecStyle::Dehydrated => {
                let function = match deed {
                    Deed::Present => "deploy_challenge",
                    Deed::Cleanup => "clean_challenge",
                };
                argv.extend([function, entry.domain, entry.token.as_str(), &record.value].map(str::to_owned));
            }
        }
        Program { argv, env, stdin, timeout: self.spec.timeout, user: self.spec.user.clone() }
    }

    async fn run(&self, deed: Deed, entry: &Entry<'_>) -> Result<(), Failure> {
        let program = self.program(deed, entry);
        let finished = Box::pin(program.run(&self.clock)).await.map_err(|error| cannot(&error))?;
        if !finished.exit.success() {
            let name = program.argv.first().map_or("", String::as_str);
            let words = format!(
                "{name} did not {} the text at {}: {}{}",
                if deed == Deed::Present { "set" } else { "take away" },
                entry.record.name,
                ended(finished.exit, &program),
                said(&finished)
            );
            return Err(Failure::transient(Fault::Host, "dns-change-failed", words));
        }
        if self.spec.style == ExecStyle::CertbotManual {
            self.keep(deed, entry.token, &finished);
        }
        Ok(())
    }

    fn keep(&self, deed: Deed, token: &Token, finished: &Finished) {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        if deed == Deed::Cleanup {
            outputs.remove(token);
            return;
        }
        while outputs.len() >= OUTPUTS_MAX {
            outputs.pop_first();
        }
        let kept = &finished.output[..finished.output.len().min(OUTPUT_MAX)];
        // A variable can't hold a NUL.
        outputs.insert(token.clone(), String::from_utf8_lossy(kept).trim().replace('\0', ""));
    }
}

impl Provider for ExecProvider {
    fn needs_zone(&self) -> bool {
        false
    }

    /// Codes: `dns-change-failed`, `dns-program`.
    fn add<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(self.run(Deed::Present, entry))
    }

    fn remove<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(self.run(Deed::Cleanup, entry))
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async move {
            for argv in std::iter::once(&self.spec.run).chain(&self.spec.cleanup) {
                let program = Program {
                    argv: argv.clone(),
                    env: Vec::new(),
                    stdin: Vec::new(),
                    timeout: self.spec.timeout,
                    user: None,
                };
                program.locate().map_err(|error| cannot(&error))?;
            }
            Ok(())
        })
    }
}

fn cannot(error: &CannotRun) -> Failure {
    if matches!(error, CannotRun::Refused { .. }) {
        return Failure::transient(Fault::Host, "dns-change-failed", error.to_string());
    }
    let words = format!("{error}; the solver needs a program that this user may run");
    Failure::refused(Fault::Config, "dns-program", words)
}

fn ended(exit: Exit, program: &Program) -> String {
    match exit {
        Exit::TimedOut => format!("it did not end within {} and was stopped", program.timeout),
        other => other.to_string(),
    }
}

/// The end of what it printed, on one line.
fn said(finished: &Finished) -> String {
    let text = String::from_utf8_lossy(&finished.output);
    let joined = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ");
    if joined.is_empty() {
        return ", and printed nothing".to_owned();
    }
    let skipped = joined.chars().count().saturating_sub(SHOWN);
    let end: String = joined.chars().skip(skipped).collect();
    format!(": {}{}", if skipped > 0 { "…" } else { "" }, plain(&end, SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dns::DomainName;
    use crate::core::time::Span;
    use crate::solve::dns01::ProofRecord;

    fn program(style: ExecStyle, deed: Deed) -> Program {
        let spec = SolverExec {
            run: vec!["/h".into(), "-q".into()],
            cleanup: None,
            style,
            user: None,
            timeout: Span::MINUTE,
        };
        let name = |text: &str| DomainName::parse(text).unwrap();
        let record = ProofRecord {
            name: name("_acme-challenge.a.example"),
            value: "v".into(),
            zone: Some(name("example")),
        };
        let token = Token::parse("tok").unwrap();
        let entry = Entry { domain: "a.example", token: &token, record: &record, key_authorization: None };
        ExecProvider::new(spec, &Clock::wall()).program(deed, &entry)
    }

    #[test]
    fn each_style_is_called_as_its_client_calls() {
        for (style, deed, arguments) in [
            (ExecStyle::Nolapse, Deed::Present, &["present"][..]),
            (ExecStyle::Lego, Deed::Present, &["present", "_acme-challenge.a.example.", "v"]),
            (ExecStyle::Lego, Deed::Cleanup, &["cleanup", "_acme-challenge.a.example.", "v"]),
            (ExecStyle::Dehydrated, Deed::Present, &["deploy_challenge", "a.example", "tok", "v"]),
            (ExecStyle::Dehydrated, Deed::Cleanup, &["clean_challenge", "a.example", "tok", "v"]),
            (ExecStyle::CertbotManual, Deed::Present, &[]),
        ] {
            let program = program(style, deed);
            assert_eq!(program.argv[..2], ["/h", "-q"]);
            assert_eq!(program.argv[2..], *arguments, "{style:?}");
        }
    }

    #[test]
    fn what_our_own_protocol_says_stands_in_both_places() {
        let program = program(ExecStyle::Nolapse, Deed::Cleanup);
        let said: BTreeMap<String, String> = serde_json::from_slice(&program.stdin).unwrap();
        assert_eq!(said.len(), 6);
        for (key, value) in said {
            let variable = (format!("NOLAPSE_{}", key.to_uppercase()), value);
            assert!(program.env.contains(&variable), "{variable:?}");
        }
    }
}
