//! Servers made to lie about the certificate they serve (F16): no success is claimed that an
//! independent look denies, and each lie gets a name and a next step of its own in `status`.
//!
//! All listeners lie, or one of two: that of another name, or that of another port.
//!
//! A sample runs with the other tests. The whole campaign, some minutes a kind of server:
//!
//! ```text
//! cargo test --test servers sabotage::campaign -- --ignored --nocapture
//! ```

#[path = "sabotage/configuration.rs"]
mod configuration;
#[path = "sabotage/kind.rs"]
mod kind;
#[path = "sabotage/lie.rs"]
mod lie;
#[path = "sabotage/made.rs"]
mod made;
#[path = "sabotage/rig.rs"]
mod rig;
#[path = "sabotage/server.rs"]
mod server;
#[path = "sabotage/shape.rs"]
mod shape;

use kind::Kind;
use lie::{Lie, Moment, Reach};
use rig::{Pace, Rig};

const KEYS: [&str; 2] = ["ecdsa-p256", "rsa-2048"];

type Case = (Lie, Moment, &'static str);

/// Every lie that these servers can tell, at each moment, and with each key where all listeners tell it;
/// where one of several does, with keys in turn.
fn cases(kind: Kind, reach: Reach) -> Vec<Case> {
    let told = |lie: &Lie, moment: &Moment| lie.outcome(kind, *moment).is_some() && lie.reaches(kind, reach);
    let told: Vec<_> = Moment::ALL
        .into_iter()
        .flat_map(|moment| Lie::ALL.map(|lie| (lie, moment)))
        .filter(|(lie, moment)| told(lie, moment))
        .collect();
    if reach == Reach::All {
        KEYS.into_iter().flat_map(|key| told.iter().map(move |(lie, moment)| (*lie, *moment, key))).collect()
    } else {
        // A key for several lies in a row: changing it costs a renewal more.
        let half = told.len().div_ceil(KEYS.len()).max(1);
        told.chunks(half)
            .zip(KEYS)
            .flat_map(|(told, key)| told.iter().map(move |(lie, moment)| (*lie, *moment, key)))
            .collect()
    }
}

/// Plays the cases and says what went wrong with which; how many were played.
fn play(kind: Kind, reach: Reach, pace: Pace, cases: &[Case]) -> (usize, Vec<String>) {
    let Some(mut rig) = Rig::new(kind, reach, pace) else { return (0, Vec::new()) };
    let mut wrong = Vec::new();
    for (lie, moment, key) in cases {
        rig.use_key(key);
        let begun = std::time::Instant::now();
        let case = format!("{kind:?} {reach:?} {lie:?} {moment:?} {key}");
        match rig.play(*lie, *moment) {
            Ok(called) => {
                println!("sabotage: {case}: {called}, {:.1} s", begun.elapsed().as_secs_f32());
            }
            Err(words) => {
                println!("sabotage: {case}: WRONG: {words}");
                wrong.push(format!("{case}: {words}"));
                // A case that went wrong may leave anything behind.
                match Rig::new(kind, reach, pace) {
                    Some(fresh) => rig = fresh,
                    None => break,
                }
            }
        }
    }
    (cases.len(), wrong)
}

fn sample(kind: Kind, reach: Reach, cases: &[(Lie, Moment)]) {
    let keys = KEYS.iter().cycle();
    let cases: Vec<_> = cases.iter().zip(keys).map(|((lie, moment), key)| (*lie, *moment, *key)).collect();
    let (_, wrong) = play(kind, reach, Pace::QUICK, &cases);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn f16_a_lying_nginx_is_caught() {
    sample(
        Kind::Nginx,
        Reach::All,
        &[
            (Lie::Starved, Moment::Before),
            (Lie::SecondInstance, Moment::Before),
            (Lie::FrozenWorkers, Moment::After),
            (Lie::LeafOnly, Moment::Before),
        ],
    );
}

#[test]
fn f16_a_lying_haproxy_is_caught() {
    sample(
        Kind::Haproxy,
        Reach::All,
        &[(Lie::FrozenMain, Moment::AtReload), (Lie::ExpectsProxy, Moment::After)],
    );
}

#[test]
fn f16_a_lying_apache_is_caught() {
    sample(
        Kind::Apache,
        Reach::All,
        &[(Lie::ForgottenBackend, Moment::Before), (Lie::SelfSigned, Moment::After)],
    );
}

#[test]
fn f16_a_caddy_that_lies_about_one_of_two_names_is_caught() {
    sample(
        Kind::Caddy,
        Reach::OneName,
        &[(Lie::Copied, Moment::AtReload), (Lie::StrangersFiles, Moment::Before)],
    );
}

#[test]
fn f16_a_lying_postfix_is_caught() {
    sample(Kind::Postfix, Reach::All, &[(Lie::SpoiltKey, Moment::Before), (Lie::OtherValid, Moment::Before)]);
}

#[test]
fn f16_a_lying_dovecot_is_caught() {
    sample(Kind::Dovecot, Reach::All, &[(Lie::Expired, Moment::Before), (Lie::Plain, Moment::After)]);
}

#[test]
fn f16_a_proftpd_that_lies_at_one_of_two_ports_is_caught() {
    sample(Kind::Proftpd, Reach::OnePort, &[(Lie::Pinned, Moment::Before), (Lie::Moved, Moment::After)]);
}

#[test]
fn f16_a_lying_postgresql_is_caught() {
    sample(Kind::Postgres, Reach::All, &[(Lie::HalfCopied, Moment::AtReload)]);
}

/// At least 1,000 lies, on all servers that are installed. `NOLAPSE_SABOTAGE=nginx,postfix/Gone,caddy/OneName`
/// plays those alone, `NOLAPSE_SLICE=K/N` each Nth of them from the Kth.
#[test]
#[ignore = "takes some minutes a server"]
fn campaign() {
    let asked = std::env::var("NOLAPSE_SABOTAGE").unwrap_or_default();
    let wanted = |kind: Kind, reach: Reach, case: &Case| {
        let (lie, moment, key) = case;
        let parts = format!("{kind:?}/{reach:?}/{lie:?}/{moment:?}/{key}").to_lowercase();
        let is = |part: &str| parts.split('/').any(|known| known == part);
        asked.is_empty() || asked.to_lowercase().split(',').any(|word| word.split('/').all(is))
    };
    let (first, step) = slice();
    let (mut played, mut wrong) = (0, Vec::new());
    for (kind, reach) in Kind::ALL.into_iter().flat_map(|kind| Reach::ALL.map(|reach| (kind, reach))) {
        let cases: Vec<_> = cases(kind, reach)
            .into_iter()
            .filter(|case| wanted(kind, reach, case))
            .skip(first)
            .step_by(step)
            .collect();
        if cases.is_empty() {
            continue;
        }
        let (number, failures) = play(kind, reach, Pace::CALM, &cases);
        println!("sabotage: {kind:?} {reach:?}: {number} lies, {} not told rightly", failures.len());
        played += number;
        wrong.extend(failures);
    }
    println!("sabotage: {played} lies, {} not told rightly", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Slices make up the whole, counted in each kind of server and reach.
fn slice() -> (usize, usize) {
    let Ok(text) = std::env::var("NOLAPSE_SLICE") else { return (0, 1) };
    let read = text.split_once('/').and_then(|(first, step)| Some((first.parse().ok()?, step.parse().ok()?)));
    read.filter(|(first, step)| first < step)
        .unwrap_or_else(|| panic!("NOLAPSE_SLICE={text} is not K/N with K < N"))
}

#[test]
fn the_campaign_is_large_enough() {
    let all = Kind::ALL.into_iter().flat_map(|kind| Reach::ALL.map(|reach| (kind, reach)));
    let number: usize = all.map(|(kind, reach)| cases(kind, reach).len()).sum();
    println!("sabotage: {number} cases");
    assert!(number >= 1000);
}
