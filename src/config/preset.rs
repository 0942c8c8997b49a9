//! What is built in, written as a configuration like any other, so that one reader reads both
//! and every key can be overridden by a table of the same name.

use std::borrow::Cow;
use std::fmt::Write;

/// Name shown for places inside it.
pub const NAME: &str = "built-in";

/// Debian's programs and paths; elsewhere one line in a table of the same name changes them.
pub const TEXT: &str = r#"
[issuer.letsencrypt]
directory = "https://acme-v02.api.letsencrypt.org/directory"
staging = "https://acme-staging-v02.api.letsencrypt.org/directory"

[issuer.letsencrypt-staging]
directory = "https://acme-staging-v02.api.letsencrypt.org/directory"

[solver.standalone]
listen = "[::]:80"

# The shipped snippet makes the web server pass /.well-known/acme-challenge/ on to here.
[solver.loopback]
listen = "127.0.0.1:8089"

[solver.tls-standalone]
type = "tls-alpn-01"
listen = "[::]:443"

# The shipped files make nginx or haproxy pass such handshakes on to here.
[solver.tls-loopback]
type = "tls-alpn-01"
listen = "127.0.0.1:8090"

[service.nginx]
check = ["nginx", "-t"]
reload = ["systemctl", "reload", "nginx"]
observe = ["127.0.0.1:443", "[::1]:443"]
solver = ["loopback"]

[service.apache2]
check = ["apache2ctl", "configtest"]
reload = ["systemctl", "reload", "apache2"]
observe = ["127.0.0.1:443", "[::1]:443"]
solver = ["loopback"]

[service.haproxy]
check = ["haproxy", "-c", "-q", "-f", "/etc/haproxy/haproxy.cfg"]
reload = ["systemctl", "reload", "haproxy"]
observe = ["127.0.0.1:443", "[::1]:443"]
solver = ["loopback"]

[service.caddy]
check = ["caddy", "validate", "--config", "/etc/caddy/Caddyfile"]
reload = ["systemctl", "reload", "caddy"]
observe = ["127.0.0.1:443", "[::1]:443"]
solver = ["loopback"]

[service.postfix]
check = ["postfix", "check"]
reload = ["systemctl", "reload", "postfix"]
observe = ["smtp://127.0.0.1:25", "smtp://[::1]:25"]

[service.dovecot]
check = ["doveconf", "-n"]
reload = ["systemctl", "reload", "dovecot"]
observe = ["127.0.0.1:993", "[::1]:993"]

[service.exim4]
check = ["exim4", "-bV"]
reload = ["systemctl", "reload", "exim4"]
observe = ["smtp://127.0.0.1:25", "smtp://[::1]:25"]

# It has no command that reads its configuration and leaves it at that.
[service.mosquitto]
reload = ["systemctl", "reload", "mosquitto"]
observe = ["tls://127.0.0.1:8883", "tls://[::1]:8883"]

# Reloads every cluster; a new pair that it can't use leaves the old one in force.
[service.postgresql]
reload = ["systemctl", "reload", "postgresql"]
observe = ["postgres://127.0.0.1:5432", "postgres://[::1]:5432"]

[service.proftpd]
check = ["proftpd", "--configtest"]
reload = ["systemctl", "reload", "proftpd"]
observe = ["ftp://127.0.0.1:21", "ftp://[::1]:21"]
"#;

/// [`TEXT`], with each service's check as the host needs it.
pub fn text(check_units: bool) -> Cow<'static, str> {
    if !check_units {
        return Cow::Borrowed(TEXT);
    }
    let mut service = None;
    let mut text = String::with_capacity(TEXT.len() + 400);
    for line in TEXT.lines() {
        if let Some(header) = line.strip_prefix('[') {
            service = header.strip_prefix("service.").and_then(|name| name.strip_suffix(']'));
        }
        match service {
            Some(name) if line.starts_with("check = ") => {
                let _ =
                    writeln!(text, "check = [\"systemctl\", \"start\", \"nolapse-check@{name}.service\"]");
            }
            _ => {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    Cow::Owned(text)
}

/// The issuer of certificates that name none.
pub const DEFAULT_ISSUER: &str = "letsencrypt";

/// The solver of certificates that neither name one nor have a service that does.
pub const DEFAULT_SOLVER: &str = "standalone";

/// Domains of CAs that follow the CA/Browser Forum's rules: what these can never issue is
/// refused before it costs an order.
pub const PUBLIC_CAS: [&str; 6] =
    ["letsencrypt.org", "pki.goog", "zerossl.com", "ssl.com", "actalis.com", "sectigo.com"];

/// Let's Encrypt's domain: it has terms, and IP addresses under one profile only.
pub const LETS_ENCRYPT: &str = "letsencrypt.org";

/// Domains of CAs that ended their ACME service, with the day.
pub const ENDED: [(&str, &str, &str); 2] =
    [("buypass.com", "Buypass Go SSL", "2025-10-15"), ("buypass.no", "Buypass Go SSL", "2025-10-15")];

/// Names of the built-in services.
pub const SERVICES: [&str; 10] = [
    "nginx",
    "apache2",
    "haproxy",
    "caddy",
    "postfix",
    "dovecot",
    "exim4",
    "mosquitto",
    "postgresql",
    "proftpd",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_the_packaged_units_every_check_runs_as_root() {
        let text = text(true);
        let checked = TEXT.matches("\ncheck = ").count();
        assert_eq!(text.matches("nolapse-check@").count(), checked);
        let unchecked = |service: &&str| !text.contains(&format!("nolapse-check@{service}.service"));
        assert_eq!(
            SERVICES.iter().copied().filter(unchecked).collect::<Vec<_>>(),
            ["mosquitto", "postgresql"]
        );
        assert_eq!(text.matches("reload = ").count(), TEXT.matches("reload = ").count());
    }
}
