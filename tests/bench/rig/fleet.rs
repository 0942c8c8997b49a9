//! A state directory with any number of certificates in it, as if each had been issued, installed
//! and told to its server two weeks ago: nothing is due.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nolapse::codec::bundle::{self, Bundle};
use nolapse::codec::state;
use nolapse::core::decide::renewal_point;
use nolapse::core::layout::{self, Content};
use nolapse::core::name::{HookId, IssuerId, LineageId, SubjectName};
use nolapse::core::record::{HookNote, Installed, Issued, LineageRecord, Reading};
use nolapse::core::spec::{KeyKind, Rights};
use nolapse::core::time::{Interval, Span, Timestamp};
use nolapse::ports::{Expect, Key, Store};
use nolapse::store::DirStore;
use nolapse::sys::clock::Clock;
use nolapse::sys::disk::Disk;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// What every certificate of a fleet has lived, and lives in all.
const AGE: Span = Span::days(14);
const LIFE: Span = Span::days(90);

/// What was written less than this ago is read again in every pass, and that is no usual pass.
const SETTLED: std::time::Duration = std::time::Duration::from_secs(61);

/// A configuration and the state it made.
pub struct Fleet {
    pub config: PathBuf,
    pub run_dir: PathBuf,
}

impl Fleet {
    /// Mints and files `count` certificates below `dir`.
    pub fn new(dir: &Path, count: usize) -> Self {
        let mint = Mint::new();
        let names: Vec<_> = (0..count).map(|number| format!("m{number:05}.bench.test")).collect();
        Self::of(dir, names.iter().map(|name| (name.clone(), mint.pair(name))))
    }

    /// Files the pairs `NAME.crt` and `NAME.key` of a directory.
    pub fn adopted(dir: &Path, pairs: &Path) -> Self {
        let mut names: Vec<_> = std::fs::read_dir(pairs)
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().file_name().into_string().ok()?.strip_suffix(".crt").map(str::to_owned)
            })
            .collect();
        names.sort();
        let read = |name: &str, ending: &str| std::fs::read(pairs.join(format!("{name}{ending}"))).unwrap();
        Self::of(
            dir,
            names.iter().map(|name| {
                let chain = String::from_utf8(read(name, ".crt")).unwrap();
                let key = Content::new(read(name, ".key"));
                (name.clone(), Bundle::made(&chain, &key).unwrap())
            }),
        )
    }

    fn of(dir: &Path, pairs: impl Iterator<Item = (String, Bundle)>) -> Self {
        let fleet = Self { config: dir.join("nolapse.toml"), run_dir: dir.join("run") };
        let live = dir.join("live");
        for each in [&live, &fleet.run_dir, &dir.join("webroot")] {
            std::fs::create_dir_all(each).unwrap();
        }
        let mut config = head(dir);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let opened = DirStore::open(Disk::real(), Clock::wall(), &dir.join("state")).await;
            let store: Arc<dyn Store> = Arc::new(opened.unwrap());
            for (name, bundle) in pairs {
                writeln!(config, "\n[certificate.\"{name}\"]\nnames = [\"{name}\"]").unwrap();
                file(&*store, &live, &name, &bundle).await;
            }
        });
        std::fs::write(&fleet.config, config).unwrap();
        if !super::quick() {
            std::thread::sleep(SETTLED);
        }
        fleet
    }

    /// Arguments of a verb over this fleet.
    pub fn arguments<'a>(&'a self, verb: &[&'a str]) -> Vec<&'a str> {
        [&["--config", self.config.to_str().unwrap()], verb].concat()
    }
}

fn head(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"[agent]
state-dir = "{dir}/state"
live-dir = "{dir}/live"
run-dir = "{dir}/run"

# Nobody answers there: a pass that asked the CA would fail.
[issuer.nobody]
directory = "https://127.0.0.1:1/directory"
accept-terms = true

[solver.files]
webroot = "{dir}/webroot"

[hook.server]
run = ["/bin/true"]

[defaults]
issuer = "nobody"
solver = "files"
hooks = ["server"]
"#
    )
}

async fn file(store: &dyn Store, live: &Path, name: &str, bundle: &Bundle) {
    let id = LineageId::parse(name).unwrap();
    let texts = bundle.render();
    let now = Clock::wall().now();
    let names = vec![SubjectName::parse(name).unwrap()];
    let mut record = LineageRecord::new(id.clone());
    record.last_number = 1;
    record.names.clone_from(&names);
    let leaf = bundle.leaf().clone();
    // As a CA with renewal information would have answered today.
    let third = leaf.not_after - leaf.lifetime().over(3);
    record.reading = leaf.ari_id.clone().map(|ari_id| Reading {
        ari_id,
        window: Some(Interval::new(third - Span::DAY, third + Span::DAY)),
        explanation: None,
        at: now,
        next_at: now + Span::hours(20),
    });
    record.current = Some(Issued {
        number: 1,
        issuer: Some(IssuerId::parse("nobody").unwrap()),
        profile: None,
        key_kind: KeyKind::EcdsaP256,
        names,
        at: leaf.not_before,
        order: format!("https://127.0.0.1:1/order/{name}"),
        revoked: false,
        digests: bundle::digests(&texts),
        leaf,
    });
    record.point = renewal_point(&record);
    let mut installed = Installed::default();
    let told = HookNote { done: 1, done_at: Some(now), ..HookNote::never() };
    installed.hooks.insert(HookId::parse("server").unwrap(), told);
    for (key, content) in [
        (Key::Generation(id.clone(), 1), bundle.to_content()),
        (Key::Lineage(id.clone()), state::encode_record(&record).unwrap()),
        (Key::Installed(id.clone()), state::encode_installed(&installed).unwrap()),
    ] {
        store.swap(&key, Expect::Absent, content).await.unwrap();
    }
    let ops = layout::install(&live.join(id.as_str()), 1, &texts, &Rights::default());
    Disk::real().run(ops).await.unwrap();
}

/// A throwaway CA.
struct Mint {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Mint {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Throwaway Benchmark CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn pair(&self, name: &str) -> Bundle {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let now = Clock::wall().now();
        params.not_before = date(now - AGE);
        params.not_after = date(now - AGE + LIFE);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let chain = leaf.pem() + &self.pem;
        Bundle::made(&chain, &Content::new(key.serialize_pem().into_bytes())).unwrap()
    }
}

fn date(at: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(at.millis() / 1000).unwrap()
}
