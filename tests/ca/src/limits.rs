//! Rate limits as a public CA has them: token buckets, checked and spent as Let's Encrypt documents it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use crate::effect::RetryAfter;
use crate::identifier::Identifier;
use crate::problem::Problem;

/// So many per span, refilled evenly over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub most: u32,
    pub per: Duration,
}

/// What a CA allows; `None` allows anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// New accounts per address.
    pub accounts: Option<Allowance>,
    /// New orders per account.
    pub orders: Option<Allowance>,
    /// Certificates per registered domain, whoever asks. The last two labels count as one: there is no public
    /// suffix list here.
    pub domain: Option<Allowance>,
    /// Certificates for exactly the same set of names, whoever asks.
    pub exact_set: Option<Allowance>,
    /// Failed validations per name and account.
    pub failures: Option<Allowance>,
}

impl Limits {
    /// The table of Let's Encrypt's production CA, as of August 2026.
    pub fn lets_encrypt() -> Self {
        let allowance = |most, hours| Some(Allowance { most, per: Duration::from_hours(hours) });
        Self {
            accounts: allowance(10, 3),
            orders: allowance(300, 3),
            domain: allowance(50, 7 * 24),
            exact_set: allowance(5, 7 * 24),
            failures: allowance(5, 1),
        }
    }

    /// Replaces one of them: `|limits| limits.orders = None`.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// Which limits an order is free of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exempt {
    FromNone,
    /// Those on accounts and domains.
    AsRenewal,
    FromAll,
}

/// What has been used of the limits.
#[derive(Debug)]
pub(crate) struct Meters {
    limits: Limits,
    ahead: Duration,
    /// When each bucket will be full again (the generic cell rate algorithm).
    full_at: BTreeMap<String, SystemTime>,
}

impl Meters {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, ahead: Duration::ZERO, full_at: BTreeMap::new() }
    }

    pub(crate) fn age(&mut self, by: Duration) {
        self.ahead += by;
    }

    pub(crate) fn may_register(&mut self, peer: IpAddr) -> Result<(), Problem> {
        let what = "new registrations";
        self.take(self.limits.accounts, &format!("{what} {peer}"), what, "from this IP address")
    }

    /// Checks all that a certificate for these names will use, and spends what an order does.
    pub(crate) fn may_order(
        &mut self,
        account: &str,
        names: &[Identifier],
        exempt: Exempt,
    ) -> Result<(), Problem> {
        if exempt == Exempt::FromAll {
            return Ok(());
        }
        for name in names {
            let scope = format!("for {:?}", name.to_string());
            let key = format!("failed {account} {name}");
            self.check(self.limits.failures, &key, "failed authorizations", &scope)?;
        }
        let scope = "already issued for this exact set of identifiers";
        self.check(self.limits.exact_set, &exact(names), "certificates", scope)?;
        if exempt == Exempt::AsRenewal {
            return Ok(());
        }
        for domain in domains(names) {
            let scope = format!("already issued for {domain:?}");
            self.check(self.limits.domain, &format!("domain {domain}"), "certificates", &scope)?;
        }
        let what = "new orders";
        self.take(self.limits.orders, &format!("{what} {account}"), what, "from this account")
    }

    /// Spends what a certificate uses.
    pub(crate) fn issued(&mut self, names: &[Identifier], exempt: Exempt) {
        if exempt == Exempt::FromAll {
            return;
        }
        self.spend(self.limits.exact_set, &exact(names));
        if exempt == Exempt::FromNone {
            for domain in domains(names) {
                self.spend(self.limits.domain, &format!("domain {domain}"));
            }
        }
    }

    pub(crate) fn failed(&mut self, account: &str, name: &Identifier) {
        self.spend(self.limits.failures, &format!("failed {account} {name}"));
    }

    fn now(&self) -> SystemTime {
        SystemTime::now() + self.ahead
    }

    fn take(
        &mut self,
        allowance: Option<Allowance>,
        key: &str,
        what: &str,
        scope: &str,
    ) -> Result<(), Problem> {
        self.check(allowance, key, what, scope)?;
        self.spend(allowance, key);
        Ok(())
    }

    fn check(&self, allowance: Option<Allowance>, key: &str, what: &str, scope: &str) -> Result<(), Problem> {
        let Some(Allowance { most, per }) = allowance else { return Ok(()) };
        let now = self.now();
        let next = self.full_at.get(key).copied().unwrap_or(now).max(now) + per / most.max(1);
        // Once the bucket is less than full by no more than it holds, one more fits.
        let fits_at = next - per;
        if most > 0 && fits_at <= now {
            return Ok(());
        }
        let wait = fits_at.duration_since(now).unwrap_or_default();
        let seconds = wait.as_secs() + 1;
        let until = OffsetDateTime::from(now + Duration::from_secs(seconds));
        let detail = format!(
            "too many {what} ({most}) {scope} in the last {}, retry after {} {} UTC",
            go_hours(per),
            until.date(),
            hms(until),
        );
        Err(Problem::new("rateLimited", 429, detail).with_retry_after(Some(RetryAfter::Seconds(seconds))))
    }

    fn spend(&mut self, allowance: Option<Allowance>, key: &str) {
        let Some(Allowance { most, per }) = allowance else { return };
        let now = self.now();
        let full_at = self.full_at.entry(key.to_owned()).or_insert(now);
        *full_at = (*full_at).max(now) + per / most.max(1);
    }
}

fn exact(names: &[Identifier]) -> String {
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    format!("set {}", names.join(" "))
}

fn domains(names: &[Identifier]) -> std::collections::BTreeSet<String> {
    let of = |name: &Identifier| match name {
        Identifier::Ip(address) => address.to_string(),
        Identifier::Dns(name) => {
            let labels: Vec<&str> = name.rsplitn(3, '.').take(2).collect();
            labels.into_iter().rev().collect::<Vec<_>>().join(".")
        }
    };
    names.iter().map(of).collect()
}

/// `168h0m0s`, the way the best known CA writes a span.
fn go_hours(span: Duration) -> String {
    let seconds = span.as_secs();
    format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn hms(at: OffsetDateTime) -> String {
    format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
}
