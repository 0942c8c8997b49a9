//! Who uses a certificate on this host: what servers' configurations and sockets say.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A kind of server whose configuration can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Server {
    Nginx,
    Apache2,
    Haproxy,
    Postfix,
    Dovecot,
    Caddy,
    Exim4,
    Postgresql,
    Mosquitto,
}

impl Server {
    pub const ALL: [Self; 9] = [
        Self::Nginx,
        Self::Apache2,
        Self::Haproxy,
        Self::Postfix,
        Self::Dovecot,
        Self::Caddy,
        Self::Exim4,
        Self::Postgresql,
        Self::Mosquitto,
    ];

    /// Also the name of the service that is built in for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache2 => "apache2",
            Self::Haproxy => "haproxy",
            Self::Postfix => "postfix",
            Self::Dovecot => "dovecot",
            Self::Caddy => "caddy",
            Self::Exim4 => "exim4",
            Self::Postgresql => "postgresql",
            Self::Mosquitto => "mosquitto",
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One place of a configuration that names a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub server: Server,
    /// `/etc/nginx/sites-enabled/shop:12`.
    pub origin: String,
    /// Absolute path.
    pub certificate: String,
    pub key: Option<String>,
    /// Names it answers for, as written; empty where the configuration says none.
    pub names: Vec<String>,
    /// Ports it listens at with this certificate, as far as it says.
    pub ports: Vec<u16>,
}

/// A TCP socket that waits for connections on this host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listening {
    pub address: SocketAddr,
    /// Command and number of its process, where that may be seen; safe to print.
    pub process: Option<String>,
}

/// What keeps a certificate from ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewer {
    /// `certbot`, `lego`, `nolapse`.
    pub tool: &'static str,
    /// What shows it: usually a file of the tool's.
    pub evidence: String,
}
