//! Texts with placeholders: `${title}`. What is put in is escaped as a JSON string's inside, so a
//! name that a stranger chose can't leave the quotes it was put between.

use std::fmt::Write as _;

use crate::core::channel::Message;
use crate::core::gravity::Gravity;

/// Replaces every placeholder by what `value` says; an unknown one stays as it is.
fn filled(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let end = after.find('}');
        rest = after;
        if let Some((text, after)) = end.and_then(|end| Some((value(&after[..end])?, &after[end + 1..]))) {
            out.push_str(&text);
            rest = after;
        } else {
            out.push_str("${");
        }
    }
    out.push_str(rest);
    out
}

/// A URL or header with the secret in its place.
pub fn with_secret(template: &str, secret: Option<&str>) -> String {
    filled(template, |name| (name == "secret").then(|| secret.map(str::to_owned)).flatten())
}

/// A JSON body.
pub fn body(template: &str, message: &Message, secret: Option<&str>) -> String {
    filled(template, |name| {
        let text = match name {
            "title" => message.title.clone(),
            "text" => message.text.clone(),
            "key" => message.key.clone(),
            "host" => message.host.clone(),
            "code" => message.code.clone(),
            "gravity" => message.gravity.word().to_owned(),
            "occasion" => message.occasion.word().to_owned(),
            "advice" => message.advice.clone(),
            "count" => message.count.to_string(),
            "subjects" => message.subjects.join(", "),
            "owner" => message.labels.get("owner").cloned().unwrap_or_default(),
            "runbook" => message.labels.get("runbook").cloned().unwrap_or_default(),
            // As PagerDuty and others call it.
            "severity" => severity(message.gravity).to_owned(),
            "action" => if message.is_over() { "resolve" } else { "trigger" }.to_owned(),
            "since" => message.since.to_string(),
            "at" => message.at.to_string(),
            // Alertmanager takes an alert for over that is not heard of again: it is told for how
            // long this one stands, a little past the next reminder.
            "ends" => {
                let until = message.again_at + crate::core::time::Span::HOUR;
                message.ended_at.unwrap_or(until).to_string()
            }
            // The whole message as a JSON value, not as a text.
            "json" => return serde_json::to_string(message).ok(),
            "secret" => secret?.to_owned(),
            label => message.labels.get(label.strip_prefix("label.")?).cloned().unwrap_or_default(),
        };
        Some(inside(&text))
    })
}

const fn severity(gravity: Gravity) -> &'static str {
    match gravity {
        Gravity::Page => "critical",
        Gravity::Ticket => "warning",
        Gravity::Notice => "info",
    }
}

/// What stands between the quotes of a JSON string.
fn inside(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::channel::Occasion;
    use crate::core::time::Timestamp;

    fn message(title: &str) -> Message {
        Message {
            version: 1,
            occasion: Occasion::Raised,
            gravity: Gravity::Page,
            key: "nolapse/web1/x".into(),
            host: "web1".into(),
            code: "expired".into(),
            title: title.into(),
            text: "a\nb".into(),
            count: 1,
            subjects: vec!["a.example".into()],
            advice: String::new(),
            labels: [("owner".to_owned(), "web".to_owned()), ("team".to_owned(), "x".to_owned())].into(),
            since: Timestamp::EPOCH,
            at: Timestamp::EPOCH,
            ended_at: None,
            again_at: Timestamp::EPOCH,
        }
    }

    #[test]
    fn placeholders_are_filled_and_strangers_stay_inside_their_quotes() {
        let message = message("say \"x\", \\ ${secret} \u{1}");
        let text = body(
            r#"{"t":"${title}","n":${count},"l":"${text}","o":"${owner} ${label.team}","k":"${secret}","?":"${what}","m":${json}}"#,
            &message,
            Some("s3\"cret"),
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["t"], "say \"x\", \\ ${secret} \u{1}", "what was put in is not filled again");
        assert_eq!(value["l"], "a\nb");
        assert_eq!(value["o"], "web x");
        assert_eq!(value["k"], "s3\"cret");
        assert_eq!(value["?"], "${what}");
        assert_eq!(value["m"]["key"], "nolapse/web1/x");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_said_the_body_stays_json(title: String, text: String) {
            let message = Message { text, ..message(&title) };
            let body = body(r#"{"a":"${title}","b":"${text}"}"#, &message, None);
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            proptest::prop_assert_eq!(&value["a"], &serde_json::Value::from(message.title));
            proptest::prop_assert_eq!(&value["b"], &serde_json::Value::from(message.text));
        }
    }
}
