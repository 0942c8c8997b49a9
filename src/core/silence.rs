//! Why a look at an endpoint saw no certificate.

use serde::{Deserialize, Serialize};

/// Each is a situation of its own, with a next step of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Silence {
    /// The host's name has no address here.
    Unresolved,
    /// Nothing listens.
    Closed,
    /// No way to the host.
    NoRoute,
    /// Connected or not: no answer in the time given.
    TimedOut,
    /// It answers, but not in the protocol it was asked in.
    NotSpoken,
    /// It speaks the protocol and offers no TLS.
    NotOffered,
    /// It offers TLS and can't begin with it now.
    NotReady,
    /// It ended the handshake with an alert.
    Refused,
    /// It closed the connection in the middle.
    BrokenOff,
    /// A handshake without a usable certificate.
    NoCertificate,
    /// A look that was our own fault.
    NotLooked,
}

impl Silence {
    pub const ALL: [Self; 11] = [
        Self::Unresolved,
        Self::Closed,
        Self::NoRoute,
        Self::TimedOut,
        Self::NotSpoken,
        Self::NotOffered,
        Self::NotReady,
        Self::Refused,
        Self::BrokenOff,
        Self::NoCertificate,
        Self::NotLooked,
    ];

    /// Stable and kebab-case.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unresolved => "endpoint-unresolved",
            Self::Closed => "endpoint-closed",
            Self::NoRoute => "endpoint-no-route",
            Self::TimedOut => "endpoint-silent",
            Self::NotSpoken => "endpoint-no-tls",
            Self::NotOffered => "starttls-missing",
            Self::NotReady => "starttls-refused",
            Self::Refused => "handshake-refused",
            Self::BrokenOff => "handshake-broken-off",
            Self::NoCertificate => "no-certificate",
            Self::NotLooked => "not-looked",
        }
    }
}
