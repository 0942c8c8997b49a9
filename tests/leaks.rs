//! Nothing grows while an agent does its work for years (scoreboard S18): memory, descriptors,
//! temporary files and child processes are as many after thousands of renewals and idle ticks as
//! they were when it was warm.
//!
//! The agent is the real loop with the real store, disk, codecs and hook programs, in time that
//! passes by itself. What the CI run shows in a minute, this shows for 10,000 renewals and 10^6
//! ticks:
//!
//! ```text
//! NOLAPSE_LEAKS=10000,1000000 cargo test --test leaks -- --nocapture
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyPair, SerialNumber,
};
use rustls::pki_types::CertificateSigningRequestDer;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use nolapse::agent::{Agent, Parts, Scene, Signal};
use nolapse::codec::bundle;
use nolapse::config::{Facts, Source, resolve};
use nolapse::core::endpoint::Endpoint;
use nolapse::core::event::{Deployment, Event};
use nolapse::core::failure::{Failure, Fault};
use nolapse::core::leaf::mix;
use nolapse::core::name::{HookId, IssuerId, SolverId, SubjectName, Token};
use nolapse::core::order::{
    AuthorizationStatus, AuthorizationView, ChallengeStatus, ChallengeTask, ChallengeView, OrderRequest,
    OrderStatus, OrderView,
};
use nolapse::core::record::{ChallengeKind, Receipt};
use nolapse::core::silence::Silence;
use nolapse::core::spec::Call;
use nolapse::core::time::{Interval, Span, Timestamp};
use nolapse::hook::ExecHook;
use nolapse::ports::{Ca, Greeting, Hook, Probe, RenewalInfo, Reply, Sighting, Sink, Solver};
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;
use nolapse::sys::keys::Keys;

/// Renewals and ticks where nothing else is asked for.
const RENEWALS: u64 = 300;
const TICKS: u64 = 6_000;
/// Share of the whole after which the agent counts as warm.
const WARM_SHARE: u64 = 5;
/// Most that memory may grow from then on, in KiB.
const GROWTH_MOST: i64 = 1024;
/// Certificates in the idle world.
const IDLERS: usize = 10;
/// How often the CA wants to be asked: about a certificate that is renewed twice a day, and about
/// an idle one.
const ARI_EVERY: (Span, Span) = (Span::hours(6), Span::minutes(10));

/// Renewals and ticks of this run.
fn planned() -> (u64, u64) {
    let Ok(text) = std::env::var("NOLAPSE_LEAKS") else { return (RENEWALS, TICKS) };
    let numbers = text.split_once(',').and_then(|(one, two)| Some((one.parse().ok()?, two.parse().ok()?)));
    numbers.unwrap_or_else(|| panic!("NOLAPSE_LEAKS={text}: two numbers, renewals and ticks, are needed"))
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Resident memory without what is shared with files, in KiB.
    memory: i64,
    descriptors: usize,
    /// Files below the agent's directories, without lock files: of these there are sixteen and one
    /// for each certificate, made when they are first needed.
    files: usize,
    /// Unfinished files and probes among them.
    temporary: usize,
    /// Children that have ended and were not waited for.
    zombies: usize,
}

impl Held {
    fn now(root: &Path) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let files = files(root);
        let is_temporary = |path: &&PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.ends_with(".nolapse-new") || name == ".writable"
        };
        Self {
            memory: memory.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            temporary: files.iter().filter(is_temporary).count(),
            files: files.iter().filter(|path| !path.parent().unwrap().ends_with("locks")).count(),
            zombies: zombies(),
        }
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found
}

fn zombies() -> usize {
    let me = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| {
            let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
            fields.next() == Some("Z") && fields.next() == Some(me.as_str())
        })
        .count()
}

/// Compares two looks and prints them.
fn compare(what: &str, warm: Held, end: Held) {
    println!("{what}: when warm {warm:?}, at the end {end:?}, memory {:+} KiB", end.memory - warm.memory);
    assert!(end.memory - warm.memory <= GROWTH_MOST, "{what}: memory grows: {warm:?} {end:?}");
    assert!(end.descriptors <= warm.descriptors, "{what}: descriptors are left open: {warm:?} {end:?}");
    assert_eq!(end.temporary, 0, "{what}: unfinished files are left");
    assert!(end.files <= warm.files, "{what}: files pile up: {warm:?} {end:?}");
    assert_eq!(end.zombies, 0, "{what}: children were not waited for");
}

/// A CA that remembers only what is under way.
struct Authority {
    clock: Clock,
    lifetime: Span,
    ari_every: Span,
    issuer: Issuer<'static, KeyPair>,
    orders: Mutex<BTreeMap<String, Order>>,
    placed: AtomicU64,
    asked: AtomicU64,
}

struct Order {
    names: Vec<SubjectName>,
    proven: bool,
    chain: Option<String>,
}

impl Authority {
    fn new(clock: &Clock, lifetime: Span, ari_every: Span) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Root of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            clock: clock.clone(),
            lifetime,
            ari_every,
            issuer: Issuer::new(params, KeyPair::generate().unwrap()),
            orders: Mutex::default(),
            placed: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        }
    }

    fn token(url: &str, place: usize) -> Token {
        let number: u64 = url.rsplit('/').next().unwrap().parse().unwrap();
        Token::parse(&format!("token-{number:012}-{place:04}-xxxxxxxx")).unwrap()
    }

    fn view(&self, url: &str) -> Result<OrderView, Failure> {
        let orders = self.orders.lock().unwrap();
        let order = orders.get(url).ok_or_else(gone)?;
        let status = match order {
            Order { chain: Some(_), .. } => OrderStatus::Valid,
            Order { proven: true, .. } => OrderStatus::Ready,
            _ => OrderStatus::Pending,
        };
        Ok(OrderView { url: url.to_owned(), status, error: None, retry_after: None })
    }

    fn issue(&self, csr: &[u8]) -> String {
        let csr = CertificateSigningRequestDer::from(csr.to_vec());
        let mut asked = CertificateSigningRequestParams::from_der(&csr).unwrap();
        let now = self.clock.now();
        let date = |at: Timestamp| OffsetDateTime::from_unix_timestamp(at.secs()).unwrap();
        asked.params.not_before = date(now - Span::MINUTE);
        asked.params.not_after = date(now - Span::MINUTE + self.lifetime);
        asked.params.distinguished_name = DistinguishedName::new();
        asked.params.use_authority_key_identifier_extension = true;
        asked.params.serial_number =
            Some(SerialNumber::from(mix(&[self.placed.load(Ordering::SeqCst)]) >> 1));
        asked.signed_by(&self.issuer).unwrap().pem()
    }
}

fn gone() -> Failure {
    Failure::transient(Fault::Ca, "order-gone", "the CA does not know this order")
}

impl Ca for Authority {
    fn order<'a>(&'a self, request: &'a OrderRequest) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(async {
            let url = format!("https://ca.example/order/{}", self.placed.fetch_add(1, Ordering::SeqCst));
            let order = Order { names: request.names.clone(), proven: false, chain: None };
            self.orders.lock().unwrap().insert(url.clone(), order);
            Authority::view(self, &url)
        })
    }

    fn view<'a>(&'a self, order: &'a str) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(async { Authority::view(self, order) })
    }

    fn authorizations<'a>(&'a self, order: &'a str) -> Reply<'a, Result<Vec<AuthorizationView>, Failure>> {
        Box::pin(async move {
            let orders = self.orders.lock().unwrap();
            let held = orders.get(order).ok_or_else(gone)?;
            let proven = held.proven;
            let view = |(place, name): (usize, &SubjectName)| {
                let token = Self::token(order, place);
                let challenge = ChallengeView {
                    terms: nolapse::core::order::Terms::default(),
                    kind: Some(ChallengeKind::Http01),
                    url: format!("{order}/{place}"),
                    key_authorization: format!("{}.thumbprint", token.as_str()),
                    token: Some(token),
                    status: if proven { ChallengeStatus::Valid } else { ChallengeStatus::Pending },
                    error: None,
                };
                let status = if proven { AuthorizationStatus::Valid } else { AuthorizationStatus::Pending };
                AuthorizationView { name: name.clone(), status, challenges: vec![challenge] }
            };
            Ok(held.names.iter().enumerate().map(view).collect())
        })
    }

    fn ready<'a>(&'a self, order: &'a str, _: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async {
            self.orders.lock().unwrap().get_mut(order).ok_or_else(gone)?.proven = true;
            Ok(())
        })
    }

    fn finalize<'a>(&'a self, order: &'a str, csr: &'a [u8]) -> Reply<'a, Result<OrderView, Failure>> {
        Box::pin(async {
            let chain = self.issue(csr);
            self.orders.lock().unwrap().get_mut(order).ok_or_else(gone)?.chain = Some(chain);
            Authority::view(self, order)
        })
    }

    fn download<'a>(&'a self, order: &'a str) -> Reply<'a, Result<String, Failure>> {
        Box::pin(async { self.orders.lock().unwrap().remove(order).and_then(|o| o.chain).ok_or_else(gone) })
    }

    fn renewal_info<'a>(&'a self, _: &'a str) -> Reply<'a, Result<Option<RenewalInfo>, Failure>> {
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            // Far ahead: it is not yet time.
            let start = self.clock.now() + self.lifetime.over(2);
            let window = Interval::new(start, start + Span::DAY);
            Ok(Some(RenewalInfo { window, explanation: None, retry_after: self.ari_every }))
        })
    }

    fn reachable(&self) -> Reply<'_, Result<Greeting, Failure>> {
        Box::pin(async { Ok(Greeting { date: Some(self.clock.now()), ..Greeting::default() }) })
    }

    fn skew(&self) -> Reply<'_, Result<Option<Span>, Failure>> {
        Box::pin(async { Ok(Some(Span::ZERO)) })
    }

    fn abandon<'a>(&'a self, order: &'a str) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async {
            self.orders.lock().unwrap().remove(order);
            Ok(())
        })
    }

    fn account(&self) -> Reply<'_, Result<String, Failure>> {
        Box::pin(async { Ok("https://ca.example/account/1".into()) })
    }
}

/// A solver whose answers nobody looks at.
struct Board;

impl Solver for Board {
    fn kinds(&self) -> &[ChallengeKind] {
        &[ChallengeKind::Http01]
    }

    fn receipt<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<Receipt, Failure>> {
        Box::pin(std::future::ready(Ok(Receipt {
            solver: task.solver.clone(),
            kind: task.kind,
            name: task.name.clone(),
            token: task.token.clone(),
            place: "board".into(),
            by: None,
        })))
    }

    fn present<'a>(&'a self, _: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn confirm<'a>(&'a self, _: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn clean_up<'a>(&'a self, _: &'a Receipt) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
}

/// The real hook program, run where time is real: time that is paused would end it at once.
struct RealHook {
    hook: Arc<ExecHook>,
    told: AtomicU64,
}

impl Hook for RealHook {
    fn check(&self) -> Reply<'_, Option<Result<(), Failure>>> {
        Box::pin(async { None })
    }

    fn call<'a>(&'a self, deployment: &'a Deployment) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let (hook, deployment) = (self.hook.clone(), deployment.clone());
            self.told.fetch_add(1, Ordering::SeqCst);
            let elsewhere = move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(hook.call(&deployment))
            };
            tokio::task::spawn_blocking(elsewhere).await.unwrap()
        })
    }
}

/// Sees what lies in the live directory, as a server that is always up to date.
struct Mirror {
    live: PathBuf,
    looks: AtomicU64,
}

impl Probe for Mirror {
    fn look<'a>(&'a self, endpoint: &'a Endpoint, _: Span) -> Reply<'a, Vec<Sighting>> {
        Box::pin(async move {
            self.looks.fetch_add(1, Ordering::SeqCst);
            let name = endpoint.server_name();
            vec![match std::fs::read(self.live.join(&*name).join("fullchain.pem")) {
                Ok(text) => match bundle::leaf_of(&text) {
                    Ok(leaf) => Sighting::of(leaf),
                    Err(error) => Sighting::nothing(Silence::NoCertificate, error.to_string()),
                },
                Err(error) => Sighting::nothing(Silence::Closed, error.to_string()),
            }]
        })
    }
}

/// Counts what happens and keeps none of it.
#[derive(Default)]
struct Counter {
    issued: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Sink for Counter {
    fn take(&self, event: &Event) {
        match event {
            Event::Issued { .. } => drop(self.issued.fetch_add(1, Ordering::SeqCst)),
            Event::AttemptFailed { .. } | Event::TickFailed { .. } => {
                let said = serde_json::to_string(event).unwrap();
                self.trouble.lock().unwrap().get_or_insert(said);
            }
            _ => {}
        }
    }
}

/// One agent in a directory of its own.
struct Rig {
    dir: tempfile::TempDir,
    clock: Clock,
    authority: Arc<Authority>,
    hook: Arc<RealHook>,
    mirror: Arc<Mirror>,
    counter: Arc<Counter>,
    signals: mpsc::Sender<Signal>,
    task: tokio::task::JoinHandle<Result<(), Failure>>,
}

impl Rig {
    async fn start(names: &[String], lifetime: Span, ari_every: Span) -> Self {
        // In memory where there is one: what is counted are files, not what a disk takes to sync.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("nolapse-leaks-").tempdir_in(parent).unwrap();
        let (state, live) = (dir.path().join("state"), dir.path().join("live"));
        std::fs::create_dir(&state).unwrap();
        std::fs::create_dir(&live).unwrap();
        let mut text =
            "[issuer.ca]\ndirectory = \"https://ca.example/d\"\n[solver.way]\nlisten = \"127.0.0.1:8089\"\n\
                        [hook.app]\nrun = [\"/bin/true\"]\n"
                .to_owned();
        for name in names {
            let _ = write!(
                text,
                "[certificate.\"{name}\"]\nissuer = \"ca\"\nsolver = \"way\"\nhooks = [\"app\"]\n\
                 observe = [\"{name}@127.0.0.1:443\"]\n"
            );
        }
        let resolved = resolve(&[Source::new("nolapse.toml", text)], &Facts::default());
        assert!(!resolved.has_errors(), "{:?}", resolved.problems);
        let clock = Clock::starting_at("2026-11-21T12:00:00Z".parse().unwrap());
        let store = DirStore::open(Disk::real(), clock.clone(), &state).await.unwrap();
        let app = HookId::parse("app").unwrap();
        let spec = &resolved.wanted.hooks[&app];
        let Call::Run(argv) = &spec.call else { panic!("{spec:?}") };
        let hook = Arc::new(RealHook {
            hook: Arc::new(ExecHook::new(spec, argv, &Clock::wall())),
            told: AtomicU64::new(0),
        });
        let authority = Arc::new(Authority::new(&clock, lifetime, ari_every));
        let mirror = Arc::new(Mirror { live: live.clone(), looks: AtomicU64::new(0) });
        let counter = Arc::new(Counter::default());
        let parts = Parts {
            store: Arc::new(store),
            probe: mirror.clone(),
            sink: counter.clone(),
            clock: clock.clone(),
            disk: Disk::real(),
            keys: Keys::random(),
        };
        let scene = Scene {
            wanted: resolved.wanted,
            live_dir: live,
            cas: BTreeMap::from([(IssuerId::parse("ca").unwrap(), authority.clone() as Arc<dyn Ca>)]),
            solvers: BTreeMap::from([(SolverId::parse("way").unwrap(), Arc::new(Board) as Arc<dyn Solver>)]),
            hooks: BTreeMap::from([(app, hook.clone() as Arc<dyn Hook>)]),
        };
        let agent = Arc::new(Agent::new(parts, scene));
        let (signals, inbox) = mpsc::channel(1);
        let task = tokio::spawn(async move { agent.run(inbox, |_| {}).await });
        Self { dir, clock, authority, hook, mirror, counter, signals, task }
    }

    fn issued(&self) -> u64 {
        self.counter.issued.load(Ordering::SeqCst)
    }

    /// Looks at endpoints and questions to the CA: each is a tick of one certificate.
    fn ticks(&self) -> u64 {
        self.mirror.looks.load(Ordering::SeqCst) + self.authority.asked.load(Ordering::SeqCst)
    }

    /// Lets time pass in steps until `count` says so many.
    async fn until(&self, most: u64, step: Span, count: impl Fn(&Self) -> u64) {
        let (mut steps_without, mut last) = (0, 0);
        while count(self) < most {
            self.clock.sleep(step).await;
            assert!(!self.task.is_finished(), "the agent ended");
            if let Some(trouble) = self.counter.trouble.lock().unwrap().take() {
                panic!("something failed in a world without faults: {trouble}");
            }
            steps_without = if count(self) == last { steps_without + 1 } else { 0 };
            last = count(self);
            assert!(steps_without < 1_000, "nothing happens any more at {last}");
        }
    }

    /// At rest, so that two looks at it are alike.
    async fn rest(&self) -> Held {
        self.clock.sleep(Span::MINUTE).await;
        Held::now(self.dir.path())
    }

    async fn end(self) {
        self.signals.send(Signal::Stop).await.unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// One test after the other: they count what this process holds.
#[tokio::test(start_paused = true)]
async fn nothing_grows_in_thousands_of_renewals_and_idle_ticks() {
    let (renewals, ticks) = planned();
    let begun = std::time::Instant::now();
    let rig = Rig::start(&["a.example".into()], Span::DAY, ARI_EVERY.0).await;
    rig.until(renewals / WARM_SHARE, Span::HOUR, Rig::issued).await;
    let warm = rig.rest().await;
    rig.until(renewals, Span::HOUR, Rig::issued).await;
    let end = rig.rest().await;
    let begun = begun.elapsed();
    let told = rig.hook.told.load(Ordering::SeqCst);
    assert!(told >= renewals, "{told} calls of the hook for {renewals} renewals");
    compare(&format!("{renewals} renewals, {told} hook processes, in {begun:?}"), warm, end);
    rig.end().await;

    let begun = std::time::Instant::now();
    let names: Vec<_> = (0..IDLERS).map(|index| format!("idle{index}.example")).collect();
    let rig = Rig::start(&names, Span::days(15 * 365), ARI_EVERY.1).await;
    rig.until(ticks / WARM_SHARE, Span::HOUR, Rig::ticks).await;
    let (warm, issued) = (rig.rest().await, rig.issued());
    rig.until(ticks, Span::HOUR, Rig::ticks).await;
    let end = rig.rest().await;
    assert_eq!(rig.issued(), issued, "idle ticks issue nothing");
    compare(&format!("{ticks} idle ticks of {IDLERS} certificates, in {:?}", begun.elapsed()), warm, end);
    rig.end().await;
}
