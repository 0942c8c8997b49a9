//! One certificate from the real adapter, as the agent would ask for it: the core says each move. Waits are
//! jumps of a virtual clock, and a CA that takes for ever makes time pass.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nolapse::ca::AcmeCa;
use nolapse::codec::bundle::{Bundle, Expected};
use nolapse::core::attempt::{Action, Attempt, Observation, Phase, Sitting, step};
use nolapse::core::failure::{Failure, Fault, plain};
use nolapse::core::layout::Content;
use nolapse::core::name::{IssuerId, SolverId, SubjectName};
use nolapse::core::order::Offer;
use nolapse::core::record::ChallengeKind;
use nolapse::core::spec::{IssuerSpec, SecretSource};
use nolapse::core::time::Span;
use nolapse::ports::{Ca as _, RenewalInfo, Store};
use nolapse::sys::clock::Clock;
use nolapse::sys::keys::PrivateKey;

/// The names of every order.
pub const NAMES: [&str; 2] = ["a.example", "b.example"];

/// What one call of the adapter may take at most: one request to its end, and the connecting of another.
pub const CALL_MOST: Duration = Duration::from_secs(71);
/// Moves of one attempt: a look and a wait each second for ten minutes, which is what a CA gets that asks for it.
const MOVES_MOST: usize = 1300;
/// How time passes while the CA stalls.
const STEP: Duration = Duration::from_secs(1);
/// Real time in which answers that are on their way arrive, after each step.
const BREATH: Duration = Duration::from_millis(1);

/// The adapter under test and the CA that it talks to.
pub struct Bench {
    pub ca: test_ca::Ca,
    pub adapter: AcmeCa,
    pub key: PrivateKey,
    /// Whether time may be helped along.
    pub stalls: bool,
    /// The longest call so far, in virtual time.
    pub longest: Duration,
}

impl Bench {
    pub fn new(ca: test_ca::Ca, store: Arc<dyn Store>, key: PrivateKey) -> Self {
        let spec = IssuerSpec {
            id: IssuerId::parse("hostile").unwrap(),
            directory: ca.directory_url(),
            staging: None,
            contact: Vec::new(),
            accept_terms: true,
            profile: None,
            eab: None,
            ca_file: None,
            proxy: None,
            insecure_http: true,
            origin: nolapse::core::spec::Origin::default(),
        };
        let secrets = Arc::new(|_: &SecretSource| Ok(Content::new(Vec::new())));
        // Roots of its own, or every case would read this host's.
        let roots = Content::new(ca.api_root_pem().as_bytes().to_vec());
        let adapter = AcmeCa::new(spec, store, Clock::wall(), secrets, Some(&roots)).unwrap();
        Self { ca, adapter, key, stalls: false, longest: Duration::ZERO }
    }

    /// A certificate, or why there is none.
    pub async fn certificate(&mut self) -> Result<Bundle, Failure> {
        let mut now = Clock::wall().now();
        let mut attempt = Attempt {
            started: now,
            deadline: now + Attempt::LIFE,
            issuer: IssuerId::parse("hostile").unwrap(),
            names: NAMES.iter().map(|name| SubjectName::parse(name).unwrap()).collect(),
            profile: None,
            key_kind: self.key.kind(),
            key: self.key.fingerprint(),
            replaces: None,
            phase: Phase::Prepared,
            order: None,
            receipts: Vec::new(),
            sitting: Sitting::default(),
        };
        let offers = vec![Offer {
            solver: SolverId::parse("none").unwrap(),
            kinds: vec![ChallengeKind::Http01],
            names: Vec::new(),
        }];
        let mut seen = Observation::Started;
        for _ in 0..MOVES_MOST {
            let action;
            (attempt, action) = step(attempt, seen, now);
            let order = attempt.order.clone().unwrap_or_default();
            let (adapter, order) = (&self.adapter, order.as_str());
            let (ca, stalls, longest) = (&self.ca, self.stalls, &mut self.longest);
            let done = match action {
                Action::Park(failure) => return Err(failure),
                Action::GiveUp(failure) => {
                    if !order.is_empty() {
                        // Politeness that may fail, but ends.
                        let _ = in_time(ca, stalls, longest, adapter.abandon(order)).await;
                    }
                    return Err(failure);
                }
                Action::Wait(until) => {
                    now = until;
                    Ok(Observation::Waited)
                }
                Action::Reserve(tasks) => Ok(Observation::Reserved { tasks, receipts: Vec::new() }),
                Action::Present(tasks) => Ok(Observation::Presented(tasks)),
                Action::Confirm(tasks) => Ok(Observation::Confirmed { tasks, unseen: Vec::new() }),
                Action::Tell(tasks) => {
                    let mut told = Ok(Observation::Told);
                    for task in &tasks {
                        if let Err(failure) = in_time(ca, stalls, longest, adapter.ready(order, task)).await {
                            told = Err(failure);
                            break;
                        }
                    }
                    told
                }
                Action::Order(request) => {
                    in_time(ca, stalls, longest, adapter.order(&request)).await.map(Observation::Order)
                }
                Action::View => {
                    in_time(ca, stalls, longest, adapter.view(order)).await.map(Observation::Order)
                }
                Action::Authorizations => {
                    in_time(ca, stalls, longest, adapter.authorizations(order)).await.map(|views| {
                        Observation::Authorizations { views, offers: offers.clone(), misses: Vec::new() }
                    })
                }
                Action::Finalize => {
                    let csr = self.key.csr(&attempt.names).unwrap();
                    in_time(ca, stalls, longest, adapter.finalize(order, &csr)).await.map(Observation::Order)
                }
                Action::Download => {
                    let chain = in_time(ca, stalls, longest, adapter.download(order)).await;
                    let expected = Expected { names: &attempt.names, now: Clock::wall().now() };
                    match chain.and_then(|chain| Bundle::receive(&chain, &self.key.pem(), &expected)) {
                        Ok(bundle) => return Ok(bundle),
                        // As the agent has it: the same order would deliver the same again.
                        Err(failure) if !failure.code.starts_with("ca-") => return Err(failure),
                        Err(failure) => Err(failure),
                    }
                }
            };
            if let Ok(Observation::Order(view)) = &done
                && let Some(error) = &view.error
            {
                assert_eq!(plain(&error.detail, usize::MAX), error.detail);
                assert_eq!(plain(&error.kind, usize::MAX), error.kind);
            }
            seen = done.unwrap_or_else(Observation::Failed);
        }
        Err(Failure::broken("in-circles", "the attempt does not end"))
    }

    /// Renewal information of the certificate issued last.
    pub async fn renewal_info(&mut self) -> Result<Option<RenewalInfo>, Failure> {
        let id = self.ca.issued().last().unwrap().cert_id.clone();
        let info = self.adapter.renewal_info(&id);
        let info = in_time(&self.ca, self.stalls, &mut self.longest, info).await?;
        if let Some(info) = &info {
            assert!(info.window.start < info.window.end);
            assert!((Span::MINUTE..=Span::DAY).contains(&info.retry_after), "{}", info.retry_after);
            let explanation = info.explanation.clone().unwrap_or_default();
            assert!(plain(&explanation, usize::MAX) == explanation && explanation.chars().count() <= 301);
        }
        Ok(info)
    }
}

/// The call's end. Where the CA stalls, seconds pass until the call gives up.
async fn in_time<T>(
    ca: &test_ca::Ca,
    stalls: bool,
    longest: &mut Duration,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut call = pin!(call);
    if !stalls {
        return call.await;
    }
    let mut passed = Duration::ZERO;
    loop {
        let stuck =
            ca.wait_until(Duration::MAX / 4, |ca| ca.requests().last().is_some_and(|seen| seen.struck));
        tokio::select! {
            biased;
            answer = &mut call => {
                *longest = passed.max(*longest);
                return answer;
            }
            _ = stuck => {}
        }
        if passed > CALL_MOST {
            *longest = passed;
            return Err(Failure::transient(Fault::Ours, "past-its-deadline", "the call does not end"));
        }
        tokio::time::pause();
        tokio::time::advance(STEP).await;
        tokio::time::resume();
        passed += STEP;
        // What is under way arrives in real time.
        tokio::select! {
            biased;
            answer = &mut call => {
                *longest = passed.max(*longest);
                return answer;
            }
            () = tokio::time::sleep(BREATH) => {}
        }
    }
}
