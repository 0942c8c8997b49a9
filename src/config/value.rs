//! Small values written as text: lengths of time, modes, paths, URLs, listeners.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::core::name::BadName;
use crate::core::spec::Listen;
use crate::core::time::Span;

/// `30s`, `5m`, `1h30m`, `2d`: whole numbers with units from `ms` to `d`, the largest first.
pub(super) fn span(text: &str) -> Result<Span, BadName> {
    const HELP: BadName = BadName("a length of time is written like \"30s\", \"5m\", \"1h30m\" or \"2d\"");
    let mut rest = text.trim();
    let mut total = Span::ZERO;
    let mut smallest = Span::MAX;
    if rest.is_empty() || rest.len() > 40 {
        return Err(HELP);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = rest[..digits].parse().map_err(|_| HELP)?;
        rest = rest[digits..].trim_start();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "ms" => Span::from_millis(1),
            "s" | "sec" => Span::secs(1),
            "m" | "min" => Span::MINUTE,
            "h" => Span::HOUR,
            "d" => Span::DAY,
            _ => return Err(HELP),
        };
        if unit >= smallest {
            return Err(HELP);
        }
        smallest = unit;
        total = total + unit.times(count);
        rest = rest[letters..].trim_start();
    }
    Ok(total)
}

/// The inverse of [`span`], exact.
pub(super) fn span_text(span: Span) -> String {
    let mut left = span.millis().max(0);
    let mut text = String::new();
    for (unit, word) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")] {
        if left / unit > 0 {
            let _ = write!(text, "{}{word}", left / unit);
            left %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `0640`, `640`, `0o640`.
pub(super) fn octal(text: &str) -> Result<u32, BadName> {
    const HELP: BadName = BadName("a mode is written in octal, like \"0640\"");
    let digits = text.strip_prefix("0o").unwrap_or(text);
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|b| matches!(b, b'0'..=b'7')) {
        return Err(HELP);
    }
    u32::from_str_radix(digits, 8).map_err(|_| HELP)
}

/// A mode that keeps a private key private (threat T01).
pub(super) fn key_mode(mode: u32) -> Result<u32, BadName> {
    if mode & 0o007 != 0 {
        return Err(BadName(
            "the key would be readable by everybody; use \"0640\" with a group, or \"0600\"",
        ));
    }
    if mode & !0o640 != 0 {
        return Err(BadName(
            "a key needs no more than \"0640\": the group may read, nobody else may write or run it",
        ));
    }
    if mode & 0o400 == 0 {
        return Err(BadName("the owner of a key must be able to read it"));
    }
    Ok(mode)
}

/// A mode for a file without a key.
pub(super) fn cert_mode(mode: u32) -> Result<u32, BadName> {
    if mode & !0o664 != 0 {
        return Err(BadName("a certificate file needs no more than \"0644\", or \"0664\""));
    }
    if mode & 0o400 == 0 {
        return Err(BadName("the owner of a file must be able to read it"));
    }
    Ok(mode)
}

/// An absolute path without `..`.
pub(super) fn path(text: &str) -> Result<String, BadName> {
    if !text.starts_with('/') {
        return Err(BadName("a path must be absolute: it starts with /"));
    }
    if text.len() > PATH_MAX {
        return Err(BadName("a path has at most 4095 octets"));
    }
    if text.chars().any(char::is_control) {
        return Err(BadName("a control character does not belong in a path"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(BadName("a path must not go up with `..`"));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// An absolute path of a file, not of a directory.
pub(super) fn file_path(text: &str) -> Result<String, BadName> {
    if text.ends_with('/') {
        return Err(BadName("a file is needed here, and a path that ends with / is a directory"));
    }
    match path(text)? {
        root if root == "/" => Err(BadName("a file is needed here, not the root directory")),
        path => Ok(path),
    }
}

/// Whether `path` is `directory` or lies below it; both as [`path`] gives them.
pub(super) fn lies_in(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `[::]:80`, `127.0.0.1:8089`, `systemd:NAME`.
pub(super) fn listen(text: &str) -> Result<Listen, BadName> {
    if let Some(name) = text.strip_prefix("systemd:") {
        // systemd.socket(5): printable ASCII without a colon, at most 255 characters.
        if name.is_empty() || name.len() > 255 || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
            return Err(BadName("after systemd: stands the FileDescriptorName= of the socket unit"));
        }
        return Ok(Listen::Systemd(name.to_owned()));
    }
    address(text).map(Listen::Address)
}

pub(super) fn listen_text(listen: &Listen) -> String {
    match listen {
        Listen::Address(address) => address.to_string(),
        Listen::Systemd(name) => format!("systemd:{name}"),
    }
}

/// `127.0.0.1:9464`, `[::1]:9464`.
pub(super) fn address(text: &str) -> Result<SocketAddr, BadName> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) => Err(BadName("port 0 is none; name the port")),
        Err(_) => {
            Err(BadName("an address is an IP address and a port, like \"127.0.0.1:8089\" or \"[::]:80\""))
        }
    }
}

/// The parts of a URL that matter here.
#[derive(Debug)]
pub(super) struct Url {
    pub https: bool,
    pub host: String,
}

impl Url {
    /// Longest URL taken, in octets.
    const MAX: usize = 2048;

    pub fn parse(text: &str) -> Result<Self, BadName> {
        const HELP: BadName = BadName("a URL is written like \"https://host/path\"");
        if text.len() > Self::MAX {
            return Err(BadName("a URL has at most 2048 characters"));
        }
        let uri: http::Uri = text.parse().map_err(|_| HELP)?;
        let (scheme, authority) = (uri.scheme_str().ok_or(HELP)?, uri.authority().ok_or(HELP)?);
        if authority.as_str().contains('@') {
            return Err(BadName("a user or password does not belong in a URL of this file"));
        }
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(BadName("only https:// and http:// are known here")),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err(HELP);
        }
        Ok(Self { https, host })
    }

    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether the host is `domain` or below it.
    pub fn is_below(&self, domain: &str) -> bool {
        self.host == domain || self.host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    }
}

/// Longest path, in octets: Linux' `PATH_MAX` less its NUL.
const PATH_MAX: usize = 4095;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_read_as_people_write_them() {
        for (text, secs) in
            [("30s", 30), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), (" 1 h 5 min ", 3900)]
        {
            assert_eq!(span(text).unwrap(), Span::secs(secs), "{text}");
        }
        for text in ["", "30", "s", "-5s", "1.5h", "5m1h", "1w", "1s1s", "99999999999999999999s", "ü"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn t01_a_key_mode_that_shows_the_key_is_refused() {
        for (text, fine) in [
            ("0640", true),
            ("600", true),
            ("0o440", true),
            ("0644", false),
            ("0660", false),
            ("0040", false),
        ] {
            assert_eq!(octal(text).and_then(key_mode).is_ok(), fine, "{text}");
        }
        for text in ["", "rw", "0o", "0899", "-640", "0000640"] {
            assert!(octal(text).is_err(), "{text}");
        }
        assert!(cert_mode(0o644).is_ok() && cert_mode(0o4755).is_err());
    }

    #[test]
    fn paths_are_absolute_and_go_down_only() {
        assert_eq!(path("/srv//www/./x/").unwrap(), "/srv/www/x");
        for text in ["", "www", "./x", "/a/../b", "/a\0b", "/a\nb"] {
            assert!(path(text).is_err(), "{text:?}");
        }
        assert!(file_path("/etc/ssl/").is_err() && file_path("/").is_err());
        assert!(lies_in("/a/b", "/a") && lies_in("/a", "/a") && !lies_in("/ab", "/a"));
    }

    #[test]
    fn urls_tell_their_host() {
        let url = Url::parse("https://ACME.example:14000/dir").unwrap();
        assert!(url.https && !url.is_loopback() && url.is_below("example") && !url.is_below("me.example"));
        for text in ["http://127.0.0.1:1/dir", "http://[::1]/dir", "http://localhost/"] {
            assert!(Url::parse(text).unwrap().is_loopback(), "{text}");
        }
        for text in ["", "host", "/path", "ftp://a/", "https://u:p@a/", "https:///x", "https://a b/"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        assert!(!Url::parse("http://127.0.0.1.example/").unwrap().is_loopback());
    }

    proptest::proptest! {
        #[test]
        fn lengths_of_time_print_exactly(millis in 0i64..1_000_000_000_000) {
            let length = Span::from_millis(millis);
            proptest::prop_assert_eq!(span(&span_text(length)).unwrap(), length);
        }
    }
}
