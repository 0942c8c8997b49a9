//! What goes wrong, and when: one list for all that surrounds the agent. Dates are true dates,
//! whatever a host's clock shows.

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
    /// New orders are answered with 429 and this Retry-After.
    RateLimit(Span),
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
    /// The server answers no handshake.
    ServerDown,
    DiskFull,
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
    beats: Arc<Mutex<Vec<Beat>>>,
}

impl Script {
    pub fn new(truth: Clock) -> Self {
        Self { truth, beats: Arc::default() }
    }

    /// `trouble` from now on for `span`.
    pub fn for_span(&self, span: Span, trouble: Trouble) {
        let now = self.truth.now();
        self.during(Interval::new(now, now + span), trouble);
    }

    pub fn during(&self, during: Interval, trouble: Trouble) {
        self.beats.lock().unwrap().push(Beat { during, skip: 0, left: None, trouble });
    }

    /// The next `times` occasions meet `trouble`.
    pub fn next(&self, times: u32, trouble: Trouble) {
        self.counted(0, times, trouble);
    }

    /// So many occasions go well, the one after them meets `trouble`.
    pub fn skip_then(&self, skip: u32, trouble: Trouble) {
        self.counted(skip, 1, trouble);
    }

    fn counted(&self, skip: u32, times: u32, trouble: Trouble) {
        let during = Interval::new(self.truth.now(), Timestamp::MAX);
        self.beats.lock().unwrap().push(Beat { during, skip, left: Some(times), trouble });
    }

    /// Whether this strikes now; a counted trouble is used up by asking.
    pub fn strikes(&self, trouble: &Trouble) -> bool {
        self.find(|active| (active == trouble).then_some(())).is_some()
    }

    /// The first trouble that `pick` makes something of.
    pub fn find<T>(&self, pick: impl Fn(&Trouble) -> Option<T>) -> Option<T> {
        let now = self.truth.now();
        for beat in self.beats.lock().unwrap().iter_mut() {
            if !beat.during.contains(now) || beat.left == Some(0) {
                continue;
            }
            if let Some(picked) = pick(&beat.trouble) {
                if beat.skip > 0 {
                    beat.skip -= 1;
                    continue;
                }
                beat.left = beat.left.map(|left| left - 1);
                return Some(picked);
            }
        }
        None
    }

    /// Nothing goes wrong now.
    pub fn quiet(&self) -> bool {
        let now = self.truth.now();
        self.beats.lock().unwrap().iter().all(|beat| !beat.during.contains(now) || beat.left == Some(0))
    }

    /// The next date at which something begins or ends.
    pub fn next_edge(&self) -> Option<Timestamp> {
        let now = self.truth.now();
        let beats = self.beats.lock().unwrap();
        beats.iter().flat_map(|beat| [beat.during.start, beat.during.end]).filter(|at| *at > now).min()
    }
}
