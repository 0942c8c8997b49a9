//! What the world is told: log lines, metrics, health answers and the service manager. None of
//! them can hold the agent up or make it fail.

pub mod health;
pub mod line;
pub mod log;
mod log_sink;
pub mod metrics;
pub mod page;
pub mod pulse;
pub mod quota;
pub mod serve;
pub mod supervisor;
pub mod textfile;

use std::sync::{Arc, Mutex, PoisonError};

use crate::core::census::Census;
use crate::core::event::Event;
use crate::core::time::Timestamp;
use crate::ports::Sink;

use self::health::Health;
use self::log::LogSink;
use self::metrics::Metrics;
use self::pulse::Pulse;
use self::supervisor::Supervisor;

/// The wall clock, handed in, so that tests bring their own.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// All of it for one process. As a [`Sink`] it logs and counts events.
pub struct Telemetry {
    pub pulse: Arc<Pulse>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub supervisor: Arc<Supervisor>,
    now: Now,
    latest: Mutex<Option<Arc<Census>>>,
}

impl Telemetry {
    pub fn new(version: &str, now: &Now) -> Self {
        let pulse = Arc::new(Pulse::default());
        Self {
            metrics: Arc::new(Metrics::new(version, now.clone())),
            health: Arc::new(Health::new(pulse.clone(), now.clone())),
            supervisor: Arc::new(Supervisor::of_process(pulse.clone(), now.clone())),
            pulse,
            now: now.clone(),
            latest: Mutex::default(),
        }
    }

    /// Where the loop is: what it counted, and when it promises to move again. A census that
    /// was passed on before is not looked at again.
    pub fn report(&self, census: &Arc<Census>, next_wake: Timestamp) {
        self.pulse.beat(next_wake.since((self.now)()));
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.as_ref().is_some_and(|known| known.at == census.at && known.rows.len() == census.rows.len())
        {
            return;
        }
        self.metrics.set(census.clone());
        self.health.set(census.clone());
        self.supervisor.set(census);
        *latest = Some(census.clone());
    }
}

impl Sink for Telemetry {
    fn take(&self, event: &Event) {
        LogSink.take(event);
        self.metrics.take(event);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::census::{Row, Standing};
    use crate::core::name::LineageId;
    use crate::core::time::Span;

    #[tokio::test(start_paused = true)]
    async fn one_report_reaches_everyone() {
        let start = Timestamp::from_secs(1_800_000_000);
        let telemetry = Telemetry::new("1.2.3", &(Arc::new(move || start) as Now));
        assert!(!telemetry.health.ready().ok);
        let row = Row {
            lineage: LineageId::parse("a.example").unwrap(),
            issuer: None,
            not_after: Some(start + Span::DAY),
            served_until: None,
            owed: 0,
            mismatched: 0,
            standing: Standing::Unverified,
            trouble: None,
            plight: None,
        };
        telemetry.report(&Arc::new(Census::of(start, vec![row])), start + Span::HOUR);
        assert!(telemetry.health.ready().ok);
        assert!(telemetry.metrics.open_metrics().contains("nolapse_lineages 1"));
        tokio::time::advance((Span::HOUR + Pulse::GRACE + Span::secs(1)).to_std()).await;
        assert!(!telemetry.health.live().ok, "the promise was an hour");
        let later = Census::of(start + Span::HOUR, Vec::new());
        telemetry.report(&Arc::new(later), start + Span::HOUR);
        assert!(telemetry.health.live().ok);
        assert!(telemetry.metrics.open_metrics().contains("nolapse_lineages 0"));
    }
}
