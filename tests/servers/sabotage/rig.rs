//! One kind of server, a CA, the program, and everything that a lie needs.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::kind::Kind;
use super::lie::{Lie, Moment, Outcome, Reach};
use super::made::Made;
use super::server::Server;
use super::shape::{Door, Files, Shape};
use crate::stage::pebble;
use crate::support::agent::{Ran, Site};
use crate::support::pebble::{Options, Pebble};
use crate::support::ports::{self, wait_for};
use crate::support::served;

#[path = "tell.rs"]
mod tell;

pub const NAME: &str = "lie.example";
/// What one listener of several is asked for.
const SECOND_NAME: &str = "www.lie.example";
/// The host of servers with two addresses; known to the program alone.
const BACKENDS: &str = "backends.example";
const PATIENCE: Duration = Duration::from_secs(30);
/// Looks until one is answered.
const ANSWER_TRIES: usize = 3;

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
            // A server that never answered yet is not looked for.
            let well = ran.code == Some(0) && !ran.out.contains("unverified");
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

    /// Independent looks that must agree with a claimed success: more where several processes share a port.
    fn looks(&self) -> usize {
        if self.kind.shares_its_port() { 6 } else { 3 }
    }

    /// The installed leaf is served, at every address, as far as others than the program can see.
    fn truth(&self) -> bool {
        let leaf = served::leaf_of(&self.live().chain);
        let shown = |(name, port)| (0..self.looks()).all(|_| self.met(name, port).as_ref() == Some(&leaf));
        self.doors().all(shown)
    }

    /// What a look shows that got an answer: on a busy host one may come too late.
    fn met(&self, name: &str, port: u16) -> Option<Vec<u8>> {
        (0..ANSWER_TRIES).find_map(|_| self.shown(name, port))
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
