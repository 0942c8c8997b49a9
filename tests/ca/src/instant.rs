//! The CA's clock and its texts: RFC 3339 in JSON (RFC 8555 §7.1), HTTP-date in headers (RFC 9110 §5.6.7).

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Now, cut to whole seconds because certificates and JSON objects carry no finer time.
pub(crate) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}

pub(crate) fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).expect("a date between the years 0 and 9999 has an RFC 3339 form")
}

pub(crate) fn parse_rfc3339(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}
