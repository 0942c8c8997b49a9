//! The CA itself: what it was told, what it holds, and the lock around it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::account::Account;
use crate::authorization::Authorization;
use crate::builder::CaBuilder;
use crate::certificate::Certificate;
use crate::dice::Dice;
use crate::fault::Faults;
use crate::hierarchy::Hierarchy;
use crate::journal::Journal;
use crate::jwk::Jwk;
use crate::limits::Meters;
use crate::nonce::Nonces;
use crate::order::Order;
use crate::problem::Problem;
use crate::renewal::RenewalWindow;
use crate::resolver::Resolver;

pub(crate) struct Authority {
    pub(crate) config: CaBuilder,
    /// Scheme, address and port, without a slash at the end.
    pub(crate) base: String,
    pub(crate) hierarchy: Hierarchy,
    /// Another hierarchy, for lies.
    pub(crate) staging: Hierarchy,
    pub(crate) journal: Journal,
    state: Mutex<State>,
    /// Connections and validations; none once the CA has stopped.
    tasks: Mutex<Option<JoinSet<()>>>,
}

/// Everything that changes. Maps are ordered so that a run can be compared with another.
pub(crate) struct State {
    pub(crate) nonces: Nonces,
    pub(crate) dice: Dice,
    pub(crate) faults: Faults,
    pub(crate) meters: Meters,
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) authorizations: BTreeMap<String, Authorization>,
    /// Challenge id to authorization id.
    pub(crate) challenges: BTreeMap<String, String>,
    pub(crate) certificates: BTreeMap<String, Certificate>,
    /// Certificate ids, oldest first.
    pub(crate) issued: Vec<String>,
    pub(crate) spent_bindings: BTreeSet<String>,
    // What a test may turn while the CA runs.
    pub(crate) nonce_rejection: u8,
    pub(crate) lifetime: Duration,
    pub(crate) http_port: u16,
    pub(crate) tls_port: u16,
    pub(crate) resolver: Resolver,
    pub(crate) rejected_names: BTreeSet<String>,
    pub(crate) renewal_window: RenewalWindow,
    /// Windows of single certificates, by ARI identifier.
    pub(crate) renewal_windows: BTreeMap<String, RenewalWindow>,
}

/// Who signed a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) key: Jwk,
    /// None when the request carried a bare key.
    pub(crate) account: Option<String>,
}

impl Authority {
    pub(crate) fn new(config: CaBuilder, base: String, hierarchy: Hierarchy, staging: Hierarchy) -> Self {
        let state = State {
            nonces: Nonces::default(),
            dice: Dice::seeded(config.seed),
            faults: Faults::default(),
            meters: Meters::new(config.limits.clone()),
            accounts: BTreeMap::new(),
            orders: BTreeMap::new(),
            authorizations: BTreeMap::new(),
            challenges: BTreeMap::new(),
            certificates: BTreeMap::new(),
            issued: Vec::new(),
            spent_bindings: BTreeSet::new(),
            nonce_rejection: config.nonce_rejection,
            lifetime: config.lifetime,
            http_port: config.http_port,
            tls_port: config.tls_port,
            resolver: config.resolver.clone(),
            rejected_names: config.rejected_names.clone(),
            renewal_window: config.renewal_window.clone(),
            renewal_windows: BTreeMap::new(),
        };
        let journal = Journal::new(config.on_request.clone());
        Self {
            config,
            base,
            hierarchy,
            staging,
            journal,
            state: Mutex::new(state),
            tasks: Mutex::new(Some(JoinSet::new())),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// The last path segment of a URL of ours of this kind.
    pub(crate) fn id_in<'a>(&self, kind: &str, url: &'a str) -> Option<&'a str> {
        let id = url.strip_prefix(&self.base)?.strip_prefix('/')?.strip_prefix(kind)?.strip_prefix('/')?;
        (!id.is_empty() && !id.contains('/')).then_some(id)
    }

    /// A panic in a handler is a failed test already; the state stays readable for the report.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `task` until it ends or the CA stops.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = tasks.as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    /// Ends every connection and validation, and takes no more.
    pub(crate) fn stop(&self) {
        // Dropping a JoinSet aborts what is in it.
        drop(self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Caller {
    /// The account, for resources that only accounts may use.
    pub(crate) fn account(&self) -> Result<&str, Problem> {
        self.account.as_deref().ok_or_else(|| Problem::malformed("this resource takes a kid, not a jwk"))
    }

    pub(crate) fn must_own(&self, owner: &str) -> Result<(), Problem> {
        if self.account.as_deref() == Some(owner) {
            Ok(())
        } else {
            Err(Problem::unauthorized("the resource belongs to another account"))
        }
    }
}
