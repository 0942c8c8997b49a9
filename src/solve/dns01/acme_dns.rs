//! acme-dns: a server that holds nothing but these texts, behind an alias that is set once.
//!
//! It keeps the last two texts of an account and takes none away, so apex and wildcard fit together, and
//! there is nothing to clean up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::provider::{Entry, Provider};
use super::web::Web;
use crate::codec::dns::DomainName;
use crate::core::failure::{Failure, Fault};
use crate::ports::Reply;
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;

/// Largest file of accounts, in bytes.
const FILE_MAX: usize = 4 << 20;

/// The accounts of one file, as acme-dns-client, lego and certbot's hooks write it: a JSON object with
/// one account for each name.
pub struct AcmeDns {
    accounts: PathBuf,
    /// For accounts whose file does not say.
    server: Option<String>,
    disk: Disk,
    clock: Clock,
}

/// What the server gave at registration. More members than these are left alone.
#[derive(Deserialize)]
struct Account {
    username: String,
    password: String,
    fulldomain: String,
    subdomain: String,
    #[serde(default)]
    server_url: Option<String>,
}

impl AcmeDns {
    pub fn new(accounts: &str, server: Option<String>, clock: &Clock) -> Self {
        Self { accounts: accounts.into(), server, disk: Disk::real(), clock: clock.clone() }
    }

    fn bad(&self, why: &str) -> Failure {
        let words = format!("the acme-dns accounts in {}: {why}", self.accounts.display());
        Failure::refused(Fault::Config, "dns-credentials", words)
    }

    fn accounts(&self) -> Result<BTreeMap<String, Account>, Failure> {
        let path: &Path = &self.accounts;
        let content = self.disk.read(path, FILE_MAX).map_err(|error| self.bad(&error.to_string()))?;
        // Where it is wrong is told, what stands there is not.
        serde_json::from_slice(content.bytes()).map_err(|error| {
            self.bad(&format!(
                "line {}, column {}: not what a registration looks like",
                error.line(),
                error.column()
            ))
        })
    }

    fn account(&self, domain: &str) -> Result<Account, Failure> {
        let wanted = domain.to_ascii_lowercase();
        let found = self.accounts()?.into_iter().find(|(name, _)| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name.strip_prefix("*.").unwrap_or(&name) == wanted
        });
        found.map(|(_, account)| account).ok_or_else(|| {
            self.bad(&format!(
                "none is for {domain}; register one (POST …/register) and add it under that name"
            ))
        })
    }

    async fn update(&self, entry: &Entry<'_>) -> Result<(), Failure> {
        let account = self.account(entry.domain)?;
        let Some(server) = account.server_url.as_deref().or(self.server.as_deref()) else {
            return Err(self.bad("no server is named; write `server` into the solver's table"));
        };
        let origin = DomainName::challenge_of(entry.domain).ok();
        let full = DomainName::parse(&account.fulldomain).map_err(|_| self.bad("a fulldomain is no name"))?;
        // Without the alias the CA would look at an empty place. An own name at which nothing was followed
        // may be one whose alias could not be asked for: the server is told all the same.
        if entry.record.name != full && Some(&entry.record.name) != origin.as_ref() {
            return Err(self.astray(entry, &full));
        }
        let headers = [("x-api-user", account.username), ("x-api-key", account.password)];
        let body = json!({ "subdomain": account.subdomain, "txt": entry.record.value });
        Web::new(server, &headers, &self.clock)?.call(Method::POST, "update", Some(&body)).await.map(|_| ())
    }

    fn astray(&self, entry: &Entry<'_>, full: &DomainName) -> Failure {
        let words = format!(
            "_acme-challenge.{} leads to {}, and the account in {} is for {full}; set: _acme-challenge.{} CNAME {}",
            entry.domain,
            entry.record.name,
            self.accounts.display(),
            entry.domain,
            full.absolute()
        );
        Failure::refused(Fault::Config, "dns-alias", words)
    }
}

impl Provider for AcmeDns {
    fn needs_zone(&self) -> bool {
        false
    }

    /// Codes: `dns-credentials`, `dns-alias`, and those of [`Web::call`].
    fn add<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(self.update(entry))
    }

    fn remove<'a>(&'a self, _entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async move { self.accounts().map(|_| ()) })
    }
}
