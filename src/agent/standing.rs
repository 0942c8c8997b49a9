//! Looks between renewals at the texts that prove names by standing (dns-persist-01).

use crate::agent::{Agent, Scene};
use crate::core::failure::{Class, Failure};
use crate::core::name::{IssuerId, SubjectName};
use crate::core::persist::{PersistNote, PersistWrong};
use crate::core::record::{ChallengeKind, LineageRecord};
use crate::core::spec::{LineageSpec, SolverSpec};
use crate::core::time::Span;
use crate::ports::{Ca, Solver};
use crate::sys::clock::Clock;

/// All looks of one refresh together: a certificate has up to a hundred names, and each mute server of each
/// costs seconds.
const LOOKS_MOST: Span = Span::minutes(2);

impl Agent {
    /// Looks for the texts that the next renewal will want, as the account is now. What can't be asked for is
    /// no news.
    pub(super) async fn look_at_texts(&self, scene: &Scene, spec: &LineageSpec, record: &mut LineageRecord) {
        let known = |id| Some((&**scene.solvers.get(id)?, scene.wanted.solvers.get(id)));
        let looks = Looks {
            issuer: spec.issuer(),
            ca: spec.issuer().and_then(|issuer| scene.cas.get(issuer)).map(|ca| &**ca),
            solvers: spec.solvers.iter().filter_map(known).collect(),
            clock: &self.clock,
        };
        // What proves a name in another way by now needs no text, and nobody should be called for it.
        record.persist.retain(|note| spec.names.contains(&note.name) && looks.could_prove(&note.name));
        looks.at(&mut record.persist).await;
    }
}

/// Who is asked, and of whom.
struct Looks<'a> {
    issuer: Option<&'a IssuerId>,
    ca: Option<&'a dyn Ca>,
    /// With what the configuration says of each.
    solvers: Vec<(&'a dyn Solver, Option<&'a SolverSpec>)>,
    clock: &'a Clock,
}

impl Looks<'_> {
    /// Whether any of the solvers would prove the name by a text that stands.
    fn could_prove(&self, name: &SubjectName) -> bool {
        self.solvers.iter().any(|(solver, spec)| {
            spec.is_none_or(|spec| spec.could_prove(name))
                && solver.kinds().contains(&ChallengeKind::DnsPersist01)
        })
    }

    /// Those that there was no time for come first the next time.
    async fn at(&self, notes: &mut [PersistNote]) {
        let mut looked = 0;
        let all = async {
            let mut ca = self.ca;
            for note in notes.iter_mut() {
                if let Some(asked) = ca
                    && self.ask(asked, note).await.is_err()
                {
                    // Once while it is down, and not for each name.
                    ca = None;
                }
                self.look(note).await;
                looked += 1;
            }
        };
        if self.clock.timeout(LOOKS_MOST, all).await.is_none() {
            // One that takes all the time by itself must not do so again and again.
            notes.rotate_left(looked.max(1));
        }
    }

    /// What a challenge told goes before what can be guessed from the directory, as long as issuer and account
    /// are those to which it was told.
    async fn ask(&self, ca: &dyn Ca, note: &mut PersistNote) -> Result<(), Failure> {
        let (Some(issuer), Some(base)) = (self.issuer, note.name.base()) else { return Ok(()) };
        let account = ca.known_account().await?;
        if note.is_learned(issuer, account.as_deref()) {
            note.bind(account);
            return Ok(());
        }
        if let Some(terms) = ca.persist_terms(base).await? {
            (note.terms, note.source) = (terms, None);
        }
        Ok(())
    }

    async fn look(&self, note: &mut PersistNote) {
        for (solver, _) in &self.solvers {
            match solver.standing(&note.name, &note.terms).await {
                Some(Ok(until)) => (note.until, note.wrong) = (until, None),
                Some(Err(failure)) if failure.class == Class::Refused => {
                    let since = note.wrong.as_ref().map_or(self.clock.now(), |wrong| wrong.since);
                    let Failure { code, words, .. } = failure;
                    note.wrong = Some(PersistWrong { code, words, since });
                }
                None | Some(Err(_)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::core::failure::Fault;
    use crate::core::order::{AuthorizationView, ChallengeTask, OrderRequest, OrderView, PersistTerms};
    use crate::core::pattern::NamePattern;
    use crate::core::persist::PersistSource;
    use crate::core::record::Receipt;
    use crate::core::spec::{Origin, PersistSpec, SolverKind};
    use crate::core::time::Timestamp;
    use crate::ports::{Greeting, RenewalInfo, Reply};

    const URL: &str = "https://ca.example/acct/1";
    const NAMES: usize = 100;

    fn terms(account: &str) -> PersistTerms {
        PersistTerms { issuers: vec!["ca.example".into()], accounts: vec![account.to_owned()] }
    }

    fn issuer(id: &str) -> IssuerId {
        IssuerId::parse(id).unwrap()
    }

    fn note(name: &str, source: Option<(&str, Option<&str>)>) -> PersistNote {
        let source = source
            .map(|(id, account)| PersistSource { issuer: issuer(id), account: account.map(str::to_owned) });
        let name = SubjectName::parse(name).unwrap();
        PersistNote { name, terms: terms("told"), source, until: None, wrong: None }
    }

    fn notes() -> Vec<PersistNote> {
        (0..NAMES).map(|n| note(&format!("n{n}.example.com"), None)).collect()
    }

    /// A directory that tells what can be guessed, or is down.
    struct Desk {
        down: bool,
        asked: AtomicUsize,
    }

    impl Desk {
        fn new(down: bool) -> Self {
            Self { down, asked: AtomicUsize::new(0) }
        }
    }

    fn down<'a, T: Send + 'a>() -> Reply<'a, Result<T, Failure>> {
        Box::pin(async { Err(Failure::transient(Fault::Ca, "ca-down", "no answer")) })
    }

    impl Ca for Desk {
        fn order<'a>(&'a self, _: &'a OrderRequest) -> Reply<'a, Result<OrderView, Failure>> {
            down()
        }
        fn view<'a>(&'a self, _: &'a str) -> Reply<'a, Result<OrderView, Failure>> {
            down()
        }
        fn authorizations<'a>(&'a self, _: &'a str) -> Reply<'a, Result<Vec<AuthorizationView>, Failure>> {
            down()
        }
        fn ready<'a>(&'a self, _: &'a str, _: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
            down()
        }
        fn finalize<'a>(&'a self, _: &'a str, _: &'a [u8]) -> Reply<'a, Result<OrderView, Failure>> {
            down()
        }
        fn download<'a>(&'a self, _: &'a str) -> Reply<'a, Result<String, Failure>> {
            down()
        }
        fn renewal_info<'a>(&'a self, _: &'a str) -> Reply<'a, Result<Option<RenewalInfo>, Failure>> {
            down()
        }
        fn reachable(&self) -> Reply<'_, Result<Greeting, Failure>> {
            down()
        }
        fn skew(&self) -> Reply<'_, Result<Option<Span>, Failure>> {
            down()
        }
        fn abandon<'a>(&'a self, _: &'a str) -> Reply<'a, Result<(), Failure>> {
            down()
        }
        fn account(&self) -> Reply<'_, Result<String, Failure>> {
            down()
        }
        fn known_account(&self) -> Reply<'_, Result<Option<String>, Failure>> {
            Box::pin(async { Ok(Some(URL.to_owned())) })
        }
        fn persist_terms<'a>(&'a self, _: &'a str) -> Reply<'a, Result<Option<PersistTerms>, Failure>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.down { down() } else { Box::pin(async { Ok(Some(terms("guessed"))) }) }
        }
    }

    /// Servers that take so long to say that all is well.
    struct Eye(Span, Clock, ChallengeKind);

    impl Solver for Eye {
        fn kinds(&self) -> &[ChallengeKind] {
            std::slice::from_ref(&self.2)
        }
        fn receipt<'a>(&'a self, _: &'a ChallengeTask) -> Reply<'a, Result<Receipt, Failure>> {
            down()
        }
        fn present<'a>(&'a self, _: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
            down()
        }
        fn confirm<'a>(&'a self, _: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
            down()
        }
        fn clean_up<'a>(&'a self, _: &'a Receipt) -> Reply<'a, Result<(), Failure>> {
            down()
        }
        fn standing<'a>(
            &'a self,
            _: &'a SubjectName,
            _: &'a PersistTerms,
        ) -> Reply<'a, Option<Result<Option<Timestamp>, Failure>>> {
            Box::pin(async move {
                self.1.sleep(self.0).await;
                Some(Ok(Some(self.1.now())))
            })
        }
        fn able(&self) -> Reply<'_, Result<(), Failure>> {
            down()
        }
    }

    #[tokio::test]
    async fn what_a_challenge_told_goes_before_a_guess_while_the_account_is_the_same() {
        let (clock, ca, first) = (Clock::wall(), Desk::new(false), issuer("first"));
        for (situation, source, wanted) in [
            ("told to this account", Some(("first", Some(URL))), "told"),
            ("told just now", Some(("first", None)), "told"),
            ("told to an account before this one", Some(("first", Some("https://ca.example/0"))), "guessed"),
            ("told by another issuer", Some(("second", Some(URL))), "guessed"),
            ("guessed before", None, "guessed"),
        ] {
            let mut notes = vec![note("example.com", source)];
            let looks = Looks { issuer: Some(&first), ca: Some(&ca), solvers: Vec::new(), clock: &clock };
            looks.at(&mut notes).await;
            assert_eq!(notes[0].terms, terms(wanted), "{situation}");
            let bound = notes[0].source.as_ref().map(|source| source.account.as_deref());
            assert_eq!(bound, (wanted == "told").then_some(Some(URL)), "{situation}");
        }
    }

    #[test]
    fn a_text_that_no_solver_needs_any_more_is_forgotten() {
        use ChallengeKind::{DnsPersist01, Http01};
        let clock = Clock::wall();
        let only = |pattern: &str| SolverSpec {
            id: crate::core::name::SolverId::parse("standing").unwrap(),
            kind: SolverKind::Persist(PersistSpec::default()),
            names: vec![NamePattern::of(SubjectName::parse(pattern).unwrap())],
            check_port: None,
            origin: Origin::default(),
        };
        let (ours, others) = (only("example.com"), only("other.example"));
        for (situation, kinds, needed) in [
            ("the solver is as it was", vec![(DnsPersist01, None)], true),
            ("one of two", vec![(Http01, None), (DnsPersist01, Some(&ours))], true),
            ("it is for other names now", vec![(DnsPersist01, Some(&others))], false),
            ("the certificate moved to http-01", vec![(Http01, None)], false),
            ("no solver is left", vec![], false),
        ] {
            let eyes: Vec<_> = kinds.iter().map(|(kind, _)| Eye(Span::ZERO, clock.clone(), *kind)).collect();
            let solvers =
                eyes.iter().zip(&kinds).map(|(eye, (_, spec))| (eye as &dyn Solver, *spec)).collect();
            let looks = Looks { issuer: None, ca: None, solvers, clock: &clock };
            let name = SubjectName::parse("example.com").unwrap();
            assert_eq!(looks.could_prove(&name), needed, "{situation}");
        }
    }

    #[tokio::test]
    async fn a_ca_that_is_down_is_asked_once_for_all_names() {
        let (clock, ca, first) = (Clock::wall(), Desk::new(true), issuer("first"));
        let eye = Eye(Span::ZERO, clock.clone(), ChallengeKind::DnsPersist01);
        let mut notes = notes();
        Looks { issuer: Some(&first), ca: Some(&ca), solvers: vec![(&eye, None)], clock: &clock }
            .at(&mut notes)
            .await;
        assert_eq!(ca.asked.load(Ordering::Relaxed), 1);
        assert!(notes.iter().all(|note| note.until.is_some()), "the texts are looked for all the same");
    }

    #[tokio::test(start_paused = true)]
    async fn mute_servers_hold_a_refresh_up_for_minutes_at_most_and_every_name_has_its_turn() {
        let clock = Clock::starting_at("2026-11-21T12:00:00Z".parse().unwrap());
        let eye = Eye(Span::secs(4), clock.clone(), ChallengeKind::DnsPersist01);
        let mut notes = notes();
        let looks = Looks { issuer: None, ca: None, solvers: vec![(&eye, None)], clock: &clock };
        for round in 1..=4 {
            let began = clock.monotonic();
            looks.at(&mut notes).await;
            assert!(clock.monotonic() - began <= LOOKS_MOST, "round {round}");
        }
        assert!(notes.iter().all(|note| note.until.is_some()), "{notes:?}");
    }
}
