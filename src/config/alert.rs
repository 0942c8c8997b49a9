//! `[alert.NAME]` and `[heartbeat]`: who is told what, and how.

use super::hook::split_header;
use super::problem::Problems;
use super::raw::Section;
use super::table::{ALERT_WORDS, GRAVITY_WORDS, MAIL_TLS_WORDS, Table};
use super::value::{self, Url};
use crate::core::channel::{Beat, ChannelKind, ChannelSpec, Email, HeartbeatSpec, MailTls, Webhook};
use crate::core::gravity::Gravity;
use crate::core::name::{BadName, ChannelId};
use crate::core::spec::SecretSource;
use crate::core::time::Span;

/// Whom alerts go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertSettings {
    /// By name.
    pub channels: Vec<ChannelSpec>,
    pub heartbeat: Option<HeartbeatSpec>,
}

/// Most channels.
pub(super) const CHANNELS_MAX: usize = 16;
/// Most addresses of one mail.
const TO_MAX: usize = 20;
const TIMEOUT: Span = Span::secs(30);
const TIMEOUT_LEAST: Span = Span::secs(1);
const TIMEOUT_MAX: Span = Span::minutes(2);
const EVERY: Span = Span::HOUR;
const EVERY_LEAST: Span = Span::MINUTE;
const EVERY_MAX: Span = Span::days(7);
const SYSLOG: &str = "/dev/log";
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Which keys go with which type, besides those that all have.
const OWN: [(&str, &[&str]); 5] = [
    ("exec", &["run"]),
    ("webhook", &["url", "headers", "body", "secret", "ca-file"]),
    ("email", &["server", "tls", "from", "to", "user", "password", "ca-file"]),
    ("syslog", &["socket"]),
    ("journal", &["socket"]),
];
const COMMON: [&str; 4] = ["type", "least", "labels", "timeout"];

pub(super) fn channel(id: ChannelId, section: &Section<'_>, problems: &mut Problems) -> Option<ChannelSpec> {
    section.needed_text("type", problems)?;
    let kind = section.choice("type", ALERT_WORDS, problems)?;
    let before = problems.noted();
    refuse_foreign(kind, section, problems);
    let spec = ChannelSpec {
        id,
        least: least(section, problems),
        labels: section.labels("labels", problems),
        timeout: section.span("timeout", TIMEOUT_LEAST, TIMEOUT_MAX, problems).unwrap_or(TIMEOUT),
        kind: match kind {
            "exec" => ChannelKind::Exec { argv: program(section, problems)? },
            "webhook" => ChannelKind::Webhook(webhook(section, problems)?),
            "email" => ChannelKind::Email(Box::new(email(section, problems)?)),
            "syslog" => ChannelKind::Syslog { socket: socket(section, SYSLOG, problems) },
            _ => ChannelKind::Journal { socket: socket(section, JOURNAL, problems) },
        },
    };
    (problems.noted() == before).then_some(spec)
}

/// A key of another type would be passed over in silence.
fn refuse_foreign(kind: &str, section: &Section<'_>, problems: &mut Problems) {
    let own = OWN.iter().find(|(word, _)| *word == kind).map_or(&[][..], |(_, keys)| *keys);
    for key in Table::Alert.keys().filter(|key| !COMMON.contains(&key.name) && !own.contains(&key.name)) {
        for name in key.names() {
            if let Some(found) = section.find(&name) {
                problems.error(
                    &found.spot,
                    "unknown-key",
                    format!("`{name}` does not go with type \"{kind}\""),
                );
            }
        }
    }
}

fn least(section: &Section<'_>, problems: &mut Problems) -> Gravity {
    match section.choice("least", GRAVITY_WORDS, problems) {
        Some("page") => Gravity::Page,
        Some("ticket") => Gravity::Ticket,
        _ => Gravity::Notice,
    }
}

fn program(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    let argv = section.argv("run", problems);
    if argv.as_ref().is_none_or(Vec::is_empty) {
        let spot = section.find("run").map_or_else(|| section.head.clone(), |found| found.spot);
        problems.error(&spot, "missing-key", "`run` names the program and its arguments");
        return None;
    }
    argv
}

/// Read only where one is given.
fn secret(section: &Section<'_>, stem: &str, problems: &mut Problems) -> Option<SecretSource> {
    let key = section.kind.keys().find(|key| key.name == stem)?;
    let given = key.names().iter().any(|name| section.find(name).is_some());
    if given { section.secret(stem, problems) } else { None }
}

fn url(section: &Section<'_>, key: &str, problems: &mut Problems) -> Option<String> {
    section.parsed(key, "bad-url", |text| secret_url(text).map(|()| text.to_owned()), problems)
}

/// A URL in which `${secret}` may stand after the host.
fn secret_url(text: &str) -> Result<(), BadName> {
    let url = Url::parse(&text.replace(SECRET, "x"))?;
    if text.contains(SECRET) && !url.https && !url.is_loopback() {
        return Err(BadName("a URL with a secret in it is https://"));
    }
    let host = text.split_once("://").map_or(text, |(_, rest)| rest).split('/').next().unwrap_or_default();
    if host.contains(SECRET) {
        Err(BadName("a secret stands in the path of a URL, not in its host"))
    } else {
        Ok(())
    }
}

const SECRET: &str = "${secret}";

fn webhook(section: &Section<'_>, problems: &mut Problems) -> Option<Webhook> {
    section.needed_text("url", problems)?;
    let secret = secret(section, "secret", problems);
    let mut headers = Vec::new();
    for word in section.texts("headers", problems).unwrap_or_default() {
        let (name, value) = word.parse("bad-header", split_header, problems)?;
        let hides = ["authorization", "proxy-authorization", "cookie", "x-api-key"];
        if hides.contains(&name.to_ascii_lowercase().as_str()) && !value.contains(SECRET) {
            problems.error_hint(
                &word.spot,
                "secret-in-config",
                format!("`{name}`: a secret does not belong in this file"),
                format!("put it in a file of its own, name it by `secret-file`, and write \"{name}: Bearer {SECRET}\""),
            );
        }
        headers.push((name, value));
    }
    let body = section.text("body", problems).map(|word| word.text.to_owned());
    let uses = |text: &str| text.contains(SECRET);
    let url = url(section, "url", problems)?;
    let asks =
        uses(&url) || headers.iter().any(|(_, value)| uses(value)) || body.as_deref().is_some_and(uses);
    if asks && secret.is_none() {
        let words = format!("{SECRET} is asked for, and no secret is named");
        problems.error_hint(
            &section.head,
            "missing-key",
            words,
            "add `secret-file`, `secret-env` or `secret-credential`",
        );
    }
    Some(Webhook {
        url,
        headers,
        body,
        secret,
        ca_file: section.parsed("ca-file", "bad-path", value::file_path, problems),
    })
}

fn email(section: &Section<'_>, problems: &mut Problems) -> Option<Email> {
    section.needed_text("server", problems)?;
    let word = section.choice("tls", MAIL_TLS_WORDS, problems);
    let tls = MailTls::ALL.into_iter().find(|tls| Some(tls.word()) == word).unwrap_or(MailTls::Starttls);
    let (host, port) = section.parsed("server", "bad-address", |text| server(text, tls), problems)?;
    let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let user = section.text("user", problems).map(|word| word.text.to_owned());
    let password = secret(section, "password", problems);
    if tls == MailTls::None && (!here || user.is_some()) {
        problems.error_hint(
            &section.head,
            "mail-in-the-clear",
            "mail is sent without TLS to this host only, and without a password",
            "leave `tls` out, or write `tls = \"starttls\"`",
        );
    }
    let login = match (user, password) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        _ => {
            problems.error(&section.head, "missing-key", "`user` and a password go together");
            None
        }
    };
    section.needed_text("from", problems)?;
    let from = section.parsed("from", "bad-address", mail_address, problems)?;
    let words = section.texts("to", problems).unwrap_or_default();
    let to: Vec<_> =
        words.iter().filter_map(|word| word.parse("bad-address", mail_address, problems)).collect();
    if to.is_empty() || to.len() > TO_MAX {
        problems.error(&section.head, "missing-key", format!("`to` names 1 to {TO_MAX} mail addresses"));
    }
    let ca_file = section.parsed("ca-file", "bad-path", value::file_path, problems);
    Some(Email { host, port, tls, from, to, login, ca_file })
}

/// `mail.example.com`, `mail.example.com:587`, `[::1]:25`.
fn server(text: &str, tls: MailTls) -> Result<(String, u16), BadName> {
    const HELP: BadName = BadName("a mail server is written like \"mail.example.com:587\"");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().ok().filter(|port| *port != 0).ok_or(HELP)?)
        }
        _ => (
            text,
            match tls {
                MailTls::Implicit => 465,
                MailTls::Starttls => 587,
                MailTls::None => 25,
            },
        ),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(fits) {
        Err(HELP)
    } else {
        Ok((host.to_owned(), port))
    }
}

/// `ops@example.com`, `Nolapse <nolapse@example.com>`.
fn mail_address(text: &str) -> Result<String, BadName> {
    const HELP: BadName =
        BadName("a mail address is written like \"ops@example.com\" or \"Name <ops@example.com>\"");
    if text.len() > 320 || text.chars().any(char::is_control) {
        return Err(HELP);
    }
    let bare = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').ok_or(HELP)?,
        None => text,
    };
    let (local, domain) = bare.rsplit_once('@').ok_or(HELP)?;
    let fits = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && !b"<>()[],;:\\\"@".contains(&b))
    };
    if fits(local) && fits(domain) { Ok(text.to_owned()) } else { Err(HELP) }
}

fn socket(section: &Section<'_>, usual: &str, problems: &mut Problems) -> String {
    section.parsed("socket", "bad-path", value::file_path, problems).unwrap_or_else(|| usual.to_owned())
}

pub(super) fn heartbeat(section: &Section<'_>, problems: &mut Problems) -> Option<HeartbeatSpec> {
    let how = if section.one_of(&["url", "run"], problems)? == "run" {
        Beat::Exec { argv: program(section, problems)? }
    } else {
        let (ping, fail) = (url(section, "url", problems)?, url(section, "fail-url", problems));
        let secret = secret(section, "secret", problems);
        let asks = ping.contains(SECRET) || fail.as_ref().is_some_and(|url| url.contains(SECRET));
        if asks && secret.is_none() {
            let words = format!("{SECRET} is asked for, and no secret is named");
            problems.error(&section.head, "missing-key", words);
            return None;
        }
        Beat::Url { ping, fail, secret }
    };
    Some(HeartbeatSpec {
        how,
        every: section.span("every", EVERY_LEAST, EVERY_MAX, problems).unwrap_or(EVERY),
        timeout: section.span("timeout", TIMEOUT_LEAST, TIMEOUT_MAX, problems).unwrap_or(TIMEOUT),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_addresses_read_as_people_write_them() {
        for (text, tls, expected) in [
            ("mail.example.com:2525", MailTls::Starttls, Some(("mail.example.com", 2525))),
            ("mail.example.com", MailTls::Starttls, Some(("mail.example.com", 587))),
            ("mail.example.com", MailTls::Implicit, Some(("mail.example.com", 465))),
            ("[::1]:25", MailTls::None, Some(("::1", 25))),
            ("mail example", MailTls::None, None),
            (":25", MailTls::None, None),
        ] {
            let read = server(text, tls).ok();
            assert_eq!(read.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{text}");
        }
        for (text, fine) in [
            ("ops@example.com", true),
            ("Nolapse <nolapse@example.com>", true),
            ("ops", false),
            ("a@b>\r\nBcc: x@y", false),
            ("a@b, c@d", false),
        ] {
            assert_eq!(mail_address(text).is_ok(), fine, "{text:?}");
        }
    }

    #[test]
    fn a_secret_in_a_url_is_in_its_path_and_encrypted() {
        for (text, fine) in [
            ("https://hooks.example.com/${secret}", true),
            ("http://127.0.0.1:9/${secret}", true),
            ("http://hooks.example.com/${secret}", false),
            ("https://${secret}.example.com/", false),
        ] {
            assert_eq!(secret_url(text).is_ok(), fine, "{text}");
        }
    }

    fn read(text: &str) -> crate::config::Resolved {
        let text = format!("[certificate.\"a.example\"]\nlabels = {{ runbook = \"r\" }}\n{text}\n");
        crate::config::resolve(
            &[crate::config::Source::new("a.toml", &text)],
            &crate::config::Facts::default(),
        )
    }

    #[test]
    fn what_would_tell_nobody_or_tell_too_much_is_refused() {
        const MAIL: &str = "type = \"email\"\nfrom = \"a@b.example\"\nto = \"c@d.example\"";
        for (situation, channel, code) in [
            ("no type", "least = \"page\"".to_owned(), "missing-key"),
            ("an unknown gravity", "type = \"syslog\"\nleast = \"panic\"".into(), "unknown-word"),
            ("a key of another type", "type = \"syslog\"\nurl = \"https://a.example\"".into(), "unknown-key"),
            ("no program", "type = \"exec\"\nrun = []".into(), "missing-key"),
            (
                "a secret in plain",
                "type = \"webhook\"\nurl = \"https://a.example\"\nheaders = [\"Authorization: Bearer x\"]"
                    .into(),
                "secret-in-config",
            ),
            (
                "a secret that is not named",
                "type = \"webhook\"\nurl = \"https://a.example/${secret}\"".into(),
                "missing-key",
            ),
            (
                "mail in the clear",
                format!("{MAIL}\nserver = \"mail.example.com\"\ntls = \"none\""),
                "mail-in-the-clear",
            ),
            (
                "a user without a password",
                format!("{MAIL}\nserver = \"mail.example.com\"\nuser = \"x\""),
                "missing-key",
            ),
            (
                "a label that Prometheus can't take",
                "type = \"syslog\"\nlabels = { \"a-b\" = \"x\" }".into(),
                "bad-label",
            ),
        ] {
            let read = read(&format!("[alert.x]\n{channel}"));
            assert!(
                read.problems.iter().any(|problem| problem.code == code && problem.is_fatal()),
                "{situation}: {:?}",
                read.problems
            );
        }
        assert!(read("[heartbeat]\nevery = \"1h\"").fatal(), "nobody to tell");
    }

    #[test]
    fn labels_of_defaults_are_added_to() {
        let read = read("[defaults]\nlabels = { owner = \"web\", runbook = \"general\" }");
        let spec = read.wanted.lineages.values().next().unwrap();
        assert_eq!((spec.labels.value("owner"), spec.labels.value("runbook")), (Some("web"), Some("r")));
    }
}
