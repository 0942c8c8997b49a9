//! Which servers lie, and how each is met.

use std::path::PathBuf;

use crate::support::nginx::installed;
use crate::support::server::with_postgres;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Nginx,
    Haproxy,
    Apache,
    Caddy,
    Postfix,
    Dovecot,
    Proftpd,
    Postgres,
}

/// A program of the newest PostgreSQL here.
pub fn postgres(program: &str) -> PathBuf {
    PathBuf::from(with_postgres("@PG@")).join(program)
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Nginx,
        Self::Haproxy,
        Self::Apache,
        Self::Caddy,
        Self::Postfix,
        Self::Dovecot,
        Self::Proftpd,
        Self::Postgres,
    ];

    pub fn is_web(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy | Self::Apache | Self::Caddy)
    }

    /// Whether a second one can listen on the same port.
    pub fn shares_its_port(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy)
    }

    /// Whether it can have other files at another port.
    pub fn has_ports(self) -> bool {
        !matches!(self, Self::Dovecot | Self::Postgres)
    }

    /// Whether it can have other files for another name.
    pub fn has_names(self) -> bool {
        self.is_web() || self == Self::Dovecot
    }

    pub fn protocol(self) -> &'static str {
        self.starttls().unwrap_or("https")
    }

    /// What comes before TLS; nolapse and OpenSSL have the same names for it.
    pub fn starttls(self) -> Option<&'static str> {
        match self {
            Self::Postfix => Some("smtp"),
            Self::Dovecot => Some("imap"),
            Self::Proftpd => Some("ftp"),
            Self::Postgres => Some("postgres"),
            _ => None,
        }
    }

    /// False, with a line that starts with `SKIPPED:`, where it can't run here.
    pub fn runs_here(self) -> bool {
        let (program, package) = match self {
            Self::Nginx => ("nginx", "nginx-light"),
            Self::Haproxy => ("haproxy", "haproxy"),
            Self::Apache => ("apache2", "apache2"),
            Self::Caddy => ("caddy", "caddy"),
            Self::Postfix => ("postfix", "postfix"),
            Self::Dovecot => ("dovecot", "dovecot-imapd"),
            Self::Proftpd => ("proftpd", "proftpd-core proftpd-mod-crypto"),
            Self::Postgres => ("postgres", "postgresql"),
        };
        let there = match self {
            Self::Postgres => postgres(program).is_file(),
            _ => installed(program),
        };
        if !there {
            println!("SKIPPED: {program} is not installed (Debian: apt install {package})");
            return false;
        }
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: {program} is started as root here, as on a real host");
            return false;
        }
        true
    }
}
