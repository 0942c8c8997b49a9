//! Facts of a certificate that somebody else keeps, wherever it was found: in a file, or served.

use super::chain::Member;
use super::leaf::Leaf;

/// What was read of one certificate and of what came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specimen {
    pub leaf: Leaf,
    /// All that came together, the leaf first.
    pub chain: Vec<Member>,
    /// It may issue others: no server's certificate.
    pub authority: bool,
    pub key: KeyFact,
    /// Why this system's roots don't vouch for it; not asked of files.
    pub distrust: Option<Doubt>,
}

/// Why a chain is not trusted here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// No root vouches for it.
    pub unrooted: bool,
    /// Safe to print.
    pub words: String,
}

/// What is known of the private key of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFact {
    /// None was named and none lies beside it.
    Unknown,
    /// At this place, and it may not be read or is none. `named`: the operator said that it is there.
    Unread {
        place: String,
        why: String,
        named: bool,
    },
    Fits,
    /// At this place lies the key of another certificate.
    Other {
        place: String,
    },
}

/// One place that a watch leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// As an operator would name it; safe to print.
    pub place: String,
    pub found: Result<Specimen, Unread>,
}

/// Why a place gave no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub why: Obstacle,
    /// Safe to print.
    pub words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Nothing is there, or nothing fits the pattern.
    Missing,
    /// It is there and may not, or can't, be read.
    Closed,
    /// It was read and holds no certificate.
    NoCertificate,
    /// More lies there than one watch looks at.
    TooMany,
    /// The file system gave no answer in the time given.
    Silent,
}

impl Obstacle {
    pub const ALL: [Self; 5] =
        [Self::Missing, Self::Closed, Self::NoCertificate, Self::TooMany, Self::Silent];

    /// Stable and kebab-case.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "watch-missing",
            Self::Closed => "watch-unreadable",
            Self::NoCertificate => "watch-no-certificate",
            Self::TooMany => "watch-too-many",
            Self::Silent => "watch-silent",
        }
    }
}

impl Find {
    pub fn unread(place: impl Into<String>, why: Obstacle, words: impl Into<String>) -> Self {
        Self { place: place.into(), found: Err(Unread { why, words: words.into() }) }
    }
}
