//! `[hook.NAME]` and `[service.NAME]`: what is told about a new certificate, and where it must
//! then be seen.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeValue;

use super::observe;
use super::problem::Problems;
use super::raw::{Section, Word, wrong_type};
use super::table::{METHOD_WORDS, SIGNAL_WORDS, Table};
use super::value::{self, Url};
use crate::core::endpoint::Endpoint;
use crate::core::name::{BadName, HookId};
use crate::core::spec::{Call, HookSpec, HttpCall, SignalTarget};
use crate::core::time::Span;

/// A service as the certificates see it.
pub(super) struct Service<'a> {
    pub hook: HookSpec,
    pub observe: Vec<Endpoint>,
    /// Not looked up yet.
    pub solvers: Vec<super::raw::Word<'a>>,
}

/// Longest time that a hook may take.
pub(super) const TIMEOUT_MAX: Span = Span::HOUR;

const TIMEOUT_LEAST: Span = Span::secs(1);
const TIMEOUT_DEFAULT: Span = Span::MINUTE;

/// Reads one hook; `None` when it can't be used, which was then reported.
pub(super) fn resolve(id: HookId, section: &Section<'_>, problems: &mut Problems) -> Option<HookSpec> {
    let check = check(section, problems);
    let timeout = timeout(section, problems);
    let call = call(section, "run", problems)?;
    let (user, after) = (user(section, problems)?, after(section, problems)?);
    Some(HookSpec { id, check, call, user, after, timeout, origin: section.head.place() })
}

/// Reads one service; `None` when it can't be used, which was then reported.
pub(super) fn service<'a>(id: HookId, section: &Section<'a>, problems: &mut Problems) -> Option<Service<'a>> {
    let check = check(section, problems);
    let timeout = timeout(section, problems);
    let observe = match section.find("observe") {
        Some(_) => observe::endpoints(section, problems)?,
        None => Vec::new(),
    };
    let solvers = section.texts("solver", problems).unwrap_or_default();
    let call = call(section, "reload", problems)?;
    let (user, after) = (user(section, problems)?, after(section, problems)?);
    let hook = HookSpec { id, check, call, user, after, timeout, origin: section.head.place() };
    Some(Service { hook, observe, solvers })
}

/// `None`: it can't be used, which was reported.
#[expect(clippy::option_option, reason = "left out, or wrong")]
fn user(section: &Section<'_>, problems: &mut Problems) -> Option<Option<String>> {
    if section.find("user").is_none() {
        return Some(None);
    }
    section.parsed("user", "bad-user", super::output::account_name, problems).map(Some)
}

/// Names that are checked when all hooks are known.
fn after(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<HookId>> {
    if section.find("after").is_none() {
        return Some(Vec::new());
    }
    let words = section.texts("after", problems)?;
    words.iter().map(|word| word.parse("bad-name", HookId::parse, problems)).collect()
}

/// Refuses hooks that would wait for each other, or for something that there is not.
pub(super) fn check_order<'a>(
    sections: &[(&'a str, &Section<'a>)],
    known: &[&dyn super::certificate::Names],
    problems: &mut Problems,
) -> Vec<&'a str> {
    let mut wrong = Vec::new();
    let waits: BTreeMap<&str, Vec<Word<'a>>> = sections
        .iter()
        // What is no list of texts was reported when the hook was read.
        .filter_map(|(name, section)| Some((*name, section.texts("after", &mut Problems::default())?)))
        .collect();
    for (name, section) in sections {
        let words = waits.get(name).map(Vec::as_slice).unwrap_or_default();
        let unknown = words.iter().filter(|word| {
            !super::certificate::refuse_unknown_name(word, "hook", "unknown-hook", known, problems)
        });
        let mut bad = unknown.count() > 0;
        let mut todo: Vec<&str> = words.iter().map(|word| word.text).collect();
        let mut seen = BTreeSet::new();
        while let Some(next) = todo.pop() {
            if next == *name {
                let words = format!("`{name}` comes after itself, by way of others perhaps");
                problems.error(&section.head, "hook-cycle", words);
                bad = true;
                break;
            }
            if seen.insert(next) {
                todo.extend(waits.get(next).into_iter().flatten().map(|word| word.text));
            }
        }
        if bad {
            wrong.push(*name);
        }
    }
    wrong
}

/// Exactly one way of telling; `run` is what a program's key is called here.
fn call(section: &Section<'_>, run: &'static str, problems: &mut Problems) -> Option<Call> {
    let ways: &[&str] = match run {
        "run" => &["run", "run-parts", "signal", "http", "haproxy-socket"],
        _ => &[run, "signal", "http", "haproxy-socket"],
    };
    Some(match section.one_of(ways, problems)? {
        "run-parts" => Call::Parts(section.parsed("run-parts", "bad-path", value::file_path, problems)?),
        "signal" => signal(section, problems)?,
        "http" => request(section, problems)?,
        "haproxy-socket" => {
            Call::Haproxy(section.parsed("haproxy-socket", "bad-path", value::file_path, problems)?)
        }
        run => Call::Run(program(section, run, problems)?),
    })
}

fn timeout(section: &Section<'_>, problems: &mut Problems) -> Span {
    section.span("timeout", TIMEOUT_LEAST, TIMEOUT_MAX, problems).unwrap_or(TIMEOUT_DEFAULT)
}

fn check(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    section.argv("check", problems).filter(|argv| !argv.is_empty())
}

fn program(section: &Section<'_>, key: &str, problems: &mut Problems) -> Option<Vec<String>> {
    let argv = section.argv(key, problems)?;
    if argv.is_empty()
        && let Some(found) = section.find(key)
    {
        problems.error(&found.spot, "bad-program", format!("`{key}` names no program"));
        return None;
    }
    Some(argv)
}

fn signal(section: &Section<'_>, problems: &mut Problems) -> Option<Call> {
    let section = section.inner("signal", Table::Signal, problems)?;
    let signal = match section.text("name", problems) {
        // Written either way; kept without the prefix.
        Some(word) => {
            match SIGNAL_WORDS.iter().find(|known| word.text.trim_start_matches("SIG") == **known) {
                Some(known) => *known,
                None => section.choice("name", SIGNAL_WORDS, problems)?,
            }
        }
        None if section.find("name").is_some() => return None,
        None => "HUP",
    };
    let target = if section.one_of(&["pid-file", "process"], problems)? == "pid-file" {
        SignalTarget::PidFile(section.parsed("pid-file", "bad-path", value::file_path, problems)?)
    } else {
        SignalTarget::Process(section.parsed("process", "bad-process", process, problems)?)
    };
    Some(Call::Signal { signal: signal.to_owned(), target })
}

/// A process name as the kernel keeps it, `TASK_COMM_LEN` less its NUL.
fn process(text: &str) -> Result<String, BadName> {
    if text.is_empty() || text.len() > 15 {
        return Err(BadName("a process name has 1 to 15 characters, as in /proc/PID/comm"));
    }
    if text.contains('/') || text.chars().any(char::is_control) {
        return Err(BadName("a process name is not a path"));
    }
    Ok(text.to_owned())
}

fn request(section: &Section<'_>, problems: &mut Problems) -> Option<Call> {
    let found = section.find("http")?;
    let address = |text: &str| Url::parse(text).map(|_| text.to_owned());
    match found.value {
        DeValue::String(_) => {
            let url = section.parsed("http", "bad-url", address, problems)?;
            Some(Call::Http(HttpCall { method: "POST".to_owned(), url, ..HttpCall::default() }))
        }
        DeValue::Table(_) => {
            let inner = section.inner("http", Table::Request, problems)?;
            let method = match inner.find("method") {
                Some(_) => inner.choice("method", METHOD_WORDS, problems)?,
                None => "POST",
            };
            inner.needed_text("url", problems)?;
            let url = inner.parsed("url", "bad-url", address, problems)?;
            let body_file = match inner.find("body-file") {
                Some(_) => Some(inner.parsed("body-file", "bad-path", value::file_path, problems)?),
                None => None,
            };
            let words = inner.texts("headers", problems).unwrap_or_default();
            let headers: Vec<Option<_>> = words.iter().map(|word| header(word, problems)).collect();
            let headers = headers.into_iter().collect::<Option<_>>()?;
            Some(Call::Http(HttpCall { method: method.to_owned(), url, body_file, headers }))
        }
        other => {
            wrong_type(&found.spot, "a URL or a table", other, problems);
            None
        }
    }
}

/// Headers that hold what does not belong in this file.
const SECRET_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// `Name: value`.
fn header(word: &super::raw::Word<'_>, problems: &mut Problems) -> Option<(String, String)> {
    let (name, value) = word.parse("bad-header", split_header, problems)?;
    if SECRET_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        problems.error_hint(
            &word.spot,
            "secret-in-config",
            format!("`{name}`: a secret does not belong in this file"),
            "use a program in `run` that reads it from a file of its own",
        );
        return None;
    }
    Some((name, value))
}

pub(super) fn split_header(text: &str) -> Result<(String, String), BadName> {
    // RFC 9110 §5.6.2: a token.
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    text.split_once(':')
        .map(|(name, value)| (name.trim(), value.trim()))
        .filter(|(name, _)| !name.is_empty() && name.bytes().all(is_token))
        .filter(|(_, value)| value.bytes().all(|c| c.is_ascii_graphic() || c == b' '))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or(BadName("a header is written as \"Name: value\", in ASCII"))
}
