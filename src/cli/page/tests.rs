use super::*;
use crate::cli::report::{Place, Rungs, Seen, Woe};
use crate::core::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn line(name: &str, days: i64) -> Line {
    Line {
        severity: Severity::Ok,
        standing: "observed".into(),
        issuer: Some("letsencrypt".into()),
        rungs: Rungs { issued: true, installed: true, reloaded: true, observed: Some(true) },
        renews_at: Some(NOW + Span::days(days / 2)),
        headroom_seconds: Some(days * 86_400),
        notes: Vec::new(),
        advice: None,
        advice_code: None,
        ..Line::broken(name, "")
    }
}

fn page(lines: Vec<Line>) -> String {
    render(&Report::new(NOW, lines))
}

#[test]
fn all_is_well_and_the_page_says_so() {
    let html = page(vec![line("a.example", 60), line("b.example", 30)]);
    for words in [
        "2 certificates, 2 observed as installed",
        "class=\"badge\">OK<",
        "Tightest: b.example, 30 d left.",
        "observed ✓",
        "letsencrypt</strong>: 2 certificates, the last try of each went well",
        "2 renewals within 60 d",
    ] {
        assert!(html.contains(words), "{words} in {html}");
    }
    assert!(!html.contains("What needs a look"), "{html}");
}

#[test]
fn what_is_owed_stands_first_with_its_one_next_step() {
    let mut owing = line("mail.example", 9);
    owing.severity = Severity::Warning;
    owing.rungs.observed = Some(false);
    owing.notes = vec!["1 endpoint without the installed certificate".into()];
    owing.advice = Some("restart the stray process".into());
    owing.advice_code = Some("served-old".into());
    owing.endpoints = vec![Place {
        endpoint: "smtp://127.0.0.1:25".into(),
        sight: Some("old".into()),
        owed: true,
        served: None::<Seen>,
        at: None,
        next_at: None,
        words: Some("postfix".into()),
        code: None,
        accepted: false,
        tally: None,
        flaws: Vec::new(),
    }];
    owing.trouble = Some(Woe {
        code: "ca-down".into(),
        words: "no answer".into(),
        fault: "CA".into(),
        name: None,
        count: 2,
        since: NOW,
        next_at: NOW,
    });
    let html = page(vec![line("a.example", 60), owing]);
    for words in [
        "1 of 2 certificates need a look",
        "observed ✗",
        "smtp://127.0.0.1:25 OLD (postfix)",
        "Do: restart the stray process [served-old]",
        "1 of 2 certificates fail",
        "[ca-down]",
    ] {
        assert!(html.contains(words), "{words} in {html}");
    }
}

#[test]
fn t09_no_text_from_outside_becomes_markup() {
    let mut hostile = line("a.example", 60);
    hostile.severity = Severity::Critical;
    let evil = "<script>alert(1)</script>\" onload='x' &amp;";
    hostile.notes = vec![evil.into()];
    hostile.advice = Some(evil.into());
    hostile.issuer = Some(evil.into());
    hostile.standing = evil.into();
    hostile.name = evil.into();
    let html = page(vec![hostile]);
    assert!(!html.contains("<script") && !html.contains("onload='") && !html.contains("\" onload"), "{html}");
    assert!(html.contains("&lt;script&gt;"));
}

#[test]
fn what_nobody_manages_stands_there_too() {
    use crate::core::gravity::Gravity;
    let bought = watched::Line {
        watch: "bought".into(),
        place: "/etc/ssl/<shop>.pem".into(),
        severity: Severity::Critical,
        names: vec!["shop.example".into()],
        fingerprint: None,
        not_before: None,
        not_after: Some(NOW + Span::days(5)),
        headroom_seconds: Some(5 * 86_400),
        percent_left: Some(0),
        seen_at: NOW,
        blemishes: vec![watched::Blemish {
            code: "ends-soon".into(),
            gravity: Gravity::Page,
            words: "it ends in 5 d".into(),
            advice: "renew it".into(),
        }],
    };
    let html = render(&Report::new(NOW, vec![line("a.example", 60)]).beside(vec![bought]));
    for words in [
        "class=\"badge\">CRIT<",
        "1 watched place, 1 needs a look",
        "/etc/ssl/&lt;shop&gt;.pem",
        "page: it ends in 5 d [ends-soon]",
        "shop.example: ends in 5 d<",
    ] {
        assert!(html.contains(words), "{words} in {html}");
    }
}

#[test]
fn nothing_comes_from_elsewhere() {
    let html = page(vec![line("a.example", 60)]);
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("<img"), "{html}");
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
}

#[test]
fn ten_thousand_certificates_make_a_page_that_a_phone_can_load() {
    let lines = (0..10_000).map(|n| {
        let mut line = line(&format!("host-{n:05}.example.com"), 1 + n % 90);
        line.severity = if n % 3 == 0 { Severity::Warning } else { Severity::Ok };
        line
    });
    let html = page(lines.collect());
    assert!(html.len() < 600_000, "{} bytes", html.len());
    assert!(html.contains("… and 9500 more"), "the rest is counted");
    assert!(html.contains("10000 certificates need a look"));
}

#[test]
fn empty_ended_and_far_away_ones_are_drawn_too() {
    assert!(page(Vec::new()).contains("no certificate is managed here"));
    let html = page(vec![line("gone.example", -3), line("far.example", 100_000)]);
    assert!(html.contains("gone.example: has ended") && html.contains("far.example: ends in"), "{html}");
}
