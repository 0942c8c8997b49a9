//! One kind of server, a CA, the program, and everything that a lie needs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::kind::Kind;
use super::lie::{Lie, Moment, Outcome, Reach};
use super::server::Server;
use super::shape::{Door, Files, Shape};
use crate::stage::pebble;
use crate::support::agent::{Ran, Site};
use crate::support::pebble::{Options, Pebble};
use crate::support::ports::{self, wait_for};
use crate::support::served;

pub const NAME: &str = "lie.example";
/// What one listener of several is asked for.
const SECOND_NAME: &str = "www.lie.example";
/// The host of servers with two addresses; known to the program alone.
const BACKENDS: &str = "backends.example";
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the program waits before it calls something by a name, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For the end of a check and of a reload.
    call: u32,
    /// For an answer, and for a stale one to turn new.
    look: u32,
}

pub struct Rig {
    pub kind: Kind,
    // Dropped in this order: servers before the directory they live in.
    backends: Vec<Server>,
    second: Option<Server>,
    pebble: Pebble,
    pub site: Site,
    pace: Pace,
    port: u16,
    /// Of the second listener, or of the one that moves away.
    spare: u16,
    reach: Reach,
    key: &'static str,
    made: Made,
}

/// What was installed before the renewal.
struct Earlier {
    copies: Files,
    /// Where the links led to.
    pinned: Files,
}

/// Pairs that are not the program's.
struct Made {
    strangers: Files,
    self_signed: Files,
    other_valid: Files,
    expired: Files,
    not_yet_valid: Files,
    clients: PathBuf,
}

impl Rig {
    /// A certificate that is installed and observed; `None` with a `SKIPPED:` line.
    pub fn new(kind: Kind, reach: Reach, pace: Pace) -> Option<Self> {
        if !kind.runs_here() {
            return None;
        }
        let pebble = pebble(&Options { always_valid: true, authz_reuse: 100, ..Options::default() })?;
        let mut site = Site::new();
        let mut ips = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        if !kind.shares_its_port() {
            ips.push(IpAddr::from([127, 0, 0, 2]));
            site.wrapper = with_backends(&site)?;
        }
        let port = ports::free();
        let made = Made::below(&site.path("made"));
        let backends: Vec<_> = ips
            .iter()
            .enumerate()
            .map(|(at, ip)| Server::new(kind, site.path(&format!("server-{at}")), *ip, port))
            .collect();
        let (second, spare, key) = (None, ports::free(), "ecdsa-p256");
        let rig = Self { kind, backends, second, pebble, site, pace, port, spare, reach, key, made };
        rig.configure();
        rig.reload_with("exit 0");
        rig.honest_shape();
        rig.site.run(&["renew"]);
        let mut rig = rig;
        for server in &mut rig.backends {
            server.start();
        }
        rig.honest_reload();
        let ran = rig.settled(rig.site.run(&["deploy"]));
        assert!(ran.code == Some(0) && ran.out.contains("observed"), "{kind:?}: {ran:?}");
        Some(rig)
    }

    /// The next certificates have keys of this kind.
    pub fn use_key(&mut self, key: &'static str) {
        if self.key != key {
            self.key = key;
            self.configure();
        }
    }

    fn configure(&self) {
        let places: Vec<_> = self
            .doors()
            .map(|(name, port)| match self.kind {
                kind if kind.shares_its_port() => format!("https://{name}@127.0.0.1:{port}?samples=24"),
                kind => format!("{}://{name}@{BACKENDS}:{port}?addresses=all&samples=2", kind.protocol()),
            })
            .collect();
        let check = self.backends[0].check();
        // A new process for each connection takes its time on a busy host, and a program to begin.
        let Pace { call, look } = self.pace;
        let look = if self.kind == Kind::Postfix { look.max(5) } else { look };
        let call = if self.kind == Kind::Caddy { call.max(8) } else { call };
        let service = format!(
            "[service.it]\ncheck = {check:?}\nreload = [{:?}]\ntimeout = \"{call}s\"\nobserve = {places:?}\n",
            self.reload_script()
        );
        let config = self.site.config().pebble(&self.pebble, &self.site.root());
        let names: &[&str] = if self.reach == Reach::OneName { &[NAME, SECOND_NAME] } else { &[NAME] };
        // It refuses a key that only root's own group may read.
        let group = if self.kind == Kind::Postgres { "group = \"postgres\"" } else { "" };
        let config = config.listener(self.pebble.http_port()).text(&service).certificate(
            NAME,
            &format!(
                "names = {names:?}\nservice = \"it\"\nkey = {:?}\nobserve-timeout = \"{look}s\"\n\
                 combined = {:?}\n{group}",
                self.key,
                self.live().combined
            ),
        );
        self.site.write(&config);
    }

    /// Name and port of every listener, the first one first.
    fn doors(&self) -> impl Iterator<Item = (&'static str, u16)> + use<> {
        let second = match self.reach {
            Reach::All => None,
            Reach::OneName => Some((SECOND_NAME, self.port)),
            Reach::OnePort => Some((NAME, self.spare)),
        };
        [(NAME, self.port)].into_iter().chain(second)
    }

    fn reload_script(&self) -> String {
        self.site.text("reload")
    }

    /// What the service's reload does from now on.
    fn reload_with(&self, body: &str) {
        self.site.script("reload", body);
    }

    fn honest_reload(&self) {
        let lines: Vec<_> = self.backends.iter().map(Server::reload_line).collect();
        self.reload_with(&lines.join(" && "));
    }

    /// The program's own files.
    fn live(&self) -> Files {
        Files {
            chain: self.site.live(NAME, "fullchain.pem"),
            key: self.site.live(NAME, "privkey.pem"),
            combined: self.site.path("combined.pem"),
        }
    }

    fn honest(&self) -> Shape {
        Shape {
            files: self.live(),
            default: None,
            rejects: false,
            plain: false,
            proxy: false,
            clients: None,
            broken: false,
        }
    }

    fn honest_shape(&self) {
        self.shape(&self.honest());
    }

    /// What the listeners within reach do from now on, after a reload.
    fn shape(&self, shape: &Shape) {
        let (port, honest) = (self.port, self.honest());
        let first = Door { port, name: None, shape: &honest };
        let doors = match self.reach {
            Reach::All => vec![Door { port, name: None, shape }],
            Reach::OneName => vec![first, Door { port, name: Some(SECOND_NAME), shape }],
            Reach::OnePort => vec![first, Door { port: self.spare, name: None, shape }],
        };
        self.open(&doors);
    }

    /// The listener within reach goes to another port.
    fn move_away(&self) {
        let (honest, elsewhere) = (self.honest(), ports::free());
        let door = |port| Door { port, name: None, shape: &honest };
        match self.reach {
            Reach::OnePort => self.open(&[door(self.port), door(elsewhere)]),
            _ => self.open(&[door(elsewhere)]),
        }
    }

    fn open(&self, doors: &[Door<'_>]) {
        for server in &self.backends {
            server.shape(doors);
        }
    }

    fn earlier(&self) -> Earlier {
        let real = |file: &str| self.site.live(NAME, file).canonicalize().unwrap();
        let pinned =
            Files { chain: real("fullchain.pem"), key: real("privkey.pem"), combined: real("combined.pem") };
        Earlier { copies: self.copy(), pinned }
    }

    /// A copy of what is installed now.
    fn copy(&self) -> Files {
        let dir = self.site.path("copy");
        std::fs::create_dir_all(&dir).unwrap();
        let live = self.live();
        let copies = Files {
            chain: dir.join("fullchain.pem"),
            key: dir.join("privkey.pem"),
            combined: dir.join("combined.pem"),
        };
        for (from, to) in
            [(&live.chain, &copies.chain), (&live.key, &copies.key), (&live.combined, &copies.combined)]
        {
            std::fs::copy(from, to).unwrap();
        }
        copies
    }

    /// Renews under a lie, and says what it was called, or what is wrong with what came of it.
    pub fn play(&mut self, lie: Lie, moment: Moment) -> Result<String, String> {
        let outcome = lie.outcome(self.kind, moment).expect("a lie that can be told");
        let earlier = self.earlier();
        let ran = match moment {
            Moment::Before => {
                self.tell(lie, &earlier);
                self.site.run(&["renew", "--force"])
            }
            Moment::AtReload => self.renew_and(|rig| rig.tell(lie, &earlier)),
            Moment::After => {
                let ran = self.settled(self.site.run(&["renew", "--force"]));
                if ran.code != Some(0) {
                    return Err(format!("the honest renewal ended with {ran:?}"));
                }
                self.tell(lie, &earlier);
                self.kick(lie);
                self.site.run(&["deploy"])
            }
        };
        let judged = self.judge(&ran, &outcome);
        self.mend(lie);
        judged.and_then(|called| {
            let again = self.settled(self.site.run(&["deploy"]));
            let line = self.site.status(NAME);
            let well = again.code == Some(0) && line["standing"] == "observed" && self.truth();
            if well { Ok(called) } else { Err(format!("not mended: {again:?}\n{line}")) }
        })
    }

    /// Of an honest server: asked for again until all is well. One that reloads may reset a connection
    /// that a worker of before had taken.
    fn settled(&self, mut ran: Ran) -> Ran {
        wait_for(PATIENCE, || {
            let well = ran.code == Some(0);
            if !well {
                ran = self.site.run(&["deploy"]);
            }
            well
        });
        ran
    }

    /// No success that an independent look denies, no failure without a name of its own.
    fn judge(&self, ran: &Ran, outcome: &Outcome) -> Result<String, String> {
        let Outcome { codes, may_succeed, may_return } = *outcome;
        let line = self.site.status(NAME);
        let claimed = line["standing"] == "observed";
        let truth = claimed && self.truth();
        let code = line["advice-code"].as_str().unwrap_or_default();
        let told = || format!("{ran:?}\n{line}\n{}", self.backends[0].log());
        let returned = line["notes"].to_string().contains("was refused by a service");
        if returned && may_return && ran.code == Some(3) {
            // What is shown is the earlier generation, and it is served as it is shown.
            return if truth { Ok("returned".into()) } else { Err(format!("FALSE SUCCESS: {}", told())) };
        }
        if claimed != (ran.code == Some(0)) {
            return Err(format!("exit code and status differ: {}", told()));
        }
        if !line["rungs"]["installed"].as_bool().unwrap_or_default() {
            return Err(format!("the new pair is not installed: {}", told()));
        }
        let wrong = match (claimed, truth) {
            (true, false) => Some("FALSE SUCCESS".to_owned()),
            (true, true) if !may_succeed => Some("the lie was not seen".to_owned()),
            (true, true) if !code.is_empty() && !codes.contains(&code) => {
                Some(format!("success with {code}"))
            }
            (false, _) if !codes.contains(&code) => Some(format!("called {code:?}, not one of {codes:?}")),
            (false, _) if line["advice"].as_str().is_none_or(str::is_empty) => {
                Some("no next step".to_owned())
            }
            _ => None,
        };
        let called = format!("{} {code}", if claimed { "observed" } else { "owed" });
        wrong.map_or(Ok(called), |words| Err(format!("{words}: {}", told())))
    }

    fn renew_and(&mut self, meanwhile: impl FnOnce(&mut Self)) -> Ran {
        let (asked, go) = (self.site.path("asked"), self.site.path("go"));
        for path in [&asked, &go] {
            let _ = std::fs::remove_file(path);
        }
        let lines: Vec<_> = self.backends.iter().map(Server::reload_line).collect();
        self.reload_with(&format!(
            "touch {}\nwhile [ ! -e {} ]; do sleep 0.02; done\n{}",
            asked.display(),
            go.display(),
            lines.join(" && ")
        ));
        let running = self.site.start(&["renew", "--force"]);
        let reached = wait_for(PATIENCE, || asked.exists());
        assert!(reached, "the reload never came");
        meanwhile(self);
        std::fs::write(&go, "").unwrap();
        running.finish()
    }

    fn tell(&mut self, lie: Lie, earlier: &Earlier) {
        let (honest, copies) = (self.honest(), &earlier.copies);
        match lie {
            Lie::StrangersFiles => self.shape(&Shape { files: self.made.strangers.clone(), ..honest }),
            Lie::OtherVhost => self.shape(&Shape { default: Some(self.made.strangers.clone()), ..honest }),
            Lie::SelfSigned => self.shape(&Shape { files: self.made.self_signed.clone(), ..honest }),
            Lie::Copied => self.shape(&Shape { files: copies.clone(), ..honest }),
            Lie::OtherValid => self.shape(&Shape { files: self.made.other_valid.clone(), ..honest }),
            Lie::Expired => self.shape(&Shape { files: self.made.expired.clone(), ..honest }),
            Lie::NotYetValid => self.shape(&Shape { files: self.made.not_yet_valid.clone(), ..honest }),
            Lie::Pinned => self.shape(&Shape { files: earlier.pinned.clone(), ..honest }),
            Lie::HalfCopied => {
                let files = self.half_copied(copies);
                self.shape(&Shape { files, ..honest });
            }
            Lie::Missing => {
                let nowhere = self.site.path("nowhere.pem");
                let files = Files { chain: nowhere.clone(), key: nowhere.clone(), combined: nowhere };
                self.shape(&Shape { files, ..honest });
            }
            Lie::Rejects => self.shape(&Shape { rejects: true, ..honest }),
            Lie::Moved => self.move_away(),
            Lie::LateReload => {
                let lines: Vec<_> = self.backends.iter().map(Server::reload_line).collect();
                let late = self.late();
                let _ = std::fs::remove_file(&late);
                // Longer than the program looks.
                let seconds = self.pace.look.max(5) + 4;
                let script = format!("sleep {seconds}; {}; touch {}", lines.join("; "), late.display());
                self.reload_with(&format!("setsid sh -c '{script}' </dev/null >/dev/null 2>&1 &"));
            }
            Lie::Plain => self.shape(&Shape { plain: true, ..honest }),
            Lie::ExpectsProxy => self.shape(&Shape { proxy: true, ..honest }),
            Lie::SpoiltKey => {
                let files = self.spoilt();
                self.shape(&Shape { files, ..honest });
            }
            Lie::LeafOnly => {
                let files = self.leaf_only();
                self.shape(&Shape { files, ..honest });
            }
            Lie::Broken => self.shape(&Shape { broken: true, ..honest }),
            Lie::WantsClients => self.shape(&Shape { clients: Some(self.made.clients.clone()), ..honest }),
            Lie::DeafReload => self.reload_with("exit 0"),
            Lie::FailingReload => self.reload_with("echo no such service >&2; exit 1"),
            Lie::HangingReload => self.reload_with("sleep 600"),
            Lie::FrozenMain => self.backends.iter().for_each(Server::freeze_main),
            Lie::FrozenWorkers => self.backends.iter().for_each(Server::freeze_workers),
            Lie::Starved => self.backends.iter().for_each(Server::starve),
            Lie::Gone => self.backends.iter_mut().for_each(Server::stop),
            Lie::SecondInstance => {
                let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
                let mut second = Server::new(self.kind, self.site.path("second"), ip, self.port);
                let shape = Shape { files: copies.clone(), ..honest };
                second.shape(&[Door { port: self.port, name: None, shape: &shape }]);
                second.start();
                self.second = Some(second);
                // The port answered before; it is there once it is met.
                let old = served::leaf_of(&copies.chain);
                let met = wait_for(PATIENCE, || served::leaf(self.port, NAME).as_ref() == Some(&old));
                assert!(met, "the second instance is never met");
            }
            Lie::ForgottenBackend => self.reload_with(&self.backends[0].reload_line()),
            Lie::OldSessions => {
                let session = self.site.path("session");
                self.openssl(NAME, self.port, &["-sess_out", session.to_str().unwrap()]);
            }
        }
    }

    /// The pair as it is, with a key that is none.
    fn spoilt(&self) -> Files {
        let dir = self.site.path("spoilt");
        std::fs::create_dir_all(&dir).unwrap();
        let key = dir.join("privkey.pem");
        std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        let combined = dir.join("combined.pem");
        let chain = std::fs::read_to_string(self.live().chain).unwrap();
        std::fs::write(&combined, chain + &std::fs::read_to_string(&key).unwrap()).unwrap();
        Files { key, combined, ..self.live() }
    }

    /// The new chain beside the key of before.
    fn half_copied(&self, copies: &Files) -> Files {
        let combined = self.site.path("half.pem");
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        std::fs::write(&combined, text(&self.live().chain) + &text(&copies.key)).unwrap();
        Files { chain: self.live().chain, key: copies.key.clone(), combined }
    }

    /// Is there once a late reload was made.
    fn late(&self) -> PathBuf {
        self.site.path("late")
    }

    /// The pair without its intermediate; a link where a link will do, so that renewals show.
    fn leaf_only(&self) -> Files {
        let combined = self.site.path("leaf-only.pem");
        let script = format!(
            "cat {} {} > {}",
            self.site.live(NAME, "cert.pem").display(),
            self.live().key.display(),
            combined.display()
        );
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        if self.kind == Kind::Haproxy {
            // Its file holds the key too, so it is made anew by each reload.
            let reload = std::fs::read_to_string(self.site.path("reload")).unwrap();
            let rest = reload.split_once('\n').unwrap().1;
            self.reload_with(&format!("{script}\n{rest}"));
        }
        Files { chain: self.site.live(NAME, "cert.pem"), combined, ..self.live() }
    }

    /// Somebody else reloads the server, where the lie stands in its configuration.
    fn kick(&self, lie: Lie) {
        let by_shape = !matches!(lie, Lie::FrozenWorkers | Lie::Gone | Lie::SecondInstance);
        if by_shape {
            self.backends.iter().for_each(Server::reload);
            // A reload takes its time; what it shows then differs from lie to lie.
            let before = std::fs::read(self.live().chain).unwrap();
            let leaf = served::leaf_in(&before);
            let (name, port) = self.doors().last().unwrap_or((NAME, self.port));
            wait_for(Duration::from_secs(3), || {
                (0..self.looks()).all(|_| self.shown(name, port).is_none_or(|shown| shown != leaf))
                    || lie == Lie::LeafOnly
                    || lie == Lie::WantsClients
            });
        }
    }

    /// All is as it should be again.
    fn mend(&mut self, lie: Lie) {
        if lie == Lie::LateReload {
            // What comes late is not to meet the next lie.
            assert!(wait_for(PATIENCE, || self.late().exists()), "the late reload never came");
        }
        self.second = None;
        self.honest_shape();
        self.honest_reload();
        match lie {
            Lie::FrozenMain
            | Lie::FrozenWorkers
            | Lie::Starved
            | Lie::Gone
            | Lie::Broken
            | Lie::SpoiltKey
            | Lie::HalfCopied
            | Lie::Missing
            | Lie::Moved => {
                self.backends.iter_mut().for_each(Server::restart);
            }
            _ => self.backends.iter().for_each(Server::reload),
        }
        // Workers from before may take a connection for a moment longer.
        wait_for(PATIENCE, || self.truth());
    }

    /// Independent looks that must agree with a claimed success: more where several processes share a port.
    fn looks(&self) -> usize {
        if self.kind.shares_its_port() { 6 } else { 3 }
    }

    /// The installed leaf is served, at every address, as far as others than the program can see.
    fn truth(&self) -> bool {
        let leaf = served::leaf_of(&self.live().chain);
        let shown = |(name, port)| (0..self.looks()).all(|_| self.shown(name, port).as_ref() == Some(&leaf));
        self.doors().all(shown)
    }

    /// What a look by other means shows; of two backends the second.
    fn shown(&self, name: &str, port: u16) -> Option<Vec<u8>> {
        if self.kind.shares_its_port() {
            return served::leaf(port, name);
        }
        let out = self.openssl(name, port, &[]);
        let text = String::from_utf8_lossy(&out);
        let begin = text.find("-----BEGIN CERTIFICATE-----")?;
        Some(served::leaf_in(&text.as_bytes()[begin..]))
    }

    fn openssl(&self, name: &str, port: u16, more: &[&str]) -> Vec<u8> {
        let ip = if self.kind.shares_its_port() { "127.0.0.1" } else { "127.0.0.2" };
        let mut command = Command::new("timeout");
        command.args(["5", "openssl", "s_client", "-servername", name, "-connect"]);
        command.arg(format!("{ip}:{port}")).args(more);
        if let Some(protocol) = self.kind.starttls() {
            command.args(["-starttls", protocol]);
        }
        command.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap().stdout
    }
}

/// The program with names of its own: `backends.example` has two addresses. `None` with a
/// `SKIPPED:` line where a mount namespace can't be had.
fn with_backends(site: &Site) -> Option<Vec<String>> {
    let hosts = site.path("hosts");
    std::fs::write(&hosts, format!("127.0.0.1 localhost {BACKENDS}\n127.0.0.2 {BACKENDS}\n")).unwrap();
    let script = format!("mount --bind {} /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
    let wrapper = ["unshare", "--mount", "sh", "-c", &script].map(str::to_owned);
    let mut probe = Command::new(&wrapper[0]);
    probe.args(&wrapper[1..]).args(["getent", "ahostsv4", BACKENDS]).stderr(Stdio::null());
    let answer = probe.output().map(|output| output.stdout).unwrap_or_default();
    if !String::from_utf8_lossy(&answer).contains("127.0.0.2") {
        println!("SKIPPED: a host with two addresses needs a mount namespace of its own (root)");
        return None;
    }
    Some(wrapper.to_vec())
}

impl Pace {
    /// For a sample on a host with time to spare.
    pub const QUICK: Self = Self { call: 3, look: 2 };
    /// For a campaign on a host with much else to do.
    pub const CALM: Self = Self { call: 20, look: 8 };
}

impl Made {
    fn below(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let clients = dir.join("clients.pem");
        std::fs::write(&clients, ca.pem()).unwrap();
        let pair = |stem: &str, name: &str, years: (i32, i32), own: bool| {
            // For the first name and the second.
            let mut params = CertificateParams::new(vec![name.to_owned(), format!("www.{name}")]).unwrap();
            params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
            params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            let chain = if own {
                params.self_signed(&key).unwrap().pem()
            } else {
                params.signed_by(&key, &ca).unwrap().pem() + &ca.pem()
            };
            let [at_chain, at_key, at_both] =
                ["crt", "key", "pem"].map(|kind| dir.join(format!("{stem}.{kind}")));
            std::fs::write(&at_chain, &chain).unwrap();
            std::fs::write(&at_key, key.serialize_pem()).unwrap();
            std::fs::write(&at_both, chain + &key.serialize_pem()).unwrap();
            Files { chain: at_chain, key: at_key, combined: at_both }
        };
        Self {
            strangers: pair("stranger", "stranger.example", (2020, 2090), false),
            self_signed: pair("self-signed", NAME, (2020, 2090), true),
            other_valid: pair("other-valid", NAME, (2020, 2090), false),
            expired: pair("expired", NAME, (2020, 2021), false),
            not_yet_valid: pair("not-yet-valid", NAME, (2080, 2090), false),
            clients,
        }
    }
}
