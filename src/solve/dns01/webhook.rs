//! Changes asked for by HTTP: `POST URL/present` and `POST URL/cleanup` with
//! `{"fqdn": "_acme-challenge.example.com.", "value": "…"}`, as lego's `httpreq` sends it; any 2xx is
//! success.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;

use super::provider::{Entry, Provider};
use super::web::Web;
use crate::core::failure::{Failure, Fault};
use crate::core::spec::{SecretSource, SolverWebhook};
use crate::ports::{Reply, Secrets};
use crate::sys::clock::Clock;

/// A service of the operator's that changes the zone.
pub struct Webhook {
    spec: SolverWebhook,
    secrets: Secrets,
    clock: Clock,
}

impl Webhook {
    pub fn new(spec: SolverWebhook, secrets: Secrets, clock: &Clock) -> Self {
        Self { spec, secrets, clock: clock.clone() }
    }

    async fn tell(&self, path: &str, entry: &Entry<'_>) -> Result<(), Failure> {
        let record = entry.record;
        let body = json!({ "fqdn": record.name.absolute(), "value": record.value });
        self.web()?.call(Method::POST, path, Some(&body)).await.map(|_| ())
    }

    /// Made anew for each call: a credential that was changed counts at once.
    fn web(&self) -> Result<Web, Failure> {
        let mut headers = Vec::new();
        if let Some(source) = &self.spec.token {
            headers.push(("authorization", format!("Bearer {}", self.secret(source)?)));
        } else if let Some((user, source)) = &self.spec.login {
            let login = STANDARD.encode(format!("{user}:{}", self.secret(source)?));
            headers.push(("authorization", format!("Basic {login}")));
        }
        Web::new(&self.spec.url, &headers, &self.clock)
    }

    fn secret(&self, source: &SecretSource) -> Result<String, Failure> {
        let content = (self.secrets)(source)?;
        String::from_utf8(content.bytes().to_vec())
            .map_err(|_| Failure::refused(Fault::Config, "dns-credentials", "the credential is no text"))
    }
}

impl Provider for Webhook {
    fn needs_zone(&self) -> bool {
        false
    }

    /// Codes: those of [`Web::call`], `secret-missing`.
    fn add<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(self.tell("present", entry))
    }

    fn remove<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(self.tell("cleanup", entry))
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async move { self.web().map(|_| ()) })
    }
}
