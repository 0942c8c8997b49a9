//! Numbers for Prometheus: what is true of each lineage, and what was tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::Now;
use crate::core::census::{Census, Row};
use crate::core::event::Event;
use crate::core::failure::Class;
use crate::core::gravity::Gravity;
use crate::core::name::LineageId;
use crate::core::time::Timestamp;
use crate::core::watched::Watched;
use crate::ports::Sink;

/// What `/metrics` and the textfile show.
///
/// Labels are lineages and issuers of the configuration and our own codes: nothing remote, so
/// the number of series is bounded by the configuration and by [`Metrics::CODES_MAX`].
pub struct Metrics {
    registry: Registry,
    shared: Arc<Shared>,
    attempts: Family<AttemptLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    alerts: Family<AlertLabels, Gauge>,
    labels: Mutex<Labels>,
}

impl Metrics {
    /// Lineages shown one by one; all are counted.
    pub const LINEAGES_MAX: usize = 20_000;
    /// Watched places shown one by one; all are counted.
    pub const WATCHED_MAX: usize = 5_000;
    /// Different issuers and failure codes; further ones count as `other`.
    pub const CODES_MAX: usize = 64;

    pub fn new(version: &str, now: Now) -> Self {
        let shared = Arc::new(Shared { census: Mutex::default(), now });
        let (attempts, failures) = (Family::default(), Family::default());
        let mut registry = Registry::with_prefix("nolapse");
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: version.to_owned() }).set(1);
        registry.register("build_info", "Which nolapse this is; always 1", build);
        registry.register("attempts", "Attempts to obtain a certificate that ended", attempts.clone());
        registry.register("failures", "Failures by what the scheduler makes of them", failures.clone());
        let alerts = Family::default();
        registry.register("alerts", "Alerts that stand and nobody has acknowledged", alerts.clone());
        registry.register_collector(Box::new(PerLineage(shared.clone())));
        Self { registry, shared, attempts, failures, alerts, labels: Mutex::default() }
    }

    /// Takes the state after a pass.
    pub fn set(&self, census: Arc<Census>) {
        *self.shared.census.lock().unwrap_or_else(PoisonError::into_inner) = Some(census);
    }

    /// How many alerts of each gravity stand, the lightest first.
    pub fn set_alerts(&self, standing: [usize; 3]) {
        for (gravity, count) in [Gravity::Notice, Gravity::Ticket, Gravity::Page].into_iter().zip(standing) {
            let gauge = self.alerts.get_or_create(&AlertLabels { gravity: gravity.word() });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// In `OpenMetrics` 1.0, for the HTTP endpoint.
    pub fn open_metrics(&self) -> String {
        let mut text = String::new();
        // Only a full memory makes writing to a String fail, and that aborts.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// In Prometheus's older text format, which `node_exporter`'s textfile collector wants: there
    /// a counter's type stands under its full name, and there is no end mark.
    pub fn textfile(&self) -> String {
        let mut text = String::new();
        for line in self.open_metrics().lines() {
            let described = line.strip_prefix("# TYPE ").or_else(|| line.strip_prefix("# HELP "));
            match described.and_then(|rest| rest.split_once(' ')) {
                Some((name, rest)) if matches!(name, "nolapse_attempts" | "nolapse_failures") => {
                    text.extend([&line[.."# TYPE ".len()], name, "_total ", rest]);
                }
                _ if line == "# EOF" => continue,
                _ => text.push_str(line),
            }
            text.push('\n');
        }
        text
    }

    fn count_attempt(&self, lineage: &LineageId, outcome: &'static str) {
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        let issuer = labels.asked.remove(lineage).or_else(|| self.shared.issuer(lineage));
        let issuer = labels.bounded(issuer.as_deref().unwrap_or("unknown"));
        self.attempts.get_or_create(&AttemptLabels { issuer, outcome: outcome.to_owned() }).inc();
    }

    fn count_failure(&self, class: &'static str, code: &str) {
        let code = self.labels.lock().unwrap_or_else(PoisonError::into_inner).bounded(code);
        self.failures.get_or_create(&FailureLabels { class: class.to_owned(), code }).inc();
    }
}

impl Sink for Metrics {
    fn take(&self, event: &Event) {
        match event {
            Event::AttemptStarted { lineage, issuer, .. } => {
                let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
                if labels.asked.len() < Self::LINEAGES_MAX {
                    labels.asked.insert(lineage.clone(), issuer.clone());
                }
            }
            Event::Issued { lineage, .. } => self.count_attempt(lineage, "issued"),
            Event::AttemptFailed { lineage, failure, .. } => {
                let class = word(failure.class);
                self.count_attempt(lineage, class);
                self.count_failure(class, &failure.code);
            }
            Event::HookFailed { .. } => self.count_failure("transient", "hook-failed"),
            Event::AroundFailed { .. } => self.count_failure("transient", "around-failed"),
            Event::Foreseen { .. } => self.count_failure("transient", "foreseen"),
            Event::AnswerUnseen { .. } => self.count_failure("transient", "answer-unseen"),
            Event::CleanUpFailed { .. } => self.count_failure("transient", "clean-up-failed"),
            Event::RolledBack { .. } => self.count_failure("refused", "rolled-back"),
            Event::Quarantined { .. } => self.count_failure("broken", "state-damaged"),
            Event::TickFailed { .. } => self.count_failure("broken", "tick-failed"),
            Event::Decided { .. }
            | Event::Ordered { .. }
            | Event::Installed { .. }
            | Event::HookDone { .. }
            | Event::Observed { .. }
            | Event::ForeignFound { .. }
            | Event::HeldBack { .. }
            | Event::Pinned { .. }
            | Event::Unpinned { .. }
            | Event::Retired { .. } => {}
        }
    }
}

const fn word(class: Class) -> &'static str {
    match class {
        Class::Transient => "transient",
        Class::Limited { .. } => "limited",
        Class::Refused => "refused",
        Class::Broken => "broken",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    gravity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    issuer: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    class: String,
    code: String,
}

/// Label values given out so far, and who is being asked for what.
#[derive(Default)]
struct Labels {
    known: BTreeSet<String>,
    asked: BTreeMap<LineageId, String>,
}

impl Labels {
    /// `value`, or `other` where it is no slug or there are too many. The encoder does not
    /// escape, so quotes must not come this far.
    fn bounded(&mut self, value: &str) -> String {
        const OTHER: &str = "other";
        let slug = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if value.is_empty() || value.len() > 200 || !value.chars().all(slug) {
            return OTHER.to_owned();
        }
        if !self.known.contains(value) {
            // Issuers and codes share the set: twice the bound holds both.
            if self.known.len() >= 2 * Metrics::CODES_MAX {
                return OTHER.to_owned();
            }
            self.known.insert(value.to_owned());
        }
        value.to_owned()
    }
}

/// What the collector reads at each scrape, so that a lineage that is gone leaves no series.
struct Shared {
    census: Mutex<Option<Arc<Census>>>,
    now: Now,
}

impl Shared {
    fn latest(&self) -> Option<Arc<Census>> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn issuer(&self, lineage: &LineageId) -> Option<String> {
        let census = self.latest()?;
        let row = census.rows.iter().find(|row| row.lineage == *lineage)?;
        row.issuer.as_ref().map(ToString::to_string)
    }
}

struct PerLineage(Arc<Shared>);

impl fmt::Debug for PerLineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerLineage")
    }
}

type Value<'a> = &'a dyn Fn(&Row) -> Option<f64>;

impl Collector for PerLineage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(census) = self.0.latest() else { return Ok(()) };
        let now = (self.0.now)();
        one(
            &mut encoder,
            "last_tick_timestamp_seconds",
            "When the last pass ended",
            seconds(census.at.millis()),
        )?;
        one(
            &mut encoder,
            "lineages",
            "Managed certificates, retired ones included",
            census.rows.len() as f64,
        )?;
        let gauges: [(&str, &str, Value<'_>); 4] = [
            ("certificate_not_after_timestamp_seconds", "End of the installed certificate", &|row| {
                row.not_after.map(|end| seconds(end.millis()))
            }),
            (
                "certificate_headroom_seconds",
                "Time until clients see an expired certificate, installed or served; negative after it",
                &|row| row.headroom(now).map(|left| seconds(left.millis())),
            ),
            ("deployments_owed", "Hooks not yet told about the installed certificate", &|row| {
                Some(f64::from(row.owed))
            }),
            ("observed_mismatch", "Endpoints last seen without the installed certificate", &|row| {
                Some(f64::from(row.mismatched))
            }),
        ];
        for (name, help, value) in gauges {
            let kind = ConstGauge::new(0.0).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for row in census.rows.iter().take(Metrics::LINEAGES_MAX) {
                if let Some(value) = value(row) {
                    let labels = [("lineage", row.lineage.as_str())];
                    ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        watched(&mut encoder, &census, now)
    }
}

type WatchedValue<'a> = &'a dyn Fn(&Watched) -> Option<f64>;

/// What is watched, by watch and place.
fn watched(encoder: &mut DescriptorEncoder<'_>, census: &Census, now: Timestamp) -> fmt::Result {
    one(encoder, "watched", "Places that are watched and not managed", census.watched.len() as f64)?;
    let shown = || census.watched.iter().take(Metrics::WATCHED_MAX);
    let gauges: [(&str, &str, WatchedValue<'_>); 2] = [
        (
            "watched_not_after_timestamp_seconds",
            "First end among the watched certificate and its chain",
            &|found| found.ends.map(|end| seconds(end.millis())),
        ),
        ("watched_headroom_seconds", "Time until that end; negative after it", &|found| {
            found.headroom(now).map(|left| seconds(left.millis()))
        }),
    ];
    let kind = ConstGauge::new(0.0).metric_type();
    for (name, help, value) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for found in shown() {
            if let Some(value) = value(found) {
                let place = label(&found.place);
                let labels = [("watch", found.watch.as_str()), ("place", place.as_str())];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    let help = "What is wrong with the watched certificate, by how much it should disturb";
    let mut family = encoder.encode_descriptor("watched_blemishes", help, None, kind)?;
    for found in shown() {
        let place = label(&found.place);
        for gravity in [Gravity::Notice, Gravity::Ticket, Gravity::Page] {
            let count = found.blemishes.iter().filter(|blemish| blemish.gravity == gravity).count();
            let labels =
                [("watch", found.watch.as_str()), ("place", place.as_str()), ("gravity", gravity.word())];
            ConstGauge::new(count as f64).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// A path may hold anything, and the encoder does not escape.
fn label(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '"' | '\\') || c.is_control() { '_' } else { c }).collect()
}

fn one(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::census::Standing;
    use crate::core::failure::{Failure, Fault};
    use crate::core::name::{IssuerId, WatchId};
    use crate::core::time::Span;
    use crate::core::watched::Blemish;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn metrics() -> Metrics {
        Metrics::new("1.2.3", Arc::new(|| NOW))
    }

    fn row(name: &str, left: Option<Span>) -> Row {
        Row {
            lineage: LineageId::parse(name).unwrap(),
            issuer: IssuerId::parse("letsencrypt").ok(),
            not_after: left.map(|left| NOW + left),
            served_until: None,
            owed: 1,
            mismatched: 2,
            standing: Standing::Installed,
            trouble: None,
            plight: None,
        }
    }

    fn failed(code: &str) -> Event {
        Event::AttemptFailed {
            lineage: LineageId::parse("a.example").unwrap(),
            failure: Failure::transient(Fault::Ca, code, "no"),
            count: 1,
            next_at: NOW,
        }
    }

    #[test]
    fn a_scrape_shows_every_promised_series() {
        let metrics = metrics();
        let rows = vec![row("a.example", Some(Span::days(2))), row("b.example", None)];
        metrics.set(Arc::new(Census::of(NOW - Span::secs(5), rows)));
        metrics.take(&failed("ca-down"));
        let text = metrics.open_metrics();
        for line in [
            r#"nolapse_build_info{version="1.2.3"} 1"#,
            "nolapse_last_tick_timestamp_seconds 1799999995.0",
            "nolapse_lineages 2.0",
            r#"nolapse_certificate_not_after_timestamp_seconds{lineage="a.example"} 1800172800.0"#,
            r#"nolapse_certificate_headroom_seconds{lineage="a.example"} 172800.0"#,
            r#"nolapse_deployments_owed{lineage="b.example"} 1.0"#,
            r#"nolapse_observed_mismatch{lineage="b.example"} 2.0"#,
            r#"nolapse_attempts_total{issuer="letsencrypt",outcome="transient"} 1"#,
            r#"nolapse_failures_total{class="transient",code="ca-down"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains(r#"not_after_timestamp_seconds{lineage="b.example"}"#), "no pair, no date");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_is_watched_stands_beside_what_is_managed() {
        let metrics = metrics();
        let blemish = Blemish {
            code: "ends-soon",
            gravity: Gravity::Ticket,
            words: "it ends".into(),
            advice: "renew it".into(),
        };
        let watched = Watched {
            watch: WatchId::parse("bought").unwrap(),
            place: "/etc/ssl/a\"} 1\nforged.pem".into(),
            seen_at: NOW,
            names: Vec::new(),
            fingerprint: None,
            begins: Some(NOW - Span::DAY),
            ends: Some(NOW + Span::DAY),
            blemishes: vec![blemish],
        };
        metrics.set(Arc::new(Census { watched: vec![watched], ..Census::of(NOW, Vec::new()) }));
        let text = metrics.open_metrics();
        for line in [
            "nolapse_watched 1.0",
            r#"nolapse_watched_headroom_seconds{watch="bought",place="/etc/ssl/a_} 1_forged.pem"} 86400.0"#,
            r#"nolapse_watched_blemishes{watch="bought",place="/etc/ssl/a_} 1_forged.pem",gravity="ticket"} 1.0"#,
            r#"nolapse_watched_blemishes{watch="bought",place="/etc/ssl/a_} 1_forged.pem",gravity="page"} 0.0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_lineage_that_is_forgotten_leaves_no_series() {
        let metrics = metrics();
        metrics.set(Arc::new(Census::of(NOW, vec![row("a.example", None)])));
        metrics.set(Arc::new(Census::of(NOW, Vec::new())));
        assert!(!metrics.open_metrics().contains("a.example"));
    }

    #[test]
    fn the_issuer_that_was_asked_is_the_one_that_is_counted() {
        let metrics = metrics();
        metrics.set(Arc::new(Census::of(NOW, vec![row("a.example", None)])));
        metrics.take(&Event::AttemptStarted {
            lineage: LineageId::parse("a.example").unwrap(),
            issuer: "fallback".into(),
            names: Vec::new(),
        });
        metrics.take(&failed("ca-down"));
        let line = r#"nolapse_attempts_total{issuer="fallback",outcome="transient"} 1"#;
        assert!(metrics.open_metrics().contains(line));
    }

    #[test]
    fn labels_cannot_explode_nor_break_the_format() {
        let metrics = metrics();
        for number in 0..1000 {
            metrics.take(&failed(&format!("code-{number}")));
        }
        metrics.take(&failed("evil\"} 1\nnolapse_forged 1"));
        let text = metrics.open_metrics();
        let codes = text.lines().filter(|line| line.starts_with("nolapse_failures_total")).count();
        assert!(codes <= 2 * Metrics::CODES_MAX + 1, "{codes}");
        assert!(!text.contains("forged"));
        assert!(text.contains(r#"code="other""#));
    }

    #[test]
    fn the_textfile_names_counters_in_full_and_has_no_end_mark() {
        let metrics = metrics();
        metrics.take(&failed("ca-down"));
        let text = metrics.textfile();
        assert!(text.contains("# TYPE nolapse_attempts_total counter\nnolapse_attempts_total{"), "{text}");
        assert!(text.contains("# HELP nolapse_failures_total "));
        assert!(!text.contains("EOF"));
        assert!(text.ends_with('\n'));
    }
}
