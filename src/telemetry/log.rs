//! Where `tracing` goes: to standard error, one bounded and rate-limited line an event.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::Now;
use super::line::{Fields, Line};
use super::quota::{Quota, Subject};
use crate::core::time::Timestamp;

pub use super::line::Format;
pub use super::log_sink::LogSink;

/// Why logging did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("{0:?} is no log level; write error, warn, info, debug, trace, or target=level pairs")]
    BadFilter(String),
    #[error("logging was started before in this process")]
    Started,
}

/// Sends this process's events to standard error.
///
/// `filter` is one level for nolapse (libraries then speak from `warn` up), or a list such as
/// `info,rustls=debug`.
pub fn start(format: Format, filter: &str, now: Now) -> Result<(), LogError> {
    let filter = targets(filter)?;
    let lines = Lines::new(format, now, Box::new(std::io::stderr()));
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().map_err(|_| LogError::Started)
}

impl Format {
    /// `Journal` when standard error really is the journal, as `JOURNAL_STREAM` says it would
    /// be: a redirected stream inherits the variable too, so the numbers are compared.
    pub fn of_stderr() -> Self {
        let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        match rustix::fs::fstat(std::io::stderr()) {
            Ok(stat) if stream == format!("{}:{}", stat.st_dev, stat.st_ino) => Self::Journal,
            _ => Self::Text,
        }
    }
}

fn targets(filter: &str) -> Result<Targets, LogError> {
    let bad = || LogError::BadFilter(filter.chars().take(Fields::VALUE_MAX).collect());
    // The empty text parses as a level, and `Targets` takes any lone word for a target's name:
    // either way a slip would silence all.
    let level = |text: &str| text.parse::<LevelFilter>().ok().filter(|_| !text.is_empty());
    if let Some(level) = level(filter) {
        return Ok(Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("nolapse", level));
    }
    if filter.split(',').any(|part| !part.contains('=') && level(part).is_none()) {
        return Err(bad());
    }
    filter.parse().map_err(|_| bad())
}

/// The layer that writes.
struct Lines {
    format: Format,
    now: Now,
    out: Mutex<Out>,
}

struct Out {
    quota: Quota,
    stream: Box<dyn Write + Send>,
}

impl Lines {
    fn new(format: Format, now: Now, stream: Box<dyn Write + Send>) -> Self {
        Self { format, now, out: Mutex::new(Out { quota: Quota::default(), stream }) }
    }

    fn write(&self, subject: Subject, line: &Line) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for held in out.quota.sweep(line.at) {
            text.push_str(&held_back(line.at, held.subject, held.count).rendered(self.format));
        }
        if out.quota.allows(subject, line.at) {
            text.push_str(&line.rendered(self.format));
        }
        // A reader that is gone must not stop renewals, and there is nowhere to complain.
        let _ = out.stream.write_all(text.as_bytes()).and_then(|()| out.stream.flush());
    }
}

fn held_back(at: Timestamp, subject: Subject, count: u64) -> Line {
    let mut named = vec![("place", format!("{}:{}", subject.place, subject.line).into())];
    for (name, value) in [("event", subject.kind), ("lineage", subject.lineage)] {
        if !value.is_empty() {
            named.push((name, value.into()));
        }
    }
    named.push(("count", count.into()));
    let message = format!("suppressed {count} like lines");
    Line { at, level: tracing::Level::WARN, fields: Fields { message, named } }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.inherit(outer);
            }
        }
        let metadata = event.metadata();
        let subject = Subject {
            place: metadata.module_path().unwrap_or("unknown"),
            line: metadata.line().unwrap_or(0),
            kind: fields.text("event"),
            lineage: fields.text("lineage"),
        };
        self.write(subject, &Line { at: (self.now)(), level: *metadata.level(), fields });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// What was written, and a clock to set.
    #[derive(Clone, Default)]
    struct Desk {
        written: Arc<Mutex<Vec<u8>>>,
        secs: Arc<AtomicI64>,
    }

    impl Write for Desk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Desk {
        fn logging(&self, format: Format, filter: &str, work: impl FnOnce()) -> String {
            let secs = self.secs.clone();
            let now: Now = Arc::new(move || Timestamp::from_secs(secs.load(Ordering::SeqCst)));
            let lines = Lines::new(format, now, Box::new(self.clone()));
            let subscriber = tracing_subscriber::registry().with(lines.with_filter(targets(filter).unwrap()));
            tracing::subscriber::with_default(subscriber, work);
            String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
        }
    }

    /// Sequences that move cursors, set titles, ring, hide text, swap direction or forge lines.
    const CORPUS: [&str; 12] = [
        "\u{1b}[31mred\u{1b}[0m",
        "\u{1b}]0;title\u{7}",
        "\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\",
        "\u{1b}P1$r\u{1b}\\",
        "\u{9b}31mc1 csi",
        "line\r\n<0>forged emergency",
        "over\u{8}\u{8}\u{8}write",
        "\u{7f}\u{0}",
        "safe\u{202e}txt.exe",
        "zero\u{200b}width\u{2066}isolate",
        "tag\u{e0041}\u{e007f}",
        "\u{2028}new line\u{2029}paragraph\u{85}next",
    ];

    #[test]
    fn t09_no_remote_text_reaches_a_terminal_raw() {
        for format in [Format::Text, Format::Journal, Format::Json] {
            for remote in CORPUS {
                let desk = Desk::default();
                let text = desk.logging(format, "trace", || {
                    tracing::warn!(words = remote, shown = %remote, debug = ?remote, "CA said {remote}");
                });
                assert_eq!(text.matches('\n').count(), 1, "{remote:?} made several lines");
                let line = text.trim_end_matches('\n');
                assert_eq!(line, crate::core::failure::plain(line, usize::MAX), "{format:?} {remote:?}");
            }
        }
    }

    #[test]
    fn spans_lend_their_lineage_and_levels_filter() {
        let desk = Desk::default();
        let text = desk.logging(Format::Journal, "info", || {
            tracing::info_span!("attempt", lineage = "a.example", attempt = 2).in_scope(|| {
                tracing::info!(issuer = "test", "ordered");
                tracing::debug!("too much");
            });
            tracing::info!(target: "rustls", "chatter of a library");
            tracing::warn!(target: "rustls", "trouble of a library");
        });
        assert_eq!(text, "<6>ordered issuer=test lineage=a.example attempt=2\n<4>trouble of a library\n");
    }

    #[test]
    fn caddy_4448_repeats_are_counted_instead_of_written() {
        let desk = Desk::default();
        let text = desk.logging(Format::Journal, "info", || {
            for number in 0..100 {
                tracing::info!(lineage = "a.example", number, "again");
            }
            desk.secs.store(61, Ordering::SeqCst);
            tracing::info!("something else");
        });
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 12);
        assert!(lines[10].starts_with("<4>suppressed 90 like lines place="), "{}", lines[10]);
        assert!(lines[10].ends_with("lineage=a.example count=90"), "{}", lines[10]);
        assert_eq!(lines[11], "<6>something else");
    }

    #[test]
    fn a_mistyped_filter_is_an_error_and_not_silence() {
        for good in ["info", "TRACE", "off", "info,rustls=debug", "nolapse::ca=trace"] {
            assert!(targets(good).is_ok(), "{good}");
        }
        for bad in ["inof", "", "info,verbose", "rustls=loud"] {
            assert_eq!(targets(bad).err(), Some(LogError::BadFilter(bad.into())), "{bad}");
        }
    }

    #[test]
    fn a_closed_stream_is_no_panic() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
        let lines = Lines::new(Format::Text, Arc::new(|| Timestamp::EPOCH), Box::new(Gone));
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || tracing::info!("into the void"));
    }
}
