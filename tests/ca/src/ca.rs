//! The handle a test holds.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::authority::Authority;
use crate::builder::CaBuilder;
use crate::certificate::IssuedCertificate;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::hierarchy::{ApiIdentity, Hierarchy};
use crate::instant::now;
use crate::journal::RequestRecord;
use crate::order;
use crate::renewal::RenewalWindow;
use crate::server;

/// A running CA. It stops, mid-answer if need be, when this is dropped.
pub struct Ca {
    authority: Arc<Authority>,
    api_root_pem: String,
    listener: AbortHandle,
}

impl Ca {
    /// The settings, to be changed before [`CaBuilder::start`].
    pub fn builder() -> CaBuilder {
        CaBuilder::default()
    }

    /// A CA with default settings.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    pub(crate) async fn with(config: CaBuilder) -> io::Result<Self> {
        config.check()?;
        let listener = TcpListener::bind(config.listen).await?;
        let scheme = if config.tls { "https" } else { "http" };
        let base = format!("{scheme}://{}", listener.local_addr()?);
        let hierarchy = Hierarchy::new("Test CA", config.chain_length, config.alternate_chains)
            .map_err(io::Error::other)?;
        let staging = Hierarchy::new("(STAGING) Test CA", 2, 0).map_err(io::Error::other)?;
        let identity = ApiIdentity::new().map_err(io::Error::other)?;
        let api_root_pem = identity.root_pem.clone();
        let tls = config.tls.then(|| server::acceptor(identity)).transpose().map_err(io::Error::other)?;
        let authority = Arc::new(Authority::new(config, base, hierarchy, staging));
        let task = tokio::spawn(server::accept(Arc::clone(&authority), listener, tls));
        Ok(Self { authority, api_root_pem, listener: task.abort_handle() })
    }

    /// What clients are pointed at.
    pub fn directory_url(&self) -> String {
        self.authority.url("directory")
    }

    /// The root of the API's own TLS certificate; without use when the API is plain HTTP.
    pub fn api_root_pem(&self) -> &str {
        &self.api_root_pem
    }

    /// The root every default chain leads to.
    pub fn issuing_root_pem(&self) -> String {
        self.authority.hierarchy.root_pem()
    }

    /// The roots the alternate chains lead to, in the order of their links.
    pub fn alternate_root_pems(&self) -> Vec<String> {
        self.authority.hierarchy.alternate_root_pems()
    }

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.authority.journal.records()
    }

    /// How many requests reached this endpoint, whatever became of them.
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.authority.journal.count(endpoint)
    }

    /// Every certificate issued, oldest first.
    pub fn issued(&self) -> Vec<IssuedCertificate> {
        let state = self.authority.state();
        state.issued.iter().map(|id| self.authority.issued_view(&state.certificates[id])).collect()
    }

    /// URLs of the accounts that exist, deactivated ones included.
    pub fn accounts(&self) -> Vec<String> {
        let state = self.authority.state();
        state.accounts.keys().map(|id| self.authority.url(&format!("account/{id}"))).collect()
    }

    /// Waits until `condition` holds, looking again at every request and validation; false if `limit` passes first.
    pub async fn wait_until(&self, limit: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let mut changes = self.authority.journal.subscribe();
        let held = async {
            while !condition(self) {
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(limit, held).await.is_ok()
    }

    /// Adds a misbehaviour to those in force.
    pub fn set_fault(&self, fault: Fault) {
        self.authority.state().faults.add(fault);
    }

    /// Ends all misbehaviour, and lets held-back orders finish. Requests already stalled stay so.
    pub fn clear_faults(&self) {
        let mut state = self.authority.state();
        state.faults.clear();
        order::release_all(&mut state);
    }

    /// Lets the clock of the limits run ahead by so much more. Nothing else that the CA does looks at it.
    pub fn age_limits(&self, by: Duration) {
        self.authority.state().meters.age(by);
    }

    /// Rejects this percentage of good nonces from now on.
    pub fn set_nonce_rejection(&self, percent: u8) {
        self.authority.state().nonce_rejection = percent;
    }

    /// The lifetime of certificates issued from now on without a profile.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.authority.state().lifetime = lifetime;
    }

    /// The port validation connects to from now on.
    pub fn set_http_port(&self, port: u16) {
        self.authority.state().http_port = port;
    }

    /// Makes a name lead to this address from now on.
    pub fn resolve(&self, name: &str, address: impl Into<IpAddr>) {
        self.authority.state().resolver.names.insert(name.to_ascii_lowercase(), address.into());
    }

    /// Refuses orders for this name from now on.
    pub fn reject_identifier(&self, name: &str) {
        self.authority.state().rejected_names.insert(name.to_ascii_lowercase());
    }

    /// Takes orders for this name again.
    pub fn accept_identifier(&self, name: &str) {
        self.authority.state().rejected_names.remove(&name.to_ascii_lowercase());
    }

    /// The window suggested for every certificate that has none of its own.
    pub fn set_renewal_window(&self, window: RenewalWindow) {
        self.authority.state().renewal_window = window;
    }

    /// The window suggested for the certificate with this ARI identifier.
    pub fn set_renewal_window_of(&self, cert_id: &str, window: RenewalWindow) {
        self.authority.state().renewal_windows.insert(cert_id.to_owned(), window);
    }

    /// Revokes a certificate from the CA's side, as after an incident; false if the serial is unknown.
    pub fn revoke(&self, serial: &str, reason: u8) -> bool {
        let mut state = self.authority.state();
        let found = state.certificates.values_mut().find(|certificate| certificate.serial == serial);
        found.map(|certificate| certificate.revoked = Some(reason)).is_some()
    }

    /// Ends every authorization now, pending or valid.
    pub fn expire_authorizations(&self) {
        for authorization in self.authority.state().authorizations.values_mut() {
            authorization.expires = now();
        }
    }

    /// Forgets every account, as a CA restored from an old backup does. Certificates stay known.
    pub fn forget_accounts(&self) {
        self.authority.state().accounts.clear();
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        self.listener.abort();
        self.authority.stop();
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("directory", &self.directory_url()).finish_non_exhaustive()
    }
}
