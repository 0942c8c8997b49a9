//! Rows read as an operator would say them; every row is also held to the laws of any plan.
#![allow(clippy::unwrap_used, clippy::panic)]

mod laws;
mod memo;
mod need;
mod permit;
mod plight;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::core::attempt::{Attempt, Phase, Sitting};
use crate::core::endpoint::Endpoint;
use crate::core::failure::{Class, Failure, Fault};
use crate::core::leaf::Fingerprint;
use crate::core::list::List;
use crate::core::name::{HookId, IssuerId, LineageId, SolverId, SubjectName, Token};
use crate::core::record::{
    ChallengeKind, Debt, EndpointNote, FailedValidation, GenerationNumber, HookNote, Installed, Issued,
    Reading, Receipt, Sight, Trouble,
};
use crate::core::spec::{Around, KeyKind, LineageSpec, OnDeadName, Origin, Terms};
use crate::core::window::tests::leaf;

/// A lineage on one node, owned, so that a row can bend any part of it.
#[derive(Clone, Debug)]
struct World {
    now: Timestamp,
    spec: Option<LineageSpec>,
    record: LineageRecord,
    installed: Installed,
    disk: OnDisk,
    request: Request,
    kept: bool,
    ari: bool,
}

fn day(number: i64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000) + Span::days(number)
}

fn names(list: &[&str]) -> Vec<SubjectName> {
    list.iter().map(|name| SubjectName::parse(name).unwrap()).collect()
}

fn ca(id: &str) -> IssuerId {
    IssuerId::parse(id).unwrap()
}

fn hook(id: &str) -> HookId {
    HookId::parse(id).unwrap()
}

fn endpoint() -> Endpoint {
    Endpoint::parse("a.example@127.0.0.1:443").unwrap()
}

fn issued(number: GenerationNumber, start: Timestamp, lifetime: Span) -> Issued {
    Issued {
        number,
        leaf: leaf(start, lifetime, u8::try_from(number).unwrap()),
        issuer: Some(ca("letsencrypt")),
        profile: None,
        key_kind: KeyKind::EcdsaP256,
        names: names(&["a.example"]),
        at: start,
        order: "https://ca.example/order/1".into(),
        revoked: false,
        digests: BTreeMap::new(),
    }
}

fn receipt() -> Receipt {
    Receipt {
        solver: SolverId::parse("web").unwrap(),
        kind: ChallengeKind::Http01,
        name: names(&["a.example"]).remove(0),
        token: Token::parse("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA").unwrap(),
        place: "token".into(),
        by: None,
    }
}

fn note(sight: Sight, generation: GenerationNumber, at: Timestamp, next_at: Timestamp) -> EndpointNote {
    EndpointNote {
        sight,
        at,
        next_at,
        generation,
        failures: 0,
        reached: true,
        leaf: None,
        words: None,
        silence: None,
        tally: None,
        accepted: false,
        flaws: Vec::new(),
    }
}

fn done(generation: GenerationNumber) -> HookNote {
    HookNote { done: generation, done_at: Some(day(0)), ..HookNote::never() }
}

fn reading(ari_id: &str, from: i64, to: i64, at: Timestamp) -> Reading {
    Reading {
        ari_id: ari_id.into(),
        window: Some(crate::core::time::Interval::new(day(from), day(to))),
        explanation: None,
        at,
        next_at: at + Span::hours(6),
    }
}

impl World {
    /// Generation 2 of a 90-day certificate, ten days old, installed, told and observed. Its
    /// lifetime window ends on day 60 and last resort begins at half past day 85.
    fn settled() -> Self {
        let terms = Terms {
            issuers: vec![ca("letsencrypt")],
            profile: None,
            key: KeyKind::EcdsaP256,
            reuse_key: false,
            solvers: vec![SolverId::parse("web").unwrap()],
            on_dead_name: crate::core::spec::OnDeadName::default(),
            hooks: vec![hook("nginx")],
            observe_timeout: Span::secs(30),
            deploy_window: None,
            after: Vec::new(),
            around: Around::default(),
            rights: Arc::default(),
            labels: crate::core::labels::Labels::default(),
        };
        let spec = LineageSpec {
            id: LineageId::parse("a.example").unwrap(),
            names: names(&["a.example"]).into(),
            endpoints: vec![endpoint()].into(),
            outputs: List::default(),
            origin: Origin { file: "nolapse.toml".into(), line: 1 },
            terms: Arc::new(terms),
        };
        let mut record = LineageRecord::new(spec.id.clone());
        record.current = Some(issued(2, day(0), Span::days(90)));
        record.previous = Some(issued(1, day(-60), Span::days(90)));
        record.last_number = 2;
        record.names = spec.names.to_vec();
        let mut installed = Installed::default();
        installed.hooks.insert(hook("nginx"), done(2));
        let now = day(10);
        installed.endpoints.insert(endpoint(), note(Sight::New, 2, now, now + Span::hours(6)));
        let disk = OnDisk { live: Placement::Shows(2), named: None, outputs: Vec::new() };
        Self {
            now,
            spec: Some(spec),
            record,
            installed,
            disk,
            request: Request::default(),
            kept: true,
            ari: false,
        }
    }

    fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        for note in self.installed.endpoints.values_mut() {
            note.at = now;
            note.next_at = now + Span::hours(6);
        }
        self
    }

    fn with(mut self, bend: impl FnOnce(&mut Self)) -> Self {
        bend(&mut self);
        self
    }

    fn spec(&mut self) -> &mut LineageSpec {
        self.spec.as_mut().unwrap()
    }

    fn terms(&mut self) -> &mut Terms {
        Arc::make_mut(&mut self.spec().terms)
    }

    fn current(&mut self) -> &mut Issued {
        self.record.current.as_mut().unwrap()
    }

    /// The `count`th failure in a row happened at `at`; the next try is set for `next_at`.
    fn failed(self, class: Class, count: u32, at: Timestamp, next_at: Timestamp) -> Self {
        self.with(|w| {
            w.record.trouble = Some(Trouble {
                count,
                since: at,
                last_at: at,
                next_at,
                probed_at: None,
                failure: Failure::new(class, Fault::Ca, "ca-down", "the CA answered 503"),
                names: w.record.names.clone(),
                issuer: ca("letsencrypt"),
            });
        })
    }

    fn attempting(self, phase: Phase, bend: impl FnOnce(&mut Attempt)) -> Self {
        self.with(|w| {
            let mut attempt = Attempt {
                started: w.now - Span::MINUTE,
                deadline: w.now + Span::hours(5),
                issuer: ca("letsencrypt"),
                names: names(&["a.example"]),
                profile: None,
                key_kind: KeyKind::EcdsaP256,
                key: Fingerprint([9; 32]),
                replaces: None,
                phase,
                order: Some("https://ca.example/order/2".into()),
                receipts: vec![receipt()],
                sitting: Sitting::default(),
            };
            bend(&mut attempt);
            w.record.attempt = Some(attempt);
        })
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            now: self.now,
            spec: self.spec.as_ref(),
            record: &self.record,
            installed: &self.installed,
            disk: &self.disk,
            request: &self.request,
            generation_kept: self.kept,
            ari: self.ari,
        }
    }

    /// The plan, held to the laws that hold for every plan.
    fn plan(&self) -> Plan {
        let plan = decide(&self.situation());
        assert_eq!(plan, decide(&self.situation()), "the same inputs gave two plans");
        assert_eq!(plan, explain(&self.situation()).0, "explain tells another story than decide");
        assert!(plan.wake_at > self.now, "{plan:?} wakes in the past");
        assert!(plan.wake_at <= self.now + Span::DAY, "{plan:?} sleeps for more than a day");
        if let Issuance::Suspend { until, .. } = plan.issuance {
            assert!(plan.wake_at <= until, "{plan:?} sleeps past the end of its own wait");
        }
        plan
    }
}

/// `renew lifetime-window`, `suspend backing-off`, `hold not-due`.
fn words(issuance: &Issuance) -> String {
    match issuance {
        Issuance::Hold(why)
        | Issuance::Issue { why, .. }
        | Issuance::Renew { why, .. }
        | Issuance::Suspend { why, .. } => format!("{} {why}", issuance.verb()),
        Issuance::Probe { .. } | Issuance::Refresh | Issuance::Resume => issuance.verb().to_owned(),
    }
}

/// Runs a table of rows about issuance.
#[expect(clippy::needless_pass_by_value, reason = "rows read best as one literal")]
fn table(rows: Vec<(&str, World, &str)>) {
    let found = rows.iter().map(|(row, world, _)| (*row, words(&world.plan().issuance)));
    same(found, rows.iter().map(|(row, _, expected)| (*row, *expected)));
}

/// Compares whole tables, so that a failure shows every row that fails.
fn same<'a>(
    found: impl Iterator<Item = (&'a str, String)>,
    expected: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let wrong: Vec<_> = found.zip(expected).filter(|((_, found), (_, expected))| found != expected).collect();
    assert!(wrong.is_empty(), "(found, expected): {wrong:#?}");
}
