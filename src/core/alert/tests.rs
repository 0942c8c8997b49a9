#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::core::ack::Ack;
use crate::core::channel::ChannelKind;
use crate::core::concern::Concerns;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const HOST: &str = "web1";

fn channel(name: &str, least: Gravity) -> ChannelSpec {
    ChannelSpec {
        id: ChannelId::parse(name).unwrap(),
        least,
        labels: Labels::default(),
        timeout: Span::secs(30),
        kind: ChannelKind::Exec { argv: vec!["true".into()] },
    }
}

fn concern(subject: &str, cause: &str, gravity: Gravity) -> Concern {
    Concern {
        subject: subject.into(),
        code: "renewal-failing".into(),
        cause: cause.into(),
        gravity,
        grace: Span::ZERO,
        since: Timestamp::MAX,
        words: format!("{cause} fails"),
        advice: "look".into(),
        labels: Labels::default(),
    }
}

fn all(concerns: Vec<Concern>) -> Concerns {
    Concerns { all: concerns, next_at: None }
}

/// One look: what is so, and what is said on the channel, which takes it.
fn look(ledger: &mut Ledger, channel: &ChannelSpec, concerns: Vec<Concern>, at: Timestamp) -> Vec<String> {
    ledger.take(&all(concerns), &Acks::default(), at, Patience::Watching);
    let due = ledger.due(channel, HOST, at);
    for due in &due {
        ledger.told(&channel.id, due, at);
    }
    ledger.tidy(std::slice::from_ref(channel));
    due.iter().map(|due| format!("{} {}", due.message.occasion.word(), due.message.gravity)).collect()
}

#[test]
fn three_hundred_certificates_in_one_outage_are_one_alert() {
    let (mut ledger, mail) = (Ledger::default(), channel("mail", Gravity::Notice));
    let outage = |count: u32, gravity| -> Vec<Concern> {
        (0..count)
            .map(|n| concern(&format!("c{n:03}.example"), "renewal/letsencrypt/ca-down", gravity))
            .collect()
    };
    let mut concerns = outage(300, Gravity::Notice);
    concerns[7].gravity = Gravity::Ticket;
    ledger.take(&all(concerns), &Acks::default(), NOW, Patience::Watching);
    let [due] = &ledger.due(&mail, HOST, NOW)[..] else { panic!("one message") };
    let message = &due.message;
    assert_eq!((message.occasion, message.gravity, message.count), (Occasion::Raised, Gravity::Ticket, 300));
    assert_eq!(message.subjects[..2], ["c007.example", "c000.example"], "the gravest is named first");
    assert!(message.title.starts_with("[TICKET] c007.example and 299 more"), "{}", message.title);
    ledger.told(&mail.id, due, NOW);
    let later = NOW + Span::minutes(30);
    assert_eq!(look(&mut ledger, &mail, outage(300, Gravity::Ticket), later), [""; 0], "nothing new");
    let said = look(&mut ledger, &mail, outage(300, Gravity::Page), later + Span::MINUTE);
    assert_eq!(said, ["escalated page"]);
    assert_eq!(look(&mut ledger, &mail, Vec::new(), later + Span::minutes(2)), [""; 0], "it may come back");
    assert_eq!(look(&mut ledger, &mail, Vec::new(), later + Span::minutes(8)), ["recovered page"]);
    assert_eq!(ledger.alerts.len(), 0, "all is told, nothing is kept");
}

#[test]
fn what_comes_and_goes_is_told_once() {
    let (mut ledger, mail) = (Ledger::default(), channel("mail", Gravity::Notice));
    let mut at = NOW;
    let mut said = Vec::new();
    for minute in 0..120 {
        let there = minute % 4 < 2;
        let concerns =
            if there { vec![concern("a.example", "served/x", Gravity::Ticket)] } else { Vec::new() };
        said.extend(look(&mut ledger, &mail, concerns, at));
        at = at + Span::MINUTE;
    }
    assert_eq!(said, ["raised ticket"]);
    // So does what weighs more now and then.
    for minute in 0..100 {
        let gravity = if minute % 10 == 0 { Gravity::Page } else { Gravity::Ticket };
        said.extend(look(&mut ledger, &mail, vec![concern("a.example", "served/x", gravity)], at));
        at = at + Span::MINUTE;
    }
    assert_eq!(said, ["raised ticket", "escalated page"]);
}

#[test]
fn a_grace_that_is_not_outlasted_is_never_told() {
    let (mut ledger, mail) = (Ledger::default(), channel("mail", Gravity::Notice));
    let owed = || {
        vec![Concern { grace: Span::minutes(30), ..concern("a.example", "deploy/nginx", Gravity::Ticket) }]
    };
    assert_eq!(look(&mut ledger, &mail, owed(), NOW), [""; 0]);
    assert_eq!(
        ledger.next(&all(owed()), &Acks::default(), std::slice::from_ref(&mail), NOW),
        Some(NOW + Span::minutes(30))
    );
    assert_eq!(look(&mut ledger, &mail, Vec::new(), NOW + Span::minutes(29)), [""; 0]);
    assert_eq!(ledger.alerts.len(), 0);
    assert_eq!(look(&mut ledger, &mail, owed(), NOW + Span::HOUR), [""; 0], "it begins anew");
    assert_eq!(look(&mut ledger, &mail, owed(), NOW + Span::minutes(90)), ["raised ticket"]);
    // By a timer there is no second look.
    let mut ledger = Ledger::default();
    ledger.take(&all(owed()), &Acks::default(), NOW, Patience::Once);
    assert_eq!(ledger.due(&mail, HOST, NOW).len(), 1);
}

#[test]
fn what_stands_is_told_again_a_page_daily_and_a_ticket_weekly() {
    for (gravity, days, expected) in
        [(Gravity::Page, 10, 10), (Gravity::Ticket, 22, 4), (Gravity::Notice, 60, 1)]
    {
        let (mut ledger, mail) = (Ledger::default(), channel("mail", Gravity::Notice));
        let told: usize = (0..days * 24)
            .map(|hour| {
                let concerns = vec![concern("a.example", "x", gravity)];
                look(&mut ledger, &mail, concerns, NOW + Span::hours(hour)).len()
            })
            .sum();
        assert_eq!(told, expected, "{gravity} in {days} days");
    }
}

#[test]
fn an_ack_silences_its_subject_until_it_ends() {
    let (mut ledger, mail) = (Ledger::default(), channel("mail", Gravity::Notice));
    let mut acks = Acks::default();
    acks.put(
        Ack { subject: "a.example".into(), until: NOW + Span::DAY, reason: "known".into(), at: NOW },
        NOW,
    );
    let one = || all(vec![concern("a.example", "x", Gravity::Page)]);
    ledger.take(&one(), &acks, NOW, Patience::Watching);
    assert_eq!(ledger.due(&mail, HOST, NOW), []);
    // Another one with the same cause is told, alone.
    let both =
        all(vec![concern("a.example", "x", Gravity::Page), concern("b.example", "x", Gravity::Ticket)]);
    ledger.take(&both, &acks, NOW, Patience::Watching);
    let due = ledger.due(&mail, HOST, NOW);
    assert_eq!((due[0].message.count, due[0].message.gravity), (1, Gravity::Ticket));
    let mut ledger = Ledger::default();
    ledger.take(&one(), &acks, NOW, Patience::Watching);
    let end = ledger.next(&one(), &acks, std::slice::from_ref(&mail), NOW);
    assert_eq!(end, Some(NOW + Span::DAY), "it is looked at again when the ack ends");
    ledger.take(&one(), &acks, NOW + Span::DAY, Patience::Watching);
    assert_eq!(ledger.due(&mail, HOST, NOW + Span::DAY).len(), 1);
}

#[test]
fn a_channel_that_fails_is_told_of_on_the_others_and_hears_all_later() {
    let (mut ledger, mail, chat) =
        (Ledger::default(), channel("mail", Gravity::Ticket), channel("chat", Gravity::Notice));
    let channels = [mail.clone(), chat.clone()];
    let trouble = || vec![concern("a.example", "x", Gravity::Ticket)];
    let mut at = NOW;
    let mut heard = Vec::new();
    for _ in 0..6 {
        ledger.take(&all(trouble()), &Acks::default(), at, Patience::Watching);
        if !ledger.due(&mail, HOST, at).is_empty() {
            ledger.failed(&mail.id, "connection refused", at);
        }
        for due in ledger.due(&chat, HOST, at) {
            heard.push(due.causes[0].clone());
            ledger.told(&chat.id, &due, at);
        }
        at = ledger.next(&all(trouble()), &Acks::default(), &channels, at).unwrap();
    }
    assert_eq!(heard, ["x", "channel/mail"], "the trouble, and that mail fails");
    assert!(ledger.alerts.contains_key("channel/mail"));
    // The cause ends while mail is down: mail hears of it all the same, and not of itself.
    let at = at + Span::DAY;
    ledger.take(&all(Vec::new()), &Acks::default(), at, Patience::Watching);
    ledger.take(&all(Vec::new()), &Acks::default(), at + Span::minutes(6), Patience::Watching);
    let due = ledger.due(&mail, HOST, at + Span::minutes(6));
    let said: Vec<_> = due.iter().map(|due| (&due.causes[0][..], due.message.occasion)).collect();
    assert_eq!(said, [("x", Occasion::Recovered)]);
    assert!(due[0].message.text.contains("could not be told") || !ledger.alerts["x"].told.is_empty());
}

#[test]
fn labels_choose_the_channel() {
    let owner = |name: &str| Labels::new([("owner".to_owned(), name.to_owned())].into());
    let web = ChannelSpec { labels: owner("web"), ..channel("web", Gravity::Notice) };
    let mut ledger = Ledger::default();
    let of = |name: &str, cause: &str| Concern { labels: owner(name), ..concern(name, cause, Gravity::Page) };
    let concerns = vec![of("web", "x"), of("mail", "x"), of("mail", "y")];
    ledger.take(&all(concerns), &Acks::default(), NOW, Patience::Watching);
    let due = ledger.due(&web, HOST, NOW);
    assert_eq!(due.len(), 1, "what concerns it at all");
    assert_eq!(due[0].message.labels["owner"], "mail, web");
}

#[test]
fn more_than_can_be_told_apart_is_told_together() {
    let mut ledger = Ledger::default();
    let mail = channel("mail", Gravity::Notice);
    let many = || {
        (0..1000).map(|n| concern(&format!("c{n:04}.example"), &format!("x{n:04}"), Gravity::Page)).collect()
    };
    let first = look(&mut ledger, &mail, many(), NOW);
    assert_eq!(first.len(), Note::PAGES_A_DAY + 1, "one by one as many as may be, and one for the rest");
    assert_eq!(first.last().unwrap(), "digest page");
    assert!(ledger.alerts.len() <= Ledger::CAUSES_MAX);
    assert_eq!(look(&mut ledger, &mail, many(), NOW + Span::HOUR), [""; 0], "all were told");
}

/// A step of a history: which causes stand and how grave, which channels fail, how long until the
/// next.
#[derive(Clone, Debug)]
struct Step {
    stands: [Option<Gravity>; 4],
    fails: [bool; 2],
    wait: Span,
}

fn step() -> impl Strategy<Value = Step> {
    let gravity = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Gravity::Notice)),
        1 => Just(Some(Gravity::Ticket)),
        1 => Just(Some(Gravity::Page)),
    ];
    (prop::array::uniform4(gravity), any::<[bool; 2]>(), 1..3000i64)
        .prop_map(|(stands, fails, minutes)| Step { stands, fails, wait: Span::minutes(minutes) })
}

type Heard = Vec<(Timestamp, ChannelId, Due)>;

/// Lives through a history and a week of peace. Returns what was heard, and what was raised that
/// each channel should hear of.
fn live(history: &[Step]) -> (Heard, BTreeSet<(String, ChannelId)>, Ledger) {
    let channels = [channel("a", Gravity::Notice), channel("b", Gravity::Page)];
    let mut ledger = Ledger::default();
    let (mut heard, mut raised) = (Vec::new(), BTreeSet::new());
    let mut at = NOW;
    let peace = Step { stands: [None; 4], fails: [false; 2], wait: Span::days(7) };
    for step in history.iter().chain([&peace]) {
        let end = at + step.wait;
        let concerns = || {
            let stands = step.stands.iter().enumerate();
            all(stands
                .filter_map(|(n, g)| Some(concern(&format!("s{n}"), &format!("x{n}"), (*g)?)))
                .collect())
        };
        while at < end {
            ledger.take(&concerns(), &Acks::default(), at, Patience::Watching);
            for (channel, fails) in channels.iter().zip(step.fails) {
                for (cause, alert) in &ledger.alerts {
                    if alert.raised_at.is_some()
                        && alert.gravity >= channel.least
                        && !cause.starts_with("channel/")
                    {
                        raised.insert((cause.clone(), channel.id.clone()));
                    }
                }
                for due in ledger.due(channel, HOST, at) {
                    if fails {
                        ledger.failed(&channel.id, "down", at);
                        break;
                    }
                    ledger.told(&channel.id, &due, at);
                    heard.push((at, channel.id.clone(), due));
                }
            }
            ledger.tidy(&channels);
            // As the agent does: to sleep until something could be due.
            let next = ledger.next(&concerns(), &Acks::default(), &channels, at);
            at = next.unwrap_or(end).min(end);
        }
    }
    (heard, raised, ledger)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_fails_nothing_is_lost_and_every_end_is_told(history in prop::collection::vec(step(), 1..12)) {
        let (heard, raised, ledger) = live(&history);
        prop_assert!(ledger.alerts.is_empty(), "all is over and told: {:?}", ledger.alerts);
        for (cause, channel) in raised {
            let last = heard.iter().rfind(|(_, to, due)| *to == channel && due.causes.contains(&cause));
            prop_assert!(last.is_some(), "{cause} was never told on {channel}");
            let over = last.is_some_and(|(_, _, due)| {
                due.message.is_over() || due.message.occasion == Occasion::Digest
            });
            prop_assert!(over, "{channel} did not hear that {cause} is over");
        }
    }

    #[test]
    fn no_channel_hears_more_than_its_bound_in_a_day(history in prop::collection::vec(step(), 1..12)) {
        let (heard, _, _) = live(&history);
        for (at, channel, _) in &heard {
            let day = heard.iter().filter(|(then, to, _)| to == channel && then <= at && at.since(*then) < Span::DAY);
            prop_assert!(day.count() <= Note::MESSAGES_A_DAY);
        }
    }

    #[test]
    fn the_same_facts_are_the_same_messages(history in prop::collection::vec(step(), 1..6)) {
        prop_assert_eq!(live(&history).0, live(&history).0);
    }

    #[test]
    fn a_look_without_news_changes_nothing_and_says_nothing(history in prop::collection::vec(step(), 1..6)) {
        let (_, _, mut ledger) = live(&history);
        let before = ledger.clone();
        ledger.take(&Concerns::default(), &Acks::default(), NOW + Span::days(100), Patience::Watching);
        prop_assert_eq!(ledger, before);
    }
}

#[test]
fn what_was_sent_together_lists_the_first_and_counts_the_rest() {
    let listed = |causes: usize| {
        let mut ledger = Ledger::default();
        let concerns =
            (0..causes).map(|n| concern(&format!("c{n:04}.example"), &format!("x{n:04}"), Gravity::Page));
        ledger.take(&all(concerns.collect()), &Acks::default(), NOW, Patience::Watching);
        let mut due = ledger.due(&channel("mail", Gravity::Notice), HOST, NOW);
        let digest = due.pop().unwrap().message;
        assert_eq!(digest.occasion, Occasion::Digest);
        (digest.count, digest.text)
    };
    let few = listed(Note::PAGES_A_DAY + 2);
    let line = |n: usize| format!("raised page: c{n:04}.example: x{n:04} fails");
    assert_eq!(few, (2, format!("{}\n{}", line(Note::PAGES_A_DAY), line(Note::PAGES_A_DAY + 1))));
    let (count, text) = listed(Note::PAGES_A_DAY + 21);
    assert_eq!((count, text.lines().count()), (21, 21));
    assert_eq!(text.lines().next_back(), Some("and 1 more: nolapse alert list"));
}

#[test]
fn a_channel_is_reminded_of_what_weighs_just_enough_for_it() {
    let mut ledger = Ledger::default();
    let mail = channel("mail", Gravity::Ticket);
    let stands = || vec![concern("a.example", "served/x", Gravity::Ticket)];
    assert_eq!(look(&mut ledger, &mail, stands(), NOW), ["raised ticket"]);
    assert_eq!(look(&mut ledger, &mail, stands(), NOW + TICKET_AGAIN - Span::MINUTE), [""; 0]);
    assert_eq!(look(&mut ledger, &mail, stands(), NOW + TICKET_AGAIN), ["reminder ticket"]);
    let light = vec![concern("b.example", "served/y", Gravity::Notice)];
    assert_eq!(look(&mut Ledger::default(), &mail, light, NOW), [""; 0], "lighter than it wants");
}

#[test]
fn only_an_end_that_nobody_heard_the_beginning_of_says_so() {
    const UNTOLD: &str = "It could not be told before.";
    let mail = channel("mail", Gravity::Notice);
    let texts = |heard: bool| {
        let mut ledger = Ledger::default();
        let stands = all(vec![concern("a.example", "served/x", Gravity::Ticket)]);
        ledger.take(&stands, &Acks::default(), NOW, Patience::Watching);
        let raised = ledger.due(&mail, HOST, NOW);
        if heard {
            ledger.told(&mail.id, &raised[0], NOW);
        }
        for minutes in [1, 10] {
            ledger.take(&all(Vec::new()), &Acks::default(), NOW + Span::minutes(minutes), Patience::Watching);
        }
        let over = ledger.due(&mail, HOST, NOW + Span::minutes(10));
        [&raised, &over].map(|due| due[0].message.text.clone())
    };
    for (heard, says) in [(true, [false, false]), (false, [false, true])] {
        assert_eq!(texts(heard).map(|text| text.contains(UNTOLD)), says, "heard: {heard}");
    }
}
