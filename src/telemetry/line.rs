//! One log line as text, for the journal or as JSON. Every value passes through
//! [`plain`] here once more, whoever wrote it: a terminal must be
//! safe even from a caller that forgot (T09).

use std::fmt;

use serde_json::{Map, Value};
use tracing::Level;
use tracing::field::{Field, Visit};

use crate::core::failure::plain;
use crate::core::time::Timestamp;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A time, a level, a message and `key=value`.
    Text,
    /// One JSON object a line.
    Json,
    /// Text behind a `<N>` syslog priority and without the time, which the journal adds.
    Journal,
}

/// A line before it is written.
pub struct Line {
    pub at: Timestamp,
    pub level: Level,
    pub fields: Fields,
}

/// The message and the named values of an event or a span, in the order they were given.
#[derive(Clone, Default)]
pub struct Fields {
    pub message: String,
    pub named: Vec<(&'static str, Value)>,
}

impl Fields {
    /// Longest value, in characters.
    pub const VALUE_MAX: usize = 1000;
    /// Most values in one line, those of its spans included.
    pub const COUNT_MAX: usize = 48;

    /// The text of a value; empty where there is none.
    pub fn text(&self, name: &str) -> String {
        self.named
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .unwrap_or_default()
    }

    /// Adds the values of an enclosing span; what the event itself says wins.
    pub fn inherit(&mut self, outer: &Self) {
        for (name, value) in &outer.named {
            if !self.named.iter().any(|(known, _)| known == name) {
                self.add(name, value.clone());
            }
        }
    }

    fn add(&mut self, name: &'static str, value: Value) {
        if name == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else if self.named.len() < Self::COUNT_MAX {
            self.named.push((name, value));
        }
    }

    fn add_text(&mut self, field: &Field, text: &str) {
        self.add(field.name(), Value::String(plain(text, Self::VALUE_MAX)));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, &format!("{value:?}"));
    }
}

impl Line {
    /// The whole line with its newline.
    pub fn rendered(&self, format: Format) -> String {
        let mut text = match format {
            Format::Json => self.json(),
            Format::Text => format!("{} {:<5} {}", self.at, self.level, self.words()),
            Format::Journal => format!("<{}>{}", priority(self.level), self.words()),
        };
        text.push('\n');
        text
    }

    fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("at".into(), self.at.to_string().into());
        object.insert("level".into(), self.level.as_str().to_ascii_lowercase().into());
        object.insert("message".into(), self.fields.message.clone().into());
        for (name, value) in &self.fields.named {
            object.entry(key(name)).or_insert_with(|| value.clone());
        }
        Value::Object(object).to_string()
    }

    fn words(&self) -> String {
        let mut text = self.fields.message.clone();
        for (name, value) in &self.fields.named {
            text.push(' ');
            text.push_str(&key(name));
            text.push('=');
            match value.as_str() {
                Some(words) => push_word(&mut text, words),
                None => text.push_str(&value.to_string()),
            }
        }
        text
    }
}

/// Rust names have no dashes; ours have nothing else.
fn key(name: &str) -> String {
    name.replace('_', "-")
}

fn push_word(text: &mut String, word: &str) {
    if !word.is_empty() && !word.contains([' ', '"', '=']) {
        text.push_str(word);
        return;
    }
    text.push('"');
    for c in word.chars() {
        if c == '"' {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
}

/// Syslog's numbers, as sd-daemon(3) takes them at the start of a line.
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let named = vec![
            ("lineage", Value::from("shop.example.com")),
            ("reason", Value::from("ari window")),
            ("wake_at", Value::from("2026-12-02T04:17:00Z")),
            ("count", Value::from(3)),
        ];
        Line {
            at: Timestamp::from_secs(1_795_292_160),
            level: Level::WARN,
            fields: Fields { message: "decided".into(), named },
        }
    }

    #[test]
    fn one_line_three_looks() {
        let rest =
            r#"decided lineage=shop.example.com reason="ari window" wake-at=2026-12-02T04:17:00Z count=3"#;
        assert_eq!(line().rendered(Format::Text), format!("2026-11-21T20:16:00Z WARN  {rest}\n"));
        assert_eq!(line().rendered(Format::Journal), format!("<4>{rest}\n"));
        let json: Value = serde_json::from_str(&line().rendered(Format::Json)).unwrap_or_default();
        assert_eq!(json["message"], "decided");
        assert_eq!(json["wake-at"], "2026-12-02T04:17:00Z");
        assert_eq!(json["count"], 3);
        assert_eq!(json["level"], "warn");
    }

    #[test]
    fn a_field_cannot_pose_as_another() {
        let mut line = line();
        line.fields.named = vec![("words", Value::from(r#"x" lineage=evil "#)), ("at", Value::from("never"))];
        assert!(line.rendered(Format::Journal).contains(r#"words="x\" lineage=evil ""#));
        assert!(line.rendered(Format::Json).contains(r#""at":"2026-11-21T20:16:00Z""#));
    }

    #[test]
    fn the_event_wins_over_its_span_and_the_count_is_bounded() {
        let mut inner = Fields { message: String::new(), named: vec![("lineage", "inner".into())] };
        inner.inherit(&Fields {
            message: "ignored".into(),
            named: vec![("lineage", "outer".into()), ("attempt", 2.into())],
        });
        assert_eq!(inner.text("lineage"), "inner");
        assert_eq!(inner.text("attempt"), "2");
        (0..100).for_each(|_| inner.add("more", Value::Null));
        assert_eq!(inner.named.len(), Fields::COUNT_MAX);
    }
}
