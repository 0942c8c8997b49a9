//! Answers that are nearly right, put right, so that `instant-acme` reads them.

use serde_json::{Map, Value, json};

use super::problem::Document;

/// Makes an answer one that `instant-acme` can read: members that are `null` are gone, and
/// problems inside it have their canonical shape.
pub(super) fn tidy(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            tidy_error(members);
            members.values_mut().for_each(tidy);
        }
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(tidy);
        }
        _ => {}
    }
}

/// An order or authorization in a state that RFC 8555 does not have (Pebble says of an order that
/// it is `deactivated`) can't be finished: it is invalid.
pub(super) fn tidy_status(answer: &mut Value) {
    let known: &[&str] = if answer.get("finalize").is_some() {
        &["pending", "ready", "processing", "valid", "invalid"]
    } else if answer.get("challenges").is_some() {
        &["pending", "valid", "invalid", "deactivated", "expired", "revoked"]
    } else {
        return;
    };
    if let Some(status) = answer.get_mut("status")
        && !status.as_str().is_some_and(|word| known.contains(&word))
    {
        *status = Value::from("invalid");
    }
}

fn tidy_error(members: &mut Map<String, Value>) {
    let Some(error) = members.get_mut("error") else { return };
    *error = match &*error {
        Value::Object(_) => Document::read(error, 0).canonical(),
        Value::String(words) => Document::read(&json!({ "detail": words }), 0).canonical(),
        _ => Document::read(&json!({}), 0).canonical(),
    };
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn states_that_acme_does_not_have_count_as_invalid() {
        let tidied = |mut value: Value| {
            tidy_status(&mut value);
            value["status"].clone()
        };
        assert_eq!(tidied(json!({ "finalize": "x", "status": "deactivated" })), "invalid");
        assert_eq!(tidied(json!({ "finalize": "x", "status": "ready" })), "ready");
        assert_eq!(tidied(json!({ "challenges": [], "status": "deactivated" })), "deactivated");
        assert_eq!(tidied(json!({ "challenges": [], "status": 7 })), "invalid");
        assert_eq!(tidied(json!({ "status": "unheard-of" })), "unheard-of");
    }

    #[test]
    fn nulls_go_and_inner_errors_are_put_right() {
        let mut value = json!({
            "status": "invalid", "replaces": null, "meta": null, "list": [null, { "a": null }],
            "error": { "type": null, "detail": "no", "status": "403", "subproblems": null },
        });
        tidy(&mut value);
        assert!(value.get("meta").is_none() && value.get("replaces").is_none());
        assert_eq!(value["list"], json!([{}]));
        let error: instant_acme::Problem = serde_json::from_value(value["error"].clone()).unwrap();
        assert_eq!((error.status, error.detail.as_deref()), (Some(403), Some("no")));
    }
}
