//! What comes before TLS and after it, by protocol.

use tokio::net::TcpStream;

use super::unseen::Unseen;
use super::{ftp, imap, ldap, mysql, pop3, postgres, smtp};
use crate::core::endpoint::Protocol;

/// Talks up to the point where the next byte is TLS.
pub async fn start_tls(protocol: Protocol, stream: TcpStream) -> Result<TcpStream, Unseen> {
    match protocol {
        Protocol::Tls => Ok(stream),
        Protocol::Smtp => {
            let own = stream.local_addr()?.ip();
            smtp::start_tls(stream, own).await
        }
        Protocol::Ftp => ftp::start_tls(stream).await,
        Protocol::Imap => imap::start_tls(stream).await,
        Protocol::Pop3 => pop3::start_tls(stream).await,
        Protocol::Postgres => postgres::start_tls(stream).await,
        Protocol::Mysql => mysql::start_tls(stream).await,
        Protocol::Ldap => ldap::start_tls(stream).await,
    }
}

/// What ends a session politely, inside TLS, so that the server's log holds no lost connection;
/// and whether an answer to it is waited for.
pub const fn farewell(protocol: Protocol) -> Option<(&'static [u8], bool)> {
    match protocol {
        Protocol::Smtp => Some((smtp::QUIT, true)),
        Protocol::Ftp => Some((ftp::QUIT, true)),
        Protocol::Imap => Some((imap::LOGOUT, true)),
        Protocol::Pop3 => Some((pop3::QUIT, true)),
        Protocol::Ldap => Some((ldap::UNBIND, false)),
        // Nothing is said by either side before a login, or at all.
        Protocol::Tls | Protocol::Postgres | Protocol::Mysql => None,
    }
}
