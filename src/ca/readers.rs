//! The readers of what a CA says, without a CA around them: for fuzzing them, and for nothing else.

use reqwest::Url;

use super::directory::Directory;
use super::problem::{Call, Document};
use super::{http, view};
use crate::core::failure::{Failure, Fault};
use crate::core::time::{Interval, Span, Timestamp};
use crate::ports::Greeting;

/// What each kind of call makes of this refusal.
pub fn refusals(status: u16, body: &[u8], wish: Option<Span>, now: Timestamp) -> Vec<Failure> {
    let calls = [
        Call::Directory,
        Call::NewNonce,
        Call::NewAccount,
        Call::Account,
        Call::NewOrder { replaces: false, profile: false },
        Call::NewOrder { replaces: true, profile: true },
        Call::Order,
        Call::Authorization,
        Call::Challenge,
        Call::Finalize,
        Call::Certificate,
        Call::RenewalInfo,
    ];
    let document = Document::of(status, body);
    calls.into_iter().map(|call| document.failure(call, wish, now)).collect()
}

/// The wait that a `Retry-After` header asks for, if it is one.
pub fn retry_after(text: &str, server_now: Timestamp) -> Option<Span> {
    http::retry_after(text, server_now)
}

/// The window that renewal information suggests, and where it is explained.
pub fn renewal_window(body: &[u8]) -> Option<(Interval, Option<String>)> {
    view::window(&http::json(body)?)
}

/// What a directory offers, wherever its URLs lead.
pub fn directory(body: &[u8], now: Timestamp) -> Result<Greeting, Failure> {
    let any = |url: &str| {
        Url::parse(url).map_err(|_| Failure::refused(Fault::Ca, "foreign-url", "a URL that is none"))
    };
    Directory::read(http::json(body), any, now, None).map(|directory| directory.greeting())
}
