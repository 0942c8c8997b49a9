//! The line of a lineage that was held unread, as JSON without the values that [`Line`] is made of:
//! a pass over ten thousand does little else. What it says is what [`Line`] says; a test compares
//! them octet by octet (`tests/memo.rs`).
//!
//! [`Line`]: crate::cli::report::Line

use std::fmt::Display;
use std::io::Write;

use crate::agent::Held;
use crate::core::leaf::Brief;
use crate::core::time::Timestamp;

/// Appends the line to `to`; nothing where its entry is gone.
pub fn put_line(held: &Held, to: &mut Vec<u8>) {
    let (memo, Some(spec)) = (&held.memo, held.spec()) else { return };
    let row = memo.row(spec);
    let mut json = Json(to);
    json.raw(r#"{"name":"#).text(held.id.as_str());
    json.raw(r#","severity":"ok","standing":"#).text(row.standing.word());
    json.raw(r#","origin":"#).text(&spec.origin.to_string());
    json.raw(r#","names":["#);
    json.list(&spec.names, |json, name| json.text(&name.to_string()));
    json.raw(r#"],"issuer":"#);
    match &row.issuer {
        Some(issuer) => json.text(issuer.as_str()),
        None => json.raw("null"),
    };
    json.raw(r#","generation":"#).plain(memo.generation);
    json.raw(r#","installed":"#).seen(&memo.leaf);
    json.raw(r#","rungs":{"issued":true,"installed":true,"reloaded":true,"observed":"#);
    json.raw(if memo.looks.is_empty() { "null" } else { "true" });
    json.raw(r#"},"endpoints":["#);
    json.list(spec.endpoints.iter().zip(&memo.looks), |json, (endpoint, look)| {
        json.raw(r#"{"endpoint":"#).text(&endpoint.to_string());
        json.raw(r#","sight":"new","owed":false,"served":"#).seen(&memo.leaf);
        json.raw(r#","at":"#).date(Some(look.at));
        json.raw(r#","next-at":"#).date(Some(look.next_at)).raw(r#","words":"#);
        match &look.words {
            Some(words) => json.text(words),
            None => json.raw("null"),
        };
        json.raw(r#","code":null,"accepted":false,"tally":null,"flaws":[]}"#)
    });
    json.raw(r#"],"hooks":["#);
    json.list(spec.hooks.iter().zip(&memo.told_at), |json, (hook, told_at)| {
        json.raw(r#"{"hook":"#).text(hook.as_str());
        json.raw(r#","owed":false,"done-at":"#).date(*told_at);
        json.raw(r#","failures":0,"next-at":null,"words":null}"#)
    });
    json.raw(r#"],"renews-at":"#).date(memo.renews_at);
    json.raw(r#","wakes-at":"#).date(Some(memo.plan(held.at).wake_at));
    json.raw(r#","verdict":"hold","reason":"not-due","trouble":null,"headroom-seconds":"#);
    json.plain(memo.leaf.not_after.since(held.at).whole_secs());
    json.raw(r#","notes":[],"advice":null,"advice-code":null}"#);
}

struct Json<'a>(&'a mut Vec<u8>);

impl Json<'_> {
    /// JSON as it is.
    fn raw(&mut self, json: &str) -> &mut Self {
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    /// A value whose text is JSON, such as a number.
    fn plain(&mut self, value: impl Display) -> &mut Self {
        // A vector takes all that it is given.
        let _ = write!(self.0, "{value}");
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            return self.plain(serde_json::Value::from(text));
        }
        self.raw("\"").raw(text).raw("\"")
    }

    fn date(&mut self, at: Option<Timestamp>) -> &mut Self {
        match at {
            Some(at) => self.raw("\"").plain(at).raw("\""),
            None => self.raw("null"),
        }
    }

    fn seen(&mut self, leaf: &Brief) -> &mut Self {
        self.raw(r#"{"serial":"#).text(&leaf.serial);
        self.raw(r#","fingerprint":""#).plain(leaf.fingerprint);
        self.raw(r#"","not-before":"#).date(Some(leaf.not_before));
        self.raw(r#","not-after":"#).date(Some(leaf.not_after));
        self.raw(r#","issuer":"#).text(&leaf.issuer).raw("}")
    }

    fn list<T>(&mut self, all: impl IntoIterator<Item = T>, mut put: impl FnMut(&mut Self, T) -> &mut Self) {
        for (count, each) in all.into_iter().enumerate() {
            if count > 0 {
                self.raw(",");
            }
            put(self, each);
        }
    }
}
