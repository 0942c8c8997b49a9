//! A lineage that is held on what was judged of it before (decision 15): what must end that, on
//! real files, and that it is told of as one that was judged in full.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nolapse::agent::{Agent, Parts, Scene, Signal, View};
use nolapse::cli::report::{self, Line};
use nolapse::codec::bundle::{self, Bundle};
use nolapse::codec::seen::MarkId;
use nolapse::codec::state;
use nolapse::core::decide::{Issuance, Reason, Request, Upkeep, renewal_point};
use nolapse::core::deploy_window::DeployWindow;
use nolapse::core::endpoint::Endpoint;
use nolapse::core::event::Event;
use nolapse::core::form::Form;
use nolapse::core::layout::{self, Content};
use nolapse::core::leaf::mix;
use nolapse::core::list::List;
use nolapse::core::name::{HookId, IssuerId, LineageId, SolverId, SubjectName, Token};
use nolapse::core::record::{
    ChallengeKind, Debt, EndpointNote, Foreign, HeldBack, HookNote, Installed, Issued, LineageRecord, Pause,
    Pin, Reading, Receipt, Sight,
};
use nolapse::core::silence::Silence;
use nolapse::core::spec::{Around, KeyKind, LineageSpec, Origin, Output, Part, Rights, Terms, Wanted};
use nolapse::core::time::{Interval, Span, Timestamp};
use nolapse::ports::{Expect, Key, Probe, Reply, Sighting, Sink, Store};
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;
use nolapse::sys::keys::Keys;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

const ID: &str = "shop.example.com";
const ENDPOINTS: [&str; 3] = ["shop.example.com:443", "shop.example.com@127.0.0.1:8443", "b.example.com:443"];
const HOOKS: [&str; 2] = ["nginx", "postfix"];

/// One lineage of which there is nothing to say, an hour ago, on real files.
struct Shop {
    dir: tempfile::TempDir,
    clock: Clock,
    store: Arc<DirStore>,
    spec: LineageSpec,
    record: LineageRecord,
    installed: Installed,
}

/// What may differ between two such lineages.
#[derive(Clone, Debug)]
struct Shape {
    endpoints: usize,
    hooks: usize,
    outputs: bool,
    /// Of the leaf, how much has passed in millionths, and how long it lives.
    age: u32,
    life: Span,
    words: Option<String>,
    issuer_known: bool,
    reading: bool,
}

const USUAL: Shape = Shape {
    endpoints: 1,
    hooks: 1,
    outputs: true,
    age: 100_000,
    life: Span::days(90),
    words: None,
    issuer_known: true,
    reading: true,
};

impl Shop {
    async fn new(shape: &Shape) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = Clock::wall().now() + Span::HOUR;
        let store = DirStore::open(Disk::real(), Clock::wall(), &dir.path().join("state")).await.unwrap();
        let pair = pair(now - shape.life.millionths(shape.age), shape.life);
        let texts = pair.render();
        let leaf = pair.leaf().clone();
        let spec = spec(dir.path(), shape);
        let mut record = LineageRecord::new(spec.id.clone());
        record.last_number = 1;
        record.names = spec.names.to_vec();
        let third = leaf.not_after - leaf.lifetime().over(3);
        let read = |ari_id: String| Reading {
            ari_id,
            window: shape.reading.then(|| Interval::new(third, third + leaf.lifetime().over(50))),
            explanation: None,
            at: now - Span::HOUR,
            next_at: now + Span::hours(5),
        };
        record.reading = leaf.ari_id.clone().map(read);
        record.current = Some(Issued {
            number: 1,
            issuer: shape.issuer_known.then(|| IssuerId::parse("second").unwrap()),
            profile: None,
            key_kind: KeyKind::EcdsaP256,
            names: spec.names.to_vec(),
            at: leaf.not_before,
            order: "https://ca.example/order/1".into(),
            revoked: false,
            digests: bundle::digests(&texts),
            leaf: leaf.clone(),
        });
        record.point = renewal_point(&record);
        let mut installed = Installed::default();
        for hook in &spec.hooks {
            let told = HookNote { done: 1, done_at: Some(now - Span::DAY), ..HookNote::never() };
            installed.hooks.insert(hook.clone(), told);
        }
        for endpoint in &*spec.endpoints {
            let seen = EndpointNote {
                sight: Sight::New,
                at: now - Span::HOUR,
                next_at: now + Span::hours(5),
                generation: 1,
                failures: 0,
                reached: true,
                leaf: Some(leaf.clone()),
                words: shape.words.clone(),
                silence: None,
                tally: None,
                accepted: false,
                flaws: Vec::new(),
            };
            installed.endpoints.insert(endpoint.clone(), seen);
        }
        let live = dir.path().join("live");
        fs::create_dir(&live).unwrap();
        Disk::real().run(layout::install(&live.join(ID), 1, &texts, &Rights::default())).await.unwrap();
        for output in &*spec.outputs {
            fs::write(&output.path, texts[&Part::Combined].bytes()).unwrap();
            fs::set_permissions(&output.path, Permissions::from_mode(0o640)).unwrap();
        }
        let shop =
            Self { dir, clock: Clock::starting_at(now), store: Arc::new(store), spec, record, installed };
        let generation = Key::Generation(shop.spec.id.clone(), 1);
        shop.store.swap(&generation, Expect::Absent, pair.to_content()).await.unwrap();
        shop.file().await;
        shop
    }

    /// Writes record and note as they are in this value.
    async fn file(&self) {
        let id = &self.spec.id;
        for (key, content) in [
            (Key::Lineage(id.clone()), state::encode_record(&self.record).unwrap()),
            (Key::Installed(id.clone()), state::encode_installed(&self.installed).unwrap()),
        ] {
            self.store.swap(&key, Expect::Anything, content).await.unwrap();
        }
    }

    /// A process of its own, with nothing in its memory.
    fn agent(&self) -> Arc<Agent> {
        let parts = Parts {
            store: self.store.clone(),
            probe: Arc::new(Nobody),
            sink: Arc::new(Told::default()),
            clock: self.clock.clone(),
            disk: Disk::real(),
            keys: Keys::random(),
        };
        Arc::new(Agent::new(parts, self.scene()).remembering(self.store.seen_files(), true))
    }

    fn scene(&self) -> Scene {
        let mut wanted = Wanted::default();
        wanted.lineages.insert(self.spec.clone());
        Scene {
            wanted: Arc::new(wanted),
            live_dir: self.dir.path().join("live"),
            cas: BTreeMap::new(),
            solvers: BTreeMap::new(),
            hooks: BTreeMap::new(),
        }
    }

    /// A whole pass by a process of its own.
    async fn pass(&self) {
        let ids = vec![self.spec.id.clone()];
        self.agent().pass_over(ids, &Request::default(), Span::ZERO, |_| None).await;
    }

    /// What a later process finds.
    async fn view(&self) -> View {
        let agent = self.agent();
        let _belief = agent.believe();
        agent.view(&self.spec.id).await.unwrap()
    }

    async fn is_held(&self) -> bool {
        matches!(self.view().await, View::Held(_))
    }

    fn live(&self, name: &str) -> PathBuf {
        self.dir.path().join("live").join(ID).join(name)
    }

    fn seen(&self) -> PathBuf {
        let shard = MarkId::of(&self.spec.id).shard();
        format!("{}-{shard:x}", self.store.seen_files().display()).into()
    }

    fn state(&self, name: &str) -> PathBuf {
        self.store.root().join(name)
    }
}

fn spec(dir: &Path, shape: &Shape) -> LineageSpec {
    let output = Output {
        form: Form::Text(Part::Combined),
        path: dir.join("combined.pem").display().to_string(),
        rights: Arc::default(),
    };
    let terms = Terms {
        issuers: ["first", "second"].map(|name| IssuerId::parse(name).unwrap()).into(),
        profile: None,
        key: KeyKind::EcdsaP256,
        reuse_key: false,
        solvers: vec![SolverId::parse("web").unwrap()],
        on_dead_name: nolapse::core::spec::OnDeadName::default(),
        hooks: HOOKS[..shape.hooks].iter().map(|name| HookId::parse(name).unwrap()).collect(),
        observe_timeout: Span::secs(30),
        rights: Arc::default(),
        labels: nolapse::core::labels::Labels::default(),
        deploy_window: None,
        after: Vec::new(),
        around: Around::default(),
    };
    LineageSpec {
        id: LineageId::parse(ID).unwrap(),
        names: vec![SubjectName::parse(ID).unwrap()].into(),
        endpoints: ENDPOINTS[..shape.endpoints].iter().map(|text| Endpoint::parse(text).unwrap()).collect(),
        outputs: if shape.outputs { vec![output].into() } else { List::default() },
        origin: Origin { file: "conf.d/shop.toml".into(), line: 1 },
        terms: Arc::new(terms),
    }
}

/// A leaf by an authority that signs once.
fn pair(from: Timestamp, life: Span) -> Bundle {
    let date = |at: Timestamp| time::OffsetDateTime::from_unix_timestamp(at.secs()).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "Authority of One Leaf");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(vec![ID.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date(from), date(from + life));
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let chain = params.signed_by(&key, &issuer).unwrap().pem() + &root;
    Bundle::made(&chain, &Content::new(key.serialize_pem().into_bytes())).unwrap()
}

/// There is nothing to look at in these tests.
struct Nobody;

impl Probe for Nobody {
    fn look<'a>(&'a self, _: &'a Endpoint, _: Span) -> Reply<'a, Vec<Sighting>> {
        Box::pin(async { vec![Sighting::nothing(Silence::Refused, "nobody is there")] })
    }
}

/// What was told.
#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

impl Sink for Told {
    fn take(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// The same length, and the date set back: neither size nor date tells.
fn edit(path: &Path) {
    let before = fs::metadata(path).unwrap();
    let mut file = File::options().write(true).open(path).unwrap();
    file.write_all(&vec![b'x'; usize::try_from(before.len()).unwrap()]).unwrap();
    file.set_times(FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
}

fn touch(path: &Path) {
    File::options().write(true).open(path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
}

/// What happens, and whether the lineage is held without a look after it.
type Row = (&'static str, fn(&mut Shop), bool);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("nothing", |_| {}, true),
    ("hours pass", |shop| shop.clock.jump(Span::hours(4)), true),
    ("the date of the next look comes", |shop| shop.clock.jump(Span::hours(5)), false),
    ("the clock is put back before the judgement", |shop| shop.clock.jump(Span::ZERO - Span::MINUTE), false),
    ("the record is touched", |shop| touch(&shop.state("lineages/shop.example.com")), false),
    ("the record is edited", |shop| edit(&shop.state("lineages/shop.example.com")), false),
    ("the record is gone", |shop| fs::remove_file(shop.state("lineages/shop.example.com")).unwrap(), false),
    ("a link stands for the record", |shop| {
        let (file, other) = (shop.state("lineages/shop.example.com"), shop.state("lineages/other"));
        fs::rename(&file, &other).unwrap();
        std::os::unix::fs::symlink(&other, &file).unwrap();
    }, false),
    ("the note is touched", |shop| touch(&shop.state("installed/shop.example.com")), false),
    ("the note is gone", |shop| fs::remove_file(shop.state("installed/shop.example.com")).unwrap(), false),
    ("another entry is written", |shop| fs::write(shop.state("lineages/other"), "x").unwrap(), true),
    ("a live file is edited, its date as before", |shop| edit(&shop.live("fullchain.pem")), false),
    ("a live file is touched", |shop| touch(&shop.live("cert.pem")), false),
    ("a live file is opened to all", |shop| {
        fs::set_permissions(shop.live("privkey.pem"), Permissions::from_mode(0o644)).unwrap();
    }, false),
    ("a live file is deleted", |shop| fs::remove_file(shop.live(".gen-1/chain.pem")).unwrap(), false),
    ("a live link is deleted", |shop| fs::remove_file(shop.live("chain.pem")).unwrap(), false),
    ("another generation is shown", |shop| {
        fs::remove_file(shop.live(".current")).unwrap();
        std::os::unix::fs::symlink(".gen-2", shop.live(".current")).unwrap();
    }, false),
    ("the live directory is gone", |shop| fs::remove_dir_all(shop.live("")).unwrap(), false),
    ("an output is edited, its date as before", |shop| edit(&shop.dir.path().join("combined.pem")), false),
    ("an output is gone", |shop| fs::remove_file(shop.dir.path().join("combined.pem")).unwrap(), false),
    ("what was seen is lost", |shop| fs::remove_file(shop.seen()).unwrap(), false),
    ("what was seen is damaged", |shop| edit(&shop.seen()), false),
    ("the names change", |shop| {
        shop.spec.names = vec![SubjectName::parse("new.example.com").unwrap()].into();
    }, false),
    ("the endpoints change", |shop| shop.spec.endpoints = List::default(), false),
    ("the outputs change", |shop| shop.spec.outputs = List::default(), false),
    ("the hooks change", |shop| terms(shop, |terms| terms.hooks.clear()), false),
    ("the key kind changes", |shop| terms(shop, |terms| terms.key = KeyKind::Rsa2048), false),
    ("a deploy window is set", |shop| terms(shop, |terms| {
        terms.deploy_window = Some(DeployWindow(Vec::new()));
    }), false),
    ("the issuers change", |shop| terms(shop, |terms| { terms.issuers.remove(0); }), false),
    ("the solvers change", |shop| terms(shop, |terms| terms.solvers.clear()), false),
    ("the key's mode changes", |shop| terms(shop, |terms| {
        terms.rights = Arc::new(Rights { key_mode: 0o600, ..Rights::default() });
    }), false),
    ("another owner is wanted", |shop| terms(shop, |terms| {
        terms.rights = Arc::new(Rights { owner: Some("12345".into()), ..Rights::default() });
    }), false),
    ("the entry moves in its file", |shop| shop.spec.origin.line = 2, false),
];

fn terms(shop: &mut Shop, change: impl FnOnce(&mut Terms)) {
    change(Arc::make_mut(&mut shop.spec.terms));
}

#[tokio::test(start_paused = true)]
async fn f11_what_was_judged_is_judged_again_when_any_of_it_was_touched() {
    for (row, act, held) in ROWS {
        let mut shop = Shop::new(&USUAL).await;
        shop.pass().await;
        assert!(shop.is_held().await, "{row}: not held before, so this would prove nothing");
        act(&mut shop);
        assert_eq!(shop.is_held().await, *held, "{row}");
    }
}

/// Whatever there is to say of a lineage, it is judged in full each time.
#[tokio::test(start_paused = true)]
async fn a_lineage_of_which_there_is_something_to_say_is_never_held_unread() {
    type Change = fn(&mut Shop, Timestamp);
    #[rustfmt::skip]
    let rows: [(&str, Change); 15] = [
        ("a pause", |shop, now| {
            shop.record.pause = Some(Pause { until: now + Span::DAY, reason: "moving".into(), at: now });
        }),
        ("answers to clean up", |shop, now| shop.record.debts.push(Debt {
            receipt: Receipt {
                solver: SolverId::parse("web").unwrap(),
                kind: ChallengeKind::Http01,
                name: SubjectName::parse(ID).unwrap(),
                token: Token::parse("token-0123456789-0123456789").unwrap(),
                place: String::new(),
                by: None,
            },
            failures: 1,
            next_at: now + Span::minutes(30),
        })),
        ("a foreign pair was met", |shop, now| {
            let leaf = shop.record.leaf().unwrap().clone();
            shop.installed.foreign = Some(Foreign { leaf, path: "/live".into(), since: now });
        }),
        ("it is pinned", |shop, now| {
            shop.record.pin = Some(Pin { generation: 1, reason: "by hand".into(), at: now });
        }),
        ("another went ahead and did not work", |shop, now| {
            let by = LineageId::parse("other.example.com").unwrap();
            let until = now + Span::HOUR;
            shop.installed.held_back = Some(HeldBack { generation: 1, by, at: now, until });
        }),
        ("it was revoked", |shop, _| shop.record.current.as_mut().unwrap().revoked = true),
        ("a hook that was never told", |shop, _| shop.installed.hooks.clear()),
        ("a hook that failed", |shop, now| {
            let note = shop.installed.hooks.values_mut().next().unwrap();
            (note.done, note.failures, note.next_at) = (0, 3, Some(now + Span::minutes(30)));
        }),
        ("an endpoint with the old leaf", |shop, _| sights(shop, |note| note.sight = Sight::Old)),
        ("a silent endpoint", |shop, _| sights(shop, |note| note.sight = Sight::Unreachable)),
        ("an endpoint that was not looked at", |shop, _| shop.installed.endpoints.clear()),
        ("a look at another generation", |shop, _| sights(shop, |note| note.generation = 7)),
        ("a look that is due", |shop, now| sights(shop, |note| note.next_at = now)),
        ("renewal information to be asked", |shop, now| {
            shop.record.reading.as_mut().unwrap().next_at = now;
        }),
        ("a record without digests", |shop, _| shop.record.current.as_mut().unwrap().digests.clear()),
    ];
    for (row, change) in rows {
        let mut shop = Shop::new(&USUAL).await;
        let now = shop.clock.now();
        change(&mut shop, now);
        shop.file().await;
        let agent = shop.agent();
        let _belief = agent.believe();
        agent.view(&shop.spec.id).await.unwrap();
        // Saves what was found, and acts on nothing.
        agent.pass_over(Vec::new(), &Request::default(), Span::ZERO, |_| None).await;
        assert!(matches!(agent.view(&shop.spec.id).await.unwrap(), View::Read(_)), "{row}");
    }
}

fn sights(shop: &mut Shop, change: impl Fn(&mut EndpointNote)) {
    shop.installed.endpoints.values_mut().for_each(change);
}

#[tokio::test(start_paused = true)]
async fn what_changed_a_moment_before_it_was_judged_is_not_remembered() {
    let shop = Shop::new(&USUAL).await;
    // As it was an hour ago, when all this was written.
    shop.clock.jump(Span::ZERO - Span::HOUR);
    shop.pass().await;
    assert!(!shop.is_held().await);
}

#[tokio::test(start_paused = true)]
async fn a_week_after_its_files_were_read_all_is_read_again() {
    // Without endpoints or renewal information nothing else would end it for weeks.
    let mut shop = Shop::new(&Shape { endpoints: 0, ..USUAL }).await;
    shop.record.current.as_mut().unwrap().leaf.ari_id = None;
    shop.record.reading = None;
    shop.file().await;
    shop.pass().await;
    shop.clock.jump(Span::days(6));
    assert!(shop.is_held().await);
    // Held since then, but not read.
    shop.pass().await;
    shop.clock.jump(Span::DAY);
    assert!(!shop.is_held().await);
}

#[tokio::test(start_paused = true)]
async fn by_hand_and_without_a_look_over_many_it_is_read() {
    let shop = Shop::new(&USUAL).await;
    shop.pass().await;
    let agent = shop.agent();
    assert!(matches!(agent.view(&shop.spec.id).await.unwrap(), View::Read(_)), "believed by nobody's wish");
    let _belief = agent.believe();
    let (mut ids, mut told) = (vec![shop.spec.id.clone()], 0);
    agent.skim(&mut ids, |outcome| {
        assert!(outcome.is_well() && outcome.row.is_some() && outcome.leaf.is_some());
        told += 1;
    });
    assert_eq!((ids.len(), told), (0, 1));
    let forced = Request { force: true, by_hand: true, ..Request::default() };
    let ids = vec![shop.spec.id.clone()];
    let summary = agent.pass_over(ids, &forced, Span::ZERO, Some).await;
    // There is no CA in this scene: that it was missed shows that somebody asked for it.
    assert!(summary.outcomes[0].failure.is_some(), "{:?}", summary.outcomes[0]);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_begins_with_the_same_census_and_agenda() {
    let shop = Shop::new(&USUAL).await;
    let mut begun = Vec::new();
    for judged in [false, true] {
        if judged {
            shop.pass().await;
            assert!(shop.is_held().await);
        }
        let (signals, inbox) = tokio::sync::mpsc::channel(1);
        signals.send(Signal::Stop).await.unwrap();
        let mut first = None;
        let agent = shop.agent();
        let report = |pass: &nolapse::agent::Pass<'_>| {
            first.get_or_insert((pass.census.rows.clone(), pass.next_wake));
        };
        agent.run(inbox, report).await.unwrap();
        begun.push(first.unwrap());
    }
    assert_eq!(begun[0], begun[1]);
    assert_eq!(begun[0].0.len(), 1);
}

fn shape() -> impl Strategy<Value = Shape> {
    let words = proptest::option::of("[ -~é\n\u{1}]{0,40}");
    (0..=3usize, 0..=2usize, any::<bool>(), 0..600_000u32, 1..400i64, words, any::<bool>(), any::<bool>())
        .prop_map(|(endpoints, hooks, outputs, age, days, words, issuer_known, reading)| Shape {
            endpoints,
            hooks,
            outputs,
            age,
            life: Span::days(days),
            words,
            issuer_known,
            reading,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    /// The law of memos: at any instant before its end a full look says the same.
    #[test]
    fn a_lineage_that_is_held_is_told_of_as_one_that_was_judged(shape in shape(), part in 0u32..1_000_000) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let shop = Shop::new(&shape).await;
            shop.pass().await;
            let View::Held(held) = shop.view().await else {
                let View::Read(survey) = shop.view().await else { panic!("the clock stands still") };
                let nothing = survey.plan.upkeep == Upkeep::Hold
                    && survey.plan.issuance == Issuance::Hold(Reason::NotDue);
                assert!(!nothing, "{shape:?} has nothing to do and is not held");
                return;
            };
            // Days are drawn as often as hours.
            let ahead = held.memo.until.since(shop.clock.now()).min(Span::days(6));
            let by = if mix(&[u64::from(part)]).is_multiple_of(2) { ahead } else { ahead.min(Span::hours(4)) };
            shop.clock.jump(by.millionths(part));
            let (held, agent) = (shop.view().await, shop.agent());
            let full = View::Read(Box::new(agent.survey(&shop.spec.id).await.unwrap()));
            let (View::Held(memo), View::Read(survey)) = (&held, &full) else { panic!("{shape:?}: {held:?}") };
            let now = shop.clock.now();
            assert_eq!(memo.memo.plan(now), survey.plan, "{shape:?}");
            assert_eq!(memo.memo.ladder(), survey.ladder, "{shape:?}");
            assert_eq!(held.row(), full.row(), "{shape:?}");
            let line = serde_json::to_string(&Line::of(&full)).unwrap();
            assert_eq!(serde_json::to_string(&Line::of(&held)).unwrap(), line, "{shape:?}");
            for view in [&held, &full] {
                let mut text = Vec::new();
                report::write(view, &mut text).unwrap();
                assert_eq!(String::from_utf8(text).unwrap(), line, "{shape:?}");
            }
        });
    }
}
