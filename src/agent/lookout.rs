//! Looking at what is watched: beside the lineages, in its own time, with few hands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::core::endpoint::Endpoint;
use crate::core::gravity::Gravity;
use crate::core::name::WatchId;
use crate::core::scrutiny::{Glimpse, judge_endpoint, judge_file, not_looked};
use crate::core::specimen::{Doubt, Find, KeyFact, Specimen};
use crate::core::time::{Span, Timestamp};
use crate::core::watch::{FILES_EVERY, WatchSpec};
use crate::core::watched::Watched;
use crate::ports::{Outside, Probe, Seen, Sighting};
use crate::sys::clock::Clock;

/// Endpoints of all watches looked at side by side.
const HANDS: usize = 4;
/// Endpoints looked at between two tellings of what is known so far.
const BATCH: usize = 32;
/// Least time between two rounds, whatever a plan says.
const ROUND_LEAST: Span = Span::secs(1);
/// Age from which what is known is told again though nothing moved, so that nobody takes it for old.
const TOLD_AGE_MOST: Span = Span::minutes(10);

/// What a watch leads to: all that is known of it, and the ways to learn more.
pub struct Lookout {
    probe: Arc<dyn Probe>,
    outside: Arc<dyn Outside>,
    clock: Clock,
    latest: RwLock<Arc<Vec<Watched>>>,
    stirred: Notify,
    /// Whether what is not due is to be looked at as well.
    all: AtomicBool,
}

/// What is known of one watch.
struct Post {
    spec: WatchSpec,
    finds: Vec<Find>,
    files_at: Timestamp,
    /// `None`: not looked at yet.
    files_next: Option<Timestamp>,
    sights: BTreeMap<Endpoint, Sight>,
}

/// What is known of one endpoint.
struct Sight {
    glimpses: Vec<Glimpse>,
    seen_at: Timestamp,
    /// Looks in a row without an answer.
    silent: u32,
    /// What it served last.
    before: Option<Specimen>,
    round: u64,
    next_at: Timestamp,
}

impl Lookout {
    pub fn new(probe: Arc<dyn Probe>, outside: Arc<dyn Outside>, clock: Clock) -> Self {
        Self {
            probe,
            outside,
            clock,
            latest: RwLock::default(),
            stirred: Notify::new(),
            all: AtomicBool::new(false),
        }
    }

    /// Looks at everything once, now. A silent endpoint is told of as if it had long been silent:
    /// nobody asks again.
    pub async fn look(&self, watches: &BTreeMap<WatchId, WatchSpec>) -> Vec<Watched> {
        let mut posts = BTreeMap::new();
        Self::settle(&mut posts, watches);
        self.read_files(&mut posts, true).await;
        while self.look_at_some(&mut posts, false).await {}
        for sight in posts.values_mut().flat_map(|post| post.sights.values_mut()) {
            sight.silent = sight.silent.saturating_mul(SILENCE_IS_FINAL);
        }
        judged(&posts, self.clock.now())
    }

    /// As [`Lookout::look`], of files alone: asks no network.
    pub async fn look_at_files(&self, watches: &BTreeMap<WatchId, WatchSpec>) -> Vec<Watched> {
        let mut posts = BTreeMap::new();
        Self::settle(&mut posts, watches);
        self.read_files(&mut posts, true).await;
        judged(&posts, self.clock.now())
    }

    /// What was found last, by watch and place.
    pub fn latest(&self) -> Arc<Vec<Watched>> {
        self.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the loop look again: at what is new, or at everything.
    pub(super) fn stir(&self, all: bool) {
        self.all.fetch_or(all, Ordering::Relaxed);
        self.stirred.notify_one();
    }

    /// Looks for ever at what is due of what `wanted` asks for, and tells what is known.
    async fn keep(
        &self,
        wanted: impl Fn() -> BTreeMap<WatchId, WatchSpec> + Send,
        told: mpsc::Sender<Arc<Vec<Watched>>>,
    ) {
        let mut told_at = Timestamp::EPOCH;
        let mut posts = BTreeMap::new();
        loop {
            Self::settle(&mut posts, &wanted());
            let mut all = self.all.swap(false, Ordering::Relaxed);
            self.read_files(&mut posts, all).await;
            loop {
                let more = self.look_at_some(&mut posts, all).await;
                all = false;
                let now = self.clock.now();
                let found = judged(&posts, now);
                if news(&found, &self.latest()) || now.since(told_at) >= TOLD_AGE_MOST && !found.is_empty() {
                    told_at = now;
                    let found = Arc::new(found);
                    *self.latest.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&found);
                    if told.send(found).await.is_err() {
                        return;
                    }
                }
                if !more {
                    break;
                }
            }
            let next = next_look(&posts);
            let now = self.clock.now();
            tokio::select! {
                biased;
                () = self.stirred.notified() => {}
                () = async {
                    match next {
                        Some(next) => { self.clock.sleep_until(next.max(now + ROUND_LEAST)).await; }
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    /// Forgets what is no longer wanted, or is wanted otherwise.
    fn settle(posts: &mut BTreeMap<WatchId, Post>, watches: &BTreeMap<WatchId, WatchSpec>) {
        posts.retain(|id, post| watches.get(id) == Some(&post.spec));
        for (id, spec) in watches {
            posts.entry(id.clone()).or_insert_with(|| Post {
                spec: spec.clone(),
                finds: Vec::new(),
                files_at: Timestamp::EPOCH,
                files_next: None,
                sights: BTreeMap::new(),
            });
        }
    }

    async fn read_files(&self, posts: &mut BTreeMap<WatchId, Post>, all: bool) {
        for post in posts.values_mut().filter(|post| post.spec.has_files()) {
            let now = self.clock.now();
            if all || post.files_next.is_none_or(|next| next <= now) {
                post.finds = self.outside.read(&post.spec).await;
                post.finds.sort_by(|a, b| a.place.cmp(&b.place));
                post.files_at = self.clock.now();
                post.files_next = Some(post.files_at + FILES_EVERY.min(post.spec.every));
            }
        }
    }

    /// Looks at endpoints that are due, at most a batch of them. Whether more are due.
    async fn look_at_some(&self, posts: &mut BTreeMap<WatchId, Post>, all: bool) -> bool {
        let now = self.clock.now();
        if all {
            posts
                .values_mut()
                .flat_map(|post| post.sights.values_mut())
                .for_each(|sight| sight.next_at = now);
        }
        let due = |post: &Post, endpoint: &Endpoint| {
            post.sights.get(endpoint).is_none_or(|sight| sight.next_at <= now)
        };
        let mut waiting: Vec<(WatchId, Endpoint, Span)> = posts
            .iter()
            .flat_map(|(id, post)| {
                let due = post.spec.endpoints.iter().filter(|endpoint| due(post, endpoint));
                due.map(|endpoint| (id.clone(), endpoint.clone(), post.spec.timeout))
            })
            .collect();
        let more = waiting.len() > BATCH;
        waiting.truncate(BATCH);
        let mut waiting = waiting.into_iter();
        let mut looks = JoinSet::new();
        loop {
            while looks.len() < HANDS
                && let Some((id, endpoint, within)) = waiting.next()
            {
                let probe = Arc::clone(&self.probe);
                looks.spawn(async move {
                    let seen = probe.look(&endpoint, within).await;
                    (id, endpoint, seen)
                });
            }
            match looks.join_next().await {
                Some(Ok((id, endpoint, seen))) => {
                    if let Some(post) = posts.get_mut(&id) {
                        self.note(post, endpoint, seen);
                    }
                }
                // A panic is told by its hook; the place is looked at again, not at once.
                Some(Err(_)) => return false,
                None => return more,
            }
        }
    }

    fn note(&self, post: &mut Post, endpoint: Endpoint, seen: Vec<Sighting>) {
        let now = self.clock.now();
        let glimpses: Vec<_> = seen.into_iter().map(glimpse).collect();
        let served = glimpses.iter().find_map(|glimpse| match glimpse {
            Glimpse::Seen(specimen) => Some((**specimen).clone()),
            Glimpse::Nothing { .. } => None,
        });
        let known = post.sights.remove(&endpoint);
        let (round, silent, before) =
            known.map_or((0, 0, None), |known| (known.round.wrapping_add(1), known.silent, known.before));
        let mut sight = Sight {
            glimpses,
            seen_at: now,
            silent: if served.is_some() { 0 } else { silent.saturating_add(1) },
            before: served.or(before),
            round,
            next_at: now,
        };
        let judged = sight.judged(&post.spec, &endpoint, &post.finds, now);
        let well = judged.gravity() < Some(Gravity::Ticket) && sight.silent == 0;
        sight.next_at = post.spec.next_look(now, well, round);
        post.sights.insert(endpoint, sight);
    }
}

impl Agent {
    /// Has what is watched looked at again: what is new, or everything.
    pub(super) fn look_out(&self, all: bool) {
        if let Some(lookout) = &self.lookout {
            lookout.stir(all);
        }
    }

    /// Looks at what is watched until the receiver is gone.
    pub(super) async fn keep_watch(self: Arc<Self>, told: mpsc::Sender<Arc<Vec<Watched>>>) {
        let Some(lookout) = self.lookout.clone() else { return };
        lookout.keep(|| self.scene().wanted.watches.clone(), told).await;
    }
}

impl Sight {
    /// The worst of what was seen there.
    fn judged(&self, spec: &WatchSpec, endpoint: &Endpoint, files: &[Find], now: Timestamp) -> Watched {
        let judge = |glimpse: &Glimpse| {
            let times = (self.seen_at, now);
            judge_endpoint(spec, endpoint, glimpse, self.silent, self.before.as_ref(), files, times)
        };
        let mut judged = self.glimpses.iter().map(judge);
        let Some(first) = judged.next() else { return not_looked(spec, endpoint, now) };
        judged.fold(first, |worst, next| if next.gravity() > worst.gravity() { next } else { worst })
    }
}

/// What one look without an answer counts for where nobody looks again.
const SILENCE_IS_FINAL: u32 = 1_000;

fn judged(posts: &BTreeMap<WatchId, Post>, now: Timestamp) -> Vec<Watched> {
    let mut found = Vec::new();
    for post in posts.values() {
        found.extend(
            post.finds
                .iter()
                .map(|find| Watched { seen_at: post.files_at, ..judge_file(&post.spec, find, now) }),
        );
        for endpoint in &post.spec.endpoints {
            found.push(match post.sights.get(endpoint) {
                Some(sight) => sight.judged(&post.spec, endpoint, &post.finds, now),
                None => not_looked(&post.spec, endpoint, now),
            });
        }
    }
    found
}

fn next_look(posts: &BTreeMap<WatchId, Post>) -> Option<Timestamp> {
    let sights = posts.values().flat_map(|post| post.sights.values().map(|sight| sight.next_at));
    posts.values().filter_map(|post| post.files_next).chain(sights).min()
}

/// Whether anything but the time of the look is new. Words that count days down are no news.
fn news(found: &[Watched], before: &[Watched]) -> bool {
    let same = |a: &Watched, b: &Watched| {
        let codes = |watched: &Watched| -> Vec<_> {
            watched.blemishes.iter().map(|blemish| (blemish.code, blemish.gravity)).collect()
        };
        (&a.watch, &a.place, a.fingerprint, a.ends) == (&b.watch, &b.place, b.fingerprint, b.ends)
            && codes(a) == codes(b)
    };
    found.len() != before.len() || !found.iter().zip(before).all(|(a, b)| same(a, b))
}

/// What a handshake saw, as facts.
pub(super) fn glimpse(sighting: Sighting) -> Glimpse {
    match sighting.seen {
        Seen::Served(served) => Glimpse::Seen(Box::new(Specimen {
            leaf: served.leaf,
            chain: served.sent,
            authority: false,
            key: KeyFact::Unknown,
            distrust: served
                .distrust
                .map(|distrust| Doubt { unrooted: distrust.unrooted, words: distrust.words }),
        })),
        Seen::Nothing { why, words } => Glimpse::Nothing { why, words },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex as PlainMutex;

    use super::*;
    use crate::core::silence::Silence;
    use crate::core::specimen::Obstacle;
    use crate::core::watch::tests::spec;
    use crate::core::window::tests::leaf;
    use crate::ports::Reply;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// Serves one certificate, or nothing; counts looks.
    #[derive(Default)]
    struct Scripted {
        silent: AtomicBool,
        looks: PlainMutex<Vec<String>>,
        reads: PlainMutex<u32>,
    }

    impl Probe for Scripted {
        fn look<'a>(&'a self, endpoint: &'a Endpoint, _within: Span) -> Reply<'a, Vec<Sighting>> {
            self.looks.lock().unwrap().push(endpoint.to_string());
            Box::pin(async move {
                if self.silent.load(Ordering::Relaxed) {
                    return vec![Sighting::nothing(Silence::Closed, "refused")];
                }
                vec![Sighting::of(leaf(NOW - Span::days(30), Span::days(90), 1))]
            })
        }
    }

    impl Outside for Scripted {
        fn read<'a>(&'a self, watch: &'a WatchSpec) -> Reply<'a, Vec<Find>> {
            *self.reads.lock().unwrap() += 1;
            let finds =
                watch.files.iter().map(|file| Find::unread(file, Obstacle::Missing, "gone")).collect();
            Box::pin(async move { finds })
        }
    }

    fn watches(spec: WatchSpec) -> BTreeMap<WatchId, WatchSpec> {
        BTreeMap::from([(spec.id.clone(), spec)])
    }

    fn both() -> WatchSpec {
        WatchSpec {
            files: vec!["/a.pem".into()],
            endpoints: vec![Endpoint::parse("a.example@127.0.0.1:443").unwrap()],
            ..spec("bought")
        }
    }

    fn lookout(scripted: &Arc<Scripted>) -> Lookout {
        Lookout::new(scripted.clone(), scripted.clone(), Clock::starting_at(NOW))
    }

    #[tokio::test(start_paused = true)]
    async fn one_look_tells_of_files_and_endpoints() {
        let scripted = Arc::new(Scripted::default());
        let found = lookout(&scripted).look(&watches(both())).await;
        let told: Vec<_> = found
            .iter()
            .map(|watched| (watched.place.as_str(), watched.blemishes.first().map(|blemish| blemish.code)))
            .collect();
        assert_eq!(told, [("/a.pem", Some("watch-missing")), ("https://a.example@127.0.0.1:443", None)]);
        scripted.silent.store(true, Ordering::Relaxed);
        let found = lookout(&scripted).look(&watches(both())).await;
        assert_eq!(found[1].gravity(), Some(Gravity::Ticket), "nobody asks a second time");
    }

    #[tokio::test(start_paused = true)]
    async fn it_looks_when_it_is_due_and_never_hot() {
        let scripted = Arc::new(Scripted::default());
        let lookout = Arc::new(lookout(&scripted));
        let (teller, mut told) = mpsc::channel(1024);
        let wanted = watches(both());
        let keeping = {
            let lookout = lookout.clone();
            tokio::spawn(async move { lookout.keep(move || wanted.clone(), teller).await })
        };
        assert_eq!(told.recv().await.unwrap().len(), 2);
        // A day: every ten minutes the kernel is asked about the file, four to six times the port.
        lookout.clock.sleep(Span::DAY).await;
        let (looks, reads) = (scripted.looks.lock().unwrap().len(), *scripted.reads.lock().unwrap());
        assert!((4..=6).contains(&looks), "{looks}");
        assert!((140..=146).contains(&reads), "{reads}");
        keeping.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_silent_is_asked_again_soon_and_told_of_when_it_stays_so() {
        let scripted = Arc::new(Scripted::default());
        let lookout = Arc::new(lookout(&scripted));
        let (teller, mut told) = mpsc::channel(64);
        let wanted = watches(WatchSpec { files: Vec::new(), ..both() });
        let keeping = {
            let lookout = lookout.clone();
            tokio::spawn(async move { lookout.keep(move || wanted.clone(), teller).await })
        };
        assert_eq!(told.recv().await.unwrap()[0].gravity(), None);
        scripted.silent.store(true, Ordering::Relaxed);
        lookout.stir(true);
        let start = lookout.clock.now();
        assert_eq!(told.recv().await.unwrap()[0].gravity(), Some(Gravity::Notice));
        while told.recv().await.unwrap()[0].gravity() < Some(Gravity::Ticket) {}
        assert!(lookout.clock.now().since(start) <= Span::minutes(31), "three looks within half an hour");
        assert!(lookout.latest()[0].ends.is_some(), "what was served last is not forgotten");
        scripted.silent.store(false, Ordering::Relaxed);
        while told.recv().await.unwrap()[0].gravity().is_some() {}
        keeping.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_leaves_the_configuration_is_not_looked_at_any_more() {
        let scripted = Arc::new(Scripted::default());
        let lookout = Arc::new(lookout(&scripted));
        let (teller, mut told) = mpsc::channel(64);
        let wanted = Arc::new(PlainMutex::new(watches(both())));
        let keeping = {
            let (lookout, wanted) = (lookout.clone(), wanted.clone());
            tokio::spawn(async move { lookout.keep(move || wanted.lock().unwrap().clone(), teller).await })
        };
        assert_eq!(told.recv().await.unwrap().len(), 2);
        wanted.lock().unwrap().clear();
        lookout.stir(false);
        assert!(told.recv().await.unwrap().is_empty());
        let looks = scripted.looks.lock().unwrap().len();
        lookout.clock.sleep(Span::DAY).await;
        assert_eq!(scripted.looks.lock().unwrap().len(), looks);
        keeping.abort();
    }
}
