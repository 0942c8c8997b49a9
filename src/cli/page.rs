//! The status page: a [`Report`] as one document that needs nothing but its style sheet.

mod markup;
mod press;
mod timeline;

use std::collections::BTreeMap;

pub use self::press::press;

use self::markup::Html;
use crate::cli::report::{Line, Report, Severity};
use crate::cli::watched;
use crate::core::time::Span;

/// The style sheet, served beside the page.
pub const STYLE: &str = include_str!("page/style.css");

/// Rows of the list of certificates, the worst first; the rest is counted.
const ROWS_MAX: usize = 500;
/// Names of one certificate that is watched.
const NAMES_MAX: usize = 3;
/// Certificates that are told of in full because they need a look.
const CARDS_MAX: usize = 50;
/// Seconds after which a browser asks again.
const REFRESH: u32 = 60;

/// The page of a report.
pub fn render(report: &Report) -> String {
    let mut page = Html::default();
    page.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.raw(&format!("<meta http-equiv=\"refresh\" content=\"{REFRESH}\">"));
    page.raw("<link rel=\"stylesheet\" href=\"status.css\">");
    page.element("title", "", &format!("nolapse: {}", verdict(report)));
    page.raw("</head><body>");
    head(&mut page, report);
    page.raw("<main>");
    cards(&mut page, report);
    timeline::draw(&mut page, report);
    certificates(&mut page, report);
    watched(&mut page, report);
    issuers(&mut page, report);
    page.raw("</main><footer>");
    page.text(&format!(
        "nolapse {} · as of {} UTC · asks again every {REFRESH} s",
        env!("CARGO_PKG_VERSION"),
        report.at.brief()
    ));
    page.raw("</footer></body></html>\n");
    page.finish()
}

fn verdict(report: &Report) -> String {
    let total = report.lineages.len();
    let bad = report.lineages.iter().filter(|line| line.severity > Severity::Ok).count();
    let noun = if total == 1 { "certificate" } else { "certificates" };
    let foreign = report.watched.iter().filter(|line| line.severity > Severity::Ok).count();
    match (total, bad) {
        (_, 0) if foreign > 0 => watched::summary(&report.watched),
        (0, _) if !report.watched.is_empty() => watched::summary(&report.watched),
        (0, _) => "no certificate is managed here".into(),
        (_, 0) => {
            let observed = report.lineages.iter().filter(|line| line.rungs.observed == Some(true)).count();
            format!("{total} {noun}, {observed} observed as installed")
        }
        (1, _) => "1 of 1 certificate needs a look".into(),
        _ => format!("{bad} of {total} {noun} need a look"),
    }
}

fn head(page: &mut Html, report: &Report) {
    page.raw(&format!("<header class=\"{}\">", class(report.severity)));
    page.element("span", "badge", word(report.severity));
    page.element("h1", "", &verdict(report));
    let next = report.lineages.iter().filter_map(|line| Some((line.renews_at?, &line.name))).min();
    let tightest = report.lineages.iter().filter_map(|line| Some((line.headroom_seconds?, &line.name))).min();
    page.raw("<p>");
    if let Some((at, name)) = next {
        page.text(&format!("Next renewal: {name}, {} UTC. ", at.brief()));
    }
    if let Some((left, name)) = tightest {
        page.text(&format!("Tightest: {name}, {} left.", Span::secs(left)));
    }
    page.raw("</p></header>");
}

fn cards(page: &mut Html, report: &Report) {
    let bad: Vec<_> = report.lineages.iter().filter(|line| line.severity > Severity::Ok).collect();
    if bad.is_empty() {
        return;
    }
    page.raw("<section id=\"owed\">");
    page.element("h2", "", "What needs a look");
    for line in bad.iter().take(CARDS_MAX) {
        page.raw(&format!("<article class=\"{}\">", class(line.severity)));
        page.element("h3", "", &line.name);
        ladder(page, line);
        if !line.notes.is_empty() {
            page.raw("<ul>");
            for note in &line.notes {
                page.element("li", "", note);
            }
            page.raw("</ul>");
        }
        for place in line.endpoints.iter().filter(|place| place.owed) {
            let sight = place.sight.as_deref().unwrap_or("not looked at").to_uppercase();
            let words = place.words.as_ref().map(|words| format!(" ({words})")).unwrap_or_default();
            page.element("p", "seen", &format!("{} {sight}{words}", place.endpoint));
        }
        if let Some(woe) = &line.trouble {
            let told = format!("Next try {} UTC. Fault: {} [{}]", woe.next_at.brief(), woe.fault, woe.code);
            page.element("p", "seen", &told);
        }
        if let Some(advice) = &line.advice {
            let code = line.advice_code.as_ref().map(|code| format!(" [{code}]")).unwrap_or_default();
            page.element("p", "do", &format!("Do: {advice}{code}"));
        }
        page.raw("</article>");
    }
    more(page, bad.len(), CARDS_MAX);
    page.raw("</section>");
}

fn certificates(page: &mut Html, report: &Report) {
    page.raw("<section id=\"certificates\">");
    page.element("h2", "", "Certificates");
    page.raw("<table><thead><tr><th>Name<th>How far<th>Left<th>Renews (UTC)<th>Issuer</thead><tbody>");
    for line in report.lineages.iter().take(ROWS_MAX) {
        page.raw(&format!("<tr class=\"{}\"><th scope=\"row\">", class(line.severity)));
        page.text(&line.name);
        page.raw("<td data-is=\"How far\">");
        ladder(page, line);
        let left = line.headroom_seconds.map_or_else(|| "—".to_owned(), |left| Span::secs(left).to_string());
        page.raw("<td data-is=\"Left\">");
        page.text(&left);
        page.raw("<td data-is=\"Renews\">");
        page.text(&line.renews_at.map_or_else(|| "—".to_owned(), crate::core::time::Timestamp::brief));
        page.raw("<td data-is=\"Issuer\">");
        page.text(line.issuer.as_deref().unwrap_or("—"));
    }
    page.raw("</table>");
    more(page, report.lineages.len(), ROWS_MAX);
    page.raw("</section>");
}

/// The rungs, each with a mark that does not rest on its colour.
fn ladder(page: &mut Html, line: &Line) {
    page.raw("<span class=\"ladder\">");
    let special = ["retired", "broken", "unreadable", "absent", "placeholder"];
    if special.contains(&line.standing.as_str()) {
        page.element("span", "rung no", &line.standing);
    } else {
        let rungs = [
            ("issued", Some(line.rungs.issued)),
            ("installed", Some(line.rungs.installed)),
            ("reloaded", Some(line.rungs.reloaded)),
            ("observed", line.rungs.observed),
        ];
        for (word, done) in rungs {
            match done {
                Some(true) => page.element("span", "rung yes", &format!("{word} ✓")),
                Some(false) => page.element("span", "rung no", &format!("{word} ✗")),
                None => page.element("span", "rung", "unverified"),
            }
        }
    }
    page.raw("</span>");
}

/// What somebody else renews, or nobody.
fn watched(page: &mut Html, report: &Report) {
    if report.watched.is_empty() {
        return;
    }
    page.raw("<section id=\"watched\">");
    page.element("h2", "", "Watched, not managed");
    page.element("p", "more", &watched::summary(&report.watched));
    page.raw("<table><thead><tr><th>Place<th>Names<th>Left<th>Ends (UTC)<th>Wrong</thead><tbody>");
    for line in report.watched.iter().take(ROWS_MAX) {
        page.raw(&format!("<tr class=\"{}\"><th scope=\"row\">", class(line.severity)));
        page.text(&line.place);
        page.raw("<td data-is=\"Names\">");
        page.text(&line.names.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(" "));
        page.raw("<td data-is=\"Left\">");
        page.text(&line.headroom_seconds.map_or_else(|| "—".to_owned(), |left| Span::secs(left).to_string()));
        page.raw("<td data-is=\"Ends\">");
        page.text(&line.not_after.map_or_else(|| "—".to_owned(), crate::core::time::Timestamp::brief));
        page.raw("<td data-is=\"Wrong\">");
        if line.blemishes.is_empty() {
            page.text("nothing");
        }
        for blemish in &line.blemishes {
            let words = format!("{}: {} [{}]", blemish.gravity, blemish.words, blemish.code);
            page.element("div", if line.severity > Severity::Ok { "wrong" } else { "" }, &words);
        }
    }
    page.raw("</table>");
    more(page, report.watched.len(), ROWS_MAX);
    page.raw("</section>");
}

/// CAs as their customers find them.
fn issuers(page: &mut Html, report: &Report) {
    let mut issuers = BTreeMap::<&str, (usize, Vec<&Line>)>::new();
    for line in &report.lineages {
        let Some(issuer) = &line.issuer else { continue };
        let (count, failing) = issuers.entry(issuer).or_default();
        *count += 1;
        if line.trouble.is_some() {
            failing.push(line);
        }
    }
    if issuers.is_empty() {
        return;
    }
    page.raw("<section id=\"issuers\">");
    page.element("h2", "", "CAs");
    page.raw("<ul>");
    for (issuer, (count, failing)) in issuers {
        page.raw(if failing.is_empty() { "<li>" } else { "<li class=\"warning\">" });
        page.element("strong", "", issuer);
        let noun = if count == 1 { "certificate" } else { "certificates" };
        let latest = failing.iter().filter_map(|line| line.trouble.as_ref()).max_by_key(|woe| woe.since);
        page.text(&match latest {
            None => format!(": {count} {noun}, the last try of each went well"),
            Some(woe) => format!(
                ": {} of {count} {noun} fail, the latest since {} UTC. Fault: {} [{}]",
                failing.len(),
                woe.since.brief(),
                woe.fault,
                woe.code
            ),
        });
        page.raw("</li>");
    }
    page.raw("</ul></section>");
}

fn more(page: &mut Html, total: usize, most: usize) {
    if total > most {
        page.element("p", "more", &format!("… and {} more: nolapse status --all", total - most));
    }
}

const fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "OK",
        Severity::Warning => "WARN",
        Severity::Critical => "CRIT",
    }
}

#[cfg(test)]
mod tests;
