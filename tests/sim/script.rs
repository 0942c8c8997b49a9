//! What goes wrong, and when: one list for all that surrounds the agents. Dates are true dates,
//! whatever a host's clock shows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nolapse::core::name::SubjectName;
use nolapse::core::time::{Interval, Span, Timestamp};
use nolapse::sys::clock::Clock;

/// One thing that can go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection to the CA at all.
    CaDown,
    /// The directory answers, everything else says 503.
    CaErrors,
    /// Each request to the CA takes so much longer.
    CaSlow(Span),
    /// New orders are answered with 429 and this Retry-After.
    RateLimit(Span),
    /// The request does not reach the CA.
    RequestLost,
    /// The CA does the thing and its answer is lost.
    ReplyLost,
    ReplacesRefused,
    /// The certificate delivered is for another key.
    WrongLeaf,
    /// Finalised orders stay `processing`.
    Processing,
    /// Renewal information says: now.
    AriNow,
    /// Renewal information is nonsense: backwards, in the past, in the year 9999.
    AriAbsurd,
    /// Renewal information says: at the last moment that is believed.
    AriLate,
    /// Renewal information is another one each time, a tenth of life earlier or later.
    AriWanders,
    /// Validation of this name fails.
    NameFails(SubjectName),
    SolverFails,
    CleanUpFails,
    HookFails,
    /// The reload hangs until its timeout.
    HookHangs,
    /// The reload answers that all is well and changes nothing.
    ReloadLies,
    /// The service's check refuses a pair that it has not loaded yet.
    CheckRefusesNew,
    /// The same for the pair of one site.
    PairRefused(SubjectName),
    /// The server answers no handshake.
    ServerDown,
    DiskFull,
    DiskReadOnly,
    /// The shared store answers nothing.
    StoreDown,
    /// A write to the shared store finds that somebody else wrote first, although nobody did.
    StoreConflict,
    /// A write does not reach the shared store.
    StoreUnheard,
    /// A write takes effect in the shared store and its answer is lost.
    StoreReplyLost,
    /// The shared store answers with the value before the present one.
    StoreStale,
    /// Everybody gets the claim.
    ClaimsIgnored,
}

impl Trouble {
    /// An hour in which only this goes wrong is good enough to renew in.
    pub const fn harmless(&self) -> bool {
        matches!(
            self,
            Self::ReplacesRefused
                | Self::AriNow
                | Self::AriAbsurd
                | Self::AriLate
                | Self::AriWanders
                | Self::CleanUpFails
        )
    }

    /// How long after its end it still may keep an agent from asking again, by rules that are
    /// the CA's or protect the CA.
    pub const fn aftermath(&self) -> Span {
        match self {
            // Ten failed validations a day: the next may be due only when the first is a day old.
            // And a refused generation is not reinstalled before its own backoff, at most a day.
            Self::NameFails(_) | Self::SolverFails | Self::CheckRefusesNew | Self::PairRefused(_) => {
                Span::hours(25)
            }
            Self::RateLimit(span) => *span,
            // Until somebody restarts the server, however often it lied.
            Self::ReloadLies => Span::secs(1),
            _ => Span::ZERO,
        }
    }

    /// What is written may not last, or not be taken, or not be read.
    const fn is_of_storage(&self) -> bool {
        matches!(
            self,
            Self::DiskFull
                | Self::DiskReadOnly
                | Self::StoreDown
                | Self::StoreConflict
                | Self::StoreUnheard
                | Self::StoreReplyLost
                | Self::StoreStale
        )
    }

    /// Orders may be lost to it, or asked for because of it.
    pub const fn costs_orders(&self) -> bool {
        matches!(
            self,
            Self::RequestLost
                | Self::ReplyLost
                | Self::WrongLeaf
                | Self::Processing
                | Self::AriNow
                | Self::AriWanders
                | Self::NameFails(_)
                | Self::SolverFails
                | Self::CaDown
                | Self::StoreConflict
                | Self::StoreUnheard
                | Self::StoreReplyLost
                | Self::StoreStale
                | Self::ClaimsIgnored
        )
    }
}

/// A trouble and its time.
#[derive(Clone, Debug)]
struct Beat {
    during: Interval,
    /// Occasions that go well first.
    skip: u32,
    /// How often it strikes; `None`: whenever it is asked about.
    left: Option<u32>,
    trouble: Trouble,
}

/// The script of one world; clones share it.
#[derive(Clone)]
pub struct Script {
    truth: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    beats: Vec<Beat>,
    /// How often each kind of trouble struck.
    struck: BTreeMap<String, u64>,
}

impl Script {
    pub fn new(truth: Clock) -> Self {
        Self { truth, state: Arc::default() }
    }

    /// `trouble` from now on for `span`.
    pub fn for_span(&self, span: Span, trouble: Trouble) {
        let now = self.truth.now();
        self.during(Interval::new(now, now + span), trouble);
    }

    pub fn during(&self, during: Interval, trouble: Trouble) {
        self.add(Beat { during, skip: 0, left: None, trouble });
    }

    /// The next `times` occasions meet `trouble`.
    pub fn next(&self, times: u32, trouble: Trouble) {
        self.next_within(Span::MAX, times, trouble);
    }

    /// The next `times` occasions within `span` meet `trouble`.
    pub fn next_within(&self, span: Span, times: u32, trouble: Trouble) {
        let now = self.truth.now();
        self.add(Beat { during: Interval::new(now, now + span), skip: 0, left: Some(times), trouble });
    }

    /// So many occasions go well, the one after them meets `trouble`.
    pub fn skip_then(&self, skip: u32, trouble: Trouble) {
        let during = Interval::new(self.truth.now(), Timestamp::MAX);
        self.add(Beat { during, skip, left: Some(1), trouble });
    }

    fn add(&self, beat: Beat) {
        self.state.lock().unwrap().beats.push(beat);
    }

    /// Whether this strikes now; a counted trouble is used up by asking.
    pub fn strikes(&self, trouble: &Trouble) -> bool {
        self.find(|active| (active == trouble).then_some(())).is_some()
    }

    /// Something keeps agents from noting what they see, or from reading it.
    pub fn deafens(&self) -> bool {
        let now = self.truth.now();
        let deafens = |beat: &Beat| {
            beat.during.contains(now)
                && (beat.trouble.is_of_storage() || beat.trouble == Trouble::ClaimsIgnored)
        };
        self.state.lock().unwrap().beats.iter().any(deafens)
    }

    /// Whether this strikes at present, as a state of things and not an occasion.
    pub fn holds(&self, trouble: &Trouble) -> bool {
        let now = self.truth.now();
        let state = self.state.lock().unwrap();
        state.beats.iter().any(|beat| beat.during.contains(now) && beat.trouble == *trouble)
    }

    /// Whether it is so for a while, and not on the next few occasions alone.
    pub fn stays(&self, trouble: &Trouble) -> bool {
        let now = self.truth.now();
        let is = |beat: &Beat| beat.left.is_none() && beat.during.contains(now) && beat.trouble == *trouble;
        self.state.lock().unwrap().beats.iter().any(is)
    }

    /// The first trouble that `pick` makes something of.
    pub fn find<T>(&self, pick: impl Fn(&Trouble) -> Option<T>) -> Option<T> {
        let mut state = self.state.lock().unwrap();
        if state.beats.is_empty() {
            return None;
        }
        let now = self.truth.now();
        let State { beats, struck } = &mut *state;
        for beat in beats.iter_mut() {
            if !beat.during.contains(now) || beat.left == Some(0) {
                continue;
            }
            if let Some(picked) = pick(&beat.trouble) {
                if beat.skip > 0 {
                    beat.skip -= 1;
                    continue;
                }
                beat.left = beat.left.map(|left| left - 1);
                let words = format!("{:?}", beat.trouble);
                let kind = words.split(['(', ' ']).next().unwrap_or_default();
                *struck.entry(kind.to_owned()).or_default() += 1;
                return Some(picked);
            }
        }
        None
    }

    /// Nothing goes wrong now that could keep an agent from its work.
    pub fn quiet(&self) -> bool {
        let now = self.truth.now();
        let harms = |beat: &Beat| {
            !beat.trouble.harmless() && beat.during.contains(now) && beat.left != Some(0)
                || beat.trouble.aftermath() > Span::ZERO
                    && beat.during.start <= now
                    && now < beat.during.end + beat.trouble.aftermath()
        };
        !self.state.lock().unwrap().beats.iter().any(harms)
    }

    /// What an agent is told now may not reach its store.
    pub fn forgets(&self) -> bool {
        let now = self.truth.now();
        let forgets = |beat: &Beat| beat.during.contains(now) && beat.trouble.is_of_storage();
        self.state.lock().unwrap().beats.iter().any(forgets)
    }

    /// The next date at which something begins or ends.
    pub fn next_edge(&self) -> Option<Timestamp> {
        self.edges().filter(|at| *at > self.truth.now()).min()
    }

    fn edges(&self) -> impl Iterator<Item = Timestamp> + use<> {
        let state = self.state.lock().unwrap();
        let edges: Vec<_> =
            state.beats.iter().flat_map(|beat| [beat.during.start, beat.during.end]).collect();
        edges.into_iter()
    }

    /// How often each kind of trouble struck so far.
    pub fn struck(&self) -> BTreeMap<String, u64> {
        self.state.lock().unwrap().struck.clone()
    }
}
