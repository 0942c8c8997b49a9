//! `[discover]`: what discovery asks beside this host. Nothing, unless it is told to.

use super::problem::Problems;
use super::raw::Section;
use super::table::Table;
use super::value::Url;
use crate::core::name::BadName;
use crate::core::time::Span;

/// A source of names that certificates were issued for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transparency {
    pub from: NamesSource,
    /// Bound on one answer.
    pub timeout: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamesSource {
    /// A program and its arguments.
    Exec(Vec<String>),
    /// With `{domain}` where the domain belongs.
    Url(String),
}

/// What stands in a URL for the domain that is asked about.
pub const DOMAIN: &str = "{domain}";
const TIMEOUT: Span = Span::MINUTE;
const TIMEOUT_LEAST: Span = Span::secs(1);
const TIMEOUT_MOST: Span = Span::minutes(10);

pub(super) fn resolve(section: &Section<'_>, problems: &mut Problems) -> Option<Transparency> {
    let source = section.inner("ct", Table::Transparency, problems)?;
    let timeout = source.span("timeout", TIMEOUT_LEAST, TIMEOUT_MOST, problems).unwrap_or(TIMEOUT);
    let from = match source.one_of(&["exec", "url"], problems)? {
        "exec" => {
            let argv = source.argv("exec", problems)?;
            if argv.is_empty() {
                problems.error(&source.head, "bad-program", "`exec` names a program");
                return None;
            }
            NamesSource::Exec(argv)
        }
        _ => NamesSource::Url(source.parsed("url", "bad-url", url, problems)?),
    };
    Some(Transparency { from, timeout })
}

fn url(text: &str) -> Result<String, BadName> {
    if !text.contains(DOMAIN) {
        return Err(BadName("the URL says {domain} where the domain belongs"));
    }
    // A place that any domain may take.
    Url::parse(&text.replace(DOMAIN, "example.com")).map(|_| text.to_owned())
}
