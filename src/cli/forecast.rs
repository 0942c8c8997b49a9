//! `nolapse forecast`: the planner run forward, over everything that is managed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::agent::Survey;
use crate::cli::args::Forecast;
use crate::cli::{Exit, Stop, print, select};
use crate::core::forecast::{Course, TRIES_MAX, Weather, forecast, tries_left};
use crate::core::name::LineageId;
use crate::core::time::{Interval, Span, Timestamp};
use crate::wire::Places;
use crate::wire::{Role, Wired};

/// Rows that are shown without being asked for, the most endangered first.
const FEW: usize = 12;
/// How long what follows an outage is looked at beyond it.
const AFTERMATH: Span = Span::days(7);
/// Raised when a field of the JSON changes its meaning.
const VERSION: u32 = 1;

pub fn run(places: &Places, asked: &Forecast) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    crate::wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::Reader).await?;
        let scene = wired.agent.scene();
        let ids = select::configured(&scene, &asked.names)?;
        let now = wired.agent.clock.now();
        let weather = weather(asked, now);
        let mut unread = Vec::new();
        let mut outlooks = Vec::with_capacity(ids.len());
        {
            let _belief = wired.agent.believe();
            for id in ids {
                match wired.agent.survey(&id).await {
                    Ok(survey) => outlooks.extend(Outlook::of(&survey, &weather)),
                    Err(failure) => unread.push((id, failure.to_string())),
                }
            }
        }
        if asked.names.is_empty() {
            unread.extend(scene.wanted.broken.iter().map(|(id, why)| (id.clone(), why.clone())));
        }
        outlooks.sort_by_key(Outlook::danger);
        let report = Report::new(&weather, outlooks, unread);
        if asked.json {
            print::json(&report)?;
        } else {
            show(&report, asked.all || !asked.names.is_empty());
        }
        Ok(if report.lapsing > 0 || !report.not_foreseen.is_empty() { Exit::Failed } else { Exit::Fine })
    })
}

fn weather(asked: &Forecast, now: Timestamp) -> Weather {
    let outage = asked.ca_down.map(|span| Interval::new(now, now + span));
    let end = now + Span::days(asked.days.into());
    let end = outage.map_or(end, |outage| end.max(outage.end + AFTERMATH));
    Weather { span: Interval::new(now, end), outage }
}

/// All that is foreseen. Its fields are documented in `docs/guide/forecast.md`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    version: u32,
    at: Timestamp,
    until: Timestamp,
    outage: Option<Interval>,
    renewals: usize,
    lapsing: usize,
    busiest_day: Option<Busiest>,
    lineages: Vec<Outlook>,
    /// Nothing can be said of these, and nothing renews them.
    not_foreseen: Vec<Unforeseen>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Busiest {
    /// The beginning of the day, in UTC.
    day: Timestamp,
    renewals: usize,
}

#[derive(Serialize)]
struct Unforeseen {
    name: LineageId,
    words: String,
}

/// What is foreseen of one lineage.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Outlook {
    name: LineageId,
    expires: Option<Timestamp>,
    renewals: Vec<Timestamp>,
    lapses: Vec<Interval>,
    /// Tries that meet the outage.
    failures: u32,
    least_left_seconds: Option<i64>,
    /// Counted from now, should every one of them fail.
    tries_left: Option<u32>,
    /// The code of what keeps it from being renewed today; the forecast takes it as mended.
    failing: Option<String>,
    paused_until: Option<Timestamp>,
    cut_at: Option<Timestamp>,
}

impl Outlook {
    /// `None` for what left the configuration meanwhile.
    fn of(survey: &Survey, weather: &Weather) -> Option<Self> {
        let spec = survey.spec()?;
        let record = &survey.world.record.value;
        let Course { renewals, failures, lapses, least_left, cut_at } = forecast(spec, record, weather);
        Some(Self {
            name: survey.id.clone(),
            expires: record.leaf().map(|leaf| leaf.not_after),
            renewals,
            lapses,
            failures,
            least_left_seconds: least_left.map(Span::whole_secs),
            tries_left: tries_left(spec, record, weather.span.start),
            failing: record.trouble.as_ref().map(|trouble| trouble.failure.code.clone()),
            paused_until: record
                .pause
                .as_ref()
                .map(|pause| pause.until)
                .filter(|until| *until > weather.span.start),
            cut_at,
        })
    }

    /// What lapses first comes first, then what has the fewest tries left, then what is due first.
    fn danger(&self) -> (bool, Option<Timestamp>, u32, Option<Timestamp>, LineageId) {
        let lapse = self.lapses.first().map(|lapse| lapse.start);
        let next = self.renewals.first().copied();
        (lapse.is_none(), lapse, self.tries_left.unwrap_or(0), next, self.name.clone())
    }

    fn note(&self) -> String {
        let mut notes = Vec::new();
        for lapse in self.lapses.iter().take(1) {
            let long = lapse.length();
            notes.push(format!("LAPSES {} for {long}", lapse.start.brief()));
        }
        if let Some(code) = &self.failing {
            notes.push(format!("failing now [{code}], taken as mended"));
        }
        if let Some(until) = self.paused_until {
            notes.push(format!("paused until {}", until.brief()));
        }
        if let Some(at) = self.cut_at {
            notes.push(format!("followed until {}", at.brief()));
        }
        notes.join("; ")
    }
}

impl Report {
    fn new(weather: &Weather, lineages: Vec<Outlook>, unread: Vec<(LineageId, String)>) -> Self {
        let mut days = BTreeMap::<i64, usize>::new();
        for at in lineages.iter().flat_map(|outlook| &outlook.renewals) {
            *days.entry(at.secs().div_euclid(DAY)).or_default() += 1;
        }
        let busiest = days.iter().max_by_key(|(day, count)| (**count, -**day));
        Self {
            version: VERSION,
            at: weather.span.start,
            until: weather.span.end,
            outage: weather.outage,
            renewals: days.values().sum(),
            lapsing: lineages.iter().filter(|outlook| !outlook.lapses.is_empty()).count(),
            busiest_day: busiest.map(|(day, count)| Busiest {
                day: Timestamp::from_secs(day.saturating_mul(DAY)),
                renewals: *count,
            }),
            lineages,
            not_foreseen: unread.into_iter().map(|(name, words)| Unforeseen { name, words }).collect(),
        }
    }
}

/// Seconds.
const DAY: i64 = 86_400;

fn show(report: &Report, all: bool) {
    let total = report.lineages.len();
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let verdict = match report.lapsing {
        0 => "none lapses".to_owned(),
        some => format!("{some} of them LAPSE"),
    };
    print::line(&format!(
        "forecast  {} to {} UTC: {}, {}, {verdict}",
        report.at.brief(),
        report.until.brief(),
        plural(total, "certificate"),
        plural(report.renewals, "renewal"),
    ));
    if let Some(outage) = report.outage {
        let failures: u64 = report.lineages.iter().map(|outlook| u64::from(outlook.failures)).sum();
        print::line(&format!(
            "      no CA answers until {} UTC: {failures} tries meet that",
            outage.end.brief()
        ));
    }
    let mut parts = Vec::new();
    let next = report.lineages.iter().filter_map(|o| Some((o.renewals.first()?, &o.name))).min();
    if let Some((at, name)) = next {
        parts.push(format!("next renewal {name} {}", at.brief()));
    }
    if let Some(busiest) = report.busiest_day.as_ref().filter(|_| report.renewals > 1) {
        let day = busiest.day.brief();
        let day = day.rsplit_once(' ').map_or(&*day, |(day, _)| day);
        parts.push(format!("busiest day {day} with {}", plural(busiest.renewals, "renewal")));
    }
    let least = report.lineages.iter().filter_map(|o| Some((o.least_left_seconds?, &o.name))).min();
    if let Some((left, name)) = least {
        parts.push(format!("least left at a renewal {}, {name}", Span::secs(left)));
    }
    if total > FEW && !all {
        parts.push("--all lists every row".into());
    }
    if !parts.is_empty() {
        print::line(&format!("      {}", parts.join(" · ")));
    }
    let shown = report
        .lineages
        .iter()
        .enumerate()
        .filter(|(at, outlook)| all || *at < FEW || !outlook.lapses.is_empty());
    let mut rows = vec![["NAME", "EXPIRES", "RENEWS", "TRIES", "NOTE"].map(ToOwned::to_owned).to_vec()];
    let date = |at: Option<&Timestamp>| at.map_or_else(|| "—".to_owned(), |at| at.brief());
    rows.extend(shown.map(|(_, outlook)| {
        let tries = match outlook.tries_left {
            Some(tries) if tries >= TRIES_MAX => format!("{TRIES_MAX}+"),
            Some(tries) => tries.to_string(),
            None => "—".to_owned(),
        };
        let expires = date(outlook.expires.as_ref());
        vec![outlook.name.to_string(), expires, date(outlook.renewals.first()), tries, outlook.note()]
    }));
    if rows.len() > 1 {
        print::table(&rows);
    }
    for unforeseen in &report.not_foreseen {
        print::line(&format!("  {}: not foreseen, and not renewed: {}", unforeseen.name, unforeseen.words));
    }
}
