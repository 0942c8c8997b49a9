//! The ways in which a server is made to lie, and what `status` must call each.

use super::kind::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Files of a certificate for another name.
    StrangersFiles,
    /// No server for the name: the default one answers.
    OtherVhost,
    /// The self-made pair of a package.
    SelfSigned,
    /// A copy of the files as they were before the renewal.
    Copied,
    /// Another CA's valid certificate for the name.
    OtherValid,
    /// The same, expired.
    Expired,
    /// TLS is off, or not offered.
    Plain,
    /// The listener expects a PROXY header.
    ExpectsProxy,
    /// The key is no key.
    SpoiltKey,
    /// The leaf without its intermediate.
    LeafOnly,
    /// A certificate that begins in some decades.
    NotYetValid,
    /// The configuration names the directory that the links led to.
    Pinned,
    /// The new chain beside the key of before.
    HalfCopied,
    /// Files that are not there.
    Missing,
    /// Nobody is let in by this name.
    Rejects,
    /// It listens at another port.
    Moved,
    /// A reload that says yes, and begins some seconds later.
    LateReload,
    /// A mistake elsewhere in the configuration.
    Broken,
    /// A reload that says yes and does nothing.
    DeafReload,
    /// A reload that says no.
    FailingReload,
    /// A reload without an end.
    HangingReload,
    /// The main process is stopped (SIGSTOP).
    FrozenMain,
    /// All workers are.
    FrozenWorkers,
    /// The main process may open no more files.
    Starved,
    /// Nobody is there any more.
    Gone,
    /// A second instance listens on the port, with the files of before.
    SecondInstance,
    /// One of two backends is left out of the reload.
    ForgottenBackend,
    /// Clients must show certificates: no lie, and no reason to doubt.
    WantsClients,
    /// Sessions from before the renewal can be resumed: no lie either.
    OldSessions,
}

/// When it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before the renewal.
    Before,
    /// Between installing and reloading.
    AtReload,
    /// After it was seen to be served; the next look is asked for by hand.
    After,
}

/// Which listeners lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    All,
    /// That of the second name, and the first one tells the truth.
    OneName,
    /// That of the second port.
    OnePort,
}

/// What may come of it.
pub struct Outcome {
    /// Codes that `status` may give as the reason of its advice.
    pub codes: &'static [&'static str],
    /// The renewal may also be observed, where an independent look agrees.
    pub may_succeed: bool,
    /// The earlier generation may be shown again, as its service refused the new one: the check went well
    /// before the renewal, and not after a reload that failed. Which mistake that was nobody can tell.
    pub may_return: bool,
}

const fn lies(codes: &'static [&'static str]) -> Outcome {
    Outcome { codes, may_succeed: false, may_return: false }
}

const fn or_succeeds(codes: &'static [&'static str]) -> Outcome {
    Outcome { codes, may_succeed: true, may_return: false }
}

const fn or_returns(codes: &'static [&'static str]) -> Outcome {
    Outcome { codes, may_succeed: false, may_return: true }
}

impl Lie {
    pub const ALL: [Self; 29] = [
        Self::StrangersFiles,
        Self::OtherVhost,
        Self::SelfSigned,
        Self::Copied,
        Self::OtherValid,
        Self::Expired,
        Self::Plain,
        Self::ExpectsProxy,
        Self::SpoiltKey,
        Self::LeafOnly,
        Self::NotYetValid,
        Self::Pinned,
        Self::HalfCopied,
        Self::Missing,
        Self::Rejects,
        Self::Moved,
        Self::LateReload,
        Self::Broken,
        Self::DeafReload,
        Self::FailingReload,
        Self::HangingReload,
        Self::FrozenMain,
        Self::FrozenWorkers,
        Self::Starved,
        Self::Gone,
        Self::SecondInstance,
        Self::ForgottenBackend,
        Self::WantsClients,
        Self::OldSessions,
    ];

    /// Whether one listener of several can lie so.
    pub fn reaches(self, kind: Kind, reach: Reach) -> bool {
        let by_files = matches!(
            self,
            Self::StrangersFiles
                | Self::SelfSigned
                | Self::Copied
                | Self::OtherValid
                | Self::Expired
                | Self::NotYetValid
                | Self::Pinned
                | Self::LeafOnly
        );
        match reach {
            Reach::All => true,
            Reach::OneName => kind.has_names() && by_files,
            Reach::OnePort => {
                let by_door = matches!(
                    self,
                    Self::OtherVhost | Self::Rejects | Self::Plain | Self::ExpectsProxy | Self::Moved
                );
                kind.has_ports() && (by_files || by_door)
            }
        }
    }

    /// What must come of it; `None` where this server can't lie so at this moment.
    pub fn outcome(self, kind: Kind, moment: Moment) -> Option<Outcome> {
        use Kind::{Apache, Caddy, Dovecot, Haproxy, Nginx, Postfix, Postgres, Proftpd};
        use Moment::{After, AtReload, Before};
        let is = |wanted: bool| wanted.then_some(());
        // Each connection has a process that reads the files, whatever was reloaded.
        let reads_anew = matches!(kind, Postfix | Dovecot | Proftpd);
        Some(match self {
            Self::StrangersFiles => lies(&["served-other-name"]),
            Self::OtherVhost => {
                is(kind.is_web())?;
                lies(&["served-other-name"])
            }
            Self::SelfSigned => lies(&["served-self-signed"]),
            Self::Copied | Self::Pinned => lies(&["served-old"]),
            Self::OtherValid => lies(&["served-unmanaged"]),
            Self::Expired => lies(&["served-expired"]),
            Self::NotYetValid => lies(&["served-wrong"]),
            Self::Rejects => {
                is(matches!(kind, Nginx | Haproxy))?;
                // A worker of before may let the first ones in.
                lies(&["handshake-refused", "some-silent"])
            }
            Self::Moved => {
                // Its port is not a thing that it reads again.
                is(kind != Postgres)?;
                lies(&["endpoint-closed"])
            }
            Self::Plain => {
                if kind.starttls().is_some() {
                    lies(&["starttls-missing"])
                } else {
                    lies(&["endpoint-no-tls"])
                }
            }
            // Who waits for a header hangs up or goes on waiting.
            Self::ExpectsProxy => {
                is(matches!(kind, Nginx | Haproxy | Postfix | Dovecot))?;
                // Postfix takes the greeting for a bad header, and says so.
                lies(&["handshake-broken-off", "endpoint-silent", "endpoint-no-tls", "starttls-refused"])
            }
            // A server that reads its key at a reload keeps the old one, and its check finds it.
            Self::SpoiltKey => match (kind, moment) {
                (Postfix, _) => lies(&["starttls-refused"]),
                (Dovecot, _) => lies(&["starttls-refused", "handshake-broken-off"]),
                // Its reload is a request, and says no.
                (Caddy, AtReload) => or_returns(&["hook-failed"]),
                // Its check does not read keys, and its reload ends it.
                (Apache, Before) => lies(&["endpoint-closed", "check-failed"]),
                (Postgres, Before) => lies(&["served-old"]),
                (_, Before) => lies(&["check-failed"]),
                (_, AtReload) => lies(&["served-old", "hook-failed", "endpoint-closed", "endpoint-silent"]),
                (_, After) => return None,
            },
            // The check runs before there is a new chain.
            Self::HalfCopied => {
                is(moment == AtReload)?;
                match kind {
                    Postfix | Dovecot => lies(&["starttls-refused", "handshake-broken-off"]),
                    // It looks whether they fit when a session begins.
                    Proftpd => lies(&["handshake-broken-off", "starttls-refused"]),
                    Caddy => or_returns(&["hook-failed"]),
                    _ => lies(&["served-old", "hook-failed", "endpoint-closed", "endpoint-silent"]),
                }
            }
            Self::Missing => match (kind, moment) {
                (Postfix, _) => lies(&["starttls-refused", "starttls-missing"]),
                // The check of the one prints names of files and leaves it at that; the other has none.
                (Dovecot | Postgres, Before) => lies(&["served-old"]),
                (_, Before) => lies(&["check-failed"]),
                (Caddy, AtReload) => or_returns(&["hook-failed"]),
                (Dovecot, AtReload) => {
                    or_succeeds(&["served-old", "endpoint-silent", "handshake-broken-off"])
                }
                (_, AtReload) => lies(&["served-old", "hook-failed", "endpoint-closed", "endpoint-silent"]),
                (_, After) => return None,
            },
            Self::LeafOnly => or_succeeds(&["chain-incomplete"]),
            Self::Broken => match moment {
                // It has no check, reports the mistake, and reads the files all the same.
                Before if kind == Postgres => or_succeeds(&["served-old"]),
                Before => lies(&["check-failed"]),
                AtReload => match kind {
                    // Its smtpd reads the new configuration, mistake and all, and does not start.
                    Postfix => or_succeeds(&[
                        "served-old",
                        "endpoint-silent",
                        "handshake-broken-off",
                        "starttls-refused",
                        "endpoint-closed",
                    ]),
                    // They end rather than reload with a mistake.
                    Apache | Proftpd => {
                        lies(&["served-old", "endpoint-closed", "endpoint-silent", "hook-failed"])
                    }
                    // Each login process reads the files anew, whatever the reload says.
                    Dovecot | Postgres => or_succeeds(&["served-old"]),
                    Caddy => or_returns(&["hook-failed"]),
                    _ => lies(&["served-old", "hook-failed"]),
                },
                After => return None,
            },
            Self::DeafReload | Self::LateReload => {
                is(moment == Before)?;
                if reads_anew {
                    or_succeeds(&["served-old", "served-mixed", "address-behind"])
                } else {
                    lies(&["served-old"])
                }
            }
            Self::FailingReload => {
                is(moment == Before)?;
                lies(&["hook-failed"])
            }
            Self::HangingReload => {
                is(moment == Before)?;
                lies(&["hook-timeout"])
            }
            Self::FrozenMain => {
                is(moment != After)?;
                match kind {
                    Postfix | Dovecot => {
                        or_succeeds(&["served-old", "endpoint-silent", "some-silent", "address-behind"])
                    }
                    // One process, or one that begins all others.
                    Caddy => lies(&["hook-timeout"]),
                    Proftpd | Postgres => lies(&["endpoint-silent"]),
                    _ => lies(&["served-old"]),
                }
            }
            Self::FrozenWorkers => {
                is(moment == After && !matches!(kind, Caddy | Proftpd | Postgres))?;
                match kind {
                    // The master starts others for those that do not come.
                    Postfix | Dovecot => or_succeeds(&["endpoint-silent", "some-silent", "address-behind"]),
                    _ => lies(&["endpoint-silent"]),
                }
            }
            Self::Starved => {
                is(matches!(kind, Nginx | Apache) && moment == Before)?;
                lies(&["served-old", "endpoint-closed", "endpoint-silent", "hook-failed"])
            }
            Self::Gone => match moment {
                // The signal or the request of its reload reaches nobody.
                Before | AtReload => lies(&["hook-failed"]),
                After => lies(&["endpoint-closed"]),
            },
            Self::SecondInstance => {
                is(kind.shares_its_port() && moment != AtReload)?;
                lies(&["served-mixed"])
            }
            Self::ForgottenBackend => {
                is(!kind.shares_its_port() && moment == Before)?;
                if reads_anew { or_succeeds(&["address-behind"]) } else { lies(&["address-behind"]) }
            }
            Self::WantsClients => {
                is(kind.is_web())?;
                or_succeeds(&[])
            }
            Self::OldSessions => {
                is(kind.is_web() && moment == Before)?;
                or_succeeds(&[])
            }
        })
    }
}

impl Moment {
    pub const ALL: [Self; 3] = [Self::Before, Self::AtReload, Self::After];
}

impl Reach {
    pub const ALL: [Self; 3] = [Self::All, Self::OneName, Self::OnePort];
}
