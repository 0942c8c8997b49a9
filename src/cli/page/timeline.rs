//! What is to come, drawn: when each certificate ends and is renewed, and how many on a day.

use crate::cli::page::Html;
use crate::cli::report::{Line, Report, Severity};
use crate::cli::watched;
use crate::core::time::{Span, Timestamp};

/// Certificates with a bar of their own, those that end first.
const BARS_MAX: usize = 30;
/// What is drawn ends here at the latest, and not before.
const AHEAD_MOST: Span = Span::days(400);
const AHEAD_LEAST: Span = Span::DAY;
/// Columns of the count of renewals.
const COLUMNS: usize = 45;
/// Marks on the axis.
const MARKS: i64 = 4;
/// Heights in pixels.
const COLUMN_HIGH: usize = 48;

/// Draws both.
pub fn draw(page: &mut Html, report: &Report) {
    let managed = report.lineages.iter().filter_map(Life::of);
    let mut ends: Vec<_> = managed.chain(report.watched.iter().filter_map(Life::watched)).collect();
    if ends.is_empty() {
        return;
    }
    ends.sort_by_key(|life| (life.left, life.name));
    let shown = &ends[..ends.len().min(BARS_MAX)];
    let last = shown.last().map_or(Span::ZERO, |life| life.left);
    let scale = Scale { from: report.at, length: last.max(AHEAD_LEAST).min(AHEAD_MOST) };
    page.raw("<section id=\"timeline\">");
    page.element("h2", "", "What is to come");
    page.raw(
        "<p class=\"key\"><span class=\"key-life\"></span>valid <span class=\"key-point\"></span>renewal</p>",
    );
    columns(page, report, &scale);
    page.raw("<ol class=\"bars\">");
    for life in shown {
        bar(page, life, &scale);
    }
    page.raw("</ol>");
    if ends.len() > shown.len() {
        page.element("p", "more", &format!("… and {} that end later", ends.len() - shown.len()));
    }
    page.raw("</section>");
}

/// What has a bar.
struct Life<'r> {
    name: &'r str,
    left: Span,
    renews_at: Option<Timestamp>,
    severity: Severity,
}

impl<'r> Life<'r> {
    fn of(line: &'r Line) -> Option<Self> {
        let (renews_at, severity) = (line.renews_at, line.severity);
        Some(Self { name: &line.name, left: Span::secs(line.headroom_seconds?), renews_at, severity })
    }

    fn watched(line: &'r watched::Line) -> Option<Self> {
        let (name, severity) = (line.names.first().unwrap_or(&line.place), line.severity);
        Some(Self { name, left: Span::secs(line.headroom_seconds?), renews_at: None, severity })
    }
}

/// From left to right.
struct Scale {
    from: Timestamp,
    length: Span,
}

impl Scale {
    /// Ten-thousandths of the width, 0 to 10,000.
    fn at(&self, span: Span) -> i64 {
        (span.times(WIDTH).millis() / self.length.millis().max(1)).clamp(0, WIDTH)
    }

    fn percent(&self, span: Span) -> String {
        let at = self.at(span);
        format!("{}.{:02}%", at / 100, at % 100)
    }
}

const WIDTH: i64 = 10_000;

fn columns(page: &mut Html, report: &Report, scale: &Scale) {
    let mut counts = [0usize; COLUMNS];
    let wide = WIDTH / i64::try_from(COLUMNS).unwrap_or(1);
    for at in report.lineages.iter().filter_map(|line| line.renews_at) {
        let into = at.since(scale.from);
        if into <= scale.length {
            let column = usize::try_from(scale.at(into) / wide).unwrap_or(0).min(COLUMNS - 1);
            counts[column] += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    let total: usize = counts.iter().sum();
    let each = Span::from_millis(scale.length.millis() / i64::try_from(COLUMNS).unwrap_or(1));
    let high = COLUMN_HIGH;
    page.raw(&format!("<svg class=\"columns\" width=\"100%\" height=\"{}\" role=\"img\"><title>", high + 18));
    page.text(&format!("{total} renewals within {}, at most {most} within {each}", scale.length));
    page.raw("</title>");
    for (column, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
        let tall = (count * high / most.max(1)).max(3);
        let x = column * 10_000 / COLUMNS;
        let width = 9_000 / COLUMNS;
        page.raw(&format!(
            "<rect class=\"column\" x=\"{}.{:02}%\" y=\"{}\" width=\"{}.{:02}%\" height=\"{tall}\"/>",
            x / 100,
            x % 100,
            high - tall,
            width / 100,
            width % 100
        ));
    }
    for mark in 0..MARKS {
        let into = Span::from_millis(scale.length.millis() / MARKS * mark);
        let date = (scale.from + into).brief();
        let day = date.rsplit_once(' ').map_or(&*date, |(day, _)| day);
        let day = if scale.length > Span::days(3) { day } else { &date };
        page.raw(&format!("<text class=\"mark\" x=\"{}\" y=\"{}\">", scale.percent(into), high + 14));
        page.text(day);
        page.raw("</text>");
    }
    page.raw("</svg>");
}

fn bar(page: &mut Html, line: &Life<'_>, scale: &Scale) {
    let left = line.left;
    let renews = line.renews_at.map(|at| at.since(scale.from));
    page.raw("<li><span class=\"who\">");
    page.text(line.name);
    page.raw("</span><svg width=\"100%\" height=\"14\" role=\"img\"><title>");
    let ends = if left.is_positive() { format!("ends in {left}") } else { "has ended".to_owned() };
    let renewal = line.renews_at.map(|at| format!(", renews {} UTC", at.brief())).unwrap_or_default();
    page.text(&format!("{}: {ends}{renewal}", line.name));
    page.raw("</title><rect class=\"track\" width=\"100%\" height=\"14\"/>");
    let class = match line.severity {
        Severity::Ok => "life",
        Severity::Warning => "life warning",
        Severity::Critical => "life critical",
    };
    page.raw(&format!("<rect class=\"{class}\" width=\"{}\" height=\"14\"/>", scale.percent(left)));
    if let Some(renews) = renews.filter(|renews| *renews <= scale.length) {
        let x = scale.percent(renews.max(Span::ZERO));
        page.raw(&format!("<circle class=\"point\" cx=\"{x}\" cy=\"7\" r=\"4\"/>"));
    }
    page.raw("</svg><span class=\"left\">");
    page.text(&if left.is_positive() { left.to_string() } else { "ended".into() });
    page.raw("</span></li>");
}
